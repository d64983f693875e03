//! The messages of `service.proto`, and its descriptors.

use std::path::Path;
use std::sync::LazyLock;

use prost::Message;
use prost_reflect::DescriptorPool;
use prost_types::FileDescriptorSet;

/// The encoded descriptors.
pub(crate) static DESCRIPTORS: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance");
    let files = protox::compile([folder.join("service.proto")], [folder]);
    files.expect("the definitions compile").encode_to_vec()
});

/// The descriptors, with those of details.
pub(crate) static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| {
    let mut pool = DescriptorPool::decode(DESCRIPTORS.as_slice()).expect("they are complete");
    let set = FileDescriptorSet::decode(tonic_types::pb::FILE_DESCRIPTOR_SET).expect("it is a set");
    let known = |name: &str| name == "google/protobuf/any.proto";
    let details = set.file.into_iter().filter(|file| !known(file.name()));
    pool.add_file_descriptor_protos(details).expect("they are complete");
    pool
});

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Header {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(string, repeated, tag = "2")]
    pub(crate) values: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Failure {
    #[prost(int32, tag = "1")]
    pub(crate) code: i32,
    #[prost(string, tag = "2")]
    pub(crate) message: String,
    #[prost(message, repeated, tag = "3")]
    pub(crate) details: Vec<prost_types::Any>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Ask {
    #[prost(message, repeated, tag = "1")]
    pub(crate) headers: Vec<Header>,
    #[prost(bytes = "vec", repeated, tag = "2")]
    pub(crate) data: Vec<Vec<u8>>,
    #[prost(message, repeated, tag = "3")]
    pub(crate) trailers: Vec<Header>,
    #[prost(message, optional, tag = "4")]
    pub(crate) failure: Option<Failure>,
    #[prost(uint32, tag = "5")]
    pub(crate) delay_ms: u32,
    #[prost(bytes = "vec", tag = "6")]
    pub(crate) padding: Vec<u8>,
    #[prost(int64, tag = "7")]
    pub(crate) big_number: i64,
    #[prost(int32, tag = "8")]
    pub(crate) kind: i32,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Answer {
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) data: Vec<u8>,
    #[prost(message, repeated, tag = "2")]
    pub(crate) seen: Vec<Header>,
    #[prost(string, tag = "3")]
    pub(crate) timeout: String,
    #[prost(int64, tag = "4")]
    pub(crate) big_number: i64,
    #[prost(int32, tag = "5")]
    pub(crate) kind: i32,
    #[prost(uint32, tag = "6")]
    pub(crate) requests: u32,
}

/// A header with its values.
pub(crate) fn header(name: &str, values: &[&str]) -> Header {
    let values = values.iter().map(|value| (*value).to_owned()).collect();
    Header { name: name.to_owned(), values }
}
