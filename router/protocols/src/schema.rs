//! The methods that can be called, and their messages in JSON, all from descriptors.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use prost::Message as _;
use prost_reflect::{
    DescriptorError, DescriptorPool, DeserializeOptions, DynamicMessage, MessageDescriptor,
    MethodDescriptor, SerializeOptions,
};
use prost_types::method_options::IdempotencyLevel;
use prost_types::{DescriptorProto, FileDescriptorSet};
use thiserror::Error;

use crate::items;
use crate::protocol::{Codec, Form};
use crate::refusal::Refusal;

/// Why descriptors are of no use.
#[derive(Debug, Error)]
pub enum SchemaError {
    /// They are no `FileDescriptorSet`.
    #[error("decode the descriptors")]
    Decode(#[from] prost::DecodeError),
    /// They contradict each other, or lack something.
    #[error("link the descriptors")]
    Link(#[from] DescriptorError),
}

/// The methods and messages of all services.
#[derive(Debug, Clone)]
pub struct Schema {
    methods: Arc<HashMap<String, Arc<Method>>>,
    pool: DescriptorPool,
}

impl Schema {
    /// The methods in encoded `FileDescriptorSet`s, and beside them the messages that errors have as details,
    /// `google.rpc`. A file counts where it or one of its messages comes first.
    ///
    /// # Errors
    /// [`SchemaError`] when the sets are of no use.
    pub fn new(sets: &[&[u8]]) -> Result<Self, SchemaError> {
        let mut pool = DescriptorPool::new();
        for set in sets.iter().copied().chain([tonic_types::pb::FILE_DESCRIPTOR_SET]) {
            let mut files = FileDescriptorSet::decode(set)?.file;
            files.retain(|file| {
                let name =
                    |message: &DescriptorProto| format!("{}.{}", file.package(), message.name());
                let mut names = file.message_type.iter().map(name);
                pool.get_file_by_name(file.name()).is_none()
                    && names.all(|name| pool.get_message_by_name(&name).is_none())
            });
            pool.add_file_descriptor_protos(files)?;
        }
        let methods = pool.services().flat_map(|service| service.methods().collect::<Vec<_>>());
        let methods = methods.map(|method| {
            let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
            (path, Arc::new(Method::new(&method)))
        });
        Ok(Self { methods: Arc::new(methods.collect()), pool })
    }

    /// All that is in the sets.
    pub(crate) fn pool(&self) -> &DescriptorPool {
        &self.pool
    }

    /// The method at a path, `/package.Service/Method`.
    pub(crate) fn method(&self, path: &str) -> Option<&Arc<Method>> {
        self.methods.get(path)
    }

    /// A message of a given type in JSON, if the type is known and the message is one.
    pub(crate) fn json_of(&self, full_name: &str, proto: &[u8]) -> Option<serde_json::Value> {
        let kind = self.pool.get_message_by_name(full_name)?;
        let message = DynamicMessage::decode(kind, proto).ok()?;
        message.serialize_with_options(serde_json::value::Serializer, &json_written()).ok()
    }
}

/// A method.
#[derive(Debug)]
pub(crate) struct Method {
    input: MessageDescriptor,
    output: MessageDescriptor,
    /// Whether a client sends any number of messages, not one.
    pub(crate) is_client_streaming: bool,
    is_server_streaming: bool,
    has_no_side_effects: bool,
}

impl Method {
    /// The shape of a method.
    pub(crate) fn new(method: &MethodDescriptor) -> Self {
        let options = method.method_descriptor_proto().options.as_ref();
        let level = options.map(prost_types::MethodOptions::idempotency_level);
        Self {
            input: method.input(),
            output: method.output(),
            is_client_streaming: method.is_client_streaming(),
            is_server_streaming: method.is_server_streaming(),
            has_no_side_effects: level == Some(IdempotencyLevel::NoSideEffects),
        }
    }

    /// Whether it can be called by GET.
    pub(crate) fn takes_get(&self) -> bool {
        self.has_no_side_effects && self.takes(Form::ConnectUnary)
    }

    /// Whether it can be called in a form.
    pub(crate) fn takes(&self, form: Form) -> bool {
        let is_unary = !self.is_client_streaming && !self.is_server_streaming;
        match form {
            Form::Grpc | Form::GrpcWeb | Form::GrpcWebText => true,
            Form::ConnectUnary => is_unary,
            Form::ConnectStream => !is_unary,
        }
    }

    /// Whether both sides stream, for which HTTP/1.1 does not do.
    pub(crate) fn is_bidirectional(&self) -> bool {
        self.is_client_streaming && self.is_server_streaming
    }

    /// A request as protobuf. Fields that it has and the schema has not are ignored in JSON as they are in protobuf,
    /// and as Connect's own servers do: a client may be newer than a router.
    ///
    /// # Errors
    /// [`Refusal::TooManyItems`] when its repeated fields have more than `items_max`; [`Refusal::Invalid`] when it is
    /// JSON, but not that of the message.
    pub(crate) fn request(
        &self,
        codec: Codec,
        message: Bytes,
        items_max: usize,
    ) -> Result<Bytes, Refusal> {
        items::check(&self.input, codec, &message, items_max)?;
        if codec == Codec::Proto {
            return Ok(message);
        }
        let refuse =
            |error| Refusal::invalid(format!("the JSON is not that of a request: {error}"));
        let options = DeserializeOptions::new().deny_unknown_fields(false);
        let mut json = serde_json::Deserializer::from_slice(&message);
        let input = self.input.clone();
        let read = DynamicMessage::deserialize_with_options(input, &mut json, &options);
        let message = read.map_err(refuse)?;
        json.end().map_err(refuse)?;
        Ok(message.encode_to_vec().into())
    }

    /// An answer as the client wants it; `None` when a service answered with something else than its message.
    pub(crate) fn answer(&self, codec: Codec, message: Bytes) -> Option<Bytes> {
        if codec == Codec::Proto {
            return Some(message);
        }
        let message = DynamicMessage::decode(self.output.clone(), message).ok()?;
        let mut json = serde_json::Serializer::new(Vec::new());
        message.serialize_with_options(&mut json, &json_written()).ok()?;
        Some(json.into_inner().into())
    }
}

/// JSON as protobuf's own mapping has it: lowerCamelCase, enums by name, 64-bit integers as strings, no defaults.
fn json_written() -> SerializeOptions {
    SerializeOptions::new()
}
