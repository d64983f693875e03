//! From the ledger's records to the messages that clients see. Pure.

use coupon_cluster::{CampaignName, KeyId, RequestId, ShardId};
use coupon_proto::internal::command::Operation;
use coupon_proto::internal::{CampaignRecord, CouponIssued};
use coupon_proto::v1::{Campaign, CampaignState, Coupon, CouponState};
use prost_types::{Duration, Timestamp};

use crate::answer::error::Fault;
use crate::route::topology::Topology;

const MICROS_PER_SECOND: u64 = 1_000_000;

/// A campaign as it stands at log time `now_micros`.
pub(crate) fn campaign(record: CampaignRecord, now_micros: u64) -> Campaign {
    let counters = record.counters.unwrap_or_default();
    let state = campaign_state(&record, counters.issued, now_micros);
    let name = CampaignName::parse(&record.name);
    let campaign_id = name.map_or_else(|_| String::new(), |name| name.id().to_owned());
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
        remaining: to_i64(record.quota.saturating_sub(counters.issued)),
        create_time: Some(timestamp(record.create_micros)),
        revision: to_i64(counters.revision),
    }
}

fn campaign_state(record: &CampaignRecord, issued: u64, now_micros: u64) -> CampaignState {
    if record.end_micros != 0 && now_micros >= record.end_micros {
        CampaignState::Ended
    } else if record.paused {
        CampaignState::Paused
    } else if now_micros < record.start_micros {
        CampaignState::Scheduled
    } else if issued >= record.quota {
        CampaignState::Exhausted
    } else {
        CampaignState::Active
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
    let record = issued.coupon.unwrap_or_default();
    let expired = record.expire_micros != 0 && now_micros >= record.expire_micros;
    let state = if expired { CouponState::Expired } else { CouponState::Issued };
    let request_id = RequestId::from_bytes(&record.request_id)
        .map_err(|_| Fault::Internal("a coupon has a malformed request id"))?;
    Ok(Coupon {
        campaign_id,
        code,
        sequence: to_i64(issued.sequence),
        recipient: record.recipient,
        state: state.into(),
        issue_time: Some(timestamp(record.issue_micros)),
        expire_time: (record.expire_micros != 0).then(|| timestamp(record.expire_micros)),
        metadata: record.metadata,
        request_id: request_id.to_string(),
    })
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
    topology.cipher(KeyId(coupon.code_key_id)).is_some()
}

/// The code of a coupon.
///
/// # Errors
/// [`Fault::Internal`] when the record cannot be; see [`coupon`].
pub(crate) fn code(issued: &CouponIssued, topology: &Topology) -> Result<String, Fault> {
    let cipher = topology.cipher(KeyId(issued.code_key_id));
    let cipher = cipher.ok_or(Fault::Internal("a coupon's key is not in the shard map"))?;
    let shard = ShardId::new(issued.code_shard_id)
        .map_err(|_| Fault::Internal("a coupon was numbered by an impossible shard"))?;
    let counter = issued.coupon.as_ref().map_or(0, |coupon| coupon.counter);
    let code = cipher.encode(shard, counter);
    code.map(|code| code.to_string())
        .map_err(|_| Fault::Internal("a coupon's counter is too large"))
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

fn to_i64(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use coupon_proto::internal::CampaignCounters;

    use super::*;

    #[test]
    fn the_state_of_a_campaign_follows_log_time_and_counters() {
        let record = |issued| CampaignRecord {
            quota: 2,
            start_micros: 100,
            end_micros: 200,
            counters: Some(CampaignCounters { issued, ..Default::default() }),
            ..Default::default()
        };
        let state = |issued, now_micros| campaign(record(issued), now_micros).state();
        assert_eq!(state(0, 99), CampaignState::Scheduled);
        assert_eq!(state(0, 100), CampaignState::Active);
        assert_eq!(state(2, 199), CampaignState::Exhausted);
        assert_eq!(state(2, 200), CampaignState::Ended);
        let paused = CampaignRecord { paused: true, ..record(0) };
        assert_eq!(campaign(paused.clone(), 99).state(), CampaignState::Paused);
        assert_eq!(campaign(paused, 200).state(), CampaignState::Ended);
        let unending = CampaignRecord { end_micros: 0, ..record(0) };
        assert_eq!(campaign(unending, u64::MAX).state(), CampaignState::Active);
    }

    #[test]
    fn times_keep_their_microseconds() {
        let time = timestamp(1_700_000_000_123_456);
        assert_eq!((time.seconds, time.nanos), (1_700_000_000, 123_456_000));
        assert_eq!(time.to_string(), "2023-11-14T22:13:20.123456Z");
    }
}
