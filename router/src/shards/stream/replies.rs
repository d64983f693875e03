//! What the replies of a node mean for the commands they answer.

use coupon_env::entropy::fraction;
use coupon_proto::internal::{NotProposed, NotProposedReason, Outcome, ReplyBatch, outcome, reply};
use coupon_wire::ids::optional_node_id;
use tokio::time::Instant;
use tonic::Status;

use super::ShardStream;
use super::link::Link;
use crate::route::retry::{self, Miss};
use crate::shards::submission::{Answer, Outdated, Submission, Waiter};

impl ShardStream {
    pub(super) fn received(&mut self, replies: ReplyBatch) {
        let Link::Open(connection) = &mut self.link else { return };
        let node = connection.node();
        let Some(replies) = connection.replies(replies) else {
            return self.broken(&Status::internal("replies do not match their batch"));
        };
        self.leader.lock().heard(node, Instant::now());
        let (mut again, mut not_leader, mut slow_down) = (Vec::new(), None, false);
        for (submission, reply) in replies {
            let Submission { command, mut deadline_micros, mut waiter } = submission;
            let miss = match reply.reply {
                Some(reply::Reply::Outcome(outcome)) => {
                    self.misses = 0;
                    self.budget.earn();
                    answer(waiter, outcome);
                    continue;
                }
                Some(reply::Reply::NotProposed(not_proposed)) => {
                    let Some(miss) = miss_of(&not_proposed) else {
                        let (why, attempts) = (Outdated::CodeKey, waiter.attempts);
                        waiter.answer(Answer::Outdated { why, attempts });
                        continue;
                    };
                    if miss == Miss::NotLeader {
                        not_leader = Some(optional_node_id(not_proposed.leader_node_id));
                    }
                    miss
                }
                Some(reply::Reply::Unknown(_)) | None => Miss::Unknown,
            };
            if miss == Miss::Expired {
                // It is not expired, or it would not be here: the clocks of node and router differ,
                // and the hint does harm.
                deadline_micros = 0;
            }
            let end = waiter.attempts.missed(miss, &mut self.budget);
            slow_down |= waiter.attempts.waits_after(miss);
            match end {
                Some(unanswered) => waiter.answer(Answer::Unanswered(unanswered)),
                None => again.push(Submission { command, deadline_micros, waiter }),
            }
        }
        for submission in again.into_iter().rev() {
            self.backlog.push_front(submission);
        }
        let now = Instant::now();
        if let Some(named) = not_leader {
            if let Link::Open(connection) = std::mem::replace(&mut self.link, Link::Idle) {
                self.take_back(*connection);
            }
            let named = self.leader.lock().refused(node, named, now);
            self.pause(named, now);
        } else if slow_down {
            self.misses = self.misses.saturating_add(1);
            self.resume_at = now + retry::pause(self.misses, false, fraction());
        }
    }
}

/// Hands an outcome to who waits for it, or says where the shard is if the command has to be routed anew.
fn answer(waiter: Waiter, outcome: Outcome) {
    let rerouted = match &outcome.outcome {
        Some(outcome::Outcome::Refusal(refusal)) => retry::reroutes(refusal),
        Some(
            outcome::Outcome::CampaignCreated(_)
            | outcome::Outcome::CampaignChanged(_)
            | outcome::Outcome::CampaignDeleted(_)
            | outcome::Outcome::CouponChanged(_)
            | outcome::Outcome::HoldChanged(_)
            | outcome::Outcome::HoldConfirmed(_)
            | outcome::Outcome::CodesImported(_)
            | outcome::Outcome::CouponIssued(_),
        )
        | None => None,
    };
    let attempts = waiter.attempts;
    waiter.answer(match rerouted {
        Some(epoch) => Answer::Outdated { why: Outdated::Epoch(epoch), attempts },
        None => Answer::Outcome(outcome),
    });
}

/// How an attempt ended; `None` where the command has an old code key.
fn miss_of(not_proposed: &NotProposed) -> Option<Miss> {
    match not_proposed.reason() {
        NotProposedReason::NotLeader | NotProposedReason::Unspecified => Some(Miss::NotLeader),
        NotProposedReason::Overloaded => Some(Miss::Overloaded),
        NotProposedReason::Expired => Some(Miss::Expired),
        NotProposedReason::NeedsLog => Some(Miss::NeedsLog),
        NotProposedReason::OldCodeKey => None,
    }
}
