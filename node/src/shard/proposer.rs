//! From commands to log entries.
//!
//! The proposer of a shard takes everything that waits, up to a bound, and proposes it as one
//! entry with one time stamp; it never waits for more. Entries in flight are few: what arrives
//! meanwhile makes the next entry larger, which is what keeps throughput up on slow disks.
//!
//! Every submission is bound to the leadership it was made under. Once that has ended it is
//! refused, even when this replica leads again: a command that a router has given up for dead must
//! not come to life behind a later answer.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use coupon_cluster::{KeyId, ShardId, ShardMap};
use coupon_ledger::LogTime;
use coupon_proto::internal as pb;
use coupon_trace::{Stage, Subject, Tag, mark};
use prost::Message as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};

use super::direct;
use super::pending_reopenings::PendingReopenings;
use super::stamps::Stamps;
use super::submission::{
    self, EncodedCommand, Submission, SubmissionQueue, SubmissionSender, not_proposed, refuse,
    reply, unknown,
};
use crate::clock::TrustedClock;
use crate::codec::command::{code_key_of_creation, imported_codes};
use crate::codec::reopens::reopens;
use crate::raft::closed_campaigns::ClosedCampaigns;
use crate::raft::replica::{self, RaftReplica, WriteOutcome, WriteResult};
use crate::raft::types::{Applied, Proposal};
use crate::storage::Storage;
use crate::storage::flusher::Flusher;

/// How many commands one log entry holds at most.
pub const ENTRY_COMMANDS_MAX: usize = 1_024;
/// Size at which a log entry takes no more submissions.
const ENTRY_BYTES_MAX: usize = 512 << 10;
/// Bytes that an imported code counts as. To apply it is a look-up and a few rows, as for a coupon, so a message of an
/// import fills an entry: the issues behind it wait for one, and not for as many as fit in.
const CODE_BYTES: usize = 512;
/// Entries in flight: one being replicated while the next is applied. More brought nothing.
const ENTRIES_IN_FLIGHT_MAX: u32 = 2;
/// How long a former leader waits for the next one to make itself known, before it refuses what came for it.
const SUCCESSOR_WAIT: Duration = Duration::from_millis(50);

/// The handle of a shard's proposer. Clones share it; it ends with the last of them.
#[derive(Clone, Debug)]
pub struct Proposer {
    log: SubmissionSender,
    direct: SubmissionSender,
    closed: ClosedCampaigns,
    stamps: Stamps,
    in_flight: Arc<Semaphore>,
}

/// While this exists, a proposer proposes nothing. What is submitted waits.
pub struct Paused {
    _all_of_them: OwnedSemaphorePermit,
}

impl Proposer {
    /// Starts the proposer of a group on a node with this clock and this disk, which knows these shard maps.
    pub fn start(
        raft: RaftReplica,
        clock: TrustedClock,
        storage: Storage,
        maps: watch::Receiver<Arc<ShardMap>>,
    ) -> Self {
        let in_flight = Arc::new(Semaphore::new(ENTRIES_IN_FLIGHT_MAX as usize));
        let closed = raft.closed.clone();
        let stamps = Stamps::new(clock);
        let ((log, for_log), (direct, for_direct)) = (submission::queue(), submission::queue());
        let disk = storage.flusher().clone();
        let reopenings = PendingReopenings::default();
        let answering =
            direct::run(raft.clone(), storage, stamps.clone(), reopenings.clone(), for_direct);
        tokio::spawn(answering);
        let entries = run(raft, stamps.clone(), disk, maps, reopenings, for_log, in_flight.clone());
        tokio::spawn(entries);
        Self { log, direct, closed, stamps, in_flight }
    }

    /// Stops proposing. Returns when every entry in flight has its outcome; `None` when the proposer
    /// has ended.
    pub async fn pause(&self) -> Option<Paused> {
        let all = self.in_flight.clone().acquire_many_owned(ENTRIES_IN_FLIGHT_MAX).await;
        all.ok().map(|all| Paused { _all_of_them: all })
    }

    /// The time of a read that comes now, before it confirms that this replica leads, and looks at the state.
    pub fn read_time(&self) -> LogTime {
        self.stamps.read_time()
    }

    /// Hands over commands. When a queue is full they are refused at once.
    pub fn submit(&self, submission: Submission) {
        // Asked once, since the campaigns change meanwhile.
        let is_direct =
            |command: &EncodedCommand| direct::is_worth_it(&self.closed, &command.bytes);
        let are_direct: Vec<bool> = submission.commands.iter().map(is_direct).collect();
        if !are_direct.contains(&true) {
            self.log.submit(submission);
        } else if !are_direct.contains(&false) {
            self.direct.submit(submission);
        } else {
            let (direct, through_log) = submission.split(are_direct);
            self.direct.submit(direct);
            self.log.submit(through_log);
        }
    }
}

/// A submission in an entry: the replies to those of its commands that are not in it, and where all replies go.
struct PendingReply {
    refused: Vec<Option<pb::Reply>>,
    replies: oneshot::Sender<Vec<pb::Reply>>,
    batch: Tag,
}

async fn run(
    raft: RaftReplica,
    stamps: Stamps,
    disk: Flusher,
    maps: watch::Receiver<Arc<ShardMap>>,
    reopenings: PendingReopenings,
    mut waiting: SubmissionQueue,
    in_flight: Arc<Semaphore>,
) {
    let mut held_back = None;
    loop {
        let first = match held_back.take() {
            Some(submission) => submission,
            None => match waiting.next().await {
                Some(submission) => submission,
                None => return,
            },
        };
        let Ok(permit) = in_flight.clone().acquire_owned().await else { return };
        // A node whose clock is off or whose disk hangs gives its leadership up; until then it proposes
        // nothing.
        let stamp = stamps.stamp().filter(|_| !disk.is_stuck());
        let (Ok(leadership), Some(stamp)) = (raft.leadership(), stamp) else {
            // So that most routers are told where to go.
            raft.wait_for_leader(SUCCESSOR_WAIT).await;
            let rest = std::iter::from_fn(|| waiting.try_next());
            std::iter::once(first).chain(rest).for_each(|all| refuse_as_follower(all, &raft));
            continue;
        };
        let applied_digest = raft.applied_digests.last();
        let pb::LogHeader { committed_index, acknowledged } = raft.log_header();
        let mut entry = pb::CommandEntry {
            log_time_micros: stamp.micros,
            applied_digest,
            committed_index,
            acknowledged,
            ..Default::default()
        };
        let newest_key = maps.borrow().newest_code_key();
        let mut parts = Vec::new();
        let mut size = 0;
        let reopening = reopenings.track(|| {
            let mut next = Some(first);
            while let Some(submission) = next {
                if submission.leadership != leadership {
                    refuse_as_follower(submission, &raft);
                } else if entry.commands.len() + submission.commands.len() > ENTRY_COMMANDS_MAX {
                    held_back = Some(submission);
                    break;
                } else {
                    size += take(&mut entry, &mut parts, submission, newest_key);
                }
                if size >= ENTRY_BYTES_MAX {
                    break;
                }
                next = waiting.try_next();
            }
            entry.commands.iter().filter_map(|command| reopens(command)).collect()
        });
        if entry.commands.is_empty() {
            parts.into_iter().for_each(|part| answer(part, &mut std::iter::empty()));
            continue;
        }
        let proposal = Proposal(Bytes::from(entry.encode_to_vec()));
        let shard = raft.key.shard;
        for part in &parts {
            let subject = Subject::Batch { shard: shard.get().into(), batch: part.batch };
            mark(Stage::Proposed, subject);
        }
        match raft.propose(proposal, leadership).await {
            Ok(outcome) => {
                tokio::spawn(async move {
                    let result = outcome.await.ok();
                    mark_decided(shard, result.as_ref(), &parts);
                    finish(result, parts);
                    drop((permit, reopening, stamp));
                });
            }
            Err(_) => finish(None, parts),
        }
    }
}

/// Moves a submission's commands into the entry, except those whose callers have stopped waiting, and new campaigns
/// with an older code key than `newest_key`. One whose stream has ended is dropped as a whole: its router sends it once
/// more, and has perhaps been told meanwhile that nothing came of it. Returns what they take of [`ENTRY_BYTES_MAX`].
fn take(
    entry: &mut pb::CommandEntry,
    parts: &mut Vec<PendingReply>,
    submission: Submission,
    newest_key: Option<KeyId>,
) -> usize {
    if submission.is_over() {
        return 0;
    }
    let now = entry.log_time_micros;
    let mut refused = Vec::with_capacity(submission.commands.len());
    let mut size = 0;
    for command in submission.commands {
        let reason = if command.deadline_micros != 0 && command.deadline_micros < now {
            Some(pb::NotProposedReason::Expired)
        } else if code_key_of_creation(&command.bytes).is_some_and(|key| Some(key) < newest_key) {
            Some(pb::NotProposedReason::OldCodeKey)
        } else {
            size += command.bytes.len() + imported_codes(&command.bytes) * CODE_BYTES;
            entry.commands.push(command.bytes);
            None
        };
        refused.push(reason.map(|reason| not_proposed(reason, 0)));
    }
    let batch = submission.stream.batch();
    parts.push(PendingReply { refused, replies: submission.replies, batch });
    size
}

/// Marks which batches were in which entry.
fn mark_decided(shard: ShardId, result: Option<&WriteResult>, parts: &[PendingReply]) {
    let Some(Ok(response)) = result else { return };
    let (shard, index) = (shard.get().into(), response.log_id.index.into());
    for part in parts {
        mark(Stage::Decided, Subject::BatchInEntry { shard, batch: part.batch, index });
    }
}

/// Hands the outcomes of an entry to the submissions it was made of.
fn finish(result: Option<WriteResult>, parts: Vec<PendingReply>) {
    let mut outcomes;
    let mut not_led = std::iter::repeat_with(|| not_proposed(pb::NotProposedReason::NotLeader, 0));
    let mut lost = std::iter::repeat_with(unknown);
    let replies: &mut dyn Iterator<Item = pb::Reply> = match result.map(replica::outcome) {
        Some(WriteOutcome::Applied(Applied::Ledger(applied))) => {
            outcomes = applied.into_iter().map(reply);
            &mut outcomes
        }
        Some(WriteOutcome::NotAppended) => &mut not_led,
        Some(
            WriteOutcome::Applied(Applied::Nothing | Applied::Meta(_)) | WriteOutcome::Unknown,
        )
        | None => &mut lost,
    };
    parts.into_iter().for_each(|part| answer(part, replies));
}

/// Answers one submission with the next replies; its commands that are not in the entry have their own.
fn answer(part: PendingReply, replies: &mut dyn Iterator<Item = pb::Reply>) {
    let refused = part.refused.into_iter();
    let all = refused.map(|own| own.or_else(|| replies.next()).unwrap_or_else(unknown)).collect();
    // A caller that went away needs no answer.
    let _ = part.replies.send(all);
}

fn refuse_as_follower(submission: Submission, raft: &RaftReplica) {
    let leader = raft.leader_node().map_or(0, |node| node.get());
    refuse(submission, pb::NotProposedReason::NotLeader, leader);
}

#[cfg(test)]
mod tests {
    use openraft::vote::RaftLeaderId as _;

    use super::*;
    use crate::raft::replica::Leadership;
    use crate::shard::submission::StreamTag;

    fn submission(replies: oneshot::Sender<Vec<pb::Reply>>) -> Submission {
        submission_of(vec![EncodedCommand::default()], replies)
    }

    fn submission_of(
        commands: Vec<EncodedCommand>,
        replies: oneshot::Sender<Vec<pb::Reply>>,
    ) -> Submission {
        let (leadership, stream) = (Leadership::new(1, 1), StreamTag::default());
        Submission { leadership, stream, commands, bytes: 1, replies }
    }

    #[test]
    fn what_nobody_waits_for_is_not_proposed() {
        let (mut entry, mut parts) = (pb::CommandEntry::default(), Vec::new());
        let (replies, gone) = oneshot::channel();
        drop(gone);
        assert_eq!(take(&mut entry, &mut parts, submission(replies), None), 0);
        assert!(entry.commands.is_empty() && parts.is_empty());
        let (replies, _waiting) = oneshot::channel();
        take(&mut entry, &mut parts, submission(replies), None);
        assert_eq!((entry.commands.len(), parts.len()), (1, 1));
    }

    #[test]
    fn a_message_of_an_import_fills_an_entry() {
        let import =
            pb::ImportCodesCommand { codes: vec!["GIFT".into(); 1_000], ..Default::default() };
        let operation = Some(pb::command::Operation::ImportCodes(import));
        let bytes = pb::Command { epoch: 1, operation }.encode_to_vec().into();
        let (mut entry, mut parts) = (pb::CommandEntry::default(), Vec::new());
        let (replies, _waiting) = oneshot::channel();
        let commands = vec![EncodedCommand { bytes, deadline_micros: 0 }];
        let size = take(&mut entry, &mut parts, submission_of(commands, replies), None);
        assert!(size + CODE_BYTES * 24 >= ENTRY_BYTES_MAX, "{size}");
    }

    #[tokio::test]
    async fn a_new_campaign_with_an_older_code_key_is_not_proposed() {
        let create = |code_key_id| {
            let create = pb::CreateCampaignCommand { code_key_id, ..Default::default() };
            let operation = Some(pb::command::Operation::CreateCampaign(create.into()));
            let bytes = pb::Command { epoch: 1, operation }.encode_to_vec().into();
            EncodedCommand { bytes, deadline_micros: 0 }
        };
        let (mut entry, mut parts) = (pb::CommandEntry::default(), Vec::new());
        let (replies, answered) = oneshot::channel();
        let commands = vec![create(1), create(2), create(3)];
        take(&mut entry, &mut parts, submission_of(commands, replies), Some(KeyId(2)));
        assert_eq!(entry.commands, [create(2).bytes, create(3).bytes], "a router may know more");
        let applied = not_proposed(pb::NotProposedReason::Unspecified, 0);
        let part = parts.pop().unwrap();
        answer(part, &mut std::iter::repeat(applied.clone()));
        let old = not_proposed(pb::NotProposedReason::OldCodeKey, 0);
        assert_eq!(answered.await.unwrap(), [old, applied.clone(), applied]);
    }
}
