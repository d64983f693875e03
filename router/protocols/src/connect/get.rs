//! The query of a GET, which holds the message.

use base64::Engine as _;
use bytes::Bytes;
use percent_encoding::percent_decode;

use crate::gzip::Encoding;
use crate::refusal::Refusal;
use crate::text::URL_SAFE;

/// What a query says. Of a parameter that comes twice, the first counts; unknown ones are ignored.
#[derive(Debug, Default)]
pub(crate) struct Query {
    encoding: Option<Bytes>,
    message: Option<Bytes>,
    base64: Option<Bytes>,
    compression: Option<Bytes>,
    version: Option<Bytes>,
}

impl Query {
    /// Reads a query.
    pub(crate) fn new(query: &str) -> Self {
        let mut read = Self::default();
        for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
            let parameter = match &*decoded(name) {
                b"encoding" => &mut read.encoding,
                b"message" => &mut read.message,
                b"base64" => &mut read.base64,
                b"compression" => &mut read.compression,
                b"connect" => &mut read.version,
                _ => continue,
            };
            parameter.get_or_insert_with(|| decoded(value));
        }
        read
    }

    /// The codec that it names.
    pub(crate) fn codec(&self) -> &str {
        text(&self.encoding)
    }

    /// How the message is compressed.
    ///
    /// # Errors
    /// [`Refusal::Unsupported`] when the compression is not known.
    pub(crate) fn compression(&self) -> Result<Encoding, Refusal> {
        Encoding::named(Some(text(&self.compression)))
    }

    /// The message.
    ///
    /// # Errors
    /// [`Refusal::Invalid`] when there is none, or it or the version is wrong.
    pub(crate) fn message(self) -> Result<Bytes, Refusal> {
        if self.version.is_some_and(|version| &*version != b"v1") {
            return Err(Refusal::invalid("the parameter connect must be v1, or be left out"));
        }
        let message =
            self.message.ok_or_else(|| Refusal::invalid("the parameter message is missing"))?;
        if self.base64.is_some_and(|base64| &*base64 == b"1") {
            let decoded = URL_SAFE.decode(&message).map(Bytes::from);
            return decoded
                .map_err(|_| Refusal::invalid("the parameter message must be base64url"));
        }
        Ok(message)
    }
}

fn text(parameter: &Option<Bytes>) -> &str {
    parameter.as_deref().and_then(|value| std::str::from_utf8(value).ok()).unwrap_or_default()
}

/// A name or a value, decoded; a plus sign is a space, as forms write it.
fn decoded(part: &str) -> Bytes {
    let spaced = part.replace('+', " ");
    percent_decode(spaced.as_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_come_in_any_order_and_encoding() {
        let query =
            Query::new("x=1&message=%7B%22a%22%3A+1%7D&encoding=json&&connect=v1&message=2");
        assert_eq!(query.codec(), "json");
        assert_eq!(query.compression(), Ok(Encoding::Identity));
        assert_eq!(query.message().unwrap(), r#"{"a": 1}"#);
        for padded in ["-_8%3D", "-_8"] {
            let query = Query::new(&format!("base64=1&message={padded}&encoding=proto"));
            assert_eq!(query.message().unwrap(), &[0xfb, 0xff][..]);
        }
    }

    #[test]
    fn what_is_missing_or_wrong_is_refused() {
        for wrong in ["", "message", "message=%7B%7D&connect=v2", "message=%25%25&base64=1"] {
            assert!(matches!(Query::new(wrong).message(), Err(Refusal::Invalid(_))), "{wrong}");
        }
        assert!(Query::new("compression=br").compression().is_err());
    }
}
