//! What stands in small rows of a state.

use coupon_cluster::CampaignName;
use coupon_ledger::CouponHistory;
use coupon_proto::internal as pb;
use coupon_wire::ids;

use super::StorageError;
use super::ledger::decode;
use crate::codec::coupon_history;

/// The name in the row of a campaign's number.
///
/// # Errors
///
/// When the row is not what was written there.
pub(super) fn name_of_number(bytes: &[u8]) -> Result<CampaignName, StorageError> {
    let record: pb::CampaignNumberRecord = decode("campaign number", bytes)?;
    ids::campaign_name(&record.name)
        .map_err(|error| StorageError::corrupt("campaign number", error))
}

/// What was done with a coupon, from its row.
///
/// # Errors
///
/// When the row is not what was written there.
pub(super) fn history_from(bytes: &[u8]) -> Result<CouponHistory, StorageError> {
    coupon_history::from_pb(decode("coupon history", bytes)?)
        .map_err(|error| StorageError::corrupt("coupon history", error))
}

/// Who uses a block of code counters, from its row: the number of the campaign, and the first sequence number.
///
/// # Errors
///
/// When the row is not what was written there.
pub(super) fn block_from(bytes: &[u8]) -> Result<(u32, u64), StorageError> {
    let record: pb::BlockRecord = decode("block", bytes)?;
    Ok((record.campaign_number, record.first_sequence))
}
