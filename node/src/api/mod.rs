//! The gRPC a node serves: to routers ([`shard`]), to other nodes ([`raft`]) and to both and to
//! administrators ([`cluster`]); and to administrators alone ([`backup`]).

pub mod backup;
mod campaign_list;
pub mod cluster;
mod coupon_list;
mod events;
pub(crate) mod health;
mod one_coupon;
#[cfg(feature = "mutants")]
mod outside_log;
pub mod raft;
mod reader;
mod registration;
pub mod shard;
mod status;
