//! Opening an index: what it lacks is made from the coupons.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use coupon_cluster::RequestId;
use coupon_proto::internal as pb;
use parking_lot::{Condvar, Mutex};
use rocksdb::{Direction, IteratorMode, ReadOptions};

use super::super::coupon_rows::{Found, Issued};
use super::super::keys::{StateKeys, after_prefix};
use super::super::ledger::decode;
use super::super::{Storage, StorageError, coupon_rows};
use super::claim::{Claim, KeyHasher};
use super::table::Table;
use super::tables::TableDir;
use super::{Contents, Filter, Index, Layers, MemtableShare, Tasks, dir_name, spawn};

/// Maximum number of campaigns whose last coupon is looked for when an index is opened: enough to notice one of
/// another history.
const CHECKED_MAX: usize = 64;

/// Campaign numbers with a last sequence number.
type LastSequences = BTreeMap<u32, u64>;

/// What was issued.
#[derive(Default)]
struct IssuedCoupons {
    /// The last sequence number of each campaign.
    last: LastSequences,
    /// The campaigns whose coupons are removed.
    freed: BTreeSet<u32>,
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
        let path = storage.index_dir().join(dir_name(keys));
        let issued = issued(storage, &keys)?;
        let (dir, tables) = TableDir::open(path)?;
        let mut index = Self::over(dir, tables, storage, issued.freed.clone());
        let mut indexed = index.through();
        if !index.matches(storage, keys, &indexed, &issued)? {
            let path = index.dir.path().to_owned();
            tracing::warn!(index = %path.display(), "the index does not match the coupons: rebuilding it");
            let (dir, tables) = TableDir::renew(path)?;
            index = Self::over(dir, tables, storage, issued.freed.clone());
            indexed.clear();
        }
        let index = Arc::new(index);
        index.load_filter();
        index.fill(storage, keys, &indexed, &issued)?;
        Ok(index)
    }

    fn over(
        dir: TableDir,
        tables: Vec<Arc<Table>>,
        storage: &Storage,
        freed: BTreeSet<u32>,
    ) -> Self {
        let claims = tables.iter().map(|table| table.len()).sum();
        let layers = Layers { tables: tables.into(), ..Layers::default() };
        let share = MemtableShare::new(storage.memtable_limit().clone());
        let contents = Contents { layers, is_writing: false, share, compacted_after: None };
        Self {
            hasher: KeyHasher::new(dir.secret()),
            dir,
            contents: Mutex::new(contents),
            has_room: Condvar::new(),
            filter: Filter::new(claims),
            freed: Mutex::new(freed),
            tasks: Mutex::new(Tasks::default()),
            is_closing: storage.is_closing().into(),
        }
    }

    /// How far the coupons of each campaign are in tables.
    fn through(&self) -> LastSequences {
        let mut through = LastSequences::new();
        self.layers().tables.iter().for_each(|table| through.extend(table.through()));
        through
    }

    /// Whether the tables are those of the state. They are never ahead of it, unless the directory was put together
    /// from parts.
    fn matches(
        &self,
        storage: &Storage,
        keys: StateKeys,
        indexed: &LastSequences,
        issued: &IssuedCoupons,
    ) -> Result<bool, StorageError> {
        let is_ahead = |(number, indexed): (&u32, &u64)| {
            issued.last.get(number).is_none_or(|issued| issued < indexed)
        };
        if indexed.iter().any(is_ahead) {
            return Ok(false);
        }
        let (layers, coupons) = (self.layers(), Issued { storage, keys });
        let newest = layers.tables.last().into_iter().flat_map(|table| table.through());
        let newest = newest.filter(|(number, _)| !issued.freed.contains(number));
        for (number, sequence) in newest.take(CHECKED_MAX) {
            let coupon = super::Coupons::coupon(&coupons, number, sequence)?;
            let request = coupon.map(|coupon| request_id(&coupon)).transpose()?;
            let found = request
                .map(|request| self.sequence_of_request(&layers, &coupons, number, &request));
            if found.transpose()?.flatten() != Some(sequence) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Adds the coupons that are not indexed.
    fn fill(
        self: &Arc<Self>,
        storage: &Storage,
        keys: StateKeys,
        indexed: &LastSequences,
        issued: &IssuedCoupons,
    ) -> Result<(), StorageError> {
        for (&number, &last) in &issued.last {
            let indexed = indexed.get(&number).copied().unwrap_or(0);
            if indexed < last && !issued.freed.contains(&number) {
                self.fill_gap(storage, keys, number, indexed, last)?;
            }
        }
        Ok(())
    }

    /// Adds the coupons of a campaign that come after `indexed`.
    fn fill_gap(
        self: &Arc<Self>,
        storage: &Storage,
        keys: StateKeys,
        number: u32,
        indexed: u64,
        issued: u64,
    ) -> Result<(), StorageError> {
        let first = keys.coupon(number, coupon_rows::earliest_first(indexed + 1));
        let mut options = ReadOptions::default();
        options.fill_cache(false);
        let end = after_prefix(&keys.coupons(number));
        end.into_iter().for_each(|end| options.set_iterate_upper_bound(end));
        let mode = IteratorMode::From(&first, Direction::Forward);
        let mut last = indexed;
        for row in storage.db().iterator_cf_opt(storage.coupons(), options, mode) {
            let (key, value) = row?;
            let found = coupon_rows::run(&key, &value)?;
            let layers = self.layers();
            for Found { sequence, coupon, .. } in
                found.into_iter().filter(|found| found.sequence > indexed)
            {
                if sequence != last + 1 {
                    return Err(missing(number, last + 1));
                }
                let request = request_id(&coupon)?;
                self.insert(&layers, number, sequence, &request, &coupon.recipient);
                last = sequence;
            }
            self.start_flush_if_full(storage);
        }
        if last == issued { Ok(()) } else { Err(missing(number, last + 1)) }
    }

    /// Reads the hashes on disk into the filter, on a thread of its own.
    fn load_filter(self: &Arc<Self>) {
        let tables = self.layers().tables;
        if tables.is_empty() {
            self.filter.complete();
            return;
        }
        let index = self.clone();
        let load = spawn("index filter", move || {
            for claim in tables.iter().flat_map(|table| table.claims_from(Claim::FIRST)) {
                index.filter.insert(claim?.key.filter_hash());
                if index.is_closing() {
                    return Ok(());
                }
            }
            index.filter.complete();
            Ok(())
        });
        self.tasks.lock().load = Some(load);
    }
}

fn missing(number: u32, sequence: u64) -> StorageError {
    StorageError::corrupt("coupons", format!("coupon {sequence} of campaign {number} is missing"))
}

/// What was issued, by the counters of all campaigns.
fn issued(storage: &Storage, keys: &StateKeys) -> Result<IssuedCoupons, StorageError> {
    let prefix = keys.all_counters();
    let mut options = ReadOptions::default();
    after_prefix(&prefix).into_iter().for_each(|end| options.set_iterate_upper_bound(end));
    let mode = IteratorMode::From(&prefix, Direction::Forward);
    let rows = storage.db().iterator_cf_opt(storage.state(), options, mode);
    let mut issued = IssuedCoupons::default();
    for row in rows {
        let (key, value) = row?;
        let counters: pb::CampaignCounters = decode("campaign counters", &value)?;
        let number = trailing_u32(&key)?;
        issued.last.insert(number, counters.issued);
        if counters.freed {
            issued.freed.insert(number);
        }
    }
    Ok(issued)
}

fn request_id(coupon: &pb::CouponRecord) -> Result<RequestId, StorageError> {
    RequestId::from_bytes(&coupon.request_id)
        .map_err(|error| StorageError::corrupt("coupon", error))
}

fn trailing_u32(key: &[u8]) -> Result<u32, StorageError> {
    let number = key.last_chunk::<4>().map(|number| u32::from_be_bytes(*number));
    number.ok_or_else(|| StorageError::corrupt("campaign number", "a key is too short"))
}
