//! The one place where refusals and faults become what a client sees.
//!
//! Every error is a `google.rpc.Status` with an `ErrorInfo` of our domain, and next to it whatever
//! helps the caller to do the right thing. No message holds a recipient or a key; codes appear only
//! where their holder asks for them again.

mod campaign;
mod coupon;
#[cfg(test)]
mod documented;
mod hold;
mod import;
#[cfg(test)]
mod tests;
mod violations;

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use coupon_cluster::CodeError;
use coupon_proto::internal::{Refusal, RefusalReason};
use coupon_proto::reason::{DOMAIN, Reason};
use coupon_wire::ids;
use prost::Message;
use prost_types::Any;
use tonic::{Code, Status};
use tonic_types::pb;
use tonic_types::pb::bad_request::FieldViolation;

pub(crate) use self::violations::violation;
use crate::answer::convert;
use crate::route::retry::Unanswered;
use crate::route::topology::Topology;

/// How many held codes an error names at most. The ledger names no more than these. Error details
/// travel in a header, and clients limit those to 8 KiB and up; a code has 30 bytes.
const HELD_CODES_MAX: usize = 10;

/// When to come back to an overloaded router or shard.
const OVERLOADED_RETRY: Duration = Duration::from_millis(500);

/// When to come back to a shard without a leader: by default an election begins after 0.75 to 1 s of
/// silence, and then takes a vote.
const NO_LEADER_RETRY: Duration = Duration::from_secs(1);

/// When to ask again what came of a request.
const UNKNOWN_RETRY: Duration = Duration::from_millis(100);

/// Why a request has no other answer.
#[derive(Debug)]
pub(crate) enum Fault {
    /// Fields are not what they must be.
    Invalid(Vec<FieldViolation>),
    /// The code of a coupon is none.
    Code(CodeError),
    /// There is no such coupon.
    CouponNotFound,
    /// The ledger refused; see [`Fault::refused`].
    Refused(Box<Refused>),
    /// No shard answered in time.
    Unanswered(Unanswered),
    /// The request may have had an effect, and the caller gave no id to ask again with. Its code must not be one that
    /// libraries repeat by themselves.
    OutcomeUnknowable,
    /// The router has as much to do as it takes on.
    Overloaded,
    /// The time of a request was over before it had arrived as a whole, or before anybody could answer.
    DeadlineExceeded,
    /// A stream of coupons ended before all were sent.
    StreamBroken,
    /// A stream that can be resumed ends early: its router stops, or its client takes nothing.
    StreamEnded,
    /// The caller knows events of a history that its shard has given up.
    HistoryChanged {
        /// The history now.
        history_id: u64,
    },
    /// A campaign has issued more coupons than an answer may list.
    TooManyCoupons {
        /// How many it has issued.
        issued: u64,
        /// How many an answer may list.
        listed_max: u32,
    },
    /// A fault of ours. The text is for our logs and says nothing of the data.
    Internal(&'static str),
}

/// A refusal, and the codes of the coupons it speaks of.
#[derive(Debug)]
pub(crate) struct Refused {
    refusal: Refusal,
    held_codes: Vec<String>,
    held_states: Vec<&'static str>,
}

/// What is said about a fault.
struct Report {
    code: Code,
    reason: Reason,
    message: Cow<'static, str>,
    metadata: Vec<(&'static str, String)>,
    violations: Vec<FieldViolation>,
    retry_after: Option<Duration>,
}

impl Report {
    fn new(code: Code, reason: Reason, message: impl Into<Cow<'static, str>>) -> Self {
        let (metadata, violations) = (Vec::new(), Vec::new());
        Self { code, reason, message: message.into(), metadata, violations, retry_after: None }
    }

    fn with(mut self, key: &'static str, value: impl ToString) -> Self {
        self.metadata.push((key, value.to_string()));
        self
    }

    fn retry_after(mut self, delay: Duration) -> Self {
        self.retry_after = Some(delay);
        self
    }

    fn violations(mut self, violations: Vec<FieldViolation>) -> Self {
        self.violations = violations;
        self
    }

    fn into_pb(self) -> pb::Status {
        let metadata =
            self.metadata.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        let (reason, domain) = (self.reason.as_str().to_owned(), DOMAIN.to_owned());
        let info = pb::ErrorInfo { reason, domain, metadata };
        let mut details = vec![any("ErrorInfo", &info)];
        if !self.violations.is_empty() {
            let request = pb::BadRequest { field_violations: self.violations };
            details.push(any("BadRequest", &request));
        }
        if let Some(delay) = self.retry_after {
            let retry_delay = prost_types::Duration::try_from(delay).ok();
            details.push(any("RetryInfo", &pb::RetryInfo { retry_delay }));
        }
        pb::Status { code: self.code.into(), message: self.message.into_owned(), details }
    }
}

impl Fault {
    /// An outcome of another operation than was asked for.
    pub(crate) fn another_question() -> Self {
        Self::Internal("a shard answered another question")
    }

    /// A single field that is not what it must be.
    pub(crate) fn field(field: impl Into<String>, description: impl Into<String>) -> Self {
        Self::Invalid(vec![violation(field, description)])
    }

    /// A refusal of the ledger, with the codes of the coupons it says are held, and what they were at its log time.
    pub(crate) fn refused(refusal: Refusal, topology: &Topology) -> Self {
        let (mut held_codes, mut held_states) = (Vec::new(), Vec::new());
        for held in refusal.held.iter().take(HELD_CODES_MAX) {
            if let Ok(code) = convert::code(held, topology) {
                let state = convert::coupon_state(held, refusal.log_time_micros).as_str_name();
                held_states.push(state.trim_start_matches("COUPON_STATE_"));
                held_codes.push(code);
            }
        }
        Self::Refused(Box::new(Refused { refusal, held_codes, held_states }))
    }

    /// That no campaign can have the id of a request.
    pub(crate) fn campaign_not_found() -> Self {
        let reason = RefusalReason::CampaignNotFound.into();
        let refusal = Refusal { reason, ..Refusal::default() };
        Self::Refused(Box::new(Refused { refusal, held_codes: vec![], held_states: vec![] }))
    }

    /// As the status of a call.
    pub(crate) fn into_status(self) -> Status {
        let status = self.into_pb();
        let details = Bytes::from(status.encode_to_vec());
        Status::with_details(Code::from_i32(status.code), status.message, details)
    }

    /// As the status of one item of a batch.
    pub(crate) fn into_pb(self) -> pb::Status {
        self.report().into_pb()
    }

    fn report(self) -> Report {
        match self {
            Self::Invalid(violations) => {
                let violations = violations::bounded(violations);
                let message = violations.first().map_or_else(
                    || "invalid request".to_owned(),
                    |first| format!("{}: {}", first.field, first.description),
                );
                Report::new(Code::InvalidArgument, Reason::FieldViolations, message)
                    .violations(violations)
            }
            Self::Code(error) => coupon::bad_code(&error),
            Self::CouponNotFound => coupon::not_found(),
            Self::Refused(refused) => report_refused(&refused),
            Self::Unanswered(unanswered) => match unanswered {
                Unanswered::NoLeader => no_leader(),
                Unanswered::Overloaded => overloaded(),
                Unanswered::ShardDiverged => shard_diverged(),
                Unanswered::OutcomeUnknown => outcome_unknown(),
            },
            Self::OutcomeUnknowable => Report::new(
                Code::Unknown,
                Reason::OutcomeUnknown,
                "it may have happened, and without a request_id there is no asking again: look what there is \
                 before you send another request",
            ),
            Self::Overloaded => overloaded(),
            Self::DeadlineExceeded => Report::new(
                Code::DeadlineExceeded,
                Reason::DeadlineExceeded,
                "the request did not arrive in time, or the answer is late: ask again with the same \
                 request_id",
            ),
            Self::StreamBroken => Report::new(
                Code::Unavailable,
                Reason::StreamBroken,
                "the stream ended before all coupons were sent: resume it with the last resume_token",
            )
            .retry_after(NO_LEADER_RETRY),
            Self::StreamEnded => Report::new(
                Code::Unavailable,
                Reason::StreamBroken,
                "the router stops, or took this client for gone: resume after the last message",
            )
            .retry_after(UNKNOWN_RETRY),
            Self::HistoryChanged { history_id } => Report::new(
                Code::FailedPrecondition,
                Reason::HistoryChanged,
                "the shard continues from a backup or from one of two histories, and later events were lost: read \
                 the events from the beginning",
            )
            .with("history_id", history_id),
            Self::TooManyCoupons { issued, listed_max } => Report::new(
                Code::FailedPrecondition,
                Reason::TooManyCoupons,
                format!(
                    "the campaign has issued {issued} coupons and an answer lists at most {listed_max}: read \
                     them with coupon.v1.CouponService/StreamCoupons"
                ),
            ),
            Self::Internal(what) => {
                tracing::error!(what, "internal fault");
                Report::new(Code::Internal, Reason::Internal, "internal fault")
            }
        }
    }
}

fn report_refused(Refused { refusal, held_codes, held_states }: &Refused) -> Report {
    use Code::{AlreadyExists, FailedPrecondition, InvalidArgument, NotFound};
    match refusal.reason() {
        RefusalReason::NotStarted => {
            Report::new(FailedPrecondition, Reason::NotStarted, "coupon issuance not started yet")
                .with("start_time", convert::timestamp(refusal.time_micros))
                .with("server_time", convert::timestamp(refusal.log_time_micros))
        }
        RefusalReason::Ended => {
            Report::new(FailedPrecondition, Reason::Ended, "the campaign has ended")
                .with("end_time", convert::timestamp(refusal.time_micros))
                .with("server_time", convert::timestamp(refusal.log_time_micros))
        }
        RefusalReason::Paused => {
            Report::new(FailedPrecondition, Reason::Paused, "the campaign is paused")
        }
        RefusalReason::Unreadable => {
            Fault::Internal("a shard could not read a command of this router").report()
        }
        RefusalReason::SoldOut => {
            Report::new(FailedPrecondition, Reason::SoldOut, "no more coupons available")
        }
        RefusalReason::RecipientLimitReached => {
            recipient_limit_reached(held_codes, held_states, &refusal.hold_ids)
        }
        RefusalReason::QuotaHeld => hold::quota_held(refusal),
        RefusalReason::TooManyHolds => hold::too_many(refusal),
        RefusalReason::HoldNotFound => hold::not_found(),
        RefusalReason::HoldExpired => hold::expired(refusal),
        RefusalReason::HoldConfirmed => hold::confirmed(refusal),
        RefusalReason::HoldReleased => hold::released(refusal),
        RefusalReason::HoldsOpen => hold::open(refusal),
        RefusalReason::OutOfCodes => import::out_of_codes(),
        RefusalReason::CodesNotImported => import::codes_not_imported(),
        RefusalReason::ImportLinesMissing => import::lines_missing(refusal),
        RefusalReason::TooManyImports => import::too_many(),
        RefusalReason::RecipientRequired => Report::new(
            InvalidArgument,
            Reason::RecipientRequired,
            "recipient: must be set, since the campaign has a limit per recipient",
        )
        .violations(vec![violation(
            "recipient",
            "must be set, since the campaign has a limit per recipient",
        )]),
        RefusalReason::CampaignExists => {
            Report::new(AlreadyExists, Reason::CampaignExists, "there is a campaign with this id")
        }
        RefusalReason::CampaignNotFound => {
            Report::new(NotFound, Reason::CampaignNotFound, "there is no campaign with this id")
        }
        RefusalReason::EmptyWindow => {
            Fault::field("end_time", "must be after the campaign's start").report()
        }
        RefusalReason::CampaignDeleted => campaign::deleted(),
        RefusalReason::Archived => campaign::archived(),
        RefusalReason::NotEnded => campaign::not_ended(),
        RefusalReason::NotArchived => campaign::not_archived(),
        RefusalReason::EndInPast => campaign::end_in_past(refusal),
        RefusalReason::AlreadyStarted => campaign::already_started(refusal),
        RefusalReason::QuotaBelowIssued => campaign::quota_below_issued(refusal),
        RefusalReason::EtagMismatch => campaign::etag_mismatch(),
        RefusalReason::RevisionGone => campaign::revision_gone(),
        RefusalReason::PerRecipientLimitFixed => campaign::fixed("campaign.per_recipient_limit"),
        RefusalReason::CouponTtlFixed => campaign::fixed("campaign.coupon_ttl"),
        RefusalReason::CouponNotFound => coupon::not_found(),
        RefusalReason::AlreadyRedeemed => coupon::already_redeemed(refusal),
        RefusalReason::CouponVoided => coupon::voided(refusal),
        RefusalReason::CouponExpired => coupon::expired(refusal),
        RefusalReason::NotRedeemed => coupon::not_redeemed(),
        RefusalReason::RequestIdReused => Report::new(
            InvalidArgument,
            Reason::RequestIdReused,
            "the request_id was used before with other fields",
        ),
        RefusalReason::ShardFull => Report::new(
            FailedPrecondition,
            Reason::ShardFull,
            "the campaign's shard can take no more campaigns or coupons",
        ),
        // These are followed, not shown; to a client they mean that the owner was not found in time.
        RefusalReason::StaleEpoch | RefusalReason::NotOwner => no_leader(),
        RefusalReason::Unspecified => Fault::Internal("a shard refused without a reason").report(),
    }
}

fn recipient_limit_reached(
    held_codes: &[String],
    held_states: &[&str],
    hold_ids: &[Vec<u8>],
) -> Report {
    let hold_ids = hold_ids.iter().filter_map(|id| ids::request_id(id).ok());
    let hold_ids: Vec<String> = hold_ids.map(|id| id.to_string()).collect();
    let report = Report::new(
        Code::AlreadyExists,
        Reason::RecipientLimitReached,
        "the recipient holds as many coupons as the campaign allows",
    )
    .with("codes", held_codes.join(","))
    .with("states", held_states.join(","));
    if hold_ids.is_empty() { report } else { report.with("hold_ids", hold_ids.join(",")) }
}

fn no_leader() -> Report {
    Report::new(
        Code::Unavailable,
        Reason::NoLeader,
        "a shard has no leader at the moment, or the router does not know its cluster; nothing was changed",
    )
    .retry_after(NO_LEADER_RETRY)
}

fn shard_diverged() -> Report {
    Report::new(
        Code::DataLoss,
        Reason::ShardDiverged,
        "the campaign's shard has two histories and is stopped until an operator recovers it; nothing \
         was changed",
    )
}

fn overloaded() -> Report {
    Report::new(Code::Unavailable, Reason::Overloaded, "too many requests; nothing was changed")
        .retry_after(OVERLOADED_RETRY)
}

fn outcome_unknown() -> Report {
    Report::new(
        Code::Unavailable,
        Reason::OutcomeUnknown,
        "the outcome is not known: ask again with the same request_id",
    )
    .retry_after(UNKNOWN_RETRY)
}

fn any(name: &str, message: &impl Message) -> Any {
    Any {
        type_url: format!("type.googleapis.com/google.rpc.{name}"),
        value: message.encode_to_vec(),
    }
}
