//! The table of errors in docs/api.md says what errors say, all of it, and nothing else.

use std::collections::{BTreeMap, BTreeSet};

use coupon_cluster::Code as CouponCode;
use coupon_proto::internal::RefusalReason;
use coupon_proto::reason::Reason;
use tonic::Status;
use tonic_types::StatusExt as _;

use super::{Fault, Refusal, Refused};
use crate::route::retry::Unanswered;

const API: &str = include_str!("../../../../docs/api.md");

/// More than the largest number of a reason of the ledger.
const REASON_MAX: i32 = 1_000;

/// By code and reason, what the table says.
fn table() -> BTreeMap<(String, String), &'static str> {
    let (_, section) = API.split_once("\n## Errors\n").expect("there is a section");
    let rows = section.lines().skip_while(|line| !line.starts_with("|---"));
    let rows = rows.skip(1).take_while(|line| line.starts_with('|'));
    let (mut table, mut code) = (BTreeMap::new(), "");
    for row in rows {
        let cells: Vec<_> = row.trim_matches('|').splitn(3, '|').map(str::trim).collect();
        let [first, reasons, text] = cells[..] else { panic!("{row} has three cells") };
        if !first.is_empty() {
            code = first.trim_matches('`');
        }
        for reason in reasons.split(", ") {
            let place = (code.to_owned(), reason.trim_matches('`').to_owned());
            assert_eq!(table.insert(place, text), None, "{row} is there twice");
        }
    }
    table
}

/// A fault of every kind.
fn faults() -> Vec<Fault> {
    let refused = (0..REASON_MAX).filter_map(|number| RefusalReason::try_from(number).ok());
    let refused = refused.map(|reason| {
        let refusal = Refusal { reason: reason.into(), ..Refusal::default() };
        Fault::Refused(Box::new(Refused { refusal, held_codes: vec![], held_states: vec![] }))
    });
    let codes = ["00000강0000", "000", "0000000001"];
    let codes = codes.map(|code| Fault::Code(CouponCode::parse(code).expect_err("it is no code")));
    let others = [
        Fault::field("quota", "must be more"),
        Fault::CouponNotFound,
        Fault::Unanswered(Unanswered::NoLeader),
        Fault::Unanswered(Unanswered::Overloaded),
        Fault::Unanswered(Unanswered::ShardDiverged),
        Fault::Unanswered(Unanswered::OutcomeUnknown),
        Fault::OutcomeUnknowable,
        Fault::Overloaded,
        Fault::DeadlineExceeded,
        Fault::StreamBroken,
        Fault::StreamEnded,
        Fault::HistoryChanged { history_id: 1 },
        Fault::TooManyCoupons { issued: 2, listed_max: 1 },
        Fault::Internal("a test"),
    ];
    refused.chain(codes).chain(others).collect()
}

/// The code of an error as the specification writes it.
fn code_of(status: &Status) -> String {
    let mut name = String::new();
    for symbol in format!("{:?}", status.code()).chars() {
        if symbol.is_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(symbol.to_ascii_uppercase());
    }
    name
}

#[test]
fn every_error_is_in_the_table_with_all_that_it_says() {
    let table = table();
    let mut seen = BTreeSet::new();
    for fault in faults() {
        let status = fault.into_status();
        let info = status.get_details_error_info().expect("every error has an ErrorInfo");
        let place = (code_of(&status), info.reason);
        let text = table.get(&place).unwrap_or_else(|| panic!("docs/api.md lacks {place:?}"));
        for key in info.metadata.keys() {
            assert!(
                text.contains(&format!("`{key}`")),
                "{place:?} says {key}, docs/api.md does not"
            );
        }
        let retry = status.get_details_retry_info().is_some();
        assert!(!retry || text.contains("RetryInfo"), "{place:?} says when to come back");
        seen.insert(place);
    }
    let written: BTreeSet<_> = table.keys().cloned().collect();
    assert_eq!(seen, written, "faults (left) and docs/api.md (right) differ");
    let reasons: BTreeSet<_> = written.iter().map(|(_, reason)| reason.as_str()).collect();
    let all: BTreeSet<_> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
    assert_eq!(reasons, all, "docs/api.md (left) and the reasons of the contract (right) differ");
}
