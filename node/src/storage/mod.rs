//! What a node keeps on disk: one directory, one RocksDB, one write-ahead log.
//! `node/FORMATS.md` has all formats, byte by byte.
//!
//! Invariants:
//! - An append, a vote, a truncation and a purge are on disk before anybody is told of them
//!   ([`flusher`]).
//! - A replica's state and how far it has come are written in one batch ([`ledger`], [`keys`]).
//! - A directory belongs to one node of one cluster ([`identity`]).
//! - A store that has lost acknowledged writes ([`floor`]) is marked as lost ([`lost`]) and runs no
//!   replica again; its successor does (`renewal`).
//! - A failed write or sync ends the process ([`fatal`]); it never becomes an answer.

pub mod backup;
mod code_rows;
pub mod coupon_rows;
pub mod db;
pub mod digest;
mod error;
pub mod fatal;
pub mod floor;
pub mod flusher;
mod frames;
#[cfg(test)]
mod golden;
pub mod hold_counts;
mod hold_rows;
pub mod identity;
mod index;
mod ingest;
pub mod keys;
pub mod ledger;
pub mod lost;
mod options;
mod records;
pub(crate) mod renewal;
pub mod restore;
mod rows;
pub mod snapshot;
mod sync_time;
pub mod view;

pub use db::Storage;
pub use error::StorageError;
pub use frames::WriteError;
