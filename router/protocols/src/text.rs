//! Base64, in which gRPC-Web's text form sends everything. Any number of pieces, each with its own padding, may
//! follow each other.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::general_purpose::PAD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;

use crate::refusal::Refusal;

/// How many symbols make up a group, the smallest piece.
const GROUP: usize = 4;

/// Standard base64, written with padding and read with it.
const BASE64: GeneralPurpose = GeneralPurpose::new(&STANDARD, PAD);

/// Standard base64, written without padding and read with or without it.
pub(crate) const UNPADDED: GeneralPurpose = GeneralPurpose::new(&STANDARD, INDIFFERENT);

/// The alphabet for URLs, with or without padding.
pub(crate) const URL_SAFE: GeneralPurpose =
    GeneralPurpose::new(&base64::alphabet::URL_SAFE, INDIFFERENT);

const INDIFFERENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_encode_padding(false)
    .with_decode_padding_mode(DecodePaddingMode::Indifferent);

/// A piece as text.
pub(crate) fn encode(data: &[u8]) -> Bytes {
    BASE64.encode(data).into()
}

/// Reads text that arrives in pieces.
#[derive(Debug, Default)]
pub(crate) struct TextReader {
    unread: Vec<u8>,
}

impl TextReader {
    /// What can be read by now, with what arrived.
    ///
    /// # Errors
    /// [`Refusal::Invalid`] when it is no base64.
    pub(crate) fn read(&mut self, data: &[u8]) -> Result<Vec<u8>, Refusal> {
        self.unread.extend_from_slice(data);
        let rest = self.unread.split_off(self.unread.len() / GROUP * GROUP);
        let groups = std::mem::replace(&mut self.unread, rest);
        let mut read = Vec::with_capacity(groups.len() / GROUP * 3);
        let mut groups = groups.as_slice();
        while !groups.is_empty() {
            // Padding ends a piece.
            let ends = groups.chunks(GROUP).position(|group| group[GROUP - 1] == b'=');
            let (piece, others) = match ends {
                Some(last) => groups.split_at((last + 1) * GROUP),
                None => (groups, &[][..]),
            };
            BASE64.decode_vec(piece, &mut read).map_err(|_| not_base64())?;
            groups = others;
        }
        Ok(read)
    }

    /// Ends the text.
    ///
    /// # Errors
    /// [`Refusal::Invalid`] when it ends within a group.
    pub(crate) fn finish(&self) -> Result<(), Refusal> {
        if self.unread.is_empty() { Ok(()) } else { Err(not_base64()) }
    }
}

fn not_base64() -> Refusal {
    Refusal::invalid("the body must be base64 with padding")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_read_in_any_pieces() {
        let text = [encode(b"a"), encode(b"bcd"), encode(b"ef")].concat();
        for size in 1..=text.len() {
            let mut reader = TextReader::default();
            let read = text.chunks(size).flat_map(|piece| reader.read(piece).unwrap());
            assert_eq!(read.collect::<Vec<_>>(), b"abcdef");
            reader.finish().unwrap();
        }
    }

    #[test]
    fn other_text_is_refused() {
        assert!(TextReader::default().read(b"a*==").is_err());
        let mut cut = TextReader::default();
        assert_eq!(cut.read(b"YWI"), Ok(Vec::new()));
        assert!(cut.finish().is_err());
    }
}
