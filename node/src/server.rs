//! A node with its server around it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use coupon_env::Clock;
use coupon_proto::internal::backup_service_server::BackupServiceServer;
use coupon_proto::internal::cluster_service_server::ClusterServiceServer;
use coupon_proto::internal::raft_service_server::RaftServiceServer;
use coupon_proto::internal::shard_service_server::ShardServiceServer;
use coupon_transport::AnswererLayer;
use futures::StreamExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::service::Routes;
use tonic::transport::Server;

use crate::api::backup::BackupEndpoint;
use crate::api::cluster::ClusterEndpoint;
use crate::api::health;
use crate::api::raft::RaftEndpoint;
use crate::api::shard::{REQUEST_BYTES_MAX, ShardEndpoint};
use crate::config::NodeConfig;
use crate::node::{Node, StopReason};
use crate::peers::MESSAGE_BYTES_MAX;
use crate::raft::options::BadTimes;
use crate::storage::identity::IdentityError;
use crate::workers::Workers;

/// Flow-control windows, as on the calling side.
const STREAM_WINDOW_BYTES: u32 = 8 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;
/// How often a silent caller is pinged, and how long it may take to answer.
const PING_INTERVAL: Duration = Duration::from_secs(5);
const PING_TIMEOUT: Duration = Duration::from_secs(5);
/// How many calls a caller may have given up before this node got round to them. A node that was away
/// finds the votes of many shards; beyond the bound the connection is closed as an attack
/// (CVE-2023-44487), and h2's own is only 20.
const PENDING_RESETS_MAX: usize = 1_024;
/// The pause after a connection could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Maximum number of accepted connections that wait for a worker.
const ACCEPTED_MAX: usize = 64;
/// How long calls under way may take while the server stops.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);

/// Why a node does not start, or must not go on.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// It cannot listen.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The system has no room for its workers.
    #[error("cannot start the workers: {0}")]
    Workers(#[source] std::io::Error),
    /// The times of its Raft groups do not go together.
    #[error(transparent)]
    Raft(#[from] BadTimes),
    /// Its data directory cannot be used.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// It must not run as it was started.
    #[error(transparent)]
    StopReason(#[from] StopReason),
}

impl NodeError {
    /// Whether to start the node again at once, with the same settings: its store has lost
    /// acknowledged writes, and the next start replaces it or begins anew.
    pub fn starts_again(&self) -> bool {
        matches!(self, Self::StopReason(refused) if refused.starts_again())
    }
}

/// A running node.
pub struct NodeHandle {
    node: Arc<Node>,
    local_addr: SocketAddr,
    /// Dropping it stops the servers.
    serving: DropGuard,
    served: Vec<JoinHandle<()>>,
    refused: mpsc::Receiver<StopReason>,
}

/// Starts a node on the current runtime. It serves when this returns; whether it is in a cluster
/// yet, its status says, and whether it may be in it, [`NodeHandle::refused`].
///
/// A fault of its storage or of its Raft groups ends the process.
///
/// # Errors
///
/// When it cannot listen, its options make no sense or its data directory cannot be used.
pub async fn start(config: NodeConfig, clock: Arc<dyn Clock>) -> Result<NodeHandle, NodeError> {
    config.raft.check()?;
    let address = config.listen;
    let failed = |source| NodeError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let local_addr = listener.local_addr().map_err(failed)?;
    let (refuse, refused) = mpsc::channel(1);
    let workers = Workers::start(config.workers).map_err(NodeError::Workers)?;
    let node = Arc::new(Node::open(config, local_addr, clock, workers.clone(), refuse)?);

    let (registry, storage) = (node.registry.clone(), node.storage.clone());
    let raft =
        RaftEndpoint::new(registry.clone(), storage.clone(), node.divergence(), node.stopping());
    let shard = ShardEndpoint::new(registry, storage, node.peers.clone(), node.stopping());
    let (health, health_service) = tonic_health::server::health_reporter();
    let diverged = node.registry.watch_diverged();
    tokio::spawn(health::follow(health, node.watch_waiting(), diverged, node.stopping()));
    let routes = Routes::new(health_service)
        .add_service(
            RaftServiceServer::new(raft)
                .max_decoding_message_size(MESSAGE_BYTES_MAX)
                .max_encoding_message_size(MESSAGE_BYTES_MAX),
        )
        .add_service(
            ShardServiceServer::new(shard)
                .max_decoding_message_size(REQUEST_BYTES_MAX)
                .max_encoding_message_size(MESSAGE_BYTES_MAX),
        )
        .add_service(ClusterServiceServer::new(ClusterEndpoint::new(node.clone())))
        .add_service(BackupServiceServer::new(BackupEndpoint::new(node.clone())));
    let serving = CancellationToken::new();
    let serves = serving.clone().drop_guard();
    let mut accepted = Vec::new();
    let served = (0..workers.number()).map(|worker| {
        let (connections, incoming) = mpsc::channel(ACCEPTED_MAX);
        accepted.push(connections);
        let answerer = AnswererLayer::new(node.answerer.clone());
        let serve = serve(answerer, routes.clone(), incoming, serving.clone().cancelled_owned());
        workers.runtime(worker).spawn(serve)
    });
    let served = served.collect();
    tokio::spawn(accept(listener, accepted, serving));
    // While this node answers: where all start together, each asks the others.
    node.check_neighbours().await?;
    node.run();
    Ok(NodeHandle { node, local_addr, serving: serves, served, refused })
}

/// Serves the connections of one worker until `stopped`.
async fn serve(
    answerer: AnswererLayer,
    routes: Routes,
    connections: mpsc::Receiver<std::net::TcpStream>,
    stopped: impl Future<Output = ()>,
) {
    let server = Server::builder()
        .http2_max_pending_accept_reset_streams(Some(PENDING_RESETS_MAX))
        .http2_keepalive_interval(Some(PING_INTERVAL))
        .http2_keepalive_timeout(Some(PING_TIMEOUT))
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .layer(answerer)
        .add_routes(routes);
    let incoming = ReceiverStream::new(connections).map(TcpStream::from_std);
    if let Err(error) = server.serve_with_incoming_shutdown(incoming, stopped).await {
        tracing::error!(%error, "a worker serves no connections any more");
    }
}

/// Accepts connections and gives them to the workers in turn.
async fn accept(
    listener: TcpListener,
    workers: Vec<mpsc::Sender<std::net::TcpStream>>,
    stopped: CancellationToken,
) {
    for turn in 0_usize.. {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stopped.cancelled() => return,
        };
        let ready = accepted.and_then(|(connection, _)| {
            connection.set_nodelay(true)?;
            connection.into_std()
        });
        match ready {
            Ok(connection) => hand_over(connection, &workers, turn),
            // A connection that cannot be accepted, mostly for lack of file descriptors, stays in the queue, and
            // retrying at once would keep the thread busy.
            Err(error) => {
                tracing::warn!(%error, "a connection was not accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Gives a connection to the next worker that takes one. If none does, the caller has to come again.
fn hand_over(
    connection: std::net::TcpStream,
    workers: &[mpsc::Sender<std::net::TcpStream>],
    turn: usize,
) {
    let mut connection = connection;
    for offset in 0..workers.len() {
        match workers[(turn + offset) % workers.len()].try_send(connection) {
            Ok(()) => return,
            Err(TrySendError::Full(back) | TrySendError::Closed(back)) => connection = back,
        }
    }
    tracing::warn!("a connection was closed: no worker takes one");
}

impl NodeHandle {
    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Waits for ever, unless the node finds out that it must not run: another node has its id, its
    /// directory was replaced or belongs to another cluster. It then serves no more requests, and must
    /// be [halted](Self::halt).
    pub async fn refused(&mut self) -> NodeError {
        match self.refused.recv().await {
            Some(refused) => refused.into(),
            None => std::future::pending().await,
        }
    }

    /// Hands over every leadership, then stops. Takes a few seconds at most.
    pub async fn stop(self) {
        self.node.transfer_leadership().await;
        self.halt().await;
    }

    /// Stops without handing anything over, for when the whole cluster ends. Whatever was answered
    /// is on disk.
    pub async fn halt(self) {
        // Callers first, so that nobody asks replicas that have stopped.
        self.node.begin_stop();
        drop(self.serving);
        let served = futures::future::join_all(self.served);
        if tokio::time::timeout(DRAIN_TIMEOUT, served).await.is_err() {
            tracing::info!("calls under way were cut off");
        }
        self.node.halt().await;
    }
}
