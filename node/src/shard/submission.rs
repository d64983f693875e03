//! Commands that came together, and the queues in which they wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use bytes::Bytes;
use coupon_ledger::Outcome;
use coupon_proto::internal as pb;
use coupon_trace::Tag;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};

use crate::codec::outcome;
use crate::raft::replica::Leadership;

/// How many submissions may wait in a queue; routers shed load long before.
const QUEUE_MAX: usize = 256;
/// How many bytes of commands may wait in a queue.
const QUEUE_BYTES_MAX: usize = 32 << 20;

/// A command as a router encoded it.
#[derive(Clone, Debug, Default)]
pub struct EncodedCommand {
    /// An encoded `Command`.
    pub bytes: Bytes,
    /// When its caller stops waiting: microseconds since 1970; 0: never. Not part of what is in the log.
    pub deadline_micros: u64,
}

/// Commands that came together and are answered together.
#[derive(Debug)]
pub struct Submission {
    /// The leadership they were made under.
    pub leadership: Leadership,
    /// The stream that they came over.
    pub stream: StreamTag,
    /// The commands, at most as many as an entry of the log may have.
    pub commands: Vec<EncodedCommand>,
    /// How many bytes they take.
    pub bytes: usize,
    /// Told one reply for each command. Nothing is proposed once nobody waits for them.
    pub replies: oneshot::Sender<Vec<pb::Reply>>,
}

impl Submission {
    /// Two submissions instead of one, the first with the commands that `order` says are of the first. The
    /// caller gets the replies to both in the order of its commands.
    pub(super) fn split(self, order: Vec<bool>) -> (Self, Self) {
        let Self { leadership, stream, commands, bytes, replies } = self;
        let mut is_first = order.iter().copied();
        let (first, second): (Vec<_>, Vec<_>) =
            commands.into_iter().partition(|_| is_first.next() == Some(true));
        let (to_first, of_first) = oneshot::channel::<Vec<pb::Reply>>();
        let (to_second, of_second) = oneshot::channel::<Vec<pb::Reply>>();
        let first_bytes = first.iter().map(|command| command.bytes.len()).sum::<usize>().min(bytes);
        tokio::spawn(async move {
            let mut replies = replies;
            let both = tokio::select! {
                both = futures::future::try_join(of_first, of_second) => both,
                // Their receivers end with this, and nothing more is done for them.
                () = replies.closed() => return,
            };
            // Without one of them there is no answer, which counts as unknown.
            let Ok((of_first, of_second)) = both else { return };
            let (mut of_first, mut of_second) = (of_first.into_iter(), of_second.into_iter());
            let next = |is_first| if is_first { of_first.next() } else { of_second.next() };
            let all = order.into_iter().map_while(next).collect();
            // A caller that went away needs no answer.
            let _ = replies.send(all);
        });
        (
            Self {
                leadership,
                stream: stream.clone(),
                commands: first,
                bytes: first_bytes,
                replies: to_first,
            },
            Self {
                leadership,
                stream,
                commands: second,
                bytes: bytes - first_bytes,
                replies: to_second,
            },
        )
    }
}

/// Which stream of a router commands came over.
#[derive(Clone, Debug, Default)]
pub struct StreamTag {
    number: u64,
    newest: Arc<AtomicU64>,
    batch: Tag,
}

impl StreamTag {
    /// The tag of a router's stream; `newest` is the number of the newest stream of that router.
    pub(super) fn new(number: u64, newest: Arc<AtomicU64>) -> Self {
        Self { number, newest, batch: Tag::default() }
    }

    /// The same stream, for the commands of a batch.
    pub fn of_batch(self, batch_id: u64) -> Self {
        Self { batch: batch_id.into(), ..self }
    }

    /// The batch, for marks.
    pub(super) fn batch(&self) -> Tag {
        self.batch
    }

    /// Whether the router has opened a newer stream. It sends its commands over that one again.
    pub(super) fn is_superseded(&self) -> bool {
        self.newest.load(Ordering::Acquire) > self.number
    }
}

impl Submission {
    /// Whether nobody waits for the replies any more, so that nothing must come of the commands.
    pub(super) fn is_over(&self) -> bool {
        self.replies.is_closed() || self.stream.is_superseded()
    }
}

/// The end of a queue that takes submissions. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct SubmissionSender {
    submissions: mpsc::Sender<Submission>,
    bytes: Arc<AtomicUsize>,
}

/// The end of a queue that gives submissions, in the order in which they came.
pub(super) struct SubmissionQueue {
    submissions: mpsc::Receiver<Submission>,
    bytes: Arc<AtomicUsize>,
}

/// A new queue.
pub(super) fn queue() -> (SubmissionSender, SubmissionQueue) {
    let (sender, receiver) = mpsc::channel(QUEUE_MAX);
    let bytes = Arc::new(AtomicUsize::new(0));
    let queue = SubmissionSender { submissions: sender, bytes: bytes.clone() };
    (queue, SubmissionQueue { submissions: receiver, bytes })
}

impl SubmissionSender {
    /// Hands over commands. When the queue is full they are refused at once.
    pub(super) fn submit(&self, submission: Submission) {
        let bytes = submission.bytes;
        let waiting = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        let refused = if waiting + bytes > QUEUE_BYTES_MAX {
            Some(submission)
        } else {
            self.submissions.try_send(submission).err().map(TrySendError::into_inner)
        };
        if let Some(submission) = refused {
            self.bytes.fetch_sub(bytes, Ordering::Relaxed);
            refuse(submission, pb::NotProposedReason::Overloaded, 0);
        }
    }
}

impl SubmissionQueue {
    /// The next submission; `None` when nobody can hand over anything any more.
    pub(super) async fn next(&mut self) -> Option<Submission> {
        let submission = self.submissions.recv().await?;
        self.bytes.fetch_sub(submission.bytes, Ordering::Relaxed);
        Some(submission)
    }

    /// The next submission, if one waits.
    pub(super) fn try_next(&mut self) -> Option<Submission> {
        let submission = self.submissions.try_recv().ok()?;
        self.bytes.fetch_sub(submission.bytes, Ordering::Relaxed);
        Some(submission)
    }
}

/// Answers all commands of a submission that they were not proposed.
pub(super) fn refuse(submission: Submission, reason: pb::NotProposedReason, leader_node_id: u64) {
    let replies =
        submission.commands.iter().map(|_| not_proposed(reason, leader_node_id)).collect();
    // A caller that went away needs no answer.
    let _ = submission.replies.send(replies);
}

/// The reply that has an outcome.
pub(super) fn reply(outcome: Outcome) -> pb::Reply {
    match outcome::outcome_to_pb(outcome) {
        Some(outcome) => pb::Reply { reply: Some(pb::reply::Reply::Outcome(outcome)) },
        None => unknown(),
    }
}

/// The reply to a command of which nothing more is known.
pub(super) fn unknown() -> pb::Reply {
    pb::Reply { reply: Some(pb::reply::Reply::Unknown(pb::Unknown {})) }
}

/// The reply to a command that was not proposed and never will be.
pub(super) fn not_proposed(reason: pb::NotProposedReason, leader_node_id: u64) -> pb::Reply {
    let not_proposed = pb::NotProposed { reason: reason.into(), leader_node_id };
    pb::Reply { reply: Some(pb::reply::Reply::NotProposed(not_proposed)) }
}

#[cfg(test)]
mod tests {
    use openraft::vote::RaftLeaderId as _;

    use super::*;

    #[tokio::test]
    async fn replies_to_a_split_submission_come_in_the_order_of_its_commands() {
        let commands: Vec<_> =
            (1..=5).map(|n| EncodedCommand { deadline_micros: n, ..Default::default() }).collect();
        let (replies, all) = oneshot::channel();
        let leadership = Leadership::new(1, 1);
        let stream = StreamTag::default();
        let whole = Submission { leadership, stream, commands, bytes: 10, replies };
        let (odd, even) = whole.split([true, false, true, false, true].into());
        assert_eq!((odd.commands.len(), even.commands.len()), (3, 2));
        assert_eq!(odd.bytes + even.bytes, 10);
        for part in [even, odd] {
            let numbered = |command: &EncodedCommand| {
                not_proposed(pb::NotProposedReason::NotLeader, command.deadline_micros)
            };
            part.replies.send(part.commands.iter().map(numbered).collect()).unwrap();
        }
        let expected: Vec<_> =
            (1..=5).map(|node| not_proposed(pb::NotProposedReason::NotLeader, node)).collect();
        assert_eq!(all.await.unwrap(), expected);
    }

    #[tokio::test]
    async fn a_queue_is_bounded_in_bytes() {
        let (queue, mut waiting) = queue();
        let submit = |bytes| {
            let (replies, answered) = oneshot::channel();
            let commands = vec![EncodedCommand::default()];
            let leadership = Leadership::new(1, 1);
            let stream = StreamTag::default();
            queue.submit(Submission { leadership, stream, commands, bytes, replies });
            answered
        };
        let mut first = submit(QUEUE_BYTES_MAX);
        let overloaded = not_proposed(pb::NotProposedReason::Overloaded, 0);
        assert_eq!(submit(1).await.unwrap(), [overloaded]);
        assert!(first.try_recv().is_err(), "it waits");
        assert_eq!(waiting.next().await.unwrap().bytes, QUEUE_BYTES_MAX);
        let _second = submit(QUEUE_BYTES_MAX);
        assert!(waiting.try_next().is_some() && waiting.try_next().is_none());
    }
}
