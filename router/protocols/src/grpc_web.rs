//! The end of a gRPC-Web answer: a last frame with the trailers.

use bytes::BufMut as _;
use http::HeaderMap;

use crate::frames::Frame;

/// The flag of the last frame.
const TRAILERS: u8 = 0x80;

/// The last frame of an answer that ends with these trailers, written as HTTP/1.1 headers.
pub(crate) fn end(trailers: &HeaderMap) -> Frame {
    let mut block = Vec::new();
    for (name, value) in trailers {
        block.put_slice(name.as_str().as_bytes());
        block.put_slice(b": ");
        block.put_slice(value.as_bytes());
        block.put_slice(b"\r\n");
    }
    Frame { flags: TRAILERS, message: block.into() }
}
