//! What a replica would hold if its history were kept: its state, and its whole log applied.

use std::collections::BTreeMap;

use coupon_cluster::{CampaignName, ShardId};
use coupon_ledger::{
    Action, Campaign, Command, CouponState, IssuedCoupon, Ledger, LogTime, Outcome,
};
use coupon_proto::internal as pb;
use coupon_proto::internal::log_entry::Payload;
use coupon_wire::Malformed;

use super::{Directory, RecoveryError, ReplicaFound};
use crate::codec::command;
use crate::raft::consistency_check::AppliedDigests;
use crate::storage::keys::{LogKeys, StateKeys};
use crate::storage::ledger::{LedgerBatch, running_digest};
use crate::storage::view::LedgerView;
use crate::storage::{StorageError, snapshot};

/// The history of a replica of a data shard. Entries in its log that are not applied yet are applied here, in
/// memory only.
pub struct History<'a> {
    shard: ShardId,
    view: LedgerView<'a>,
    campaigns: BTreeMap<CampaignName, Campaign>,
    unapplied: BTreeMap<CampaignName, Vec<IssuedCoupon>>,
    /// What became of coupons since, by sequence number.
    changed: BTreeMap<CampaignName, BTreeMap<u64, CouponState>>,
}

impl<'a> History<'a> {
    /// Reads the history of a replica.
    ///
    /// # Errors
    ///
    /// When the disk fails, or the log cannot be applied.
    pub fn read(directory: &'a Directory, found: &ReplicaFound) -> Result<Self, RecoveryError> {
        let (storage, shard) = (directory.storage(), found.shard);
        let view = LedgerView::new(storage, shard, found.replica)?;
        let mut campaigns = BTreeMap::new();
        for campaign in view.campaigns() {
            let campaign = campaign?;
            if campaign.spec.is_deleted() {
                continue;
            }
            campaigns.insert(campaign.spec.name.clone(), campaign);
        }
        let (unapplied, changed) = (BTreeMap::new(), BTreeMap::new());
        let mut history = Self { shard, view, campaigns, unapplied, changed };
        let replica_keys = LogKeys::new(shard, found.replica);
        let keys = StateKeys::new(shard, snapshot::generation(storage, &replica_keys)?);
        let applied_digest = running_digest(storage, &keys)?;
        let digests = AppliedDigests::default();
        digests.restart(found.applied_index, applied_digest);
        let mut rows = LedgerBatch::unwritten(storage, keys, applied_digest)?;
        let mut ledger = Ledger::open(shard, &mut rows)?;
        for entry in directory.log_after(replica_keys, found.applied_index) {
            let entry = entry?;
            let index = entry.log_id.map_or(0, |id| id.index);
            let unreadable =
                |error: Malformed| RecoveryError::Unreadable { shard, why: error.to_string() };
            let payload = entry.payload.ok_or(Malformed("payload of an entry"));
            if let Payload::Normal(bytes) = payload.map_err(unreadable)? {
                let commands = command::decode_entry(&bytes).map_err(unreadable)?;
                // From here on the log is that of another history, which has the same terms. The replica stopped
                // here as well; it may have remembered a digest that is not known here.
                let is_of_other_history = commands.applied_digest.as_ref().is_some_and(|leader| {
                    found.leader_differed_at == Some(leader.index)
                        || digests.compare(leader).is_err()
                });
                if is_of_other_history {
                    break;
                }
                rows.begin_entry(index);
                history.apply(&mut ledger, &mut rows, commands)?;
            }
            digests.push(index, rows.digest());
        }
        Ok(history)
    }

    fn apply(
        &mut self,
        ledger: &mut Ledger,
        rows: &mut LedgerBatch<'_>,
        entry: pb::CommandEntry,
    ) -> Result<(), RecoveryError> {
        let shard = self.shard;
        let unreadable = |why: String| RecoveryError::Unreadable { shard, why };
        let log_time = LogTime(entry.log_time_micros);
        let commands = command::read_entry(entry).map_err(|error| unreadable(error.to_string()))?;
        let named = |command: &Command| match &command.action {
            Action::Issue(issue) => Some(issue.campaign.clone()),
            Action::DeleteCampaign(delete) => Some(delete.campaign.clone()),
            Action::ConfirmHold(confirm) => Some(confirm.campaign.clone()),
            Action::CreateCampaign(_)
            | Action::PauseCampaign(_)
            | Action::ResumeCampaign(_)
            | Action::UpdateCampaign(_)
            | Action::EndCampaign(_)
            | Action::RedeemCoupon(_)
            | Action::ReverseRedemption(_)
            | Action::VoidCoupon(_)
            | Action::HoldCoupon(_)
            | Action::ReleaseHold(_)
            | Action::ArchiveCampaign(_)
            | Action::AdoptRing { .. }
            | Action::SkipCounters
            | Action::Unreadable => None,
        };
        let ids: Vec<Option<CampaignName>> = commands.iter().map(named).collect();
        let outcomes = ledger.apply(rows, log_time, commands)?;
        for (id, outcome) in ids.into_iter().zip(outcomes) {
            match (outcome, id) {
                (Outcome::CampaignCreated { campaign, replayed: false, .. }, _) => {
                    self.campaigns.insert(campaign.spec.name.clone(), campaign);
                }
                (Outcome::CampaignChanged { campaign, .. }, _) => {
                    self.campaigns.insert(campaign.spec.name.clone(), campaign);
                }
                (Outcome::CampaignDeleted { .. }, Some(id)) => {
                    self.campaigns.remove(&id);
                }
                (
                    Outcome::CouponIssued { issued, replayed: false, .. }
                    | Outcome::HoldConfirmed { issued, replayed: false, .. },
                    Some(id),
                ) => {
                    self.unapplied.entry(id).or_default().push(issued);
                }
                (Outcome::CouponChanged { campaign, coupon, replayed: false, .. }, _) => {
                    let changed = self.changed.entry(campaign).or_default();
                    changed.insert(coupon.sequence, coupon.state);
                }
                (
                    Outcome::CampaignCreated { .. }
                    | Outcome::CampaignDeleted { .. }
                    | Outcome::CouponIssued { .. }
                    | Outcome::CouponChanged { .. }
                    | Outcome::HoldChanged { .. }
                    | Outcome::HoldConfirmed { .. }
                    | Outcome::RingAdopted { .. }
                    | Outcome::CountersSkipped
                    | Outcome::Refused(_),
                    _,
                ) => {}
            }
        }
        Ok(())
    }

    /// The shard.
    pub fn shard(&self) -> ShardId {
        self.shard
    }

    /// Its campaigns, by id.
    pub fn campaigns(&self) -> &BTreeMap<CampaignName, Campaign> {
        &self.campaigns
    }

    /// The coupons of one of its campaigns, by sequence number from 1.
    pub fn coupons(
        &'a self,
        campaign: &'a Campaign,
    ) -> impl Iterator<Item = Result<IssuedCoupon, StorageError>> + 'a {
        let unapplied = self.unapplied.get(&campaign.spec.name).into_iter().flatten();
        let all = self.view.coupons_after(campaign, 0).chain(unapplied.cloned().map(Ok));
        let changed = self.changed.get(&campaign.spec.name);
        all.map(move |coupon| {
            let mut coupon = coupon?;
            if let Some(state) = changed.and_then(|changed| changed.get(&coupon.sequence)) {
                coupon.state.clone_from(state);
            }
            Ok(coupon)
        })
    }
}
