//! One HTTP/2 connection for each node, shared by streams, reads and the map watch.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use parking_lot::Mutex;
use tonic::transport::{Channel, Endpoint};

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

/// The connections, by address. They are made when first used and re-made by themselves.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    channels: Mutex<BTreeMap<String, Channel>>,
}

impl Pool {
    /// The connection to an address.
    ///
    /// # Errors
    /// When the address is not `host:port`.
    pub(crate) fn channel(&self, address: &str) -> Result<Channel, tonic::transport::Error> {
        let mut channels = self.channels.lock();
        if let Some(channel) = channels.get(address) {
            return Ok(channel.clone());
        }
        let channel = endpoint(address)?.connect_lazy();
        channels.insert(address.to_owned(), channel.clone());
        Ok(channel)
    }

    /// Forgets the connections to all other addresses, so that the pool does not outgrow the cluster.
    pub(crate) fn keep_only(&self, addresses: &BTreeSet<&str>) {
        self.channels.lock().retain(|address, _| addresses.contains(address.as_str()));
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
