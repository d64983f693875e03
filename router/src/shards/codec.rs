//! The codec of the Propose stream on the router's side.
//!
//! Requests are encoded where they are made and travel as bytes. The commands of a batch can then
//! stay with the router for a retry without being cloned one by one.

use bytes::{Buf, BufMut, Bytes};
use coupon_proto::internal::{CommandBatch, ProposeResponse};
use prost::Message as _;
use prost::encoding::{WireType, encode_key, encode_varint, uint64};
use tonic::Status;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};

/// The fields of a `ProposeRequest` and of a `CommandBatch`.
const BATCH: u32 = 2;
const BATCH_ID: u32 = 1;
const COMMANDS: u32 = 2;
const DEADLINE_MICROS: u32 = 3;

/// A `ProposeRequest` that holds a batch, encoded. Generated code would take a reference to each command, which
/// costs an allocation, to copy it.
pub(crate) fn encode_batch(batch: &CommandBatch) -> Bytes {
    let CommandBatch { batch_id, commands, deadline_micros } = batch;
    let length = batch.encoded_len();
    let header =
        prost::encoding::key_len(BATCH) + prost::encoding::encoded_len_varint(length as u64);
    let mut request = Vec::with_capacity(header + length);
    encode_key(BATCH, WireType::LengthDelimited, &mut request);
    encode_varint(length as u64, &mut request);
    if *batch_id != 0 {
        uint64::encode(BATCH_ID, batch_id, &mut request);
    }
    for command in commands {
        encode_key(COMMANDS, WireType::LengthDelimited, &mut request);
        encode_varint(command.len() as u64, &mut request);
        request.extend_from_slice(command);
    }
    uint64::encode_packed(DEADLINE_MICROS, deadline_micros, &mut request);
    request.into()
}

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

#[cfg(test)]
mod tests {
    use coupon_proto::internal::{ProposeRequest, propose_request};

    use super::*;

    #[test]
    fn a_batch_is_encoded_as_its_message_is() {
        for count in [0, 1, 1_024] {
            let batch = CommandBatch {
                batch_id: count as u64,
                commands: (0..count).map(|number| vec![7; number % 300].into()).collect(),
                deadline_micros: (0..count).map(|number| number as u64 * 1_000_003).collect(),
            };
            let message = Some(propose_request::Message::Batch(batch.clone()));
            assert_eq!(encode_batch(&batch), ProposeRequest { message }.encode_to_vec());
        }
    }
}
