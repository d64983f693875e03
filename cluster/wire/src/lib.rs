//! Conversions between protobuf messages and the types of `coupon-cluster`.
//!
//! Nodes, routers, the program and the chaos tool share these functions, so that all of them read an id, a map, a
//! campaign's state or a refusal alike.
//!
//! - [`ids`]: ids of nodes, shards, campaigns and requests.
//! - [`map`]: the shard map and its parts.
//! - [`meta`]: commands that change the map.
//! - [`node`]: how a node identifies itself.
//! - [`campaign`]: the state of a campaign, from its record.
//! - [`code`]: what a campaign decides about its codes.
//! - [`refusal`]: why a node does not serve a shard, as a gRPC status.
//!
//! What is not here, on purpose: I/O, clocks, randomness, the ledger's commands and rows (the node's own, in
//! its `codec`), and the public API (the router's).

pub mod campaign;
pub mod code;
pub mod ids;
pub mod map;
pub mod meta;
pub mod node;
pub mod refusal;

/// A message lacks what every message of its kind has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} is missing or malformed")]
pub struct Malformed(pub &'static str);
