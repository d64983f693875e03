//! A consistent view of a ledger's state, for reads that do not go through the log.

mod events;
mod histories;
mod state_reader;

use std::sync::Arc;

use coupon_cluster::{CampaignName, ReplicaId, ShardId, TenantId};
use coupon_ledger::{
    Campaign, CampaignSpec, CouponHistory, CouponState, IssuedCoupon, LogTime, ShardState,
};
use coupon_proto::internal as pb;
use rocksdb::{ColumnFamily, DB, Direction, IteratorMode, ReadOptions, SnapshotWithThreadMode};

use super::coupon_rows::{self, Found};
use super::hold_counts::HoldCounts;
pub use super::index::CouponPlace;
use super::index::{Coupons, Index, Layers};
use super::keys::{Generation, LogKeys, StateKeys, after_prefix};
use super::ledger::decode;
use super::records::{history_from, name_of_number};
use super::rows::{Key, Rows};
use super::{Storage, StorageError, snapshot};
use crate::codec::row;
use histories::Histories;

type Row = (Box<[u8]>, Box<[u8]>);

/// The state of a shard at one moment. While it exists, RocksDB keeps what it shows.
pub struct LedgerView<'a> {
    storage: &'a Storage,
    snapshot: SnapshotWithThreadMode<'a, DB>,
    keys: StateKeys,
    index: Arc<Index>,
    layers: Layers,
}

impl Coupons for LedgerView<'_> {
    fn coupon(&self, number: u32, sequence: u64) -> Result<Option<pb::CouponRecord>, StorageError> {
        let (options, key) = coupon_rows::look_up(self.keys, number, sequence);
        let family = self.storage.coupons();
        let rows = self.snapshot.iterator_cf_opt(family, options, coupon_rows::mode(&key));
        coupon_rows::coupon(rows, sequence)
    }

    fn has_returned_quota(&self, number: u32, sequence: u64) -> Result<bool, StorageError> {
        let row = self.get(&self.keys.coupon_history(number, sequence))?;
        row.map_or(Ok(false), |row| Ok(history_from(&row)?.state().has_returned_quota()))
    }
}

impl<'a> Rows for LedgerView<'a> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        self.get(key)
    }

    fn keys(
        &self,
        first: &[u8],
        end: &[u8],
    ) -> impl Iterator<Item = Result<Key, StorageError>> + use<'_, 'a> {
        let rows = self.rows(self.storage.state(), first, Some(end.to_vec()));
        rows.map(|row| row.map(|(key, _)| key))
    }
}

impl<'a> LedgerView<'a> {
    /// The state of `replica` of `shard` as it is now. The generation is read from the same
    /// snapshot as the rows, so that a snapshot installed meanwhile does not show half-way.
    ///
    /// # Errors
    ///
    /// When the disk fails.
    pub fn new(
        storage: &'a Storage,
        shard: ShardId,
        replica: ReplicaId,
    ) -> Result<Self, StorageError> {
        loop {
            let snapshot = storage.db().snapshot();
            let replica_keys = LogKeys::new(shard, replica);
            let generation = match snapshot.get_cf(storage.meta(), replica_keys.generation())? {
                Some(bytes) => generation_from(&bytes)?,
                None => 0,
            };
            let keys = StateKeys::new(shard, generation);
            // After the snapshot, so that it leads to every coupon there, and to later ones, which are left
            // out.
            let index = storage.index_of(keys)?;
            if snapshot::generation(storage, &replica_keys)? == generation {
                let layers = index.layers();
                return Ok(Self { storage, snapshot, keys, index, layers });
            }
            // Another state was installed meanwhile, and this one's index is going away.
            storage.close_index_of(keys);
        }
    }

    /// What the ledger knows about its shard.
    ///
    /// # Errors
    ///
    /// When the disk fails.
    pub fn shard_state(&self) -> Result<ShardState, StorageError> {
        match self.get(&self.keys.shard())? {
            Some(bytes) => row::shard_from_pb(decode("shard record", &bytes)?)
                .map_err(|error| StorageError::corrupt("shard record", error)),
            None => Ok(ShardState::default()),
        }
    }

    /// A campaign with its counters.
    ///
    /// # Errors
    ///
    /// When the disk fails.
    pub fn campaign(&self, id: &CampaignName) -> Result<Option<Campaign>, StorageError> {
        let found = self.campaign_or_tombstone(id)?;
        Ok(found.filter(|campaign| !campaign.spec.is_deleted()))
    }

    /// A campaign, or what is left of a deleted one, with its counters.
    ///
    /// # Errors
    ///
    /// When the disk fails.
    pub fn campaign_or_tombstone(
        &self,
        id: &CampaignName,
    ) -> Result<Option<Campaign>, StorageError> {
        let Some(spec) = self.get(&self.keys.campaign(id))? else { return Ok(None) };
        self.with_counters(&spec).map(Some)
    }

    /// The campaign with a number, with its counters.
    ///
    /// # Errors
    ///
    /// When the disk fails.
    pub fn campaign_of_number(&self, number: u32) -> Result<Option<Campaign>, StorageError> {
        let Some(name) = self.get(&self.keys.campaign_number(number))? else { return Ok(None) };
        self.campaign(&name_of_number(&name)?)
    }

    /// A campaign as it stands at a moment, at which a leader answers a read in a term: holds that have expired by then no
    /// longer count. `counts` has what such reads have counted before.
    ///
    /// # Errors
    ///
    /// When the disk fails.
    pub fn settled(
        &self,
        mut campaign: Campaign,
        now: LogTime,
        term: u64,
        counts: &HoldCounts,
    ) -> Result<Campaign, StorageError> {
        let of = (self.keys, campaign.spec.number);
        campaign.settle_holds(now, usize::MAX, |from, until, _| {
            counts.hold_ends(self, of, term, from, until)
        })?;
        Ok(campaign)
    }

    /// All campaigns, by name, what is left of deleted ones included.
    pub fn campaigns(&self) -> impl Iterator<Item = Result<Campaign, StorageError>> + '_ {
        let first = self.keys.campaigns();
        let end = after_prefix(&first);
        self.rows(self.storage.state(), &first, end)
            .map(|row| row.and_then(|(_, spec)| self.with_counters(&spec)))
    }

    /// The campaigns of a tenant whose ids are greater than `after`, by id, what is left of deleted ones included.
    pub fn campaigns_of(
        &self,
        tenant: &TenantId,
        after: &str,
    ) -> impl Iterator<Item = Result<Campaign, StorageError>> + '_ {
        let mut first = self.keys.campaigns_of(tenant);
        let end = after_prefix(&first);
        if !after.is_empty() {
            first.extend_from_slice(after.as_bytes());
            // The smallest key after that of `after`.
            first.push(0);
        }
        self.rows(self.storage.state(), &first, end)
            .map(|row| row.and_then(|(_, spec)| self.with_counters(&spec)))
    }

    /// The coupons of a campaign with sequence numbers greater than `after`, in order.
    pub fn coupons_after(
        &self,
        campaign: &'a Campaign,
        after: u64,
    ) -> impl Iterator<Item = Result<IssuedCoupon, StorageError>> + '_ {
        self.coupons_at(campaign, u64::MAX, after).filter_map(Result::transpose)
    }

    /// The coupons of a campaign with sequence numbers greater than `after`, in order, as they were at a revision; those
    /// issued later as they were issued. `None` in place of one of which that is not known any more.
    pub fn coupons_at(
        &self,
        campaign: &'a Campaign,
        revision: u64,
        after: u64,
    ) -> impl Iterator<Item = Result<Option<IssuedCoupon>, StorageError>> + '_ {
        // Before, some may have been changed that are now as they were issued.
        let is_past = revision < campaign.counters.revision;
        let has_histories = is_past || campaign.counters.has_changed_coupons();
        self.with_histories(campaign.spec.number, after, has_histories).map(move |found| {
            let (Found { sequence, coupon, .. }, history) = found?;
            let state = history.state_at(revision);
            state.map(|state| issued(campaign, sequence, coupon, state)).transpose()
        })
    }

    /// The coupons of a campaign, in order, each with what was done with it, even where that left it as it was issued.
    pub fn coupons_with_histories(
        &self,
        campaign: &'a Campaign,
    ) -> impl Iterator<Item = Result<(IssuedCoupon, CouponHistory), StorageError>> + '_ {
        self.with_histories(campaign.spec.number, 0, true).map(move |found| {
            let (Found { sequence, coupon, .. }, history) = found?;
            Ok((issued(campaign, sequence, coupon, history.state())?, history))
        })
    }

    /// The records of the coupons of a campaign with sequence numbers greater than `after`, in order, and their histories;
    /// empty ones unless it `has_histories`.
    fn with_histories(
        &self,
        number: u32,
        after: u64,
        has_histories: bool,
    ) -> impl Iterator<Item = Result<(Found, CouponHistory), StorageError>> + use<'_, 'a> {
        let mut histories = Histories::new(has_histories.then(|| {
            let first = self.keys.coupon_history(number, after.saturating_add(1));
            let end = after_prefix(&self.keys.coupon_histories(number));
            self.rows(self.storage.state(), &first, end)
        }));
        self.found_after(number, after).map(move |found| {
            let found = found?;
            let history = histories.of(found.sequence)?;
            Ok((found, history))
        })
    }

    /// The records of the coupons of a campaign with sequence numbers greater than `after`, in order.
    fn found_after(
        &self,
        number: u32,
        after: u64,
    ) -> impl Iterator<Item = Result<Found, StorageError>> + use<'_, 'a> {
        // The row that holds the first of them may begin before it.
        let first = self.keys.coupon(number, coupon_rows::earliest_first(after.saturating_add(1)));
        let end = after_prefix(&self.keys.coupons(number));
        self.rows(self.storage.coupons(), &first, end).flat_map(move |row| {
            let run = row.and_then(|(key, value)| coupon_rows::run(&key, &value));
            let (run, fault) =
                run.map_or_else(|fault| (None, Some(fault)), |run| (Some(run), None));
            let found = run.into_iter().flatten().filter(move |found| found.sequence > after);
            fault.map(Err).into_iter().chain(found.map(Ok))
        })
    }

    /// Places after `after`, in order, at most `max`: those of all coupons that a recipient holds, in all campaigns of
    /// all tenants, and perhaps others, as [`LedgerView::held`] tells. What that costs depends on what the recipient
    /// holds, and not on how many campaigns there are.
    ///
    /// # Errors
    ///
    /// When the disk fails.
    pub fn claimed_by(
        &self,
        recipient: &str,
        after: CouponPlace,
        max: usize,
    ) -> Result<Vec<CouponPlace>, StorageError> {
        self.index.claimed_by(&self.layers, recipient, after, max)
    }

    /// The coupon of a campaign with a sequence number, if a recipient holds it.
    ///
    /// # Errors
    ///
    /// When the disk fails.
    pub fn held(
        &self,
        campaign: &Campaign,
        sequence: u64,
        recipient: &str,
    ) -> Result<Option<IssuedCoupon>, StorageError> {
        let found = self.coupon_of(campaign, sequence)?;
        Ok(found.filter(|found| found.coupon.recipient == recipient))
    }

    /// A coupon by its campaign and sequence number, if there is one.
    ///
    /// # Errors
    ///
    /// When the disk fails.
    pub fn coupon_of(
        &self,
        campaign: &Campaign,
        sequence: u64,
    ) -> Result<Option<IssuedCoupon>, StorageError> {
        let Some(coupon) = self.coupon(campaign.spec.number, sequence)? else { return Ok(None) };
        let state = self.state_of(campaign, sequence)?;
        issued(campaign, sequence, coupon, state).map(Some)
    }

    /// What a coupon is. Costs nothing in a campaign where every coupon is as it was issued.
    fn state_of(&self, campaign: &Campaign, sequence: u64) -> Result<CouponState, StorageError> {
        if !campaign.counters.has_changed_coupons() {
            return Ok(CouponState::Issued);
        }
        let row = self.get(&self.keys.coupon_history(campaign.spec.number, sequence))?;
        row.map_or(Ok(CouponState::Issued), |row| Ok(history_from(&row)?.state()))
    }

    fn with_counters(&self, spec: &[u8]) -> Result<Campaign, StorageError> {
        let spec: pb::CampaignRecord = decode("campaign", spec)?;
        let counters = self
            .get(&self.keys.counters(spec.number))?
            .ok_or_else(|| StorageError::corrupt("campaign", "its counters are missing"))?;
        row::campaign_from_pb(spec, decode("campaign counters", &counters)?)
            .map_err(|error| StorageError::corrupt("campaign", error))
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        Ok(self.snapshot.get_cf(self.storage.state(), key)?)
    }

    fn rows<'s>(
        &'s self,
        family: &'a ColumnFamily,
        first: &[u8],
        end: Option<Vec<u8>>,
    ) -> impl Iterator<Item = Result<Row, StorageError>> + use<'s, 'a> {
        let mut options = ReadOptions::default();
        if let Some(end) = end {
            options.set_iterate_upper_bound(end);
        }
        let mode = IteratorMode::From(first, Direction::Forward);
        self.snapshot
            .iterator_cf_opt(family, options, mode)
            .map(|row| row.map_err(StorageError::from))
    }
}

fn issued(
    campaign: &Campaign,
    sequence: u64,
    coupon: pb::CouponRecord,
    state: CouponState,
) -> Result<IssuedCoupon, StorageError> {
    let coupon =
        row::coupon_from_pb(coupon).map_err(|error| StorageError::corrupt("coupon", error))?;
    let CampaignSpec { code_shard, code_key, code_scheme, .. } = *campaign.spec;
    Ok(IssuedCoupon { coupon, sequence, code_shard, code_key, code_scheme, state })
}

/// The generation in its row.
///
/// # Errors
///
/// When the row is not what was written there.
pub(crate) fn generation_from(bytes: &[u8]) -> Result<Generation, StorageError> {
    let bytes = bytes
        .try_into()
        .map_err(|_| StorageError::corrupt("generation", format!("{} bytes", bytes.len())))?;
    Ok(Generation::from_be_bytes(bytes))
}
