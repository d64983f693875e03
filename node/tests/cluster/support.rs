//! Three nodes on loopback, and a router's side of a stream to talk to them.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use coupon_cluster::NodeId;
use coupon_env::{Clock, SystemClock, entropy};
use coupon_node::{NodeConfig, NodeHandle, RaftOptions};
use coupon_proto::internal as pb;
use coupon_proto::internal::cluster_service_client::ClusterServiceClient;
use coupon_proto::internal::raft_service_client::RaftServiceClient;
use coupon_proto::internal::shard_service_client::ShardServiceClient;
use coupon_transport::{Addressed, AddressedChannel, Addressee};
use prost::Message as _;
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::Channel;

use crate::slow_link::SlowLink;

/// How long anything may take before a test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// The one data shard of these clusters.
pub(crate) const SHARD: u32 = 1;

/// A clock that is off from the system's.
#[derive(Debug, Default)]
pub(crate) struct ShiftedClock(pub(crate) AtomicI64);

impl Clock for ShiftedClock {
    fn now_micros(&self) -> u64 {
        SystemClock.now_micros().saturating_add_signed(self.0.load(Ordering::Relaxed))
    }
}

pub(crate) struct TestNode {
    pub(crate) id: u64,
    pub(crate) clock: Arc<ShiftedClock>,
    pub(crate) address: String,
    pub(crate) handle: Option<NodeHandle>,
    /// The way that other nodes take to it, where that is a slow one.
    link: Option<SlowLink>,
}

impl TestNode {
    /// The address that other nodes call it at.
    fn advertised(&self) -> String {
        self.link.as_ref().map_or_else(|| self.address.clone(), |link| link.address.to_string())
    }
}

pub(crate) struct TestCluster {
    pub(crate) dir: TempDir,
    pub(crate) options: RaftOptions,
    pub(crate) nodes: BTreeMap<u64, TestNode>,
    /// How long a byte from one node to another takes.
    delay: Option<Duration>,
}

impl TestCluster {
    /// Three nodes, one data shard, every node with a replica.
    pub(crate) async fn start(options: RaftOptions) -> Self {
        Self::start_with(options, None).await
    }

    /// The same, with nodes that are far from each other.
    pub(crate) async fn start_distant(options: RaftOptions, delay: Duration) -> Self {
        Self::start_with(options, Some(delay)).await
    }

    async fn start_with(options: RaftOptions, delay: Option<Duration>) -> Self {
        // RUST_LOG shows what the nodes of a failing test did.
        let filter = tracing_subscriber::EnvFilter::from_default_env();
        let _ = tracing_subscriber::fmt().with_env_filter(filter).with_test_writer().try_init();
        let dir = tempfile::tempdir().unwrap();
        let mut cluster = Self { dir, options, nodes: BTreeMap::new(), delay };
        cluster.boot_all().await;
        cluster.init(1).await;
        cluster
    }

    /// No nodes yet.
    pub(crate) fn empty(options: RaftOptions) -> Self {
        let (dir, nodes) = (tempfile::tempdir().unwrap(), BTreeMap::new());
        Self { dir, options, nodes, delay: None }
    }

    /// Three nodes that are in no cluster yet.
    pub(crate) async fn unformed() -> Self {
        let mut cluster = Self::empty(RaftOptions::default());
        cluster.boot_all().await;
        cluster
    }

    async fn boot_all(&mut self) {
        for id in 1..=3 {
            let data = self.dir.path().join(id.to_string());
            self.boot(id, &data, "127.0.0.1:0").await;
        }
    }

    pub(crate) async fn boot(&mut self, id: u64, dir: &Path, listen: &str) {
        let clock = match self.nodes.get(&id) {
            Some(node) => node.clock.clone(),
            None => Arc::default(),
        };
        let link = match self.delay {
            Some(delay) => Some(SlowLink::start(delay).await),
            None => None,
        };
        let config = NodeConfig {
            node_id: NodeId::new(id).unwrap(),
            data_dir: dir.to_owned(),
            listen: listen.parse().unwrap(),
            advertise: link.as_ref().map(|link| link.address.to_string()),
            join: self.nodes.values().map(TestNode::advertised).collect(),
            max_clock_offset: Duration::from_millis(500),
            // Shards on different threads call each other as well.
            workers: NonZeroUsize::new(2).unwrap(),
            raft: self.options.clone(),
        };
        let handle = coupon_node::start(config, clock.clone()).await.unwrap();
        let address = handle.local_addr();
        if let Some(link) = &link {
            link.lead_to(address);
        }
        let (address, handle) = (address.to_string(), Some(handle));
        self.nodes.insert(id, TestNode { id, clock, address, handle, link });
    }

    /// Asks a node to form the cluster.
    pub(crate) async fn init(&self, id: u64) -> pb::InitClusterResponse {
        let addresses = self.nodes.values().map(TestNode::advertised).collect();
        let request = pb::InitClusterRequest { addresses, shard_count: 1, replication_factor: 3 };
        let mut client = ClusterServiceClient::new(self.channel(id).await);
        client.init_cluster(request).await.unwrap().into_inner()
    }

    pub(crate) async fn stop(&mut self, id: u64) {
        let node = self.nodes.get_mut(&id).unwrap();
        node.handle.take().unwrap().stop().await;
    }

    /// Stops a node without a hand-over.
    pub(crate) async fn halt(&mut self, id: u64) {
        let node = self.nodes.get_mut(&id).unwrap();
        node.handle.take().unwrap().halt().await;
    }

    async fn channel(&self, id: u64) -> Channel {
        let address = format!("http://{}", self.nodes[&id].address);
        Channel::from_shared(address).unwrap().connect().await.unwrap()
    }

    /// The way to a node, once it is in a cluster.
    async fn addressed(&self, id: u64) -> AddressedChannel {
        let channel = self.channel(id).await;
        let to = until("the node to join", async || {
            let mut client = ClusterServiceClient::new(channel.clone());
            let who = client.identify(pb::IdentifyRequest {}).await.ok()?.into_inner();
            let node_id = NodeId::new(who.node_id).unwrap();
            let joined = !who.cluster_id.is_empty();
            joined.then(|| Addressee::new(&who.cluster_id, node_id, &who.store_id).unwrap())
        });
        Addressed::new(channel.clone(), to.await)
    }

    pub(crate) async fn cluster_client(&self, id: u64) -> ClusterServiceClient<AddressedChannel> {
        ClusterServiceClient::new(self.addressed(id).await)
    }

    pub(crate) async fn shard_client(&self, id: u64) -> ShardServiceClient<AddressedChannel> {
        ShardServiceClient::new(self.addressed(id).await)
    }

    pub(crate) async fn raft_client(&self, id: u64) -> RaftServiceClient<AddressedChannel> {
        RaftServiceClient::new(self.addressed(id).await)
    }

    pub(crate) async fn status(&self, id: u64, digests: bool) -> pb::GetNodeStatusResponse {
        let request = pb::GetNodeStatusRequest { digests };
        self.cluster_client(id).await.get_node_status(request).await.unwrap().into_inner()
    }

    pub(crate) async fn replica_status(&self, id: u64, digests: bool) -> Option<pb::ReplicaStatus> {
        let replicas = self.status(id, digests).await.replicas;
        replicas.into_iter().find(|replica| replica.shard_id == SHARD)
    }

    fn running(&self) -> Vec<u64> {
        self.nodes.values().filter(|node| node.handle.is_some()).map(|node| node.id).collect()
    }

    /// Waits until a running node leads the shard with an adopted ring.
    pub(crate) async fn leader(&self) -> u64 {
        until("a leader that serves", async || {
            for id in self.running() {
                let Some(status) = self.replica_status(id, false).await else { continue };
                if status.state == "leader"
                    && let Some(mut session) = Session::open(self, id).await
                {
                    let probe = issue("no-such-campaign", "", 1);
                    let reply = session.propose(vec![probe]).await.map(|mut all| all.remove(0));
                    if refusal(&reply) == Some(pb::RefusalReason::CampaignNotFound) {
                        return Some(id);
                    }
                }
            }
            None
        })
        .await
    }
}

/// Waits for a condition.
///
/// # Panics
///
/// When it does not come true in [`PATIENCE`].
pub(crate) async fn until<T>(what: &str, mut check: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        if let Some(found) = check().await {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("waited {PATIENCE:?} for {what}");
}

/// A stream to a shard leader, as a router opens it.
pub(crate) struct Session {
    requests: mpsc::Sender<pb::ProposeRequest>,
    answers: Streaming<pb::ProposeResponse>,
}

impl Session {
    /// `None` when the node does not lead.
    pub(crate) async fn open(cluster: &TestCluster, node: u64) -> Option<Self> {
        Self::open_through(cluster, node, false).await
    }

    /// With `forward` the node passes the stream on to the leader; `None` when it knows none.
    pub(crate) async fn open_through(
        cluster: &TestCluster,
        node: u64,
        forward: bool,
    ) -> Option<Self> {
        let (requests, outgoing) = mpsc::channel(16);
        let (shard_id, router_id) = (SHARD, entropy::number());
        let hello = pb::RouterHello { shard_id, router_id, stream_number: 1, forward };
        let message = Some(pb::propose_request::Message::Hello(hello));
        requests.send(pb::ProposeRequest { message }).await.unwrap();
        let mut client = cluster.shard_client(node).await;
        let mut answers = client.propose(ReceiverStream::new(outgoing)).await.ok()?.into_inner();
        answers.message().await.ok()??;
        Some(Self { requests, answers })
    }

    /// `None` when the stream ended.
    pub(crate) async fn propose(&mut self, commands: Vec<pb::Command>) -> Option<Vec<pb::Reply>> {
        self.send(command_batch(&commands)).await
    }

    /// `None` when the stream ended.
    pub(crate) async fn send(&mut self, batch: pb::CommandBatch) -> Option<Vec<pb::Reply>> {
        let message = Some(pb::propose_request::Message::Batch(batch));
        self.requests.send(pb::ProposeRequest { message }).await.ok()?;
        match self.answers.message().await.ok()??.message? {
            pb::propose_response::Message::Batch(batch) => Some(batch.replies),
            pb::propose_response::Message::Hello(_) => None,
        }
    }

    /// One command, one reply.
    pub(crate) async fn one(&mut self, command: pb::Command) -> Option<pb::Reply> {
        Some(self.propose(vec![command]).await?.remove(0))
    }
}

/// A caller that finds the leader and repeats a command until it is answered, as a router does.
#[derive(Default)]
pub(crate) struct Caller {
    session: Option<Session>,
}

impl Caller {
    pub(crate) async fn call(
        &mut self,
        cluster: &TestCluster,
        command: pb::Command,
    ) -> Option<pb::Reply> {
        until("an answer", async || {
            if self.session.is_none() {
                self.session = Session::open(cluster, cluster.leader().await).await;
            }
            let reply = self.session.as_mut()?.one(command.clone()).await;
            if outcome(&reply).is_none() {
                self.session = None;
                return None;
            }
            Some(reply)
        })
        .await
    }
}

/// A batch as a router sends it.
pub(crate) fn command_batch(commands: &[pb::Command]) -> pb::CommandBatch {
    let deadline_micros = vec![0; commands.len()];
    let commands = commands.iter().map(|command| command.encode_to_vec().into()).collect();
    pb::CommandBatch { batch_id: 1, commands, deadline_micros }
}

pub(crate) fn request_id(number: u64) -> Vec<u8> {
    u128::from(number + 1).to_be_bytes().to_vec()
}

/// The name of a campaign of the tenant `default`.
fn name(campaign: &str) -> String {
    format!("default/{campaign}")
}

pub(crate) fn create(campaign: &str, quota: u64, start_micros: u64, limit: u32) -> pb::Command {
    let create = pb::CreateCampaignCommand {
        name: name(campaign),
        quota,
        start_micros,
        per_recipient_limit: limit,
        request_id: request_id(0),
        code_key_id: 1,
        code_scheme: None,
        ..Default::default()
    };
    let operation = Some(pb::command::Operation::CreateCampaign(create.into()));
    pb::Command { epoch: 1, operation }
}

pub(crate) fn issue(campaign: &str, recipient: &str, number: u64) -> pb::Command {
    let issue = pb::IssueCommand {
        campaign: name(campaign),
        recipient: recipient.into(),
        request_id: request_id(number),
        ..Default::default()
    };
    let operation = Some(pb::command::Operation::Issue(issue));
    pb::Command { epoch: 1, operation }
}

pub(crate) fn hold(campaign: &str, number: u64, ttl_micros: u64) -> pb::Command {
    let (campaign, request_id) = (name(campaign), request_id(number));
    let hold = pb::HoldCouponCommand { campaign, request_id, ttl_micros, ..Default::default() };
    let operation = Some(pb::command::Operation::HoldCoupon(hold));
    pb::Command { epoch: 1, operation }
}

/// Confirms the hold with the number `hold`.
pub(crate) fn confirm(campaign: &str, hold: u64, number: u64) -> pb::Command {
    let (campaign, hold_id, request_id) = (name(campaign), request_id(hold), request_id(number));
    let confirm = pb::ConfirmHoldCommand { campaign, hold_id, request_id, ..Default::default() };
    let operation = Some(pb::command::Operation::ConfirmHold(confirm));
    pb::Command { epoch: 1, operation }
}

/// The question for a campaign.
pub(crate) fn get_campaign(campaign: &str) -> pb::ReadRequest {
    let query = pb::GetCampaignQuery { campaign: name(campaign) };
    let query = Some(pb::read_request::Query::GetCampaign(query));
    pb::ReadRequest { shard_id: SHARD, epoch: 1, query, ..Default::default() }
}

pub(crate) fn pause(campaign: &str, number: u64) -> pb::Command {
    let (campaign, request_id) = (name(campaign), request_id(number));
    let pause = pb::PauseCampaignCommand { campaign, request_id };
    let operation = Some(pb::command::Operation::PauseCampaign(pause));
    pb::Command { epoch: 1, operation }
}

pub(crate) fn resume(campaign: &str, number: u64) -> pb::Command {
    let (campaign, request_id) = (name(campaign), request_id(number));
    let resume = pb::ResumeCampaignCommand { campaign, request_id };
    let operation = Some(pb::command::Operation::ResumeCampaign(resume));
    pb::Command { epoch: 1, operation }
}

pub(crate) fn set_quota(campaign: &str, quota: u64, number: u64) -> pb::Command {
    let (campaign, request_id) = (name(campaign), request_id(number));
    let update = pb::UpdateCampaignCommand {
        campaign,
        request_id,
        quota: Some(quota),
        ..Default::default()
    };
    let operation = Some(pb::command::Operation::UpdateCampaign(update.into()));
    pb::Command { epoch: 1, operation }
}

pub(crate) fn outcome(reply: &Option<pb::Reply>) -> Option<&pb::outcome::Outcome> {
    match reply.as_ref()?.reply.as_ref()? {
        pb::reply::Reply::Outcome(outcome) => outcome.outcome.as_ref(),
        pb::reply::Reply::NotProposed(_) | pb::reply::Reply::Unknown(_) => None,
    }
}

pub(crate) fn refusal(reply: &Option<pb::Reply>) -> Option<pb::RefusalReason> {
    match outcome(reply)? {
        pb::outcome::Outcome::Refusal(refusal) => Some(refusal.reason()),
        pb::outcome::Outcome::CampaignCreated(_)
        | pb::outcome::Outcome::CampaignChanged(_)
        | pb::outcome::Outcome::CouponChanged(_)
        | pb::outcome::Outcome::HoldChanged(_)
        | pb::outcome::Outcome::HoldConfirmed(_)
        | pb::outcome::Outcome::CodesImported(_)
        | pb::outcome::Outcome::CampaignDeleted(_)
        | pb::outcome::Outcome::CouponIssued(_) => None,
    }
}

pub(crate) fn sequence(reply: &Option<pb::Reply>) -> Option<u64> {
    match outcome(reply)? {
        pb::outcome::Outcome::CouponIssued(issued) => Some(issued.sequence),
        pb::outcome::Outcome::CampaignCreated(_)
        | pb::outcome::Outcome::CampaignChanged(_)
        | pb::outcome::Outcome::CouponChanged(_)
        | pb::outcome::Outcome::HoldChanged(_)
        | pb::outcome::Outcome::HoldConfirmed(_)
        | pb::outcome::Outcome::CodesImported(_)
        | pb::outcome::Outcome::CampaignDeleted(_)
        | pb::outcome::Outcome::Refusal(_) => None,
    }
}

/// What the code of an issued coupon stands for.
pub(crate) fn code_number(reply: &Option<pb::Reply>) -> pb::CodeNumber {
    let Some(pb::outcome::Outcome::CouponIssued(issued)) = outcome(reply) else {
        panic!("nothing was issued: {reply:?}");
    };
    pb::CodeNumber {
        shard_id: issued.code_shard_id,
        key_id: issued.code_key_id,
        counter: issued.coupon.as_ref().map_or(0, |coupon| coupon.counter),
        tenant: "default".into(),
        code_scheme: issued.code_scheme.as_deref().cloned(),
    }
}
