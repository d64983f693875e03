//! The protocols, and the content types by which a request names its own.

use http::header::CONTENT_TYPE;
use http::{HeaderMap, Method, Request, Version};

/// Whether a request is a plain gRPC call, which needs no translation.
#[inline]
pub fn is_grpc<B>(request: &Request<B>) -> bool {
    let headers = request.headers();
    let is_grpc = |value| value == "application/grpc" || value == "application/grpc+proto";
    request.method() == Method::POST
        && request.version() == Version::HTTP_2
        && headers.get(CONTENT_TYPE).is_some_and(is_grpc)
        && headers.get("grpc-encoding").is_none_or(|encoding| encoding == "identity")
}

/// How a message is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Codec {
    /// Binary protobuf.
    Proto,
    /// The JSON mapping of protobuf.
    Json,
}

/// How messages, their end and errors are put into HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// Frames, and trailers at the end.
    Grpc,
    /// Frames, the last of which holds the trailers.
    GrpcWeb,
    /// The same in base64.
    GrpcWebText,
    /// One message, which is the body.
    ConnectUnary,
    /// Frames, the last of which says how it ended.
    ConnectStream,
}

impl Form {
    /// The header that says how a message is compressed.
    pub(crate) fn encoding_header(self) -> &'static str {
        match self {
            Self::Grpc | Self::GrpcWeb | Self::GrpcWebText => "grpc-encoding",
            Self::ConnectUnary => "content-encoding",
            Self::ConnectStream => "connect-content-encoding",
        }
    }

    /// The header that says which compressions a client accepts.
    pub(crate) fn accept_header(self) -> &'static str {
        match self {
            Self::Grpc | Self::GrpcWeb | Self::GrpcWebText => "grpc-accept-encoding",
            Self::ConnectUnary => "accept-encoding",
            Self::ConnectStream => "connect-accept-encoding",
        }
    }
}

/// A protocol, as a content type names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Protocol {
    pub(crate) content_type: &'static str,
    pub(crate) form: Form,
    pub(crate) codec: Codec,
}

impl Protocol {
    const fn new(content_type: &'static str, form: Form, codec: Codec) -> Self {
        Self { content_type, form, codec }
    }

    /// The protocol that the content type of a request names, if it is one of ours. Of its parameters only the
    /// character set counts, as JSON is UTF-8.
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        let named = headers.get(CONTENT_TYPE)?.to_str().ok()?;
        let mut parts = named.split(';').map(str::trim);
        let essence = parts.next()?;
        let is_utf8 = |parameter: &str| {
            let Some((name, value)) = parameter.split_once('=') else { return true };
            let value = value.trim_matches('"');
            !name.eq_ignore_ascii_case("charset") || value.eq_ignore_ascii_case("utf-8")
        };
        let known = ALL.iter().find(|known| known.content_type.eq_ignore_ascii_case(essence))?;
        parts.all(is_utf8).then_some(*known)
    }

    /// The protocol of a GET, whose query names the codec.
    pub(crate) fn of_get(encoding: &str) -> Option<Self> {
        let unary = ALL.iter().filter(|known| known.form == Form::ConnectUnary);
        let mut named =
            unary.filter(|known| known.content_type.strip_prefix("application/") == Some(encoding));
        named.next().copied()
    }
}

/// All content types.
pub(crate) const ALL: [Protocol; 13] = [
    Protocol::new("application/grpc", Form::Grpc, Codec::Proto),
    Protocol::new("application/grpc+proto", Form::Grpc, Codec::Proto),
    Protocol::new("application/grpc+json", Form::Grpc, Codec::Json),
    Protocol::new("application/grpc-web", Form::GrpcWeb, Codec::Proto),
    Protocol::new("application/grpc-web+proto", Form::GrpcWeb, Codec::Proto),
    Protocol::new("application/grpc-web+json", Form::GrpcWeb, Codec::Json),
    Protocol::new("application/grpc-web-text", Form::GrpcWebText, Codec::Proto),
    Protocol::new("application/grpc-web-text+proto", Form::GrpcWebText, Codec::Proto),
    Protocol::new("application/grpc-web-text+json", Form::GrpcWebText, Codec::Json),
    Protocol::new("application/proto", Form::ConnectUnary, Codec::Proto),
    Protocol::new("application/json", Form::ConnectUnary, Codec::Json),
    Protocol::new("application/connect+proto", Form::ConnectStream, Codec::Proto),
    Protocol::new("application/connect+json", Form::ConnectStream, Codec::Json),
];

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn named(content_type: &'static str) -> Option<&'static str> {
        let headers =
            HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(content_type))]);
        Protocol::of(&headers).map(|protocol| protocol.content_type)
    }

    #[test]
    fn content_types_are_read_as_http_writes_them() {
        assert_eq!(named("application/json"), Some("application/json"));
        assert_eq!(named("Application/JSON; charset=UTF-8"), Some("application/json"));
        assert_eq!(named("application/json;charset=\"utf-8\"; v=1"), Some("application/json"));
        assert_eq!(named("application/grpc-web+proto"), Some("application/grpc-web+proto"));
        for other in ["application/json; charset=euc-kr", "application/grpc+foo", "text/plain", ""]
        {
            assert_eq!(named(other), None, "{other}");
        }
        assert_eq!(Protocol::of(&HeaderMap::new()), None);
    }

    #[test]
    fn a_get_names_its_codec_alone() {
        assert_eq!(Protocol::of_get("json").unwrap().codec, Codec::Json);
        assert_eq!(Protocol::of_get("proto").unwrap().codec, Codec::Proto);
        assert_eq!(Protocol::of_get("connect+json"), None);
        assert_eq!(Protocol::of_get(""), None);
    }
}
