//! Opening an index: what it lacks is made from the coupons.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use coupon_cluster::RequestId;
use coupon_proto::internal as pb;
use foldhash::fast::RandomState;
use parking_lot::RwLock;
use rocksdb::{Direction, IteratorMode, ReadOptions, WriteBatch};

use super::super::coupon_rows::Issued;
use super::super::keys::{PREFIX_LEN, StateKeys, after_prefix};
use super::super::ledger::decode;
use super::super::{Storage, StorageError, coupon_rows};
use super::{Filter, Index, Layers, Tasks, spawn};

/// Keys that the filter takes in one go.
const LOAD_KEYS: usize = 4_096;

/// A campaign whose index differs from its coupons.
struct Gap {
    /// The last sequence number indexed.
    indexed: u64,
    /// The last sequence number issued.
    issued: u64,
}

impl Index {
    /// Opens the index of a state.
    ///
    /// # Errors
    ///
    /// When the disk fails, or the state cannot be read.
    pub(in super::super) fn open(
        storage: &Storage,
        keys: StateKeys,
    ) -> Result<Arc<Self>, StorageError> {
        let index = Arc::new(Self {
            keys,
            layers: RwLock::new(Layers::default()),
            filter: Filter::default(),
            hasher: RandomState::default(),
            tasks: Tasks::default().into(),
            is_closing: false.into(),
        });
        if rows(storage, storage.index(), keys.prefix()).next().transpose()?.is_none() {
            index.filter.complete();
        } else {
            index.load_filter(storage);
        }
        let gaps = index.gaps(storage)?;
        index.draw_back(storage, &gaps)?;
        index.fill(storage, gaps)?;
        Ok(index)
    }

    /// The campaigns that are indexed further than their coupons go, or less far, by number.
    fn gaps(&self, storage: &Storage) -> Result<BTreeMap<u32, Gap>, StorageError> {
        let mut gaps = BTreeMap::new();
        for row in rows(storage, storage.state(), &self.keys.all_counters()) {
            let (key, value) = row?;
            let counters: pb::CampaignCounters = decode("campaign counters", &value)?;
            let number = trailing_u32(&key)?;
            gaps.insert(number, Gap { indexed: 0, issued: counters.issued });
        }
        for row in rows(storage, storage.index(), &self.keys.all_indexed_through()) {
            let (key, value) = row?;
            let indexed = value.as_ref().try_into().map(u64::from_be_bytes);
            let indexed =
                indexed.map_err(|_| StorageError::corrupt("index record", "bad length"))?;
            gaps.entry(trailing_u32(&key)?).or_insert(Gap { indexed: 0, issued: 0 }).indexed =
                indexed;
        }
        gaps.retain(|_, gap| gap.indexed != gap.issued);
        Ok(gaps)
    }

    /// Notes, durably, that what the index has beyond the coupons does not count: the state may get other coupons
    /// there, which must not be taken for indexed.
    fn draw_back(&self, storage: &Storage, gaps: &BTreeMap<u32, Gap>) -> Result<(), StorageError> {
        let ahead = gaps.iter().filter(|(_, gap)| gap.indexed > gap.issued);
        let mut batch = WriteBatch::default();
        for (number, gap) in ahead {
            let key = self.keys.indexed_through(*number);
            batch.put_cf(storage.index(), key, gap.issued.to_be_bytes());
        }
        if batch.is_empty() { Ok(()) } else { storage.write_synced(batch) }
    }

    /// Adds the coupons that are not indexed.
    fn fill(
        self: &Arc<Self>,
        storage: &Storage,
        mut gaps: BTreeMap<u32, Gap>,
    ) -> Result<(), StorageError> {
        gaps.retain(|_, gap| gap.indexed < gap.issued);
        if gaps.is_empty() {
            return Ok(());
        }
        for row in rows(storage, storage.state(), &self.keys.campaigns()) {
            let campaign: pb::CampaignRecord = decode("campaign", &row?.1)?;
            if let Some(gap) = gaps.remove(&campaign.number) {
                self.fill_gap(storage, campaign.number, campaign.per_recipient_limit > 0, &gap)?;
            }
        }
        Ok(())
    }

    fn fill_gap(
        self: &Arc<Self>,
        storage: &Storage,
        number: u32,
        is_limited: bool,
        gap: &Gap,
    ) -> Result<(), StorageError> {
        let first = self.keys.coupon(number, coupon_rows::earliest_first(gap.indexed + 1));
        let end = after_prefix(&self.keys.coupons(number));
        let mut options = ReadOptions::default();
        options.fill_cache(false);
        end.into_iter().for_each(|end| options.set_iterate_upper_bound(end));
        let issued = Issued { storage, keys: self.keys };
        let mode = IteratorMode::From(&first, Direction::Forward);
        for row in storage.db().iterator_cf_opt(storage.state(), options, mode) {
            let (key, value) = row?;
            let (first, coupons) = coupon_rows::run(&key, &value)?;
            let layers = self.layers();
            for (sequence, coupon) in (first..).zip(coupons) {
                if sequence <= gap.indexed || sequence > gap.issued {
                    continue;
                }
                let request = RequestId::from_bytes(&coupon.request_id)
                    .map_err(|error| StorageError::corrupt("coupon", error))?;
                let held = is_limited.then(|| {
                    let held = self.held_under_limit(&layers, &issued, number, &coupon.recipient);
                    held.map(|held| held.into_iter().filter(|held| *held < sequence).collect())
                });
                let held = held.transpose()?;
                self.insert(&layers, number, sequence, request, &coupon.recipient, held);
            }
            self.spill(storage);
        }
        Ok(())
    }

    /// Reads the keys on disk into the filter, on a thread of its own.
    fn load_filter(self: &Arc<Self>, storage: &Storage) {
        let (index, database) = (Arc::downgrade(self), storage.database());
        let keys = self.keys;
        let load = spawn("index filter", move || {
            let mut first = keys.prefix().to_vec();
            while let Some(index) = index.upgrade()
                && !index.is_closing.load(Ordering::Relaxed)
            {
                let mut options = ReadOptions::default();
                options.set_iterate_upper_bound(keys.end().to_vec());
                options.fill_cache(false);
                let mode = IteratorMode::From(&first, Direction::Forward);
                let rows = database.db().iterator_cf_opt(database.index(), options, mode);
                let mut next = None;
                let mut hashes = Vec::with_capacity(LOAD_KEYS);
                for (place, row) in rows.enumerate() {
                    let (key, _) = row?;
                    if place == LOAD_KEYS {
                        next = Some(key);
                        break;
                    }
                    if StateKeys::is_filtered(&key) {
                        hashes.push(index.hash(&key[PREFIX_LEN + 1..]));
                    }
                }
                index.filter.insert_all(hashes.into_iter());
                match next {
                    Some(next) => first = next.into_vec(),
                    None => {
                        index.filter.complete();
                        break;
                    }
                }
            }
            Ok(())
        });
        self.tasks.lock().load = Some(load);
    }
}

/// The rows of a family whose keys begin with `prefix`.
fn rows<'a>(
    storage: &'a Storage,
    family: &'a rocksdb::ColumnFamily,
    prefix: &[u8],
) -> rocksdb::DBIterator<'a> {
    let mut options = ReadOptions::default();
    after_prefix(prefix).into_iter().for_each(|end| options.set_iterate_upper_bound(end));
    storage.db().iterator_cf_opt(family, options, IteratorMode::From(prefix, Direction::Forward))
}

fn trailing_u32(key: &[u8]) -> Result<u32, StorageError> {
    let number = key.last_chunk::<4>().map(|number| u32::from_be_bytes(*number));
    number.ok_or_else(|| StorageError::corrupt("campaign number", "a key is too short"))
}
