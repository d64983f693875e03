//! Deliberate faults, which show that the checker finds what it says it finds.
//!
//! A test that is always green shows nothing. Each [`Mutant`] breaks one promise the way a plausible
//! mistake would; `tests/mutants` runs the real program with it and demands that the verdict says so.
//!
//! - They exist only with the feature `mutants`, which is in nobody's default features. Without it
//!   [`is`] is constant, and no trace of a fault is compiled.
//! - The program reads from `COUPON_MUTANT` which one is on, and calls `activate` once. That is data
//!   like any other to this crate, which stays pure: a ledger with a mutant is still a function.
//! - At most one is on in a process, the same one all the time.

#[cfg(feature = "mutants")]
use std::sync::OnceLock;

#[cfg(feature = "mutants")]
use coupon_cluster::CampaignState;

#[cfg(feature = "mutants")]
use crate::{Campaign, LogTime};

/// A deliberate fault. What it breaks is said with the check that has to find it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// The ledger does not look whether a request id has issued a coupon. Found as `repeats`.
    RetryNotDeduplicated,
    /// A leader answers reads without asking its quorum whether it still leads. Found as `order`.
    ReadWithoutQuorum,
    /// The leader looks at the quota before it proposes, the ledger does not. Found as `oversold`.
    QuotaOutsideLog,
    /// The last coupons of a campaign are called sold out. Found as `undersold`.
    SoldOutEarly,
    /// The leader looks at the limit per recipient before it proposes, the ledger does not. Found as
    /// `limit`.
    LimitOutsideLog,
    /// Replicas read the clock when they apply an entry, instead of the time in it. Found by a
    /// replica, which stops.
    ClockReadAtApply,
    /// A campaign starts a moment early. Found by the times of the coupons themselves.
    StartsEarly,
    /// A node syncs its log every now and then ([`ENTRIES_PER_SYNC`]), and acknowledges entries at
    /// once. Found as `lost`.
    AcknowledgedBeforeSync,
    /// An update does not look at the entity tag that it names. Found by an update that undoes another one.
    EtagIgnored,
    /// A coupon is redeemed although it is redeemed. Found as `redemptions`.
    RedeemedTwice,
    /// A voided coupon returns its quota twice. Found as `oversold`.
    QuotaReturnedTwice,
    /// A hold is confirmed although it has expired. Found as `holds`.
    HoldNotExpired,
    /// A released hold still counts as held. Found as `holds`.
    ReleaseNotCounted,
}

/// How often [`Mutant::AcknowledgedBeforeSync`] syncs a log: twice a second at a light load.
pub const ENTRIES_PER_SYNC: u64 = 256;

#[cfg(feature = "mutants")]
static ACTIVE: OnceLock<Mutant> = OnceLock::new();

/// How many coupons [`Mutant::SoldOutEarly`] keeps back.
#[cfg(feature = "mutants")]
const KEPT_BACK: u64 = 3;

/// How much too early [`Mutant::StartsEarly`] starts.
#[cfg(feature = "mutants")]
const EARLY_MICROS: u64 = 200_000;

/// Whether a mutant is on.
#[cfg(feature = "mutants")]
#[must_use]
pub fn is(mutant: Mutant) -> bool {
    ACTIVE.get() == Some(&mutant)
}

/// Whether a mutant is on: never, without the feature.
#[cfg(not(feature = "mutants"))]
#[must_use]
pub const fn is(_mutant: Mutant) -> bool {
    false
}

/// Turns a mutant on for the rest of the process.
///
/// # Panics
/// When another one is on.
#[cfg(feature = "mutants")]
pub fn activate(mutant: Mutant) {
    assert_eq!(*ACTIVE.get_or_init(|| mutant), mutant, "one mutant is on for a whole process");
}

#[cfg(feature = "mutants")]
impl Mutant {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::RetryNotDeduplicated,
        Self::ReadWithoutQuorum,
        Self::QuotaOutsideLog,
        Self::SoldOutEarly,
        Self::LimitOutsideLog,
        Self::ClockReadAtApply,
        Self::StartsEarly,
        Self::AcknowledgedBeforeSync,
        Self::EtagIgnored,
        Self::RedeemedTwice,
        Self::QuotaReturnedTwice,
        Self::HoldNotExpired,
        Self::ReleaseNotCounted,
    ];

    /// What `COUPON_MUTANT` calls it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::RetryNotDeduplicated => "retry-not-deduplicated",
            Self::ReadWithoutQuorum => "read-without-quorum",
            Self::QuotaOutsideLog => "quota-outside-log",
            Self::SoldOutEarly => "sold-out-early",
            Self::LimitOutsideLog => "limit-outside-log",
            Self::ClockReadAtApply => "clock-read-at-apply",
            Self::StartsEarly => "starts-early",
            Self::AcknowledgedBeforeSync => "acknowledged-before-sync",
            Self::EtagIgnored => "etag-ignored",
            Self::RedeemedTwice => "redeemed-twice",
            Self::QuotaReturnedTwice => "quota-returned-twice",
            Self::HoldNotExpired => "hold-not-expired",
            Self::ReleaseNotCounted => "release-not-counted",
        }
    }
}

/// Where a campaign stands in the eyes of the mutant that is on.
#[cfg(feature = "mutants")]
pub(crate) fn distorted(state: CampaignState, campaign: &Campaign, now: LogTime) -> CampaignState {
    match state {
        CampaignState::Scheduled if is(Mutant::StartsEarly) => {
            campaign.state_at(now.after_micros(EARLY_MICROS))
        }
        CampaignState::Exhausted if is(Mutant::QuotaOutsideLog) => CampaignState::Active,
        CampaignState::Active if is(Mutant::SoldOutEarly) && campaign.remaining() <= KEPT_BACK => {
            CampaignState::Exhausted
        }
        CampaignState::Scheduled
        | CampaignState::Active
        | CampaignState::Paused
        | CampaignState::Exhausted
        | CampaignState::Ended
        | CampaignState::Archived => state,
    }
}
