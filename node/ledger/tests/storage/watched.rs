//! A store that is watched while a ledger uses it.

use coupon_cluster::{CampaignName, RequestId};
use coupon_ledger::{
    Campaign, CampaignCounters, CampaignSpec, CodeImport, Coupon, CouponHistory, EndsFound, Event,
    Hold, HoldEnd, ImportedCode, LogTime, MemoryStore, ShardState, StateReader, Store,
};

/// A store that remembers what it was asked for, and fails from one call on.
#[derive(Default)]
pub(crate) struct WatchedStore {
    pub(crate) inner: MemoryStore,
    pub(crate) calls: Vec<&'static str>,
    /// How many ends of holds it was asked to count.
    pub(crate) ends_counted: u64,
    /// How many calls go well; `None`: all.
    pub(crate) healthy_calls: Option<usize>,
}

/// The fault of a [`WatchedStore`].
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fault;

impl WatchedStore {
    fn call(&mut self, name: &'static str) -> Result<&mut MemoryStore, Fault> {
        self.calls.push(name);
        if self.healthy_calls.is_some_and(|healthy| self.calls.len() > healthy) {
            return Err(Fault);
        }
        Ok(&mut self.inner)
    }
}

/// What a store that cannot fail gave.
fn sound<T>(result: Result<T, std::convert::Infallible>) -> Result<T, Fault> {
    result.map_err(|never| match never {})
}

impl StateReader for WatchedStore {
    type Error = Fault;

    fn shard_state(&mut self) -> Result<ShardState, Fault> {
        sound(self.call("shard_state")?.shard_state())
    }

    fn campaign(&mut self, id: &CampaignName) -> Result<Option<Campaign>, Fault> {
        sound(self.call("campaign")?.campaign(id))
    }

    fn campaign_of_number(&mut self, number: u32) -> Result<Option<Campaign>, Fault> {
        sound(self.call("campaign_of_number")?.campaign_of_number(number))
    }

    fn coupon(&mut self, campaign_number: u32, sequence: u64) -> Result<Coupon, Fault> {
        sound(self.call("coupon")?.coupon(campaign_number, sequence))
    }

    fn coupon_history(
        &mut self,
        campaign_number: u32,
        sequence: u64,
    ) -> Result<Option<CouponHistory>, Fault> {
        sound(self.call("coupon_history")?.coupon_history(campaign_number, sequence))
    }

    fn block(&mut self, block: u64) -> Result<Option<(u32, u64)>, Fault> {
        sound(self.call("block")?.block(block))
    }

    fn sequence_of_request(
        &mut self,
        campaign_number: u32,
        request_id: RequestId,
    ) -> Result<Option<u64>, Fault> {
        sound(self.call("sequence_of_request")?.sequence_of_request(campaign_number, request_id))
    }

    fn sequences_at_limit(
        &mut self,
        campaign_number: u32,
        recipient: &str,
        limit: usize,
        skipped_max: usize,
    ) -> Result<Option<Vec<u64>>, Fault> {
        let store = self.call("sequences_at_limit")?;
        sound(store.sequences_at_limit(campaign_number, recipient, limit, skipped_max))
    }

    fn hold(&mut self, campaign_number: u32, hold_id: RequestId) -> Result<Option<Hold>, Fault> {
        sound(self.call("hold")?.hold(campaign_number, hold_id))
    }

    fn hold_ends(
        &mut self,
        campaign_number: u32,
        from: LogTime,
        until: LogTime,
        max: usize,
    ) -> Result<EndsFound, Fault> {
        let found = sound(self.call("hold_ends")?.hold_ends(campaign_number, from, until, max))?;
        self.ends_counted += found.ended;
        Ok(found)
    }

    fn open_holds_of(
        &mut self,
        campaign_number: u32,
        recipient: &str,
        now: LogTime,
        max: usize,
    ) -> Result<Vec<RequestId>, Fault> {
        let store = self.call("open_holds_of")?;
        sound(store.open_holds_of(campaign_number, recipient, now, max))
    }

    fn imported_code(
        &mut self,
        campaign_number: u32,
        code: &str,
    ) -> Result<Option<ImportedCode>, Fault> {
        sound(self.call("imported_code")?.imported_code(campaign_number, code))
    }
}

impl Store for WatchedStore {
    fn put_shard_state(&mut self, state: &ShardState) -> Result<(), Fault> {
        sound(self.call("put_shard_state")?.put_shard_state(state))
    }

    fn put_campaign(&mut self, campaign: &Campaign) -> Result<(), Fault> {
        sound(self.call("put_campaign")?.put_campaign(campaign))
    }

    fn put_counters(
        &mut self,
        campaign: &CampaignSpec,
        counters: CampaignCounters,
    ) -> Result<(), Fault> {
        sound(self.call("put_counters")?.put_counters(campaign, counters))
    }

    fn insert_coupon(
        &mut self,
        campaign: &CampaignSpec,
        sequence: u64,
        coupon: &Coupon,
    ) -> Result<(), Fault> {
        sound(self.call("insert_coupon")?.insert_coupon(campaign, sequence, coupon))
    }

    fn put_coupon_history(
        &mut self,
        campaign: &CampaignSpec,
        sequence: u64,
        history: &CouponHistory,
    ) -> Result<(), Fault> {
        let store = self.call("put_coupon_history")?;
        sound(store.put_coupon_history(campaign, sequence, history))
    }

    fn put_event(
        &mut self,
        campaign: &CampaignSpec,
        revision: u64,
        event: &Event,
    ) -> Result<(), Fault> {
        sound(self.call("put_event")?.put_event(campaign, revision, event))
    }

    fn put_hold(
        &mut self,
        campaign_number: u32,
        hold_id: RequestId,
        hold: &Hold,
        before: Option<LogTime>,
    ) -> Result<(), Fault> {
        sound(self.call("put_hold")?.put_hold(campaign_number, hold_id, hold, before))
    }

    fn first_hold_end(&mut self, from: LogTime) -> Result<Option<HoldEnd>, Fault> {
        sound(self.call("first_hold_end")?.first_hold_end(from))
    }

    fn forget_hold(&mut self, end: &HoldEnd) -> Result<(), Fault> {
        sound(self.call("forget_hold")?.forget_hold(end))
    }

    fn free_coupons(&mut self, campaign: &CampaignSpec) -> Result<(), Fault> {
        sound(self.call("free_coupons")?.free_coupons(campaign))
    }

    fn code_import(
        &mut self,
        campaign_number: u32,
        import_id: RequestId,
    ) -> Result<Option<CodeImport>, Fault> {
        sound(self.call("code_import")?.code_import(campaign_number, import_id))
    }

    fn put_code_import(
        &mut self,
        campaign_number: u32,
        import_id: RequestId,
        import: &CodeImport,
    ) -> Result<(), Fault> {
        sound(self.call("put_code_import")?.put_code_import(campaign_number, import_id, import))
    }

    fn put_imported_code(
        &mut self,
        campaign_number: u32,
        code: &str,
        imported: &ImportedCode,
    ) -> Result<(), Fault> {
        let store = self.call("put_imported_code")?;
        sound(store.put_imported_code(campaign_number, code, imported))
    }

    fn take_code(&mut self, campaign_number: u32, sequence: u64) -> Result<String, Fault> {
        sound(self.call("take_code")?.take_code(campaign_number, sequence))
    }

    fn put_block(
        &mut self,
        block: u64,
        campaign_number: u32,
        first_sequence: u64,
    ) -> Result<(), Fault> {
        sound(self.call("put_block")?.put_block(block, campaign_number, first_sequence))
    }
}
