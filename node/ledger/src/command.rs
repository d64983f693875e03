//! Commands: what a log entry asks of the ledger.

use std::collections::BTreeMap;

use coupon_cluster::{CampaignId, Epoch, KeyId, RequestId, ShardId};

use crate::LogTime;

/// One command, as it stands in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// The epoch of the ring that the sender routed by.
    pub epoch: Epoch,
    /// What to do.
    pub action: Action,
}

/// What a command does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Create a campaign.
    CreateCampaign(CreateCampaign),
    /// Issue a coupon.
    Issue(Issue),
    /// Adopt a newer ring. Comes from the shard's own leader, hence [`Command::epoch`] is not looked
    /// at: the shard cannot learn of a new epoch by being at it.
    AdoptRing {
        /// The epoch. One that is not greater than the epoch in force changes nothing.
        epoch: Epoch,
        /// The members of the ring at that epoch.
        ring_shards: Vec<ShardId>,
    },
    /// Skip every code counter that an abandoned history could have used. Only an offline recovery adds this
    /// command to a log.
    SkipCounters,
}

/// Creates a campaign. The fields are those of [`CampaignSpec`](crate::CampaignSpec).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateCampaign {
    /// The id wanted.
    pub id: CampaignId,
    /// A name for people.
    pub display_name: String,
    /// How many coupons may be issued.
    pub quota: u64,
    /// Nothing is issued before this time; `None`: the campaign starts when it is created.
    pub start: Option<LogTime>,
    /// Nothing is issued at or after this time; `None`: no end.
    pub end: Option<LogTime>,
    /// How many coupons a recipient may hold; 0: no limit.
    pub per_recipient_limit: u32,
    /// For how many microseconds a coupon may be used; `None`: for ever.
    pub coupon_ttl_micros: Option<u64>,
    /// Labels for the owner's use.
    pub labels: BTreeMap<String, String>,
    /// Recognises a retry: the same id with the same fields is answered with the same campaign.
    pub request_id: RequestId,
    /// The key that the codes of the campaign are made with. Chosen by the system, not by the
    /// caller, and so not among the fields that a retry must repeat.
    pub code_key: KeyId,
}

/// Issues a coupon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issue {
    /// The campaign.
    pub campaign: CampaignId,
    /// The holder's external id; may be empty where the campaign has no limit per recipient.
    pub recipient: String,
    /// Recognises a retry: the same id with the same fields is answered with the same coupon.
    pub request_id: RequestId,
    /// Kept with the coupon.
    pub metadata: BTreeMap<String, String>,
}
