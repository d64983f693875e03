//! Many clients that redeem and void the same coupons at once, and what the checker says to it.

use coupon_checker::{Call, Campaign, Operation, Outcome};
use coupon_client::new_request_id;
use coupon_proto::v1;
use coupon_proto::v1::coupon_service_client::CouponServiceClient;
use futures::future::join_all;
use tokio::time::Instant;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

use super::campaign::{CALL_TIMEOUT, create, issue, read_back, request};
use super::cluster::Cluster;

/// The answer to a redemption, and its request.
pub(crate) type Redeemed = (v1::RedeemCouponRequest, Result<v1::RedeemCouponResponse, Status>);

/// A request to redeem a coupon that was not sent before.
pub(crate) fn redemption(code: &str, order_ref: &str) -> v1::RedeemCouponRequest {
    v1::RedeemCouponRequest {
        code: code.to_owned(),
        request_id: new_request_id(),
        order_ref: order_ref.to_owned(),
        ..v1::RedeemCouponRequest::default()
    }
}

/// Redeems a coupon.
pub(crate) async fn redeem(
    client: &mut CouponServiceClient<Channel>,
    request: v1::RedeemCouponRequest,
) -> Result<v1::RedeemCouponResponse, Status> {
    let mut call = Request::new(request);
    call.set_timeout(CALL_TIMEOUT);
    Ok(client.redeem_coupon(call).await?.into_inner())
}

/// A number of clients redeem one coupon at once, each over a connection of its own and for another order.
pub(crate) async fn redeem_at_once(cluster: &Cluster, code: &str, clients: usize) -> Vec<Redeemed> {
    let calls = (0..clients).map(|number| async move {
        let mut client = CouponServiceClient::new(cluster.connect());
        let request = redemption(code, &format!("order-{number}"));
        (request.clone(), redeem(&mut client, request).await)
    });
    join_all(calls).await
}

/// A coupon of a new campaign is redeemed by many at once, for the checker.
pub(crate) async fn contended(cluster: &Cluster) -> Campaign {
    create(cluster, "contended", 1).await;
    let mut client = CouponServiceClient::new(cluster.connect());
    let mut operations = Vec::new();
    let began = Instant::now();
    let asked = request("contended", "ann");
    let code = issued(&mut client, asked, &mut operations, began).await;
    for (_, answer) in redeem_at_once(cluster, &code, 64).await {
        let outcome = match answer {
            Ok(_) => Outcome::Done,
            Err(status) if status.code() == Code::FailedPrecondition => Outcome::Refused,
            Err(_) => Outcome::Unknown,
        };
        let call = Call::Redeem { code: code.as_str().into() };
        operations.push(Operation { invoked: 0, returned: nanos(began), call, outcome });
    }
    let campaign = read_back(cluster, "contended", 1).await;
    Campaign { operations, is_complete: true, ..campaign }
}

/// Coupons of a campaign that is sold out are voided, each several times, and whatever can be is issued in their
/// place, for the checker.
pub(crate) async fn reissued(cluster: &Cluster) -> Campaign {
    create(cluster, "reissued", 3).await;
    let mut client = CouponServiceClient::new(cluster.connect());
    let mut operations = Vec::new();
    let began = Instant::now();
    for recipient in ["ann", "bob", "eve"] {
        let asked = request("reissued", recipient);
        let code = issued(&mut client, asked, &mut operations, began).await;
        let void = v1::VoidCouponRequest {
            code: code.clone(),
            request_id: new_request_id(),
            return_quota: true,
            ..v1::VoidCouponRequest::default()
        };
        for replayed in [false, true, true] {
            let answer = client.void_coupon(void.clone()).await.expect("it can be voided");
            assert_eq!(answer.into_inner().replayed, replayed);
        }
        let call = Call::Void { code: code.into() };
        let outcome = Outcome::Done;
        operations.push(Operation { invoked: 0, returned: nanos(began), call, outcome });
    }
    for number in 0..9 {
        let asked = request("reissued", &format!("late-{number}"));
        let (invoked, request_id) = (nanos(began), uuid_of(&asked.request_id));
        let call = Call::Issue { request_id, recipient: asked.recipient.as_str().into() };
        let outcome = match issue(&mut client, asked).await {
            Ok(answer) => outcome_of(answer),
            Err(status) if status.code() == Code::FailedPrecondition => Outcome::SoldOut,
            Err(_) => Outcome::Unknown,
        };
        operations.push(Operation { invoked, returned: nanos(began), call, outcome });
    }
    let campaign = read_back(cluster, "reissued", 3).await;
    Campaign { operations, is_complete: true, ..campaign }
}

/// Issues a coupon, and notes that. Returns its code.
async fn issued(
    client: &mut CouponServiceClient<Channel>,
    asked: v1::IssueCouponRequest,
    operations: &mut Vec<Operation>,
    began: Instant,
) -> String {
    let (invoked, request_id) = (nanos(began), uuid_of(&asked.request_id));
    let call = Call::Issue { request_id, recipient: asked.recipient.as_str().into() };
    let answer = issue(client, asked).await.expect("a coupon is left");
    let code = answer.coupon.as_ref().expect("an answer has a coupon").code.clone();
    let outcome = outcome_of(answer);
    operations.push(Operation { invoked, returned: nanos(began), call, outcome });
    code
}

fn outcome_of(answer: v1::IssueCouponResponse) -> Outcome {
    let coupon = answer.coupon.expect("an answer has a coupon");
    let (sequence, code) = (coupon.sequence.unsigned_abs(), coupon.code.into());
    Outcome::Issued { sequence, code, replayed: answer.replayed }
}

fn uuid_of(request_id: &str) -> u128 {
    request_id.parse::<uuid::Uuid>().expect("it was just made").as_u128()
}

fn nanos(began: Instant) -> u64 {
    u64::try_from(began.elapsed().as_nanos()).expect("a test takes no centuries")
}
