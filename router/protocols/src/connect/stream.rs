//! The end of a stream: a last frame with the error, if there is one, and the trailers.

use http::HeaderMap;
use serde_json::{Map, Value, json};
use tonic::{Code, Status};

use super::STATUS;
use super::error::error;
use crate::frames::Frame;
use crate::schema::Schema;

/// The flag of the last frame.
const END: u8 = 2;

/// The last frame of an answer that ended with these gRPC trailers.
pub(crate) fn end(status: &Status, trailers: &HeaderMap, schema: &Schema) -> Frame {
    let mut end = Map::new();
    if status.code() != Code::Ok {
        end.insert("error".to_owned(), error(status, schema));
    }
    let mut metadata = Map::new();
    for name in trailers.keys().filter(|name| !STATUS.contains(&name.as_str())) {
        let values = trailers.get_all(name).iter();
        let values = values.map(|value| String::from_utf8_lossy(value.as_bytes()).into());
        metadata.insert(name.as_str().to_owned(), Value::Array(values.collect()));
    }
    if !metadata.is_empty() {
        end.insert("metadata".to_owned(), json!(metadata));
    }
    Frame { flags: END, message: Value::Object(end).to_string().into() }
}
