//! Calls that every protocol must carry alike: what is asked, and what must come of it.

use prost::Message as _;
use prost_types::Any;
use tonic::Code;

use crate::client::{CODES, Manner, Outcome, Protocol};
use crate::messages::{Answer, Ask, Failure, header};
use crate::service::REQUEST_BYTES_MAX;

/// A call, and what is expected of it.
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) method: &'static str,
    pub(crate) asks: Vec<Ask>,
    pub(crate) timeout_ms: Option<u64>,
    pub(crate) headers: &'static [(&'static str, &'static str)],
    pub(crate) expect: Box<dyn Fn(&Outcome)>,
}

const TWICE: &[(&str, &str)] =
    &[("x-conformance-test", "Value1"), ("x-conformance-test", "Value2")];

fn case(
    name: impl Into<String>,
    method: &'static str,
    ask: Ask,
    expect: impl Fn(&Outcome) + 'static,
) -> Case {
    Case {
        name: name.into(),
        method,
        asks: vec![ask],
        timeout_ms: None,
        headers: &[],
        expect: Box::new(expect),
    }
}

fn asking(data: &[&[u8]]) -> Ask {
    Ask {
        headers: vec![header("x-custom-header", &["foo", "bar", "baz"])],
        data: data.iter().map(|data| data.to_vec()).collect(),
        trailers: vec![header("x-custom-trailer", &["bing", "quux"])],
        ..Ask::default()
    }
}

fn failing(code: Code, message: &str) -> Ask {
    let failure = Failure { code: code.into(), message: message.to_owned(), details: Vec::new() };
    Ask { failure: Some(failure), ..Ask::default() }
}

fn has(map: &http::HeaderMap, name: &str, values: &[&str]) {
    let found: Vec<_> = map.get_all(name).iter().collect();
    assert_eq!(found, values, "{name} in {map:?}");
}

/// Succeeds with these data, and the headers and trailers of [`asking`].
fn succeeds(outcome: &Outcome, data: &[&[u8]]) {
    assert_eq!(outcome.code, Code::Ok, "{outcome:?}");
    let found: Vec<_> = outcome.answers.iter().map(|answer| answer.data.as_slice()).collect();
    assert_eq!(found, data);
    has(&outcome.headers, "x-custom-header", &["foo", "bar", "baz"]);
    has(&outcome.trailers, "x-custom-trailer", &["bing", "quux"]);
}

fn fails(outcome: &Outcome, code: Code, message: &str) {
    assert_eq!((outcome.code, outcome.message.as_str()), (code, message), "{outcome:?}");
}

/// All calls.
pub(crate) fn cases() -> Vec<Case> {
    let mut cases = unary();
    cases.extend(streams());
    cases
}

fn unary() -> Vec<Case> {
    let mut cases = vec![
        case("unary/success", "Unary", asking(&[b"test response"]), |outcome| {
            succeeds(outcome, &[b"test response"]);
            assert_eq!(outcome.answers[0].requests, 1);
        }),
        case("unary/empty", "Unary", Ask::default(), |outcome| {
            assert_eq!(outcome.code, Code::Ok);
            assert_eq!(outcome.answers, [Answer { requests: 1, ..Answer::default() }]);
        }),
        case("unary/large", "Unary", asking(&[&[7; 20_000]]), |outcome| {
            succeeds(outcome, &[&[7; 20_000]]);
        }),
        case("unary/values", "Unary", values(), |outcome| {
            assert_eq!((outcome.answers[0].big_number, outcome.answers[0].kind), (i64::MIN, 1));
        }),
        case("unary/no-message", "Unary", failing(Code::NotFound, ""), |outcome| {
            fails(outcome, Code::NotFound, "");
        }),
        case(
            "unary/message-in-unicode",
            "Unary",
            failing(Code::Aborted, "한글 % \"\n"),
            |outcome| {
                fails(outcome, Code::Aborted, "한글 % \"\n");
            },
        ),
        case("unary/details", "Unary", with_details(), |outcome| {
            fails(outcome, Code::FailedPrecondition, "with details");
            assert_eq!(outcome.details, details());
        }),
        Case {
            timeout_ms: Some(50),
            ..case("unary/timeout", "Unary", delayed(), |outcome| {
                assert_eq!(outcome.code, Code::DeadlineExceeded);
            })
        },
        Case {
            timeout_ms: Some(0),
            ..case("unary/no-time", "Unary", delayed(), |outcome| {
                assert_eq!(outcome.code, Code::DeadlineExceeded);
            })
        },
        Case {
            timeout_ms: Some(20_000),
            ..case("unary/deadline-is-passed-on", "Unary", Ask::default(), |outcome| {
                assert_eq!(outcome.answers[0].timeout, "20000m");
            })
        },
        Case {
            headers: TWICE,
            ..case("unary/duplicate-metadata", "Unary", asking(&[b"x"]), |outcome| {
                succeeds(outcome, &[b"x"]);
                let seen = header("x-conformance-test", &["Value1", "Value2"]);
                assert!(outcome.answers[0].seen.contains(&seen), "{outcome:?}");
            })
        },
        case("unary/error-with-metadata", "Unary", metadata_error(), |outcome| {
            fails(outcome, Code::Internal, "unary failed");
            // Without an answer, gRPC sends trailers as headers.
            let holds =
                |map: &http::HeaderMap| map.get_all("x-custom-trailer").iter().eq(["bing", "quux"]);
            assert!(holds(&outcome.headers) || holds(&outcome.trailers), "{outcome:?}");
        }),
        case("unary/request-at-the-limit", "Unary", sized(0), |outcome| {
            assert_eq!(outcome.code, Code::Ok, "{outcome:?}");
        }),
        case("unary/request-over-the-limit", "Unary", sized(10), |outcome| {
            // The framework has a code of its own for plain gRPC.
            assert!(
                matches!(outcome.code, Code::ResourceExhausted | Code::OutOfRange),
                "{outcome:?}"
            );
        }),
    ];
    for (code, name, _) in CODES {
        let name = format!("unary/error-{name}");
        cases.push(case(name, "Unary", failing(code, "said so"), move |outcome| {
            fails(outcome, code, "said so");
        }));
    }
    cases
}

fn streams() -> Vec<Case> {
    let three = || vec![asking(&[b"a", b"b"]), Ask::default(), Ask::default()];
    vec![
        case(
            "server-stream/success",
            "ServerStream",
            asking(&[b"a", &[1; 5_000], b"c"]),
            |outcome| {
                succeeds(outcome, &[b"a", &[1; 5_000], b"c"]);
            },
        ),
        case("server-stream/no-answers", "ServerStream", asking(&[]), |outcome| {
            succeeds(outcome, &[]);
        }),
        Case {
            headers: TWICE,
            ..case("server-stream/duplicate-metadata", "ServerStream", asking(&[b"x"]), |outcome| {
                let seen = header("x-conformance-test", &["Value1", "Value2"]);
                assert!(outcome.answers[0].seen.contains(&seen), "{outcome:?}");
            })
        },
        case("server-stream/error-at-once", "ServerStream", with_details(), |outcome| {
            fails(outcome, Code::FailedPrecondition, "with details");
            assert_eq!(outcome.details, details());
        }),
        case("server-stream/error-after-answers", "ServerStream", late_error(), |outcome| {
            assert_eq!(outcome.answers.len(), 2);
            fails(outcome, Code::DataLoss, "broke");
        }),
        Case {
            timeout_ms: Some(50),
            ..case("server-stream/timeout", "ServerStream", delayed(), |outcome| {
                assert_eq!(outcome.code, Code::DeadlineExceeded);
            })
        },
        case("server-stream/request-over-the-limit", "ServerStream", sized(10), |outcome| {
            assert!(
                matches!(outcome.code, Code::ResourceExhausted | Code::OutOfRange),
                "{outcome:?}"
            );
        }),
        Case {
            asks: three(),
            ..case("client-stream/success", "ClientStream", Ask::default(), |outcome| {
                succeeds(outcome, &[b"a"]);
                assert_eq!(outcome.answers[0].requests, 3);
            })
        },
        Case {
            asks: Vec::new(),
            ..case("client-stream/no-requests", "ClientStream", Ask::default(), |outcome| {
                assert_eq!(outcome.answers[0].requests, 0);
            })
        },
        case("client-stream/error", "ClientStream", with_details(), |outcome| {
            fails(outcome, Code::FailedPrecondition, "with details");
        }),
        Case {
            asks: three(),
            ..case("bidi-stream/success", "BidiStream", Ask::default(), |outcome| {
                assert_eq!((outcome.code, outcome.answers.len()), (Code::Ok, 2));
            })
        },
    ]
}

/// All ways to make a call.
pub(crate) fn manners() -> Vec<Manner> {
    let protocols = [
        (Protocol::Connect, true),
        (Protocol::Connect, false),
        (Protocol::GrpcWeb, false),
        (Protocol::GrpcWeb, true),
        (Protocol::GrpcWebText, false),
        (Protocol::Grpc, false),
        (Protocol::Grpc, true),
    ];
    let mut manners = Vec::new();
    for (protocol, is_json) in protocols {
        for (is_http2, is_gzip) in [(false, false), (false, true), (true, false), (true, true)] {
            if is_http2 || protocol != Protocol::Grpc {
                manners.push(Manner { protocol, is_json, is_http2, is_gzip });
            }
        }
    }
    manners
}

fn values() -> Ask {
    Ask { big_number: i64::MIN, kind: 1, ..Ask::default() }
}

fn delayed() -> Ask {
    Ask { delay_ms: 30_000, data: vec![vec![1]], ..Ask::default() }
}

/// A request with so many bytes more than one may have.
fn sized(over: usize) -> Ask {
    // The tag and the length of the padding have four bytes.
    Ask { padding: vec![0; REQUEST_BYTES_MAX + over - 4], ..Ask::default() }
}

fn metadata_error() -> Ask {
    Ask { trailers: asking(&[]).trailers, ..failing(Code::Internal, "unary failed") }
}

fn late_error() -> Ask {
    Ask { data: vec![vec![1], vec![2]], ..failing(Code::DataLoss, "broke") }
}

fn details() -> Vec<Any> {
    let info = tonic_types::pb::ErrorInfo { reason: "REASON".to_owned(), ..Default::default() };
    let help =
        tonic_types::pb::LocalizedMessage { message: "없음".to_owned(), ..Default::default() };
    let any =
        |name, value| Any { type_url: format!("type.googleapis.com/google.rpc.{name}"), value };
    vec![any("ErrorInfo", info.encode_to_vec()), any("LocalizedMessage", help.encode_to_vec())]
}

fn with_details() -> Ask {
    let mut ask = failing(Code::FailedPrecondition, "with details");
    ask.failure.as_mut().expect("it fails").details = details();
    ask
}
