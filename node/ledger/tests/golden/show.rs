//! Outcomes and state, in the words of a script.

use coupon_cluster::{CodeScheme, RequestId};
use coupon_ledger::{
    Campaign, CouponState, Hold, HoldState, IssuedCoupon, LineRefusal, LogTime, Outcome, Refusal,
    RefusedLine, ShardState,
};

/// What came of a command; `now` is the log time of its entry.
pub(crate) fn outcome(outcome: &Outcome, now: LogTime) -> String {
    match outcome {
        Outcome::CampaignCreated { campaign: created, replayed, .. } => {
            let verb = if *replayed { "replayed" } else { "created" };
            format!("{verb} {}", campaign(created, now))
        }
        Outcome::CampaignChanged { campaign: changed, replayed, .. } => {
            let verb = if *replayed { "replayed" } else { "is now" };
            format!("{verb} {}", campaign(changed, now))
        }
        Outcome::CampaignDeleted { replayed } => {
            if *replayed { "replayed: deleted" } else { "deleted" }.to_owned()
        }
        Outcome::CouponIssued { issued, replayed, .. } => {
            let verb = if *replayed { "replayed" } else { "issued" };
            format!("{verb} {}", coupon(issued))
        }
        Outcome::CouponChanged { campaign, coupon: changed, at, replayed } => {
            let verb = if *replayed { "replayed" } else { "changed" };
            format!("{verb} {} at {}: {}", campaign.id(), at.0, coupon(changed))
        }
        Outcome::HoldChanged { hold_id, hold: changed, replayed, .. } => {
            let verb = if *replayed { "replayed" } else { "hold" };
            format!("{verb} {}", hold(*hold_id, changed, now))
        }
        Outcome::HoldConfirmed { issued, replayed, .. } => {
            let verb = if *replayed { "replayed" } else { "confirmed" };
            format!("{verb} {}", coupon(issued))
        }
        Outcome::CodesImported { next_line, imported, refused } => {
            let refused: String = refused.iter().map(refused_line).collect();
            format!("imported {imported}, next line {next_line}{refused}")
        }
        Outcome::RingAdopted { epoch } => format!("at epoch {epoch}"),
        Outcome::CountersSkipped => "counters left out".to_owned(),
        Outcome::Refused(refusal) => format!("refused: {}", reason(refusal)),
    }
}

fn refused_line(refused: &RefusedLine) -> String {
    let reason = match refused.reason {
        LineRefusal::Duplicate { sequence, line: Some(line) } => {
            format!("duplicate of line {line}, #{sequence}")
        }
        LineRefusal::Duplicate { sequence, line: None } => format!("duplicate of #{sequence}"),
        LineRefusal::TooManyCodes => "too many codes".to_owned(),
        LineRefusal::Changed => "changed".to_owned(),
    };
    format!("; line {}: {reason}", refused.line)
}

fn reason(refusal: &Refusal) -> String {
    match refusal {
        Refusal::NotStarted { start, now } => {
            format!("not started, start={} now={}", start.0, now.0)
        }
        Refusal::Ended { end, now } => format!("ended, end={} now={}", end.0, now.0),
        Refusal::Paused => "paused".to_owned(),
        Refusal::SoldOut => "sold out".to_owned(),
        Refusal::OutOfCodes => "out of codes".to_owned(),
        Refusal::Unreadable => "unreadable".to_owned(),
        Refusal::QuotaHeld { until, now } => {
            format!("quota held, until={} now={}", until.0, now.0)
        }
        Refusal::RecipientLimitReached { held, hold_ids, .. } => {
            let held = held.iter().map(coupon);
            let open = hold_ids.iter().map(|id| format!("hold {}", request(*id)));
            let all: Vec<_> = held.chain(open).collect();
            format!("recipient limit reached, holds {}", all.join(" and "))
        }
        Refusal::TooManyHolds { until, now } => {
            format!("too many holds, until={} now={}", until.0, now.0)
        }
        Refusal::HoldNotFound => "hold not found".to_owned(),
        Refusal::HoldExpired { end, now } => format!("hold expired, end={} now={}", end.0, now.0),
        Refusal::HoldConfirmed { at } => format!("hold confirmed, at={}", at.0),
        Refusal::HoldReleased { at } => format!("hold released, at={}", at.0),
        Refusal::HoldsOpen { held } => format!("holds open, held={held}"),
        Refusal::CodesNotImported => "codes not imported".to_owned(),
        Refusal::ImportLinesMissing { next_line } => {
            format!("lines missing, next line {next_line}")
        }
        Refusal::TooManyImports => "too many imports".to_owned(),
        Refusal::RecipientRequired => "recipient required".to_owned(),
        Refusal::CampaignExists => "campaign exists".to_owned(),
        Refusal::CampaignNotFound => "campaign not found".to_owned(),
        Refusal::EmptyWindow => "empty window".to_owned(),
        Refusal::EndInPast { end, now } => format!("end in past, end={} now={}", end.0, now.0),
        Refusal::AlreadyStarted { start, now } => {
            format!("already started, start={} now={}", start.0, now.0)
        }
        Refusal::QuotaBelowIssued { issued, held, quota_min } => {
            let held = if *held > 0 { format!(" held={held}") } else { String::new() };
            format!("quota below issued, issued={issued}{held} quota_min={quota_min}")
        }
        Refusal::PerRecipientLimitFixed => "limit per recipient fixed".to_owned(),
        Refusal::CouponTtlFixed => "lifetime of coupons fixed".to_owned(),
        Refusal::EtagMismatch => "etag mismatch".to_owned(),
        Refusal::CouponNotFound => "coupon not found".to_owned(),
        Refusal::AlreadyRedeemed { at } => format!("already redeemed, at={}", at.0),
        Refusal::CouponVoided { at } => format!("coupon voided, at={}", at.0),
        Refusal::CouponExpired { end, now } => {
            format!("coupon expired, end={} now={}", end.0, now.0)
        }
        Refusal::NotRedeemed => "not redeemed".to_owned(),
        Refusal::Archived => "archived".to_owned(),
        Refusal::NotEnded => "not ended".to_owned(),
        Refusal::NotArchived => "not archived".to_owned(),
        Refusal::CampaignDeleted => "campaign deleted".to_owned(),
        Refusal::RequestIdReused => "request id reused".to_owned(),
        Refusal::StaleEpoch { epoch } => format!("stale epoch, in force is {epoch}"),
        Refusal::NotOwner { epoch } => format!("not owner at epoch {epoch}"),
        Refusal::ShardFull => "shard full".to_owned(),
    }
}

fn coupon(issued: &IssuedCoupon) -> String {
    let IssuedCoupon { coupon, sequence, code_shard, code_key, code_scheme, state } = issued;
    let recipient = if coupon.recipient.is_empty() { "-" } else { coupon.recipient.as_str() };
    let mut text = format!(
        "#{sequence} {recipient} {} at={} counter={code_shard}/{} key={code_key}",
        request(coupon.request_id),
        coupon.issued_at.0,
        coupon.counter,
    );
    if let Some(code) = &coupon.imported_code {
        text += &format!(" code={code}");
    }
    if *code_scheme != CodeScheme::default() {
        text += &format!(" codes={:?}/{}", code_scheme.format, code_scheme.prefix.as_str());
    }
    if let Some(expires_at) = coupon.expires_at {
        text += &format!(" expires={}", expires_at.0);
    }
    for (key, value) in &coupon.metadata {
        text += &format!(" {key}={value}");
    }
    match state {
        CouponState::Issued => {}
        CouponState::Redeemed { at, order_ref } => {
            text += &format!(" REDEEMED at={} order={order_ref}", at.0);
        }
        CouponState::Voided { at, reason, quota_returned } => {
            text += &format!(" VOIDED at={} reason={reason}", at.0);
            text += if *quota_returned { " returned" } else { "" };
        }
    }
    text
}

fn hold(id: RequestId, hold: &Hold, now: LogTime) -> String {
    let recipient = if hold.recipient.is_empty() { "-" } else { hold.recipient.as_str() };
    let (id, at, end) = (request(id), hold.held_at.0, hold.expires_at.0);
    let state = match hold.state {
        HoldState::Open if hold.expires_at <= now => " EXPIRED".to_owned(),
        HoldState::Open => String::new(),
        HoldState::Confirmed { at, sequence, .. } => format!(" CONFIRMED at={} #{sequence}", at.0),
        HoldState::Released { at, .. } => format!(" RELEASED at={}", at.0),
    };
    format!("{id} {recipient} at={at} end={end}{state}")
}

/// A campaign; `now` is log time.
pub(crate) fn campaign(campaign: &Campaign, now: LogTime) -> String {
    let spec = &campaign.spec;
    let counters = &campaign.counters;
    let mut text = format!(
        "{} number={} {:?} start={} issued={}/{} remaining={} revision={}",
        spec.name.id(),
        spec.number,
        campaign.state_at(now),
        spec.start.0,
        counters.issued,
        spec.quota,
        campaign.remaining(),
        counters.revision,
    );
    let of_coupons = [
        ("redeemed", counters.redeemed),
        ("voided", counters.voided),
        ("returned", counters.returned),
        ("held", counters.held),
        ("imported", counters.imported),
    ];
    for (name, count) in of_coupons.into_iter().filter(|(_, count)| *count > 0) {
        text += &format!(" {name}={count}");
    }
    text
}

/// What an administrator decides about a campaign.
pub(crate) fn terms(campaign: &Campaign) -> String {
    let (spec, counters) = (&campaign.spec, &campaign.counters);
    let time = |time: Option<LogTime>| time.map_or("never".to_owned(), |time| time.0.to_string());
    let labels: Vec<_> = spec.labels.values().map(String::as_str).collect();
    format!(
        "{} name={} quota={} start={} end={} labels=[{}] etag={} updated={} opened={} sold_out={}",
        spec.name.id(),
        spec.display_name,
        spec.quota,
        spec.start.0,
        time(spec.end),
        labels.join(" "),
        spec.etag(),
        spec.updated.0,
        time(counters.opened),
        time(counters.sold_out),
    )
}

pub(crate) fn shard(state: &ShardState) -> String {
    let members: Vec<_> = state.ring_shards.iter().map(ToString::to_string).collect();
    format!(
        "epoch={} ring=[{}] time={} next_campaign={} next_block={} holds={}",
        state.epoch,
        members.join(" "),
        state.log_time.0,
        state.next_campaign_number,
        state.next_block,
        state.holds,
    )
}

fn request(id: RequestId) -> String {
    let (_, number) = id.as_bytes().split_at(8);
    format!("r{}", u64::from_be_bytes(number.try_into().unwrap()))
}
