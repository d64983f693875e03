//! All protocols against one service, by the rules that Connect, gRPC and gRPC-Web publish: each call in every
//! protocol, both versions of HTTP, compressed or not; and requests that are wrong.

mod calls;
mod client;
mod fuzz;
mod http;
mod messages;
mod requests;
mod service;

use std::fmt::Write as _;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use ::http::Request;
use bytes::Bytes;
use futures::FutureExt as _;
use http_body_util::Full;
use tokio::time::timeout;

/// Timeout for any case.
const PATIENCE: Duration = Duration::from_secs(20);

/// Runs cases and reports all that fail.
#[derive(Default)]
struct Run {
    count: usize,
    failed: Vec<String>,
}

impl Run {
    async fn case(&mut self, name: String, case: impl Future<Output = ()>) {
        self.count += 1;
        let ended = timeout(PATIENCE, AssertUnwindSafe(case).catch_unwind()).await;
        if !matches!(ended, Ok(Ok(()))) {
            self.failed.push(name);
        }
    }

    fn finish(self, count_min: usize) {
        let Self { count, failed } = self;
        assert!(
            failed.is_empty(),
            "{} of {count} cases failed:\n{}",
            failed.len(),
            failed.join("\n")
        );
        assert!(count >= count_min, "only {count} cases");
    }
}

#[tokio::test]
async fn every_protocol_carries_every_call_alike() {
    let server = service::start().await;
    let mut run = Run::default();
    for case in calls::cases() {
        for manner in calls::manners() {
            let needs_http2 = case.method == "BidiStream";
            // JSON writes bytes in base64, which needs more of them.
            let is_longer = manner.is_json && case.name.ends_with("at-the-limit");
            if needs_http2 && !manner.is_http2 || is_longer {
                continue;
            }
            let name = format!("{} {manner:?}", case.name);
            run.case(name, async {
                let called = client::call(
                    server,
                    manner,
                    case.method,
                    &case.asks,
                    case.timeout_ms,
                    case.headers,
                );
                (case.expect)(&called.await);
            })
            .await;
        }
    }
    run.finish(900);
}

#[tokio::test]
async fn wrong_requests_are_refused_in_their_own_protocol() {
    let server = service::start().await;
    let mut run = Run::default();
    for case in requests::cases() {
        for is_http2 in case.versions.iter().copied() {
            let name = format!("{} over HTTP/{}", case.name, if is_http2 { "2" } else { "1.1" });
            let case = &case;
            run.case(name, async move {
                let mut request = Request::builder().method(case.verb).uri(&case.path);
                for (name, value) in &case.headers {
                    request = request.header(*name, *value);
                }
                let body = Full::new(Bytes::from(case.body.clone()));
                let request = request.body(body).expect("the case is a request");
                let answered = http::exchange(server, is_http2, request).await;
                let mut said = String::new();
                for (name, value) in answered.headers.iter().chain(&answered.trailers) {
                    let value = String::from_utf8_lossy(value.as_bytes());
                    writeln!(said, "{name}: {value}").expect("a String takes all");
                }
                said += &format!("\n{}", String::from_utf8_lossy(&answered.body));
                assert_eq!(answered.status, case.status, "{case:?}\n{said}");
                for part in &case.says {
                    assert!(said.contains(part), "{part:?} is missing in\n{said}\n{case:?}");
                }
            })
            .await;
        }
    }
    run.finish(150);
}
