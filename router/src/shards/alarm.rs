//! Alarms about nodes of other clusters at the addresses of this one: always logged, at a bounded
//! rate.

use std::collections::BTreeMap;
use std::time::Duration;

use coupon_cluster::NodeIdentity;
use parking_lot::Mutex;
use tokio::time::Instant;

/// Minimum interval between two lines about one address: a line for every call would bury the
/// first.
const LINE_INTERVAL: Duration = Duration::from_secs(60);

/// Minimum interval between two refreshes of the map because a node was not where the map says. A node that
/// is being replaced stays away for seconds.
const REFRESH_INTERVAL: Duration = Duration::from_secs(2);

/// The time of the last alarm for each address, and of the last refresh.
#[derive(Debug, Default)]
pub(crate) struct Alarms {
    /// One entry for each address of the cluster's nodes.
    said: Mutex<BTreeMap<String, Instant>>,
    refreshed: Mutex<Option<Instant>>,
}

impl Alarms {
    /// A node of another cluster answered at an address.
    pub(crate) fn foreign(&self, address: &str, node: &NodeIdentity) {
        if self.is_due(address) {
            tracing::warn!(
                %address, node = node.node_id.get(), cluster_id = node.cluster_id,
                "ANOTHER CLUSTER answers at an address of this one: its answers are ignored, and \
                 nothing is sent to it; give the address back to its node, or give the router other nodes",
            );
        }
    }

    fn is_due(&self, address: &str) -> bool {
        let mut said = self.said.lock();
        let now = Instant::now();
        let due = said.get(address).is_none_or(|at| now.duration_since(*at) >= LINE_INTERVAL);
        if due {
            said.insert(address.to_owned(), now);
        }
        due
    }

    /// Whether to refresh the map now, after a node was not where the map says.
    pub(crate) fn refresh_is_due(&self) -> bool {
        let mut refreshed = self.refreshed.lock();
        let due = refreshed.is_none_or(|at| at.elapsed() >= REFRESH_INTERVAL);
        if due {
            *refreshed = Some(Instant::now());
        }
        due
    }

    /// Forgets all addresses but these.
    pub(crate) fn keep_only(&self, addresses: &std::collections::BTreeSet<&str>) {
        self.said.lock().retain(|address, _| addresses.contains(address.as_str()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn every_address_has_a_line_a_minute() {
        let alarms = Alarms::default();
        assert!(alarms.is_due("a:1"));
        assert!(!alarms.is_due("a:1"));
        assert!(alarms.is_due("b:1"), "another address is another alarm");
        tokio::time::advance(LINE_INTERVAL).await;
        assert!(alarms.is_due("a:1"));
        alarms.keep_only(&["b:1"].into());
        assert!(alarms.is_due("a:1"));
    }
}
