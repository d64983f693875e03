//! Questions to the leader of a shard.
//!
//! A read changes nothing, so it is asked again, of whoever may lead by now, until it is answered or
//! its deadline comes. The answer reflects everything that was applied before the question: the
//! leader makes sure that it still leads before it answers.

use std::sync::Arc;
use std::time::Duration;

use coupon_cluster::{CampaignName, NodeId, NumericId, ShardId, TenantId};
use coupon_env::entropy::fraction;
use coupon_proto::internal::shard_service_client::ShardServiceClient;
use coupon_proto::internal::{
    GetCampaignByNumberQuery, GetCampaignQuery, ReadRequest, ReadResponse, Refusal, RevisionWait,
    read_request,
};
use coupon_transport::{AddressedChannel, Mismatch};
use coupon_wire::refusal;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio::time::{Instant, timeout, timeout_at};
use tonic::{Request, Status};

use crate::answer::error::Fault;
use crate::route::leader::{LeaderGuess, Route};
use crate::route::retry::{self, Unanswered};
use crate::route::topology::{Destination, Topology};
use crate::shards::pool::Lane;
use crate::shards::shard_client::ShardClient;

/// How large one answer may be: a page of 1,000 coupons with all the metadata they may have, twice.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// How much later a node gives a read up than the router does.
const TIMEOUT_MARGIN: Duration = Duration::from_millis(100);

/// The connection of a question. Parts of streams are large, and have their own, so that other answers do not wait for
/// them.
fn lane_of(query: &read_request::Query) -> Lane {
    use read_request::Query::{ListCoupons, ListEvents};
    let is_coupons = matches!(query, ListCoupons(list) if list.as_of.is_some());
    if is_coupons || matches!(query, ListEvents(_)) { Lane::Exports } else { Lane::Calls }
}

/// How long a shard is asked to wait for a campaign to change. So often an idle watch asks anew.
const WAIT_MAX: Duration = Duration::from_secs(1);

/// The question for one campaign.
pub(crate) fn get_campaign(campaign: &CampaignName) -> read_request::Query {
    read_request::Query::GetCampaign(GetCampaignQuery { campaign: campaign.to_string() })
}

impl ShardClient {
    /// Reads one campaign from the shard that owns it.
    ///
    /// # Errors
    /// [`Fault::Unanswered`] at `deadline`, [`Fault::Refused`] when there is no such campaign.
    pub(crate) async fn read_campaign(
        &self,
        campaign: &CampaignName,
        deadline: Instant,
    ) -> Result<ReadResponse, Fault> {
        self.read_from(Destination::Owner(campaign), get_campaign(campaign), deadline).await
    }

    /// Asks the shard that owns a campaign once the campaign has another revision than `revision`, or `wait` is over,
    /// or [`WAIT_MAX`]. Returns the answer, and the map by which it was asked.
    ///
    /// # Errors
    /// [`Fault::Unanswered`] at `deadline`, [`Fault::Refused`] when the shard refuses.
    pub(crate) async fn read_changed(
        &self,
        campaign: &CampaignName,
        query: read_request::Query,
        (revision, wait): (u64, Duration),
        deadline: Instant,
    ) -> Result<(ReadResponse, Arc<Topology>), Fault> {
        let wait = wait.min(WAIT_MAX).as_micros();
        let micros_max = u64::try_from(wait).unwrap_or(u64::MAX);
        let campaign_name = campaign.to_string();
        let wait = RevisionWait { campaign: campaign_name, revision, micros_max };
        let wait = Some(wait).filter(|_| micros_max > 0);
        loop {
            let topology = self.topology(deadline).await?;
            let (shard, query, wait) = (topology.owner(campaign), query.clone(), wait.clone());
            let asked = self.read_after(shard, &topology, query, wait, deadline);
            if let Some(response) = asked.await? {
                return Ok((response, topology));
            }
        }
    }

    /// Asks a shard, by newer maps as often as it takes.
    ///
    /// # Errors
    /// [`Fault::Unanswered`] at `deadline`, [`Fault::Refused`] when the shard refuses.
    pub(crate) async fn read_from(
        &self,
        to: Destination<'_>,
        query: read_request::Query,
        deadline: Instant,
    ) -> Result<ReadResponse, Fault> {
        loop {
            let topology = self.topology(deadline).await?;
            let shard = topology.shard_of(to);
            if let Some(response) = self.read(shard, &topology, query.clone(), deadline).await? {
                return Ok(response);
            }
        }
    }

    /// Reads the campaign of a tenant that has a numeric id.
    ///
    /// # Errors
    /// [`Fault::Unanswered`] at `deadline`, [`Fault::Refused`] when there is no such campaign.
    pub(crate) async fn read_campaign_by_number(
        &self,
        id: NumericId,
        tenant: &TenantId,
        deadline: Instant,
    ) -> Result<ReadResponse, Fault> {
        let query = GetCampaignByNumberQuery { tenant: tenant.to_string(), number: id.number };
        let query = read_request::Query::GetCampaignByNumber(query);
        loop {
            let topology = self.topology(deadline).await?;
            if !topology.ring_shards().contains(&id.shard) {
                return Err(Fault::campaign_not_found());
            }
            if let Some(response) = self.read(id.shard, &topology, query.clone(), deadline).await? {
                return Ok(response);
            }
        }
    }

    /// Asks one shard. `None` when the shard is at another epoch than the map, after waiting for a
    /// newer map.
    ///
    /// # Errors
    /// [`Fault::Unanswered`] at `deadline`, [`Fault::Refused`] when the shard refuses.
    pub(crate) async fn read(
        &self,
        shard: ShardId,
        topology: &Topology,
        query: read_request::Query,
        deadline: Instant,
    ) -> Result<Option<ReadResponse>, Fault> {
        self.read_after(shard, topology, query, None, deadline).await
    }

    /// The same, answered after a wait.
    async fn read_after(
        &self,
        shard: ShardId,
        topology: &Topology,
        query: read_request::Query,
        wait: Option<RevisionWait>,
        deadline: Instant,
    ) -> Result<Option<ReadResponse>, Fault> {
        let epoch = topology.epoch().get();
        let waits = wait.as_ref().map_or(0, |wait| wait.micros_max);
        let attempt = self.timing().read_attempt + Duration::from_micros(waits);
        let ask = |mut client: ShardServiceClient<AddressedChannel>, forward| {
            let (query, wait) = (Some(query.clone()), wait.clone());
            let question = ReadRequest { shard_id: shard.get(), epoch, query, forward, wait };
            let question = bounded(question, attempt, deadline);
            async move { client.read(question).await.map(tonic::Response::into_inner) }.boxed()
        };
        let lane = lane_of(&query);
        let response = self.ask_leader(shard, topology, lane, attempt, deadline, ask).await?;
        self.check_refusal(response.refusal.as_ref(), topology, deadline)
            .await
            .map(|owned| owned.then_some(response))
    }

    /// Asks nodes until the leader of the shard answers, each for `attempt_max` at most. `ask` is told whether the node
    /// it asks shall pass the question on.
    async fn ask_leader<T>(
        &self,
        shard: ShardId,
        topology: &Topology,
        lane: Lane,
        attempt_max: Duration,
        deadline: Instant,
        ask: impl Fn(
            ShardServiceClient<AddressedChannel>,
            bool,
        ) -> BoxFuture<'static, Result<T, Status>>,
    ) -> Result<T, Fault>
    where
        T: Send + 'static,
    {
        let guess = self.shard(shard).leader;
        for misses in 1.. {
            let now = Instant::now();
            let mut named = false;
            let candidate = guess.lock().choose(topology.replicas(shard), now);
            if let Some(route) = candidate {
                let node = route.node;
                let until = (now + attempt_max).min(deadline);
                let attempt =
                    async { ask(self.client(node, topology, lane)?, route.forward).await };
                let late = || Err(Status::deadline_exceeded("no answer in time"));
                let status = match timeout_at(until, attempt).await.unwrap_or_else(|_| late()) {
                    Ok(answer) => {
                        let direct = {
                            let (mut guess, now) = (guess.lock(), Instant::now());
                            guess.confirmed(route, now);
                            guess.direct(now)
                        };
                        let direct = direct
                            .and_then(|node| Some((node, self.client(node, topology, lane).ok()?)));
                        if let Some((node, client)) = direct {
                            self.try_directly(node, ask(client, false), &guess);
                        }
                        return Ok(answer);
                    }
                    Err(status) => status,
                };
                if status.code() == tonic::Code::ResourceExhausted {
                    // It leads, and has as many exports under way as it takes on.
                    return Err(Fault::Unanswered(Unanswered::Overloaded));
                }
                if refusal::says_diverged(&status) {
                    return Err(Fault::Unanswered(Unanswered::ShardDiverged));
                }
                if let Some(mismatch) = Mismatch::of(&status) {
                    self.directory().met(node, &mismatch);
                } else if !retry::read_is_retriable(status.code()) {
                    tracing::error!(
                        %shard, %node, code = ?status.code(), message = status.message(),
                        "a node refused a read",
                    );
                    return Err(Fault::Internal("a node refused a read"));
                }
                // A slow answer at the very end says more about the deadline than about the node.
                if until < deadline || status.code() != tonic::Code::DeadlineExceeded {
                    named = guess.lock().failed(node, &status, now, Instant::now());
                }
            }
            let resume = Instant::now() + retry::pause(misses, named, fraction());
            if resume >= deadline {
                break;
            }
            tokio::time::sleep_until(resume).await;
        }
        Err(Fault::Unanswered(Unanswered::NoLeader))
    }

    /// Asks a leader once more, beside the answer that came by a detour, to see whether it answers by
    /// itself again.
    fn try_directly<T: Send + 'static>(
        &self,
        node: NodeId,
        attempt: BoxFuture<'static, Result<T, Status>>,
        leader: &Arc<Mutex<LeaderGuess>>,
    ) {
        let leader = Arc::clone(leader);
        let read_attempt = self.timing().read_attempt;
        tokio::spawn(async move {
            match timeout(read_attempt, attempt).await {
                Ok(Ok(_)) => {
                    let route = Route { node, forward: false };
                    leader.lock().confirmed(route, Instant::now());
                }
                Ok(Err(status)) => leader.lock().direct_failed(&status),
                Err(_) => {}
            }
        });
    }

    fn client(
        &self,
        node: NodeId,
        topology: &Topology,
        lane: Lane,
    ) -> Result<ShardServiceClient<AddressedChannel>, Status> {
        let peer = topology.peer(node).ok_or_else(|| Status::unavailable("no address"))?;
        let channel = self.pool().addressed(peer, lane);
        let channel = channel.map_err(|error| Status::unavailable(error.to_string()))?;
        Ok(ShardServiceClient::new(channel).max_decoding_message_size(ANSWER_BYTES_MAX))
    }

    /// Whether the shard answered; if not, because of its epoch, waits a little for a newer map.
    async fn check_refusal(
        &self,
        refusal: Option<&Refusal>,
        topology: &Topology,
        deadline: Instant,
    ) -> Result<bool, Fault> {
        let Some(refusal) = refusal else { return Ok(true) };
        let Some(shard_epoch) = retry::reroutes(refusal) else {
            return Err(Fault::refused(refusal.clone(), topology));
        };
        let resume = Instant::now() + retry::pause(4, false, fraction());
        if resume >= deadline {
            return Err(Fault::Unanswered(Unanswered::NoLeader));
        }
        self.directory().reach(shard_epoch, resume).await;
        // The shard may also be behind the map: never ask again at once.
        tokio::time::sleep_until(resume).await;
        Ok(false)
    }
}

/// Tells the node when the caller stops waiting. The channel watches that time as well, and would say that the call was
/// cancelled: whoever waits has to be the first to notice.
fn bounded<T>(question: T, attempt_max: Duration, deadline: Instant) -> Request<T> {
    let left = deadline.saturating_duration_since(Instant::now());
    let mut request = Request::new(question);
    request.set_timeout(left.min(attempt_max) + TIMEOUT_MARGIN);
    request
}
