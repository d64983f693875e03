//! The calls for coupons, as the load reports them when they are over. Pure.

use coupon_checker::{Call, Outcome};
use coupon_loadtest::Observed;

use crate::recovery::Success;

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// With a coupon.
    Issued,
    /// With a refusal that the API promises.
    Refused,
    /// With an error.
    Failed,
    /// Given up without an answer.
    Unknown,
}

/// A call for a coupon, from its first attempt to its end. Times are nanoseconds of the clock of the
/// recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The shard that owns the campaign.
    pub shard: u32,
    /// The number of the router that was asked.
    pub router: u64,
    /// When it was sent for the first time.
    pub sent: u64,
    /// When the first attempt began that may have had an effect.
    pub invoked: u64,
    /// When it was answered or given up.
    pub returned: u64,
    /// How often it was sent.
    pub attempts: u32,
    /// How it ended.
    pub ending: Ending,
}

impl Asked {
    /// What an observer of the load is told; `None` if that is no call for a coupon.
    #[must_use]
    pub fn of(observed: &Observed<'_>, shard: u32) -> Option<Self> {
        let Observed { operation, router, attempts, sent, .. } = *observed;
        if !matches!(operation.call, Call::Issue { .. }) {
            return None;
        }
        let ending = match operation.outcome {
            Outcome::Issued { .. } => Ending::Issued,
            Outcome::Unknown => Ending::Unknown,
            Outcome::Refused => Ending::Failed,
            Outcome::SoldOut
            | Outcome::NotStarted
            | Outcome::Ended
            | Outcome::LimitReached { .. }
            // What is said to other calls.
            | Outcome::Counted { .. }
            | Outcome::Done => Ending::Refused,
        };
        Some(Self {
            shard,
            router: u64::try_from(router).map_or(u64::MAX, |router| router + 1),
            sent,
            invoked: operation.invoked,
            returned: operation.returned,
            attempts,
            ending,
        })
    }

    /// The coupon that it got, and the shard.
    #[must_use]
    pub fn success(&self) -> Option<(u32, Success)> {
        let Self { shard, router, invoked, returned, .. } = *self;
        (self.ending == Ending::Issued).then_some((shard, Success { invoked, returned, router }))
    }
}
