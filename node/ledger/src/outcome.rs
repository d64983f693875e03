//! Outcomes: what came of a command.

use coupon_cluster::{CampaignName, Epoch, RequestId};

use crate::{Campaign, Hold, IssuedCoupon, LogTime, RefusedLine};

/// What came of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// There is a campaign as the command asked for it.
    CampaignCreated {
        /// The campaign as it is after the command; in a replay, coupons may have been issued since
        /// it was created.
        campaign: Campaign,
        /// Log time of the answer.
        now: LogTime,
        /// Whether an earlier command with the same request id created it.
        replayed: bool,
    },
    /// The campaign is as the command asked for it.
    CampaignChanged {
        /// The campaign as it is after the command; in a replay, as it is by now.
        campaign: Campaign,
        /// Log time of the answer.
        now: LogTime,
        /// Whether an earlier command with the same request id changed it.
        replayed: bool,
    },
    /// The campaign is deleted.
    CampaignDeleted {
        /// Whether an earlier command with the same request id deleted it.
        replayed: bool,
    },
    /// There is a coupon as the command asked for it.
    CouponIssued {
        /// The coupon, in a replay as it is by now.
        issued: IssuedCoupon,
        /// Log time of the answer.
        now: LogTime,
        /// Whether an earlier command with the same request id issued it.
        replayed: bool,
    },
    /// A coupon is as the command asked for it.
    CouponChanged {
        /// Its campaign.
        campaign: CampaignName,
        /// The coupon as the change left it, the same in every replay.
        coupon: IssuedCoupon,
        /// When it was changed.
        at: LogTime,
        /// Whether an earlier command with the same request id changed it.
        replayed: bool,
    },
    /// A hold is as the command asked for it.
    HoldChanged {
        /// Its id.
        hold_id: RequestId,
        /// The hold as it is after the command; in a replay, as it is by now.
        hold: Hold,
        /// Log time of the answer.
        now: LogTime,
        /// Whether an earlier command with the same request id had changed it.
        replayed: bool,
    },
    /// A hold is a coupon now.
    HoldConfirmed {
        /// The coupon, in a replay as it is by now.
        issued: IssuedCoupon,
        /// Log time of the answer.
        now: LogTime,
        /// Whether an earlier command with the same request id had confirmed the hold.
        replayed: bool,
    },
    /// The lines of an import were looked at.
    CodesImported {
        /// The line that the import goes on with.
        next_line: u64,
        /// How many codes the import has added so far.
        imported: u64,
        /// The lines whose codes were not added, in order.
        refused: Vec<RefusedLine>,
    },
    /// The shard is at this epoch, or was already at a greater one.
    RingAdopted {
        /// The epoch in force after the command.
        epoch: Epoch,
    },
    /// Counters were skipped.
    CountersSkipped,
    /// Nothing was changed.
    Refused(Refusal),
}

impl From<Refusal> for Outcome {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// Why nothing was changed.
///
/// A refusal is an answer like any other, the same on every replica. It is not remembered: the same
/// request may succeed later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Log time is before the campaign's start.
    NotStarted {
        /// When the campaign starts.
        start: LogTime,
        /// Log time, so that the caller knows how long to wait.
        now: LogTime,
    },
    /// Log time is at or after the campaign's end.
    Ended {
        /// When the campaign ended.
        end: LogTime,
        /// Log time.
        now: LogTime,
    },
    /// The campaign is paused.
    Paused,
    /// All coupons of the quota are issued. It may be returned later.
    SoldOut,
    /// What is not issued of the quota is held.
    QuotaHeld {
        /// No hold expires earlier.
        until: LogTime,
        /// Log time.
        now: LogTime,
    },
    /// The recipient holds as many coupons as the campaign allows, open holds included.
    RecipientLimitReached {
        /// The first of the coupons, in the order of issuance.
        held: Vec<IssuedCoupon>,
        /// The first of the open holds, in the order of their ends.
        hold_ids: Vec<RequestId>,
        /// Log time.
        now: LogTime,
    },
    /// There are too many holds to make another one.
    TooManyHolds {
        /// No hold expires earlier.
        until: LogTime,
        /// Log time.
        now: LogTime,
    },
    /// There is no such hold, or it ended long ago.
    HoldNotFound,
    /// Log time is at or after the end of the hold.
    HoldExpired {
        /// When it expired.
        end: LogTime,
        /// Log time.
        now: LogTime,
    },
    /// The hold has become a coupon.
    HoldConfirmed {
        /// When it did.
        at: LogTime,
    },
    /// The hold was released.
    HoldReleased {
        /// When it was.
        at: LogTime,
    },
    /// The campaign still has open holds.
    HoldsOpen {
        /// How many.
        held: u64,
    },
    /// The campaign makes its codes itself.
    CodesNotImported,
    /// The lines before the first one have not come.
    ImportLinesMissing {
        /// The line that the import goes on with.
        next_line: u64,
    },
    /// The campaign has as many imports as it may.
    TooManyImports,
    /// The campaign has a limit per recipient, and the command names none.
    RecipientRequired,
    /// There is a campaign with this id, created by another request.
    CampaignExists,
    /// A campaign with this id was deleted, and ids are never reused.
    CampaignDeleted,
    /// There is no campaign with this id.
    CampaignNotFound,
    /// The campaign is archived: it can be read, but not changed.
    Archived,
    /// The campaign has not ended.
    NotEnded,
    /// The campaign is not archived.
    NotArchived,
    /// The campaign would end no later than it starts.
    EmptyWindow,
    /// The end asked for is not after log time.
    EndInPast {
        /// The end asked for.
        end: LogTime,
        /// Log time.
        now: LogTime,
    },
    /// There is no such coupon.
    CouponNotFound,
    /// The coupon is redeemed.
    AlreadyRedeemed {
        /// When it was.
        at: LogTime,
    },
    /// The coupon is voided.
    CouponVoided {
        /// When it was.
        at: LogTime,
    },
    /// Log time is at or after the end of the coupon.
    CouponExpired {
        /// From when on it could not be used.
        end: LogTime,
        /// Log time.
        now: LogTime,
    },
    /// The start of a campaign that has started cannot be changed.
    AlreadyStarted {
        /// When the campaign started.
        start: LogTime,
        /// Log time.
        now: LogTime,
    },
    /// The quota asked for is less than what already counts toward it.
    QuotaBelowIssued {
        /// The number of coupons that were issued.
        issued: u64,
        /// The number of open holds.
        held: u64,
        /// The least quota that the campaign can have now.
        quota_min: u64,
    },
    /// The limit per recipient cannot be changed.
    PerRecipientLimitFixed,
    /// The lifetime of coupons cannot be changed.
    CouponTtlFixed,
    /// The campaign has another entity tag: it was changed in the meantime.
    EtagMismatch,
    /// The coupon is not redeemed.
    NotRedeemed,
    /// The request id was used before, with other fields.
    RequestIdReused,
    /// The sender routed by another epoch than the one the shard is at.
    StaleEpoch {
        /// The epoch the shard is at.
        epoch: Epoch,
    },
    /// The sender routed by the epoch the shard is at, and in it the campaign belongs to another
    /// shard.
    NotOwner {
        /// The epoch the shard is at.
        epoch: Epoch,
    },
    /// The command cannot be read: its sender is newer than this replica, or at fault.
    Unreadable,
    /// The shard has no number left for another campaign, or no code counters for another coupon.
    /// What keeps a code from being given twice when a shard outlives its numbers; shards that were
    /// added since have plenty.
    ShardFull,
}
