//! The ledger's storage: RocksDB under a batch that is not written yet.
//!
//! All commands of an apply step share one [`LedgerBatch`]. It sees its own writes, and becomes
//! visible and durable as a whole, together with the record of how far the state has come.

mod codes;
mod reads;
mod state_reader;

use std::collections::HashMap;
use std::sync::Arc;

use coupon_cluster::{CampaignName, RequestId};
use coupon_ledger::{
    Action, Campaign, CampaignCounters, CampaignSpec, CodeImport, Command, Coupon, CouponHistory,
    Event, Hold, HoldCoupon, HoldEnd, HoldState, ImportedCode, Issue, LogTime, ShardState, Store,
};
use coupon_proto::internal as pb;
use foldhash::fast::RandomState;
use prost::Message as _;
use rocksdb::WriteBatch;

use super::code_rows;
use super::coupon_rows::{CouponRun, Issued};
use super::digest::{Digest, RunningDigest};
use super::hold_rows;
use super::index::{Coupons, Index, Layers};
use super::keys::{PREFIX_LEN, StateKeys, after_prefix};
use super::records::{block_from, history_from, name_of_number};
use super::rows::WrittenRows;
use super::{Storage, StorageError};
use crate::codec::{coupon_history, event, row};

/// Writes that belong together, and the reads of whoever makes them.
pub struct LedgerBatch<'a> {
    storage: &'a Storage,
    keys: StateKeys,
    /// Final writes. Rows that change with every command wait in the fields below instead.
    batch: WriteBatch,
    campaigns: Campaigns,
    /// What was issued, by the number of the campaign.
    fresh: HashMap<u32, CouponRun, RandomState>,
    /// What was done with coupons, by the number of the campaign and the sequence number.
    histories: HashMap<(u32, u64), CouponHistory, RandomState>,
    /// Rows that were written and are looked up by their keys: those of holds and of imported codes.
    written: WrittenRows,
    /// The blocks that were taken: the number of the campaign, and the first sequence number.
    blocks: HashMap<u64, (u32, u64), RandomState>,
    /// The numbers of the campaigns whose coupons are removed.
    freed: Vec<u32>,
    shard: Option<ShardState>,
    /// The index of the entry that is applied.
    log_index: u64,
    digest: RunningDigest,
    index: Arc<Index>,
    layers: Layers,
}

/// Campaigns as they are after a batch, for the next one. Nobody else may change them.
#[derive(Default)]
pub struct Campaigns(HashMap<CampaignName, CachedCampaign, RandomState>);

/// The campaigns whose coupons a batch removes.
pub struct Freed {
    index: Arc<Index>,
    numbers: Vec<u32>,
}

impl Freed {
    /// Tells the index, once the batch is written.
    pub fn note(self) {
        self.numbers.iter().for_each(|number| self.index.note_freed(*number));
    }
}

struct CachedCampaign {
    campaign: Campaign,
    is_touched: bool,
    counters_changed: bool,
}

/// Maximum number of campaigns kept between batches. A rush is for a few.
const CAMPAIGNS_KEPT_MAX: usize = 1_024;

impl<'a> LedgerBatch<'a> {
    /// An empty batch over the state that `keys` name, whose running digest is `digest`.
    ///
    /// # Errors
    ///
    /// When the index of the state has to be opened and the disk fails.
    pub fn new(
        storage: &'a Storage,
        keys: StateKeys,
        digest: Digest,
    ) -> Result<Self, StorageError> {
        let index = storage.index_of(keys)?;
        // Here, where all coupons in the index are written.
        index.start_flush_if_full(storage);
        let layers = index.layers();
        Ok(Self::over(storage, keys, digest, index, layers))
    }

    /// A batch that must not be finished, and that nobody else sees.
    ///
    /// # Errors
    ///
    /// As for [`LedgerBatch::new`].
    pub fn unwritten(
        storage: &'a Storage,
        keys: StateKeys,
        digest: Digest,
    ) -> Result<Self, StorageError> {
        let index = storage.index_of(keys)?;
        let layers = index.layers().with_private_memtable();
        Ok(Self::over(storage, keys, digest, index, layers))
    }

    fn over(
        storage: &'a Storage,
        keys: StateKeys,
        digest: Digest,
        index: Arc<Index>,
        layers: Layers,
    ) -> Self {
        Self {
            layers,
            index,
            storage,
            keys,
            batch: WriteBatch::default(),
            campaigns: Campaigns::default(),
            fresh: HashMap::default(),
            histories: HashMap::default(),
            written: WrittenRows::default(),
            blocks: HashMap::default(),
            freed: Vec::new(),
            shard: None,
            log_index: 0,
            digest: RunningDigest::resume(digest),
        }
    }

    /// The running digest after the last entry.
    pub fn digest(&self) -> Digest {
        self.digest.value()
    }

    /// The batch that goes on with the campaigns that the one before left.
    #[must_use]
    pub fn with_campaigns(mut self, campaigns: Campaigns) -> Self {
        self.campaigns = campaigns;
        self
    }

    /// What is written from now on is of the entry at `index` of the log.
    pub fn begin_entry(&mut self, index: u64) {
        self.log_index = index;
    }

    /// The finished batch, the campaigns for the next one, which may begin once this one is written, and what the
    /// index is to be told then. The order of the rows does not matter, since each key occurs once among the rows
    /// that wait.
    pub fn finish(mut self) -> (WriteBatch, Campaigns, Freed) {
        let family = self.storage.state();
        if let Some(shard) = &self.shard {
            let running_digest = self.digest.value().to_vec();
            let record = pb::ShardRecord { running_digest, ..row::shard_to_pb(shard) };
            self.batch.put_cf(family, self.keys.shard(), record.encode_to_vec());
        }
        for cached in self.campaigns.0.values_mut() {
            cached.is_touched = false;
            if std::mem::take(&mut cached.counters_changed) {
                let Campaign { spec, counters } = &cached.campaign;
                let key = self.keys.counters(spec.number);
                let value = row::counters_to_pb(spec, counters).encode_to_vec();
                self.batch.put_cf(family, key, value);
            }
        }
        if self.campaigns.0.len() > CAMPAIGNS_KEPT_MAX {
            self.campaigns.0.clear();
        }
        (self.batch, self.campaigns, Freed { index: self.index, numbers: self.freed })
    }

    /// How many bytes wait in the batch.
    pub fn size_in_bytes(&self) -> usize {
        self.batch.size_in_bytes()
    }

    fn put(&mut self, key: &[u8], value: &[u8]) {
        self.add_to_digest(key, value);
        self.batch.put_cf(self.storage.state(), key, value);
    }

    /// Writes an entry of an index of holds, or removes it. It follows from the holds, and is not hashed.
    fn put_hold_end(&mut self, key: &[u8], is_there: bool) {
        let family = self.storage.state();
        if is_there {
            self.batch.put_cf(family, key, []);
        } else {
            self.batch.delete_cf(family, key);
        }
        self.written.note(key, is_there.then(Vec::new));
    }

    /// Writes the entries of a hold in all indexes, or removes them.
    fn put_hold_ends(&mut self, end: &HoldEnd, recipient: &str, is_there: bool) {
        self.put_hold_end(&self.keys.hold_end(end), is_there);
        self.put_hold_end(&self.keys.hold_end_of_campaign(end), is_there);
        if !recipient.is_empty() {
            self.put_hold_end(&self.keys.hold_of_recipient(recipient, end), is_there);
        }
    }

    /// Adds a row that an entry wrote. The prefix is left out: it tells replicas apart.
    fn add_to_digest(&mut self, key: &[u8], value: &[u8]) {
        self.digest.add(&key[PREFIX_LEN..], value);
    }
}

impl Coupons for LedgerBatch<'_> {
    fn coupon(&self, number: u32, sequence: u64) -> Result<Option<pb::CouponRecord>, StorageError> {
        let fresh = self.fresh.get(&number).map_or(Ok(None), |fresh| fresh.coupon(sequence))?;
        match fresh {
            Some(record) => Ok(Some(record)),
            None => Issued { storage: self.storage, keys: self.keys }.coupon(number, sequence),
        }
    }

    fn has_returned_quota(&self, number: u32, sequence: u64) -> Result<bool, StorageError> {
        match self.histories.get(&(number, sequence)) {
            Some(history) => Ok(history.state().has_returned_quota()),
            None => Issued { storage: self.storage, keys: self.keys }
                .has_returned_quota(number, sequence),
        }
    }
}

impl Store for LedgerBatch<'_> {
    fn prefetch(&mut self, commands: &[Command]) {
        let mut last: Option<(&CampaignName, u32)> = None;
        let keys = commands.iter().filter_map(|command| {
            let (Action::Issue(Issue { campaign: name, recipient, request_id, .. })
            | Action::HoldCoupon(HoldCoupon { campaign: name, recipient, request_id, .. })) =
                &command.action
            else {
                return None;
            };
            let number = match last {
                Some((campaign, number)) if campaign == name => number,
                Some(_) | None => self.campaigns.0.get(name)?.campaign.spec.number,
            };
            last = Some((name, number));
            Some((number, request_id, recipient.as_str()))
        });
        self.index.prefetch(keys);
    }

    fn put_shard_state(&mut self, state: &ShardState) -> Result<(), StorageError> {
        // The last write of an entry. Of this row and the counters the batch gets only the last form,
        // but what replicas write together differs, and what they hash must not.
        let value = row::shard_to_pb(state).encode_to_vec();
        self.add_to_digest(&self.keys.shard(), &value);
        self.digest.end_entry();
        self.shard = Some(state.clone());
        Ok(())
    }

    fn put_campaign(&mut self, campaign: &Campaign) -> Result<(), StorageError> {
        let key = self.keys.campaign(&campaign.spec.name);
        let value = row::spec_to_pb(&campaign.spec).encode_to_vec();
        self.put(&key, &value);
        let name = pb::CampaignNumberRecord { name: campaign.spec.name.to_string() };
        self.put(&self.keys.campaign_number(campaign.spec.number), &name.encode_to_vec());
        let cached =
            CachedCampaign { campaign: campaign.clone(), is_touched: true, counters_changed: true };
        self.campaigns.0.insert(campaign.spec.name.clone(), cached);
        Ok(())
    }

    fn put_counters(
        &mut self,
        campaign: &CampaignSpec,
        counters: CampaignCounters,
    ) -> Result<(), StorageError> {
        let cached = self.campaigns.0.get_mut(&campaign.name).ok_or_else(|| {
            StorageError::corrupt("campaign counters", "written before the campaign was read")
        })?;
        cached.campaign.counters = counters;
        cached.counters_changed = true;
        let value = row::counters_to_pb(campaign, &counters).encode_to_vec();
        self.add_to_digest(&self.keys.counters(campaign.number), &value);
        // This is called once an entry, after the coupons it issued: the place where runs end.
        if let Some(fresh) = self.fresh.get_mut(&campaign.number) {
            for (first, value) in fresh.take_rows(self.log_index) {
                let key = self.keys.coupon(campaign.number, first);
                self.digest.add(&key[PREFIX_LEN..], &value);
                self.batch.put_cf(self.storage.coupons(), key, value);
            }
        }
        Ok(())
    }

    fn insert_coupon(
        &mut self,
        campaign: &CampaignSpec,
        sequence: u64,
        coupon: &Coupon,
    ) -> Result<(), StorageError> {
        let number = campaign.number;
        let (request, recipient) = (&coupon.request_id, &coupon.recipient);
        self.index.insert(&self.layers, number, sequence, request, recipient);
        self.fresh.entry(number).or_default().push(sequence, coupon);
        Ok(())
    }

    fn put_coupon_history(
        &mut self,
        campaign: &CampaignSpec,
        sequence: u64,
        history: &CouponHistory,
    ) -> Result<(), StorageError> {
        let number = campaign.number;
        let value = coupon_history::to_pb(history).encode_to_vec();
        self.put(&self.keys.coupon_history(number, sequence), &value);
        self.histories.insert((number, sequence), history.clone());
        Ok(())
    }

    fn put_event(
        &mut self,
        campaign: &CampaignSpec,
        revision: u64,
        event: &Event,
    ) -> Result<(), StorageError> {
        let value = event::to_pb(event, self.log_index).encode_to_vec();
        self.put(&self.keys.event(campaign.number, revision), &value);
        Ok(())
    }

    fn put_hold(
        &mut self,
        campaign_number: u32,
        hold_id: RequestId,
        hold: &Hold,
        before: Option<LogTime>,
    ) -> Result<(), StorageError> {
        let key = self.keys.hold(campaign_number, &hold_id);
        let value = hold_rows::value(hold);
        self.put(&key, &value);
        self.written.note(&key, Some(value));
        if let Some(at) = before {
            let end = HoldEnd { at, campaign_number, hold_id };
            self.put_hold_ends(&end, &hold.recipient, false);
        }
        let end = hold.end().map(|at| HoldEnd { at, campaign_number, hold_id });
        match (end, hold.state) {
            (Some(end), HoldState::Open) => self.put_hold_ends(&end, &hold.recipient, true),
            (Some(end), HoldState::Released { .. }) => {
                self.put_hold_end(&self.keys.hold_end(&end), true);
            }
            (Some(_), HoldState::Confirmed { .. }) | (None, _) => {}
        }
        Ok(())
    }

    fn first_hold_end(&mut self, from: LogTime) -> Result<Option<HoldEnd>, StorageError> {
        hold_rows::first_hold_end(self, self.keys, from)
    }

    fn forget_hold(&mut self, end: &HoldEnd) -> Result<(), StorageError> {
        let hold = hold_rows::hold(self, self.keys, end.campaign_number, &end.hold_id)?;
        // That of a deleted campaign is gone already.
        let recipient = hold.map(|hold| hold.recipient).unwrap_or_default();
        let key = self.keys.hold(end.campaign_number, &end.hold_id);
        self.add_to_digest(&key, &[]);
        self.batch.delete_cf(self.storage.state(), &key);
        self.written.note(&key, None);
        self.put_hold_ends(end, &recipient, false);
        Ok(())
    }

    /// In one write, however many there are. RocksDB gives their space back as it compacts its tables, and the index
    /// drops their claims as it compacts its own.
    fn free_coupons(&mut self, campaign: &CampaignSpec) -> Result<(), StorageError> {
        let number = campaign.number;
        for (family, first) in [
            (self.storage.coupons(), self.keys.coupons(number)),
            (self.storage.state(), self.keys.coupon_histories(number)),
            (self.storage.state(), self.keys.holds(number)),
            (self.storage.state(), self.keys.holds_of_recipients(number)),
            (self.storage.state(), self.keys.hold_ends_of_campaign(number)),
            (self.storage.state(), self.keys.events(number)),
            (self.storage.state(), self.keys.code_imports(number)),
            (self.storage.state(), self.keys.imported_codes(number)),
            (self.storage.state(), self.keys.pending_codes(number)),
        ] {
            let end = after_prefix(&first).unwrap_or_else(|| self.keys.end().to_vec());
            self.add_to_digest(&first, &[]);
            self.written.remove(&first, &end);
            self.batch.delete_range_cf(family, first, end);
        }
        // Those of this entry are not written at all.
        self.fresh.remove(&number);
        self.histories.retain(|(of, _), _| *of != number);
        self.freed.push(campaign.number);
        Ok(())
    }

    fn code_import(
        &mut self,
        campaign_number: u32,
        import_id: RequestId,
    ) -> Result<Option<CodeImport>, StorageError> {
        code_rows::code_import(self, self.keys, campaign_number, &import_id)
    }

    fn put_code_import(
        &mut self,
        campaign_number: u32,
        import_id: RequestId,
        import: &CodeImport,
    ) -> Result<(), StorageError> {
        self.write_code_import(campaign_number, &import_id, import);
        Ok(())
    }

    fn put_imported_code(
        &mut self,
        campaign_number: u32,
        code: &str,
        imported: &ImportedCode,
    ) -> Result<(), StorageError> {
        self.write_imported_code(campaign_number, code, imported);
        Ok(())
    }

    fn take_code(&mut self, campaign_number: u32, sequence: u64) -> Result<String, StorageError> {
        self.take_pending_code(campaign_number, sequence)
    }

    fn put_block(
        &mut self,
        block: u64,
        campaign_number: u32,
        first_sequence: u64,
    ) -> Result<(), StorageError> {
        let record = pb::BlockRecord { campaign_number, first_sequence };
        self.put(&self.keys.block(block), &record.encode_to_vec());
        self.blocks.insert(block, (campaign_number, first_sequence));
        Ok(())
    }
}

/// The running digest of the state that `keys` name; zeros before an entry wrote anything.
///
/// # Errors
///
/// When the disk fails.
pub fn running_digest(storage: &Storage, keys: &StateKeys) -> Result<Digest, StorageError> {
    let Some(bytes) = storage.db().get_pinned_cf(storage.state(), keys.shard())? else {
        return Ok(Digest::default());
    };
    let record: pb::ShardRecord = decode("shard record", &bytes)?;
    let digest = record.running_digest.as_slice();
    digest
        .try_into()
        .map_err(|_| StorageError::corrupt("running digest", format!("{} bytes", digest.len())))
}

/// Decodes a row.
///
/// # Errors
///
/// When the row is not what was written there.
pub(crate) fn decode<M: prost::Message + Default>(
    what: &'static str,
    bytes: &[u8],
) -> Result<M, StorageError> {
    M::decode(bytes).map_err(|error| StorageError::corrupt(what, error))
}

#[cfg(test)]
mod tests;
