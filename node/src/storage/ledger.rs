//! The ledger's storage: RocksDB under a batch that is not written yet.
//!
//! All commands of an apply step share one [`LedgerBatch`]. It sees its own writes, and becomes
//! visible and durable as a whole, together with the record of how far the state has come.

use std::collections::HashMap;

use coupon_cluster::{CampaignId, RequestId};
use coupon_ledger::{Campaign, CampaignCounters, CampaignSpec, Coupon, ShardState, Store};
use coupon_proto::internal as pb;
use prost::Message as _;
use rocksdb::WriteBatch;

use super::keys::StateKeys;
use super::records;
use super::{Storage, StorageError};

/// Writes that belong together, and the reads of whoever makes them.
pub struct LedgerBatch<'a> {
    storage: &'a Storage,
    keys: StateKeys,
    /// Final writes. Rows that change with every command wait in the two fields below instead.
    batch: WriteBatch,
    /// What the batch holds, for its own reads; never iterated.
    written: HashMap<Vec<u8>, Vec<u8>>,
    campaigns: HashMap<CampaignId, CachedCampaign>,
    shard: Option<ShardState>,
}

struct CachedCampaign {
    campaign: Campaign,
    counters_changed: bool,
}

impl<'a> LedgerBatch<'a> {
    /// An empty batch over the state that `keys` name.
    pub fn new(storage: &'a Storage, keys: StateKeys) -> Self {
        Self {
            storage,
            keys,
            batch: WriteBatch::default(),
            written: HashMap::new(),
            campaigns: HashMap::new(),
            shard: None,
        }
    }

    /// The finished batch. The order of its rows does not matter, since each key occurs once
    /// among the rows that wait.
    pub fn finish(mut self) -> WriteBatch {
        let family = self.storage.state();
        if let Some(shard) = &self.shard {
            let value = records::shard_to_pb(shard).encode_to_vec();
            self.batch.put_cf(family, self.keys.shard(), value);
        }
        for cached in self.campaigns.values().filter(|cached| cached.counters_changed) {
            let key = self.keys.counters(cached.campaign.spec.number);
            let value = records::counters_to_pb(&cached.campaign.counters).encode_to_vec();
            self.batch.put_cf(family, key, value);
        }
        self.batch
    }

    /// How many bytes wait in the batch.
    pub fn size_in_bytes(&self) -> usize {
        self.batch.size_in_bytes()
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        if let Some(value) = self.written.get(key) {
            return Ok(Some(value.clone()));
        }
        Ok(self.storage.db().get_cf(self.storage.state(), key)?)
    }

    fn put(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.batch.put_cf(self.storage.state(), &key, &value);
        self.written.insert(key, value);
    }
}

impl Store for LedgerBatch<'_> {
    type Error = StorageError;

    fn shard_state(&mut self) -> Result<ShardState, StorageError> {
        if let Some(shard) = &self.shard {
            return Ok(shard.clone());
        }
        match self.storage.db().get_pinned_cf(self.storage.state(), self.keys.shard())? {
            Some(bytes) => records::shard_from_pb(decode("shard record", &bytes)?)
                .map_err(|error| StorageError::corrupt("shard record", error)),
            None => Ok(ShardState::default()),
        }
    }

    fn put_shard_state(&mut self, state: &ShardState) -> Result<(), StorageError> {
        self.shard = Some(state.clone());
        Ok(())
    }

    fn campaign(&mut self, id: &CampaignId) -> Result<Option<Campaign>, StorageError> {
        if let Some(cached) = self.campaigns.get(id) {
            return Ok(Some(cached.campaign.clone()));
        }
        let db = self.storage.db();
        let Some(spec) = db.get_pinned_cf(self.storage.state(), self.keys.campaign(id))? else {
            return Ok(None);
        };
        let spec: pb::CampaignRecord = decode("campaign", &spec)?;
        let counters = db
            .get_pinned_cf(self.storage.state(), self.keys.counters(spec.number))?
            .ok_or_else(|| StorageError::corrupt("campaign", "its counters are missing"))?;
        let campaign = records::campaign_from_pb(spec, decode("campaign counters", &counters)?)
            .map_err(|error| StorageError::corrupt("campaign", error))?;
        let cached = CachedCampaign { campaign: campaign.clone(), counters_changed: false };
        self.campaigns.insert(id.clone(), cached);
        Ok(Some(campaign))
    }

    fn insert_campaign(&mut self, campaign: &Campaign) -> Result<(), StorageError> {
        let key = self.keys.campaign(&campaign.spec.id);
        let value = records::spec_to_pb(&campaign.spec).encode_to_vec();
        self.batch.put_cf(self.storage.state(), key, value);
        let cached = CachedCampaign { campaign: campaign.clone(), counters_changed: true };
        self.campaigns.insert(campaign.spec.id.clone(), cached);
        Ok(())
    }

    fn put_counters(
        &mut self,
        campaign: &CampaignSpec,
        counters: CampaignCounters,
    ) -> Result<(), StorageError> {
        let cached = self.campaigns.get_mut(&campaign.id).ok_or_else(|| {
            StorageError::corrupt("campaign counters", "written before the campaign was read")
        })?;
        cached.campaign.counters = counters;
        cached.counters_changed = true;
        Ok(())
    }

    fn coupon(&mut self, campaign_number: u32, sequence: u64) -> Result<Coupon, StorageError> {
        let bytes = self
            .get(&self.keys.coupon(campaign_number, sequence))?
            .ok_or_else(|| StorageError::corrupt("coupon", "an index leads to none"))?;
        records::coupon_from_pb(decode("coupon", &bytes)?)
            .map_err(|error| StorageError::corrupt("coupon", error))
    }

    fn sequence_of_request(
        &mut self,
        campaign_number: u32,
        request_id: RequestId,
    ) -> Result<Option<u64>, StorageError> {
        let value = self.get(&self.keys.request(campaign_number, &request_id))?;
        value.map(|bytes| Ok(sequences("request index", &bytes)?[0])).transpose()
    }

    fn sequences_of_recipient(
        &mut self,
        campaign_number: u32,
        recipient: &str,
    ) -> Result<Vec<u64>, StorageError> {
        let value = self.get(&self.keys.limited_recipient(campaign_number, recipient))?;
        value.map_or(Ok(Vec::new()), |bytes| sequences("recipient index", &bytes))
    }

    fn insert_coupon(
        &mut self,
        campaign: &CampaignSpec,
        sequence: u64,
        coupon: &Coupon,
    ) -> Result<(), StorageError> {
        let number = campaign.number;
        let row = self.keys.coupon(number, sequence);
        self.put(row, records::coupon_to_pb(coupon.clone()).encode_to_vec());
        let request = self.keys.request(number, &coupon.request_id);
        self.put(request, sequence.to_be_bytes().to_vec());
        if campaign.per_recipient_limit > 0 {
            let key = self.keys.limited_recipient(number, &coupon.recipient);
            let mut held = self.get(&key)?.unwrap_or_default();
            held.extend_from_slice(&sequence.to_be_bytes());
            self.put(key, held);
        } else if !coupon.recipient.is_empty() {
            let key = self.keys.unlimited_recipient(number, &coupon.recipient, sequence);
            self.put(key, Vec::new());
        }
        Ok(())
    }

    fn put_block(
        &mut self,
        block: u64,
        campaign_number: u32,
        first_sequence: u64,
    ) -> Result<(), StorageError> {
        let record = pb::BlockRecord { campaign_number, first_sequence };
        self.put(self.keys.block(block), record.encode_to_vec());
        Ok(())
    }
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

/// The sequence numbers in a row of an index: one or more.
///
/// # Errors
///
/// When the row is not what was written there.
pub(super) fn sequences(what: &'static str, bytes: &[u8]) -> Result<Vec<u64>, StorageError> {
    let (numbers, rest) = bytes.as_chunks::<8>();
    if numbers.is_empty() || !rest.is_empty() {
        return Err(StorageError::corrupt(what, format!("{} bytes", bytes.len())));
    }
    Ok(numbers.iter().map(|number| u64::from_be_bytes(*number)).collect())
}
