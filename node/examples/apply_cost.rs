//! Measures the work of a node without the network: appends entries to the logs of its shards, syncs them and
//! applies them. Prints coupons per second with one and with two workers.
//!
//! ```sh
//! cargo run --release -p coupon-node --example apply_cost -- DIR [SHARDS] [COMMANDS]
//! ```
//!
//! With DIR in memory (tmpfs), only CPU time counts. The shards are spread over the workers, which are threads;
//! COMMANDS is the number of commands in an entry.

#![allow(clippy::unwrap_used, reason = "a measurement ends where it fails")]

use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use coupon_cluster::{ReplicaId, ShardId};
use coupon_node::raft::log_store::LogStore;
use coupon_node::raft::state_machine::StateMachine;
use coupon_node::raft::types::{Entry, LogId, Proposal};
use coupon_node::storage::Storage;
use coupon_node::storage::snapshot::ReplicaKey;
use coupon_proto::internal as pb;
use futures::stream;
use openraft::EntryPayload;
use openraft::entry::RaftEntry as _;
use openraft::impls::leader_id_adv::LeaderId;
use openraft::storage::{RaftLogStorageExt as _, RaftStateMachine as _};
use pb::command::Operation;
use pb::command_entry::InternalCommand;
use prost::Message as _;

/// How long one measurement takes.
const DURATION: Duration = Duration::from_secs(5);
/// Number of times that each number of workers has its turn.
const ROUNDS: usize = 3;

fn main() {
    let mut args = std::env::args().skip(1);
    let dir = args.next().expect("a directory for data");
    let shards: u32 = args.next().map_or(8, |shards| shards.parse().unwrap());
    let commands: u64 = args.next().map_or(256, |commands| commands.parse().unwrap());
    println!("{shards} shards, entries of {commands} commands, in {dir}");
    for round in 1..=ROUNDS {
        let one = measure(Path::new(&dir), shards, commands, 1);
        let two = measure(Path::new(&dir), shards, commands, 2);
        println!(
            "round {round}: 1 worker {one:.0}/s, 2 workers {two:.0}/s, ratio {:.2}",
            two / one
        );
    }
}

/// Coupons a second over all shards.
fn measure(dir: &Path, shards: u32, commands: u64, workers: u32) -> f64 {
    let dir = tempfile::tempdir_in(dir).unwrap();
    let storage = Storage::open(dir.path()).unwrap();
    let began = Instant::now();
    let threads: Vec<_> = (0..workers)
        .map(|worker| {
            let storage = storage.clone();
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                let mine = (1..=shards).filter(|shard| shard % workers == worker);
                let mut shards: Vec<_> = mine.map(|shard| Shard::open(&storage, shard)).collect();
                let mut issued = 0;
                runtime.block_on(async {
                    while began.elapsed() < DURATION {
                        for shard in &mut shards {
                            shard.next_entry(commands).await;
                            issued += commands;
                        }
                    }
                });
                issued
            })
        })
        .collect();
    let issued: u64 = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
    let seconds = began.elapsed().as_secs_f64();
    storage.close().unwrap();
    issued as f64 / seconds
}

struct Shard {
    key: ReplicaKey,
    log: LogStore,
    machine: StateMachine,
    last_index: u64,
    requests: u128,
}

impl Shard {
    fn open(storage: &Storage, shard: u32) -> Self {
        let key = ReplicaKey { shard: ShardId::new(shard).unwrap(), replica: ReplicaId(1) };
        let log = LogStore::open(storage.clone(), key.shard, key.replica).unwrap();
        let machine = StateMachine::open_ledger(storage.clone(), key).unwrap();
        Self { key, log, machine, last_index: 0, requests: 0 }
    }

    /// Appends and applies the ring, then a campaign, then coupons.
    async fn next_entry(&mut self, commands: u64) {
        let shard = self.key.shard.get();
        let mut entry =
            pb::CommandEntry { log_time_micros: self.last_index + 1, ..Default::default() };
        match self.last_index {
            0 => {
                let adopt = pb::AdoptRingCommand { epoch: 1, ring_shards: vec![shard] };
                entry.internal_command = Some(InternalCommand::AdoptRing(adopt));
            }
            1 => entry.commands = vec![command(Operation::CreateCampaign(create().into()))],
            _ => {
                let issues = (0..commands).map(|_| command(Operation::Issue(self.issue())));
                entry.commands = issues.collect();
            }
        }
        self.last_index += 1;
        let id = LogId::new(LeaderId { term: 1, node_id: 1 }, self.last_index);
        let proposal = Proposal(Bytes::from(entry.encode_to_vec()));
        let entry = Entry::new(id, EntryPayload::Normal(proposal));
        self.log.blocking_append([entry.clone()]).await.unwrap();
        self.machine.apply(stream::iter([Ok((entry, None))])).await.unwrap();
    }

    fn issue(&mut self) -> pb::IssueCommand {
        self.requests += 1;
        // Spread as random ids are.
        let request = self.requests.wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835);
        pb::IssueCommand {
            campaign: "default/c".into(),
            recipient: format!("{:016x}", request >> 64),
            request_id: request.to_be_bytes().to_vec(),
            ..Default::default()
        }
    }
}

fn create() -> pb::CreateCampaignCommand {
    pb::CreateCampaignCommand {
        name: "default/c".into(),
        quota: 1_000_000_000,
        per_recipient_limit: 1,
        request_id: vec![1; 16],
        code_key_id: 1,
        code_scheme: None,
        ..Default::default()
    }
}

fn command(operation: Operation) -> Bytes {
    pb::Command { epoch: 1, operation: Some(operation) }.encode_to_vec().into()
}
