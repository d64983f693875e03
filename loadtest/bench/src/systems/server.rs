//! What the peers share: how they listen, and that they end with the benchmark.

use anyhow::Context as _;
use rustix::process::{Signal, set_parent_process_death_signal};
use tokio::net::TcpListener;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

/// As in the router's server, so that the peers' HTTP/2 is the same.
const STREAMS_PER_CONNECTION_MAX: u32 = 4_096;

/// As in the router's server.
const STREAM_WINDOW_BYTES: u32 = 4 << 20;

/// As in the router's server.
const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;

/// A server with the settings of a router.
pub(crate) fn server() -> Server {
    Server::builder()
        .tcp_nodelay(true)
        .max_concurrent_streams(STREAMS_PER_CONNECTION_MAX)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
}

/// Listens on a free port and says on which, as routers do. From here on the process ends when the
/// benchmark does, however that ends.
pub(crate) async fn listen() -> anyhow::Result<TcpIncoming> {
    set_parent_process_death_signal(Some(Signal::KILL)).context("tie the process to its parent")?;
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.context("listen")?;
    println!("peer listens on {}", listener.local_addr()?);
    Ok(TcpIncoming::from(listener).with_nodelay(Some(true)))
}
