//! Storage, as narrow as the ledger needs it.

use coupon_cluster::{CampaignName, RequestId};

use crate::{
    Campaign, CampaignCounters, CampaignSpec, CodeImport, Command, Coupon, CouponHistory,
    EndsFound, Event, Hold, HoldEnd, ImportedCode, LogTime, ShardState,
};

/// What a ledger reads of its state.
///
/// Reads take `&mut self` so that an implementation may cache.
///
/// An error is a fault of the storage. It is not part of the replicated state and must never become
/// an answer: whoever gets one stops the replica. That includes a record which must be there and is
/// not.
pub trait StateReader {
    /// A fault of the storage.
    type Error;

    /// The state of the shard; the default of a store that was never written to.
    fn shard_state(&mut self) -> Result<ShardState, Self::Error>;

    /// The campaign with this id, or what is left of a deleted one, with its counters as they were last put. A store
    /// that only answers questions may leave deleted ones out. The ledger remembers the
    /// answer until the end of the entry, unless it is `None`.
    fn campaign(&mut self, id: &CampaignName) -> Result<Option<Campaign>, Self::Error>;

    /// The campaign with this number, with its counters as they were last put.
    fn campaign_of_number(&mut self, number: u32) -> Result<Option<Campaign>, Self::Error>;

    /// A coupon, by the number of its campaign and its sequence number. It exists: the ledger asks
    /// only where one of the two indexes below led it, so a missing one is a fault.
    fn coupon(&mut self, campaign_number: u32, sequence: u64) -> Result<Coupon, Self::Error>;

    /// What was done with a coupon since it was issued; `None`: nothing.
    fn coupon_history(
        &mut self,
        campaign_number: u32,
        sequence: u64,
    ) -> Result<Option<CouponHistory>, Self::Error>;

    /// The number of the campaign that uses a block of code counters, and the sequence number of the coupon
    /// that has the block's first counter; `None`: no campaign uses it.
    fn block(&mut self, block: u64) -> Result<Option<(u32, u64)>, Self::Error>;

    /// The sequence number of the coupon that a request issued in a campaign.
    fn sequence_of_request(
        &mut self,
        campaign_number: u32,
        request_id: RequestId,
    ) -> Result<Option<u64>, Self::Error>;

    /// The sequence numbers, ascending, of the latest `limit` coupons of a campaign that a recipient was issued and
    /// that did not return their quota; `None` if they are fewer. Called only for campaigns with a limit per
    /// recipient.
    ///
    /// At most `skipped_max` coupons that returned their quota are skipped. Where there is another one, what was found
    /// until then is all, even if it is less than the limit. In a campaign where no coupon returned its quota
    /// `skipped_max` is 0, and histories are not looked at.
    fn sequences_at_limit(
        &mut self,
        campaign_number: u32,
        recipient: &str,
        limit: usize,
        skipped_max: usize,
    ) -> Result<Option<Vec<u64>>, Self::Error>;

    /// A hold of a campaign; `None`: there is none with this id, or it was forgotten.
    fn hold(
        &mut self,
        campaign_number: u32,
        hold_id: RequestId,
    ) -> Result<Option<Hold>, Self::Error>;

    /// Of the holds of a campaign that were neither confirmed nor released: how many end at `from` or later and no later
    /// than `until`, and when the next one does. Looks at some of them, as [`EndsFound::of`] does.
    fn hold_ends(
        &mut self,
        campaign_number: u32,
        from: LogTime,
        until: LogTime,
        max: usize,
    ) -> Result<EndsFound, Self::Error>;

    /// The ids of the holds of a campaign for a recipient, not empty, that were neither confirmed nor released and end
    /// after `now`, by the time of their end, at most `max` of them.
    fn open_holds_of(
        &mut self,
        campaign_number: u32,
        recipient: &str,
        now: LogTime,
        max: usize,
    ) -> Result<Vec<RequestId>, Self::Error>;

    /// What is known of a code that was imported into a campaign; `None`: it was not.
    fn imported_code(
        &mut self,
        campaign_number: u32,
        code: &str,
    ) -> Result<Option<ImportedCode>, Self::Error>;
}

/// Where a ledger keeps its state.
///
/// What was written must be seen by every later read, also within the entry that wrote it. All
/// writes of one [`Ledger::apply`](crate::Ledger::apply) belong together: an implementation makes
/// them durable as a whole or not at all, along with the index of the entry.
pub trait Store: StateReader {
    /// Tells which commands the ledger is about to apply. A store may prepare for what they will look up;
    /// it must not answer or change anything yet.
    fn prefetch(&mut self, _commands: &[Command]) {}

    /// Replaces the state of the shard. Called once an entry, as the last write.
    fn put_shard_state(&mut self, state: &ShardState) -> Result<(), Self::Error>;

    /// Adds a campaign, with its counters and its entry in the index by number, or replaces the one with its
    /// id and number.
    fn put_campaign(&mut self, campaign: &Campaign) -> Result<(), Self::Error>;

    /// Replaces the counters of a campaign. Called once an entry for each campaign that changed, after
    /// its coupons (and before that only where the entry adopts a ring halfway, or forgets holds of the campaign).
    fn put_counters(
        &mut self,
        campaign: &CampaignSpec,
        counters: CampaignCounters,
    ) -> Result<(), Self::Error>;

    /// Adds a coupon under a new sequence number, and its entries in the indexes by request and by
    /// recipient.
    ///
    /// How the index by recipient is kept is up to the implementation. `campaign` tells whether there
    /// is a limit; where there is none, one recipient may hold all coupons of the campaign, and the
    /// ledger never asks for them.
    fn insert_coupon(
        &mut self,
        campaign: &CampaignSpec,
        sequence: u64,
        coupon: &Coupon,
    ) -> Result<(), Self::Error>;

    /// Replaces what was done with a coupon since it was issued.
    fn put_coupon_history(
        &mut self,
        campaign: &CampaignSpec,
        sequence: u64,
        history: &CouponHistory,
    ) -> Result<(), Self::Error>;

    /// Adds a hold, or replaces it, with its entries in the indexes by end and by recipient. `before` is the end that it
    /// had until now; `None`: it is new.
    fn put_hold(
        &mut self,
        campaign_number: u32,
        hold_id: RequestId,
        hold: &Hold,
        before: Option<LogTime>,
    ) -> Result<(), Self::Error>;

    /// The hold of the shard that ends first, at `from` or later, of those that became no coupon. Its campaign may have
    /// been deleted.
    fn first_hold_end(&mut self, from: LogTime) -> Result<Option<HoldEnd>, Self::Error>;

    /// Removes the hold with this end, and its entries in the indexes.
    fn forget_hold(&mut self, end: &HoldEnd) -> Result<(), Self::Error>;

    /// Adds an event under the revision that it made. The ledger does not read it.
    fn put_event(
        &mut self,
        campaign: &CampaignSpec,
        revision: u64,
        event: &Event,
    ) -> Result<(), Self::Error>;

    /// How far an import of a campaign has come; `None`: it has not begun.
    fn code_import(
        &mut self,
        campaign_number: u32,
        import_id: RequestId,
    ) -> Result<Option<CodeImport>, Self::Error>;

    /// Adds or replaces how far an import has come.
    fn put_code_import(
        &mut self,
        campaign_number: u32,
        import_id: RequestId,
        import: &CodeImport,
    ) -> Result<(), Self::Error>;

    /// Adds a code that was imported, to be found by itself and to be taken by its place.
    fn put_imported_code(
        &mut self,
        campaign_number: u32,
        code: &str,
        imported: &ImportedCode,
    ) -> Result<(), Self::Error>;

    /// Takes the code at a place among the imported codes of a campaign, for its coupon. It is there: the ledger takes
    /// each once, and no more than were imported, so a missing one is a fault. Afterwards it can still be found by
    /// itself.
    fn take_code(&mut self, campaign_number: u32, sequence: u64) -> Result<String, Self::Error>;

    /// Removes all coupons, holds, events and imported codes of a campaign that is deleted, and their entries in the
    /// indexes, but for those that [`first_hold_end`](Store::first_hold_end) finds. The ledger asks for none of them again.
    fn free_coupons(&mut self, campaign: &CampaignSpec) -> Result<(), Self::Error>;

    /// Records which campaign uses a block of code counters, and the sequence number of the coupon
    /// that has the block's first counter. It leads from a code back to its coupon, since the counters
    /// and sequence numbers of one block run side by side.
    fn put_block(
        &mut self,
        block: u64,
        campaign_number: u32,
        first_sequence: u64,
    ) -> Result<(), Self::Error>;
}
