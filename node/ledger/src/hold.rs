//! A hold: a claim on quota for a short time.
//!
//! That a hold has expired is never written. It follows from the time, like the end of a coupon: the campaign counts
//! its open holds, and before each decision it takes out those that have expired by log time.

use coupon_cluster::RequestId;

use crate::{Campaign, LogTime, StateReader};

/// Maximum number of open holds of a campaign, so that what a campaign has to count has a bound.
pub const HOLDS_OPEN_MAX: u64 = 100_000;

/// What the ledger keeps of a hold, under its campaign and its id, which is that of the request that made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// Who is to get the coupon; may be empty where the campaign has no limit per recipient.
    pub recipient: String,
    /// When the hold was made.
    pub held_at: LogTime,
    /// When it expires and gives its quota back, unless it was confirmed or released before.
    pub expires_at: LogTime,
    /// What became of it.
    pub state: HoldState,
}

/// What became of a hold. Whether it has expired follows from the time, and is never written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HoldState {
    /// Nothing yet.
    #[default]
    Open,
    /// It became a coupon.
    Confirmed {
        /// When.
        at: LogTime,
        /// By which request.
        request_id: RequestId,
        /// The sequence number of the coupon.
        sequence: u64,
    },
    /// It was given up before its end.
    Released {
        /// When.
        at: LogTime,
        /// By which request.
        request_id: RequestId,
    },
}

impl Hold {
    /// When it gives its quota back; `None`: it became a coupon, which keeps it.
    #[must_use]
    pub fn end(&self) -> Option<LogTime> {
        match self.state {
            HoldState::Open => Some(self.expires_at),
            HoldState::Released { at, .. } => Some(at),
            HoldState::Confirmed { .. } => None,
        }
    }
}

/// Where a hold that became no coupon stands among those of its shard: ordered by the time at which it gives its quota
/// back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HoldEnd {
    /// When it gives its quota back.
    pub at: LogTime,
    /// The number of its campaign.
    pub campaign_number: u32,
    /// Its id.
    pub hold_id: RequestId,
}

/// Between which times the open holds of a campaign end. Both are bounds: the holds that ended there may have been
/// confirmed or released since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HoldEnds {
    /// None ends earlier.
    pub first: LogTime,
    /// None ends later.
    pub last: LogTime,
}

impl HoldEnds {
    /// The bounds with another hold.
    pub(crate) fn with(ends: Option<Self>, end: LogTime) -> Self {
        ends.map_or(Self { first: end, last: end }, |Self { first, last }| Self {
            first: first.min(end),
            last: last.max(end),
        })
    }
}

/// What a campaign's holds come to at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EndsFound {
    /// How many end by then.
    pub ended: u64,
    /// When the first of the others ends.
    pub next: Option<LogTime>,
}

impl Campaign {
    /// Takes the holds that have expired by `now` out of the counters. Returns whether the counters changed. Costs
    /// nothing while none can have expired, or once all have; else `hold_ends` is asked once, as
    /// [`StateReader::hold_ends`](crate::StateReader::hold_ends) is, for this campaign.
    ///
    /// # Errors
    ///
    /// That of `hold_ends`.
    pub fn settle_holds<E>(
        &mut self,
        now: LogTime,
        hold_ends: impl FnOnce(LogTime, LogTime) -> Result<EndsFound, E>,
    ) -> Result<bool, E> {
        let counters = &mut self.counters;
        let Some(HoldEnds { first, last }) = counters.hold_ends else { return Ok(false) };
        if now < first {
            return Ok(false);
        }
        if last <= now {
            counters.held = 0;
            counters.hold_ends = None;
            return Ok(true);
        }
        let EndsFound { ended, next } = hold_ends(first, now)?;
        counters.held = counters.held.saturating_sub(ended);
        let next = next.filter(|_| counters.held > 0);
        counters.hold_ends = next.map(|first| HoldEnds { first, last });
        Ok(true)
    }
}

/// Takes the holds that have expired by `now` out of the counters of a campaign, by what a store has of them. Returns
/// whether the counters changed.
pub(crate) fn settle<S: StateReader>(
    store: &mut S,
    campaign: &mut Campaign,
    now: LogTime,
) -> Result<bool, S::Error> {
    let number = campaign.spec.number;
    campaign.settle_holds(now, |from, until| store.hold_ends(number, from, until))
}
