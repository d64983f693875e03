//! What may be wrong with a history.

use coupon_checker::{Call, Campaign, Coupon, CouponState, Operation, Outcome};

use crate::random::Random;

/// Changes a history, mostly so that it is no longer correct. Histories that are too small for a change
/// are left as they are.
pub(crate) fn mutate(campaign: &mut Campaign, random: &mut Random) {
    match random.below(20) {
        0..=4 => move_call(campaign, random),
        5 => swap_times(campaign, random),
        6 => swap_outcomes(campaign, random),
        7 => drop_call(campaign, random),
        8..=9 => count_otherwise(campaign, random),
        10..=12 => answer_otherwise(campaign, random),
        13 => answer_with_another_coupon(campaign, random),
        14 => swap_sequences(campaign, random),
        15..=16 => change_row(campaign, random),
        17 => add_or_drop_row(campaign, random),
        18 => change_campaign(campaign, random),
        _ => ask_otherwise(campaign, random),
    }
}

fn call<'a>(campaign: &'a mut Campaign, random: &mut Random) -> Option<&'a mut Operation> {
    let count = campaign.operations.len();
    (count > 0).then(|| &mut campaign.operations[random.place(count)])
}

fn row<'a>(campaign: &'a mut Campaign, random: &mut Random) -> Option<&'a mut Coupon> {
    let count = campaign.rows.len();
    (count > 0).then(|| &mut campaign.rows[random.place(count)])
}

fn move_call(campaign: &mut Campaign, random: &mut Random) {
    let Some(operation) = call(campaign, random) else { return };
    if operation.returned < operation.invoked {
        return;
    }
    match random.below(10) {
        0..=2 => operation.invoked = (operation.invoked + random.below(8)).min(operation.returned),
        3..=5 => operation.returned -= random.below(operation.returned - operation.invoked + 1),
        6..=7 => {
            operation.invoked += 8;
            operation.returned += 8;
        }
        8 => {
            operation.invoked = operation.invoked.saturating_sub(8);
            operation.returned = operation.returned.saturating_sub(8);
        }
        _ => operation.invoked = operation.returned + random.below(2),
    }
}

fn swap_times(campaign: &mut Campaign, random: &mut Random) {
    let count = campaign.operations.len();
    if count > 0 {
        let [one, other] = [random.place(count), random.place(count)];
        let times = |operation: &Operation| (operation.invoked, operation.returned);
        let calls = &mut campaign.operations;
        let (first, second) = (times(&calls[one]), times(&calls[other]));
        (calls[one].invoked, calls[one].returned) = second;
        (calls[other].invoked, calls[other].returned) = first;
    }
}

fn swap_outcomes(campaign: &mut Campaign, random: &mut Random) {
    let count = campaign.operations.len();
    if count > 0 {
        let [one, other] = [random.place(count), random.place(count)];
        let outcome = campaign.operations[one].outcome.clone();
        campaign.operations[one].outcome =
            std::mem::replace(&mut campaign.operations[other].outcome, outcome);
    }
}

fn drop_call(campaign: &mut Campaign, random: &mut Random) {
    let count = campaign.operations.len();
    if count > 0 {
        campaign.operations.remove(random.place(count));
    }
}

fn count_otherwise(campaign: &mut Campaign, random: &mut Random) {
    for operation in &mut campaign.operations {
        if let Outcome::Counted { issued } = &mut operation.outcome {
            *issued = (*issued + random.below(3)).saturating_sub(1);
        }
    }
}

fn answer_otherwise(campaign: &mut Campaign, random: &mut Random) {
    let code: Box<str> = format!("c{}", 1 + random.below(4)).into();
    let Some(operation) = call(campaign, random) else { return };
    match operation.call {
        Call::Issue { .. } => {
            operation.outcome = match random.below(7) {
                0 => Outcome::SoldOut,
                1 => Outcome::Ended,
                2 => Outcome::NotStarted,
                3 => Outcome::Refused,
                4 => Outcome::LimitReached { codes: Box::new([code]) },
                5 => Outcome::LimitReached { codes: Box::new([code, "c1".into()]) },
                _ => Outcome::Unknown,
            }
        }
        Call::Get => operation.outcome = Outcome::Counted { issued: random.below(5) },
        Call::Redeem { .. } | Call::Reverse { .. } | Call::Void { .. } | Call::SetQuota { .. } => {
            operation.outcome = match random.below(3) {
                0 => Outcome::Unknown,
                1 => Outcome::Refused,
                _ => Outcome::Done,
            }
        }
    }
}

fn answer_with_another_coupon(campaign: &mut Campaign, random: &mut Random) {
    let Some(operation) = call(campaign, random) else { return };
    if let Outcome::Issued { sequence, code, replayed } = &mut operation.outcome {
        match random.below(4) {
            0 => *sequence = random.below(6),
            1 => *code = format!("c{}", random.below(6)).into(),
            _ => *replayed = !*replayed,
        }
    }
}

/// Two coupons have changed places, and all answers say the same.
fn swap_sequences(campaign: &mut Campaign, random: &mut Random) {
    let count = campaign.rows.len();
    if count == 0 {
        return;
    }
    let [one, other] =
        [random.place(count), random.place(count)].map(|at| campaign.rows[at].sequence);
    let swapped = |sequence: u64| match sequence {
        at if at == one => other,
        at if at == other => one,
        at => at,
    };
    for row in &mut campaign.rows {
        row.sequence = swapped(row.sequence);
    }
    for operation in &mut campaign.operations {
        if let Outcome::Issued { sequence, .. } = &mut operation.outcome {
            *sequence = swapped(*sequence);
        }
    }
}

fn change_row(campaign: &mut Campaign, random: &mut Random) {
    let kind = random.below(10);
    let [number, state] = [random.below(7), random.below(3)];
    let Some(row) = row(campaign, random) else { return };
    match kind {
        0 => row.recipient = format!("r{}", number % 3).into(),
        1 => row.request_id = number.into(),
        2 => row.code = format!("c{number}").into(),
        3 => row.sequence = number,
        _ => {
            row.state = match state {
                0 => CouponState::Issued,
                1 => CouponState::Redeemed,
                _ => CouponState::Voided,
            }
        }
    }
}

fn add_or_drop_row(campaign: &mut Campaign, random: &mut Random) {
    let count = campaign.rows.len();
    if random.percent(50) {
        if count > 0 {
            campaign.rows.remove(random.place(count));
        }
        return;
    }
    let sequence = count as u64 + 1;
    let request_id = random.below(8);
    campaign.rows.push(Coupon {
        sequence,
        code: format!("c{sequence}").into(),
        recipient: format!("r{}", request_id % 3).into(),
        request_id: request_id.into(),
        state: CouponState::Issued,
    });
}

fn change_campaign(campaign: &mut Campaign, random: &mut Random) {
    match random.below(3) {
        0 => campaign.quota = (campaign.quota + random.below(3)).saturating_sub(1),
        1 => campaign.per_recipient_limit = random.below(3),
        _ => campaign.is_complete = !campaign.is_complete,
    }
}

fn ask_otherwise(campaign: &mut Campaign, random: &mut Random) {
    match random.below(10) {
        0..=2 => return share_request(campaign, random),
        3..=4 => return refuse_again(campaign, random),
        _ => {}
    }
    let number = random.below(7);
    let Some(operation) = call(campaign, random) else { return };
    match &mut operation.call {
        Call::Issue { request_id, recipient } => {
            if random.percent(50) {
                *request_id = number.into();
            } else {
                *recipient = format!("r{}", number % 3).into();
            }
        }
        Call::Redeem { code } | Call::Reverse { code } | Call::Void { code } => {
            *code = format!("c{number}").into();
        }
        Call::Get | Call::SetQuota { .. } => operation.call = Call::Void { code: "c1".into() },
    }
}

/// A call asks again for a coupon that is there, sometimes for another recipient, and is refused.
fn refuse_again(campaign: &mut Campaign, random: &mut Random) {
    let is_other = random.percent(25);
    let Some(row) = row(campaign, random) else { return };
    let request_id = row.request_id;
    let recipient = if is_other { "r9".into() } else { row.recipient.clone() };
    let Some(operation) = call(campaign, random) else { return };
    operation.call = Call::Issue { request_id, recipient };
    operation.outcome = Outcome::Refused;
}

/// A refusal for the limit gets the request id of a coupon.
fn share_request(campaign: &mut Campaign, random: &mut Random) {
    let Some(row) = row(campaign, random) else { return };
    let shared = row.request_id;
    for operation in &mut campaign.operations {
        let is_refused = matches!(operation.outcome, Outcome::LimitReached { .. });
        if let Call::Issue { request_id, .. } = &mut operation.call
            && is_refused
        {
            *request_id = shared;
        }
    }
}
