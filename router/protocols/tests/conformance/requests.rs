//! Single requests as they are written, most of them wrong, and what is answered.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

use crate::client::{frame, gzip, json};
use crate::messages::{Ask, Failure};
use crate::service::{PATH, REQUEST_BYTES_MAX};

/// A request, and what is expected.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) verb: &'static str,
    pub(crate) path: String,
    pub(crate) headers: Vec<(&'static str, &'static str)>,
    pub(crate) body: Vec<u8>,
    /// Of both versions of HTTP, or the one for which it makes sense.
    pub(crate) versions: &'static [bool],
    pub(crate) status: u16,
    /// Parts of the answer: its headers and trailers, one a line, and its body.
    pub(crate) says: Vec<&'static str>,
}

const BOTH: &[bool] = &[false, true];

fn post(name: &'static str, method: &str, content_type: &'static str, body: &[u8]) -> Case {
    Case {
        name,
        verb: "POST",
        path: format!("{PATH}{method}"),
        headers: vec![("content-type", content_type)],
        body: body.to_vec(),
        versions: BOTH,
        status: 200,
        says: Vec::new(),
    }
}

impl Case {
    fn with(mut self, name: &'static str, value: &'static str) -> Self {
        self.headers.push((name, value));
        self
    }

    fn is(mut self, status: u16, says: &[&'static str]) -> Self {
        self.status = status;
        self.says.extend(says);
        self
    }

    fn get(mut self, query: &str) -> Self {
        self.verb = "GET";
        self.path = format!("{}?{query}", self.path);
        self.headers.clear();
        self
    }

    fn verb(mut self, verb: &'static str) -> Self {
        self.verb = verb;
        self
    }

    fn only_http2(mut self) -> Self {
        self.versions = &[true];
        self
    }

    fn only_http1(mut self) -> Self {
        self.versions = &[false];
        self
    }
}

const INVALID: &str = r#""code":"invalid_argument""#;
const UNIMPLEMENTED: &str = r#""code":"unimplemented""#;
const GRPC_INVALID: &str = "grpc-status: 3";
const GRPC_UNIMPLEMENTED: &str = "grpc-status: 12";

/// All of them.
pub(crate) fn cases() -> Vec<Case> {
    [json_cases(), connect(), gets(), streams(), grpc_web(), grpc(), plain(), cors()]
        .into_iter()
        .flatten()
        .collect()
}

fn json_cases() -> Vec<Case> {
    let unary = |name, body: &str| post(name, "Unary", "application/json", body.as_bytes());
    vec![
        unary("json/64-bit-as-string", r#"{"bigNumber":"9007199254740993"}"#)
            .is(200, &[r#""bigNumber":"9007199254740993""#]),
        unary("json/64-bit-as-number", r#"{"bigNumber":12}"#).is(200, &[r#""bigNumber":"12""#]),
        unary("json/name-of-the-definition", r#"{"big_number":12}"#)
            .is(200, &[r#""bigNumber":"12""#]),
        unary("json/enum-by-name", r#"{"kind":"KIND_ONE"}"#).is(200, &[r#""kind":"KIND_ONE""#]),
        unary("json/enum-by-number", r#"{"kind":1}"#).is(200, &[r#""kind":"KIND_ONE""#]),
        unary("json/null-is-unset", r#"{"kind":null,"failure":null}"#).is(200, &["\n{"]),
        unary("json/charset", "{}")
            .with("x-other", "1")
            .is(200, &["content-type: application/json"]),
        unary("json/unknown-field-is-ignored", r#"{"newer":{"a":[1]}}"#).is(200, &[]),
        unary("json/unknown-enum-is-ignored", r#"{"kind":"KIND_NEW"}"#).is(200, &[]),
        unary("json/wrong-type", r#"{"bigNumber":true}"#).is(400, &[INVALID]),
        unary("json/too-large-number", r#"{"bigNumber":"9223372036854775808"}"#)
            .is(400, &[INVALID]),
        unary("json/no-base64", r#"{"padding":"***"}"#).is(400, &[INVALID]),
        unary("json/list", "[]").is(400, &[INVALID]),
        unary("json/broken", r#"{"bigNumber":"#).is(400, &[INVALID]),
        unary("json/two-values", "{} {}").is(400, &[INVALID]),
        unary("json/empty", "").is(400, &[INVALID]),
        unary("json/no-utf-8", "")
            .with_body(b"{\"failure\":{\"message\":\"\xff\"}}")
            .is(400, &[INVALID]),
        unary("json/deep", "").with_body(&b"[".repeat(30_000)).is(400, &[INVALID]),
    ]
}

impl Case {
    fn with_body(mut self, body: &[u8]) -> Self {
        self.body = body.to_vec();
        self
    }
}

fn connect() -> Vec<Case> {
    let unary = |name, body: &[u8]| post(name, "Unary", "application/proto", body);
    let json = |name| post(name, "Unary", "application/json", b"{}");
    let bomb = gzip(&vec![0; 5 << 20]);
    vec![
        unary("connect/empty-message", b"").is(200, &["content-type: application/proto"]),
        unary("connect/broken-message", b"\x0a\xff").is(500, &[r#""code":"internal""#]),
        unary("connect/too-large", &vec![0; REQUEST_BYTES_MAX + 1])
            .is(429, &["resource_exhausted"]),
        json("connect/version").with("connect-protocol-version", "1").is(200, &[]),
        json("connect/wrong-version").with("connect-protocol-version", "2").is(400, &[INVALID]),
        json("connect/wrong-timeout").with("connect-timeout-ms", "1s").is(400, &[INVALID]),
        json("connect/long-timeout")
            .with("connect-timeout-ms", "9999999999")
            .is(200, &["9999999S"]),
        json("connect/too-long-timeout")
            .with("connect-timeout-ms", "10000000000")
            .is(400, &[INVALID]),
        json("connect/timeout-of-grpc-means-nothing").with("grpc-timeout", "7m").is(200, &["\n{"]),
        json("connect/identity").with("content-encoding", "identity").is(200, &[]),
        json("connect/unknown-compression")
            .with("content-encoding", "br")
            .is(501, &[UNIMPLEMENTED, "gzip"]),
        json("connect/no-gzip").with("content-encoding", "gzip").is(400, &[INVALID]),
        json("connect/empty-gzip")
            .with_body(b"")
            .with("content-encoding", "gzip")
            .is(400, &[INVALID]),
        json("connect/gzip").with_body(&gzip(b"{}")).with("content-encoding", "gzip").is(200, &[]),
        json("connect/bomb")
            .with_body(&bomb)
            .with("content-encoding", "gzip")
            .is(429, &["resource_exhausted"]),
        json("connect/small-answers-stay-plain").with("accept-encoding", "gzip").is(200, &["\n{"]),
        post("connect/unknown-method", "Nothing", "application/json", b"{}")
            .is(404, &[UNIMPLEMENTED]),
        post("connect/missing-method", "Missing", "application/json", b"{}")
            .is(501, &[UNIMPLEMENTED]),
        post("connect/unknown-codec", "Unary", "application/foo", b"{}")
            .is(415, &["accept-post: application/grpc,", "application/json"]),
        post("connect/image", "Unary", "image/jpeg", b"12345678").is(415, &["accept-post: "]),
        post("connect/other-charset", "Unary", "application/json; charset=euc-kr", b"{}")
            .is(415, &[]),
        post("connect/unary-for-a-stream", "ServerStream", "application/json", b"{}")
            .is(415, &["application/connect+json"]),
        post("connect/stream-for-unary", "Unary", "application/connect+json", &frame(0, b"{}"))
            .is(415, &[]),
        json("connect/delete").verb("DELETE").is(405, &["allow: POST"]),
        json("connect/put").verb("PUT").is(405, &["Call this method by POST."]),
        json("connect/no-content-type").without_headers().is(415, &["accept-post: "]),
        unary("connect/error-of-unknown-type", &error_with_unknown_detail())
            .is(400, &[r#"[{"type":"some.Unknown","value":"AQIDBA"}]"#]),
        post("connect/error-shows-details", "Unary", "application/json", &error_with_details()).is(
            400,
            &[
                r#""type":"google.rpc.ErrorInfo""#,
                r#""debug":{"reason":"WHY"}"#,
                r#""value":"CgNXSFk""#,
            ],
        ),
    ]
}

impl Case {
    fn without_headers(mut self) -> Self {
        self.headers.clear();
        self
    }
}

fn error_with_unknown_detail() -> Vec<u8> {
    let detail =
        prost_types::Any { type_url: "a.b/some.Unknown".to_owned(), value: vec![1, 2, 3, 4] };
    let failure = Failure { code: 9, message: "no".to_owned(), details: vec![detail] };
    prost::Message::encode_to_vec(&Ask { failure: Some(failure), ..Ask::default() })
}

fn error_with_details() -> Vec<u8> {
    let detail = r#"{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"WHY"}"#;
    format!(r#"{{"failure":{{"code":9,"message":"no","details":[{detail}]}}}}"#).into()
}

fn gets() -> Vec<Case> {
    let get = |name, query: &str| post(name, "IdempotentUnary", "", b"").get(query);
    let proto = prost::Message::encode_to_vec(&Ask { big_number: 5, ..Ask::default() });
    let base64 = URL_SAFE_NO_PAD.encode(&proto);
    let zipped = URL_SAFE_NO_PAD.encode(gzip(&json("Ask", &proto)));
    let long = format!("encoding=json&message={}", "a".repeat(20_000));
    let mut cases = vec![
        get("get/json", "connect=v1&encoding=json&message=%7B%22bigNumber%22%3A%225%22%7D")
            .is(200, &[r#""bigNumber":"5""#, "cache-control: no-store"]),
        get("get/proto", &format!("encoding=proto&base64=1&message={base64}"))
            .is(200, &["content-type: application/proto"]),
        get("get/gzip", &format!("base64=1&compression=gzip&encoding=json&message={zipped}"))
            .is(200, &[r#""bigNumber":"5""#]),
        get("get/other-parameters", "a=b&message=%7B%7D&encoding=json").is(200, &[]),
        get("get/base64-must-be-1", "base64=0&message=%7B%7D&encoding=json").is(200, &[]),
        get("get/no-message", "encoding=json").is(400, &[INVALID, "message"]),
        get("get/no-encoding", "message=%7B%7D").is(415, &[]),
        get("get/unknown-encoding", "message=%7B%7D&encoding=yaml").is(415, &["accept-post"]),
        get("get/stream-encoding", "message=%7B%7D&encoding=connect%2Bjson").is(415, &[]),
        get("get/bad-base64", "encoding=json&base64=1&message=%25%25")
            .is(400, &[INVALID, "base64url"]),
        get("get/bad-gzip", "encoding=json&compression=gzip&message=%7B%7D").is(400, &[INVALID]),
        get("get/unknown-compression", "encoding=json&compression=br&message=%7B%7D")
            .is(501, &[UNIMPLEMENTED]),
        get("get/wrong-version", "connect=v2&encoding=json&message=%7B%7D").is(400, &[INVALID]),
        get("get/broken-json", "encoding=json&message=%7B").is(400, &[INVALID]),
        get("get/wrong-timeout", "encoding=json&message=%7B%7D")
            .with("connect-timeout-ms", "x")
            .is(400, &[INVALID]),
        get("get/header-too-large", &long).only_http1().is(431, &[]),
        post("get/of-a-method-with-side-effects", "Unary", "", b"")
            .get("encoding=json&message=%7B%7D")
            .is(405, &["allow: POST\n"]),
        post("get/of-nothing", "Nothing", "", b"")
            .get("encoding=json&message=%7B%7D")
            .is(404, &["nothing at this path"]),
        post("get/post-of-such-a-method", "IdempotentUnary", "application/json", b"{}")
            .is(200, &[]),
    ];
    cases.push(
        post("get/put", "IdempotentUnary", "application/json", b"{}")
            .verb("PUT")
            .is(405, &["allow: GET, POST"]),
    );
    cases
}

fn streams() -> Vec<Case> {
    let stream = |name, body: &[u8]| post(name, "ServerStream", "application/connect+json", body);
    let twice = [frame(0, b"{}"), frame(0, b"{}")].concat();
    vec![
        stream("stream/success", &frame(0, br#"{"data":["AQ=="]}"#))
            .is(200, &[r#"{"data":"AQ==","requests":1}"#]),
        stream("stream/no-request", b"").is(200, &[UNIMPLEMENTED]),
        stream("stream/two-requests", &twice).is(200, &[UNIMPLEMENTED]),
        stream("stream/broken-json", &frame(0, b"{")).is(200, &[INVALID]),
        stream("stream/cut-frame", &[0, 0, 0, 0, 9, b'{']).is(200, &[INVALID]),
        stream("stream/cut-header", &[0, 0]).is(200, &[INVALID]),
        stream("stream/reserved-flag", &frame(4, b"{}")).is(200, &[INVALID]),
        stream("stream/end-by-the-client", &frame(2, b"{}")).is(200, &[INVALID]),
        stream("stream/huge-length", &[0, 0xff, 0xff, 0xff, 0xff]).is(200, &["resource_exhausted"]),
        stream("stream/compressed-without-saying-how", &frame(1, b"{}"))
            .is(200, &[r#""code":"internal""#]),
        stream("stream/no-gzip", &frame(1, b"{}"))
            .with("connect-content-encoding", "gzip")
            .is(200, &[INVALID]),
        stream("stream/unknown-compression", &frame(1, b"{}"))
            .with("connect-content-encoding", "zstd")
            .is(200, &[UNIMPLEMENTED]),
        stream("stream/wrong-timeout", &frame(0, b"{}"))
            .with("connect-timeout-ms", "-1")
            .is(200, &[INVALID]),
        post("stream/unknown-method", "Nothing", "application/connect+json", b"")
            .is(200, &[UNIMPLEMENTED]),
        post("stream/both-ways", "BidiStream", "application/connect+json", b"")
            .only_http1()
            .is(505, &["HTTP/2"]),
    ]
}

fn grpc_web() -> Vec<Case> {
    let web = |name, body: &[u8]| post(name, "Unary", "application/grpc-web+proto", body);
    let text = |name, body: &[u8]| post(name, "Unary", "application/grpc-web-text", body);
    let twice = [frame(0, b""), frame(0, b"")].concat();
    vec![
        web("grpc-web/success", &frame(0, b""))
            .is(200, &["content-type: application/grpc-web+proto", "grpc-status: 0\r\n"]),
        web("grpc-web/no-request", b"").is(200, &[GRPC_UNIMPLEMENTED]),
        web("grpc-web/two-requests", &twice).is(200, &[GRPC_UNIMPLEMENTED]),
        web("grpc-web/compressed-without-saying-how", &frame(1, b"")).is(200, &["grpc-status: 13"]),
        web("grpc-web/unknown-compression", &frame(0, b""))
            .with("grpc-encoding", "foo")
            .is(200, &[GRPC_UNIMPLEMENTED]),
        web("grpc-web/no-gzip", &frame(1, b"xyz"))
            .with("grpc-encoding", "gzip")
            .is(200, &[GRPC_INVALID]),
        web("grpc-web/trailers-by-the-client", &frame(0x80, b"a: b\r\n")).is(200, &[GRPC_INVALID]),
        web("grpc-web/delete", b"").verb("DELETE").is(405, &[]),
        post("grpc-web/unknown-codec", "Unary", "application/grpc-web+foo", b"")
            .is(415, &["accept-post"]),
        post("grpc-web/unknown-method", "Nothing", "application/grpc-web", b"")
            .is(200, &[GRPC_UNIMPLEMENTED]),
        text("grpc-web/text", STANDARD.encode(frame(0, b"")).as_bytes())
            .is(200, &["content-type: application/grpc-web-text"]),
        text("grpc-web/text-in-pieces", b"AA==AAAAAA==").is(200, &["AAAAAAI"]),
        text("grpc-web/no-text", b"****").is(200, &[GRPC_INVALID]),
        text("grpc-web/cut-text", b"AAAAAA").is(200, &[GRPC_INVALID]),
    ]
}

fn grpc() -> Vec<Case> {
    let grpc =
        |name, body: &[u8]| post(name, "Unary", "application/grpc", body).with("te", "trailers");
    vec![
        grpc("grpc/success", &frame(0, b"")).only_http2().is(200, &["grpc-status: 0"]),
        grpc("grpc/over-http-1", &frame(0, b"")).only_http1().is(505, &["Connect or gRPC-Web"]),
        grpc("grpc/unknown-compression", &frame(0, b""))
            .with("grpc-encoding", "foo")
            .only_http2()
            .is(200, &[GRPC_UNIMPLEMENTED]),
        grpc("grpc/no-gzip", &frame(1, b"xyz"))
            .with("grpc-encoding", "gzip")
            .only_http2()
            .is(200, &[GRPC_INVALID]),
        grpc("grpc/compressed-without-saying-how", &frame(1, b""))
            .with("grpc-encoding", "identity")
            .only_http2()
            .is(200, &["grpc-status: 13"]),
        grpc("grpc/unknown-method", &frame(0, b""))
            .at("/a.b/C")
            .only_http2()
            .is(200, &[GRPC_UNIMPLEMENTED]),
        post("grpc/unknown-codec", "Unary", "application/grpc+foo", b"").only_http2().is(415, &[]),
        post("grpc/json-without-request", "Unary", "application/grpc+json", b"")
            .only_http2()
            .is(200, &[GRPC_UNIMPLEMENTED]),
        grpc("grpc/delete", b"").verb("DELETE").only_http2().is(405, &[]),
    ]
}

impl Case {
    fn at(mut self, path: &str) -> Self {
        self.path = path.to_owned();
        self
    }
}

fn plain() -> Vec<Case> {
    let form = "application/x-www-form-urlencoded";
    vec![
        post("plain/nothing-here", "", "text/html", b"")
            .at("/favicon.ico")
            .verb("GET")
            .is(404, &["nothing at this path"]),
        post("plain/a-form", "Unary", form, b"a=b").is(415, &["for instance application/json"]),
        post("plain/a-form-to-nowhere", "", form, b"a=b").at("/login").is(404, &["text/plain"]),
        post("plain/options", "Unary", "text/plain", b"").verb("OPTIONS").is(405, &[]),
        post("plain/trace", "Unary", "text/plain", b"").verb("TRACE").is(405, &[]),
    ]
}

fn cors() -> Vec<Case> {
    let unary = |name| post(name, "Unary", "application/json", b"{}");
    let preflight =
        |name| unary(name).verb("OPTIONS").with("access-control-request-method", "POST");
    vec![
        preflight("cors/preflight").with("origin", "https://allowed.example").is(
            204,
            &[
                "access-control-allow-origin: https://allowed.example\n",
                "access-control-allow-methods: GET, POST",
                "connect-protocol-version",
                "x-grpc-web",
                "access-control-max-age: 7200",
                "vary: origin",
            ],
        ),
        preflight("cors/preflight-of-another-page")
            .with("origin", "https://other.example")
            .is(403, &["cors_origins"]),
        unary("cors/answer")
            .with("origin", "https://allowed.example")
            .is(200, &["access-control-expose-headers: ", "grpc-status-details-bin"]),
        unary("cors/error")
            .with_body(b"{")
            .with("origin", "https://allowed.example")
            .is(400, &["access-control-allow-origin"]),
    ]
}
