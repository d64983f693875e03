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
    GetCampaignByNumberQuery, GetCampaignQuery, ReadRequest, ReadResponse, Refusal,
    StreamCouponsRequest, StreamCouponsResponse, read_request,
};
use coupon_transport::{AddressedChannel, Mismatch};
use coupon_wire::refusal;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio::time::{Instant, timeout, timeout_at};
use tonic::{Request, Status, Streaming};

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

/// A stream of coupons, and the message it began with.
pub(crate) struct CouponStream {
    /// The first message; carries no refusal by epoch or ownership.
    pub(crate) first: StreamCouponsResponse,
    /// What follows.
    pub(crate) rest: Streaming<StreamCouponsResponse>,
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
        let query = GetCampaignQuery { campaign: campaign.to_string() };
        let query = read_request::Query::GetCampaign(query);
        self.read_from(Destination::Owner(campaign), query, deadline).await
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
    pub(crate) async fn read_campaign_of_number(
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
        let epoch = topology.epoch().get();
        let ask = |mut client: ShardServiceClient<AddressedChannel>, forward| {
            let query = Some(query.clone());
            let question = ReadRequest { shard_id: shard.get(), epoch, query, forward };
            let question = self.bounded(question, deadline);
            async move { client.read(question).await.map(tonic::Response::into_inner) }.boxed()
        };
        let response = self.ask_leader(shard, topology, Lane::Calls, deadline, ask).await?;
        self.check_refusal(response.refusal.as_ref(), topology, deadline)
            .await
            .map(|owned| owned.then_some(response))
    }

    /// Opens a stream of all coupons of a campaign.
    ///
    /// # Errors
    /// [`Fault::Unanswered`] at `deadline`, [`Fault::Refused`] when there is no such campaign.
    pub(crate) async fn stream_coupons(
        &self,
        campaign: &CampaignName,
        deadline: Instant,
    ) -> Result<(CouponStream, Arc<Topology>), Fault> {
        loop {
            let topology = self.topology(deadline).await?;
            let shard = topology.owner(campaign);
            let question = StreamCouponsRequest {
                shard_id: shard.get(),
                epoch: topology.epoch().get(),
                campaign: campaign.to_string(),
                forward: false,
            };
            let ask = |mut client: ShardServiceClient<AddressedChannel>, forward| {
                let question = StreamCouponsRequest { forward, ..question.clone() };
                let open = async move {
                    let mut rest = client.stream_coupons(question).await?.into_inner();
                    let first = rest.message().await?;
                    let first = first.ok_or_else(|| Status::unavailable("the stream ended"))?;
                    Ok(CouponStream { first, rest })
                };
                open.boxed()
            };
            let stream = self.ask_leader(shard, &topology, Lane::Exports, deadline, ask).await?;
            if self.check_refusal(stream.first.refusal.as_ref(), &topology, deadline).await? {
                return Ok((stream, topology));
            }
        }
    }

    /// Asks nodes until the leader of the shard answers. `ask` is told whether the node it asks shall
    /// pass the question on.
    async fn ask_leader<T>(
        &self,
        shard: ShardId,
        topology: &Topology,
        lane: Lane,
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
        let mut patience = self.timing().read_attempt;
        for misses in 1.. {
            let now = Instant::now();
            let mut named = false;
            let candidate = guess.lock().choose(topology.replicas(shard), now);
            if let Some(route) = candidate {
                let node = route.node;
                let until = (now + patience).min(deadline);
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
                if status.code() == tonic::Code::DeadlineExceeded {
                    // Where all nodes are slow, the same patience again would never get an answer.
                    patience = patience.saturating_mul(2);
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

    /// Tells the node when the caller stops waiting. The channel watches that time as well, and would
    /// say that the call was cancelled: whoever waits has to be the first to notice.
    fn bounded<T>(&self, question: T, deadline: Instant) -> Request<T> {
        let left = deadline.saturating_duration_since(Instant::now());
        let mut request = Request::new(question);
        request.set_timeout(left + TIMEOUT_MARGIN);
        request
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
