//! The way to the shards: the map that is followed, the channels, one stream to each leader, reads, watches.

mod alarm;
mod census;
mod codec;
mod confirmation;
mod connection;
pub(crate) mod directory;
mod map_follower;
pub(crate) mod pool;
pub(crate) mod propose;
pub(crate) mod read;
pub(crate) mod shard_client;
mod stream;
mod submission;
pub(crate) mod watches;
