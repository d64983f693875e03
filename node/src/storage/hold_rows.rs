//! Holds as rows: each under its id, and in orders besides: those that became no coupon by their ends in the shard, and
//! those that were not released either by their ends in their campaign, and for their recipient.

use coupon_cluster::RequestId;
use coupon_ledger::{EndsFound, Hold, HoldEnd, LogTime};
use coupon_proto::internal as pb;
use prost::Message as _;

use super::StorageError;
use super::keys::{StateKeys, after_prefix, trailing_hold};
use super::ledger::decode;
use super::rows::Rows;
use crate::codec::hold;

/// A hold of a campaign.
pub(super) fn hold(
    rows: &impl Rows,
    keys: StateKeys,
    number: u32,
    hold_id: &RequestId,
) -> Result<Option<Hold>, StorageError> {
    let Some(value) = rows.get(&keys.hold(number, hold_id))? else { return Ok(None) };
    let record: pb::HoldRecord = decode("hold", &value)?;
    hold::from_pb(record).map(Some).map_err(|error| StorageError::corrupt("hold", error))
}

/// The holds of a campaign, by id.
pub(super) fn holds<R: Rows>(
    rows: &R,
    keys: StateKeys,
    number: u32,
) -> impl Iterator<Item = Result<(RequestId, Hold), StorageError>> + use<'_, R> {
    let first = keys.holds(number);
    let all = rows.keys(&first, &after(keys, &first));
    all.map(move |key| {
        let malformed = || StorageError::corrupt("hold", "its key is malformed");
        let key = key?;
        let hold_id = key.strip_prefix(first.as_slice()).ok_or_else(malformed)?;
        let hold_id = RequestId::from_bytes(hold_id).map_err(|_| malformed())?;
        let found = hold(rows, keys, number, &hold_id)?;
        let found = found.ok_or_else(|| StorageError::corrupt("hold", "its row is gone"))?;
        Ok((hold_id, found))
    })
}

/// How many open holds of a campaign end at `from` or later and no later than `until`, and when the next one does. Looks at
/// some of them, as [`EndsFound::of`] does.
pub(super) fn hold_ends(
    rows: &impl Rows,
    keys: StateKeys,
    number: u32,
    from: LogTime,
    until: LogTime,
    max: usize,
) -> Result<EndsFound, StorageError> {
    EndsFound::of(hold_ends_from(rows, keys, number, from), until, max)
}

/// When the open holds of a campaign end, from a time on, in order.
pub(super) fn hold_ends_from<R: Rows>(
    rows: &R,
    keys: StateKeys,
    number: u32,
    from: LogTime,
) -> impl Iterator<Item = Result<LogTime, StorageError>> + use<'_, R> {
    let first = keys.hold_ends_of_campaign_from(number, from);
    let end = after(keys, &keys.hold_ends_of_campaign(number));
    rows.keys(&first, &end).map(|key| end_in(&key?).map(|(at, _)| at))
}

/// The holds of a campaign for a recipient that end after `now`, at most `max`.
pub(super) fn open_holds_of(
    rows: &impl Rows,
    keys: StateKeys,
    number: u32,
    recipient: &str,
    now: LogTime,
    max: usize,
) -> Result<Vec<RequestId>, StorageError> {
    let first = keys.holds_of_recipient_from(number, recipient, now.after_micros(1));
    let end = after(keys, &keys.holds_of_recipient(number, recipient));
    let open = rows.keys(&first, &end).take(max);
    open.map(|key| end_in(&key?).map(|(_, hold_id)| hold_id)).collect()
}

/// The hold of the shard that ends first, at `from` or later.
pub(super) fn first_hold_end(
    rows: &impl Rows,
    keys: StateKeys,
    from: LogTime,
) -> Result<Option<HoldEnd>, StorageError> {
    let end = after(keys, &keys.hold_ends());
    let Some(key) = rows.keys(&keys.hold_ends_from(from), &end).next() else { return Ok(None) };
    let found = keys.hold_end_of(&key?);
    found.map(Some).ok_or_else(|| StorageError::corrupt("end of a hold", "its key is malformed"))
}

/// The key after all those that begin with a prefix.
fn after(keys: StateKeys, prefix: &[u8]) -> Vec<u8> {
    after_prefix(prefix).unwrap_or_else(|| keys.end().to_vec())
}

fn end_in(key: &[u8]) -> Result<(LogTime, RequestId), StorageError> {
    trailing_hold(key).ok_or_else(|| StorageError::corrupt("end of a hold", "its key is malformed"))
}

/// The value of the row of a hold.
pub(super) fn value(hold: &Hold) -> Vec<u8> {
    hold::to_pb(hold).encode_to_vec()
}
