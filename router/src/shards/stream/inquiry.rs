//! What a router asks when the leader of a shard owes replies for a while: the leader whether it leads, and the other
//! replicas in turn whether they know a later leader. Each has one question at a time.

use std::time::Duration;

use coupon_cluster::{NodeId, ShardId};
use coupon_proto::internal::GetLeaderRequest;
use coupon_proto::internal::shard_service_client::ShardServiceClient;
use coupon_wire::ids::optional_node_id;
use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use tokio::time::{Instant, sleep, timeout};

use super::link::Link;
use super::{ShardStream, StreamContext};
use crate::route::leader::Route;
use crate::route::silence::{Ruling, Silence, Word};
use crate::shards::pool::Lane;

/// Pause before the same is asked again.
const PAUSE: Duration = Duration::from_millis(100);

/// The answer to a question, if there was one.
pub(super) struct Answered {
    asked: NodeId,
    word: Option<Word>,
}

/// The questions about one silence.
pub(super) struct Inquiry {
    pub(super) silence: Silence,
    route: Route,
    term: u64,
    /// Counts the questions to other replicas.
    turn: usize,
    questions: FuturesUnordered<BoxFuture<'static, Answered>>,
}

impl Inquiry {
    /// The next answer; none ever while nothing is asked.
    pub(super) async fn answered(&mut self) -> Answered {
        match self.questions.next().await {
            Some(answered) => answered,
            None => std::future::pending().await,
        }
    }

    /// Asks a node, after a pause. Another replica than the one at the end of the stream answers when it knows a later
    /// leader, or knows none after a while.
    fn ask(&mut self, node: NodeId, pause: Duration, shard: ShardId, context: &StreamContext) {
        let StreamContext { directory, pool, timing, .. } = context;
        let topology = directory.current();
        let peer = topology.as_ref().and_then(|topology| topology.peer(node));
        let Some(channel) = peer.and_then(|peer| pool.addressed(peer, Lane::Calls).ok()) else {
            return;
        };
        let after_term = if node == self.route.node { 0 } else { self.term };
        let request = GetLeaderRequest { shard_id: shard.get(), after_term };
        let patience = timing.reply;
        self.questions.push(Box::pin(async move {
            sleep(pause).await;
            let mut client = ShardServiceClient::new(channel);
            let answer = timeout(patience, client.get_leader(request)).await;
            let word = answer.ok().and_then(Result::ok).map(|answer| {
                let answer = answer.into_inner();
                let leader = optional_node_id(answer.leader_node_id);
                Word { from: node, term: answer.term, leader, leads: answer.leads }
            });
            Answered { asked: node, word }
        }));
    }

    /// Asks the next of the other replicas.
    fn ask_another(&mut self, pause: Duration, shard: ShardId, context: &StreamContext) {
        let Some(topology) = context.directory.current() else { return };
        let others = topology.replicas(shard).iter().filter(|node| **node != self.route.node);
        let others: Vec<NodeId> = others.copied().collect();
        if !others.is_empty() {
            self.turn = self.turn.wrapping_add(1);
            self.ask(others[self.turn % others.len()], pause, shard, context);
        }
    }
}

impl ShardStream {
    /// Begins to ask about a leader that is silent.
    pub(super) fn inquire(&mut self) {
        let Link::Open(connection) = &self.link else { return };
        let (route, term) = (connection.route(), connection.term());
        let (silence, questions) = (Silence::new(route, term), FuturesUnordered::new());
        let mut inquiry = Inquiry { silence, route, term, turn: 0, questions };
        inquiry.ask(route.node, Duration::ZERO, self.shard, &self.context);
        inquiry.ask_another(Duration::ZERO, self.shard, &self.context);
        self.inquiry = Some(inquiry);
    }

    /// Takes an answer, and asks again or leaves the stream.
    pub(super) fn inquired(&mut self, answered: Answered) {
        let now = Instant::now();
        let Some(inquiry) = &mut self.inquiry else { return };
        let Answered { asked, word } = answered;
        let ruling = word.map_or(Ruling::Keep, |word| inquiry.silence.heard(word, now));
        match ruling {
            Ruling::Keep if asked == inquiry.route.node => {
                if word.is_some() {
                    self.leader.lock().heard(asked, now);
                }
                inquiry.ask(asked, PAUSE, self.shard, &self.context);
            }
            Ruling::Keep => inquiry.ask_another(PAUSE, self.shard, &self.context),
            Ruling::Leave(leader) => self.leave_for(leader, now),
        }
    }

    /// Leaves the stream for another leader. What is in flight may have been proposed.
    fn leave_for(&mut self, leader: Option<NodeId>, now: Instant) {
        if let Link::Open(connection) = std::mem::replace(&mut self.link, Link::Idle) {
            let node = connection.node();
            tracing::debug!(shard = %self.shard, %node, ?leader, "the leader is silent and leads no more");
            self.take_back(*connection);
            let named = self.leader.lock().refused(node, leader, now);
            self.pause(named, now);
        }
    }
}
