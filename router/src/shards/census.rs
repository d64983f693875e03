//! The nodes that listen at the addresses a router knows, and what the router concludes from them.
//!
//! A router does not trust an address to belong to its cluster. Every node says who it is, and
//! nodes that are in no cluster yet do not count. The conclusions are drawn here, without I/O; the
//! functions that ask are below.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use coupon_cluster::NodeIdentity;
use coupon_proto::internal::IdentifyRequest;
use coupon_proto::internal::cluster_service_client::ClusterServiceClient;
use coupon_wire::node;
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::shards::pool::{Lane, Pool};

/// Timeout for a node to identify itself. Once the first of the configured nodes has answered, the
/// others get this long too.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// Grace period for the others once most have named one cluster: the choice is made then, and late
/// answers only serve the warning.
const DECIDED_GRACE: Duration = Duration::from_millis(200);

/// Grace period for another node than the one just left, so that the router does not return to it
/// at once.
const ANOTHER_GRACE: Duration = Duration::from_millis(300);

/// Pause before a node is asked again that did not answer, or is in no cluster yet.
const ASK_AGAIN: Duration = Duration::from_millis(100);

/// The cluster members that listen at some addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Census {
    /// The number of addresses asked.
    pub(crate) asked: usize,
    /// The nodes that answered, with their addresses.
    pub(crate) found: BTreeMap<String, NodeIdentity>,
}

/// The cluster of a router that was not configured with one.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    /// The one that all nodes that answered name, or else most of the addresses.
    Cluster(String),
    /// None: the answers differ, and no cluster has most of the addresses.
    Undecided,
    /// None: no cluster member answered.
    NoAnswer,
}

/// How a router stands that knows its cluster.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// A node of its cluster answered.
    Ours,
    /// Only nodes of other clusters answered. `most`: whether they have most of the addresses.
    Foreign {
        /// The cluster is not there any more, or the router was never meant for it.
        most: bool,
    },
    /// No cluster member answered.
    NoAnswer,
}

impl Census {
    /// The cluster that these addresses belong to.
    pub(crate) fn choose(&self) -> Choice {
        let clusters: BTreeSet<&str> =
            self.found.values().map(|node| node.cluster_id.as_str()).collect();
        let agreed = clusters.first().filter(|_| clusters.len() == 1).copied();
        match agreed.or(self.majority()) {
            Some(cluster) => Choice::Cluster(cluster.to_owned()),
            None if clusters.is_empty() => Choice::NoAnswer,
            None => Choice::Undecided,
        }
    }

    /// The cluster of more than half of all addresses.
    fn majority(&self) -> Option<&str> {
        let ids = || self.found.values().map(|node| node.cluster_id.as_str());
        ids().find(|id| ids().filter(|other| other == id).count() * 2 > self.asked)
    }

    /// How a router of `cluster_id` stands.
    pub(crate) fn standing(&self, cluster_id: &str) -> Standing {
        let foreign = self.not_of(cluster_id).found.len();
        if foreign < self.found.len() {
            Standing::Ours
        } else if foreign > 0 {
            Standing::Foreign { most: foreign * 2 > self.asked }
        } else {
            Standing::NoAnswer
        }
    }

    /// The nodes of other clusters than `cluster_id`.
    pub(crate) fn not_of(&self, cluster_id: &str) -> Self {
        let mut others = self.clone();
        others.found.retain(|_, node| node.cluster_id != cluster_id);
        others
    }
}

impl fmt::Display for Census {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (address, node)) in self.found.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            let (id, cluster) = (node.node_id.get(), &node.cluster_id);
            write!(f, "{comma}{address} is node {id} of cluster {cluster}")?;
        }
        Ok(())
    }
}

/// Asks the configured nodes until enough of them have answered to choose a cluster: all, or those
/// that answer within [`ANSWER_TIMEOUT`] of the first.
pub(crate) async fn first(addresses: &[String], pool: &Pool) -> Census {
    let mut census = Census { asked: addresses.len(), ..Census::default() };
    let mut answers: FuturesUnordered<_> = addresses
        .iter()
        .map(|address| async move {
            loop {
                match ask(address, pool).await {
                    Some(node) => return (address, node),
                    None => sleep(ASK_AGAIN).await,
                }
            }
        })
        .collect();
    let mut until: Option<Instant> = None;
    loop {
        let wait = async {
            match until {
                Some(until) => sleep_until(until).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            answer = answers.next() => match answer {
                Some((address, node)) => {
                    census.found.insert(address.clone(), node);
                    let now = Instant::now();
                    let grace =
                        if census.majority().is_some() { DECIDED_GRACE } else { ANSWER_TIMEOUT };
                    until = Some(until.map_or(now + grace, |until| until.min(now + grace)));
                }
                None => return census,
            },
            () = wait => return census,
        }
    }
}

/// Asks the nodes at the addresses who they are, and ends as soon as a node of `cluster_id`
/// answers. Returns that node with its address: another one than at `left`, if one answers soon.
pub(crate) async fn seek(
    addresses: &[String],
    pool: &Pool,
    cluster_id: &str,
    left: Option<&str>,
) -> (Census, Option<(String, NodeIdentity)>) {
    let mut census = Census { asked: addresses.len(), ..Census::default() };
    let mut answers: FuturesUnordered<_> = addresses
        .iter()
        .map(|address| async move { (address, ask(address, pool).await) })
        .collect();
    let mut again: Option<(String, NodeIdentity)> = None;
    let another = Instant::now() + ANOTHER_GRACE;
    loop {
        tokio::select! {
            biased;
            answer = answers.next() => match answer {
                Some((address, Some(node))) => {
                    let is_ours = node.cluster_id == cluster_id;
                    census.found.insert(address.clone(), node.clone());
                    if is_ours && left != Some(address) {
                        return (census, Some((address.clone(), node)));
                    }
                    if is_ours {
                        again = Some((address.clone(), node));
                    }
                }
                Some((_, None)) => {}
                None => return (census, again),
            },
            () = sleep_until(another), if again.is_some() => return (census, again),
        }
    }
}

/// The node that listens at an address; `None` when it does not identify itself in time, or is in
/// no cluster yet.
async fn ask(address: &str, pool: &Pool) -> Option<NodeIdentity> {
    let channel = pool.channel(address, Lane::Calls).ok()?;
    let mut client = ClusterServiceClient::new(channel);
    let answer = timeout(ANSWER_TIMEOUT, client.identify(IdentifyRequest {})).await;
    let node = answer.ok()?.ok()?.into_inner();
    let node = node::identity_from_pb(&node).ok()?;
    (!node.cluster_id.is_empty()).then_some(node)
}

#[cfg(test)]
mod tests {
    use coupon_cluster::NodeId;

    use super::*;

    /// A census with one address for each character; a dot does not answer.
    fn census(clusters: &str) -> Census {
        let found = (1..).zip(clusters.chars()).filter(|(_, cluster)| *cluster != '.');
        let found = found.map(|(id, cluster)| {
            let node_id = NodeId::new(id).unwrap();
            let (cluster_id, store_id) = (cluster.to_string(), format!("s{id}"));
            (format!("n{id}:1"), NodeIdentity { cluster_id, node_id, store_id })
        });
        Census { asked: clusters.len(), found: found.collect() }
    }

    #[test]
    fn the_cluster_that_all_name_is_chosen_else_that_of_most_addresses() {
        let cluster = |id: &str| Choice::Cluster(id.to_owned());
        for (clusters, choice) in [
            ("aaa", cluster("a")),
            ("a..", cluster("a")),
            ("aab", cluster("a")),
            ("baa", cluster("a")),
            ("ab.", Choice::Undecided),
            ("aab.", Choice::Undecided),
            ("abc", Choice::Undecided),
            ("ab", Choice::Undecided),
            ("...", Choice::NoAnswer),
        ] {
            assert_eq!(census(clusters).choose(), choice, "{clusters}");
        }
    }

    #[test]
    fn one_node_of_ours_is_enough_and_most_addresses_must_be_foreign_to_give_up() {
        for (clusters, standing) in [
            ("aaa", Standing::Ours),
            ("abb", Standing::Ours),
            ("bb.", Standing::Foreign { most: true }),
            ("bcd", Standing::Foreign { most: true }),
            ("b..", Standing::Foreign { most: false }),
            ("bb..", Standing::Foreign { most: false }),
            ("...", Standing::NoAnswer),
        ] {
            assert_eq!(census(clusters).standing("a"), standing, "{clusters}");
        }
    }

    #[test]
    fn a_census_is_told_with_addresses_nodes_and_clusters() {
        let told = "n1:1 is node 1 of cluster a, n3:1 is node 3 of cluster b";
        assert_eq!(census("a.b").to_string(), told);
        assert_eq!(census("a.b").not_of("a").to_string(), "n3:1 is node 3 of cluster b");
    }
}
