//! Two HTTP/2 connections for each node: one shared by proposals, reads and the map watch, and one for
//! the parts of streams of coupons, which are large.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use coupon_transport::{Addressed, AddressedChannel};
use parking_lot::Mutex;
use tonic::transport::{Channel, Endpoint};

use crate::route::topology::Peer;

/// How long setting up a TCP connection may take: much longer than the way there and back, since the
/// kernel answers. The address of a machine that is gone does not, and its shards wait meanwhile.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(300);

/// A connection is pinged so often, and given up when a ping goes unanswered for
/// [`KEEP_ALIVE_TIMEOUT`]: a peer that lost power sends nothing that would close it.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(1);

/// See [`KEEP_ALIVE_INTERVAL`].
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(2);

/// What a peer may send on one stream before it is read. Large, since many shards' replies share a
/// connection and a full window would stall all of them.
const STREAM_WINDOW_BYTES: u32 = 8 << 20;

/// See [`STREAM_WINDOW_BYTES`], for the whole connection.
const CONNECTION_WINDOW_BYTES: u32 = 32 << 20;

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lane {
    /// Proposals, reads and the map watch.
    Calls,
    /// Parts of streams of coupons.
    Exports,
}

/// The connections to one address.
#[derive(Debug)]
struct Lanes {
    calls: Channel,
    exports: Channel,
}

/// The connections, by address. They are made when first used and re-made by themselves.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    lanes: Mutex<BTreeMap<String, Lanes>>,
}

impl Pool {
    /// The connection to a node for one purpose. Calls that reach another node at its address are
    /// refused.
    ///
    /// # Errors
    /// When its address is not `host:port`.
    pub(crate) fn addressed(
        &self,
        peer: &Peer,
        lane: Lane,
    ) -> Result<AddressedChannel, tonic::transport::Error> {
        Ok(Addressed::new(self.channel(&peer.address, lane)?, peer.addressee.clone()))
    }

    /// The connection to an address for one purpose, whichever node listens there.
    ///
    /// # Errors
    /// When the address is not `host:port`.
    pub(crate) fn channel(
        &self,
        address: &str,
        lane: Lane,
    ) -> Result<Channel, tonic::transport::Error> {
        let mut known = self.lanes.lock();
        if let Some(lanes) = known.get(address) {
            return Ok(lanes.channel(lane));
        }
        let endpoint = endpoint(address)?;
        let lanes = Lanes { calls: endpoint.connect_lazy(), exports: endpoint.connect_lazy() };
        let channel = lanes.channel(lane);
        known.insert(address.to_owned(), lanes);
        Ok(channel)
    }

    /// Forgets the connections to all other addresses, so that the pool does not outgrow the cluster.
    pub(crate) fn keep_only(&self, addresses: &BTreeSet<&str>) {
        self.lanes.lock().retain(|address, _| addresses.contains(address.as_str()));
    }
}

impl Lanes {
    fn channel(&self, lane: Lane) -> Channel {
        match lane {
            Lane::Calls => self.calls.clone(),
            Lane::Exports => self.exports.clone(),
        }
    }
}

/// How an address is called.
///
/// # Errors
/// When the address is not `host:port`.
pub(crate) fn endpoint(address: &str) -> Result<Endpoint, tonic::transport::Error> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"))?
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES);
    Ok(endpoint)
}
