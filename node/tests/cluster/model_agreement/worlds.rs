//! The models that agree with all answers so far: one for each thing that may have happened.

use coupon_cluster::Epoch;
use coupon_ledger::{Action, Command, LogTime, Outcome};
use coupon_node::codec::outcome::outcome_to_pb;
use coupon_proto::internal as pb;

use super::read::Read;
use crate::history::{Entry, shard};
use crate::model::Model;

/// Maximum number of models: more would mean that nothing is ruled out.
const WORLDS_MAX: usize = 64;

/// The models.
pub(super) struct Worlds(Vec<Model>);

impl Worlds {
    /// The model of a shard that has adopted its ring at a time.
    pub(super) fn new(micros: u64) -> Self {
        let mut model = Model::default();
        let adopt = Action::AdoptRing { epoch: Epoch(1), ring_shards: vec![shard()] };
        let commands = vec![Command { epoch: Epoch(1), action: adopt }];
        model.apply(&Entry { stamped: LogTime(micros), commands });
        Self(vec![model])
    }

    /// The number of blocks of code counters that were taken in all models.
    pub(super) fn blocks_taken(&self) -> u64 {
        self.0.iter().map(Model::blocks_taken).max().unwrap_or_default()
    }

    /// A command was sent, and nothing is known of it. It was stamped with one of these times, if at all.
    pub(super) fn may_have_applied(&mut self, stamps: &[u64], command: &Command) {
        let before = self.0.clone();
        for stamp in stamps {
            for mut world in before.iter().cloned() {
                apply(&mut world, *stamp, command);
                add(&mut self.0, world);
            }
        }
        assert!(self.0.len() <= WORLDS_MAX, "too much is not known: {} models", self.0.len());
    }

    /// A command was answered. Rules out the models that would have answered otherwise at any of these times.
    pub(super) fn answered(
        &mut self,
        stamps: &[u64],
        command: &Command,
        outcome: &pb::Outcome,
        context: &str,
    ) {
        let answer = outcome;
        let (mut left, mut answers) = (Vec::new(), Vec::new());
        for world in std::mem::take(&mut self.0) {
            for stamp in stamps {
                let mut logged = world.clone();
                let said = apply(&mut logged, *stamp, command);
                let changes_nothing = has_no_effect(&said);
                let said = outcome_to_pb(said);
                if !said.as_ref().is_some_and(|said| is_as_expected(answer, said)) {
                    answers.push(said);
                    continue;
                }
                add(&mut left, logged);
                // The leader may have answered without the log, and then log time is as before.
                if changes_nothing {
                    add(&mut left, world.clone());
                }
            }
        }
        assert!(!left.is_empty(), "{context}\nanswered: {answer:#?}\nexpected: {answers:#?}");
        self.0 = left;
    }

    /// A question was answered at a time by the leader's clock. Rules out the models that would have answered otherwise.
    pub(super) fn saw(
        &mut self,
        clock: u64,
        read: &Read,
        answer: &pb::ReadResponse,
        context: &str,
    ) {
        let mut answers = Vec::new();
        self.0.retain(|world| {
            let expected = read.expected(world, clock);
            // A node that does not trust its clock yet shows log time.
            let is_right = expected == *answer || read.expected(world, 0) == *answer;
            answers.extend((!is_right).then_some(expected));
            is_right
        });
        assert!(
            !self.0.is_empty(),
            "{context}\nread {read:?}\nanswered: {answer:#?}\nexpected: {answers:#?}"
        );
    }
}

fn apply(world: &mut Model, stamp: u64, command: &Command) -> Outcome {
    let entry = Entry { stamped: LogTime(stamp), commands: vec![command.clone()] };
    world.apply(&entry).remove(0)
}

fn add(worlds: &mut Vec<Model>, world: Model) {
    if !worlds.contains(&world) {
        worlds.push(world);
    }
}

/// Whether a command with this outcome changed nothing.
fn has_no_effect(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::CampaignCreated { replayed, .. }
        | Outcome::CampaignChanged { replayed, .. }
        | Outcome::CampaignDeleted { replayed }
        | Outcome::CouponIssued { replayed, .. }
        | Outcome::CouponChanged { replayed, .. }
        | Outcome::HoldChanged { replayed, .. }
        | Outcome::HoldConfirmed { replayed, .. } => *replayed,
        Outcome::RingAdopted { .. } | Outcome::CountersSkipped => false,
        Outcome::Refused(_) => true,
    }
}

/// Whether an answer is what a model said. The model knows exactly when the first hold ends, and the shard only that none
/// ends earlier than it says.
fn is_as_expected(answer: &pb::Outcome, said: &pb::Outcome) -> bool {
    use pb::outcome::Outcome::Refusal;
    if let (Some(Refusal(answer)), Some(Refusal(said))) = (&answer.outcome, &said.outcome)
        && answer.reason() == pb::RefusalReason::QuotaHeld
    {
        let bound = answer.time_micros;
        let exact = pb::Refusal { time_micros: said.time_micros, ..answer.clone() };
        return exact == *said && answer.log_time_micros < bound && bound <= said.time_micros;
    }
    answer == said
}
