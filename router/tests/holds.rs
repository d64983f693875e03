//! What clients see of holds.

mod support;

use coupon_proto::v1::{
    ConfirmHoldRequest, CouponState, HoldCouponRequest, HoldState, ReleaseHoldRequest,
};
use prost_types::Duration;
use support::{Fixture, REQUEST_ID, reason};
use tonic::Code;
use tonic_types::StatusExt as _;

const OTHER_ID: &str = "9e21c86d-7b54-4d0a-9e21-5c86d7f0b413";

fn hold(campaign_id: &str, ttl: Option<Duration>) -> HoldCouponRequest {
    HoldCouponRequest {
        campaign_id: campaign_id.to_owned(),
        recipient: "ann".to_owned(),
        ttl,
        request_id: REQUEST_ID.to_owned(),
    }
}

fn seconds(seconds: i64) -> Option<Duration> {
    Some(Duration { seconds, nanos: 0 })
}

#[tokio::test]
async fn a_coupon_is_held_and_the_hold_confirmed() {
    let mut t = Fixture::start().await;
    t.create("spring", 1).await;
    let held = t.coupons.hold_coupon(hold("spring", seconds(60))).await.unwrap().into_inner();
    let shown = held.hold.unwrap();
    assert_eq!((shown.state(), shown.hold_id.as_str()), (HoldState::Open, REQUEST_ID));
    assert_eq!((shown.campaign_id.as_str(), shown.recipient.as_str()), ("spring", "ann"));
    assert_eq!(shown.create_time.unwrap().to_string(), "2023-11-14T22:13:20Z");
    assert_eq!(shown.expire_time.unwrap().to_string(), "2023-11-14T22:14:20Z");
    let other = HoldCouponRequest { request_id: String::new(), ..hold("spring", seconds(60)) };
    let refused = t.coupons.hold_coupon(other).await.unwrap_err();
    assert_eq!(
        (refused.code(), reason(&refused).as_str()),
        (Code::FailedPrecondition, "QUOTA_HELD")
    );
    assert!(refused.get_details_retry_info().is_some());

    let confirm = ConfirmHoldRequest {
        campaign_id: "spring".to_owned(),
        hold_id: REQUEST_ID.to_owned(),
        request_id: OTHER_ID.to_owned(),
        metadata: [("order".to_owned(), "A-1".to_owned())].into(),
    };
    let first = t.coupons.confirm_hold(confirm.clone()).await.unwrap().into_inner();
    let coupon = first.coupon.unwrap();
    assert_eq!((coupon.state(), coupon.recipient.as_str()), (CouponState::Issued, "ann"));
    assert_eq!((coupon.request_id.as_str(), first.replayed), (REQUEST_ID, false));
    assert_eq!(coupon.metadata["order"], "A-1");
    assert!(!coupon.code.is_empty());
    let again = t.coupons.confirm_hold(confirm).await.unwrap().into_inner();
    assert_eq!((again.coupon, again.replayed), (Some(coupon), true));
    // The hold says by now what became of it.
    let again = t.coupons.hold_coupon(hold("spring", seconds(60))).await.unwrap().into_inner();
    let shown = again.hold.unwrap();
    assert_eq!((shown.state(), shown.sequence), (HoldState::Confirmed, 1));
    assert!(again.replayed && shown.confirm_time.is_some());
}

#[tokio::test]
async fn a_hold_is_released_or_expires() {
    let mut t = Fixture::start().await;
    t.create("spring", 1).await;
    t.coupons.hold_coupon(hold("spring", seconds(1))).await.unwrap();
    // The router's clock is far beyond its end, but log time is not.
    for (passed_micros, state) in
        [(0, HoldState::Open), (999_999, HoldState::Open), (1, HoldState::Expired)]
    {
        t.cluster.pass_time_of_holds(passed_micros);
        let again = t.coupons.hold_coupon(hold("spring", seconds(1))).await.unwrap().into_inner();
        assert_eq!((again.hold.unwrap().state(), again.replayed), (state, true));
    }
    let release = |request_id: &str| ReleaseHoldRequest {
        campaign_id: "spring".to_owned(),
        hold_id: REQUEST_ID.to_owned(),
        request_id: request_id.to_owned(),
    };
    let released = t.coupons.release_hold(release(OTHER_ID)).await.unwrap().into_inner();
    let shown = released.hold.unwrap();
    assert_eq!((shown.state(), released.replayed), (HoldState::Released, false));
    assert!(shown.release_time.is_some());
    assert!(t.coupons.release_hold(release(OTHER_ID)).await.unwrap().into_inner().replayed);
    let refused = t.coupons.release_hold(release("")).await.unwrap_err();
    assert_eq!(reason(&refused), "HOLD_RELEASED");
    let metadata = refused.get_details_error_info().unwrap().metadata;
    assert_eq!(metadata["release_time"], "2023-11-14T22:13:20Z");
    let unknown = ReleaseHoldRequest { hold_id: OTHER_ID.to_owned(), ..release("") };
    let refused = t.coupons.release_hold(unknown).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::NotFound, "HOLD_NOT_FOUND"));
}

#[tokio::test]
async fn fields_of_holds_are_checked() {
    let mut t = Fixture::start().await;
    let day = 86_400;
    for (ttl, is_valid) in [
        (None, false),
        (seconds(0), false),
        (Some(Duration { seconds: 0, nanos: 999_999_999 }), false),
        (seconds(1), true),
        (seconds(day), true),
        (Some(Duration { seconds: day, nanos: 1_000 }), false),
        (seconds(-1), false),
        (seconds(i64::MAX), false),
        (Some(Duration { seconds: 1, nanos: -1 }), false),
    ] {
        let refused = t.coupons.hold_coupon(hold("none", ttl)).await.unwrap_err();
        let expected = if is_valid { "CAMPAIGN_NOT_FOUND" } else { "FIELD_VIOLATIONS" };
        assert_eq!(reason(&refused), expected, "{ttl:?}");
    }
    let confirm = ConfirmHoldRequest {
        campaign_id: "Not An Id".to_owned(),
        hold_id: "no".to_owned(),
        request_id: "no".to_owned(),
        ..Default::default()
    };
    let refused = t.coupons.confirm_hold(confirm).await.unwrap_err();
    let violations = refused.get_details_bad_request().unwrap().field_violations;
    let fields: Vec<_> = violations.iter().map(|violation| violation.field.as_str()).collect();
    assert_eq!(fields, ["campaign_id", "hold_id", "request_id"]);
    let release = ReleaseHoldRequest { campaign_id: "spring".to_owned(), ..Default::default() };
    let refused = t.coupons.release_hold(release).await.unwrap_err();
    assert_eq!(refused.get_details_bad_request().unwrap().field_violations.len(), 1);
}
