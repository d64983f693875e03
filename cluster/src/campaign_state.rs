//! Where in its life a campaign stands.

/// All that the state of a campaign depends on besides the time. Times are log time: microseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CampaignLifecycle {
    /// Nothing is issued before this time.
    pub start_micros: u64,
    /// Nothing is issued at or after this time; `None`: no end.
    pub end_micros: Option<u64>,
    /// Whether an administrator has paused it.
    pub is_paused: bool,
    /// Whether an administrator has archived it.
    pub is_archived: bool,
    /// The number of coupons that may be issued.
    pub quota: u64,
    /// The number of coupons and open holds that count against the quota.
    pub quota_used: u64,
}

impl CampaignLifecycle {
    /// The state at a moment. Issuing asks this and nothing else, so a campaign does what it shows.
    #[must_use]
    pub fn state_at(&self, now_micros: u64) -> CampaignState {
        if self.is_archived {
            CampaignState::Archived
        } else if self.end_micros.is_some_and(|end| now_micros >= end) {
            CampaignState::Ended
        } else if self.is_paused {
            CampaignState::Paused
        } else if now_micros < self.start_micros {
            CampaignState::Scheduled
        } else if self.quota_used >= self.quota {
            CampaignState::Exhausted
        } else {
            CampaignState::Active
        }
    }
}

/// Where in its life a campaign stands. What comes first hides the rest: its archiving, its end, a pause, its start,
/// its quota.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CampaignState {
    /// Before its start.
    Scheduled,
    /// Coupons are issued.
    Active,
    /// Stopped until it is resumed.
    Paused,
    /// Nothing is left of the quota: it is issued or held.
    Exhausted,
    /// At or after its end.
    Ended,
    /// After its end, and kept for reading only.
    Archived,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_hides_a_pause_hides_the_start_hides_the_quota() {
        let fresh = CampaignLifecycle {
            start_micros: 100,
            end_micros: Some(200),
            is_paused: false,
            is_archived: false,
            quota: 2,
            quota_used: 0,
        };
        let sold_out = CampaignLifecycle { quota_used: 2, ..fresh };
        let paused = CampaignLifecycle { is_paused: true, ..sold_out };
        assert_eq!(fresh.state_at(99), CampaignState::Scheduled);
        assert_eq!(fresh.state_at(100), CampaignState::Active);
        assert_eq!(sold_out.state_at(99), CampaignState::Scheduled);
        assert_eq!(sold_out.state_at(199), CampaignState::Exhausted);
        assert_eq!(sold_out.state_at(200), CampaignState::Ended);
        assert_eq!(paused.state_at(99), CampaignState::Paused);
        assert_eq!(paused.state_at(200), CampaignState::Ended);
        let archived = CampaignLifecycle { is_archived: true, ..paused };
        assert_eq!(archived.state_at(200), CampaignState::Archived);
        let unending = CampaignLifecycle { end_micros: None, ..fresh };
        assert_eq!(unending.state_at(u64::MAX), CampaignState::Active);
    }
}
