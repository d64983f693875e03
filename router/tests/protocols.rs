//! Clients that do not speak gRPC: what they are answered, and that admission, deadlines and a stop hold for them too.
//! The protocols themselves are tested where they are made.

mod support;

use std::time::Duration;

use coupon_router::RouterConfig;
use support::fake_cluster::FakeCluster;
use support::http1::Http1;
use support::http2::{Ending, Http2};
use support::{Fixture, REQUEST_ID, config};
use tokio::time::timeout;
use tonic::Code;

/// Timeout for any wait in a test.
const PATIENCE: Duration = Duration::from_secs(20);

const ISSUE: &str = "CouponService/IssueCoupon";

const GOOD: &str = r#"{"campaignId":"spring","recipient":"a"}"#;

async fn opened() -> (Fixture, Http1) {
    let mut t = Fixture::start().await;
    t.create("spring", 1).await;
    let client = Http1::connect(&t.router).await;
    (t, client)
}

#[tokio::test]
async fn coupons_are_issued_in_json_over_one_connection() {
    let (_t, mut client) = opened().await;
    let request =
        format!(r#"{{"campaign_id":"spring","recipient":"a","request_id":"{REQUEST_ID}"}}"#);
    let issued = client.call(ISSUE, "Connect-Protocol-Version: 1\r\n", &request).await;
    assert_eq!(issued.status, 200, "{issued:?}");
    assert!(issued.body.contains(r#""sequence":"1""#), "{issued:?}");
    assert!(issued.body.contains(r#""state":"COUPON_STATE_ISSUED""#), "{issued:?}");
    let again = client.call(ISSUE, "", &request).await;
    assert!(again.body.ends_with(r#","replayed":true}"#), "{again:?}");
    let refused = client.call(ISSUE, "", GOOD).await;
    assert_eq!(refused.status, 400);
    let error = r#"{"code":"failed_precondition","#;
    assert!(refused.body.starts_with(error), "{refused:?}");
    assert!(refused.body.contains(r#""message":"no more coupons available""#), "{refused:?}");
    assert!(refused.body.contains(r#""reason":"SOLD_OUT""#), "{refused:?}");
}

#[tokio::test]
async fn wrong_requests_are_told_like_those_of_grpc() {
    let (t, mut client) = opened().await;
    let large = format!(r#"{{"recipient":"{}"}}"#, "a".repeat(70_000));
    let wrong = [
        ("{", "the JSON is not that of a request"),
        (r#"{"recipient":7}"#, "the JSON is not that of a request"),
        (large.as_str(), "must not be larger than 65536 bytes"),
        ("{}", "campaign_id: "),
    ];
    for (json, says) in wrong {
        let refused = client.call(ISSUE, "", json).await;
        assert_eq!(refused.status, 400, "{refused:?}");
        assert!(refused.body.contains(r#""code":"invalid_argument""#), "{refused:?}");
        assert!(refused.body.contains(r#""reason":"FIELD_VIOLATIONS""#), "{refused:?}");
        assert!(refused.body.contains("google.rpc.BadRequest"), "{refused:?}");
        assert!(refused.body.contains(says), "{refused:?}");
        if json.len() > 65_536 {
            // What is left of such a request is not read.
            client = Http1::connect(&t.router).await;
        }
    }
}

#[tokio::test]
async fn the_deadline_is_the_callers() {
    let (t, mut client) = opened().await;
    t.cluster.lead(0);
    let late = client.call(ISSUE, "Connect-Timeout-Ms: 400\r\n", GOOD).await;
    assert_eq!(late.status, 503, "{late:?}");
    assert!(late.body.contains(r#""reason":"NO_LEADER""#), "{late:?}");
    assert!(late.body.contains(r#""debug":{"retryDelay":"1s"}"#), "{late:?}");
    // The rest of this request never comes.
    client
        .send(&format!(
            "POST /coupon.v1.{ISSUE} HTTP/1.1\r\nHost: router\r\nContent-Type: application/json\r\n\
             Content-Length: 99\r\nConnect-Timeout-Ms: 100\r\n\r\n{{"
        ))
        .await;
    let over = client.answer().await.expect("it is answered");
    assert_eq!(over.status, 504, "{over:?}");
    assert!(over.body.contains(r#""code":"deadline_exceeded""#), "{over:?}");
}

#[tokio::test]
async fn requests_of_all_protocols_need_a_permit() {
    let cluster = FakeCluster::start(1, &[1]).await;
    let config = RouterConfig { requests_max: 1, ..config(&cluster) };
    let mut t = Fixture::with(cluster, config).await;
    t.create("spring", 10).await;
    let mut first = Http1::connect(&t.router).await;
    let head = format!(
        "POST /coupon.v1.{ISSUE} HTTP/1.1\r\nHost: router\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n",
        GOOD.len()
    );
    first.send(&head).await;
    let mut second = Http1::connect(&t.router).await;
    let refused = async {
        loop {
            let answered = second.call(ISSUE, "", GOOD).await;
            // The first one may not have been let in yet.
            if answered.status != 200 {
                return answered;
            }
        }
    };
    let refused = timeout(PATIENCE, refused).await.expect("there is one permit");
    assert_eq!(refused.status, 503, "{refused:?}");
    assert!(refused.body.contains(r#""reason":"OVERLOADED""#), "{refused:?}");
    first.send(GOOD).await;
    assert_eq!(first.answer().await.expect("it is answered").status, 200);
}

#[tokio::test]
async fn pages_tell_what_it_is_and_whether_it_serves() {
    let cluster = FakeCluster::start(1, &[1]).await;
    let mut config = config(&cluster);
    // Nothing answers there.
    let silent = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    config.nodes = vec![silent.local_addr().unwrap().to_string()];
    let router = coupon_router::start(config).await.unwrap();
    let mut client = Http1::connect(&router).await;
    assert!(client.get("/").await.body.contains("Coupon"));
    assert_eq!(client.get("/healthz").await.status, 200);
    assert_eq!(client.get("/readyz").await.status, 503);
    assert_eq!(client.get("/favicon.ico").await.status, 404);

    let (_t, mut client) = opened().await;
    assert_eq!(client.get("/readyz").await.status, 200);
}

#[tokio::test]
async fn the_version_of_http_is_told_by_the_first_bytes_however_they_come() {
    let (t, mut client) = opened().await;
    for piece in ["P", "O", "ST / HT", "TP/1.1\r\nHost: router\r\n\r\n"] {
        client.send(piece).await;
        tokio::task::yield_now().await;
    }
    assert_eq!(client.answer().await.expect("it is answered").status, 404);
    // HTTP/2, cut within its first four bytes and left alone, does no harm.
    let mut cut = Http1::connect(&t.router).await;
    cut.send("PR").await;
    let http2 = Http2::connect(&t.router).await;
    let called = http2.begin("IssueCoupon", &[], &[], Ending::Data).await.unwrap();
    assert_eq!(called.answer().await.unwrap().status().code(), Code::InvalidArgument);
    timeout(PATIENCE, t.router.shutdown()).await.expect("nothing is waited for").unwrap();
    assert!(cut.answer().await.is_none());
}

#[tokio::test]
async fn a_stop_lets_requests_over_http_1_finish() {
    let (t, mut busy) = opened().await;
    let mut idle = Http1::connect(&t.router).await;
    assert_eq!(idle.get("/healthz").await.status, 200);
    t.cluster.lead(0);
    let bytes = GOOD.len();
    busy.send(&format!(
        "POST /coupon.v1.{ISSUE} HTTP/1.1\r\nHost: router\r\nContent-Type: application/json\r\n\
         Content-Length: {bytes}\r\n\r\n{GOOD}"
    ))
    .await;
    t.cluster.until_refused(1).await;
    let (stopped, answered) = tokio::join!(t.router.shutdown(), async {
        assert!(idle.answer().await.is_none(), "an idle connection is closed");
        t.cluster.lead(2);
        busy.answer().await
    });
    stopped.unwrap();
    assert_eq!(answered.expect("it is answered").status, 200);
}

#[tokio::test]
async fn a_header_is_bounded() {
    let (_t, mut client) = opened().await;
    let path = format!("/{}", "a".repeat(20_000));
    assert_eq!(client.get(&path).await.status, 431);
}
