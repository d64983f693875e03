//! What happened to a campaign and its coupons, in the order of its revisions.
//!
//! Each change has a revision of the campaign, from 1 at its creation, without gaps. A coupon that is issued needs no
//! event: it has its time, its request and its number, and a hold that became a coupon says who confirmed it. Each
//! other change writes an [`Event`]. An event says how many coupons the campaign had issued; so the revisions between
//! two events are coupons, and it is known which ones.

use std::collections::BTreeMap;

use coupon_cluster::RequestId;

use crate::{Campaign, CampaignSpec, ChangeKind, CouponChangeKind, Hold, LogTime, Store};

/// Something that happened, but for the issue of a coupon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// When, by log time.
    pub at: LogTime,
    /// The request that made it happen.
    pub request_id: RequestId,
    /// How many coupons the campaign had issued by then.
    pub issued: u64,
    /// What it was.
    pub kind: EventKind,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// The campaign was created on these terms.
    CampaignCreated(CampaignTerms),
    /// The campaign was updated, and has these terms now.
    CampaignUpdated(CampaignTerms),
    /// The campaign was paused.
    CampaignPaused,
    /// The campaign was resumed.
    CampaignResumed,
    /// The campaign was ended.
    CampaignEnded,
    /// The campaign was archived.
    CampaignArchived,
    /// Something was done with an issued coupon.
    CouponChanged {
        /// Its sequence number.
        sequence: u64,
        /// What.
        kind: CouponChangeKind,
    },
    /// A hold was made or released.
    HoldChanged {
        /// Its id.
        hold_id: RequestId,
        /// The hold as this left it.
        hold: Hold,
    },
    /// Lines of an import were looked at; its id is that of the request.
    CodesImported {
        /// How many codes they added.
        added: u64,
    },
}

/// What can be updated about a campaign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CampaignTerms {
    /// See [`CampaignSpec`].
    pub display_name: String,
    /// See [`CampaignSpec`].
    pub quota: u64,
    /// See [`CampaignSpec`].
    pub start: LogTime,
    /// See [`CampaignSpec`].
    pub end: Option<LogTime>,
    /// See [`CampaignSpec`].
    pub labels: BTreeMap<String, String>,
}

impl CampaignTerms {
    /// The terms of a campaign.
    pub(crate) fn of(spec: &CampaignSpec) -> Self {
        Self {
            display_name: spec.display_name.clone(),
            quota: spec.quota,
            start: spec.start,
            end: spec.end,
            labels: spec.labels.clone(),
        }
    }
}

/// Writes what has just made the revision that a campaign has.
pub(crate) fn record<S: Store>(
    store: &mut S,
    campaign: &Campaign,
    at: LogTime,
    request_id: RequestId,
    kind: EventKind,
) -> Result<(), S::Error> {
    let event = Event { at, request_id, issued: campaign.counters.issued, kind };
    store.put_event(&campaign.spec, campaign.counters.revision, &event)
}

/// What a change of a campaign is as an event; `None` for its deletion, which leaves no events.
pub(crate) fn of_change(kind: ChangeKind, after: &CampaignSpec) -> Option<EventKind> {
    Some(match kind {
        ChangeKind::Pause => EventKind::CampaignPaused,
        ChangeKind::Resume => EventKind::CampaignResumed,
        ChangeKind::Update { .. } => EventKind::CampaignUpdated(CampaignTerms::of(after)),
        ChangeKind::End => EventKind::CampaignEnded,
        ChangeKind::Archive => EventKind::CampaignArchived,
        ChangeKind::Delete => return None,
    })
}
