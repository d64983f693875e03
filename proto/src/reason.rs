//! The reasons of errors of the public API, as `google.rpc.ErrorInfo` carries them: said once for the
//! router that gives them and for its callers.

/// The `ErrorInfo` domain of the reasons.
pub const DOMAIN: &str = "coupon.v1";

/// Why a router answered with an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// The coupon is redeemed.
    AlreadyRedeemed,
    /// The campaign has started, and its start can no longer be changed.
    AlreadyStarted,
    /// The campaign is archived: it can be read, but not changed.
    Archived,
    /// A campaign with this id was deleted, and ids are never reused.
    CampaignDeleted,
    /// Another request created a campaign with this id.
    CampaignExists,
    /// There is no such campaign.
    CampaignNotFound,
    /// A symbol of the code is wrong, or two are swapped.
    CodeCheckFailed,
    /// The code has a symbol that is in no code, or too few or too many.
    CodeMalformed,
    /// The campaign makes its codes itself.
    CodesNotImported,
    /// At or after the coupon's expire_time.
    CouponExpired,
    /// There is no such coupon.
    CouponNotFound,
    /// An administrator has voided the coupon.
    CouponVoided,
    /// The request did not arrive as a whole in time, or its answer is late.
    DeadlineExceeded,
    /// The end asked for is in the past.
    EndTimeInPast,
    /// At or after the campaign's end.
    Ended,
    /// The campaign has another entity tag: it was changed since it was read.
    EtagMismatch,
    /// Fields are not what they must be; a `BadRequest` names them.
    FieldViolations,
    /// The shard continues from a backup or from one of two histories, and the caller knows events from before.
    HistoryChanged,
    /// Another request has confirmed the hold.
    HoldConfirmed,
    /// At or after the hold's expire_time.
    HoldExpired,
    /// There is no such hold, or it ended long ago.
    HoldNotFound,
    /// Another request has released the hold.
    HoldReleased,
    /// The campaign still has open holds.
    HoldsOpen,
    /// The lines of an import that come before the first one of a request have not come.
    ImportLinesMissing,
    /// A fault of the router or of a node.
    Internal,
    /// A shard has no leader, or the router does not know its cluster; nothing was changed.
    NoLeader,
    /// The campaign is not archived.
    NotArchived,
    /// The campaign has not ended.
    NotEnded,
    /// The coupon is not redeemed.
    NotRedeemed,
    /// Before the campaign's start.
    NotStarted,
    /// All codes that were imported are issued, but not all of the quota.
    OutOfCodes,
    /// It is not known whether the request had an effect.
    OutcomeUnknown,
    /// The router or the shard takes no more requests for now; nothing was changed.
    Overloaded,
    /// An administrator has paused the campaign.
    Paused,
    /// The quota asked for is less than what is issued and held.
    QuotaBelowIssued,
    /// What is not issued of the quota is held.
    QuotaHeld,
    /// The recipient holds as many coupons as the campaign allows.
    RecipientLimitReached,
    /// The campaign has a limit per recipient, and the request names no recipient.
    RecipientRequired,
    /// The request id came before in this campaign, with other fields.
    RequestIdReused,
    /// What the coupons of the campaign were at the revision of a stream is not known any more.
    RevisionGone,
    /// The campaign's shard has two histories and is stopped; nothing was changed.
    ShardDiverged,
    /// The campaign's shard has used up its numbers for campaigns or codes.
    ShardFull,
    /// The quota is used up.
    SoldOut,
    /// A stream ended before all was sent, or because its router stops.
    StreamBroken,
    /// The campaign has issued more coupons than an answer may list.
    TooManyCoupons,
    /// There are too many holds to make another one.
    TooManyHolds,
    /// The campaign has as many imports as it may.
    TooManyImports,
}

impl Reason {
    /// All reasons.
    pub const ALL: [Self; 47] = [
        Self::AlreadyRedeemed,
        Self::AlreadyStarted,
        Self::Archived,
        Self::CampaignDeleted,
        Self::CampaignExists,
        Self::CampaignNotFound,
        Self::CodeCheckFailed,
        Self::CodeMalformed,
        Self::CodesNotImported,
        Self::CouponExpired,
        Self::CouponNotFound,
        Self::CouponVoided,
        Self::DeadlineExceeded,
        Self::EndTimeInPast,
        Self::Ended,
        Self::EtagMismatch,
        Self::FieldViolations,
        Self::HistoryChanged,
        Self::HoldConfirmed,
        Self::HoldExpired,
        Self::HoldNotFound,
        Self::HoldReleased,
        Self::HoldsOpen,
        Self::ImportLinesMissing,
        Self::Internal,
        Self::NoLeader,
        Self::NotArchived,
        Self::NotEnded,
        Self::NotRedeemed,
        Self::NotStarted,
        Self::OutOfCodes,
        Self::OutcomeUnknown,
        Self::Overloaded,
        Self::Paused,
        Self::QuotaBelowIssued,
        Self::QuotaHeld,
        Self::RecipientLimitReached,
        Self::RecipientRequired,
        Self::RequestIdReused,
        Self::RevisionGone,
        Self::ShardDiverged,
        Self::ShardFull,
        Self::SoldOut,
        Self::StreamBroken,
        Self::TooManyCoupons,
        Self::TooManyHolds,
        Self::TooManyImports,
    ];

    /// The reason as `ErrorInfo` carries it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AlreadyRedeemed => "ALREADY_REDEEMED",
            Self::AlreadyStarted => "ALREADY_STARTED",
            Self::Archived => "ARCHIVED",
            Self::CampaignDeleted => "CAMPAIGN_DELETED",
            Self::CampaignExists => "CAMPAIGN_EXISTS",
            Self::CampaignNotFound => "CAMPAIGN_NOT_FOUND",
            Self::CodeCheckFailed => "CODE_CHECK_FAILED",
            Self::CodeMalformed => "CODE_MALFORMED",
            Self::CodesNotImported => "CODES_NOT_IMPORTED",
            Self::CouponExpired => "COUPON_EXPIRED",
            Self::CouponNotFound => "COUPON_NOT_FOUND",
            Self::CouponVoided => "COUPON_VOIDED",
            Self::DeadlineExceeded => "DEADLINE_EXCEEDED",
            Self::EndTimeInPast => "END_TIME_IN_PAST",
            Self::Ended => "ENDED",
            Self::EtagMismatch => "ETAG_MISMATCH",
            Self::FieldViolations => "FIELD_VIOLATIONS",
            Self::HistoryChanged => "HISTORY_CHANGED",
            Self::HoldConfirmed => "HOLD_CONFIRMED",
            Self::HoldExpired => "HOLD_EXPIRED",
            Self::HoldNotFound => "HOLD_NOT_FOUND",
            Self::HoldReleased => "HOLD_RELEASED",
            Self::HoldsOpen => "HOLDS_OPEN",
            Self::ImportLinesMissing => "IMPORT_LINES_MISSING",
            Self::Internal => "INTERNAL",
            Self::NoLeader => "NO_LEADER",
            Self::NotArchived => "NOT_ARCHIVED",
            Self::NotEnded => "NOT_ENDED",
            Self::NotRedeemed => "NOT_REDEEMED",
            Self::NotStarted => "NOT_STARTED",
            Self::OutOfCodes => "OUT_OF_CODES",
            Self::OutcomeUnknown => "OUTCOME_UNKNOWN",
            Self::Overloaded => "OVERLOADED",
            Self::Paused => "PAUSED",
            Self::QuotaBelowIssued => "QUOTA_BELOW_ISSUED",
            Self::QuotaHeld => "QUOTA_HELD",
            Self::RecipientLimitReached => "RECIPIENT_LIMIT_REACHED",
            Self::RecipientRequired => "RECIPIENT_REQUIRED",
            Self::RequestIdReused => "REQUEST_ID_REUSED",
            Self::RevisionGone => "REVISION_GONE",
            Self::ShardDiverged => "SHARD_DIVERGED",
            Self::ShardFull => "SHARD_FULL",
            Self::SoldOut => "SOLD_OUT",
            Self::StreamBroken => "STREAM_BROKEN",
            Self::TooManyCoupons => "TOO_MANY_COUPONS",
            Self::TooManyHolds => "TOO_MANY_HOLDS",
            Self::TooManyImports => "TOO_MANY_IMPORTS",
        }
    }

    /// The reason that `ErrorInfo` names; `None` of one that a newer router may have.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back_to_their_reasons() {
        for reason in Reason::ALL {
            assert_eq!(Reason::parse(reason.as_str()), Some(reason));
        }
        assert_eq!(Reason::parse("MADE_UP"), None);
    }
}
