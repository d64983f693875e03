//! A router as a whole: start it, find where it listens, stop it.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use coupon_accept::{Acceptor, descriptors};
use coupon_env::{Clock, SystemClock};
use coupon_proto::couponpb::coupon_service_server::CouponServiceServer as OlderServiceServer;
use coupon_proto::v1::campaign_service_server::CampaignServiceServer;
use coupon_proto::v1::event_service_server::EventServiceServer;
use coupon_proto::{FILE_DESCRIPTOR_SET, LIVE_SERVICE};
use coupon_protocols::{ConnectionRules, Cors, Rules, Schema, SchemaError, Translator};
use thiserror::Error;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};
use tokio::task::{JoinError, JoinHandle};
use tokio::time::{Instant, timeout};
use tonic::service::Routes;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use super::admission::{Admission, is_governed};
use super::dispatch::Dispatch;
use super::malformed::{
    self, REQUEST_BYTES_MAX, SizedByMethod, request_bytes_max, request_items_max,
};
use crate::op::limits::{Permits, Stopping};
use crate::op::{Campaigns, Coupons, Events, OlderCoupons};
use crate::route::retry::Timing;
use crate::shards::directory::{Service, WrongCluster};
use crate::shards::pool;
use crate::shards::shard_client::ShardClient;

/// Grace period for requests under way when the router finds that it must stop.
const HALT_GRACE: Duration = Duration::from_secs(1);

/// How a router runs.
#[derive(Debug, Clone)]
pub struct RouterConfig {
    /// Where to listen; port 0 takes any free one. Default: 127.0.0.1:7000.
    pub listen: SocketAddr,
    /// Nodes of the cluster, `host:port`, at least one; the others are learned. Default: none.
    pub nodes: Vec<String>,
    /// The cluster to serve, a UUID. Default: the one that the nodes agree on, or else most of them name.
    pub cluster_id: Option<String>,
    /// How many requests are worked on at a time; more are refused as OVERLOADED. A batch counts as
    /// many as it has requests, at most all. Default: 16,384, about 100 MB at their usual size.
    pub requests_max: usize,
    /// When a request without a deadline of its own must have been answered, at most
    /// [`DEADLINE_MAX`](crate::DEADLINE_MAX). Default: 10 s, time enough for an election.
    pub default_deadline: Duration,
    /// How many connections clients may have at a time; more are turned away, unless one that is silent makes room.
    /// Default: three quarters of the descriptors that the process may have.
    pub connections_max: usize,
    /// Age at which a client is asked to open a new connection, up to a quarter more. Default: 10 min.
    pub connection_age_max: Duration,
    /// How long a shutdown goes on taking requests while health says NOT_SERVING, so that load balancers notice.
    /// Default: 0.
    pub lame_duck: Duration,
    /// How long a shutdown waits for requests under way. Default: 10 s.
    pub shutdown_grace: Duration,
    /// Origins whose web pages may read answers, for instance `https://example.com`; `*` is all. Default: none.
    pub cors_origins: Vec<String>,
    /// How long single steps of a request may take.
    pub timing: Timing,
    /// Where the router gets the time of day from. Default: the system.
    pub clock: Arc<dyn Clock>,
}

impl Default for RouterConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 7000)),
            nodes: Vec::new(),
            cluster_id: None,
            requests_max: 16_384,
            default_deadline: Duration::from_secs(10),
            connections_max: descriptors() / 4 * 3,
            connection_age_max: Duration::from_mins(10),
            lame_duck: Duration::ZERO,
            shutdown_grace: Duration::from_secs(10),
            cors_origins: Vec::new(),
            timing: Timing::default(),
            clock: Arc::new(SystemClock),
        }
    }
}

/// Why a router does not start, or stopped.
#[derive(Debug, Error)]
pub enum RouterError {
    /// No node is configured, so the router cannot learn the cluster.
    #[error("no node is configured")]
    NoNodes,
    /// A node's address is not `host:port`.
    #[error("node address {address:?} is not host:port")]
    NodeAddress {
        /// The address.
        address: String,
        /// What is wrong with it.
        source: tonic::transport::Error,
    },
    /// The address to listen on is taken or not ours.
    #[error("listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The reflection service cannot be built of our descriptors.
    #[error("build the reflection service")]
    Reflection(#[from] tonic_reflection::server::Error),
    /// The methods cannot be read from our descriptors.
    #[error("read the descriptors of the services")]
    Schema(#[from] SchemaError),
    /// The server failed while it ran.
    #[error("serve")]
    Serve(#[source] JoinError),
    /// The cluster is gone, and another one has its addresses.
    #[error(transparent)]
    WrongCluster(#[from] WrongCluster),
    /// Requests were still under way when the time to shut down was over.
    #[error("requests were cut off by the shutdown")]
    CutOff,
}

/// A running router. Dropping it lets requests under way finish and takes no new ones.
#[derive(Debug)]
pub struct RouterHandle {
    local_addr: SocketAddr,
    lame_duck: Duration,
    shutdown_grace: Duration,
    shards: Arc<ShardClient>,
    stop: oneshot::Sender<Duration>,
    server: JoinHandle<()>,
}

impl RouterHandle {
    /// Where the router listens.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Waits until the router knows the cluster, at most `within`. Returns whether it does. Requests
    /// before that are accepted, and wait as well.
    pub async fn ready(&self, within: Duration) -> bool {
        self.shards.directory().known(Instant::now() + within).await.is_some()
    }

    /// Waits until the router finds that it must not run, because other clusters have taken the addresses of
    /// its own. It answers nothing from then on; [halt](Self::halt) it.
    pub async fn refused(&self) -> RouterError {
        let mut service = self.shards.directory().service();
        loop {
            if let Service::Over(over) = &*service.borrow_and_update() {
                return WrongCluster::clone(over).into();
            }
            if service.changed().await.is_err() {
                // The follower reports this before it ends; otherwise it ends with the directory.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Says that it does not serve and goes on for a while, then takes no new requests, lets those under way finish, and
    /// stops. Watches of health, reflection and silent connections hold it up for half a second at most.
    ///
    /// # Errors
    /// [`RouterError::CutOff`] when requests took longer than the grace, [`RouterError::Serve`] when
    /// the server had failed.
    pub async fn shutdown(self) -> Result<(), RouterError> {
        let (lame_duck, grace) = (self.lame_duck, self.shutdown_grace);
        self.stop_within(lame_duck, grace).await
    }

    /// Stops a router that can answer nothing any more: requests under way get a moment to end with an error.
    ///
    /// # Errors
    /// As [`RouterHandle::shutdown`].
    pub async fn halt(self) -> Result<(), RouterError> {
        self.stop_within(Duration::ZERO, HALT_GRACE).await
    }

    async fn stop_within(
        mut self,
        lame_duck: Duration,
        grace: Duration,
    ) -> Result<(), RouterError> {
        // Nobody listens when the server has ended by itself.
        let _ = self.stop.send(lame_duck);
        match timeout(lame_duck + grace, &mut self.server).await {
            Ok(served) => served.map_err(RouterError::Serve),
            Err(_) => {
                self.server.abort();
                Err(RouterError::CutOff)
            }
        }
    }
}

/// Starts a router on the current tokio runtime, of either flavour.
///
/// It listens when this returns, whether or not a node can be reached: health says NOT_SERVING until
/// the cluster is known.
///
/// # Errors
/// [`RouterError`] when the configuration makes no sense or the address is taken.
pub async fn start(config: RouterConfig) -> Result<RouterHandle, RouterError> {
    if config.nodes.is_empty() {
        return Err(RouterError::NoNodes);
    }
    for address in &config.nodes {
        let refuse = |source| RouterError::NodeAddress { address: address.clone(), source };
        pool::endpoint(address).map_err(refuse)?;
    }
    let refuse = |source| RouterError::Listen { address: config.listen, source };
    let listener = TcpListener::bind(config.listen).await.map_err(refuse)?;
    let local_addr = listener.local_addr().map_err(refuse)?;

    let shards =
        Arc::new(ShardClient::new(config.nodes, config.cluster_id, config.timing, config.clock));
    let permits = Permits::new(config.requests_max);
    let (stopping, is_stopping) = watch::channel(false);
    let is_stopping = Stopping::new(is_stopping);
    let campaigns = Campaigns::new(Arc::clone(&shards), permits.clone(), is_stopping.clone());
    let campaigns =
        CampaignServiceServer::new(campaigns).max_decoding_message_size(REQUEST_BYTES_MAX);
    let events = Events::new(Arc::clone(&shards), is_stopping.clone());
    let events = EventServiceServer::new(events).max_decoding_message_size(REQUEST_BYTES_MAX);
    let coupons = Coupons::new(Arc::clone(&shards), permits.clone(), is_stopping);
    let coupons = SizedByMethod::new(coupons);
    let older = OlderServiceServer::new(OlderCoupons::new(Arc::clone(&shards)))
        .max_decoding_message_size(REQUEST_BYTES_MAX);
    let (health, health_service) = tonic_health::server::health_reporter();
    set_health(&health, ServingStatus::NotServing).await;
    health.set_service_status(LIVE_SERVICE, ServingStatus::Serving).await;

    let (stop, stopped) = oneshot::channel();
    let (end, ended) = oneshot::channel();
    let routes = Routes::new(campaigns)
        .add_service(coupons)
        .add_service(events)
        .add_service(older)
        .add_service(health_service)
        .add_service(reflection().build_v1()?)
        .add_service(reflection().build_v1alpha()?);
    let admission = Admission::new(permits, config.default_deadline);
    let rules = Rules { request_bytes_max, request_items_max, explain: malformed::explain_refusal };
    let schema = Schema::new(&[
        FILE_DESCRIPTOR_SET,
        tonic_health::pb::FILE_DESCRIPTOR_SET,
        tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
        tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
    ])?;
    let translator = Translator::new(schema, rules, Cors::new(config.cors_origins));
    let dispatch = Dispatch::new(admission, Arc::clone(&shards), routes, translator);
    // The announcement ends with the server.
    let ended = async { ended.await.unwrap_or(()) };
    let service = move |socket: &TcpStream| {
        let dispatch = dispatch.clone().on_connection(socket);
        move |request| dispatch.answer(request)
    };
    let rules = ConnectionRules { age_max: config.connection_age_max, is_waited_for: is_governed };
    let acceptor = Acceptor::new(listener, config.connections_max);
    let server = coupon_protocols::serve(acceptor, service, rules, ended);
    tracing::info!(address = %local_addr, "router listens");
    let end = End { streams: stopping, server: end };
    let announcement = announce(shards.directory().service(), health, stopped, end);
    let server = tokio::spawn(async {
        tokio::select! {
            () = server => {}
            never = announcement => match never {},
        }
    });
    let RouterConfig { lame_duck, shutdown_grace, .. } = config;
    Ok(RouterHandle { local_addr, lame_duck, shutdown_grace, shards, stop, server })
}

fn reflection() -> tonic_reflection::server::Builder<'static> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
}

/// What ends when the router stops.
struct End {
    /// Streams, which would go on for ever.
    streams: watch::Sender<bool>,
    /// The server, when requests under way are answered.
    server: oneshot::Sender<()>,
}

/// Reports SERVING while the cluster is there, and NOT_SERVING from the moment at which the router is
/// `stopped` or its handle dropped. Then it lets streams and the server `end`, after the time that the stop asks for.
async fn announce(
    mut service: watch::Receiver<Service>,
    health: HealthReporter,
    mut stopped: oneshot::Receiver<Duration>,
    end: End,
) -> Infallible {
    let lame_duck = loop {
        let status = match *service.borrow_and_update() {
            Service::Available => ServingStatus::Serving,
            Service::Unavailable | Service::Over(_) => ServingStatus::NotServing,
        };
        set_health(&health, status).await;
        let changed = async {
            if service.changed().await.is_err() {
                std::future::pending().await
            }
        };
        tokio::select! {
            stopped = &mut stopped => break stopped.unwrap_or_default(),
            () = changed => {}
        }
    };
    set_health(&health, ServingStatus::NotServing).await;
    tokio::time::sleep(lame_duck).await;
    // Without a stream nobody listens, and without a server that has ended by itself.
    let _ = end.streams.send(true);
    let _ = end.server.send(());
    std::future::pending().await
}

/// Sets the health of the router as a whole and of its services.
async fn set_health(health: &HealthReporter, status: ServingStatus) {
    for service in [
        "",
        "coupon.v1.CampaignService",
        "coupon.v1.CouponService",
        "coupon.v1.EventService",
        "couponpb.CouponService",
    ] {
        health.set_service_status(service, status).await;
    }
}
