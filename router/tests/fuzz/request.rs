//! Requests, what is wrong with each, and what it must be answered.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::Request;
use http_body_util::Full;
use prost::Message as _;
use prost_reflect::{DynamicMessage, Kind, MethodDescriptor, SerializeOptions};
use rand::Rng;
use rand::seq::IndexedRandom as _;
use std::io::Write as _;
use tonic::Code;

use crate::answer::{Said, read};
use crate::client::Answered;
use crate::message::{Methods, message};
use crate::support::http2::frame;

/// A protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Connect,
    ConnectStream,
    GrpcWeb,
    GrpcWebText,
    Grpc,
}

/// What is done to a request that was right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Damage {
    Nothing,
    UnknownField,
    WrongType,
    BrokenMessage,
    ChangedBytes,
    OtherContentType,
    NoContentType,
    TooLarge,
    NotGzip,
    UnknownCompression,
    NoTime,
    BadTimeout,
    OtherVersion,
    TwoMessages,
    CutFrame,
    NoSuchMethod,
    OtherVerb,
    Http1,
}

const DAMAGES: [Damage; 18] = [
    Damage::Nothing,
    Damage::UnknownField,
    Damage::WrongType,
    Damage::BrokenMessage,
    Damage::ChangedBytes,
    Damage::OtherContentType,
    Damage::NoContentType,
    Damage::TooLarge,
    Damage::NotGzip,
    Damage::UnknownCompression,
    Damage::NoTime,
    Damage::BadTimeout,
    Damage::OtherVersion,
    Damage::TwoMessages,
    Damage::CutFrame,
    Damage::NoSuchMethod,
    Damage::OtherVerb,
    Damage::Http1,
];

/// What a request must be answered.
#[derive(Debug, PartialEq)]
enum Expected {
    /// Success, or an error of the operation.
    Valid,
    /// Success, or any error that says something.
    Any,
    Error(Code),
    /// An HTTP status and a sentence.
    Plain(u16),
}

/// A request.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) damage: Damage,
    pub(crate) is_http2: bool,
    form: Form,
    verb: &'static str,
    path: String,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    expected: Expected,
}

impl Case {
    /// A case by chance.
    pub(crate) fn new(random: &mut impl Rng, methods: &Methods) -> Self {
        let method = methods.any(random);
        let is_unary = !method.is_client_streaming() && !method.is_server_streaming();
        let unary = [Form::Connect, Form::GrpcWeb, Form::GrpcWebText, Form::Grpc];
        let stream = [Form::ConnectStream, Form::GrpcWeb, Form::GrpcWebText, Form::Grpc];
        let form = choose(if is_unary { &unary } else { &stream }, random);
        let is_bidirectional = method.is_client_streaming() && method.is_server_streaming();
        let manner = Manner {
            form,
            is_json: random.random(),
            is_gzip: random.random(),
            is_stream: method.is_client_streaming(),
        };
        let damage = choose(&DAMAGES, random);
        let must_be_http2 = form == Form::Grpc || is_bidirectional;
        let mut case = Self {
            damage,
            is_http2: must_be_http2 || random.random(),
            form,
            verb: "POST",
            path: format!("/{}/{}", method.parent_service().full_name(), method.name()),
            headers: manner.headers(),
            body: Vec::new(),
            expected: Expected::Valid,
        };
        let sent = message(&method.input(), random);
        let is_get = method.is_get() && form == Form::Connect && random.random_bool(0.3);
        if is_get && matches!(damage, Damage::Nothing | Damage::NoTime) {
            case.verb = "GET";
            let (codec, message) = ("json", encode(&sent, true));
            let message: String = message.iter().map(|byte| format!("%{byte:02X}")).collect();
            case.path += &format!("?connect=v1&encoding={codec}&message={message}");
            case.headers.retain(|(name, _)| name.starts_with("accept"));
        } else {
            case.body = manner.body(&encode(&sent, manner.is_json));
        }
        case.apply(manner, &method, &sent, random);
        if manner.is_stream && matches!(case.expected, Expected::Error(Code::InvalidArgument)) {
            // A stream answers to the messages that it understood.
            case.expected = Expected::Any;
        }
        case
    }

    /// The request.
    pub(crate) fn request(&self) -> Request<Full<Bytes>> {
        let mut request = Request::builder().method(self.verb).uri(&self.path);
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        let body = Full::new(Bytes::from(self.body.clone()));
        request.body(body).expect("a case is a request")
    }

    /// Whether the answer is what it must be; if not, why.
    pub(crate) fn judge(&self, answered: &Answered) -> Result<(), String> {
        let said = read(self.form, answered)?;
        let is_expected = match (&self.expected, &said) {
            (Expected::Plain(status), Said::Plain) => answered.status == *status,
            (Expected::Error(expected), Said::Error { code, .. }) => code == expected,
            (Expected::Valid, Said::Error { message, .. }) => !message.starts_with("request: "),
            (Expected::Valid | Expected::Any, Said::Success)
            | (Expected::Any, Said::Error { .. } | Said::Plain) => true,
            (Expected::Plain(_) | Expected::Error(_), _) | (Expected::Valid, Said::Plain) => false,
        };
        if is_expected {
            Ok(())
        } else {
            Err(format!("expected {:?}, got {said:?}", self.expected))
        }
    }

    fn set(&mut self, name: &'static str, value: impl Into<String>) {
        self.headers.retain(|(other, _)| *other != name);
        self.headers.push((name, value.into()));
    }

    /// Damages the request, and says what it must be answered.
    fn apply(
        &mut self,
        manner: Manner,
        method: &MethodDescriptor,
        sent: &DynamicMessage,
        random: &mut impl Rng,
    ) {
        self.expected = match self.damage_head(manner, random) {
            Some(expected) => expected,
            None => self.damage_body(manner, method, sent, random),
        };
    }

    /// Damages what comes before the body; `None` when the damage is one of the body.
    fn damage_head(&mut self, manner: Manner, random: &mut impl Rng) -> Option<Expected> {
        let form = manner.form;
        let is_connect = matches!(form, Form::Connect | Form::ConnectStream);
        Some(match self.damage {
            Damage::OtherContentType => {
                let other =
                    ["text/plain", "application/grpc+xml", ";", "application/json; charset=x"];
                self.set("content-type", choose(&other, random));
                Expected::Plain(415)
            }
            Damage::NoContentType => {
                self.headers.retain(|(name, _)| *name != "content-type");
                Expected::Plain(415)
            }
            Damage::UnknownCompression => {
                self.set(manner.encoding_header(), choose(&["br", "GZIP", "?"], random));
                Expected::Error(Code::Unimplemented)
            }
            Damage::NoTime if is_connect => {
                self.set("connect-timeout-ms", "0");
                Expected::Error(Code::DeadlineExceeded)
            }
            Damage::NoTime => {
                self.set("grpc-timeout", choose(&["0S", "0m", "0n"], random));
                Expected::Error(Code::DeadlineExceeded)
            }
            Damage::BadTimeout if is_connect => {
                self.set("connect-timeout-ms", choose(&["", "-1", "1s", "99999999999"], random));
                Expected::Error(Code::InvalidArgument)
            }
            Damage::BadTimeout => {
                self.set("grpc-timeout", choose(&["", "-1S", "1x", "999999999S"], random));
                Expected::Any
            }
            Damage::OtherVersion if is_connect => {
                self.set("connect-protocol-version", "2");
                Expected::Error(Code::InvalidArgument)
            }
            Damage::OtherVersion => Expected::Valid,
            Damage::NoSuchMethod => {
                self.path.push('X');
                Expected::Error(Code::Unimplemented)
            }
            Damage::OtherVerb => {
                self.verb = choose(&["PUT", "DELETE", "PATCH"], random);
                Expected::Plain(405)
            }
            Damage::Http1 if form == Form::Grpc => {
                self.is_http2 = false;
                Expected::Plain(505)
            }
            Damage::Http1 => Expected::Valid,
            Damage::Nothing
            | Damage::UnknownField
            | Damage::WrongType
            | Damage::BrokenMessage
            | Damage::ChangedBytes
            | Damage::TooLarge
            | Damage::NotGzip
            | Damage::TwoMessages
            | Damage::CutFrame => return None,
        })
    }

    /// Damages the body.
    fn damage_body(
        &mut self,
        manner: Manner,
        method: &MethodDescriptor,
        sent: &DynamicMessage,
        random: &mut impl Rng,
    ) -> Expected {
        let Manner { form, is_json, is_gzip, .. } = manner;
        let is_framed = form != Form::Connect;
        match self.damage {
            Damage::Nothing => Expected::Valid,
            Damage::UnknownField if is_json => {
                let json = encode(sent, true);
                let comma = if json == b"{}" { "" } else { "," };
                let unknown = format!("{{\"aNewField\":[{{\"a\":1e999}}]{comma}");
                self.body = manner.body(&[unknown.as_bytes(), &json[1..]].concat());
                Expected::Valid
            }
            Damage::UnknownField => {
                let unknown = [0xf2, 0xff, 0x07, 1, 7];
                self.body = manner.body(&[&unknown[..], &encode(sent, false)].concat());
                Expected::Valid
            }
            Damage::WrongType => match wrong_type(method, is_json, random) {
                Some(message) => {
                    self.body = manner.body(&message);
                    Expected::Error(Code::InvalidArgument)
                }
                None => Expected::Valid,
            },
            Damage::BrokenMessage => {
                let broken: &[u8] = if is_json { b"{\"" } else { &[0x0a, 0xff] };
                self.body = manner.body(broken);
                Expected::Error(Code::InvalidArgument)
            }
            Damage::ChangedBytes => {
                for _ in 0..random.random_range(1..4) {
                    let Some(last) = self.body.len().checked_sub(1) else { break };
                    let at = random.random_range(0..=last);
                    match random.random_range(0..3) {
                        0 => self.body[at] = random.random(),
                        1 => self.body.truncate(at),
                        _ => self.body.insert(at, random.random()),
                    }
                }
                Expected::Any
            }
            Damage::TooLarge => {
                let is_batch = method.name().starts_with("Batch");
                let bytes_max: usize = if is_batch { 2 << 20 } else { 64 << 10 };
                let bytes = bytes_max + 1;
                if is_framed && !is_gzip {
                    let announced = [&[0][..], &(bytes as u32).to_be_bytes(), &[7; 9]].concat();
                    self.body = manner.as_text(announced);
                } else {
                    // What is not gzip has to be sent as a whole, and what is left of it is not read.
                    self.is_http2 |= is_batch;
                    self.body = manner.body(&vec![b' '; bytes]);
                }
                Expected::Error(Code::InvalidArgument)
            }
            Damage::NotGzip => {
                self.set(manner.encoding_header(), "gzip");
                self.body = if is_framed { frame(1, b"not gzip") } else { b"not gzip".to_vec() };
                self.body = manner.as_text(std::mem::take(&mut self.body));
                Expected::Error(Code::InvalidArgument)
            }
            // The framework of a plain gRPC call passes over the second one.
            Damage::TwoMessages if is_framed && form != Form::Grpc && !manner.is_stream => {
                let message = encode(sent, is_json);
                self.body =
                    manner.as_text([manner.framed(&message), manner.framed(&message)].concat());
                Expected::Error(Code::Unimplemented)
            }
            Damage::TwoMessages => Expected::Valid,
            Damage::CutFrame if is_framed => {
                let whole = manner.framed(&encode(sent, is_json));
                let cut = random.random_range(1..whole.len());
                self.body = manner.as_text(whole[..cut].to_vec());
                Expected::Error(Code::InvalidArgument)
            }
            Damage::CutFrame => Expected::Valid,
            Damage::OtherContentType
            | Damage::NoContentType
            | Damage::UnknownCompression
            | Damage::NoTime
            | Damage::BadTimeout
            | Damage::OtherVersion
            | Damage::NoSuchMethod
            | Damage::OtherVerb
            | Damage::Http1 => Expected::Valid,
        }
    }
}

/// How a request is written.
#[derive(Debug, Clone, Copy)]
struct Manner {
    form: Form,
    is_json: bool,
    is_gzip: bool,
    is_stream: bool,
}

impl Manner {
    fn headers(self) -> Vec<(&'static str, String)> {
        let content_type = match (self.form, self.is_json) {
            (Form::Connect, true) => "application/json",
            (Form::Connect, false) => "application/proto",
            (Form::ConnectStream, true) => "application/connect+json",
            (Form::ConnectStream, false) => "application/connect+proto",
            (Form::GrpcWeb, true) => "application/grpc-web+json",
            (Form::GrpcWeb, false) => "application/grpc-web+proto",
            (Form::GrpcWebText, true) => "application/grpc-web-text+json",
            (Form::GrpcWebText, false) => "application/grpc-web-text",
            (Form::Grpc, true) => "application/grpc+json",
            (Form::Grpc, false) => "application/grpc",
        };
        let mut headers = vec![("content-type", content_type.to_owned())];
        if self.is_gzip {
            headers.push((self.encoding_header(), "gzip".to_owned()));
        }
        headers
    }

    fn encoding_header(self) -> &'static str {
        match self.form {
            Form::Connect => "content-encoding",
            Form::ConnectStream => "connect-content-encoding",
            Form::GrpcWeb | Form::GrpcWebText | Form::Grpc => "grpc-encoding",
        }
    }

    /// A message as it is sent.
    fn body(self, message: &[u8]) -> Vec<u8> {
        if self.form != Form::Connect {
            return self.as_text(self.framed(message));
        }
        if self.is_gzip { gzip(message) } else { message.to_vec() }
    }

    fn framed(self, message: &[u8]) -> Vec<u8> {
        if self.is_gzip { frame(1, &gzip(message)) } else { frame(0, message) }
    }

    fn as_text(self, body: Vec<u8>) -> Vec<u8> {
        if self.form == Form::GrpcWebText { STANDARD.encode(body).into() } else { body }
    }
}

/// Whether a method can be called by GET.
trait ByGet {
    fn is_get(&self) -> bool;
}

impl ByGet for MethodDescriptor {
    fn is_get(&self) -> bool {
        let options = self.method_descriptor_proto().options.as_ref();
        options.is_some_and(|options| options.idempotency_level.is_some_and(|level| level == 1))
    }
}

fn encode(message: &DynamicMessage, is_json: bool) -> Vec<u8> {
    if !is_json {
        return message.encode_to_vec();
    }
    let mut json = serde_json::Serializer::new(Vec::new());
    let written = message.serialize_with_options(&mut json, &SerializeOptions::new());
    written.expect("a message of a test can be shown");
    json.into_inner()
}

/// A message in which one field is of another type; `None` if it has no fields.
fn wrong_type(method: &MethodDescriptor, is_json: bool, random: &mut impl Rng) -> Option<Vec<u8>> {
    let fields: Vec<_> = method.input().fields().collect();
    let field = fields.choose(random)?;
    let is_delimited = field.is_list()
        || field.is_map()
        || matches!(field.kind(), Kind::String | Kind::Bytes | Kind::Message(_));
    let is_number = !matches!(field.kind(), Kind::String | Kind::Bytes | Kind::Message(_));
    if field.is_list() && is_number && !is_json {
        // These are read in two ways.
        return None;
    }
    if is_json {
        let value = if is_delimited { "7" } else { "{}" };
        return Some(format!("{{\"{}\":{value}}}", field.json_name()).into_bytes());
    }
    let kind = if is_delimited { 0 } else { 2 };
    let key = field.number() << 3 | kind;
    assert!(key < 0x80 * 0x80, "requests have few fields");
    let mut wire =
        if key < 0x80 { vec![key as u8] } else { vec![key as u8 | 0x80, (key >> 7) as u8] };
    // The number one, or a text of that length.
    wire.extend_from_slice(if is_delimited { &[1] } else { &[1, 1] });
    Some(wire)
}

fn choose<T: Copy>(all: &[T], random: &mut impl Rng) -> T {
    *all.choose(random).expect("there are some")
}

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(data).expect("a Vec takes all");
    encoder.finish().expect("a Vec takes all")
}
