//! Campaigns as they travel.

use coupon_cluster::{CampaignLifecycle, CampaignState};
use coupon_proto::internal as pb;

/// Where a campaign stands at log time `now_micros`. A record without counters is of a campaign that has
/// issued nothing.
pub fn state_at(record: &pb::CampaignRecord, now_micros: u64) -> CampaignState {
    let lifecycle = CampaignLifecycle {
        start_micros: record.start_micros,
        end_micros: (record.end_micros != 0).then_some(record.end_micros),
        is_paused: record.paused,
        is_archived: record.stage() != pb::CampaignStage::Unspecified,
        quota: quota_in_force(record),
        quota_used: quota_used(record),
    };
    lifecycle.state_at(now_micros)
}

/// How many coupons may be issued by now: the quota, or as many as there are codes for where codes are imported.
pub fn quota_in_force(record: &pb::CampaignRecord) -> u64 {
    if !record.imported_codes {
        return record.quota;
    }
    let codes = record.counters.as_ref();
    let codes = codes.map_or(0, |counters| counters.imported.saturating_sub(counters.returned));
    record.quota.min(codes)
}

/// How many coupons and holds count against the quota of a campaign: all coupons that were issued, but for those that
/// returned it, and open holds.
pub fn quota_used(record: &pb::CampaignRecord) -> u64 {
    record.counters.as_ref().map_or(0, |counters| {
        counters.issued.saturating_sub(counters.returned).saturating_add(counters.held)
    })
}

/// A state as it travels.
pub fn state_to_pb(state: CampaignState) -> pb::CampaignState {
    match state {
        CampaignState::Scheduled => pb::CampaignState::Scheduled,
        CampaignState::Active => pb::CampaignState::Active,
        CampaignState::Paused => pb::CampaignState::Paused,
        CampaignState::Exhausted => pb::CampaignState::Exhausted,
        CampaignState::Ended => pb::CampaignState::Ended,
        CampaignState::Archived => pb::CampaignState::Archived,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_has_all_that_the_state_depends_on() {
        let record = |issued| pb::CampaignRecord {
            quota: 2,
            start_micros: 100,
            end_micros: 200,
            counters: Some(pb::CampaignCounters { issued, ..Default::default() }),
            ..Default::default()
        };
        assert_eq!(state_at(&record(0), 99), CampaignState::Scheduled);
        assert_eq!(state_at(&record(1), 100), CampaignState::Active);
        assert_eq!(state_at(&record(2), 199), CampaignState::Exhausted);
        assert_eq!(state_at(&record(2), 200), CampaignState::Ended);
        let mut returned = record(2);
        returned.counters.as_mut().expect("it has counters").returned = 1;
        assert_eq!(state_at(&returned, 199), CampaignState::Active);
        returned.counters.as_mut().expect("it has counters").held = 1;
        assert_eq!(state_at(&returned, 199), CampaignState::Exhausted);
        let mut imported = pb::CampaignRecord { imported_codes: true, ..record(1) };
        assert_eq!(state_at(&imported, 199), CampaignState::Exhausted);
        imported.counters.as_mut().expect("it has counters").imported = 2;
        assert_eq!(state_at(&imported, 199), CampaignState::Active);
        imported.counters.as_mut().expect("it has counters").imported = 9;
        assert_eq!(quota_in_force(&imported), 2);
        let paused = pb::CampaignRecord { paused: true, ..record(0) };
        assert_eq!(state_at(&paused, 99), CampaignState::Paused);
        let archived =
            pb::CampaignRecord { stage: pb::CampaignStage::Archived.into(), ..record(0) };
        assert_eq!(state_at(&archived, 200), CampaignState::Archived);
        let unending = pb::CampaignRecord { end_micros: 0, counters: None, ..record(0) };
        assert_eq!(state_at(&unending, u64::MAX), CampaignState::Active);
    }
}
