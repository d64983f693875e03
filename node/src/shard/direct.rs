//! Answers that need no log: to commands that change nothing.
//!
//! When a campaign is sold out, or has not started, nearly everybody is refused. Such a refusal, and the answer to a
//! request that was answered before, follow from the state as any entry would find it. So the leader asks its
//! quorum once, for all commands that wait, whether it still leads (ReadIndex), and then answers them from the
//! applied state.
//!
//! A command that needs the log after all goes back to its router, and not from here to the proposer. It would
//! come to the log behind commands that the router has sent since, over another stream perhaps, and could take
//! effect after the router was told that it had none.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use coupon_cluster::{CampaignName, RequestId};
use coupon_ledger::{
    Action, Campaign, Coupon, CouponHistory, EndsFound, Hold, HoldCoupon, ImportedCode, Issue,
    Ledger, LogTime, ShardState, StateReader,
};
use coupon_proto::internal as pb;

use super::pending_reopenings::PendingReopenings;
use super::stamps::Stamps;
use super::submission::{EncodedCommand, Submission, SubmissionQueue, not_proposed, refuse, reply};
use crate::codec::command::{CommandReader, campaign_of_quota_request};
use crate::raft::closed_campaigns::ClosedCampaigns;
use crate::raft::replica::RaftReplica;
use crate::storage::view::LedgerView;
use crate::storage::{Storage, StorageError, fatal};

/// Maximum number of submissions that share one round of messages; a router sends up to 1,024 commands in each.
const ROUND_MAX: usize = 16;
/// Time limit of a round of messages. Routers look for another leader by then.
const READ_INDEX_TIMEOUT: Duration = Duration::from_secs(1);

/// Whether a command may need no log: whether it is for a campaign that gives no coupons at the moment.
pub(super) fn is_worth_it(closed: &ClosedCampaigns, command: &[u8]) -> bool {
    !closed.is_empty() && campaign_of_quota_request(command).is_some_and(|id| closed.contains(id))
}

/// Answers what waits, until nobody can hand over anything.
pub(super) async fn run(
    raft: RaftReplica,
    storage: Storage,
    stamps: Stamps,
    reopenings: PendingReopenings,
    mut waiting: SubmissionQueue,
) {
    let mut reader = None;
    while let Some(first) = waiting.next().await {
        let mut round = vec![first];
        while round.len() < ROUND_MAX
            && let Some(next) = waiting.try_next()
        {
            round.push(next);
        }
        // Before the round, so that the state has them. Without a quorum they may have no outcome for long.
        let settled = reopenings.settled(|| campaigns_of(&round));
        let settled = tokio::time::timeout(READ_INDEX_TIMEOUT, settled).await.is_ok();
        // A node that should lead no more must not assure its followers that it does.
        let shown_at = stamps.read_time();
        let is_fit = settled && !storage.flusher().is_stuck() && stamps.now_micros().is_some();
        let is_leader = is_fit && raft.read_index(READ_INDEX_TIMEOUT).await.is_ok();
        if !is_leader {
            // The others would only wait for the same.
            while let Some(next) = waiting.try_next() {
                round.push(next);
            }
        }
        let leadership = raft.leadership().ok().filter(|_| is_leader);
        let now = stamps.now_micros();
        let (current, others): (Vec<_>, Vec<_>) =
            round.into_iter().partition(|one| now.is_some() && leadership == Some(one.leadership));
        let leader = raft.leader_node().map_or(0, |node| node.get());
        others.into_iter().for_each(|one| refuse(one, pb::NotProposedReason::NotLeader, leader));
        let (Some(now), false) = (now, current.is_empty()) else { continue };
        let (storage, raft) = (storage.clone(), raft.clone());
        // Coupons may have to come from disk, and heartbeats must not wait for that.
        let answering = tokio::task::spawn_blocking(move || {
            let shard = raft.key.shard;
            let times = Times { now: LogTime(now), shown_at };
            answer_all(&storage, &raft, reader, times, current).unwrap_or_else(|fault| {
                fatal::abort(&format!("answering from the state of shard {shard}"), &fault)
            })
        });
        match answering.await {
            Ok(ledger) => reader = Some(ledger),
            // The node is stopping.
            Err(_) => return,
        }
    }
}

/// The campaigns that submissions want coupons of.
fn campaigns_of(submissions: &[Submission]) -> BTreeSet<&str> {
    let commands = submissions.iter().flat_map(|submission| &submission.commands);
    commands.filter_map(|command| campaign_of_quota_request(&command.bytes)).collect()
}

/// The times of an answer: see [`Ledger::outcome_without_effect`].
#[derive(Clone, Copy)]
struct Times {
    now: LogTime,
    shown_at: LogTime,
}

/// Answers submissions. Returns the ledger for the next ones.
fn answer_all(
    storage: &Storage,
    raft: &RaftReplica,
    reader: Option<Ledger>,
    times: Times,
    submissions: Vec<Submission>,
) -> Result<Ledger, StorageError> {
    let mut state = State::new(storage, raft)?;
    let mut ledger = match reader {
        Some(ledger) => ledger,
        None => Ledger::open(raft.key.shard, &mut state)?,
    };
    ledger.refresh(&mut state)?;
    for submission in submissions {
        if submission.is_over() {
            continue;
        }
        let commands = submission.commands.into_iter();
        let replies = commands.map(|command| answer(raft, &ledger, &mut state, times, command));
        // One that went away meanwhile needs no answer.
        let _ = submission.replies.send(replies.collect::<Result<_, _>>()?);
    }
    Ok(ledger)
}

/// The reply to a command.
fn answer(
    raft: &RaftReplica,
    ledger: &Ledger,
    state: &mut State<'_>,
    times: Times,
    command: EncodedCommand,
) -> Result<pb::Reply, StorageError> {
    let Times { now, shown_at } = times;
    let command = state.commands.read(command.bytes);
    if let Some(outcome) = ledger.outcome_without_effect(state, now, shown_at, &command)? {
        return Ok(reply(outcome));
    }
    // It goes through the log when it comes again, as all for its campaign.
    if let Action::Issue(Issue { campaign, .. }) | Action::HoldCoupon(HoldCoupon { campaign, .. }) =
        &command.action
    {
        raft.closed.forget(campaign.as_str());
    }
    Ok(not_proposed(pb::NotProposedReason::NeedsLog, 0))
}

/// The applied state as a ledger reads it, each campaign once.
struct State<'a> {
    view: LedgerView<'a>,
    commands: CommandReader,
    campaigns: HashMap<CampaignName, Option<Campaign>>,
}

impl<'a> State<'a> {
    fn new(storage: &'a Storage, raft: &RaftReplica) -> Result<Self, StorageError> {
        let view = LedgerView::new(storage, raft.key.shard, raft.key.replica)?;
        Ok(Self { view, commands: CommandReader::default(), campaigns: HashMap::new() })
    }
}

impl StateReader for State<'_> {
    type Error = StorageError;

    fn shard_state(&mut self) -> Result<ShardState, StorageError> {
        self.view.shard_state()
    }

    fn campaign(&mut self, id: &CampaignName) -> Result<Option<Campaign>, StorageError> {
        if let Some(found) = self.campaigns.get(id) {
            return Ok(found.clone());
        }
        let found = self.view.campaign(id)?;
        self.campaigns.insert(id.clone(), found.clone());
        Ok(found)
    }

    fn campaign_of_number(&mut self, number: u32) -> Result<Option<Campaign>, StorageError> {
        self.view.campaign_of_number(number)
    }

    fn coupon(&mut self, campaign_number: u32, sequence: u64) -> Result<Coupon, StorageError> {
        self.view.coupon(campaign_number, sequence)
    }

    fn coupon_history(
        &mut self,
        campaign_number: u32,
        sequence: u64,
    ) -> Result<Option<CouponHistory>, StorageError> {
        self.view.coupon_history(campaign_number, sequence)
    }

    fn block(&mut self, block: u64) -> Result<Option<(u32, u64)>, StorageError> {
        self.view.block(block)
    }

    fn sequence_of_request(
        &mut self,
        campaign_number: u32,
        request_id: RequestId,
    ) -> Result<Option<u64>, StorageError> {
        self.view.sequence_of_request(campaign_number, request_id)
    }

    fn sequences_at_limit(
        &mut self,
        campaign_number: u32,
        recipient: &str,
        limit: usize,
        skipped_max: usize,
    ) -> Result<Option<Vec<u64>>, StorageError> {
        self.view.sequences_at_limit(campaign_number, recipient, limit, skipped_max)
    }

    fn hold(
        &mut self,
        campaign_number: u32,
        hold_id: RequestId,
    ) -> Result<Option<Hold>, StorageError> {
        self.view.hold(campaign_number, hold_id)
    }

    fn hold_ends(
        &mut self,
        campaign_number: u32,
        from: LogTime,
        until: LogTime,
    ) -> Result<EndsFound, StorageError> {
        self.view.hold_ends(campaign_number, from, until)
    }

    fn open_holds_of(
        &mut self,
        campaign_number: u32,
        recipient: &str,
        now: LogTime,
        max: usize,
    ) -> Result<Vec<RequestId>, StorageError> {
        self.view.open_holds_of(campaign_number, recipient, now, max)
    }

    fn imported_code(
        &mut self,
        campaign_number: u32,
        code: &str,
    ) -> Result<Option<ImportedCode>, StorageError> {
        self.view.imported_code(campaign_number, code)
    }
}
