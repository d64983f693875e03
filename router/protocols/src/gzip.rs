//! Gzip: of whole bodies and of single messages.

use std::io::{Read as _, Write as _};

use bytes::Bytes;
use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use http::HeaderMap;

use crate::refusal::Refusal;

/// The name of the one compression.
pub(crate) const GZIP: &str = "gzip";

/// Size of the smallest answer that is compressed: a smaller one fits into one packet as it is.
const COMPRESSED_BYTES_MIN: usize = 1_024;

/// How something is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// It is not.
    Identity,
    /// By gzip.
    Gzip,
}

impl Encoding {
    /// The compression of that name; none has none.
    ///
    /// # Errors
    /// [`Refusal::Unsupported`] when it is another one.
    pub(crate) fn named(name: Option<&str>) -> Result<Self, Refusal> {
        match name.unwrap_or_default() {
            "" | "identity" => Ok(Self::Identity),
            GZIP => Ok(Self::Gzip),
            _ => Err(Refusal::Unsupported(
                "the compression is not known: use gzip or identity".into(),
            )),
        }
    }

    /// Decompresses a message; nothing stays nothing.
    ///
    /// # Errors
    /// [`Refusal::Invalid`] when it is no gzip, [`Refusal::TooLarge`] when it is or becomes larger than `bytes_max`.
    pub(crate) fn decompress(self, message: Bytes, bytes_max: usize) -> Result<Bytes, Refusal> {
        if self == Self::Identity || message.is_empty() {
            return Ok(message);
        }
        let mut plain = Vec::new();
        // One byte more than allowed tells that there is too much, and no more is ever in memory.
        let bound = bytes_max as u64 + 1;
        MultiGzDecoder::new(&*message)
            .take(bound)
            .read_to_end(&mut plain)
            .map_err(|_| Refusal::invalid("the message is marked as gzip but is not valid gzip"))?;
        if plain.len() > bytes_max {
            return Err(Refusal::TooLarge { bytes_max });
        }
        Ok(plain.into())
    }
}

/// Whether an answer may be compressed, by the header that lists what the client accepts. Without one, it accepts
/// what it sent.
pub(crate) fn is_accepted(headers: &HeaderMap, header: &str, sent: Encoding) -> bool {
    let mut listed = headers.get_all(header).iter().peekable();
    if listed.peek().is_none() {
        return sent == Encoding::Gzip;
    }
    listed.filter_map(|list| list.to_str().ok()).flat_map(|list| list.split(',')).any(|item| {
        let (name, quality) = item.split_once(';').unwrap_or((item, ""));
        let is_refused = quality.trim().strip_prefix("q=").is_some_and(is_zero);
        name.trim().eq_ignore_ascii_case(GZIP) && !is_refused
    })
}

fn is_zero(quality: &str) -> bool {
    quality.parse() == Ok(0.0)
}

/// The message compressed, where that is worth it.
pub(crate) fn compress(message: &[u8]) -> Option<Bytes> {
    if message.len() < COMPRESSED_BYTES_MIN {
        return None;
    }
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(message).ok()?;
    encoder.finish().ok().map(Bytes::from)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_bomb_is_refused_without_being_unpacked() {
        let bomb = compress(&vec![0; 50 << 20]).unwrap();
        assert!(bomb.len() < 1 << 20);
        let bytes_max = 1 << 20;
        let refused = Encoding::Gzip.decompress(bomb, bytes_max).unwrap_err();
        assert_eq!(refused, Refusal::TooLarge { bytes_max });
    }

    #[test]
    fn what_is_no_gzip_is_refused() {
        let cut = compress(&[7; 5_000]).unwrap().slice(..20);
        for message in [Bytes::from_static(b"{}"), cut] {
            let refused = Encoding::Gzip.decompress(message, 10_000).unwrap_err();
            assert!(matches!(refused, Refusal::Invalid(_)));
        }
        assert_eq!(Encoding::Gzip.decompress(Bytes::new(), 9), Ok(Bytes::new()));
    }

    #[test]
    fn what_a_client_accepts_is_read_as_http_writes_it() {
        let accepted = |list: Option<&'static str>, sent| {
            let name = http::header::ACCEPT_ENCODING;
            let headers = list.map(|list| (name.clone(), HeaderValue::from_static(list)));
            is_accepted(&headers.into_iter().collect(), name.as_str(), sent)
        };
        assert!(accepted(Some("br, gzip;q=0.5"), Encoding::Identity));
        assert!(!accepted(Some("gzip;q=0"), Encoding::Identity));
        assert!(!accepted(Some("identity"), Encoding::Gzip));
        assert!(!accepted(None, Encoding::Identity));
        assert!(accepted(None, Encoding::Gzip));
    }
}
