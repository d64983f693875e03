//! Connections of the load generator, the same to every system.

use anyhow::Context as _;
use coupon_client::endpoint;
use tonic::transport::Channel;

/// Number of connections that the calls of one cell are spread over: a few, as of clients that pool
/// connections. More of them cost every system alike.
pub(crate) const CONNECTIONS: usize = 4;

/// What may be received on one stream before it is read: the answer to a large batch.
const STREAM_WINDOW_BYTES: u32 = 4 << 20;

/// See [`STREAM_WINDOW_BYTES`], for the whole connection.
const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;

/// Connects to `host:port`, [`CONNECTIONS`] times.
pub(crate) async fn connect(address: &str) -> anyhow::Result<Vec<Channel>> {
    let mut channels = Vec::new();
    for _ in 0..CONNECTIONS {
        channels.push(connect_once(address).await?);
    }
    Ok(channels)
}

/// Connects to `host:port`.
pub(crate) async fn connect_once(address: &str) -> anyhow::Result<Channel> {
    let endpoint = endpoint(address)?
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES);
    endpoint.connect().await.with_context(|| format!("connect to {address}"))
}
