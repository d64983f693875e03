//! What clients see of coupons: redeemed, reversed, voided, validated and shown.

mod support;

use coupon_proto::v1::{
    CampaignState, CouponState, CreateCampaignRequest, GetCouponRequest, IssueCouponRequest,
    LookupCouponRequest, PauseCampaignRequest, RedeemCouponRequest, ReverseRedemptionRequest,
    ValidateCouponRequest, VoidCouponRequest,
};
use support::{Fixture, REQUEST_ID, issue, reason};
use tonic::Code;
use tonic_types::StatusExt as _;

/// The code of a coupon that was just issued.
async fn issued(t: &mut Fixture, campaign_id: &str) -> String {
    t.create(campaign_id, 2).await;
    let answer = t.coupons.issue_coupon(issue(campaign_id, "ann")).await;
    let coupon = answer.expect("a coupon is left").into_inner().coupon;
    coupon.expect("an answer has a coupon").code
}

fn redeem(code: &str) -> RedeemCouponRequest {
    let (code, order_ref) = (code.to_owned(), "A-1".to_owned());
    RedeemCouponRequest { code, order_ref, ..Default::default() }
}

#[tokio::test]
async fn a_coupon_is_redeemed_by_its_code_alone_and_once() {
    let mut t = Fixture::start().await;
    for campaign in ["one", "two", "three", "four"] {
        let code = issued(&mut t, campaign).await;
        let mut first = redeem(&code);
        REQUEST_ID.clone_into(&mut first.request_id);
        // Ids are of a coupon; the fake ledger knows them all.
        first.request_id.replace_range(..1, &campaign.len().to_string());
        if campaign == "two" {
            first.request_id.replace_range(1..2, "0");
        }
        let answer = t.coupons.redeem_coupon(first.clone()).await.unwrap().into_inner();
        let coupon = answer.coupon.unwrap();
        assert_eq!((coupon.state(), coupon.order_ref.as_str()), (CouponState::Redeemed, "A-1"));
        assert_eq!((coupon.campaign_id.as_str(), coupon.sequence), (campaign, 1));
        assert_eq!(coupon.code, code);
        assert!(coupon.redeem_time.is_some() && !answer.replayed);
        let again = t.coupons.redeem_coupon(first).await.unwrap().into_inner();
        assert!(again.replayed);
        assert_eq!(again.coupon, Some(coupon));
        let refused = t.coupons.redeem_coupon(redeem(&code)).await.unwrap_err();
        assert_eq!(reason(&refused), "ALREADY_REDEEMED");
        let metadata = refused.get_details_error_info().unwrap().metadata;
        assert_eq!(metadata["redeem_time"], "2023-11-14T22:13:20Z");
        assert_eq!(metadata.len(), 1, "it says no more than when");
    }
}

#[tokio::test]
async fn a_redemption_is_reversed_and_a_coupon_voided() {
    let mut t = Fixture::start().await;
    let code = issued(&mut t, "spring").await;
    t.coupons.redeem_coupon(redeem(&code)).await.unwrap();
    let reverse = || ReverseRedemptionRequest { code: code.clone(), ..Default::default() };
    let reversed = t.coupons.reverse_redemption(reverse()).await.unwrap().into_inner();
    let coupon = reversed.coupon.unwrap();
    assert_eq!((coupon.state(), coupon.redeem_time), (CouponState::Issued, None));
    let refused = t.coupons.reverse_redemption(reverse()).await.unwrap_err();
    assert_eq!(reason(&refused), "NOT_REDEEMED");

    let void = VoidCouponRequest {
        code: code.clone(),
        reason: "fraud".to_owned(),
        return_quota: true,
        ..Default::default()
    };
    let voided = t.coupons.void_coupon(void.clone()).await.unwrap().into_inner();
    let coupon = voided.coupon.unwrap();
    assert_eq!((coupon.state(), coupon.void_reason.as_str()), (CouponState::Voided, "fraud"));
    assert!(coupon.void_time.is_some() && coupon.quota_returned);
    let refused = t.coupons.void_coupon(void).await.unwrap_err();
    assert_eq!(
        (refused.code(), reason(&refused).as_str()),
        (Code::FailedPrecondition, "COUPON_VOIDED")
    );
}

#[tokio::test]
async fn validating_says_what_redeeming_would_answer() {
    let mut t = Fixture::start().await;
    let code = issued(&mut t, "spring").await;
    let request = || ValidateCouponRequest { code: code.clone(), ..Default::default() };
    let valid = t.coupons.validate_coupon(request()).await.unwrap().into_inner();
    assert!(valid.redeemable && valid.error.is_none());
    t.coupons.redeem_coupon(redeem(&code)).await.unwrap();
    let invalid = t.coupons.validate_coupon(request()).await.unwrap().into_inner();
    let refused = t.coupons.redeem_coupon(redeem(&code)).await.unwrap_err();
    assert!(!invalid.redeemable);
    let error = invalid.error.unwrap();
    assert_eq!((error.code, &*error.message), (refused.code().into(), refused.message()));
    assert_eq!(invalid.coupon.unwrap().state(), CouponState::Redeemed);
}

#[tokio::test]
async fn a_public_look_up_shows_no_holder() {
    let mut t = Fixture::start().await;
    let code = issued(&mut t, "spring").await;
    t.coupons.redeem_coupon(redeem(&code)).await.unwrap();
    let spread: String = code.chars().flat_map(|symbol| [symbol, ' ']).collect();
    let found = t
        .coupons
        .lookup_coupon(LookupCouponRequest { code: spread, ..Default::default() })
        .await
        .unwrap();
    let found = found.into_inner().coupon.unwrap();
    assert_eq!((found.code.as_str(), found.state()), (code.as_str(), CouponState::Redeemed));
    assert!(
        found.recipient.is_empty() && found.request_id.is_empty() && found.order_ref.is_empty()
    );
    let get = GetCouponRequest { campaign_id: "spring".to_owned(), sequence: 1 };
    let coupon = t.coupons.get_coupon(get.clone()).await.unwrap().into_inner().coupon.unwrap();
    assert_eq!((coupon.recipient.as_str(), coupon.order_ref.as_str()), ("ann", "A-1"));
    for (sequence, expected) in [(2, "COUPON_NOT_FOUND"), (0, "FIELD_VIOLATIONS")] {
        let refused = t.coupons.get_coupon(GetCouponRequest { sequence, ..get.clone() }).await;
        assert_eq!(reason(&refused.unwrap_err()), expected);
    }
}

/// A code that was never issued, of whatever kind, is answered alike. One that cannot be a code says why.
#[tokio::test]
async fn codes_that_lead_nowhere_are_told_apart_by_their_form_alone() {
    let mut t = Fixture::start().await;
    issued(&mut t, "spring").await;
    let mut answers = Vec::new();
    // Most of these stand for nothing under the key; some for a shard that there is not, or a counter that is not used.
    for number in 0..400_u64 {
        let digits = number * 7_654_321 % 1_000_000_000;
        let mut symbols: Vec<u32> =
            format!("{digits:09}").bytes().map(|b| u32::from(b - b'0')).collect();
        let sum: u32 =
            symbols.iter().zip((2..=10).rev()).map(|(symbol, weight)| symbol * weight).sum();
        symbols.push((89 - sum % 89) % 89);
        if symbols[9] > 9 {
            continue;
        }
        let code = symbols.iter().map(ToString::to_string).collect();
        let refused = t
            .coupons
            .lookup_coupon(LookupCouponRequest { code, ..Default::default() })
            .await
            .unwrap_err();
        answers.push((refused.code(), refused.message().to_owned(), refused.details().to_vec()));
    }
    assert!(answers.len() > 20);
    answers.dedup();
    assert_eq!(answers.len(), 1);
    assert_eq!(answers[0].0, Code::NotFound);
    for (code, expected) in [("강", "CODE_MALFORMED"), ("0000000001", "CODE_CHECK_FAILED")] {
        let refused = t.coupons.redeem_coupon(redeem(code)).await.unwrap_err();
        assert_eq!((refused.code(), reason(&refused).as_str()), (Code::InvalidArgument, expected));
    }
}

#[tokio::test]
async fn a_stale_router_finds_the_coupon_by_the_newer_map() {
    let mut t = Fixture::start().await;
    let code = issued(&mut t, "spring").await;
    t.cluster.fence(2);
    let mut other = t.coupons.clone();
    let (redeemed, validated, ()) = tokio::join!(
        t.coupons.redeem_coupon(redeem(&code)),
        other.validate_coupon(ValidateCouponRequest { code: code.clone(), ..Default::default() }),
        async {
            t.cluster.until_seen(3).await;
            t.cluster.change_map(|map| map.epoch = 2);
        }
    );
    assert_eq!(redeemed.unwrap().into_inner().coupon.unwrap().state(), CouponState::Redeemed);
    validated.unwrap();
    let epochs: Vec<_> = t.cluster.seen().iter().map(|seen| seen.command.epoch).collect();
    assert_eq!((epochs[2], epochs.last()), (1, Some(&2)));
}

/// Log time in the fake cluster is years behind the clock of its router.
#[tokio::test]
async fn what_a_coupon_is_follows_from_log_time_and_not_from_the_clock_of_a_router() {
    let mut t = Fixture::start().await;
    let request = CreateCampaignRequest {
        campaign_id: "spring".to_owned(),
        quota: 2,
        per_recipient_limit: 1,
        coupon_ttl: Some(prost_types::Duration { seconds: 60, nanos: 0 }),
        end_time: Some(prost_types::Timestamp { seconds: 1_700_000_060, nanos: 0 }),
        request_id: REQUEST_ID.to_owned(),
        ..Default::default()
    };
    for _ in ["at first", "again"] {
        let created = t.campaigns.create_campaign(request.clone()).await.unwrap().into_inner();
        assert_eq!(created.campaign.unwrap().state(), CampaignState::Active);
    }
    let first = IssueCouponRequest { request_id: REQUEST_ID.to_owned(), ..issue("spring", "ann") };
    for replayed in [false, true] {
        let answer = t.coupons.issue_coupon(first.clone()).await.unwrap().into_inner();
        assert_eq!(
            (answer.replayed, answer.coupon.unwrap().state()),
            (replayed, CouponState::Issued)
        );
    }
    let refused = t.coupons.issue_coupon(issue("spring", "ann")).await.unwrap_err();
    assert_eq!(reason(&refused), "RECIPIENT_LIMIT_REACHED");
    assert_eq!(refused.get_details_error_info().unwrap().metadata["states"], "ISSUED");
    let pause = PauseCampaignRequest { campaign_id: "spring".to_owned(), ..Default::default() };
    let paused = t.campaigns.pause_campaign(pause).await.unwrap().into_inner();
    assert_eq!(paused.campaign.unwrap().state(), CampaignState::Paused);
}
