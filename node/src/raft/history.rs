//! Detects that a shard has two histories.
//!
//! Committed entries are the same on all replicas for ever (Raft paper §5.4: state machine safety), as long
//! as no voter forgets. Where one did, a leader may hold other entries where this replica has committed ones.
//! openraft assumes that committed entries match, and would continue with a mixture of both. So entries from
//! a leader are compared before openraft sees them, wherever they overlap what this replica knows to be
//! committed.
//!
//! A message of a deposed leader says nothing: openraft refuses it. The committed index is read before the
//! vote, so it cannot come from a later leader than the vote does.

use super::log_store::LogStore;
use super::terms::Terms;
use super::types::{LogId, Vote};
use crate::storage::StorageError;

/// Two different entries at one index, both committed or claimed to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The committed entry of this replica.
    pub ours: LogId,
    /// The entry of the leader.
    pub theirs: LogId,
}

/// Looks for a conflict between what a leader with this vote sends and what this replica knows to be
/// committed. `sent` are ids of entries that the leader has.
///
/// # Errors
///
/// When the disk fails.
pub fn conflict(
    log: &LogStore,
    vote: &Vote,
    sent: impl IntoIterator<Item = LogId>,
) -> Result<Option<Conflict>, StorageError> {
    let committed = log.acknowledged().committed();
    // Every initial replica writes the first entry itself, under an id of its own; its content is the same.
    let touched = |theirs: &LogId| (1..=committed).contains(&theirs.index);
    let mut touched = sent.into_iter().filter(touched).peekable();
    if touched.peek().is_none() || log.vote().is_some_and(|own| *vote < own) {
        return Ok(None);
    }
    for theirs in touched {
        // An entry that was purged is known by its writer.
        let ours = log.log_id_at(theirs.index)?;
        if let Some(ours) = ours.or_else(|| log.acknowledged().applied_id(theirs.index))
            && ours != theirs
        {
            return Ok(Some(Conflict { ours, theirs }));
        }
    }
    Ok(None)
}

/// Looks for a conflict between a snapshot that ends with `last`, sent by a leader with this vote, and
/// what this replica knows to be committed. `terms` says who wrote the history behind the snapshot.
///
/// # Errors
///
/// When the disk fails.
pub fn snapshot_conflict(
    log: &LogStore,
    vote: &Vote,
    last: LogId,
    terms: &Terms,
) -> Result<Option<Conflict>, StorageError> {
    let committed = log.acknowledged().committed();
    if let Some(conflict) = conflict(log, vote, [last])? {
        return Ok(Some(conflict));
    }
    if last.index <= committed || committed == 0 || log.vote().is_some_and(|own| *vote < own) {
        return Ok(None);
    }
    let ours = log.log_id_at(committed)?;
    // Ids of entries never decrease in a history.
    let contradicts = |ours: &LogId| ours.leader_id > last.leader_id || terms.contradicts(ours);
    Ok(ours.filter(contradicts).map(|ours| Conflict { ours, theirs: last }))
}
