//! `IssueCoupon` is answered without the framework, and just as the framework would answer it.
//!
//! Each test makes the same calls in two ways: as they are, and with a header that means nothing and sends them
//! through the framework.

mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use coupon_proto::v1::{CreateCampaignRequest, IssueCouponRequest, IssueCouponResponse};
use coupon_router::RouterConfig;
use prost::Message as _;
use support::fake_cluster::FakeCluster;
use support::http2::{Answered, Ending, Http2, frame};
use support::{Fixture, REQUEST_ID, config, issue, reason};
use tokio::time::timeout;
use tonic::Code;
use tonic_types::StatusExt as _;

type Headers = &'static [(&'static str, &'static str)];

const SHORT: Headers = &[];

const FRAMEWORK: Headers = &[("grpc-encoding", "identity")];

/// Timeout for any wait in a test.
const PATIENCE: Duration = Duration::from_secs(20);

/// How large a request may be.
const REQUEST_BYTES_MAX: usize = 64 << 10;

/// A call, and what it must be told.
struct Case {
    name: &'static str,
    data: Vec<Vec<u8>>,
    ending: Ending,
    code: Code,
    /// The reason of an error; of any other answer whether it repeats an earlier one.
    says: &'static str,
}

fn request(campaign_id: &str, recipient: &str) -> Vec<u8> {
    let request_id = REQUEST_ID.to_owned();
    IssueCouponRequest { request_id, ..issue(campaign_id, recipient) }.encode_to_vec()
}

fn good() -> Vec<u8> {
    frame(0, &request("spring", "a"))
}

/// A message of `bytes` whose fields are invalid and whose frame is not.
fn large(bytes: usize) -> Vec<u8> {
    let overhead = issue("", &"x".repeat(bytes)).encoded_len() - bytes;
    frame(0, &issue("", &"x".repeat(bytes - overhead)).encode_to_vec())
}

fn cases() -> Vec<Case> {
    let case = |name, data: &[&[u8]], ending, code, says| {
        let data = data.iter().map(|data| data.to_vec()).collect();
        Case { name, data, ending, code, says }
    };
    let answered = |name, data: &[&[u8]], says| case(name, data, Ending::Data, Code::Ok, says);
    let refused = |name, data: &[&[u8]]| {
        case(name, data, Ending::Data, Code::InvalidArgument, "FIELD_VIOLATIONS")
    };
    let good = good();
    let bytewise: Vec<_> = good.chunks(1).collect();
    let twice = [good.clone(), good.clone()].concat();
    vec![
        answered("a good request", &[&good], "new"),
        answered("a replay", &[&good], "again"),
        answered("a request byte by byte", &bytewise, "again"),
        answered("a request and an empty end", &[&good, b""], "again"),
        answered("two messages", &[&twice], "again"),
        case("a request with trailers", &[&good], Ending::Trailers, Code::Ok, "again"),
        answered("two messages in odd pieces", &[&twice[..7], &twice[7..]], "again"),
        case(
            "a refusal with details",
            &[&frame(0, &issue("spring", "a").encode_to_vec())],
            Ending::Data,
            Code::AlreadyExists,
            "RECIPIENT_LIMIT_REACHED",
        ),
        case(
            "an unknown campaign",
            &[&frame(0, &request("nothing", "a"))],
            Ending::Data,
            Code::NotFound,
            "CAMPAIGN_NOT_FOUND",
        ),
        refused("an invalid argument", &[&frame(0, &request("Upper", "a\u{7}"))]),
        refused("an empty message", &[&frame(0, b"")]),
        refused("malformed protobuf", &[&frame(0, b"\xff\xff\xff")]),
        refused("a string that is not UTF-8", &[&frame(0, b"\x0a\x02\xff\xff")]),
        refused("the largest message", &[&large(REQUEST_BYTES_MAX)]),
        refused("a message too large", &[&large(REQUEST_BYTES_MAX + 1)]),
        refused("a frame that announces too much", &[b"\0\xff\xff\xff\xff"]),
        refused("no body", &[]),
        refused("an empty body", &[b""]),
        refused("part of a frame's header", &[&good[..3]]),
        refused("part of a message", &[&good[..good.len() - 1]]),
        refused("a message and part of another", &[&good, &good[..9]]),
        refused("a message and a malformed one", &[&good, &frame(0, b"\xff")]),
        refused("a compressed message", &[&frame(1, &request("spring", "a"))]),
        refused("a message with an unknown flag", &[&frame(2, &request("spring", "a"))]),
        case(
            "part of a message with trailers",
            &[&good[..9]],
            Ending::Trailers,
            Code::InvalidArgument,
            "FIELD_VIOLATIONS",
        ),
        case(
            "a message and part of another with trailers",
            &[&good, &good[..9]],
            Ending::Trailers,
            Code::Ok,
            "again",
        ),
    ]
}

/// What an answer says besides its code.
fn said(answered: &Answered) -> String {
    let status = answered.status();
    if status.code() != Code::Ok {
        return reason(&status);
    }
    let message = IssueCouponResponse::decode(&answered.body[5..]).expect("it is one message");
    if message.replayed { "again" } else { "new" }.to_owned()
}

/// The details of an error. Their metadata has no order on the wire.
fn details(answered: &Answered) -> String {
    let status = answered.status();
    let info = status.get_details_error_info();
    let info = info.map(|info| (info.reason, info.domain, BTreeMap::from_iter(info.metadata)));
    format!("{info:?} {:?} {:?}", status.get_details_bad_request(), status.get_details_retry_info())
}

async fn call(http2: &Http2, headers: Headers, data: &[Vec<u8>], ending: Ending) -> Answered {
    let data: Vec<&[u8]> = data.iter().map(Vec::as_slice).collect();
    let call = http2.begin("IssueCoupon", headers, &data, ending).await.expect("it is open");
    call.answer().await.expect("it is answered")
}

#[tokio::test]
async fn every_call_gets_the_same_answer_both_ways() {
    let mut all = Vec::new();
    for headers in [SHORT, FRAMEWORK] {
        let mut t = Fixture::start().await;
        let create = CreateCampaignRequest {
            campaign_id: "spring".to_owned(),
            quota: 10,
            per_recipient_limit: 1,
            ..Default::default()
        };
        t.campaigns.create_campaign(create).await.unwrap();
        let http2 = Http2::connect(&t.router).await;
        let mut answers = Vec::new();
        for case in cases() {
            let answered = call(&http2, headers, &case.data, case.ending).await;
            let name = case.name;
            assert_eq!(answered.status().code(), case.code, "{name}: {answered:?}");
            assert_eq!(said(&answered), case.says, "{name}: {answered:?}");
            let details = details(&answered);
            let mut rest = answered;
            for fields in rest.trailers.iter_mut().chain([&mut rest.headers]) {
                fields.remove("grpc-status-details-bin");
            }
            answers.push((name, details, rest));
        }
        all.push(answers);
    }
    assert_eq!(all[0], all[1]);
}

#[tokio::test]
async fn a_call_without_an_outcome_is_told_so_both_ways() {
    let mut all = Vec::new();
    for headers in [
        &[("grpc-timeout", "700m")] as Headers,
        &[("grpc-timeout", "700m"), ("grpc-encoding", "identity")],
    ] {
        let mut t = Fixture::start().await;
        t.create("spring", 10).await;
        t.cluster.lead(0);
        let http2 = Http2::connect(&t.router).await;
        let answered = call(&http2, headers, &[good()], Ending::Data).await;
        assert_eq!(said(&answered), "NO_LEADER");
        // The rest of this request never comes, and its caller stops waiting.
        let over = call(&http2, headers, &[good()], Ending::Never).await;
        assert_eq!(said(&over), "DEADLINE_EXCEEDED");
        all.push((answered, over));
    }
    assert_eq!(all[0], all[1]);
}

#[tokio::test]
async fn a_permit_is_needed_and_kept_until_the_answer_both_ways() {
    let mut all = Vec::new();
    for headers in [SHORT, FRAMEWORK] {
        let cluster = FakeCluster::start(1, &[1]).await;
        let default_deadline = Duration::from_millis(500);
        let config = RouterConfig { requests_max: 1, default_deadline, ..config(&cluster) };
        let mut t = Fixture::with(cluster, config).await;
        t.create("spring", 10).await;
        let http2 = Http2::connect(&t.router).await;
        let begin = async |ending| {
            let data = good();
            http2.begin("IssueCoupon", headers, &[&data], ending).await.expect("it is open")
        };
        // The rest of this request never comes.
        let late = begin(Ending::Never).await;
        let refused = call(&http2, headers, &[good()], Ending::Data).await;
        assert_eq!(said(&refused), "OVERLOADED");
        let late = late.answer().await.expect("it is answered");
        assert_eq!(said(&late), "DEADLINE_EXCEEDED");

        // This one is waited for by no caller any more.
        t.cluster.lead(0);
        let mut given_up = begin(Ending::Data).await;
        t.cluster.until_refused(1).await;
        given_up.rest.send_reset(h2::Reason::CANCEL);
        t.cluster.lead(1);
        let answered = async {
            loop {
                let answered = call(&http2, headers, &[good()], Ending::Data).await;
                if answered.status().code() != Code::Unavailable {
                    return answered;
                }
            }
        };
        let answered = timeout(PATIENCE, answered).await.expect("there is a permit again");
        assert_eq!(said(&answered), "new");
        all.push((refused, late, answered));
    }
    assert_eq!(all[0], all[1]);
}
