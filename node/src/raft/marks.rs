//! Entries as subjects of marks, which only builds with the feature `trace` record.

use coupon_cluster::ShardId;
use coupon_trace::Subject;

use super::types::{Entry, LogId};

/// These entries on a replica. No entries have the index 0, as no entry has.
#[inline]
pub fn entries(shard: ShardId, replica: u64, entries: &[Entry]) -> Subject {
    let index = |entry: Option<&Entry>| entry.map_or(0, |entry| entry.log_id.index).into();
    Subject::Entries {
        shard: shard.get().into(),
        replica: replica.into(),
        first: index(entries.first()),
        last: index(entries.last()),
    }
}

/// Everything until an entry on a replica.
#[inline]
pub fn up_to(shard: ShardId, replica: u64, last: Option<LogId>) -> Subject {
    Subject::UpTo {
        shard: shard.get().into(),
        replica: replica.into(),
        index: last.map_or(0, |last| last.index).into(),
    }
}
