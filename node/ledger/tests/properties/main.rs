//! What holds for every history, tried on random ones: `PROPTEST_CASES` says how many.

#![expect(clippy::unwrap_used, reason = "all of this is a test, also what is not marked as one")]

mod agreement;
#[allow(dead_code, reason = "the tests of nodes use the rest")]
mod history;
mod invariants;
#[allow(dead_code, reason = "the tests of nodes use the rest")]
mod model;

use std::collections::BTreeSet;

use agreement::{as_in_model, reads_agree};
use coupon_ledger::{
    Action, BLOCK_SIZE, Campaign, Command, CouponState, HoldCoupon, HoldState, Issue, Ledger,
    LogTime, MemoryStore, Outcome, Refusal, StateReader, Store,
};
use history::{Entry, history, shard};
use model::Model;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

/// Always the same histories, so that a failure is one for everybody.
fn config() -> ProptestConfig {
    ProptestConfig {
        rng_seed: RngSeed::Fixed(0x00C0_FFEE),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

/// A ledger with its store, and what came of the commands.
struct Run {
    ledger: Ledger,
    store: MemoryStore,
    outcomes: Vec<Outcome>,
}

impl Run {
    fn new() -> Self {
        let mut store = MemoryStore::default();
        let ledger = Ledger::open(shard(), &mut store).unwrap();
        Self { ledger, store, outcomes: Vec::new() }
    }

    fn of(entries: &[Entry]) -> Self {
        let mut run = Self::new();
        for entry in entries {
            run.apply(entry);
        }
        run
    }

    fn apply(&mut self, entry: &Entry) -> &[Outcome] {
        let Entry { stamped, commands } = entry.clone();
        let before = self.outcomes.len();
        let outcomes = self.ledger.apply(&mut self.store, stamped, commands).unwrap();
        assert_eq!(outcomes.len(), entry.commands.len());
        self.outcomes.extend(outcomes);
        &self.outcomes[before..]
    }

    /// Applies entries after those applied before, at a later epoch than the one in force.
    fn go_on(&mut self, entries: &[Entry]) {
        let ahead = self.ledger.state().epoch.0;
        for entry in entries {
            let before = self.store.clone();
            self.apply(&entry.clone().later(ahead));
            invariants::check(&before, &self.store);
        }
    }

    /// A ledger that continues from a backup of this one.
    fn restored(&self) -> Self {
        let mut store = self.store.clone();
        let state = store.shard_state().unwrap().restored().unwrap();
        store.put_shard_state(&state).unwrap();
        let ledger = Ledger::open(shard(), &mut store).unwrap();
        Self { ledger, store, outcomes: Vec::new() }
    }

    fn reopen(&mut self) {
        self.ledger = Ledger::open(shard(), &mut self.store).unwrap();
    }
}

/// The numbers of all campaigns.
fn numbers(store: &MemoryStore) -> BTreeSet<u32> {
    store.campaigns().map(|campaign| campaign.spec.number).collect()
}

/// Whether the campaign that used a counter is deleted.
fn is_of_deleted(store: &MemoryStore, counter: u64) -> bool {
    let block = store.clone().block(counter / u64::from(BLOCK_SIZE)).unwrap();
    let (number, _) = block.unwrap();
    let mut deleted = store.campaigns().filter(|campaign| campaign.spec.is_deleted());
    deleted.any(|campaign| campaign.spec.number == number)
}

/// Takes the holds that have expired out of the counters of the campaign that a command claims quota of.
fn settle_campaign_of(store: &mut MemoryStore, command: &Command, now: LogTime) {
    if let Action::Issue(Issue { campaign: name, .. })
    | Action::HoldCoupon(HoldCoupon { campaign: name, .. }) = &command.action
    {
        let campaign = store.campaign(name).unwrap().unwrap();
        settle(store, campaign, now);
    }
}

/// A store whose campaigns have no holds that have expired.
fn settled(store: &MemoryStore) -> MemoryStore {
    let mut settled = store.clone();
    let now = settled.shard_state().unwrap().log_time;
    store.campaigns().for_each(|campaign| settle(&mut settled, campaign.clone(), now));
    settled
}

fn settle(store: &mut MemoryStore, mut campaign: Campaign, now: LogTime) {
    let number = campaign.spec.number;
    let hold_ends = |from, until, max| store.hold_ends(number, from, until, max);
    campaign.settle_holds(now, usize::MAX, hold_ends).unwrap();
    store.put_counters(&campaign.spec, campaign.counters).unwrap();
}

/// The counters of all coupons.
fn issued(store: &MemoryStore) -> BTreeSet<u64> {
    let numbers = store.campaigns().map(|campaign| campaign.spec.number);
    let coupons = numbers.flat_map(|number| store.coupons(number));
    coupons.map(|(_, coupon)| coupon.counter).collect()
}

proptest! {
    #![proptest_config(config())]

    /// The ledger answers as the model does, and the invariants hold after every entry.
    #[test]
    fn ledger_agrees_with_the_model(entries in history()) {
        let mut run = Run::new();
        let mut model = Model::default();
        for entry in &entries {
            let before = run.store.clone();
            let expected = model.apply(entry);
            prop_assert_eq!(as_in_model(run.apply(entry), &expected), expected);
            prop_assert_eq!(&run.store.shard_state().unwrap(), run.ledger.state());
            invariants::check(&before, &run.store);
            reads_agree(&run.store, &model, entry);
        }
    }

    /// A retry of anything that ever succeeded gives the same coupon and changes nothing, however
    /// much later, as long as the shard owns the campaign, and the campaign is not deleted.
    #[test]
    fn retries_are_answered_with_the_same_coupon(entries in history()) {
        let mut run = Run::of(&entries);
        let commands = entries.iter().flat_map(|entry| &entry.commands);
        let answered: Vec<_> = commands.zip(run.outcomes.clone()).collect();
        let before = run.store.clone();
        for (command, outcome) in answered {
            let is_answer = matches!(
                outcome,
                Outcome::CouponIssued { .. }
                    | Outcome::CouponChanged { .. }
                    | Outcome::HoldChanged { .. }
                    | Outcome::HoldConfirmed { .. }
                    | Outcome::CodesImported { .. }
            );
            if !is_answer {
                continue;
            }
            let epoch = run.ledger.state().epoch;
            let retry = Command { epoch, ..command.clone() };
            let retry = Entry { stamped: LogTime(0), commands: vec![retry] };
            let fenced = Outcome::Refused(Refusal::NotOwner { epoch });
            // Its campaign was deleted.
            let gone = [Refusal::CampaignNotFound, Refusal::CouponNotFound].map(Outcome::Refused);
            let answer = &run.apply(&retry)[0];
            if *answer != fenced && !gone.contains(answer) {
                prop_assert_eq!(as_replayed(answer), as_replayed(&outcome));
                let is_replay = matches!(
                    answer,
                    Outcome::CouponIssued { replayed: true, .. }
                        | Outcome::CouponChanged { replayed: true, .. }
                        | Outcome::HoldChanged { replayed: true, .. }
                        | Outcome::HoldConfirmed { replayed: true, .. }
                        | Outcome::CodesImported { .. }
                );
                prop_assert!(is_replay);
            }
        }
        prop_assert_eq!(settled(&before), settled(&run.store));
    }

    /// What is answered without the log is what an entry would answer, and that entry changes nothing. What
    /// is not answered so would change something, or is refused for reasons that only the log knows.
    #[test]
    fn what_changes_nothing_is_known_without_the_log(entries in history()) {
        let mut run = Run::new();
        let mut reader = Ledger::open(shard(), &mut run.store).unwrap();
        for Entry { stamped, commands } in &entries {
            for command in commands {
                reader.refresh(&mut run.store).unwrap();
                let known = reader.outcome_without_effect(&mut run.store, *stamped, *stamped, command).unwrap();
                let before = run.store.clone();
                let entry = Entry { stamped: *stamped, commands: vec![command.clone()] };
                let outcome = run.apply(&entry)[0].clone();
                let log_time = run.ledger.state().clone();
                match known {
                    Some(known) => {
                        prop_assert_eq!(known, outcome);
                        let mut before = before;
                        settle_campaign_of(&mut before, command, log_time.log_time);
                        before.put_shard_state(&log_time).unwrap();
                        prop_assert_eq!(before, run.store.clone());
                    }
                    None => prop_assert!(matches!(
                        kind(&outcome),
                        "issued" | "created" | "created again" | "ring" | "exists" | "empty window"
                            | "not found" | "reused" | "stale" | "not owner" | "ended" | "changed" | "changed again"
                            | "archived" | "not ended" | "not archived" | "deleted" | "deleted again" | "was deleted"
                            | "end in past" | "already started" | "below issued" | "fixed" | "etag"
                            | "paused" | "coupon changed" | "coupon changed again" | "no coupon" | "redeemed"
                            | "voided" | "expired" | "not redeemed" | "hold" | "hold again" | "confirmed"
                            | "confirmed again" | "no hold" | "hold expired" | "hold confirmed" | "hold released"
                            | "holds open" | "codes imported" | "codes made" | "lines missing"
                    ), "{outcome:?}"),
                }
            }
        }
    }

    /// Where the log is cut into entries makes no difference.
    #[test]
    fn entries_may_be_cut_anywhere(entries in history()) {
        let together = Run::of(&entries);
        let mut apart = Run::new();
        for Entry { stamped, commands } in &entries {
            for command in commands {
                apart.apply(&Entry { stamped: *stamped, commands: vec![command.clone()] });
            }
            // An entry without commands still tells the time.
            apart.apply(&Entry { stamped: *stamped, commands: Vec::new() });
        }
        prop_assert_eq!(together.outcomes, apart.outcomes);
        prop_assert_eq!(together.store, apart.store);
    }

    /// Two replicas that apply the same entries end up the same to the last byte, even if one of
    /// them restarts before each entry: what matters is in the store.
    #[test]
    fn replicas_are_identical(entries in history()) {
        let steady = Run::of(&entries);
        let mut restarting = Run::new();
        for entry in &entries {
            restarting.reopen();
            restarting.apply(entry);
        }
        prop_assert_eq!(steady.outcomes, restarting.outcomes);
        prop_assert_eq!(format!("{:?}", steady.store), format!("{:?}", restarting.store));
    }

    /// A ledger that continues from a backup never uses a counter or a campaign number that the original used
    /// before or after the backup. It forgets nothing in the backup, and keeps all invariants. So does a ledger
    /// that continues from its own backup.
    #[test]
    fn a_restored_ledger_repeats_no_counter_and_no_number(
        before in history(), since in history(), restored in history(), again in history(),
    ) {
        let mut old = Run::of(&before);
        let mut new = old.restored();
        let backup = old.store.clone();
        old.go_on(&since);
        new.go_on(&restored);
        let mut newest = new.restored();
        new.go_on(&again);
        newest.go_on(&again);
        let kept = issued(&backup);
        let lost: BTreeSet<u64> = kept.difference(&issued(&new.store)).copied().collect();
        prop_assert!(lost.iter().all(|counter| is_of_deleted(&new.store, *counter)));
        let created_since = |run: &Run| -> BTreeSet<u32> {
            numbers(&run.store).difference(&numbers(&backup)).copied().collect()
        };
        prop_assert!(created_since(&old).is_disjoint(&created_since(&new)));
        prop_assert!(created_since(&old).is_disjoint(&created_since(&newest)));
        let since = |run: &Run| -> BTreeSet<u64> { issued(&run.store).difference(&kept).copied().collect() };
        let (old, new) = (since(&old), since(&new));
        prop_assert!(old.is_disjoint(&new));
        prop_assert!(old.is_disjoint(&since(&newest)));
    }
}

/// An answer as its retry has it. That of an issue shows what the coupon is by now, and that of a hold what became of
/// the hold. That of an import shows how far it has come by now.
fn as_replayed(outcome: &Outcome) -> Outcome {
    let mut outcome = outcome.clone();
    match &mut outcome {
        Outcome::CouponIssued { issued, now, replayed } => {
            issued.state = CouponState::Issued;
            *now = LogTime(0);
            *replayed = true;
        }
        Outcome::HoldConfirmed { issued, now, replayed } => {
            issued.state = CouponState::Issued;
            *now = LogTime(0);
            *replayed = true;
        }
        Outcome::HoldChanged { hold, now, replayed, .. } => {
            hold.state = HoldState::Open;
            *now = LogTime(0);
            *replayed = true;
        }
        Outcome::CouponChanged { replayed, .. } => *replayed = true,
        Outcome::CodesImported { next_line, imported, refused: _ } => {
            (*next_line, *imported) = (0, 0);
        }
        Outcome::CampaignCreated { .. }
        | Outcome::CampaignChanged { .. }
        | Outcome::CampaignDeleted { .. }
        | Outcome::RingAdopted { .. }
        | Outcome::CountersSkipped
        | Outcome::Refused(_) => {}
    }
    outcome
}

/// Random histories prove nothing if nothing happens in them.
#[test]
fn histories_reach_every_outcome() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;

    let mut runner = TestRunner::new(config());
    let mut seen = BTreeSet::new();
    for _ in 0..4_096 {
        let entries = history().new_tree(&mut runner).unwrap().current();
        seen.extend(Run::of(&entries).outcomes.iter().map(kind));
    }
    let all = [
        "created",
        "created again",
        "issued",
        "issued again",
        "ring",
        "not started",
        "ended",
        "changed",
        "changed again",
        "out of codes",
        "paused",
        "coupon changed",
        "coupon changed again",
        "no coupon",
        "redeemed",
        "voided",
        "expired",
        "not redeemed",
        "hold",
        "hold again",
        "confirmed",
        "confirmed again",
        "quota held",
        "no hold",
        "hold expired",
        "hold confirmed",
        "hold released",
        "holds open",
        "codes imported",
        "codes made",
        "lines missing",
        "unreadable",
        "sold out",
        "limit",
        "recipient required",
        "exists",
        "empty window",
        "end in past",
        "already started",
        "below issued",
        "fixed",
        "etag",
        "archived",
        "not ended",
        "not archived",
        "deleted",
        "deleted again",
        "was deleted",
        "not found",
        "reused",
        "stale",
        "not owner",
    ];
    assert_eq!(seen, all.into());
}

fn kind(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::CampaignCreated { replayed: false, .. } => "created",
        Outcome::CampaignCreated { replayed: true, .. } => "created again",
        Outcome::CouponIssued { replayed: false, .. } => "issued",
        Outcome::CouponIssued { replayed: true, .. } => "issued again",
        Outcome::CampaignChanged { replayed: false, .. } => "changed",
        Outcome::CampaignChanged { replayed: true, .. } => "changed again",
        Outcome::CouponChanged { replayed: false, .. } => "coupon changed",
        Outcome::CouponChanged { replayed: true, .. } => "coupon changed again",
        Outcome::HoldChanged { replayed: false, .. } => "hold",
        Outcome::HoldChanged { replayed: true, .. } => "hold again",
        Outcome::HoldConfirmed { replayed: false, .. } => "confirmed",
        Outcome::HoldConfirmed { replayed: true, .. } => "confirmed again",
        Outcome::CodesImported { .. } => "codes imported",
        Outcome::CampaignDeleted { replayed: false } => "deleted",
        Outcome::CampaignDeleted { replayed: true } => "deleted again",
        Outcome::RingAdopted { .. } => "ring",
        Outcome::CountersSkipped => "skipped",
        Outcome::Refused(refusal) => match refusal {
            Refusal::NotStarted { .. } => "not started",
            Refusal::Ended { .. } => "ended",
            Refusal::Paused => "paused",
            Refusal::Unreadable => "unreadable",
            Refusal::SoldOut => "sold out",
            Refusal::OutOfCodes => "out of codes",
            Refusal::QuotaHeld { .. } => "quota held",
            Refusal::TooManyHolds { .. } => "too many holds",
            Refusal::HoldNotFound => "no hold",
            Refusal::HoldExpired { .. } => "hold expired",
            Refusal::HoldConfirmed { .. } => "hold confirmed",
            Refusal::HoldReleased { .. } => "hold released",
            Refusal::HoldsOpen { .. } => "holds open",
            Refusal::CodesNotImported => "codes made",
            Refusal::ImportLinesMissing { .. } => "lines missing",
            Refusal::TooManyImports => "too many imports",
            Refusal::RecipientLimitReached { .. } => "limit",
            Refusal::RecipientRequired => "recipient required",
            Refusal::CampaignExists => "exists",
            Refusal::CampaignNotFound => "not found",
            Refusal::EmptyWindow => "empty window",
            Refusal::EndInPast { .. } => "end in past",
            Refusal::AlreadyStarted { .. } => "already started",
            Refusal::QuotaBelowIssued { .. } => "below issued",
            Refusal::PerRecipientLimitFixed | Refusal::CouponTtlFixed => "fixed",
            Refusal::EtagMismatch => "etag",
            Refusal::CouponNotFound => "no coupon",
            Refusal::AlreadyRedeemed { .. } => "redeemed",
            Refusal::CouponVoided { .. } => "voided",
            Refusal::CouponExpired { .. } => "expired",
            Refusal::NotRedeemed => "not redeemed",
            Refusal::Archived => "archived",
            Refusal::NotEnded => "not ended",
            Refusal::NotArchived => "not archived",
            Refusal::CampaignDeleted => "was deleted",
            Refusal::RequestIdReused => "reused",
            Refusal::StaleEpoch { .. } => "stale",
            Refusal::NotOwner { .. } => "not owner",
            Refusal::ShardFull => "full",
        },
    }
}
