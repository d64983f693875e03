//! The models that agree with all answers so far: one for each thing that may have happened.

use std::collections::BTreeSet;

use coupon_cluster::{CampaignName, Epoch};
use coupon_ledger::{Action, Command, LogTime, Outcome};
use coupon_node::codec::outcome::outcome_to_pb;
use coupon_proto::internal as pb;
use pb::outcome::Outcome as Kind;

use super::read::{Read, exact_campaign};
use crate::history::{Entry, shard};
use crate::model::{Happened, Model};

/// Maximum number of models: more would mean that nothing is ruled out.
const WORLDS_MAX: usize = 256;

/// The models.
pub(super) struct Worlds(Vec<Model>);

/// What came of a command of a batch.
#[derive(Clone, Debug)]
pub(super) enum Came {
    /// It was answered.
    Answer(pb::Outcome),
    /// Nothing, for sure.
    Nothing,
    /// Nothing is known.
    Unknown,
}

impl Worlds {
    /// The model of a shard that has adopted its ring at a time.
    pub(super) fn new(micros: u64) -> Self {
        let mut model = Model::default();
        let adopt = Action::AdoptRing { epoch: Epoch(1), ring_shards: vec![shard()] };
        apply(&mut model, micros, &Command { epoch: Epoch(1), action: adopt });
        Self(vec![model])
    }

    /// The number of blocks of code counters that were taken in all models.
    pub(super) fn blocks_taken(&self) -> u64 {
        self.0.iter().map(Model::blocks_taken).max().unwrap_or_default()
    }

    /// The number of campaigns that were created in all models.
    pub(super) fn campaigns_created(&self) -> u32 {
        self.0.iter().map(Model::campaigns_created).max().unwrap_or_default()
    }

    /// How many coupons of a campaign were issued by a revision, as far as that is known.
    pub(super) fn issued_by(&self, campaign: &CampaignName, revision: u64) -> u64 {
        let events = self.first().events(campaign).unwrap_or_default().into_iter().zip(0..revision);
        events.filter(|(happened, _)| matches!(happened, Happened::Issue { .. })).count() as u64
    }

    /// The model that everything happened by, as far as that is known.
    pub(super) fn first(&self) -> &Model {
        &self.0[0]
    }

    /// A batch was sent, and stamped with one of these times, if at all. Rules out the models that would have answered
    /// otherwise.
    ///
    /// The commands that went through the log are in one entry, in their order. An issue or a hold may have been answered
    /// without the log instead, from the state before the entry or after it; then it changed nothing.
    pub(super) fn came_of(
        &mut self,
        stamps: &[u64],
        batch: &[(Command, Came)],
        context: impl FnOnce() -> String,
    ) {
        let (mut left, mut answers) = (Vec::new(), Vec::new());
        for world in std::mem::take(&mut self.0) {
            for stamp in stamps.iter().collect::<BTreeSet<_>>() {
                for applied in applied(batch) {
                    match follow(&world, *stamp, batch, &applied) {
                        Ok(worlds) => worlds.into_iter().for_each(|world| add(&mut left, world)),
                        Err(said) => answers.push(said),
                    }
                }
            }
        }
        assert!(!left.is_empty(), "{}\ncame: {batch:#?}\nexpected: {answers:#?}", context());
        assert!(left.len() <= WORLDS_MAX, "too much is not known: {} models", left.len());
        self.0 = left;
    }

    /// A question was answered at one of these times, or at log time if that is later. Rules out the models that would have
    /// answered otherwise.
    pub(super) fn saw(
        &mut self,
        times: &[u64],
        read: &Read,
        answer: &pb::ReadResponse,
        context: impl FnOnce() -> String,
    ) {
        let mut answers = Vec::new();
        self.0.retain(|world| {
            let times: BTreeSet<_> = times.iter().collect();
            let expected: Vec<_> = times.iter().map(|time| read.expected(world, **time)).collect();
            let is_right = expected.iter().any(|said| read.is_answered_so(answer, said));
            answers.extend((!is_right).then_some(expected));
            is_right
        });
        assert!(
            !self.0.is_empty(),
            "{}\nread {read:?}\nanswered: {answer:#?}\nexpected: {answers:#?}",
            context()
        );
    }
}

/// Which of the commands of a batch may have been applied, besides those that were answered: those of which nothing is
/// known, but for issues and holds that may have been taken out of the batch; or none of them.
fn applied(batch: &[(Command, Came)]) -> Vec<Vec<bool>> {
    let is_unknown = |(_, came): &(Command, Came)| matches!(came, Came::Unknown);
    let none = vec![false; batch.len()];
    let mut all = vec![batch.iter().map(is_unknown).collect::<Vec<_>>()];
    if all[0] == none {
        return all;
    }
    for (place, one) in batch.iter().enumerate() {
        if is_unknown(one) && is_claim(&one.0) {
            let without = all.iter().cloned().map(|mut applied| {
                applied[place] = false;
                applied
            });
            all.extend(without.collect::<Vec<_>>());
        }
    }
    if !all.contains(&none) {
        all.push(none);
    }
    all
}

/// What a world is after a batch, of which these commands were applied besides those that were answered; an error is what
/// it would have answered instead.
fn follow(
    before: &Model,
    stamp: u64,
    batch: &[(Command, Came)],
    applied: &[bool],
) -> Result<Vec<Model>, Box<Option<pb::Outcome>>> {
    let mut world = before.clone();
    // Answers that changed nothing, and the world at their places.
    let mut unchanging = Vec::new();
    for ((command, came), is_applied) in batch.iter().zip(applied) {
        match came {
            Came::Answer(answer) if is_claim(command) && !changes(answer) => {
                unchanging.push((command, answer, world.clone()));
            }
            Came::Answer(answer) => {
                let said = outcome_to_pb(apply(&mut world, stamp, command));
                if !said.as_ref().is_some_and(|said| is_as_expected(answer, said)) {
                    return Err(said.into());
                }
            }
            Came::Unknown if *is_applied => {
                apply(&mut world, stamp, command);
            }
            Came::Nothing | Came::Unknown => {}
        }
    }
    for (command, answer, there) in &unchanging {
        let answers = [there, before, &world].map(|there| {
            let mut there = there.clone();
            outcome_to_pb(apply(&mut there, stamp, command))
        });
        let mut said = answers.iter().flatten();
        if !said.any(|said| is_as_expected(answer, said)) {
            let [said, ..] = answers;
            return Err(said.into());
        }
    }
    if unchanging.is_empty() {
        return Ok(vec![world]);
    }
    // They may have been in an entry after all, which moves log time.
    let mut later = world.clone();
    later.apply(&Entry { stamped: LogTime(stamp), commands: Vec::new() });
    Ok(vec![world, later])
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

/// Whether a leader may answer a command without the log.
fn is_claim(command: &Command) -> bool {
    matches!(command.action, Action::Issue(_) | Action::HoldCoupon(_))
}

/// Whether the answer to an issue or a hold says that it changed something.
fn changes(answer: &pb::Outcome) -> bool {
    match &answer.outcome {
        Some(Kind::CouponIssued(issued)) => !issued.replayed,
        Some(Kind::HoldChanged(held)) => !held.replayed,
        Some(
            Kind::CampaignCreated(_)
            | Kind::CampaignChanged(_)
            | Kind::CampaignDeleted(_)
            | Kind::CouponChanged(_)
            | Kind::HoldConfirmed(_)
            | Kind::CodesImported(_)
            | Kind::Refusal(_),
        )
        | None => false,
    }
}

/// Whether an answer is what a model said. The model knows exactly when the first hold ends, and the shard only that none
/// ends earlier than it says.
fn is_as_expected(answer: &pb::Outcome, said: &pb::Outcome) -> bool {
    let mut exact = answer.clone();
    match (&mut exact.outcome, &said.outcome) {
        (Some(Kind::Refusal(answer)), Some(Kind::Refusal(said)))
            if answer.reason() == pb::RefusalReason::QuotaHeld =>
        {
            let possible = answer.log_time_micros + 1..=said.time_micros;
            if possible.contains(&answer.time_micros) {
                answer.time_micros = said.time_micros;
            }
        }
        (Some(Kind::CampaignCreated(answer)), Some(Kind::CampaignCreated(said))) => {
            let now = answer.log_time_micros;
            exact_campaign(answer.campaign.as_mut(), said.campaign.as_ref(), now);
        }
        (Some(Kind::CampaignChanged(answer)), Some(Kind::CampaignChanged(said))) => {
            let now = answer.log_time_micros;
            exact_campaign(answer.campaign.as_mut(), said.campaign.as_ref(), now);
        }
        (_, _) => {}
    }
    exact == *said
}
