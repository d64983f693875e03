//! Frames, the envelope of gRPC, gRPC-Web and Connect's streams: a byte of flags, a length in four bytes, a message.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};

use crate::refusal::Refusal;

const HEADER_BYTES: usize = 5;

/// The flag of a compressed message.
pub(crate) const COMPRESSED: u8 = 1;

/// A frame.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) flags: u8,
    pub(crate) message: Bytes,
}

impl Frame {
    /// The frame of a message that is not compressed.
    pub(crate) fn plain(message: Bytes) -> Self {
        Self { flags: 0, message }
    }

    /// As it is sent.
    pub(crate) fn encode(&self) -> Bytes {
        let mut encoded = BytesMut::with_capacity(HEADER_BYTES + self.message.len());
        encoded.put_u8(self.flags);
        let bytes = u32::try_from(self.message.len());
        encoded.put_u32(bytes.expect("messages are bounded to much less than 4 GiB"));
        encoded.put_slice(&self.message);
        encoded.freeze()
    }
}

/// Puts frames together again that arrive in pieces.
#[derive(Debug, Default)]
pub(crate) struct FrameReader {
    unread: BytesMut,
}

impl FrameReader {
    /// Adds what arrived.
    pub(crate) fn push(&mut self, data: &[u8]) {
        self.unread.extend_from_slice(data);
    }

    /// Takes the next frame, if it has arrived as a whole.
    ///
    /// # Errors
    /// [`Refusal::TooLarge`] when its message will be larger than `bytes_max`.
    pub(crate) fn next(&mut self, bytes_max: usize) -> Result<Option<Frame>, Refusal> {
        let Some((mut header, rest)) = self.unread.split_at_checked(HEADER_BYTES) else {
            return Ok(None);
        };
        let (flags, bytes) = (header.get_u8(), header.get_u32() as usize);
        if bytes > bytes_max {
            return Err(Refusal::TooLarge { bytes_max });
        }
        if rest.len() < bytes {
            return Ok(None);
        }
        self.unread.advance(HEADER_BYTES);
        Ok(Some(Frame { flags, message: self.unread.split_to(bytes).freeze() }))
    }

    /// Whether there is no part of a frame left.
    pub(crate) fn is_empty(&self) -> bool {
        self.unread.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_put_together_of_any_pieces() {
        let first = Frame { flags: 1, message: Bytes::from_static(b"one") };
        let sent = [first.encode(), Frame::plain(Bytes::new()).encode()].concat();
        for size in 1..=sent.len() {
            let (mut reader, mut frames) = (FrameReader::default(), Vec::new());
            for piece in sent.chunks(size) {
                reader.push(piece);
                frames.extend(std::iter::from_fn(|| reader.next(3).unwrap()));
            }
            assert_eq!(frames.len(), 2);
            assert_eq!(frames[0], first);
            assert!(reader.is_empty());
        }
        let mut reader = FrameReader::default();
        reader.push(&sent);
        assert_eq!(reader.next(2), Err(Refusal::TooLarge { bytes_max: 2 }));
    }
}
