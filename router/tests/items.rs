//! A small request that would become very many messages is refused before it takes the memory for them.

mod support;

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use support::http2::{Answered, Ending, Http2, frame};
use support::{Fixture, reason};
use tonic::Code;

/// How many empty requests a batch has. In bytes, it is as large as a batch may be.
const EMPTY_REQUESTS: usize = 690_000;

/// By how much the process may grow; such a batch, decoded, takes more than twice as much.
const GROWTH_MAX: u64 = 64 << 20;

/// The most memory that this process had at a time, in bytes.
fn memory_max() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("it is Linux");
    let kilobytes = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.strip_suffix("kB"));
    kilobytes.and_then(|text| text.trim().parse::<u64>().ok()).expect("it is a number") << 10
}

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(data).expect("a Vec takes all");
    encoder.finish().expect("a Vec takes all")
}

async fn call(http2: &Http2, headers: &[(&str, &str)], body: &[u8]) -> Answered {
    let call = http2.begin("BatchIssueCoupons", headers, &[body], Ending::Data).await;
    call.expect("it is open").answer().await.expect("it is answered")
}

#[tokio::test]
async fn a_batch_of_very_many_empty_requests_is_refused_in_every_form() {
    let t = Fixture::start().await;
    let http2 = Http2::connect(&t.router).await;
    let wire = [0x0a, 0].repeat(EMPTY_REQUESTS);
    let json = format!("{{\"requests\":[{}{{}}]}}", "{},".repeat(EMPTY_REQUESTS - 1));
    let packed = gzip(&wire);
    assert!(packed.len() < 4_096, "{} bytes", packed.len());
    let before = memory_max();
    let says = "must not have more than 17000 items in its repeated fields";
    for (headers, body) in [
        (&[][..], frame(0, &wire)),
        (&[("grpc-encoding", "identity")], frame(0, &wire)),
        (&[("grpc-encoding", "gzip")], frame(1, &packed)),
    ] {
        let status = call(&http2, headers, &body).await.status();
        assert_eq!(status.code(), Code::InvalidArgument, "{headers:?}: {status:?}");
        assert_eq!(reason(&status), "FIELD_VIOLATIONS");
        assert!(status.message().contains(says), "{status:?}");
    }
    for (headers, body) in [
        (&[("content-type", "application/proto"), ("content-encoding", "gzip")][..], packed),
        (
            &[("content-type", "application/json"), ("content-encoding", "gzip")],
            gzip(json.as_bytes()),
        ),
        (&[("content-type", "application/json")], json.into_bytes()),
    ] {
        let answered = call(&http2, headers, &body).await;
        let said = String::from_utf8_lossy(&answered.body);
        assert_eq!(answered.status, 400, "{headers:?}: {said}");
        assert!(
            said.contains("\"invalid_argument\"") && said.contains(says),
            "{headers:?}: {said}"
        );
    }
    let grown = memory_max() - before;
    assert!(grown < GROWTH_MAX, "{grown} bytes");
}

#[tokio::test]
async fn a_full_batch_is_answered_and_a_longer_one_counted() {
    let mut t = Fixture::start().await;
    t.create("spring", 10).await;
    let mut requests = vec![support::issue("spring", ""); 1_000];
    for request in &mut requests {
        request.metadata = (0..16).map(|key| (key.to_string(), String::new())).collect();
    }
    let request = coupon_proto::v1::BatchIssueCouponsRequest { requests };
    let answer = t.coupons.batch_issue_coupons(request.clone()).await.unwrap().into_inner();
    assert_eq!(answer.results.len(), 1_000);
    let mut longer = request;
    for request in &mut longer.requests {
        request.metadata.clear();
    }
    longer.requests.push(support::issue("spring", ""));
    let refused = t.coupons.batch_issue_coupons(longer).await.unwrap_err();
    assert_eq!(refused.message(), "requests: must have 1 to 1000 requests, has 1001");
}
