//! `IssueCommand`, and its answer.

use coupon_cluster::CampaignName;
use coupon_ledger::{Action, Issue, IssuedCoupon, LogTime};
use coupon_proto::internal as pb;
use coupon_wire::Malformed;
use coupon_wire::code::scheme_to_pb;
use coupon_wire::ids::request_id;

use super::{coupon_history, time_to_pb};

/// The command; its campaign id has been read.
pub(super) fn from_pb(
    issue: pb::IssueCommand,
    campaign: CampaignName,
) -> Result<Action, Malformed> {
    Ok(Action::Issue(Issue {
        campaign,
        recipient: issue.recipient,
        request_id: request_id(&issue.request_id)?,
        metadata: issue.metadata,
    }))
}

/// The answer, without what the router has: it is that of its command. `replayed_at` is log time in a replay.
pub(super) fn answer_to_pb(issued: IssuedCoupon, replayed_at: Option<LogTime>) -> pb::CouponIssued {
    let coupon = pb::CouponRecord {
        counter: issued.coupon.counter,
        issue_micros: issued.coupon.issued_at.0,
        expire_micros: time_to_pb(issued.coupon.expires_at),
        imported_code: issued.coupon.imported_code.unwrap_or_default(),
        ..Default::default()
    };
    pb::CouponIssued {
        coupon: Some(coupon),
        sequence: issued.sequence,
        replayed: replayed_at.is_some(),
        log_time_micros: time_to_pb(replayed_at),
        code_shard_id: issued.code_shard.get(),
        code_key_id: issued.code_key.0,
        code_scheme: scheme_to_pb(issued.code_scheme).map(Box::new),
        last_change: coupon_history::state_to_pb(issued.state).map(Box::new),
    }
}
