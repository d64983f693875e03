//! The campaigns that give no coupons at the moment, as far as this replica has seen.
//!
//! Requests for them most likely change nothing, and the leader answers such requests without the log. This is a
//! hint: it is neither complete nor always right, and decides which way a command takes, never its outcome.

use std::collections::HashSet;
use std::sync::Arc;

use coupon_cluster::CampaignState;
use coupon_ledger::{Campaign, LogTime};
use parking_lot::RwLock;

/// Maximum number of campaigns remembered. When there are more, all are forgotten: a request or two for each of
/// them goes through the log then.
const CAMPAIGNS_MAX: usize = 4_096;

/// The ids of the campaigns. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct ClosedCampaigns(Arc<RwLock<HashSet<Box<str>>>>);

impl ClosedCampaigns {
    /// Whether no campaign is known to be closed.
    pub fn is_empty(&self) -> bool {
        self.0.read().is_empty()
    }

    /// Whether a campaign is known to be closed.
    pub fn contains(&self, name: &str) -> bool {
        self.0.read().contains(name)
    }

    /// Forgets a campaign, which may have opened.
    pub fn forget(&self, name: &str) {
        self.0.write().remove(name);
    }

    /// Notes where campaigns stand after an entry.
    pub(super) fn note<'a>(&self, campaigns: impl Iterator<Item = &'a Campaign>, now: LogTime) {
        for campaign in campaigns {
            let name = campaign.spec.name.as_str();
            let is_closed = !campaign.spec.is_deleted()
                && match campaign.state_at(now) {
                    CampaignState::Active => false,
                    CampaignState::Scheduled
                    | CampaignState::Paused
                    | CampaignState::Exhausted
                    | CampaignState::Ended
                    | CampaignState::Archived => true,
                };
            if is_closed == self.contains(name) {
                continue;
            }
            let mut closed = self.0.write();
            if !is_closed {
                closed.remove(name);
                continue;
            }
            if closed.len() >= CAMPAIGNS_MAX {
                closed.clear();
            }
            closed.insert(name.into());
        }
    }
}
