//! What came of a command, as it travels.

use coupon_ledger::{IssuedCoupon, Outcome, Refusal};
use coupon_proto::internal as pb;
use coupon_wire::code::scheme_to_pb;

use super::{coupon_history, hold, import_codes, issue, row};

/// An issued coupon as it travels.
pub fn issued_to_pb(issued: IssuedCoupon) -> pb::CouponIssued {
    pb::CouponIssued {
        coupon: Some(row::coupon_to_pb(issued.coupon)),
        sequence: issued.sequence,
        replayed: false,
        log_time_micros: 0,
        code_shard_id: issued.code_shard.get(),
        code_key_id: issued.code_key.0,
        code_scheme: scheme_to_pb(issued.code_scheme).map(Box::new),
        last_change: coupon_history::state_to_pb(issued.state).map(Box::new),
    }
}

/// An outcome as it travels. `None` for an adopted ring, which no caller asks for.
pub fn outcome_to_pb(outcome: Outcome) -> Option<pb::Outcome> {
    use pb::outcome::Outcome as Kind;
    let kind = match outcome {
        Outcome::CampaignCreated { campaign, now, replayed } => {
            let campaign = Some(row::campaign_to_pb(&campaign));
            let log_time_micros = now.0;
            Kind::CampaignCreated(Box::new(pb::CampaignCreated {
                campaign,
                replayed,
                log_time_micros,
            }))
        }
        Outcome::CampaignChanged { campaign, now, replayed } => {
            let campaign = Some(row::campaign_to_pb(&campaign));
            let log_time_micros = now.0;
            Kind::CampaignChanged(Box::new(pb::CampaignChanged {
                campaign,
                replayed,
                log_time_micros,
            }))
        }
        Outcome::CampaignDeleted { replayed } => {
            Kind::CampaignDeleted(pb::CampaignDeleted { replayed })
        }
        Outcome::CouponIssued { issued, now, replayed } => {
            Kind::CouponIssued(issue::answer_to_pb(issued, replayed.then_some(now)))
        }
        Outcome::CouponChanged { campaign, coupon, at, replayed } => {
            let coupon = Some(pb::CampaignCoupon {
                campaign_id: campaign.id().to_owned(),
                coupon: Some(issued_to_pb(coupon)),
            });
            let changed = pb::CouponChanged { coupon, time_micros: at.0, replayed };
            Kind::CouponChanged(Box::new(changed))
        }
        Outcome::HoldChanged { hold_id: _, hold, now, replayed } => {
            let (hold, log_time_micros) = (Some(hold::to_pb(&hold)), now.0);
            Kind::HoldChanged(Box::new(pb::HoldChanged { hold, replayed, log_time_micros }))
        }
        Outcome::HoldConfirmed { issued, now, replayed } => {
            let log_time_micros = if replayed { now.0 } else { 0 };
            let issued = pb::CouponIssued { replayed, log_time_micros, ..issued_to_pb(issued) };
            Kind::HoldConfirmed(Box::new(pb::HoldConfirmed { coupon: Some(issued) }))
        }
        Outcome::CodesImported { next_line, imported, refused } => {
            let answer = import_codes::answer_to_pb(next_line, imported, refused);
            Kind::CodesImported(Box::new(answer))
        }
        Outcome::Refused(refusal) => Kind::Refusal(refusal_to_pb(refusal)),
        Outcome::RingAdopted { .. } | Outcome::CountersSkipped => return None,
    };
    Some(pb::Outcome { outcome: Some(kind) })
}

/// A refusal as it travels.
pub fn refusal_to_pb(refusal: Refusal) -> pb::Refusal {
    use pb::RefusalReason as Reason;
    let refused = |reason: Reason| pb::Refusal { reason: reason.into(), ..Default::default() };
    match refusal {
        Refusal::NotStarted { start, now } => pb::Refusal {
            time_micros: start.0,
            log_time_micros: now.0,
            ..refused(Reason::NotStarted)
        },
        Refusal::Ended { end, now } => {
            pb::Refusal { time_micros: end.0, log_time_micros: now.0, ..refused(Reason::Ended) }
        }
        Refusal::Paused => refused(Reason::Paused),
        Refusal::SoldOut => refused(Reason::SoldOut),
        Refusal::OutOfCodes => refused(Reason::OutOfCodes),
        Refusal::Unreadable => refused(Reason::Unreadable),
        Refusal::QuotaHeld { until, now } => pb::Refusal {
            time_micros: until.0,
            log_time_micros: now.0,
            ..refused(Reason::QuotaHeld)
        },
        Refusal::RecipientLimitReached { held, hold_ids, now } => pb::Refusal {
            log_time_micros: now.0,
            held: held.into_iter().map(issued_to_pb).collect(),
            hold_ids: hold_ids.iter().map(|id| id.as_bytes().to_vec()).collect(),
            ..refused(Reason::RecipientLimitReached)
        },
        Refusal::TooManyHolds { until, now } => pb::Refusal {
            time_micros: until.0,
            log_time_micros: now.0,
            ..refused(Reason::TooManyHolds)
        },
        Refusal::HoldNotFound => refused(Reason::HoldNotFound),
        Refusal::HoldExpired { end, now } => pb::Refusal {
            time_micros: end.0,
            log_time_micros: now.0,
            ..refused(Reason::HoldExpired)
        },
        Refusal::HoldConfirmed { at } => {
            pb::Refusal { time_micros: at.0, ..refused(Reason::HoldConfirmed) }
        }
        Refusal::HoldReleased { at } => {
            pb::Refusal { time_micros: at.0, ..refused(Reason::HoldReleased) }
        }
        Refusal::HoldsOpen { held } => {
            pb::Refusal { open_holds: held, ..refused(Reason::HoldsOpen) }
        }
        Refusal::CodesNotImported => refused(Reason::CodesNotImported),
        Refusal::ImportLinesMissing { next_line } => {
            pb::Refusal { next_line, ..refused(Reason::ImportLinesMissing) }
        }
        Refusal::TooManyImports => refused(Reason::TooManyImports),
        Refusal::RecipientRequired => refused(Reason::RecipientRequired),
        Refusal::CampaignExists => refused(Reason::CampaignExists),
        Refusal::CampaignNotFound => refused(Reason::CampaignNotFound),
        Refusal::EmptyWindow => refused(Reason::EmptyWindow),
        Refusal::EndInPast { end, now } => {
            pb::Refusal { time_micros: end.0, log_time_micros: now.0, ..refused(Reason::EndInPast) }
        }
        Refusal::AlreadyStarted { start, now } => pb::Refusal {
            time_micros: start.0,
            log_time_micros: now.0,
            ..refused(Reason::AlreadyStarted)
        },
        Refusal::QuotaBelowIssued { issued, held, quota_min } => {
            pb::Refusal { issued, quota_min, open_holds: held, ..refused(Reason::QuotaBelowIssued) }
        }
        Refusal::PerRecipientLimitFixed => refused(Reason::PerRecipientLimitFixed),
        Refusal::CouponTtlFixed => refused(Reason::CouponTtlFixed),
        Refusal::EtagMismatch => refused(Reason::EtagMismatch),
        Refusal::CouponNotFound => refused(Reason::CouponNotFound),
        Refusal::AlreadyRedeemed { at } => {
            pb::Refusal { time_micros: at.0, ..refused(Reason::AlreadyRedeemed) }
        }
        Refusal::CouponVoided { at } => {
            pb::Refusal { time_micros: at.0, ..refused(Reason::CouponVoided) }
        }
        Refusal::CouponExpired { end, now } => pb::Refusal {
            time_micros: end.0,
            log_time_micros: now.0,
            ..refused(Reason::CouponExpired)
        },
        Refusal::NotRedeemed => refused(Reason::NotRedeemed),
        Refusal::Archived => refused(Reason::Archived),
        Refusal::NotEnded => refused(Reason::NotEnded),
        Refusal::NotArchived => refused(Reason::NotArchived),
        Refusal::CampaignDeleted => refused(Reason::CampaignDeleted),
        Refusal::RequestIdReused => refused(Reason::RequestIdReused),
        Refusal::StaleEpoch { epoch } => {
            pb::Refusal { epoch: epoch.0, ..refused(Reason::StaleEpoch) }
        }
        Refusal::ShardFull => refused(Reason::ShardFull),
        Refusal::NotOwner { epoch } => pb::Refusal { epoch: epoch.0, ..refused(Reason::NotOwner) },
    }
}
