//! The events of a fake shard.

use coupon_proto::internal::{
    CampaignEvent, CampaignRecord, CampaignTerms, CouponIssued, EventRecord, IssueEvent,
    ListEventsQuery, ReadResponse, event_record,
};

use super::ledger::NOW_MICROS;

/// The events of a campaign of which nothing but coupons was asked.
pub fn list(
    response: &mut ReadResponse,
    query: &ListEventsQuery,
    record: &CampaignRecord,
    coupons: Vec<CouponIssued>,
) {
    let created = event_record::Event::CampaignCreated(CampaignTerms::default());
    let issued = |_: &CouponIssued| event_record::Event::CouponIssued(IssueEvent::default());
    let kinds = std::iter::once(created).chain(coupons.iter().map(issued)).collect::<Vec<_>>();
    let shown = std::iter::once(None).chain(coupons.iter().cloned().map(Some));
    let events = (1..).zip(kinds).zip(shown).map(|((revision, kind), coupon)| CampaignEvent {
        revision,
        record: Some(EventRecord {
            log_index: 100 + revision,
            time_micros: NOW_MICROS,
            request_id: vec![1; 16],
            event: Some(kind),
            ..Default::default()
        }),
        coupon,
    });
    let wanted = events.filter(|event| event.revision > query.after_revision);
    response.events = wanted.take(query.limit as usize).collect();
    response.revision = record.counters.as_ref().map_or(0, |counters| counters.revision);
    let last = response.events.last().map_or(query.after_revision, |event| event.revision);
    response.more = last < response.revision;
}
