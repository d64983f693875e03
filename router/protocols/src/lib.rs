//! One port for every client: gRPC, gRPC-Web and Connect, over HTTP/1.1 and HTTP/2, in front of the same services.
//!
//! Services speak gRPC. A plain gRPC call goes to them as it came ([`is_grpc`]); any other request is translated:
//!
//! ```text
//! request ─► content type ─► protocol ─► headers of gRPC, and a CallBody ─► service
//!            GET query                    frames, gunzip, JSON ─► protobuf      │
//! answer  ◄─ CORS ◄─ protocol ◄─ protobuf ─► JSON, gzip, frames ◄───────────────┘
//! ```
//!
//! - The body is translated while the service reads it. So what bounds a gRPC call, admission and deadlines, bounds
//!   every call, and sizes are bounded here, before and after decompression, and so are the items of repeated fields,
//!   before anything is made of them.
//! - JSON comes from descriptors ([`Schema`]): a service that is added to them needs no code. So does [`openapi`], which
//!   describes that JSON.
//! - All protocols but Connect's unary form send frames; one body translates them. A unary answer of Connect is held as
//!   a whole, as its status comes first in HTTP and last in gRPC.
//! - What cannot be translated is refused in the protocol of the request, and in plain HTTP with a sentence when it has
//!   none ([`Refusal`]).
//! - Answers are compressed when the client accepts gzip. That of a gRPC call is compressed only if the request was,
//!   which is the rule of other gRPC servers as well.
//!
//! Deliberately absent: services, admission, TLS, and everything that is about coupons.

mod call;
mod call_body;
mod connect;
mod connections;
mod cors;
mod framed;
mod frames;
mod grpc_web;
mod gzip;
mod http_refusal;
mod items;
mod openapi;
mod protocol;
mod refusal;
mod schema;
#[cfg(feature = "trace")]
mod socket;
mod text;
mod translator;
mod under_way;

pub use call_body::CallBody;
pub use connections::{ConnectionRules, serve};
pub use cors::Cors;
pub use http_refusal::plain_text;
pub use openapi::{About, openapi};
pub use protocol::is_grpc;
pub use refusal::Refusal;
pub use schema::{Schema, SchemaError};
pub use translator::{Rules, Translator};
