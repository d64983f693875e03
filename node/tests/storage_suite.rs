//! openraft's own tests of a log store and a state machine, against ours.

#![allow(clippy::unwrap_used, reason = "a test fails where it panics")]

use coupon_cluster::{ReplicaId, ShardId};
use coupon_node::raft::log_store::LogStore;
use coupon_node::raft::state_machine::StateMachine;
use coupon_node::raft::types::TypeConfig;
use coupon_node::storage::Storage;
use coupon_node::storage::snapshot::ReplicaKey;
use openraft::StorageError;
use openraft::testing::log::{StoreBuilder, Suite};
use tempfile::TempDir;

struct Builder;

impl StoreBuilder<TypeConfig, LogStore, StateMachine, TempDir> for Builder {
    async fn build(&self) -> Result<(TempDir, LogStore, StateMachine), StorageError<TypeConfig>> {
        let dir = tempfile::tempdir().unwrap();
        let storage = Storage::open(dir.path()).unwrap();
        let key = ReplicaKey { shard: ShardId::new(1).unwrap(), replica: ReplicaId(1) };
        let log = LogStore::open(storage.clone(), key.shard, key.replica).unwrap();
        let machine = StateMachine::open_ledger(storage, key).unwrap();
        Ok((dir, log, machine))
    }
}

#[test]
fn the_log_store_and_the_state_machine_pass_the_suite_of_openraft() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(Suite::test_all(Builder)).unwrap();
}
