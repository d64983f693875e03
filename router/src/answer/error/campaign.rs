//! Refusals to change a campaign.

use coupon_proto::internal::Refusal;
use coupon_proto::reason::Reason;
use tonic::Code;

use super::{Fault, Report, violation};
use crate::answer::convert;

pub(super) fn end_in_past(refusal: &Refusal) -> Report {
    let description = "must be in the future";
    Report::new(Code::InvalidArgument, Reason::EndTimeInPast, "end_time: must be in the future")
        .with("end_time", convert::timestamp(refusal.time_micros))
        .with("server_time", convert::timestamp(refusal.log_time_micros))
        .violations(vec![violation("end_time", description)])
}

pub(super) fn already_started(refusal: &Refusal) -> Report {
    Report::new(
        Code::FailedPrecondition,
        Reason::AlreadyStarted,
        "the campaign has started and its start cannot be changed: leave start_time out",
    )
    .with("start_time", convert::timestamp(refusal.time_micros))
    .with("server_time", convert::timestamp(refusal.log_time_micros))
}

pub(super) fn quota_below_issued(refusal: &Refusal) -> Report {
    let Refusal { issued, open_holds: held, quota_min, .. } = refusal;
    let message = match held {
        0 => format!("{issued} coupons are issued: the quota must be {quota_min} or more"),
        _ => format!(
            "{issued} coupons are issued and {held} are held: the quota must be {quota_min} or more"
        ),
    };
    Report::new(Code::FailedPrecondition, Reason::QuotaBelowIssued, message)
        .with("issued", issued)
        .with("held", held)
        .with("quota_min", quota_min)
}

pub(super) fn etag_mismatch() -> Report {
    Report::new(
        Code::Aborted,
        Reason::EtagMismatch,
        "the campaign has changed since its etag was read: read it again and use the new etag",
    )
}

pub(super) fn revision_gone() -> Report {
    Report::new(
        Code::Aborted,
        Reason::RevisionGone,
        "what the coupons were when the stream began is not known any more: begin again, without a resume_token",
    )
}

pub(super) fn fixed(field: &str) -> Report {
    let description = "cannot be changed: leave it as it is, or make another campaign";
    Fault::field(field, description).report()
}

pub(super) fn deleted() -> Report {
    Report::new(
        Code::AlreadyExists,
        Reason::CampaignDeleted,
        "a campaign with this id was deleted, and ids are never reused: choose another id",
    )
}

pub(super) fn archived() -> Report {
    Report::new(
        Code::FailedPrecondition,
        Reason::Archived,
        "the campaign is archived: it can be read, but not changed",
    )
}

pub(super) fn not_ended() -> Report {
    let message = "the campaign has not ended: end it first";
    Report::new(Code::FailedPrecondition, Reason::NotEnded, message)
}

pub(super) fn not_archived() -> Report {
    let message = "the campaign is not archived: archive it first";
    Report::new(Code::FailedPrecondition, Reason::NotArchived, message)
}
