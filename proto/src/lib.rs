//! The wire and disk formats of Coupon, the code generated from them, the bounds of requests, and the reasons of errors.
//!
//! Nothing else lives here: no validation, no conversion, no behaviour.

pub mod limits;
pub mod reason;

/// The name under which health (`grpc.health.v1`) says that a node or router lives, whether it serves or not.
pub const LIVE_SERVICE: &str = "live";

/// The encoded `FileDescriptorSet` of the public APIs, `coupon.v1` and `couponpb`.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/public.bin"));

/// The public API, package `coupon.v1`.
#[allow(
    clippy::all,
    clippy::too_many_lines,
    clippy::wildcard_enum_match_arm,
    unreachable_pub,
    missing_docs
)]
pub mod v1 {
    tonic::include_proto!("coupon.v1");
}

/// The older public API, package `couponpb`, for clients that were made for it.
#[allow(
    clippy::all,
    clippy::too_many_lines,
    clippy::wildcard_enum_match_arm,
    unreachable_pub,
    missing_docs
)]
pub mod couponpb {
    tonic::include_proto!("couponpb");
}

/// What nodes and routers say to each other and keep on disk, package `coupon.internal.v1`.
#[allow(
    clippy::all,
    clippy::too_many_lines,
    clippy::wildcard_enum_match_arm,
    unreachable_pub,
    missing_docs
)]
pub mod internal {
    tonic::include_proto!("coupon.internal.v1");
}
