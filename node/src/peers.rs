//! The channels of a node to its peers.
//!
//! A node keeps a few channels to each peer, shared by all shards: one for replication, one for
//! heartbeats and votes, one for snapshots, so that no large transfer delays a heartbeat; and one for
//! what it forwards for routers.

mod heartbeats;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use coupon_cluster::{NodeId, ShardMap};
use coupon_transport::{Addressed, AddressedChannel, Addressee};
use parking_lot::Mutex;
use tokio::sync::watch;
use tonic::transport::{Channel, Endpoint};

use self::heartbeats::HeartbeatQueues;

/// The largest message between nodes: a batch of entries (see `log_store`) and room to spare.
pub const MESSAGE_BYTES_MAX: usize = 64 << 20;

/// How long connecting to a peer may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Interval between pings of a peer, and the wait for an answer after which its streams break: a paused node must
/// not hold replication up silently.
const PING_INTERVAL: Duration = Duration::from_secs(1);
const PING_TIMEOUT: Duration = Duration::from_secs(2);
/// Flow-control windows large enough for a few batches, so that they never wait for an update.
const STREAM_WINDOW_BYTES: u32 = 8 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;

/// What a channel is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lane {
    /// Log replication.
    Replication,
    /// Heartbeats, votes, leadership transfers, questions about the cluster.
    Control,
    /// Snapshots.
    Snapshot,
    /// Calls of routers that cannot reach the peer themselves.
    Forward,
}

/// The channels to all peers. Clones share them.
#[derive(Clone)]
pub struct Peers {
    map: watch::Receiver<Arc<ShardMap>>,
    /// Announced addresses of nodes that have started since, each with the start that the map had
    /// then.
    announced: Arc<Mutex<HashMap<NodeId, (String, String)>>>,
    channels: Arc<Mutex<HashMap<(String, Lane), Channel>>>,
    addressed: Arc<Mutex<HashMap<(NodeId, Lane), Peer>>>,
    heartbeats: HeartbeatQueues,
}

/// A peer as the map had it when it was last called.
struct Peer {
    address: String,
    channel: AddressedChannel,
}

impl Peers {
    /// Channels to the nodes of `map`, as it is and as it will be.
    pub fn new(map: watch::Receiver<Arc<ShardMap>>) -> Self {
        let (announced, channels) = (Arc::default(), Arc::default());
        let (addressed, heartbeats) = Default::default();
        Self { map, announced, channels, addressed, heartbeats }
    }

    /// A copy with its own connections; the runtime that first uses a connection serves it.
    pub fn with_own_connections(&self) -> Self {
        let (channels, addressed, heartbeats) = Default::default();
        Self { channels, addressed, heartbeats, ..self.clone() }
    }

    /// Notes the address of a node that has started, while the map still has an earlier start of
    /// it.
    pub fn announced(&self, id: NodeId, address: String) {
        if let Some(known) = self.map.borrow().nodes.get(&id) {
            self.announced.lock().insert(id, (known.start_id.clone(), address));
        }
    }

    /// The address of a node: the announced one, until the map has a later start.
    pub(crate) fn address(&self, id: NodeId) -> Option<String> {
        let map = self.map.borrow();
        let known = map.nodes.get(&id)?;
        let mut announced = self.announced.lock();
        match announced.get(&id) {
            Some((start_id, address)) if *start_id == known.start_id => {
                return Some(address.clone());
            }
            Some(_) => drop(announced.remove(&id)),
            None => {}
        }
        Some(known.address.clone())
    }

    /// The channel to a node, as the map names it. Answers from another node at its address are refused.
    /// `None` when the map has no address for the node.
    pub fn channel(&self, node: NodeId, lane: Lane) -> Option<AddressedChannel> {
        let map = self.map.borrow().clone();
        let (known, address) = (map.nodes.get(&node)?, self.address(node)?);
        let mut addressed = self.addressed.lock();
        if let Some(peer) = addressed.get(&(node, lane))
            && peer.address == address
            && peer.channel.addressee().is(&map.cluster_id, node, &known.store_id)
        {
            return Some(peer.channel.clone());
        }
        let to = Addressee::new(&map.cluster_id, node, &known.store_id).ok()?;
        let channel = Addressed::new(self.channel_to(address.clone(), lane)?, to);
        addressed.insert((node, lane), Peer { address, channel: channel.clone() });
        Some(channel)
    }

    /// The channel to the address of a node, whichever node listens there; `None` when the map has no address
    /// for it. For `Identify`, whose answer names the node.
    pub fn channel_unnamed(&self, node: NodeId, lane: Lane) -> Option<Channel> {
        self.channel_to(self.address(node)?, lane)
    }

    /// The channel to an address, made on first use and connected on first call, whichever node listens
    /// there. For calls that need not name the node.
    pub fn channel_to(&self, address: String, lane: Lane) -> Option<Channel> {
        let mut channels = self.channels.lock();
        if let Some(channel) = channels.get(&(address.clone(), lane)) {
            return Some(channel.clone());
        }
        let channel = Endpoint::from_shared(format!("http://{address}"))
            .ok()?
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT)
            .keep_alive_while_idle(true)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .connect_lazy();
        channels.insert((address, lane), channel.clone());
        Some(channel)
    }

    /// The map that addresses come from, now and whenever it changes.
    pub fn maps(&self) -> watch::Receiver<Arc<ShardMap>> {
        self.map.clone()
    }

    /// The map that addresses come from.
    pub fn map(&self) -> Arc<ShardMap> {
        self.map.borrow().clone()
    }
}
