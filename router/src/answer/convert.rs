//! From the ledger's records to the messages that clients see. Pure.

use coupon_cluster::{
    CampaignState, CodeProfile, EncodeError, KeyId, NumericId, RequestId, campaign_etag,
};
use coupon_proto::internal::command::Operation;
use coupon_proto::internal::coupon_change::Change;
use coupon_proto::internal::hold_record::End;
use coupon_proto::internal::{CampaignRecord, CouponIssued, HoldRecord};
use coupon_proto::v1::{self, Campaign, Coupon, CouponState, Hold, HoldState};
use coupon_wire::campaign::{quota_in_force, quota_used, state_at};
use coupon_wire::code::scheme_from_pb;
use coupon_wire::ids;
use prost_types::{Duration, Timestamp};

use crate::answer::error::Fault;
use crate::route::topology::Topology;

const MICROS_PER_SECOND: u64 = 1_000_000;

/// A campaign as it stands at log time `now_micros`.
pub(crate) fn campaign(record: CampaignRecord, now_micros: u64) -> Campaign {
    let state = state_to_pb(state_at(&record, now_micros));
    let remaining = quota_in_force(&record).saturating_sub(quota_used(&record));
    let counters = record.counters.unwrap_or_default();
    let name = ids::campaign_name(&record.name);
    let campaign_id = name.map_or_else(|_| String::new(), |name| name.id().to_owned());
    let codes = scheme_from_pb(record.code_scheme.as_ref()).unwrap_or_default();
    let (source, profile, code_length) = if record.imported_codes {
        (v1::CodeSource::Imported, v1::CodeProfile::Unspecified, 0)
    } else {
        let length = i32::try_from(codes.format.symbol_count()).unwrap_or(i32::MAX);
        (v1::CodeSource::Generated, profile_to_pb(codes.format.profile()), length)
    };
    let shard = ids::shard_id(record.code_shard_id);
    let numeric_id = shard.map(|shard| NumericId { shard, number: record.number }.to_i64());
    Campaign {
        campaign_id,
        display_name: record.display_name,
        quota: to_i64(record.quota),
        start_time: Some(timestamp(record.start_micros)),
        end_time: (record.end_micros != 0).then(|| timestamp(record.end_micros)),
        per_recipient_limit: i32::try_from(record.per_recipient_limit).unwrap_or(i32::MAX),
        coupon_ttl: (record.coupon_ttl_micros != 0).then(|| duration(record.coupon_ttl_micros)),
        labels: record.labels,
        state: state.into(),
        issued: to_i64(counters.issued),
        remaining: to_i64(remaining),
        create_time: Some(timestamp(record.create_micros)),
        revision: to_i64(counters.revision),
        numeric_id: numeric_id.unwrap_or_default(),
        etag: campaign_etag(record.update_revision, record.update_micros),
        update_time: Some(timestamp(record.update_micros)),
        open_time: (counters.open_micros != 0).then(|| timestamp(counters.open_micros)),
        sold_out_time: (counters.sold_out_micros != 0).then(|| timestamp(counters.sold_out_micros)),
        redeemed: to_i64(counters.redeemed),
        voided: to_i64(counters.voided),
        returned: to_i64(counters.returned),
        held: to_i64(counters.held),
        code_profile: profile.into(),
        code_prefix: codes.prefix.as_str().to_owned(),
        code_length,
        code_source: source.into(),
        imported: to_i64(counters.imported),
    }
}

fn profile_to_pb(profile: CodeProfile) -> v1::CodeProfile {
    match profile {
        CodeProfile::Kr => v1::CodeProfile::Kr,
        CodeProfile::Latin => v1::CodeProfile::Latin,
    }
}

/// A state as clients see it.
pub(crate) fn state_to_pb(state: CampaignState) -> v1::CampaignState {
    match state {
        CampaignState::Scheduled => v1::CampaignState::Scheduled,
        CampaignState::Active => v1::CampaignState::Active,
        CampaignState::Paused => v1::CampaignState::Paused,
        CampaignState::Exhausted => v1::CampaignState::Exhausted,
        CampaignState::Ended => v1::CampaignState::Ended,
        CampaignState::Archived => v1::CampaignState::Archived,
    }
}

/// A coupon as it stands at log time `now_micros`.
///
/// # Errors
/// [`Fault::Internal`] when the record cannot be: its key is in no map, or its number is out of range.
pub(crate) fn coupon(
    campaign_id: String,
    issued: CouponIssued,
    topology: &Topology,
    now_micros: u64,
) -> Result<Coupon, Fault> {
    let code = code(&issued, topology)?;
    let state = coupon_state(&issued, now_micros);
    let record = issued.coupon.unwrap_or_default();
    let request_id = ids::request_id(&record.request_id)
        .map_err(|_| Fault::Internal("a coupon has a malformed request id"))?;
    let mut shown = Coupon {
        campaign_id,
        code,
        sequence: to_i64(issued.sequence),
        recipient: record.recipient,
        state: state.into(),
        issue_time: Some(timestamp(record.issue_micros)),
        expire_time: (record.expire_micros != 0).then(|| timestamp(record.expire_micros)),
        metadata: record.metadata,
        request_id: request_id.to_string(),
        ..Default::default()
    };
    let changed = issued.last_change.unwrap_or_default();
    let at = Some(timestamp(changed.time_micros));
    match changed.change {
        Some(Change::Redemption(redemption)) => {
            (shown.redeem_time, shown.order_ref) = (at, redemption.order_ref);
        }
        Some(Change::Voiding(voiding)) => {
            (shown.void_time, shown.void_reason) = (at, voiding.reason);
            shown.quota_returned = voiding.quota_returned;
        }
        Some(Change::Reversal(_)) | None => {}
    }
    Ok(shown)
}

/// A hold as it stands at log time `now_micros`.
pub(crate) fn hold(
    campaign_id: String,
    hold_id: RequestId,
    record: HoldRecord,
    now_micros: u64,
) -> Hold {
    let mut shown = Hold {
        campaign_id,
        hold_id: hold_id.to_string(),
        recipient: record.recipient,
        create_time: Some(timestamp(record.hold_micros)),
        expire_time: Some(timestamp(record.expire_micros)),
        ..Default::default()
    };
    let state = match record.end {
        Some(End::Confirmation(end)) => {
            shown.confirm_time = Some(timestamp(end.time_micros));
            shown.sequence = to_i64(end.sequence);
            HoldState::Confirmed
        }
        Some(End::Release(end)) => {
            shown.release_time = Some(timestamp(end.time_micros));
            HoldState::Released
        }
        None if now_micros >= record.expire_micros => HoldState::Expired,
        None => HoldState::Open,
    };
    shown.set_state(state);
    shown
}

/// What a coupon is at log time `now_micros`.
pub(crate) fn coupon_state(issued: &CouponIssued, now_micros: u64) -> CouponState {
    match issued.last_change.as_ref().and_then(|changed| changed.change.as_ref()) {
        Some(Change::Redemption(_)) => CouponState::Redeemed,
        Some(Change::Voiding(_)) => CouponState::Voided,
        Some(Change::Reversal(_)) | None => {
            let end = issued.coupon.as_ref().map_or(0, |coupon| coupon.expire_micros);
            let is_expired = end != 0 && now_micros >= end;
            if is_expired { CouponState::Expired } else { CouponState::Issued }
        }
    }
}

/// Adds to a coupon what the node left out since the command has it.
pub(crate) fn complete(issued: &mut CouponIssued, operation: Operation) {
    if let (Some(coupon), Operation::Issue(issue)) = (&mut issued.coupon, operation) {
        coupon.recipient = issue.recipient;
        coupon.request_id = issue.request_id;
        coupon.metadata = issue.metadata;
    }
}

/// Whether the map has the key of a coupon's code.
pub(crate) fn has_key(coupon: &CouponIssued, topology: &Topology) -> bool {
    topology.codes().has_key(KeyId(coupon.code_key_id))
}

/// The code of a coupon: the imported one, if it has one.
///
/// # Errors
/// [`Fault::Internal`] when the record cannot be; see [`coupon`].
pub(crate) fn code(issued: &CouponIssued, topology: &Topology) -> Result<String, Fault> {
    let imported = issued.coupon.as_ref().map(|coupon| &coupon.imported_code);
    if let Some(imported) = imported.filter(|imported| !imported.is_empty()) {
        return Ok(imported.clone());
    }
    let scheme = scheme_from_pb(issued.code_scheme.as_deref())
        .map_err(|_| Fault::Internal("a coupon has a code of an unknown format"))?;
    let shard = ids::shard_id(issued.code_shard_id)
        .map_err(|_| Fault::Internal("a coupon was numbered by an impossible shard"))?;
    let counter = issued.coupon.as_ref().map_or(0, |coupon| coupon.counter);
    let code = topology.codes().encode(KeyId(issued.code_key_id), scheme, shard, counter);
    code.map(|code| scheme.text(&code)).map_err(|error| match error {
        EncodeError::UnknownKey(_) => Fault::Internal("a coupon's key is not in the shard map"),
        EncodeError::CounterTooLarge(_) => Fault::Internal("a coupon's counter is too large"),
        EncodeError::Taken => Fault::Internal("older keys have all codes of a coupon's counter"),
    })
}

/// Microseconds since 1970 as a timestamp.
pub(crate) fn timestamp(micros: u64) -> Timestamp {
    let (seconds, nanos) = split(micros);
    Timestamp { seconds, nanos }
}

fn duration(micros: u64) -> Duration {
    let (seconds, nanos) = split(micros);
    Duration { seconds, nanos }
}

fn split(micros: u64) -> (i64, i32) {
    let nanos = micros % MICROS_PER_SECOND * 1_000;
    let nanos =
        i32::try_from(nanos).expect("a fraction of a second has less than 10^9 nanoseconds");
    (to_i64(micros / MICROS_PER_SECOND), nanos)
}

/// A number as clients see it.
pub(crate) fn to_i64(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use coupon_proto::internal::{
        CampaignCounters, CouponChange, CouponRecord, Redemption, Voiding,
    };

    use super::*;

    #[test]
    fn a_campaign_shows_its_state_and_counters() {
        let record = CampaignRecord {
            name: "default/spring".to_owned(),
            quota: 2,
            start_micros: 100,
            number: 5,
            code_shard_id: 3,
            counters: Some(CampaignCounters { issued: 2, ..Default::default() }),
            ..Default::default()
        };
        let shown = campaign(record.clone(), 100);
        assert_eq!(shown.state(), v1::CampaignState::Exhausted);
        assert_eq!((shown.campaign_id.as_str(), shown.issued, shown.remaining), ("spring", 2, 0));
        assert_eq!(shown.numeric_id, (3 << 32) + 5);
        assert_eq!(campaign(record, 99).state(), v1::CampaignState::Scheduled);
    }

    #[test]
    fn what_was_done_with_a_coupon_hides_its_end() {
        let issued = |change: Option<Change>| CouponIssued {
            coupon: Some(CouponRecord { expire_micros: 100, ..Default::default() }),
            last_change: change.map(|change| {
                Box::new(CouponChange { change: Some(change), ..Default::default() })
            }),
            ..Default::default()
        };
        assert_eq!(coupon_state(&issued(None), 99), CouponState::Issued);
        assert_eq!(coupon_state(&issued(None), 100), CouponState::Expired);
        let redeemed = issued(Some(Change::Redemption(Redemption::default())));
        assert_eq!(coupon_state(&redeemed, 100), CouponState::Redeemed);
        let voided = issued(Some(Change::Voiding(Voiding::default())));
        assert_eq!(coupon_state(&voided, 100), CouponState::Voided);
    }

    #[test]
    fn times_keep_their_microseconds() {
        let time = timestamp(1_700_000_000_123_456);
        assert_eq!((time.seconds, time.nanos), (1_700_000_000, 123_456_000));
        assert_eq!(time.to_string(), "2023-11-14T22:13:20.123456Z");
    }
}
