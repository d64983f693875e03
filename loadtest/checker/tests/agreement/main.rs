//! The checker against a judge that cannot be wrong for the same reasons: a search for an order of the
//! calls in which a server that keeps every promise gives the same answers.
//!
//! The search is why the checker asks for more than the rule that `reliability.md` publishes, the earliest
//! question against the earliest sight of each coupon. Without any of these, a history here is judged
//! wrongly:
//!
//! - The call that was told to be the first one to issue a coupon did issue it: its own question counts,
//!   not an earlier one with the same request id. At most one call of a request is told so.
//! - Who is refused for the limit has seen the coupon with which the recipient reached it; and the
//!   refusal comes before whatever the same request id issued to another recipient.
//! - "Sold out" and "ended" are final, and both come after the looks at request and recipient: neither
//!   is the answer to a request that has a coupon, nor to a recipient at the limit.
//! - A request that has a coupon is not refused any more, for whatever other reason.
//! - "Ended" mirrors "not started", and bounds "sold out" and "not started" as well as coupons.
//! - A redemption that was reversed can be repeated, so that the order of such calls decides.
//! - Who redeemed or voided a coupon has seen it; a read of more coupons than there are has seen lost ones.
//! - Where others asked as well, a replayed answer says nothing about when its coupon was asked for.
//!
//! Histories are small, for the search takes exponential time, and many. Each is made from its seed,
//! which a failure names.

mod mutation;
mod random;
mod search;
mod server;

use std::collections::BTreeMap;

use coupon_checker::{Campaign, Check, History, Verdict, check};
use random::Random;

/// How many histories are judged twice.
const HISTORIES: u64 = 60_000;

/// How many out of a hundred histories are at least correct, and as many at least not.
const KIND_MIN_PERCENT: u64 = 20;

#[test]
fn the_checker_agrees_with_a_search_for_an_order() {
    let mut correct = 0;
    let mut alone: BTreeMap<&str, u64> = BTreeMap::new();
    for seed in 0..HISTORIES {
        let campaign = make(seed);
        let is_correct = search::is_linearizable(&campaign);
        let verdict = judge(&campaign);
        assert_eq!(
            verdict.is_ok(),
            is_correct,
            "seed {seed}: an order {}\n{verdict}\n{campaign:#?}",
            if is_correct { "exists" } else { "does not exist" },
        );
        correct += u64::from(is_correct);
        let found: Vec<Check> =
            Check::ALL.into_iter().filter(|check| verdict.found(*check) > 0).collect();
        if let [only] = *found {
            *alone.entry(only.name()).or_default() += 1;
        }
    }
    println!("{correct} of {HISTORIES} histories are correct");
    println!("found by one check alone: {alone:?}");
    let least = HISTORIES * KIND_MIN_PERCENT / 100;
    assert!(correct >= least && HISTORIES - correct >= least, "{correct} of {HISTORIES}");
}

#[test]
fn correct_servers_are_never_blamed() {
    for seed in 0..HISTORIES {
        let campaign = server::history(&mut Random::new(seed), seed % 2 == 0);
        let verdict = judge(&campaign);
        assert!(verdict.is_ok(), "seed {seed}\n{verdict}\n{campaign:#?}");
    }
}

fn make(seed: u64) -> Campaign {
    let mut random = Random::new(seed);
    let mut campaign = server::history(&mut random, false);
    for _ in 0..random.below(4) {
        mutation::mutate(&mut campaign, &mut random);
    }
    campaign
}

fn judge(campaign: &Campaign) -> Verdict {
    check(&History { campaigns: vec![campaign.clone()], ..History::default() })
}
