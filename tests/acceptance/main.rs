//! What the program promises, tried on real processes with real files: crashes, pauses, lost disks
//! and mistakes. Whatever is issued is recorded, read back and judged by the checker.

mod backup;
mod command_line;
mod crash;
mod demo;
mod events;
mod export;
mod failover;
mod followed;
mod holds;
mod import;
mod loadtest;
mod lost_tail;
mod many_shards;
mod not_joined;
mod other_cluster;
mod quick_restart;
mod quorum;
mod recovery;
mod redemption;
mod registration;
mod restart;
mod silent_clients;
mod stale_leader;
#[path = "../support/mod.rs"]
mod support;
mod two_histories;
mod unanswered;
mod watch;
mod wiped_node;
