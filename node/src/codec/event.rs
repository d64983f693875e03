//! `EventRecord`: what happened to a campaign or one of its coupons, as it is kept on disk.

use coupon_ledger::{CampaignTerms, Event, EventKind};
use coupon_proto::internal as pb;
use pb::event_record::Event as Kind;

use super::{coupon_history, hold, time_to_pb};

/// An event as it is kept on disk. `log_index` is that of its entry.
pub fn to_pb(event: &Event, log_index: u64) -> pb::EventRecord {
    let changed = |kind: pb::CampaignChangeKind| Kind::CampaignChanged(kind.into());
    let kind = match &event.kind {
        EventKind::CampaignCreated(terms) => Kind::CampaignCreated(terms_to_pb(terms)),
        EventKind::CampaignUpdated(terms) => Kind::CampaignUpdated(terms_to_pb(terms)),
        EventKind::CampaignPaused => changed(pb::CampaignChangeKind::Pause),
        EventKind::CampaignResumed => changed(pb::CampaignChangeKind::Resume),
        EventKind::CampaignEnded => changed(pb::CampaignChangeKind::End),
        EventKind::CampaignArchived => changed(pb::CampaignChangeKind::Archive),
        EventKind::CouponChanged { sequence, kind } => {
            let change = Some(coupon_history::kind_to_pb(kind));
            let change = pb::CouponChange { change, ..Default::default() };
            Kind::CouponChanged(pb::CouponEvent { sequence: *sequence, change: Some(change) })
        }
        EventKind::HoldChanged { hold_id, hold } => {
            let (hold_id, hold) = (hold_id.as_bytes().to_vec(), Some(hold::to_pb(hold)));
            Kind::HoldChanged(pb::HoldEvent { hold_id, hold })
        }
        EventKind::CodesImported { added } => {
            Kind::CodesImported(pb::ImportEvent { added: *added })
        }
    };
    pb::EventRecord {
        log_index,
        time_micros: event.at.0,
        request_id: event.request_id.as_bytes().to_vec(),
        issued: event.issued,
        event: Some(kind),
    }
}

fn terms_to_pb(terms: &CampaignTerms) -> pb::CampaignTerms {
    pb::CampaignTerms {
        display_name: terms.display_name.clone(),
        quota: terms.quota,
        start_micros: terms.start.0,
        end_micros: time_to_pb(terms.end),
        labels: terms.labels.clone(),
    }
}
