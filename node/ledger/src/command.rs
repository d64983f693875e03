//! Commands: what a log entry asks of the ledger.

use coupon_cluster::{Epoch, ShardId};

use crate::{
    ArchiveCampaign, ConfirmHold, CreateCampaign, DeleteCampaign, EndCampaign, HoldCoupon,
    ImportCodes, Issue, PauseCampaign, RedeemCoupon, ReleaseHold, ResumeCampaign,
    ReverseRedemption, UpdateCampaign, VoidCoupon,
};

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
    /// Stop issuing coupons of a campaign until it is resumed.
    PauseCampaign(PauseCampaign),
    /// Issue coupons of a paused campaign again.
    ResumeCampaign(ResumeCampaign),
    /// Change fields of a campaign.
    UpdateCampaign(UpdateCampaign),
    /// End a campaign.
    EndCampaign(EndCampaign),
    /// Archive a campaign.
    ArchiveCampaign(ArchiveCampaign),
    /// Delete a campaign.
    DeleteCampaign(DeleteCampaign),
    /// Redeem a coupon.
    RedeemCoupon(RedeemCoupon),
    /// Reverse the redemption of a coupon.
    ReverseRedemption(ReverseRedemption),
    /// Void a coupon.
    VoidCoupon(VoidCoupon),
    /// Hold a coupon.
    HoldCoupon(HoldCoupon),
    /// Turn a hold into a coupon.
    ConfirmHold(ConfirmHold),
    /// Give up a hold.
    ReleaseHold(ReleaseHold),
    /// Import codes.
    ImportCodes(ImportCodes),
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
    /// A command that cannot be read. It is in the log, so that every replica refuses it alike.
    Unreadable,
}
