//! A history that is written and read again is the same one, whatever is in it.

use coupon_checker::file::{Assembler, records};
use coupon_checker::{
    Balance, Call, Campaign, Claim, Coupon, CouponState, Fault, History, Hold, HoldEnd, Operation,
    Outcome, Replica,
};
use proptest::collection::vec;
use proptest::prelude::*;

proptest! {
    #[test]
    fn what_is_written_is_read(history in history(), began in ".{0,40}") {
        let mut assembler = Assembler::new();
        for record in records(&history, &began) {
            let line = record.to_line();
            prop_assert!(!line.contains('\n'), "one record is one line");
            assembler.push(&line).map_err(|error| TestCaseError::fail(error.to_string()))?;
        }
        prop_assert_eq!(assembler.began(), Some(&*began));
        prop_assert_eq!(assembler.finish().unwrap(), history);
    }
}

fn history() -> impl Strategy<Value = History> {
    (vec(campaign(), 1..4), vec(replica(), 0..4), vec(fault(), 0..4)).prop_map(
        |(mut campaigns, replicas, faults)| {
            for (number, campaign) in campaigns.iter_mut().enumerate() {
                campaign.id = format!("{} {number}", campaign.id);
            }
            History { campaigns, replicas, faults }
        },
    )
}

fn campaign() -> impl Strategy<Value = Campaign> {
    let rows = vec(coupon(), 0..8);
    let operations = vec(operation(), 0..12);
    let held = (vec(hold(), 0..4), vec(claim(), 0..4), vec(balance(), 0..4));
    (".*", any::<u64>(), any::<u64>(), rows, operations, any::<bool>(), held).prop_map(
        |(id, quota, per_recipient_limit, rows, operations, is_complete, held)| {
            let (holds, claims, balances) = held;
            Campaign {
                id,
                quota,
                per_recipient_limit,
                rows,
                operations,
                holds,
                claims,
                balances,
                is_complete,
            }
        },
    )
}

fn hold() -> impl Strategy<Value = Hold> {
    let end = prop_oneof![
        Just(HoldEnd::Expired),
        any::<(u64, Option<u64>)>().prop_map(|(at, until)| HoldEnd::Confirmed { at, until }),
        any::<u64>().prop_map(|at| HoldEnd::Released { at }),
    ];
    (any::<u128>(), text(), any::<(u64, u64)>(), end, any::<(u64, u64)>()).prop_map(
        |(id, recipient, (from, expires), end, (confirmations, releases))| Hold {
            id,
            recipient,
            from,
            expires,
            end,
            confirmations,
            releases,
        },
    )
}

fn claim() -> impl Strategy<Value = Claim> {
    (text(), any::<u64>(), any::<Option<u64>>()).prop_map(|(recipient, from, until)| Claim {
        recipient,
        from,
        until,
    })
}

fn balance() -> impl Strategy<Value = Balance> {
    (any::<(u64, u64, u64, u64)>(), any::<(u64, u64, u64)>()).prop_map(
        |((issued, returned, held, remaining), (revision, from, until))| Balance {
            issued,
            returned,
            held,
            remaining,
            revision,
            from,
            until,
        },
    )
}

fn coupon() -> impl Strategy<Value = Coupon> {
    let state = prop_oneof![
        Just(CouponState::Issued),
        Just(CouponState::Redeemed),
        Just(CouponState::Voided),
        Just(CouponState::Returned)
    ];
    (any::<u64>(), text(), text(), any::<u128>(), state).prop_map(
        |(sequence, code, recipient, request_id, state)| Coupon {
            sequence,
            code,
            recipient,
            request_id,
            state,
        },
    )
}

fn operation() -> impl Strategy<Value = Operation> {
    (any::<u64>(), any::<u64>(), call(), outcome()).prop_map(
        |(invoked, returned, call, outcome)| {
            // The time of an answer that never came is written as none, and read as the end of time.
            let returned = if outcome == Outcome::Unknown { u64::MAX } else { returned };
            Operation { invoked, returned, call, outcome }
        },
    )
}

fn call() -> impl Strategy<Value = Call> {
    prop_oneof![
        (any::<u128>(), text())
            .prop_map(|(request_id, recipient)| Call::Issue { request_id, recipient }),
        Just(Call::Get),
        text().prop_map(|code| Call::Redeem { code }),
        text().prop_map(|code| Call::Void { code }),
    ]
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        (any::<u64>(), text(), any::<bool>())
            .prop_map(|(sequence, code, replayed)| Outcome::Issued { sequence, code, replayed }),
        vec(text(), 0..11).prop_map(|codes| Outcome::LimitReached { codes: codes.into() }),
        any::<u64>().prop_map(|issued| Outcome::Counted { issued }),
        Just(Outcome::SoldOut),
        Just(Outcome::NotStarted),
        Just(Outcome::Ended),
        Just(Outcome::Done),
        Just(Outcome::Refused),
        Just(Outcome::Unknown),
    ]
}

fn replica() -> impl Strategy<Value = Replica> {
    (any::<u64>(), any::<u64>(), any::<u64>(), text()).prop_map(
        |(shard, replica, applied_index, digest)| Replica { shard, replica, applied_index, digest },
    )
}

fn fault() -> impl Strategy<Value = Fault> {
    (".*", any::<u64>(), any::<u64>(), any::<bool>())
        .prop_map(|(name, began, ended, in_force)| Fault { name, began, ended, in_force })
}

/// Any text, control characters and quotes among them.
fn text() -> impl Strategy<Value = Box<str>> {
    vec(any::<char>(), 0..12).prop_map(|chars| chars.into_iter().collect::<String>().into())
}
