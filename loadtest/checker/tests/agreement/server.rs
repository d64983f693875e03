//! Correct histories: what a server that keeps every promise answers to a few concurrent callers.

use coupon_checker::{Call, Campaign, Coupon, CouponState, Operation, Outcome};

use crate::random::Random;

/// How many calls a history has at most: a search takes time that doubles with each.
const CALLS_MAX: u64 = 10;

/// When the last call is invoked at the latest. Few moments for many calls, so that ties are common.
const MOMENTS: u64 = 24;

/// A history, of seed to seed another one. `with_quotas` says whether the quota may change.
pub(crate) fn history(random: &mut Random, with_quotas: bool) -> Campaign {
    let mut server = Server::new(random);
    let mut planned: Vec<(u64, Operation)> =
        (0..2 + random.below(CALLS_MAX - 1)).map(|_| plan(random, with_quotas)).collect();
    planned.sort_by_key(|(moment, _)| *moment);
    for (moment, operation) in &mut planned {
        server.handle(*moment, operation, random);
    }
    let mut operations: Vec<Operation> =
        planned.into_iter().map(|(_, operation)| operation).collect();
    if !server.campaign.is_complete {
        // Others reverse nothing, and do not change the quota.
        operations.retain(|operation| {
            matches!(operation.call, Call::Reverse { .. } | Call::SetQuota { .. })
                || random.percent(60)
        });
    }
    Campaign { operations, quota: server.first_quota, ..server.campaign }
}

/// A call, and the moment at which the server will handle it.
fn plan(random: &mut Random, with_quotas: bool) -> (u64, Operation) {
    let invoked = random.below(MOMENTS);
    let moment = invoked + random.below(6);
    let returned = moment + random.below(6);
    let code = || "c".into();
    let call = match random.below(20) {
        0..=13 => {
            let request_id = random.below(7);
            // Few requests are sent for another recipient than the time before.
            let recipient = if random.percent(85) { request_id % 3 } else { random.below(3) };
            let recipient = format!("r{recipient}").into();
            Call::Issue { request_id: request_id.into(), recipient }
        }
        14..=16 => Call::Get,
        17 => Call::Redeem { code: code() },
        18 if with_quotas => Call::SetQuota { quota: random.below(7) },
        18 => Call::Reverse { code: code() },
        _ if random.percent(50) => Call::Void { code: code() },
        _ => Call::Redeem { code: code() },
    };
    (moment, Operation { invoked, returned, call, outcome: Outcome::Unknown })
}

struct Server {
    campaign: Campaign,
    first_quota: u64,
    start: u64,
    end: u64,
}

impl Server {
    fn new(random: &mut Random) -> Self {
        let campaign = Campaign {
            id: "a".into(),
            quota: random.below(5),
            per_recipient_limit: random.below(3),
            is_complete: random.percent(75),
            ..Campaign::default()
        };
        let start = if random.percent(30) { random.below(MOMENTS) } else { 0 };
        let end = if random.percent(30) { start + random.below(MOMENTS) } else { u64::MAX };
        Self { first_quota: campaign.quota, campaign, start, end }
    }

    /// Handles a call, or loses it or the answer to it.
    fn handle(&mut self, moment: u64, operation: &mut Operation, random: &mut Random) {
        if random.percent(4) && !self.has_coupon(&operation.call) {
            operation.outcome = Outcome::Refused;
            return;
        }
        if random.percent(5) {
            return;
        }
        let outcome = match &mut operation.call {
            Call::Issue { request_id, recipient } => {
                self.issue(moment, *request_id, recipient, random.percent(15))
            }
            Call::Get => Outcome::Counted { issued: self.issued() },
            Call::Redeem { code } => {
                *code = self.guess(random);
                self.change(code, CouponState::Redeemed)
            }
            Call::Reverse { code } => {
                *code = self.guess(random);
                self.change(code, CouponState::Issued)
            }
            Call::Void { code } => {
                *code = self.guess(random);
                self.change(code, CouponState::Voided)
            }
            Call::SetQuota { quota } if *quota < self.issued() => Outcome::Refused,
            Call::SetQuota { quota } => {
                self.campaign.quota = *quota;
                Outcome::Done
            }
        };
        if !random.percent(15) {
            operation.outcome = outcome;
        }
    }

    fn issue(&mut self, moment: u64, request: u128, recipient: &str, is_retry: bool) -> Outcome {
        let Campaign { quota, per_recipient_limit: limit, rows, .. } = &mut self.campaign;
        if let Some(row) = rows.iter().find(|row| row.request_id == request) {
            let (sequence, code) = (row.sequence, row.code.clone());
            let is_same = *row.recipient == *recipient;
            let again = Outcome::Issued { sequence, code, replayed: true };
            return if is_same { again } else { Outcome::Refused };
        }
        let held = rows.iter().filter(|row| *row.recipient == *recipient);
        let held: Box<[Box<str>]> = held.map(|row| row.code.clone()).collect();
        if *limit > 0 && held.len() as u64 >= *limit {
            return Outcome::LimitReached { codes: held };
        }
        if moment < self.start {
            return Outcome::NotStarted;
        }
        if moment >= self.end {
            return Outcome::Ended;
        }
        let sequence = rows.len() as u64 + 1;
        if sequence > *quota {
            return Outcome::SoldOut;
        }
        let code: Box<str> = format!("c{sequence}").into();
        rows.push(Coupon {
            sequence,
            code: code.clone(),
            recipient: recipient.into(),
            request_id: request,
            state: CouponState::Issued,
        });
        Outcome::Issued { sequence, code, replayed: is_retry }
    }

    /// Whether a call asks for a coupon that its request has.
    fn has_coupon(&self, call: &Call) -> bool {
        let Call::Issue { request_id, recipient } = call else { return false };
        let mut rows = self.campaign.rows.iter();
        rows.any(|row| row.request_id == *request_id && row.recipient == *recipient)
    }

    fn issued(&self) -> u64 {
        self.campaign.rows.len() as u64
    }

    /// A code that is often there.
    fn guess(&self, random: &mut Random) -> Box<str> {
        format!("c{}", 1 + random.below(self.issued() + 1)).into()
    }

    fn change(&mut self, code: &str, to: CouponState) -> Outcome {
        let Some(row) = self.campaign.rows.iter_mut().find(|row| *row.code == *code) else {
            return Outcome::Refused;
        };
        match (row.state, to) {
            (CouponState::Issued, CouponState::Redeemed | CouponState::Voided)
            | (CouponState::Redeemed, CouponState::Issued) => {
                row.state = to;
                Outcome::Done
            }
            (CouponState::Voided, CouponState::Voided) => Outcome::Done,
            _ => Outcome::Refused,
        }
    }
}
