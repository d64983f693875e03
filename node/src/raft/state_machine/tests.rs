//! Replicas that hold something else than their leader.

use bytes::Bytes;
use futures::stream;
use openraft::entry::RaftEntry as _;
use openraft::impls::leader_id_adv::LeaderId;

use super::super::types::Entry;
use super::*;

fn machine(dir: &std::path::Path) -> StateMachine {
    let key = ReplicaKey { shard: ShardId::new(1).unwrap(), replica: ReplicaId(1) };
    StateMachine::open_ledger(Storage::open(dir).unwrap(), key).unwrap()
}

/// Applies an entry that adopts the ring of an epoch.
async fn adopt(
    machine: &mut StateMachine,
    index: u64,
    epoch: u64,
    applied_digests: Option<pb::AppliedDigest>,
) -> Result<(), ApplyError> {
    let adopt = pb::AdoptRingCommand { epoch, ring_shards: vec![1] };
    let entry = pb::CommandEntry {
        log_time_micros: 1,
        internal_command: Some(pb::command_entry::InternalCommand::AdoptRing(adopt)),
        applied_digest: applied_digests,
        ..Default::default()
    };
    let proposal = Proposal(Bytes::from(entry.encode_to_vec()));
    let log_id = LogId::new(LeaderId { term: 1, node_id: 1 }, index);
    let entry = Entry::new(log_id, EntryPayload::Normal(proposal));
    machine.apply_all(stream::iter([Ok((entry, None))])).await
}

#[tokio::test]
async fn a_replica_that_does_not_hold_what_the_leader_held_stops() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (mut leader, mut follower) = (machine(one.path()), machine(two.path()));
    for index in 1..=3 {
        let applied_digests = leader.applied_digests().last();
        for machine in [&mut leader, &mut follower] {
            adopt(machine, index, index, applied_digests.clone()).await.unwrap();
        }
    }
    assert_eq!(leader.applied_digests().last(), follower.applied_digests().last());
    adopt(&mut leader, 4, 4, None).await.unwrap();
    adopt(&mut follower, 4, 5, None).await.unwrap();
    let applied_digests = leader.applied_digests().last();
    adopt(&mut leader, 5, 6, applied_digests.clone()).await.unwrap();
    let stopped = adopt(&mut follower, 5, 6, applied_digests.clone()).await.unwrap_err();
    assert!(matches!(stopped, ApplyError::Diverged(_)), "{stopped}");

    // It is still so after a restart, whatever is applied in between.
    follower.storage.close().unwrap();
    drop(follower);
    let mut follower = machine(two.path());
    assert_eq!(follower.applied.unwrap().index, 4);
    assert!(adopt(&mut follower, 5, 6, applied_digests).await.is_err());
    drop(follower);
    let mut follower = machine(two.path());
    adopt(&mut follower, 5, 6, None).await.unwrap();
    let applied_digests = leader.applied_digests().last();
    assert!(adopt(&mut follower, 6, 7, applied_digests).await.is_err());
}
