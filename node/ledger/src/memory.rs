//! A store in memory: the ledger's tables in their plainest form.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;

use coupon_cluster::{CampaignName, RequestId};

use crate::{
    Campaign, CampaignCounters, CampaignSpec, CodeImport, Coupon, CouponHistory, EndsFound, Event,
    Hold, HoldEnd, HoldState, ImportedCode, LogTime, ShardState, StateReader, Store,
};

/// A [`Store`] that keeps everything in ordered maps and loses it when it is dropped.
///
/// It serves tests, and says what a durable store has to hold. Two of them that compare equal hold
/// the same state, down to the last index entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemoryStore {
    shard_state: ShardState,
    campaigns: BTreeMap<CampaignName, Campaign>,
    /// Campaign number to name.
    names: BTreeMap<u32, CampaignName>,
    /// By campaign number.
    coupons: BTreeMap<u32, CouponTables>,
    /// Block to campaign number and first sequence number.
    blocks: BTreeMap<u64, (u32, u64)>,
    /// By campaign number.
    holds: BTreeMap<u32, HoldTables>,
    /// The ends of all holds that became no coupon.
    hold_ends: BTreeSet<HoldEnd>,
    /// By campaign number.
    codes: BTreeMap<u32, CodeTables>,
}

/// The imported codes of one campaign.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct CodeTables {
    imports: BTreeMap<RequestId, CodeImport>,
    by_code: BTreeMap<String, ImportedCode>,
    /// Those that no coupon has, by their places.
    pending: BTreeMap<u64, String>,
}

/// The holds of one campaign, and the ways to find them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct HoldTables {
    by_id: BTreeMap<RequestId, Hold>,
    /// Those that were neither confirmed nor released, by their ends.
    open: BTreeSet<(LogTime, RequestId)>,
    /// The same, by recipient.
    by_recipient: BTreeMap<String, BTreeSet<(LogTime, RequestId)>>,
}

/// The coupons of one campaign, the ways to find them, and what else happened to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct CouponTables {
    by_sequence: BTreeMap<u64, Coupon>,
    by_request: BTreeMap<RequestId, u64>,
    by_recipient: BTreeMap<String, Vec<u64>>,
    histories: BTreeMap<u64, CouponHistory>,
    /// By revision.
    events: BTreeMap<u64, Event>,
}

impl MemoryStore {
    /// All campaigns, by id.
    pub fn campaigns(&self) -> impl Iterator<Item = &Campaign> {
        self.campaigns.values()
    }

    /// The coupons of a campaign with their sequence numbers, in the order of issuance.
    pub fn coupons(&self, campaign_number: u32) -> impl Iterator<Item = (u64, &Coupon)> {
        self.coupons
            .get(&campaign_number)
            .into_iter()
            .flat_map(|tables| &tables.by_sequence)
            .map(|(sequence, coupon)| (*sequence, coupon))
    }

    /// The events of a campaign, by revision.
    pub fn events(&self, campaign_number: u32) -> impl Iterator<Item = (u64, &Event)> {
        let tables = self.coupons.get(&campaign_number).into_iter();
        tables.flat_map(|tables| &tables.events).map(|(revision, event)| (*revision, event))
    }

    /// What was done with the coupons of a campaign, by sequence number.
    pub fn histories(&self, campaign_number: u32) -> impl Iterator<Item = (u64, &CouponHistory)> {
        let tables = self.coupons.get(&campaign_number).into_iter();
        tables.flat_map(|tables| &tables.histories).map(|(sequence, history)| (*sequence, history))
    }
}

impl MemoryStore {
    /// The holds of a campaign, by id.
    pub fn holds(&self, campaign_number: u32) -> impl Iterator<Item = (RequestId, &Hold)> {
        let tables = self.holds.get(&campaign_number).into_iter();
        tables.flat_map(|tables| &tables.by_id).map(|(id, hold)| (*id, hold))
    }

    /// The imported codes of a campaign.
    pub fn imported_codes(
        &self,
        campaign_number: u32,
    ) -> impl Iterator<Item = (&str, &ImportedCode)> {
        let tables = self.codes.get(&campaign_number).into_iter();
        tables.flat_map(|tables| &tables.by_code).map(|(code, imported)| (code.as_str(), imported))
    }

    /// Those of them that no coupon has, by their places.
    pub fn pending_codes(&self, campaign_number: u32) -> impl Iterator<Item = (u64, &str)> {
        let tables = self.codes.get(&campaign_number).into_iter();
        tables.flat_map(|tables| &tables.pending).map(|(sequence, code)| (*sequence, code.as_str()))
    }

    /// How far the imports of a campaign have come.
    pub fn code_imports(&self, campaign_number: u32) -> impl Iterator<Item = &CodeImport> {
        let tables = self.codes.get(&campaign_number).into_iter();
        tables.flat_map(|tables| tables.imports.values())
    }

    /// The ends of all holds of the shard that became no coupon, in order.
    pub fn all_hold_ends(&self) -> impl Iterator<Item = &HoldEnd> {
        self.hold_ends.iter()
    }

    fn remove_end(&mut self, end: &HoldEnd, recipient: &str) {
        self.hold_ends.remove(end);
        let Some(tables) = self.holds.get_mut(&end.campaign_number) else { return };
        tables.open.remove(&(end.at, end.hold_id));
        if let Some(ends) = tables.by_recipient.get_mut(recipient) {
            ends.remove(&(end.at, end.hold_id));
            if ends.is_empty() {
                tables.by_recipient.remove(recipient);
            }
        }
    }
}

impl StateReader for MemoryStore {
    type Error = Infallible;

    fn shard_state(&mut self) -> Result<ShardState, Infallible> {
        Ok(self.shard_state.clone())
    }

    fn campaign(&mut self, id: &CampaignName) -> Result<Option<Campaign>, Infallible> {
        Ok(self.campaigns.get(id).cloned())
    }

    fn campaign_of_number(&mut self, number: u32) -> Result<Option<Campaign>, Infallible> {
        let name = self.names.get(&number);
        Ok(name.and_then(|name| self.campaigns.get(name)).cloned())
    }

    fn coupon(&mut self, campaign_number: u32, sequence: u64) -> Result<Coupon, Infallible> {
        let tables = self.coupons.get(&campaign_number);
        let coupon = tables.and_then(|tables| tables.by_sequence.get(&sequence));
        Ok(coupon.expect("the indexes lead to coupons that were inserted with them").clone())
    }

    fn coupon_history(
        &mut self,
        campaign_number: u32,
        sequence: u64,
    ) -> Result<Option<CouponHistory>, Infallible> {
        let tables = self.coupons.get(&campaign_number);
        Ok(tables.and_then(|tables| tables.histories.get(&sequence)).cloned())
    }

    fn block(&mut self, block: u64) -> Result<Option<(u32, u64)>, Infallible> {
        Ok(self.blocks.get(&block).copied())
    }

    fn sequence_of_request(
        &mut self,
        campaign_number: u32,
        request_id: RequestId,
    ) -> Result<Option<u64>, Infallible> {
        let tables = self.coupons.get(&campaign_number);
        Ok(tables.and_then(|tables| tables.by_request.get(&request_id)).copied())
    }

    fn sequences_at_limit(
        &mut self,
        campaign_number: u32,
        recipient: &str,
        limit: usize,
        skipped_max: usize,
    ) -> Result<Option<Vec<u64>>, Infallible> {
        let Some(tables) = self.coupons.get(&campaign_number) else { return Ok(None) };
        let issued = tables.by_recipient.get(recipient).map_or(&[][..], Vec::as_slice);
        let (mut held, mut skipped) = (Vec::new(), 0);
        for sequence in issued.iter().rev() {
            let history = tables.histories.get(sequence);
            if history.is_some_and(|history| history.state().has_returned_quota()) {
                skipped += 1;
            } else {
                held.push(*sequence);
            }
            if held.len() == limit || skipped > skipped_max {
                held.reverse();
                return Ok(Some(held));
            }
        }
        Ok(None)
    }

    fn hold(
        &mut self,
        campaign_number: u32,
        hold_id: RequestId,
    ) -> Result<Option<Hold>, Infallible> {
        let tables = self.holds.get(&campaign_number);
        Ok(tables.and_then(|tables| tables.by_id.get(&hold_id)).cloned())
    }

    fn hold_ends(
        &mut self,
        campaign_number: u32,
        from: LogTime,
        until: LogTime,
        max: usize,
    ) -> Result<EndsFound, Infallible> {
        let tables = self.holds.get(&campaign_number);
        let ends = tables.into_iter().flat_map(|tables| &tables.open).map(|(at, _)| *at);
        EndsFound::of(ends.filter(|at| from <= *at).map(Ok), until, max)
    }

    fn open_holds_of(
        &mut self,
        campaign_number: u32,
        recipient: &str,
        now: LogTime,
        max: usize,
    ) -> Result<Vec<RequestId>, Infallible> {
        let tables = self.holds.get(&campaign_number);
        let ends = tables.and_then(|tables| tables.by_recipient.get(recipient));
        let open = ends.into_iter().flatten().filter(|(at, _)| now < *at);
        Ok(open.map(|(_, hold_id)| *hold_id).take(max).collect())
    }

    fn imported_code(
        &mut self,
        campaign_number: u32,
        code: &str,
    ) -> Result<Option<ImportedCode>, Infallible> {
        let tables = self.codes.get(&campaign_number);
        Ok(tables.and_then(|tables| tables.by_code.get(code)).copied())
    }
}

impl Store for MemoryStore {
    fn put_shard_state(&mut self, state: &ShardState) -> Result<(), Infallible> {
        self.shard_state.clone_from(state);
        Ok(())
    }

    fn put_campaign(&mut self, campaign: &Campaign) -> Result<(), Infallible> {
        self.names.insert(campaign.spec.number, campaign.spec.name.clone());
        self.campaigns.insert(campaign.spec.name.clone(), campaign.clone());
        Ok(())
    }

    fn put_counters(
        &mut self,
        campaign: &CampaignSpec,
        counters: CampaignCounters,
    ) -> Result<(), Infallible> {
        let campaign = self.campaigns.get_mut(&campaign.name);
        campaign.expect("the ledger puts counters of campaigns that it read").counters = counters;
        Ok(())
    }

    fn insert_coupon(
        &mut self,
        campaign: &CampaignSpec,
        sequence: u64,
        coupon: &Coupon,
    ) -> Result<(), Infallible> {
        let tables = self.coupons.entry(campaign.number).or_default();
        tables.by_sequence.insert(sequence, coupon.clone());
        tables.by_request.insert(coupon.request_id, sequence);
        tables.by_recipient.entry(coupon.recipient.clone()).or_default().push(sequence);
        Ok(())
    }

    fn put_coupon_history(
        &mut self,
        campaign: &CampaignSpec,
        sequence: u64,
        history: &CouponHistory,
    ) -> Result<(), Infallible> {
        let tables = self.coupons.entry(campaign.number).or_default();
        tables.histories.insert(sequence, history.clone());
        Ok(())
    }

    fn put_hold(
        &mut self,
        campaign_number: u32,
        hold_id: RequestId,
        hold: &Hold,
        before: Option<LogTime>,
    ) -> Result<(), Infallible> {
        if let Some(at) = before {
            self.remove_end(&HoldEnd { at, campaign_number, hold_id }, &hold.recipient);
        }
        let tables = self.holds.entry(campaign_number).or_default();
        tables.by_id.insert(hold_id, hold.clone());
        if let Some(at) = hold.end() {
            self.hold_ends.insert(HoldEnd { at, campaign_number, hold_id });
        }
        if hold.state == HoldState::Open {
            let open = (hold.expires_at, hold_id);
            tables.open.insert(open);
            if !hold.recipient.is_empty() {
                tables.by_recipient.entry(hold.recipient.clone()).or_default().insert(open);
            }
        }
        Ok(())
    }

    fn first_hold_end(&mut self, from: LogTime) -> Result<Option<HoldEnd>, Infallible> {
        Ok(self.hold_ends.iter().find(|end| from <= end.at).copied())
    }

    fn forget_hold(&mut self, end: &HoldEnd) -> Result<(), Infallible> {
        let tables = self.holds.get_mut(&end.campaign_number);
        let hold = tables.and_then(|tables| tables.by_id.remove(&end.hold_id));
        let recipient = hold.map(|hold| hold.recipient).unwrap_or_default();
        self.remove_end(end, &recipient);
        Ok(())
    }

    fn put_event(
        &mut self,
        campaign: &CampaignSpec,
        revision: u64,
        event: &Event,
    ) -> Result<(), Infallible> {
        let tables = self.coupons.entry(campaign.number).or_default();
        tables.events.insert(revision, event.clone());
        Ok(())
    }

    fn free_coupons(&mut self, campaign: &CampaignSpec) -> Result<(), Infallible> {
        self.coupons.remove(&campaign.number);
        self.holds.remove(&campaign.number);
        self.codes.remove(&campaign.number);
        Ok(())
    }

    fn code_import(
        &mut self,
        campaign_number: u32,
        import_id: RequestId,
    ) -> Result<Option<CodeImport>, Infallible> {
        let tables = self.codes.get(&campaign_number);
        Ok(tables.and_then(|tables| tables.imports.get(&import_id)).copied())
    }

    fn put_code_import(
        &mut self,
        campaign_number: u32,
        import_id: RequestId,
        import: &CodeImport,
    ) -> Result<(), Infallible> {
        self.codes.entry(campaign_number).or_default().imports.insert(import_id, *import);
        Ok(())
    }

    fn put_imported_code(
        &mut self,
        campaign_number: u32,
        code: &str,
        imported: &ImportedCode,
    ) -> Result<(), Infallible> {
        let tables = self.codes.entry(campaign_number).or_default();
        tables.by_code.insert(code.to_owned(), *imported);
        tables.pending.insert(imported.sequence, code.to_owned());
        Ok(())
    }

    fn take_code(&mut self, campaign_number: u32, sequence: u64) -> Result<String, Infallible> {
        let tables = self.codes.get_mut(&campaign_number);
        let code = tables.and_then(|tables| tables.pending.remove(&sequence));
        Ok(code.expect("the ledger takes codes that were imported"))
    }

    fn put_block(
        &mut self,
        block: u64,
        campaign_number: u32,
        first_sequence: u64,
    ) -> Result<(), Infallible> {
        self.blocks.insert(block, (campaign_number, first_sequence));
        Ok(())
    }
}
