//! The batch as a ledger reads it: its own writes, over what is stored.

use coupon_cluster::{CampaignName, RequestId};
use coupon_ledger::{
    Campaign, Coupon, CouponHistory, EndsFound, Hold, ImportedCode, LogTime, ShardState,
    StateReader,
};
use coupon_proto::internal as pb;
use rocksdb::{Direction, IteratorMode, ReadOptions};

use super::{CachedCampaign, LedgerBatch, block_from, decode, history_from, name_of_number};
use crate::codec::row;
use crate::storage::StorageError;
use crate::storage::index::Coupons;
use crate::storage::rows::{Key, Rows};
use crate::storage::{code_rows, hold_rows};

impl<'a> Rows for LedgerBatch<'a> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        match self.written.get(key) {
            Some(written) => Ok(written),
            None => Ok(self.storage.db().get_cf(self.storage.state(), key)?),
        }
    }

    fn keys(
        &self,
        first: &[u8],
        end: &[u8],
    ) -> impl Iterator<Item = Result<Key, StorageError>> + use<'_, 'a> {
        let mut options = ReadOptions::default();
        options.set_iterate_upper_bound(end);
        let mode = IteratorMode::From(first, Direction::Forward);
        let stored = self.storage.db().iterator_cf_opt(self.storage.state(), options, mode);
        let stored = stored.map(|row| row.map(|(key, _)| key).map_err(StorageError::from));
        self.written.with_stored(stored, first, end)
    }
}

impl StateReader for LedgerBatch<'_> {
    type Error = StorageError;

    fn shard_state(&mut self) -> Result<ShardState, StorageError> {
        if let Some(shard) = &self.shard {
            return Ok(shard.clone());
        }
        match self.storage.db().get_pinned_cf(self.storage.state(), self.keys.shard())? {
            Some(bytes) => row::shard_from_pb(decode("shard record", &bytes)?)
                .map_err(|error| StorageError::corrupt("shard record", error)),
            None => Ok(ShardState::default()),
        }
    }

    fn campaign(&mut self, id: &CampaignName) -> Result<Option<Campaign>, StorageError> {
        if let Some(cached) = self.campaigns.0.get_mut(id) {
            cached.is_touched = true;
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
        let campaign = row::campaign_from_pb(spec, decode("campaign counters", &counters)?)
            .map_err(|error| StorageError::corrupt("campaign", error))?;
        let cached = CachedCampaign {
            campaign: campaign.clone(),
            is_touched: true,
            counters_changed: false,
        };
        self.campaigns.0.insert(id.clone(), cached);
        Ok(Some(campaign))
    }

    fn campaign_of_number(&mut self, number: u32) -> Result<Option<Campaign>, StorageError> {
        let key = self.keys.campaign_number(number);
        let name = match self.storage.db().get_pinned_cf(self.storage.state(), key)? {
            Some(bytes) => Some(name_of_number(&bytes)?),
            // It may have been created in this batch.
            None => {
                let mut cached = self.campaigns.0.values().map(|cached| &cached.campaign.spec);
                cached.find(|spec| spec.number == number).map(|spec| spec.name.clone())
            }
        };
        name.map_or(Ok(None), |name| self.campaign(&name))
    }

    fn coupon(&mut self, campaign_number: u32, sequence: u64) -> Result<Coupon, StorageError> {
        let record = Coupons::coupon(self, campaign_number, sequence)?
            .ok_or_else(|| StorageError::corrupt("coupon", "an index leads to none"))?;
        row::coupon_from_pb(record).map_err(|error| StorageError::corrupt("coupon", error))
    }

    fn coupon_history(
        &mut self,
        campaign_number: u32,
        sequence: u64,
    ) -> Result<Option<CouponHistory>, StorageError> {
        if let Some(history) = self.histories.get(&(campaign_number, sequence)) {
            return Ok(Some(history.clone()));
        }
        let key = self.keys.coupon_history(campaign_number, sequence);
        let found = self.storage.db().get_pinned_cf(self.storage.state(), key)?;
        found.map(|bytes| history_from(&bytes)).transpose()
    }

    fn block(&mut self, block: u64) -> Result<Option<(u32, u64)>, StorageError> {
        if let Some(taken) = self.blocks.get(&block) {
            return Ok(Some(*taken));
        }
        let found =
            self.storage.db().get_pinned_cf(self.storage.state(), self.keys.block(block))?;
        found.map(|bytes| block_from(&bytes)).transpose()
    }

    fn sequence_of_request(
        &mut self,
        campaign_number: u32,
        request_id: RequestId,
    ) -> Result<Option<u64>, StorageError> {
        self.index.sequence_of_request(&self.layers, self, campaign_number, &request_id)
    }

    fn sequences_at_limit(
        &mut self,
        campaign_number: u32,
        recipient: &str,
        limit: usize,
        skipped_max: usize,
    ) -> Result<Option<Vec<u64>>, StorageError> {
        let (layers, number) = (&self.layers, campaign_number);
        self.index.held_at_limit(layers, self, number, recipient, limit, skipped_max)
    }

    fn hold(
        &mut self,
        campaign_number: u32,
        hold_id: RequestId,
    ) -> Result<Option<Hold>, StorageError> {
        hold_rows::hold(self, self.keys, campaign_number, &hold_id)
    }

    fn hold_ends(
        &mut self,
        campaign_number: u32,
        from: LogTime,
        until: LogTime,
        max: usize,
    ) -> Result<EndsFound, StorageError> {
        hold_rows::hold_ends(self, self.keys, campaign_number, from, until, max)
    }

    fn open_holds_of(
        &mut self,
        campaign_number: u32,
        recipient: &str,
        now: LogTime,
        max: usize,
    ) -> Result<Vec<RequestId>, StorageError> {
        hold_rows::open_holds_of(self, self.keys, campaign_number, recipient, now, max)
    }

    fn imported_code(
        &mut self,
        campaign_number: u32,
        code: &str,
    ) -> Result<Option<ImportedCode>, StorageError> {
        code_rows::imported_code(self, self.keys, campaign_number, code)
    }
}
