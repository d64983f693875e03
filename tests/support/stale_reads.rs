//! A leader is paused and deposed meanwhile, and then asked at the very moment it wakes up.
//!
//! For a moment it still believes to lead: it has not read yet what the others have sent it since.
//! Questions that wait for it compete with that news for its attention, so many are asked, each over
//! connections that nobody else uses, and the whole is done several times.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use coupon_checker::{Call, History, Operation, Outcome};
use coupon_proto::internal::shard_service_client::ShardServiceClient;
use coupon_proto::internal::{GetCampaignQuery, ReadRequest, read_request};
use coupon_transport::AddressedChannel;
use tokio::task::JoinSet;

use super::campaign::{create, read_back};
use super::cluster::Cluster;
use super::load::Load;

const CAMPAIGN: &str = "stale";

/// More than is ever asked for.
const QUOTA: u32 = 1_000_000;

/// How often a leader is paused.
const ROUNDS: usize = 3;

/// How many connections there are to it.
const CONNECTIONS: usize = 16;

/// How many questions wait on each of them.
const WAITING: usize = 16;

/// What came of it.
pub(crate) struct Asked {
    /// All coupons, and all answers of the leaders that were paused.
    pub(crate) history: History,
    /// How many questions they answered after they were paused.
    pub(crate) answered: usize,
    /// How many they refused, since they do not lead.
    pub(crate) refused: usize,
}

/// Pauses leaders under load and asks them when they wake up.
pub(crate) async fn ask_deposed_leaders(cluster: &mut Cluster) -> Asked {
    create(cluster, CAMPAIGN, QUOTA.into()).await;
    let shard_id = Cluster::shard_of(CAMPAIGN);
    let status = cluster.whole().await;
    let epoch = status.epoch;
    let load = Arc::new(Load::start(cluster, CAMPAIGN, 8));
    load.grant(QUOTA as usize);
    let (mut reads, mut refused) = (Vec::new(), 0);
    for _ in 0..ROUNDS {
        load.progress(500).await;
        let old = cluster.leader_of(shard_id).await;
        let mut readers: Vec<Reader> = Vec::new();
        for _ in 0..CONNECTIONS {
            let client = ShardServiceClient::new(cluster.connect_to(old, &status));
            let mut reader = Reader { client, shard_id, epoch, load: Arc::clone(&load) };
            assert!(reader.ask().await.is_some(), "the leader answers");
            readers.push(reader);
        }
        cluster.pause(old);
        // Only a new leader gets that far: what the old one had under way cannot be so much.
        load.progress(2_000).await;
        let is_over = Arc::new(AtomicBool::new(false));
        let mut asking = JoinSet::new();
        for reader in readers.iter().flat_map(|reader| std::iter::repeat_n(reader, WAITING)) {
            asking.spawn(reader.clone().ask_until(Arc::clone(&is_over)));
        }
        // Meanwhile the questions reach its sockets, and what it would answer becomes stale.
        load.progress(500).await;
        cluster.resume(old);
        load.progress(500).await;
        is_over.store(true, Ordering::Relaxed);
        for (answers, refusals) in asking.join_all().await {
            reads.extend(answers);
            refused += refusals;
        }
        cluster.whole().await;
    }
    let load = Arc::into_inner(load).expect("all readers have ended");
    let answers = load.stop().await;
    let mut history = answers.with(read_back(cluster, CAMPAIGN, QUOTA.into()).await);
    let answered = reads.len();
    history.campaigns[0].operations.extend(reads);
    Asked { history, answered, refused }
}

/// Asks one node, and no other.
#[derive(Clone)]
struct Reader {
    client: ShardServiceClient<AddressedChannel>,
    shard_id: u32,
    epoch: u64,
    load: Arc<Load>,
}

impl Reader {
    /// Asks how many coupons were issued. `None` when the node refuses to say.
    async fn ask(&mut self) -> Option<Operation> {
        let query = GetCampaignQuery { campaign: format!("default/{CAMPAIGN}") };
        let query = Some(read_request::Query::GetCampaign(query));
        let question = ReadRequest {
            shard_id: self.shard_id,
            epoch: self.epoch,
            query,
            forward: false,
            wait: None,
        };
        let invoked = self.load.now();
        let answer = self.client.read(question).await.ok()?.into_inner();
        let returned = self.load.now();
        assert_eq!(answer.refusal, None);
        let campaign = answer.campaigns.into_iter().next().expect("the campaign is there");
        let issued = campaign.counters.expect("they come with the campaign").issued;
        let outcome = Outcome::Counted { issued };
        Some(Operation { invoked, returned, call: Call::Get, outcome })
    }

    /// Asks again and again. Returns the answers, and how often there was none.
    async fn ask_until(mut self, is_over: Arc<AtomicBool>) -> (Vec<Operation>, usize) {
        let (mut answers, mut refused) = (Vec::new(), 0);
        while !is_over.load(Ordering::Relaxed) {
            match self.ask().await {
                Some(answer) => answers.push(answer),
                None => refused += 1,
            }
            tokio::task::yield_now().await;
        }
        (answers, refused)
    }
}
