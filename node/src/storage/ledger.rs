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

use super::digest::{Digest, RunningDigest};
use super::keys::{PREFIX_LEN, StateKeys};
use super::{Storage, StorageError, records, runs};

/// Writes that belong together, and the reads of whoever makes them.
pub struct LedgerBatch<'a> {
    storage: &'a Storage,
    keys: StateKeys,
    /// Final writes. Rows that change with every command wait in the fields below instead.
    batch: WriteBatch,
    campaigns: HashMap<CampaignId, CachedCampaign>,
    /// What was issued, by the number of the campaign.
    fresh: HashMap<u32, Fresh>,
    shard: Option<ShardState>,
    digest: RunningDigest,
}

struct CachedCampaign {
    campaign: Campaign,
    counters_changed: bool,
}

/// What a batch knows about the coupons of a campaign beside what is written.
#[derive(Default)]
struct Fresh {
    /// The sequence number of the first of `coupons`.
    first: u64,
    /// The coupons of this batch.
    coupons: Vec<pb::CouponRecord>,
    /// How many of them are in rows.
    in_rows: usize,
    /// The coupons of this batch by their requests.
    requests: HashMap<RequestId, u64>,
    /// What the recipients hold that this batch was asked about.
    recipients: HashMap<String, Vec<u64>>,
}

impl Fresh {
    fn coupon(&self, sequence: u64) -> Option<&pb::CouponRecord> {
        let place = usize::try_from(sequence.checked_sub(self.first)?).ok()?;
        self.coupons.get(place)
    }
}

impl<'a> LedgerBatch<'a> {
    /// An empty batch over the state that `keys` name, whose running digest is `digest`.
    pub fn new(storage: &'a Storage, keys: StateKeys, digest: Digest) -> Self {
        Self {
            storage,
            keys,
            batch: WriteBatch::default(),
            campaigns: HashMap::new(),
            fresh: HashMap::new(),
            shard: None,
            digest: RunningDigest::resume(digest),
        }
    }

    /// The running digest after the last entry.
    pub fn digest(&self) -> Digest {
        self.digest.value()
    }

    /// The finished batch. The order of its rows does not matter, since each key occurs once
    /// among the rows that wait.
    pub fn finish(mut self) -> WriteBatch {
        let family = self.storage.state();
        if let Some(shard) = &self.shard {
            let running_digest = self.digest.value().to_vec();
            let record = pb::ShardRecord { running_digest, ..records::shard_to_pb(shard) };
            self.batch.put_cf(family, self.keys.shard(), record.encode_to_vec());
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

    fn put(&mut self, key: &[u8], value: &[u8]) {
        self.add_to_digest(key, value);
        self.batch.put_cf(self.storage.state(), key, value);
    }

    /// Adds a row that an entry wrote. The prefix is left out: it tells replicas apart.
    fn add_to_digest(&mut self, key: &[u8], value: &[u8]) {
        self.digest.add(&key[PREFIX_LEN..], value);
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
        // The last write of an entry. Of this row and the counters the batch gets only the last form,
        // but what replicas write together differs, and what they hash must not.
        let value = records::shard_to_pb(state).encode_to_vec();
        self.add_to_digest(&self.keys.shard(), &value);
        self.digest.end_entry();
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
        self.put(&key, &value);
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
        let value = records::counters_to_pb(&counters).encode_to_vec();
        self.add_to_digest(&self.keys.counters(campaign.number), &value);
        // This is called once an entry, after the coupons it issued: the place where runs end.
        if let Some(fresh) = self.fresh.get_mut(&campaign.number) {
            let first = fresh.first + fresh.in_rows as u64;
            for (first, value) in runs::rows(first, &fresh.coupons[fresh.in_rows..]) {
                let key = self.keys.coupon(campaign.number, first);
                self.digest.add(&key[PREFIX_LEN..], &value);
                self.batch.put_cf(self.storage.state(), key, value);
            }
            fresh.in_rows = fresh.coupons.len();
        }
        Ok(())
    }

    fn coupon(&mut self, campaign_number: u32, sequence: u64) -> Result<Coupon, StorageError> {
        let fresh = self.fresh.get(&campaign_number).and_then(|fresh| fresh.coupon(sequence));
        let record = match fresh {
            Some(record) => record.clone(),
            None => {
                let (options, key) = runs::look_up(self.keys, campaign_number, sequence);
                let (db, family) = (self.storage.db(), self.storage.state());
                runs::coupon(db.iterator_cf_opt(family, options, runs::mode(&key)), sequence)?
            }
        };
        records::coupon_from_pb(record).map_err(|error| StorageError::corrupt("coupon", error))
    }

    fn sequence_of_request(
        &mut self,
        campaign_number: u32,
        request_id: RequestId,
    ) -> Result<Option<u64>, StorageError> {
        let fresh = self.fresh.get(&campaign_number);
        if let Some(sequence) = fresh.and_then(|fresh| fresh.requests.get(&request_id)) {
            return Ok(Some(*sequence));
        }
        let key = self.keys.request(campaign_number, &request_id);
        let value = self.storage.db().get_pinned_cf(self.storage.state(), key)?;
        value.map(|bytes| Ok(sequences("request index", &bytes)?[0])).transpose()
    }

    fn sequences_of_recipient(
        &mut self,
        campaign_number: u32,
        recipient: &str,
    ) -> Result<Vec<u64>, StorageError> {
        let fresh = self.fresh.entry(campaign_number).or_default();
        if let Some(held) = fresh.recipients.get(recipient) {
            return Ok(held.clone());
        }
        let key = self.keys.limited_recipient(campaign_number, recipient);
        let held = match self.storage.db().get_pinned_cf(self.storage.state(), key)? {
            Some(bytes) => sequences("recipient index", &bytes)?,
            None => Vec::new(),
        };
        fresh.recipients.insert(recipient.to_owned(), held.clone());
        Ok(held)
    }

    fn insert_coupon(
        &mut self,
        campaign: &CampaignSpec,
        sequence: u64,
        coupon: &Coupon,
    ) -> Result<(), StorageError> {
        let number = campaign.number;
        if campaign.per_recipient_limit > 0 {
            let mut held = self.sequences_of_recipient(number, &coupon.recipient)?;
            held.push(sequence);
            let value: Vec<u8> = held.iter().flat_map(|held| held.to_be_bytes()).collect();
            self.put(&self.keys.limited_recipient(number, &coupon.recipient), &value);
            let fresh = self.fresh.entry(number).or_default();
            fresh.recipients.insert(coupon.recipient.clone(), held);
        } else if !coupon.recipient.is_empty() {
            self.put(&self.keys.unlimited_recipient(number, &coupon.recipient, sequence), &[]);
        }
        self.put(&self.keys.request(number, &coupon.request_id), &sequence.to_be_bytes());
        let fresh = self.fresh.entry(number).or_default();
        if fresh.coupons.is_empty() {
            fresh.first = sequence;
        }
        fresh.coupons.push(records::coupon_to_pb(coupon.clone()));
        fresh.requests.insert(coupon.request_id, sequence);
        Ok(())
    }

    fn put_block(
        &mut self,
        block: u64,
        campaign_number: u32,
        first_sequence: u64,
    ) -> Result<(), StorageError> {
        let record = pb::BlockRecord { campaign_number, first_sequence };
        self.put(&self.keys.block(block), &record.encode_to_vec());
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
