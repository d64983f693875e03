//! Calls that break the protocol, over a connection that others use as well.

mod support;

use h2::Reason;
use prost::Message as _;
use support::http2::{Ending, Http2, frame};
use support::{Fixture, issue};
use tonic::Code;

/// More calls than h2 lets fail on one connection by default (1,024) before it closes the connection.
const BROKEN: usize = 1_100;

#[tokio::test]
async fn a_client_whose_calls_break_the_protocol_keeps_its_connection() {
    let mut t = Fixture::start().await;
    t.create("spring", 10).await;
    let http2 = Http2::connect(&t.router).await;
    let request = frame(0, &issue("spring", "a").encode_to_vec());
    for number in 1..=BROKEN {
        // The body is longer than the header says.
        let headers = [("content-length", "1")];
        let call = http2.begin("IssueCoupon", &headers, &[&request], Ending::Data).await;
        let call = call.unwrap_or_else(|error| panic!("call {number}: {error}"));
        let error = call.answer().await.unwrap_err();
        assert!(error.is_reset(), "call {number}: {error}");
        assert_eq!(error.reason(), Some(Reason::PROTOCOL_ERROR), "call {number}");
    }
    let call = http2.begin("IssueCoupon", &[], &[&request], Ending::Data).await.unwrap();
    assert_eq!(call.answer().await.unwrap().status().code(), Code::Ok);
}
