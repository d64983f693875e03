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
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use coupon_ledger::Outcome;
use coupon_proto::internal as pb;
use prost::Message as _;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use crate::clock::TrustedClock;
use crate::raft::group::{self, Group, Leadership, WriteOutcome, WriteResult};
use crate::raft::types::{Applied, Proposal};
use crate::storage::flusher::Flusher;
use crate::storage::records;

/// How many commands one log entry holds at most.
pub const ENTRY_COMMANDS_MAX: usize = 1_024;
/// A log entry takes no more submissions once it holds so many bytes.
const ENTRY_BYTES_MAX: usize = 512 << 10;
/// Entries in flight: one being replicated while the next is applied. More brought nothing.
const ENTRIES_IN_FLIGHT_MAX: u32 = 2;
/// How many submissions may wait; routers shed load long before.
const QUEUE_MAX: usize = 256;
/// How many bytes of commands may wait.
const QUEUE_BYTES_MAX: usize = 32 << 20;

/// Commands that came together and are answered together.
#[derive(Debug)]
pub struct Submission {
    /// The leadership they were made under.
    pub leadership: Leadership,
    /// The commands, at most [`ENTRY_COMMANDS_MAX`].
    pub commands: Vec<pb::Command>,
    /// How many bytes they take.
    pub bytes: usize,
    /// Told one reply for each command. Nothing is proposed once nobody waits for them.
    pub replies: oneshot::Sender<Vec<pb::Reply>>,
}

/// The handle of a shard's proposer. Clones share it; it ends with the last of them.
#[derive(Clone, Debug)]
pub struct Proposer {
    queue: mpsc::Sender<Submission>,
    queue_bytes: Arc<AtomicUsize>,
    in_flight: Arc<Semaphore>,
}

/// While this exists, a proposer proposes nothing. What is submitted waits.
pub struct Paused {
    _all_of_them: OwnedSemaphorePermit,
}

impl Proposer {
    /// Starts the proposer of a group on a node with this clock and this disk.
    pub fn start(group: Group, clock: TrustedClock, disk: Flusher) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE_MAX);
        let in_flight = Arc::new(Semaphore::new(ENTRIES_IN_FLIGHT_MAX as usize));
        let queue_bytes = Arc::new(AtomicUsize::new(0));
        let waiting = Waiting { queue: waiting, bytes: queue_bytes.clone() };
        tokio::spawn(run(group, clock, disk, waiting, in_flight.clone()));
        Self { queue, queue_bytes, in_flight }
    }

    /// Stops proposing. Returns when every entry in flight has its outcome; `None` when the proposer
    /// has ended.
    pub async fn pause(&self) -> Option<Paused> {
        let all = self.in_flight.clone().acquire_many_owned(ENTRIES_IN_FLIGHT_MAX).await;
        all.ok().map(|all| Paused { _all_of_them: all })
    }

    /// Hands over commands. When the queue is full they are refused at once.
    pub fn submit(&self, submission: Submission) {
        let bytes = submission.bytes;
        let waiting = self.queue_bytes.fetch_add(bytes, Ordering::Relaxed);
        let refused = if waiting + bytes > QUEUE_BYTES_MAX {
            Some(submission)
        } else {
            self.queue.try_send(submission).err().map(TrySendError::into_inner)
        };
        if let Some(submission) = refused {
            self.queue_bytes.fetch_sub(bytes, Ordering::Relaxed);
            refuse(submission, pb::NotProposedReason::Overloaded, 0);
        }
    }
}

/// The receiving end of the queue.
struct Waiting {
    queue: mpsc::Receiver<Submission>,
    bytes: Arc<AtomicUsize>,
}

impl Waiting {
    async fn next(&mut self) -> Option<Submission> {
        let submission = self.queue.recv().await?;
        self.bytes.fetch_sub(submission.bytes, Ordering::Relaxed);
        Some(submission)
    }

    fn try_next(&mut self) -> Option<Submission> {
        let submission = self.queue.try_recv().ok()?;
        self.bytes.fetch_sub(submission.bytes, Ordering::Relaxed);
        Some(submission)
    }
}

/// Part of an entry: a submission whose commands are in it, from `first` on.
struct Part {
    live: Vec<bool>,
    replies: oneshot::Sender<Vec<pb::Reply>>,
}

async fn run(
    group: Group,
    clock: TrustedClock,
    disk: Flusher,
    mut waiting: Waiting,
    in_flight: Arc<Semaphore>,
) {
    let mut log_time_micros = 0;
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
        let stamp = clock.stamp_micros().filter(|_| !disk.is_stuck());
        let (Ok(leadership), Some(now)) = (group.leadership(), stamp) else {
            refuse_as_follower(first, &group);
            continue;
        };
        log_time_micros = now.max(log_time_micros);
        let reached = group.reached.last();
        let pb::LogHeader { committed_index, acknowledged } = group.log_header();
        let commands = Vec::new();
        let mut entry =
            pb::CommandEntry { log_time_micros, commands, reached, committed_index, acknowledged };
        let mut parts = Vec::new();
        let mut bytes = 0;
        let mut next = Some(first);
        while let Some(submission) = next {
            if submission.leadership != leadership {
                refuse_as_follower(submission, &group);
            } else if entry.commands.len() + submission.commands.len() > ENTRY_COMMANDS_MAX {
                held_back = Some(submission);
                break;
            } else {
                bytes += take(&mut entry, &mut parts, submission, now);
            }
            if bytes >= ENTRY_BYTES_MAX {
                break;
            }
            next = waiting.try_next();
        }
        if entry.commands.is_empty() {
            parts.into_iter().for_each(|part| answer(part, &mut std::iter::empty()));
            continue;
        }
        let proposal = Proposal(Bytes::from(entry.encode_to_vec()));
        match group.propose(proposal, leadership).await {
            Ok(outcome) => {
                tokio::spawn(async move {
                    finish(outcome.await.ok(), parts);
                    drop(permit);
                });
            }
            Err(_) => finish(None, parts),
        }
    }
}

/// Moves a submission's commands into the entry, except those whose callers have stopped waiting. One
/// whose stream has ended is dropped as a whole: its router sends it once more, and a shard that is
/// behind must not work for nobody. Returns how many bytes they take.
fn take(
    entry: &mut pb::CommandEntry,
    parts: &mut Vec<Part>,
    submission: Submission,
    now: u64,
) -> usize {
    if submission.replies.is_closed() {
        return 0;
    }
    let mut live = Vec::with_capacity(submission.commands.len());
    let mut bytes = 0;
    for command in submission.commands {
        let expired = command.deadline_micros != 0 && command.deadline_micros < now;
        live.push(!expired);
        if !expired {
            bytes += command.encoded_len();
            entry.commands.push(command);
        }
    }
    parts.push(Part { live, replies: submission.replies });
    bytes
}

/// Hands the outcomes of an entry to the submissions it was made of.
fn finish(result: Option<WriteResult>, parts: Vec<Part>) {
    let mut outcomes;
    let mut not_led = std::iter::repeat_with(|| not_proposed(pb::NotProposedReason::NotLeader, 0));
    let mut lost = std::iter::repeat_with(unknown);
    let replies: &mut dyn Iterator<Item = pb::Reply> = match result.map(group::outcome) {
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

/// Answers one submission with the next replies; its expired commands get their own.
fn answer(part: Part, replies: &mut dyn Iterator<Item = pb::Reply>) {
    let expired = || not_proposed(pb::NotProposedReason::Expired, 0);
    let all = part
        .live
        .into_iter()
        .map(|live| if live { replies.next().unwrap_or_else(unknown) } else { expired() })
        .collect();
    // A caller that went away needs no answer.
    let _ = part.replies.send(all);
}

fn refuse_as_follower(submission: Submission, group: &Group) {
    let leader = group.leader_node().map_or(0, |node| node.get());
    refuse(submission, pb::NotProposedReason::NotLeader, leader);
}

fn refuse(submission: Submission, reason: pb::NotProposedReason, leader_node_id: u64) {
    let replies =
        submission.commands.iter().map(|_| not_proposed(reason, leader_node_id)).collect();
    // A caller that went away needs no answer.
    let _ = submission.replies.send(replies);
}

fn reply(outcome: Outcome) -> pb::Reply {
    match records::outcome_to_pb(outcome) {
        Some(outcome) => pb::Reply { reply: Some(pb::reply::Reply::Outcome(outcome)) },
        None => unknown(),
    }
}

fn unknown() -> pb::Reply {
    pb::Reply { reply: Some(pb::reply::Reply::Unknown(pb::Unknown {})) }
}

fn not_proposed(reason: pb::NotProposedReason, leader_node_id: u64) -> pb::Reply {
    let not_proposed = pb::NotProposed { reason: reason.into(), leader_node_id };
    pb::Reply { reply: Some(pb::reply::Reply::NotProposed(not_proposed)) }
}

#[cfg(test)]
mod tests {
    use openraft::vote::RaftLeaderId as _;

    use super::*;

    fn submission(replies: oneshot::Sender<Vec<pb::Reply>>) -> Submission {
        let commands = vec![pb::Command { epoch: 1, ..Default::default() }];
        Submission { leadership: Leadership::new(1, 1), commands, bytes: 1, replies }
    }

    #[test]
    fn what_nobody_waits_for_is_not_proposed() {
        let (mut entry, mut parts) = (pb::CommandEntry::default(), Vec::new());
        let (replies, gone) = oneshot::channel();
        drop(gone);
        assert_eq!(take(&mut entry, &mut parts, submission(replies), 0), 0);
        assert!(entry.commands.is_empty() && parts.is_empty());
        let (replies, _waiting) = oneshot::channel();
        take(&mut entry, &mut parts, submission(replies), 0);
        assert_eq!((entry.commands.len(), parts.len()), (1, 1));
    }
}
