//! What was recorded.
//!
//! Times are nanoseconds of one monotonic clock since the recording began. Two calls are ordered
//! only if one returned strictly before the other was invoked.

/// All that is judged together: codes are unique over campaigns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// The campaigns, in any order.
    pub campaigns: Vec<Campaign>,
    /// What each replica said of its state when all was over and quiet; empty if they were not asked.
    pub replicas: Vec<Replica>,
    /// The faults that were planned, and what came of them; empty if none was planned.
    pub faults: Vec<Fault>,
}

/// A campaign: what was asked about it, and what was found in it when all was over.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Campaign {
    /// Its id.
    pub id: String,
    /// How many coupons may be issued, besides those that returned their quota, until a call changes that.
    pub quota: u64,
    /// How many coupons a recipient may hold; 0 is no limit.
    pub per_recipient_limit: u64,
    /// All coupons that the campaign had when all was over, in any order.
    pub rows: Vec<Coupon>,
    /// Every call, in any order. The confirmation of a hold is the issue of its coupon, whose request id is that of the
    /// hold; one that was refused since the hold had ended is left out.
    pub operations: Vec<Operation>,
    /// All holds, in any order.
    pub holds: Vec<Hold>,
    /// What claimed quota besides, where there are holds: the coupons that were none. In any order.
    pub claims: Vec<Claim>,
    /// Reads of all counters. They are judged against `holds` and `claims`, which must be everything that changed the
    /// campaign after its creation, when there are any.
    pub balances: Vec<Balance>,
    /// Whether `operations` are all calls that changed the campaign. False when others gave load as
    /// well: then no row can be called a phantom, and order says less. Others must not reverse redemptions, nor
    /// change the quota.
    pub is_complete: bool,
}

/// A coupon as it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coupon {
    /// Its place in the campaign, from 1.
    pub sequence: u64,
    /// The string people see.
    pub code: Box<str>,
    /// Who holds it; may be empty.
    pub recipient: Box<str>,
    /// The UUID of the request that issued it.
    pub request_id: u128,
    /// What became of it.
    pub state: CouponState,
}

/// What became of a coupon.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CouponState {
    /// Nothing.
    #[default]
    Issued,
    /// It is redeemed.
    Redeemed,
    /// It is voided, and counts as issued all the same.
    Voided,
    /// It is voided, and its quota returned: another coupon may be issued in its place.
    Returned,
}

/// A hold as it was found, and how it was answered. Times are log time, in microseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// Its id: the UUID of the request that made it.
    pub id: u128,
    /// Who was to get the coupon; may be empty.
    pub recipient: Box<str>,
    /// When it was made.
    pub from: u64,
    /// From when on it could not be confirmed.
    pub expires: u64,
    /// What became of it.
    pub end: HoldEnd,
    /// How many requests were told that they were the first to confirm it.
    pub confirmations: u64,
    /// How many requests were told that they were the first to release it.
    pub releases: u64,
}

/// What became of a hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HoldEnd {
    /// Nothing, so that it expired.
    Expired,
    /// It became a coupon.
    Confirmed {
        /// When.
        at: u64,
        /// When the coupon returned its quota; `None`: it did not.
        until: Option<u64>,
    },
    /// It was given up.
    Released {
        /// When.
        at: u64,
    },
}

/// A claim on quota. Times are log time, in microseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Whose it was; may be empty.
    pub recipient: Box<str>,
    /// When it began.
    pub from: u64,
    /// When it ended; `None`: it did not.
    pub until: Option<u64>,
}

/// All counters of a campaign, as one read had them. Times are log time, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Balance {
    /// How many coupons were issued.
    pub issued: u64,
    /// How many of them returned their quota.
    pub returned: u64,
    /// How many were held.
    pub held: u64,
    /// How many were left.
    pub remaining: u64,
    /// Which revision of the campaign it was; its creation is the first.
    pub revision: u64,
    /// Log time was this or later: the latest that an answer had shown before.
    pub from: u64,
    /// Log time was this or earlier: the earliest that an answer to a later call shows.
    pub until: u64,
}

/// A call, from its first attempt to its last answer: attempts of one call share a request id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Nanoseconds of a monotonic clock since the recording began, read before sending.
    pub invoked: u64,
    /// The same clock, read after the answer was received. Without meaning when the outcome is
    /// unknown; a file has no value for it then, and reading gives `u64::MAX`.
    pub returned: u64,
    /// What was asked.
    pub call: Call,
    /// What came of it.
    pub outcome: Outcome,
}

/// What was asked of a campaign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// Issue a coupon.
    Issue {
        /// The UUID of the request.
        request_id: u128,
        /// Who is to hold the coupon; may be empty.
        recipient: Box<str>,
    },
    /// A read of the campaign's counters.
    Get,
    /// Redeem a coupon.
    Redeem {
        /// Its code.
        code: Box<str>,
    },
    /// Reverse a redemption.
    Reverse {
        /// Its code.
        code: Box<str>,
    },
    /// Void a coupon.
    Void {
        /// Its code.
        code: Box<str>,
    },
    /// Change the quota of the campaign.
    SetQuota {
        /// To this.
        quota: u64,
    },
}

impl Operation {
    /// The code that the call names.
    pub(crate) fn code(&self) -> Option<&str> {
        match &self.call {
            Call::Redeem { code } | Call::Reverse { code } | Call::Void { code } => Some(code),
            Call::Issue { .. } | Call::Get | Call::SetQuota { .. } => None,
        }
    }

    /// Whether the outcome is one that the call can have.
    pub(crate) fn is_coherent(&self) -> bool {
        match self.outcome {
            Outcome::Issued { .. }
            | Outcome::SoldOut
            | Outcome::NotStarted
            | Outcome::Ended
            | Outcome::LimitReached { .. } => matches!(self.call, Call::Issue { .. }),
            Outcome::Counted { .. } => self.call == Call::Get,
            Outcome::Done => !matches!(self.call, Call::Issue { .. } | Call::Get),
            Outcome::Refused | Outcome::Unknown => true,
        }
    }
}

/// What came of a call.
///
/// A definite refusal says of the whole call that it had no effect, then or ever. A call with an
/// earlier attempt that got no answer is therefore to be recorded as [`Outcome::Unknown`] when a
/// later attempt is refused for a reason that may pass, as [`Outcome::NotStarted`] or
/// [`Outcome::Refused`] do; [`Outcome::SoldOut`], [`Outcome::Ended`] and [`Outcome::LimitReached`]
/// stay true for the earlier attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Issue: a coupon.
    Issued {
        /// Its place in the campaign.
        sequence: u64,
        /// The string people see.
        code: Box<str>,
        /// Whether an earlier request with this id had issued it.
        replayed: bool,
    },
    /// Issue: all coupons of the quota are issued.
    SoldOut,
    /// Issue: it is before the campaign's start.
    NotStarted,
    /// Issue: it is at or after the campaign's end.
    Ended,
    /// Issue: the recipient holds as many as it may.
    LimitReached {
        /// The codes named: those the recipient holds, at most ten, the first issued ones.
        codes: Box<[Box<str>]>,
    },
    /// Get: the number of coupons issued.
    Counted {
        /// How many.
        issued: u64,
    },
    /// Redeem, Reverse, Void and SetQuota: done.
    Done,
    /// Any other definite refusal: the call had no effect, then or ever.
    Refused,
    /// Whether the call had, has or will have an effect is not known.
    Unknown,
}

/// What a replica of a shard said of its state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Replica {
    /// The shard.
    pub shard: u64,
    /// The replica's number among those of the shard.
    pub replica: u64,
    /// The index of the last log entry that it applied.
    pub applied_index: u64,
    /// A digest of all that it holds; equal states have equal digests.
    pub digest: Box<str>,
}

/// A fault. Times are those of [`Operation`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fault {
    /// What was done, for instance "kill leader of shard 3".
    pub name: String,
    /// When it was begun.
    pub began: u64,
    /// When it was healed.
    pub ended: u64,
    /// Whether it was seen to be in force.
    pub in_force: bool,
}
