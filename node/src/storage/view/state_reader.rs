//! The view as a ledger reads it.

use coupon_cluster::{CampaignName, RequestId};
use coupon_ledger::{
    Campaign, Coupon, CouponHistory, EndsFound, Hold, ImportedCode, LogTime, ShardState,
    StateReader,
};

use super::LedgerView;
use crate::codec::row;
use crate::storage::index::Coupons;
use crate::storage::records::{block_from, history_from};
use crate::storage::{StorageError, code_rows, hold_rows};

impl StateReader for LedgerView<'_> {
    type Error = StorageError;

    fn shard_state(&mut self) -> Result<ShardState, StorageError> {
        LedgerView::shard_state(self)
    }

    fn campaign(&mut self, id: &CampaignName) -> Result<Option<Campaign>, StorageError> {
        LedgerView::campaign(self, id)
    }

    fn campaign_of_number(&mut self, number: u32) -> Result<Option<Campaign>, StorageError> {
        LedgerView::campaign_of_number(self, number)
    }

    fn coupon(&mut self, campaign_number: u32, sequence: u64) -> Result<Coupon, StorageError> {
        let record = Coupons::coupon(self, campaign_number, sequence)?;
        let record =
            record.ok_or_else(|| StorageError::corrupt("coupon", "an index leads to none"))?;
        row::coupon_from_pb(record).map_err(|error| StorageError::corrupt("coupon", error))
    }

    fn coupon_history(
        &mut self,
        campaign_number: u32,
        sequence: u64,
    ) -> Result<Option<CouponHistory>, StorageError> {
        let found = self.get(&self.keys.coupon_history(campaign_number, sequence))?;
        found.map(|bytes| history_from(&bytes)).transpose()
    }

    fn block(&mut self, block: u64) -> Result<Option<(u32, u64)>, StorageError> {
        let found = self.get(&self.keys.block(block))?;
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
