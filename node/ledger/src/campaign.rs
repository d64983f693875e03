//! A campaign: what an administrator decides about it, and what changes with every coupon.

use std::collections::BTreeMap;
use std::sync::Arc;

use coupon_cluster::{
    CampaignLifecycle, CampaignName, CampaignState, CodeScheme, KeyId, RequestId, ShardId,
    campaign_etag,
};

use crate::{HoldEnds, LogTime};

/// The part of a campaign that its coupons do not change.
///
/// The ledger trusts that lengths and ranges were checked before the log. Values outside of them
/// cannot make it panic or break an invariant; they make a campaign that nobody gets a coupon of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CampaignSpec {
    /// The campaign's id, unique in the cluster.
    pub name: CampaignName,
    /// The campaign's number in its shard, from 0: a short name for use in keys.
    pub number: u32,
    /// A name for people.
    pub display_name: String,
    /// How many coupons may be issued.
    pub quota: u64,
    /// Nothing is issued before this time.
    pub start: LogTime,
    /// The start that was asked for; `None` asked for the moment of creation. Kept since a retry is
    /// recognised by what was asked for.
    pub requested_start: Option<LogTime>,
    /// Nothing is issued at or after this time; `None`: no end.
    pub end: Option<LogTime>,
    /// How many coupons a recipient may hold; 0: no limit.
    pub per_recipient_limit: u32,
    /// For how many microseconds a coupon may be used; `None`: for ever.
    pub coupon_ttl_micros: Option<u64>,
    /// Labels for the owner's use.
    pub labels: BTreeMap<String, String>,
    /// The request that created the campaign.
    pub request_id: RequestId,
    /// The key that the codes of the campaign are made with.
    pub code_key: KeyId,
    /// Profile, length and prefix of the codes.
    pub code_scheme: CodeScheme,
    /// The shard whose counters the codes of the campaign are made of.
    pub code_shard: ShardId,
    /// Whether its coupons get codes that were imported, instead of made ones. Then key and scheme mean nothing.
    pub has_imported_codes: bool,
    /// When the campaign was created.
    pub created: LogTime,
    /// When an administrator changed the campaign last, or else when it was created.
    pub updated: LogTime,
    /// The revision that this change made.
    pub updated_revision: u64,
    /// What the creation asked for, where it was changed since; `None`: it is as it was. Kept since a retry is
    /// recognised by what was asked for.
    pub asked: Option<Box<CreationTerms>>,
    /// Whether nothing is issued until the campaign is resumed.
    pub is_paused: bool,
    /// Whether it is archived or deleted.
    pub stage: CampaignStage,
    /// The latest requests to change the campaign that were not refused, the last one last.
    pub changes: Vec<Change>,
}

/// What an administrator has done with a campaign after its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CampaignStage {
    /// Nothing.
    #[default]
    InUse,
    /// It is kept for reading only.
    Archived,
    /// Its coupons are gone. What is left of it keeps its id and its number from being used again, and answers
    /// retries.
    Deleted,
}

impl CampaignSpec {
    /// Whether nothing but a tombstone is left of the campaign.
    #[must_use]
    pub fn is_deleted(&self) -> bool {
        self.stage == CampaignStage::Deleted
    }

    /// The entity tag of the campaign.
    #[must_use]
    pub fn etag(&self) -> String {
        campaign_etag(self.updated_revision, self.updated.0)
    }
}

/// What the creation of a campaign asked for, of all that can be changed later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreationTerms {
    /// See [`CampaignSpec`].
    pub display_name: String,
    /// See [`CampaignSpec`].
    pub quota: u64,
    /// See [`CampaignSpec`].
    pub end: Option<LogTime>,
    /// See [`CampaignSpec`].
    pub labels: BTreeMap<String, String>,
}

/// A request to change a campaign that was not refused; it may have found nothing to change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// The request.
    pub request_id: RequestId,
    /// What it changed.
    pub kind: ChangeKind,
}

/// What a request changes about a campaign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// It pauses the campaign.
    Pause,
    /// It resumes the campaign.
    Resume,
    /// It ends the campaign.
    End,
    /// It archives the campaign.
    Archive,
    /// It deletes the campaign.
    Delete,
    /// It updates fields of the campaign.
    Update {
        /// A hash of the fields, by which a retry is recognised.
        fingerprint: u64,
    },
}

/// The part of a campaign that changes with every coupon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CampaignCounters {
    /// How many coupons were issued; also the sequence number of the last one. Never falls.
    pub issued: u64,
    /// How many coupons are redeemed.
    pub redeemed: u64,
    /// How many coupons are voided.
    pub voided: u64,
    /// How many of the voided coupons returned their quota.
    pub returned: u64,
    /// How many holds claim quota: open ones. Those that have expired since the last decision still count, until
    /// [`Campaign::settle_holds`] takes them out.
    pub held: u64,
    /// Between which times these end; `None` if and only if there are none.
    pub hold_ends: Option<HoldEnds>,
    /// Whether the campaign ever had a hold.
    pub has_holds: bool,
    /// How many codes were imported. Never falls.
    pub imported: u64,
    /// How many imports they came from.
    pub imports: u32,
    /// Grows by one with every change of the campaign or of a coupon, from 1 at its creation.
    pub revision: u64,
    /// The next counter of the block in use; meaningless while `block_left` is 0.
    pub next_counter: u64,
    /// How many counters of the block in use are left.
    pub block_left: u32,
    /// When the first coupon was issued.
    pub opened: Option<LogTime>,
    /// Since when all coupons of the quota are issued.
    pub sold_out: Option<LogTime>,
}

impl CampaignCounters {
    /// The counters of a campaign at its creation. It takes its first block with its first coupon,
    /// so that campaigns nobody uses cost none.
    pub(crate) const NEW: Self = Self {
        issued: 0,
        redeemed: 0,
        voided: 0,
        returned: 0,
        held: 0,
        hold_ends: None,
        has_holds: false,
        imported: 0,
        imports: 0,
        revision: 1,
        next_counter: 0,
        block_left: 0,
        opened: None,
        sold_out: None,
    };

    /// How many coupons count against the quota.
    #[must_use]
    pub fn quota_issued(&self) -> u64 {
        self.issued.saturating_sub(self.returned)
    }

    /// How much of the quota cannot be claimed: coupons and open holds.
    #[must_use]
    pub fn quota_used(&self) -> u64 {
        self.quota_issued().saturating_add(self.held)
    }

    /// Counts one open hold less, after it was confirmed or released.
    pub(crate) fn close_hold(&mut self) {
        self.held = self.held.saturating_sub(1);
        if self.held == 0 {
            self.hold_ends = None;
        }
    }

    /// Whether a coupon may be in another state than issued. Where none is, no coupon needs its history.
    #[must_use]
    pub fn has_changed_coupons(&self) -> bool {
        self.redeemed > 0 || self.voided > 0
    }
}

/// A campaign at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Campaign {
    /// What coupons do not change; shared, since every copy of a campaign needs it.
    pub spec: Arc<CampaignSpec>,
    /// What changes with every coupon.
    pub counters: CampaignCounters,
}

impl Campaign {
    /// Where the campaign stands at a moment.
    #[must_use]
    pub fn state_at(&self, now: LogTime) -> CampaignState {
        let lifecycle = CampaignLifecycle {
            start_micros: self.spec.start.0,
            end_micros: self.spec.end.map(|end| end.0),
            is_paused: self.spec.is_paused,
            is_archived: self.spec.stage != CampaignStage::InUse,
            quota: self.quota_in_force(),
            quota_used: self.counters.quota_used(),
        };
        lifecycle.state_at(now.0)
    }

    /// How many coupons may be issued by now: the quota, or as many as there are codes for. A returned quota does not
    /// bring its code back.
    #[must_use]
    pub fn quota_in_force(&self) -> u64 {
        let CampaignCounters { imported, returned, .. } = self.counters;
        if self.spec.has_imported_codes {
            self.spec.quota.min(imported.saturating_sub(returned))
        } else {
            self.spec.quota
        }
    }

    /// How many coupons are left, neither issued nor held.
    #[must_use]
    pub fn remaining(&self) -> u64 {
        self.quota_in_force().saturating_sub(self.counters.quota_used())
    }

    /// Notes whether all coupons of the quota are issued, after a change of the quota, of the codes for it, or of what
    /// counts toward it.
    pub(crate) fn note_sold_out(&mut self, now: LogTime) {
        let since = self.counters.sold_out.unwrap_or(now);
        let is_used_up = self.counters.quota_issued() >= self.quota_in_force();
        let is_sold_out = is_used_up && self.counters.issued > 0;
        self.counters.sold_out = is_sold_out.then_some(since);
    }
}
