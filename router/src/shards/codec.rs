//! The codec of the Propose stream on the router's side.
//!
//! Requests are encoded where they are made and travel as bytes. The commands of a batch can then
//! stay with the router for a retry without being cloned one by one.

use bytes::{Buf, BufMut, Bytes};
use coupon_proto::internal::ProposeResponse;
use prost::Message as _;
use tonic::Status;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};

/// Encoded requests out, [`ProposeResponse`] in.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ProposeCodec;

impl Codec for ProposeCodec {
    type Encode = Bytes;
    type Decode = ProposeResponse;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self::Encoder {
        *self
    }

    fn decoder(&mut self) -> Self::Decoder {
        *self
    }
}

impl Encoder for ProposeCodec {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.reserve(item.len());
        buffer.put(item);
        Ok(())
    }
}

impl Decoder for ProposeCodec {
    type Item = ProposeResponse;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<ProposeResponse>, Status> {
        let length = buffer.remaining();
        let decoded = ProposeResponse::decode(buffer.take(length));
        decoded.map(Some).map_err(|error| Status::internal(error.to_string()))
    }
}
