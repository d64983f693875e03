//! A consistent view of a ledger's state, for reads that do not go through the log.

use coupon_cluster::{CampaignId, ReplicaId, ShardId};
use coupon_ledger::{Campaign, IssuedCoupon, ShardState};
use coupon_proto::internal as pb;
use rocksdb::{DB, Direction, IteratorMode, ReadOptions, SnapshotWithThreadMode};

use super::keys::{Generation, ReplicaKeys, StateKeys, after_prefix, trailing_u64};
use super::ledger::{decode, sequences};
use super::{Storage, StorageError, records, runs};

type Row = (Box<[u8]>, Box<[u8]>);

/// The state of a shard at one moment. While it exists, RocksDB keeps what it shows.
pub struct LedgerView<'a> {
    storage: &'a Storage,
    snapshot: SnapshotWithThreadMode<'a, DB>,
    keys: StateKeys,
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
        let snapshot = storage.db().snapshot();
        let key = ReplicaKeys::new(shard, replica).generation();
        let generation = match snapshot.get_cf(storage.meta(), key)? {
            Some(bytes) => generation_from(&bytes)?,
            None => 0,
        };
        Ok(Self { storage, snapshot, keys: StateKeys::new(shard, generation) })
    }

    /// What the ledger knows about its shard.
    ///
    /// # Errors
    ///
    /// When the disk fails.
    pub fn shard_state(&self) -> Result<ShardState, StorageError> {
        match self.get(&self.keys.shard())? {
            Some(bytes) => records::shard_from_pb(decode("shard record", &bytes)?)
                .map_err(|error| StorageError::corrupt("shard record", error)),
            None => Ok(ShardState::default()),
        }
    }

    /// A campaign with its counters.
    ///
    /// # Errors
    ///
    /// When the disk fails.
    pub fn campaign(&self, id: &CampaignId) -> Result<Option<Campaign>, StorageError> {
        let Some(spec) = self.get(&self.keys.campaign(id))? else { return Ok(None) };
        self.with_counters(&spec).map(Some)
    }

    /// The campaigns whose ids are greater than `after`, by id.
    pub fn campaigns_after(
        &self,
        after: &str,
    ) -> impl Iterator<Item = Result<Campaign, StorageError>> + '_ {
        let mut first = self.keys.campaigns();
        let end = after_prefix(&first);
        if !after.is_empty() {
            first.extend_from_slice(after.as_bytes());
            // The smallest key after that of `after`.
            first.push(0);
        }
        self.rows(&first, end).map(|row| row.and_then(|(_, spec)| self.with_counters(&spec)))
    }

    /// The coupons of a campaign with sequence numbers greater than `after`, in order.
    pub fn coupons_after(
        &self,
        campaign: &'a Campaign,
        after: u64,
    ) -> impl Iterator<Item = Result<IssuedCoupon, StorageError>> + '_ {
        let number = campaign.spec.number;
        // The run that holds the first of them may begin before it.
        let first = self.keys.coupon(number, runs::earliest_first(after.saturating_add(1)));
        self.rows(&first, after_prefix(&self.keys.coupons(number))).flat_map(move |row| {
            let run = row.and_then(|(key, value)| runs::run(&key, &value));
            let (first, coupons, fault) = match run {
                Ok((first, coupons)) => (first, coupons, None),
                Err(fault) => (0, Vec::new(), Some(fault)),
            };
            let wanted = (first..).zip(coupons).filter(move |(sequence, _)| *sequence > after);
            let coupons = wanted.map(|(sequence, coupon)| issued(campaign, sequence, coupon));
            fault.map(Err).into_iter().chain(coupons)
        })
    }

    /// The coupons that `recipient` holds of a campaign, with sequence numbers greater than `after`, in
    /// order.
    ///
    /// # Errors
    ///
    /// When the disk fails.
    pub fn coupons_of(
        &self,
        campaign: &Campaign,
        recipient: &str,
        after: u64,
    ) -> Result<impl Iterator<Item = Result<IssuedCoupon, StorageError>>, StorageError> {
        let number = campaign.spec.number;
        let (limited, unlimited) = if campaign.spec.per_recipient_limit > 0 {
            let held = match self.get(&self.keys.limited_recipient(number, recipient))? {
                Some(bytes) => sequences("recipient index", &bytes)?,
                None => Vec::new(),
            };
            (Some(held.into_iter().filter(move |sequence| *sequence > after).map(Ok)), None)
        } else {
            let first = self.keys.unlimited_recipient(number, recipient, after.saturating_add(1));
            let end = after_prefix(&self.keys.unlimited_recipients(number, recipient));
            let held = self.rows(&first, end).map(|row| {
                trailing_u64(&row?.0)
                    .ok_or_else(|| StorageError::corrupt("recipient index", "short key"))
            });
            (None, Some(held))
        };
        let held = limited.into_iter().flatten().chain(unlimited.into_iter().flatten());
        Ok(held.map(move |sequence| {
            let sequence = sequence?;
            let (options, key) = runs::look_up(self.keys, number, sequence);
            let (snapshot, family) = (&self.snapshot, self.storage.state());
            let rows = snapshot.iterator_cf_opt(family, options, runs::mode(&key));
            issued(campaign, sequence, runs::coupon(rows, sequence)?)
        }))
    }

    fn with_counters(&self, spec: &[u8]) -> Result<Campaign, StorageError> {
        let spec: pb::CampaignRecord = decode("campaign", spec)?;
        let counters = self
            .get(&self.keys.counters(spec.number))?
            .ok_or_else(|| StorageError::corrupt("campaign", "its counters are missing"))?;
        records::campaign_from_pb(spec, decode("campaign counters", &counters)?)
            .map_err(|error| StorageError::corrupt("campaign", error))
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        Ok(self.snapshot.get_cf(self.storage.state(), key)?)
    }

    fn rows<'s>(
        &'s self,
        first: &[u8],
        end: Option<Vec<u8>>,
    ) -> impl Iterator<Item = Result<Row, StorageError>> + use<'s, 'a> {
        let mut options = ReadOptions::default();
        if let Some(end) = end {
            options.set_iterate_upper_bound(end);
        }
        let mode = IteratorMode::From(first, Direction::Forward);
        self.snapshot
            .iterator_cf_opt(self.storage.state(), options, mode)
            .map(|row| row.map_err(StorageError::from))
    }
}

fn issued(
    campaign: &Campaign,
    sequence: u64,
    coupon: pb::CouponRecord,
) -> Result<IssuedCoupon, StorageError> {
    let coupon =
        records::coupon_from_pb(coupon).map_err(|error| StorageError::corrupt("coupon", error))?;
    let (code_shard, code_key) = (campaign.spec.code_shard, campaign.spec.code_key);
    Ok(IssuedCoupon { coupon, sequence, code_shard, code_key })
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
