//! What clients see of imported codes.

mod support;

use std::time::Duration;

use coupon_proto::v1::{
    CodeProfile, CodeSource, CreateCampaignRequest, ImportCodesRequest, ImportCodesResponse,
    IssueCouponRequest, LineRefusalReason, LookupCouponRequest, RedeemCouponRequest,
    ValidateCouponRequest,
};
use futures::stream;
use support::{Fixture, REQUEST_ID, reason};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};
use tonic_types::StatusExt as _;

fn lines(first_line: i64, codes: &[&str]) -> ImportCodesRequest {
    ImportCodesRequest {
        campaign_id: "gifts".to_owned(),
        import_id: REQUEST_ID.to_owned(),
        first_line,
        codes: codes.iter().map(|code| (*code).to_owned()).collect(),
    }
}

/// A router in front of a campaign with imported codes.
async fn with_gifts() -> Fixture {
    let mut t = Fixture::start().await;
    let request = CreateCampaignRequest {
        campaign_id: "gifts".to_owned(),
        quota: 10,
        code_source: CodeSource::Imported.into(),
        ..Default::default()
    };
    t.campaigns.create_campaign(request).await.expect("it is created");
    t
}

/// The answers to messages that are sent at once.
async fn answers(
    t: &mut Fixture,
    messages: Vec<ImportCodesRequest>,
) -> Streaming<ImportCodesResponse> {
    t.campaigns.import_codes(stream::iter(messages)).await.expect("it is opened").into_inner()
}

/// Why a message is refused.
async fn refused(t: &mut Fixture, message: ImportCodesRequest) -> Status {
    answers(t, vec![message]).await.message().await.expect_err("it is refused")
}

#[tokio::test]
async fn codes_are_imported_issued_and_found() {
    let mut t = with_gifts().await;
    let messages = vec![
        lines(0, &[]),
        lines(1, &["GIFT-1", "", "GIFT-2", "no code", "GIFT-1"]),
        lines(6, &["GIFT-3"]),
    ];
    let mut answers = answers(&mut t, messages).await;
    let first = answers.message().await.unwrap().unwrap();
    assert_eq!((first.next_line, first.imported, first.refused_lines.len()), (1, 0, 0));
    let second = answers.message().await.unwrap().unwrap();
    assert_eq!((second.next_line, second.imported), (6, 2));
    let refused: Vec<_> = second
        .refused_lines
        .iter()
        .map(|refused| (refused.line, refused.reason(), refused.duplicate_of_sequence))
        .collect();
    let expected = [(4, LineRefusalReason::Malformed, 0), (5, LineRefusalReason::Duplicate, 1)];
    assert_eq!(refused, expected);
    assert_eq!(answers.message().await.unwrap().unwrap().imported, 3);
    assert_eq!(answers.message().await.unwrap(), None, "its caller has sent everything");

    let issue = IssueCouponRequest { campaign_id: "gifts".to_owned(), ..Default::default() };
    let issued = t.coupons.issue_coupon(issue).await.unwrap().into_inner().coupon.unwrap();
    assert_eq!((issued.code.as_str(), issued.sequence), ("GIFT-1", 1));
    let (code, campaign_id) = ("GIFT-1".to_owned(), "gifts".to_owned());
    let lookup = LookupCouponRequest { code: code.clone(), campaign_id: campaign_id.clone() };
    let found = t.coupons.lookup_coupon(lookup.clone()).await.unwrap().into_inner().coupon;
    assert_eq!(found.unwrap().code, "GIFT-1");
    let redeem = RedeemCouponRequest { code, campaign_id, ..Default::default() };
    let redeemed = t.coupons.redeem_coupon(redeem.clone()).await.unwrap().into_inner();
    assert_eq!(redeemed.coupon.unwrap().code, "GIFT-1");
    let validate = ValidateCouponRequest { code: redeem.code, campaign_id: redeem.campaign_id };
    let validated = t.coupons.validate_coupon(validate).await.unwrap().into_inner();
    assert!(!validated.redeemable);
    // To the letter, and only what was issued; whatever is no code at all is not there either.
    for code in ["gift-1", "GIFT-2", "", "x", "AB CD"] {
        let other = LookupCouponRequest { code: code.to_owned(), ..lookup.clone() };
        let refused = t.coupons.lookup_coupon(other).await.unwrap_err();
        assert_eq!(reason(&refused), "COUPON_NOT_FOUND", "{code}");
    }
    // Without its campaign it is taken for a code that a campaign made.
    let alone = LookupCouponRequest { campaign_id: String::new(), ..lookup };
    let refused = t.coupons.lookup_coupon(alone).await.unwrap_err();
    assert_eq!(reason(&refused), "CODE_MALFORMED");
    assert!(refused.message().contains("campaign_id"), "{}", refused.message());
}

#[tokio::test]
async fn the_code_of_a_campaign_that_makes_its_own_is_found_with_the_campaign_as_well() {
    let mut t = with_gifts().await;
    t.create("spring", 10).await;
    t.create("summer", 10).await;
    let issue = IssueCouponRequest { campaign_id: "spring".to_owned(), ..Default::default() };
    let code = t.coupons.issue_coupon(issue).await.unwrap().into_inner().coupon.unwrap().code;
    for (campaign_id, expected) in [
        ("", None),
        ("spring", None),
        ("summer", Some("COUPON_NOT_FOUND")),
        ("Not An Id", Some("FIELD_VIOLATIONS")),
    ] {
        let (code, campaign_id) = (code.clone(), campaign_id.to_owned());
        let found = t.coupons.lookup_coupon(LookupCouponRequest { code, campaign_id }).await;
        assert_eq!(found.err().map(|refused| reason(&refused)).as_deref(), expected);
    }
}

#[tokio::test]
async fn a_message_that_is_refused_ends_its_stream() {
    let mut t = with_gifts().await;
    t.create("spring", 10).await;
    let missing = refused(&mut t, lines(3, &["GIFT-3"])).await;
    assert_eq!(
        (missing.code(), reason(&missing)),
        (Code::FailedPrecondition, "IMPORT_LINES_MISSING".to_owned())
    );
    assert_eq!(missing.get_details_error_info().unwrap().metadata["next_line"], "1");
    let own = ImportCodesRequest { campaign_id: "spring".to_owned(), ..lines(1, &["GIFT-1"]) };
    assert_eq!(reason(&refused(&mut t, own).await), "CODES_NOT_IMPORTED");
    let none = ImportCodesRequest { campaign_id: "none".to_owned(), ..lines(0, &[]) };
    assert_eq!(reason(&refused(&mut t, none).await), "CAMPAIGN_NOT_FOUND");
    let invalid = ImportCodesRequest {
        campaign_id: "Not An Id".to_owned(),
        import_id: "no".to_owned(),
        first_line: 0,
        codes: vec!["GIFT".to_owned(); 1_001],
    };
    let invalid = refused(&mut t, invalid).await;
    let violations = invalid.get_details_bad_request().unwrap().field_violations;
    let fields: Vec<_> = violations.iter().map(|violation| violation.field.as_str()).collect();
    assert_eq!(fields, ["campaign_id", "import_id", "codes", "first_line"]);
    let large = lines(1, &["x".repeat(70_000).as_str()]);
    assert_eq!(reason(&refused(&mut t, large).await), "FIELD_VIOLATIONS");
}

#[tokio::test]
async fn a_campaign_with_imported_codes_has_no_say_in_what_they_look_like() {
    let mut t = Fixture::start().await;
    let request = CreateCampaignRequest {
        campaign_id: "gifts".to_owned(),
        quota: 10,
        code_source: CodeSource::Imported.into(),
        ..Default::default()
    };
    let wrong = CreateCampaignRequest {
        code_profile: CodeProfile::Kr.into(),
        code_prefix: "GIFT-".to_owned(),
        code_length: 10,
        ..request.clone()
    };
    let refused = t.campaigns.create_campaign(wrong).await.unwrap_err();
    let violations = refused.get_details_bad_request().unwrap().field_violations;
    let fields: Vec<_> = violations.iter().map(|violation| violation.field.as_str()).collect();
    assert_eq!(fields, ["code_profile", "code_prefix", "code_length"]);
    let unknown = CreateCampaignRequest { code_source: 99, ..request.clone() };
    assert_eq!(
        reason(&t.campaigns.create_campaign(unknown).await.unwrap_err()),
        "FIELD_VIOLATIONS"
    );
    let shown = t.campaigns.create_campaign(request).await.unwrap().into_inner().campaign.unwrap();
    assert_eq!(
        (shown.code_source(), shown.code_profile()),
        (CodeSource::Imported, CodeProfile::Unspecified)
    );
    assert_eq!((shown.code_length, shown.remaining), (0, 0));
}

#[tokio::test]
async fn a_router_that_stops_ends_its_imports() {
    let mut t = with_gifts().await;
    let (messages, outgoing) = mpsc::channel(1);
    let opened = t.campaigns.import_codes(ReceiverStream::new(outgoing)).await;
    let mut answers = opened.unwrap().into_inner();
    messages.send(lines(1, &["GIFT-1"])).await.unwrap();
    assert_eq!(answers.message().await.unwrap().unwrap().imported, 1);
    let (stopped, ended) = tokio::join!(t.router.shutdown(), answers.message());
    stopped.expect("no import holds it up");
    let ended = ended.expect_err("there may be more lines");
    assert_eq!((ended.code(), reason(&ended)), (Code::Unavailable, "STREAM_BROKEN".to_owned()));
}

#[tokio::test]
async fn a_message_waits_for_a_leader() {
    let mut t = with_gifts().await;
    t.cluster.lead(0);
    let mut answers = answers(&mut t, vec![lines(1, &["GIFT-1"])]).await;
    t.cluster.until_refused(1).await;
    t.cluster.lead(1);
    let answer = timeout(Duration::from_secs(10), answers.message()).await;
    assert_eq!(answer.expect("it is answered").unwrap().unwrap().imported, 1);
}
