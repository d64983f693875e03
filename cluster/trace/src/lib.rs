//! Trace points on the path of a log entry: through the router, its shard's leader and the followers.
//!
//! Members call [`mark`] where an entry, a batch or a request passes a [`Stage`]. With the feature `trace`, the mark
//! is recorded with the time of a monotonic clock. Times of several members can be compared only if all run in one
//! process, as in `coupon demo`, which also reads the marks. Without the feature, marks cost nothing: [`Tag`] has no
//! bytes and [`mark`] no code.
//!
//! Deliberately absent: what the marks mean together. That is the program's `src/trace`.

use std::time::Instant;

#[cfg(feature = "trace")]
mod recorder;

#[cfg(feature = "trace")]
pub use recorder::{Mark, begin, end};

/// Where something passes. Each says which kind of [`Subject`] it is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stage {
    /// The router has read from a [`Subject::Socket`]. The requests that it has thereby follow on the same thread.
    SocketRead,
    /// The router has the head of a [`Subject::RequestOnConnection`] a connection, and has let it in.
    Admitted,
    /// The router has the whole [`Subject::Request`].
    Decoded,
    /// The router puts a [`Subject::RequestInBatch`] into a batch.
    Batched,
    /// The router hands a [`Subject::Batch`] to its connection.
    BatchSent,
    /// The leader has a [`Subject::Batch`].
    BatchReceived,
    /// The leader proposes an entry that holds a [`Subject::Batch`].
    Proposed,
    /// A replica is asked to append [`Subject::Entries`].
    AppendCalled,
    /// [`Subject::Entries`] are written, and not durable yet.
    Appended,
    /// [`Subject::Entries`] are durable, and openraft is told so.
    Durable,
    /// The sync of a [`Subject::Disk`] begins. What it makes durable follows on the same thread.
    SyncBegan,
    /// The leader hands [`Subject::Entries`] to its connection to a follower.
    ReplicationSent,
    /// A follower has [`Subject::Entries`].
    ReplicationReceived,
    /// A follower says that it has everything [`Subject::UpTo`] an index.
    ReplicationAnswered,
    /// The leader hears that a follower has everything [`Subject::UpTo`] an index.
    ReplicationConfirmed,
    /// A replica begins to apply [`Subject::Entries`].
    ApplyBegan,
    /// A replica has applied everything [`Subject::UpTo`] an index.
    Applied,
    /// The leader has the outcomes of an entry, one part of which is for a [`Subject::BatchInEntry`].
    Decided,
    /// The leader hands the replies to a [`Subject::Batch`] to the router's stream.
    RepliesSent,
    /// The router has the replies to a [`Subject::Batch`].
    RepliesReceived,
    /// The router has made the answer to a [`Subject::Request`].
    Answered,
    /// The router has written to a [`Subject::Socket`] what was made before.
    SocketWritten,
}

/// What passes.
#[derive(Debug, Clone, Copy)]
#[expect(missing_docs, reason = "the fields are what their names say")]
pub enum Subject {
    /// A request, known by its deadline: that goes with it through the router and has nanoseconds.
    Request { deadline: Tag },
    /// A request that came on a connection.
    RequestOnConnection { deadline: Tag, connection: Tag },
    /// A request in a batch for a shard.
    RequestInBatch { deadline: Tag, shard: Tag, batch: Tag },
    /// A batch of commands for a shard. Its id is unique on one stream of one router.
    Batch { shard: Tag, batch: Tag },
    /// A batch in the entry at an index.
    BatchInEntry { shard: Tag, batch: Tag, index: Tag },
    /// The entries of these indexes, on a replica.
    Entries { shard: Tag, replica: Tag, first: Tag, last: Tag },
    /// All entries of a replica until this index.
    UpTo { shard: Tag, replica: Tag, index: Tag },
    /// The socket of a connection.
    Socket { connection: Tag },
    /// The disk of the node whose thread makes the mark.
    Disk,
}

/// A number that says which request, batch or entry a mark is about; without the feature nothing at all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag(#[cfg(feature = "trace")] u64);

/// Notes that `subject` passes `stage` now.
#[inline(always)]
pub fn mark(stage: Stage, subject: Subject) {
    #[cfg(feature = "trace")]
    recorder::record(stage, subject);
    #[cfg(not(feature = "trace"))]
    let _ = (stage, subject);
}

impl From<u64> for Tag {
    #[inline(always)]
    fn from(number: u64) -> Self {
        #[cfg(feature = "trace")]
        return Self(number);
        #[cfg(not(feature = "trace"))]
        {
            let _ = number;
            Self()
        }
    }
}

impl From<u32> for Tag {
    #[inline(always)]
    fn from(number: u32) -> Self {
        u64::from(number).into()
    }
}

impl From<Instant> for Tag {
    #[inline(always)]
    fn from(time: Instant) -> Self {
        #[cfg(feature = "trace")]
        return Self(recorder::nanos(time));
        #[cfg(not(feature = "trace"))]
        {
            let _ = time;
            Self()
        }
    }
}

#[cfg(feature = "trace")]
impl Tag {
    /// The number.
    pub fn get(self) -> u64 {
        self.0
    }
}

#[cfg(all(test, not(feature = "trace")))]
mod tests {
    use super::*;

    #[test]
    fn without_the_feature_a_mark_has_nothing_to_carry() {
        assert_eq!((size_of::<Tag>(), size_of::<Option<Subject>>()), (0, 1));
        mark(Stage::SyncBegan, Subject::Disk);
    }
}
