//! From what a shard says about events to what clients see. Pure.

use coupon_cluster::ShardId;
use coupon_proto::internal;
use coupon_proto::internal::coupon_change::Change;
use coupon_proto::internal::event_record::Event as Kind;
use coupon_proto::internal::{CampaignChangeKind, CampaignEvent, EventRecord};
use coupon_proto::v1::{CampaignTerms, Event, EventType, LogPosition};
use coupon_wire::ids;

use crate::answer::convert::{self, timestamp, to_i64};
use crate::answer::error::Fault;
use crate::route::topology::Topology;

/// An event of a campaign of a shard, in the history `history_id`.
///
/// # Errors
/// [`Fault::Internal`] when the record cannot be.
pub(crate) fn event(
    campaign_id: String,
    happened: CampaignEvent,
    (shard, history_id): (ShardId, u64),
    topology: &Topology,
) -> Result<Event, Fault> {
    let unknown = || Fault::Internal("an event is of no known type");
    let EventRecord { log_index, time_micros, request_id, event, .. } =
        happened.record.ok_or_else(unknown)?;
    let request_id = ids::request_id(&request_id)
        .map_err(|_| Fault::Internal("an event has a malformed request id"))?;
    let (mut terms, mut hold, mut imported) = (None, None, 0);
    let event_type = match event.ok_or_else(unknown)? {
        Kind::CampaignCreated(created) => {
            terms = Some(created);
            EventType::CampaignCreated
        }
        Kind::CampaignUpdated(updated) => {
            terms = Some(updated);
            EventType::CampaignUpdated
        }
        Kind::CampaignChanged(kind) => changed(kind).ok_or_else(unknown)?,
        Kind::CouponIssued(issued) => {
            let coupon = happened.coupon.as_ref().and_then(|coupon| coupon.coupon.as_ref());
            let hold_id = coupon.map(|coupon| coupon.request_id.clone()).unwrap_or_default();
            hold = issued.hold.map(|record| (hold_id, record));
            EventType::CouponIssued
        }
        Kind::CouponChanged(changed) => match changed.change.and_then(|change| change.change) {
            Some(Change::Redemption(_)) => EventType::CouponRedeemed,
            Some(Change::Reversal(_)) => EventType::RedemptionReversed,
            Some(Change::Voiding(_)) => EventType::CouponVoided,
            None => return Err(unknown()),
        },
        Kind::HoldChanged(changed) => {
            let record = changed.hold.ok_or_else(unknown)?;
            let is_released = record.end.is_some();
            hold = Some((changed.hold_id, record));
            if is_released { EventType::HoldReleased } else { EventType::HoldCreated }
        }
        Kind::CodesImported(codes) => {
            imported = codes.added;
            EventType::CodesImported
        }
    };
    let hold = hold.map(|(hold_id, record)| {
        let hold_id = ids::request_id(&hold_id)
            .map_err(|_| Fault::Internal("an event has a malformed id of a hold"))?;
        Ok(convert::hold(campaign_id.clone(), hold_id, record, time_micros))
    });
    let coupon = happened.coupon.map(|coupon| {
        // What time has made of it since is not the event's business.
        convert::coupon(campaign_id.clone(), coupon, topology, time_micros)
    });
    Ok(Event {
        coupon: coupon.transpose()?,
        campaign_id,
        revision: to_i64(happened.revision),
        r#type: event_type.into(),
        time: Some(timestamp(time_micros)),
        log_position: Some(LogPosition {
            shard_id: i32::try_from(shard.get()).unwrap_or(i32::MAX),
            index: to_i64(log_index),
        }),
        request_id: request_id.to_string(),
        history_id: to_i64(history_id),
        terms: terms.map(terms_of),
        hold: hold.transpose()?,
        imported: to_i64(imported),
    })
}

fn changed(kind: i32) -> Option<EventType> {
    match CampaignChangeKind::try_from(kind).ok()? {
        CampaignChangeKind::Pause => Some(EventType::CampaignPaused),
        CampaignChangeKind::Resume => Some(EventType::CampaignResumed),
        CampaignChangeKind::End => Some(EventType::CampaignEnded),
        CampaignChangeKind::Archive => Some(EventType::CampaignArchived),
        CampaignChangeKind::Unspecified
        | CampaignChangeKind::Update
        | CampaignChangeKind::Delete => None,
    }
}

fn terms_of(terms: internal::CampaignTerms) -> CampaignTerms {
    CampaignTerms {
        display_name: terms.display_name,
        quota: to_i64(terms.quota),
        start_time: Some(timestamp(terms.start_micros)),
        end_time: (terms.end_micros != 0).then(|| timestamp(terms.end_micros)),
        labels: terms.labels,
    }
}
