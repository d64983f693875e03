//! What a backup file of a shard's state holds.

use std::path::Path;

use coupon_cluster::{ShardId, StateDigest};
use coupon_ledger::{CountersExhausted, ShardState};
use coupon_proto::internal as pb;

use super::StorageError;
use super::frames::FrameReader;
use super::keys::{COUNTERS, SHARD};
use super::ledger::decode;
use crate::codec::row;

/// The contents of a whole and undamaged snapshot file.
#[derive(Clone, Debug)]
pub struct Inspection {
    /// The log index of the state; 0: nothing applied.
    pub applied_index: u64,
    /// Its number of rows.
    pub rows: u64,
    /// SHA-256 over the rows.
    pub state: StateDigest,
    /// Its number of campaigns.
    pub campaigns: u64,
    /// The number of issued coupons.
    pub coupons: u64,
    /// The ledger's record of its shard.
    pub shard: ShardState,
}

impl Inspection {
    /// Whether a shard can begin with the state.
    ///
    /// # Errors
    ///
    /// When it has too few code counters left.
    pub fn check_restorable(&self) -> Result<(), CountersExhausted> {
        self.shard.clone().restored().map(drop)
    }
}

/// Reads a whole snapshot file, checks every frame, the number of rows and the digest, and returns what it
/// holds.
///
/// # Errors
///
/// When the file is damaged, not whole, of another shard, or cannot be read.
pub fn inspect(path: &Path, shard: ShardId) -> Result<Inspection, StorageError> {
    let mut frames = FrameReader::open(path)?;
    let header = frames.header()?;
    if header.shard_id != shard.get() {
        let why = format!("it is of shard {}", header.shard_id);
        return Err(StorageError::corrupt("snapshot", why));
    }
    let (mut campaigns, mut coupons) = (0, 0_u64);
    let mut state = ShardState::default();
    let (rows, digest) = frames.for_each_row(|key, value| {
        match key {
            [COUNTERS, ..] => {
                let counters: pb::CampaignCounters = decode("campaign counters", value)?;
                if !counters.freed {
                    campaigns += 1;
                    coupons = coupons.saturating_add(counters.issued);
                }
            }
            [SHARD] => {
                state = row::shard_from_pb(decode("shard record", value)?)
                    .map_err(|error| StorageError::corrupt("shard record", error))?;
            }
            _ => {}
        }
        Ok(())
    })?;
    let applied = header.applied.and_then(|applied| applied.last_applied);
    let applied_index = applied.map_or(0, |id| id.index);
    Ok(Inspection { applied_index, rows, state: digest, campaigns, coupons, shard: state })
}
