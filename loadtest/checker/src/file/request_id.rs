//! Request ids as text: UUIDs in the form 8-4-4-4-12.

use std::fmt;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Characters of the text.
const LENGTH: usize = 36;

/// Where the text has a hyphen instead of a digit.
const HYPHENS: [usize; 4] = [8, 13, 18, 23];

/// A request id that is written as a UUID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RequestId(pub(super) u128);

impl RequestId {
    fn parse(text: &str) -> Option<Self> {
        if text.len() != LENGTH {
            return None;
        }
        let mut id = 0;
        for (position, byte) in text.bytes().enumerate() {
            if HYPHENS.contains(&position) {
                if byte != b'-' {
                    return None;
                }
            } else {
                id = id << 4 | u128::from(char::from(byte).to_digit(16)?);
            }
        }
        Some(Self(id))
    }

    fn text(self) -> [u8; LENGTH] {
        let mut text = [b'-'; LENGTH];
        let mut rest = self.0;
        for (position, byte) in text.iter_mut().enumerate().rev() {
            if !HYPHENS.contains(&position) {
                *byte = b"0123456789abcdef"[usize::from(rest.to_le_bytes()[0] & 0xf)];
                rest >>= 4;
            }
        }
        text
    }
}

impl Serialize for RequestId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = self.text();
        serializer.serialize_str(std::str::from_utf8(&text).expect("digits and hyphens are ASCII"))
    }
}

impl<'de> Deserialize<'de> for RequestId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Text)
    }
}

struct Text;

impl Visitor<'_> for Text {
    type Value = RequestId;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a UUID of 36 characters")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<RequestId, E> {
        RequestId::parse(text).ok_or_else(|| E::custom("a request id is not a UUID"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_written_as_uuids() {
        let id = RequestId(0x0192_f5a8_7c00_7abc_8def_0123_4567_89ab);
        let text = "\"0192f5a8-7c00-7abc-8def-0123456789ab\"";
        assert_eq!(serde_json::to_string(&id).unwrap(), text);
        for id in [id, RequestId(0), RequestId(u128::MAX)] {
            let text = serde_json::to_string(&id).unwrap();
            assert_eq!(serde_json::from_str::<RequestId>(&text).unwrap(), id);
            assert_eq!(serde_json::from_str::<RequestId>(&text.to_uppercase()).unwrap(), id);
        }
    }

    #[test]
    fn nothing_else_is_read() {
        for wrong in [
            "",
            "0192f5a87c007abc8def0123456789ab",
            "0192f5a8-7c00-7abc-8def-0123456789a",
            "0192f5a8-7c00-7abc-8def-0123456789abc",
            "0192f5a8-7c00-7abc-8def-0123456789ag",
            "0192f5a8-7c00-7abc-8def00123456789ab",
            "0192f5a-87c00-7abc-8def-0123456789ab",
        ] {
            assert_eq!(RequestId::parse(wrong), None, "{wrong}");
        }
    }
}
