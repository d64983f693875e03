//! Which node leads which shard since when, as the nodes say themselves.
//!
//! Nodes are asked directly, from outside of their network, which no fault touches: what is cut off
//! still answers. Where containers cannot be reached from here (Docker on another machine, or in a
//! virtual one) nothing is seen, and nothing depends on it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use coupon_loadtest::Clock;
use coupon_proto::internal::cluster_service_client::ClusterServiceClient;
use coupon_proto::internal::{GetNodeStatusRequest, IdentifyRequest};
use coupon_transport::{Addressed, AddressedChannel, Addressee};
use coupon_wire::node::identity_from_pb;
use serde::Serialize;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tonic::transport::Endpoint;

use crate::cluster;
use crate::nemesis::docker;

/// How often each node is asked: what is seen is late by as much.
const INTERVAL: Duration = Duration::from_millis(50);

/// How long it may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(500);

/// The pause before a node that did not answer is looked for again; it may have another address.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// The port of every node within its container.
const PORT: u16 = 7000;

/// A node that was first seen to lead a shard in a term.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Election {
    /// When, in nanoseconds of the clock of the recording.
    pub at: u64,
    /// The shard.
    pub shard: u32,
    /// The term.
    pub term: u64,
    /// The node.
    pub node: u64,
}

/// Keeps what is new of what nodes say. Pure.
#[derive(Debug, Default)]
struct Sightings {
    term_of: BTreeMap<u32, u64>,
    elections: Vec<Election>,
}

impl Sightings {
    /// A node says that it leads. The first leader of a shard is no change.
    fn leads(&mut self, at: u64, shard: u32, term: u64, node: u64) {
        match self.term_of.insert(shard, term) {
            Some(before) if before >= term => {
                self.term_of.insert(shard, before);
            }
            Some(_) => self.elections.push(Election { at, shard, term, node }),
            None => {}
        }
    }
}

/// Watches, on a thread of its own.
pub(crate) struct Watch {
    stop: watch::Sender<bool>,
    seen: Arc<Mutex<Sightings>>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Begins.
    pub(crate) fn begin(project: String, clock: Clock, nodes: Vec<u64>) -> Self {
        let (stop, stopped) = watch::channel(false);
        let seen = Arc::new(Mutex::new(Sightings::default()));
        let noted = Arc::clone(&seen);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            // Without a runtime nothing is seen.
            let Ok(runtime) = runtime else { return };
            runtime.block_on(async {
                for node in nodes {
                    let node = Watched { node, project: project.clone(), clock };
                    tokio::spawn(node.follow(Arc::clone(&noted)));
                }
                let mut stopped = stopped;
                // An error means that the sender is gone.
                let _ = stopped.wait_for(|stopped| *stopped).await;
            });
            runtime.shutdown_background();
        });
        Self { stop, seen, thread: Some(thread) }
    }

    /// Ends, and says what was seen.
    pub(crate) fn end(mut self) -> Vec<Election> {
        self.stop.send_replace(true);
        if let Some(thread) = self.thread.take() {
            // What it saw until it panicked is what there is.
            let _ = thread.join();
        }
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut seen.elections)
    }
}

/// A node that is watched.
struct Watched {
    node: u64,
    project: String,
    clock: Clock,
}

impl Watched {
    async fn follow(self, seen: Arc<Mutex<Sightings>>) {
        loop {
            if let Some(mut client) = self.connect().await {
                while self.ask(&mut client, &seen).await.is_some() {
                    sleep(INTERVAL).await;
                }
            }
            sleep(LOOK_AGAIN).await;
        }
    }

    async fn connect(&self) -> Option<ClusterServiceClient<AddressedChannel>> {
        let (project, node) = (self.project.clone(), self.node);
        let address =
            tokio::task::spawn_blocking(move || address_of(&project, node)).await.ok()??;
        let endpoint = Endpoint::from_shared(format!("http://{address}:{PORT}")).ok()?;
        let channel = timeout(ANSWER_TIMEOUT, endpoint.connect()).await.ok()?.ok()?;
        let asked =
            async { ClusterServiceClient::new(channel.clone()).identify(IdentifyRequest {}).await };
        let who = timeout(ANSWER_TIMEOUT, asked).await.ok()?.ok()?.into_inner();
        let to = Addressee::who_answered(&identity_from_pb(&who).ok()?).ok()?;
        Some(ClusterServiceClient::new(Addressed::new(channel, to)))
    }

    /// Asks once. `None`: it did not answer.
    async fn ask(
        &self,
        client: &mut ClusterServiceClient<AddressedChannel>,
        seen: &Mutex<Sightings>,
    ) -> Option<()> {
        let asked = client.get_node_status(GetNodeStatusRequest { digests: false });
        let answer = timeout(ANSWER_TIMEOUT, asked).await.ok()?.ok()?.into_inner();
        let now = self.clock.now();
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        for replica in answer.replicas.iter().filter(|replica| replica.state == "leader") {
            seen.leads(now, replica.shard_id, replica.term, self.node);
        }
        Some(())
    }
}

/// The address of a node's container, if it runs.
fn address_of(project: &str, node: u64) -> Option<IpAddr> {
    let container = cluster::running(project, &format!("node-{node}")).ok()?;
    let address = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
    docker(&["inspect", "--format", address, &container]).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_a_leader_of_a_higher_term() {
        let mut seen = Sightings::default();
        seen.leads(1, 1, 5, 1);
        seen.leads(2, 1, 5, 1);
        seen.leads(3, 1, 7, 2);
        seen.leads(4, 1, 5, 1);
        seen.leads(5, 1, 7, 2);
        seen.leads(6, 2, 7, 2);
        assert_eq!(seen.elections, [Election { at: 3, shard: 1, term: 7, node: 2 }]);
    }
}
