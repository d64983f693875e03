//! What nodes, routers and tools send each other, read in one place.
//!
//! Messages are protobuf; decisions are made on the types of `coupon-cluster`. A node, a router, the program
//! and the chaos tool convert with the same functions, so that none of them reads an id, a map, a campaign's
//! state or a refusal in its own way.
//!
//! - [`ids`]: ids of nodes, shards, campaigns and requests.
//! - [`map`]: the shard map and its parts.
//! - [`meta`]: commands that change the map.
//! - [`node`]: how a node identifies itself.
//! - [`campaign`]: the state of a campaign, from its record.
//! - [`refusal`]: why a node does not serve a shard, as a gRPC status.
//!
//! What is not here, on purpose: I/O, clocks, randomness, the ledger's commands and rows (the node's own, in
//! its `codec`), and the public API (the router's).

pub mod campaign;
pub mod ids;
pub mod map;
pub mod meta;
pub mod node;
pub mod refusal;

/// A message lacks what every message of its kind has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} is missing or malformed")]
pub struct Malformed(pub &'static str);
