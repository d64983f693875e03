//! What a replica would hold if its history were kept: its state, and its whole log applied.

use std::collections::BTreeMap;

use coupon_cluster::{CampaignName, RequestId, ShardId};
use coupon_ledger::{
    Action, Campaign, CodeImport, Command, CouponHistory, Hold, IssuedCoupon, Ledger, LogTime,
    Outcome, StateReader as _,
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
    /// The coupons that entries which are not applied yet issue, by the number of the campaign.
    unapplied: BTreeMap<u32, Vec<IssuedCoupon>>,
    /// What such entries leave.
    rows: LedgerBatch<'a>,
    /// The log time of the last entry.
    log_time: LogTime,
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
            campaigns.insert(campaign.spec.name.clone(), campaign);
        }
        let mut unapplied = BTreeMap::new();
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
                let issued = apply(shard, &mut ledger, &mut rows, commands)?;
                for (number, issued) in issued {
                    unapplied.entry(number).or_insert_with(Vec::new).push(issued);
                }
            }
            digests.push(index, rows.digest());
        }
        let touched = rows.campaigns().map(|touched| (touched.spec.name.clone(), touched.clone()));
        campaigns.extend(touched);
        let log_time = rows.shard_state()?.log_time;
        Ok(Self { shard, view, campaigns, unapplied, rows, log_time })
    }

    /// The shard.
    pub fn shard(&self) -> ShardId {
        self.shard
    }

    /// Its campaigns, by id, what is left of deleted ones included.
    pub fn campaigns(&self) -> &BTreeMap<CampaignName, Campaign> {
        &self.campaigns
    }

    /// The coupons of one of its campaigns, by sequence number from 1, and what was done with each.
    pub fn coupons(
        &'a self,
        campaign: &'a Campaign,
    ) -> impl Iterator<Item = Result<(IssuedCoupon, CouponHistory), StorageError>> + 'a {
        let number = campaign.spec.number;
        let unapplied = self.unapplied.get(&number).into_iter().flatten();
        let unapplied = unapplied.map(|coupon| Ok((coupon.clone(), CouponHistory::default())));
        let all = self.view.coupons_with_histories(campaign).chain(unapplied);
        // Those of a deleted one may still be in the view, since the deletion is not applied.
        let all = (!campaign.spec.is_deleted()).then_some(all).into_iter().flatten();
        all.map(move |found| {
            let (mut coupon, mut history) = found?;
            if let Some(changed) = self.rows.history_of(number, coupon.sequence) {
                history.clone_from(changed);
                coupon.state = history.state();
            }
            Ok((coupon, history))
        })
    }

    /// The holds of one of its campaigns, by id.
    pub fn holds(
        &self,
        campaign: &Campaign,
    ) -> impl Iterator<Item = Result<(RequestId, Hold), StorageError>> + use<'_, 'a> {
        let all = self.rows.holds_of(campaign.spec.number);
        (!campaign.spec.is_deleted()).then_some(all).into_iter().flatten()
    }

    /// A hold of one of its campaigns.
    ///
    /// # Errors
    ///
    /// When the disk fails.
    pub fn hold(
        &self,
        campaign: &Campaign,
        hold_id: &RequestId,
    ) -> Result<Option<Hold>, StorageError> {
        if campaign.spec.is_deleted() {
            return Ok(None);
        }
        self.rows.hold_of(campaign.spec.number, hold_id)
    }

    /// The imports of codes into one of its campaigns, by id.
    pub fn imports(
        &self,
        campaign: &Campaign,
    ) -> impl Iterator<Item = Result<(RequestId, CodeImport), StorageError>> + use<'_, 'a> {
        let all = self.rows.imports_of(campaign.spec.number);
        (!campaign.spec.is_deleted()).then_some(all).into_iter().flatten()
    }

    /// An import of codes into one of its campaigns.
    ///
    /// # Errors
    ///
    /// When the disk fails.
    pub fn import(
        &self,
        campaign: &Campaign,
        import_id: &RequestId,
    ) -> Result<Option<CodeImport>, StorageError> {
        if campaign.spec.is_deleted() {
            return Ok(None);
        }
        self.rows.import_of(campaign.spec.number, import_id)
    }

    /// The log time of its last entry.
    pub fn log_time(&self) -> LogTime {
        self.log_time
    }
}

/// Applies an entry. Returns the coupons that it issues, each with the number of its campaign.
fn apply(
    shard: ShardId,
    ledger: &mut Ledger,
    rows: &mut LedgerBatch<'_>,
    entry: pb::CommandEntry,
) -> Result<Vec<(u32, IssuedCoupon)>, RecoveryError> {
    let log_time = LogTime(entry.log_time_micros);
    let commands = command::read_entry(entry)
        .map_err(|error| RecoveryError::Unreadable { shard, why: error.to_string() })?;
    let named = |command: &Command| match &command.action {
        Action::Issue(issue) => Some(issue.campaign.clone()),
        Action::ConfirmHold(confirm) => Some(confirm.campaign.clone()),
        Action::CreateCampaign(_)
        | Action::PauseCampaign(_)
        | Action::ResumeCampaign(_)
        | Action::UpdateCampaign(_)
        | Action::EndCampaign(_)
        | Action::ArchiveCampaign(_)
        | Action::DeleteCampaign(_)
        | Action::RedeemCoupon(_)
        | Action::ReverseRedemption(_)
        | Action::VoidCoupon(_)
        | Action::HoldCoupon(_)
        | Action::ReleaseHold(_)
        | Action::ImportCodes(_)
        | Action::AdoptRing { .. }
        | Action::SkipCounters
        | Action::Unreadable => None,
    };
    let ids: Vec<Option<CampaignName>> = commands.iter().map(named).collect();
    let outcomes = ledger.apply(rows, log_time, commands)?;
    let mut all = Vec::new();
    for (id, outcome) in ids.into_iter().zip(outcomes) {
        if let (
            Some(id),
            Outcome::CouponIssued { issued, replayed: false, .. }
            | Outcome::HoldConfirmed { issued, replayed: false, .. },
        ) = (id, outcome)
            && let Some(campaign) = rows.campaign(&id)?
        {
            all.push((campaign.spec.number, issued));
        }
    }
    Ok(all)
}
