//! The lines as serde sees them: one shape for writing and reading.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::request_id::RequestId;
use crate::findings::len;
use crate::history::{Call, Coupon, CouponState, History, Operation, Outcome};

/// A line.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Line<'a> {
    #[serde(borrow)]
    History(HistoryLine<'a>),
    Campaign(CampaignLine<'a>),
    Op(OperationLine<'a>),
    Row(RowLine<'a>),
    Replica(ReplicaLine<'a>),
    Fault(FaultLine<'a>),
    End(EndLine),
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HistoryLine<'a> {
    pub(super) version: u32,
    #[serde(borrow)]
    pub(super) began: Cow<'a, str>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CampaignLine<'a> {
    #[serde(borrow)]
    pub(super) id: Cow<'a, str>,
    pub(super) quota: u64,
    pub(super) per_recipient_limit: u64,
    pub(super) complete: bool,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OperationLine<'a> {
    #[serde(borrow)]
    pub(super) campaign: Cow<'a, str>,
    pub(super) t: (u64, Option<u64>),
    #[serde(borrow)]
    call: CallLine<'a>,
    #[serde(borrow)]
    outcome: OutcomeLine<'a>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum CallLine<'a> {
    Issue {
        request: RequestId,
        #[serde(borrow)]
        recipient: Cow<'a, str>,
    },
    Get,
    Redeem(#[serde(borrow)] Cow<'a, str>),
    Reverse(#[serde(borrow)] Cow<'a, str>),
    Void(#[serde(borrow)] Cow<'a, str>),
    SetQuota(u64),
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum OutcomeLine<'a> {
    Issued {
        seq: u64,
        #[serde(borrow)]
        code: Cow<'a, str>,
        replayed: bool,
    },
    LimitReached(#[serde(borrow)] Vec<Cow<'a, str>>),
    Counted(u64),
    SoldOut,
    NotStarted,
    Ended,
    Done,
    Refused,
    Unknown,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RowLine<'a> {
    #[serde(borrow)]
    pub(super) campaign: Cow<'a, str>,
    seq: u64,
    #[serde(borrow)]
    code: Cow<'a, str>,
    #[serde(borrow)]
    recipient: Cow<'a, str>,
    request: RequestId,
    state: StateLine,
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
enum StateLine {
    Issued,
    Redeemed,
    Voided,
    Returned,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ReplicaLine<'a> {
    pub(super) shard: u64,
    pub(super) replica: u64,
    pub(super) applied_index: u64,
    #[serde(borrow)]
    pub(super) digest: Cow<'a, str>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FaultLine<'a> {
    #[serde(borrow)]
    pub(super) name: Cow<'a, str>,
    pub(super) began: u64,
    pub(super) ended: u64,
    pub(super) in_force: bool,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EndLine {
    pub(super) campaigns: u64,
    pub(super) calls: u64,
    pub(super) rows: Option<u64>,
    pub(super) replicas: u64,
    pub(super) faults: u64,
}

impl EndLine {
    /// The end of a history, all of whose coupons are there.
    pub(super) fn of(history: &History) -> Self {
        let campaigns = &history.campaigns;
        Self {
            campaigns: len(campaigns),
            calls: campaigns.iter().map(|campaign| len(&campaign.operations)).sum(),
            rows: Some(campaigns.iter().map(|campaign| len(&campaign.rows)).sum()),
            replicas: len(&history.replicas),
            faults: len(&history.faults),
        }
    }
}

impl<'a> OperationLine<'a> {
    pub(super) fn of(campaign: &'a str, operation: &'a Operation) -> Self {
        let returned = (operation.outcome != Outcome::Unknown).then_some(operation.returned);
        Self {
            campaign: campaign.into(),
            t: (operation.invoked, returned),
            call: match &operation.call {
                Call::Issue { request_id, recipient } => CallLine::Issue {
                    request: RequestId(*request_id),
                    recipient: Cow::Borrowed(recipient),
                },
                Call::Get => CallLine::Get,
                Call::Redeem { code } => CallLine::Redeem(Cow::Borrowed(code)),
                Call::Reverse { code } => CallLine::Reverse(Cow::Borrowed(code)),
                Call::Void { code } => CallLine::Void(Cow::Borrowed(code)),
                Call::SetQuota { quota } => CallLine::SetQuota(*quota),
            },
            outcome: match &operation.outcome {
                Outcome::Issued { sequence, code, replayed } => OutcomeLine::Issued {
                    seq: *sequence,
                    code: Cow::Borrowed(code),
                    replayed: *replayed,
                },
                Outcome::LimitReached { codes } => OutcomeLine::LimitReached(
                    codes.iter().map(|code| Cow::Borrowed(&**code)).collect(),
                ),
                Outcome::Counted { issued } => OutcomeLine::Counted(*issued),
                Outcome::SoldOut => OutcomeLine::SoldOut,
                Outcome::NotStarted => OutcomeLine::NotStarted,
                Outcome::Ended => OutcomeLine::Ended,
                Outcome::Done => OutcomeLine::Done,
                Outcome::Refused => OutcomeLine::Refused,
                Outcome::Unknown => OutcomeLine::Unknown,
            },
        }
    }

    /// The call and its outcome.
    pub(super) fn into_parts(self) -> (Call, Outcome) {
        let call = match self.call {
            CallLine::Issue { request, recipient } => {
                Call::Issue { request_id: request.0, recipient: recipient.into() }
            }
            CallLine::Get => Call::Get,
            CallLine::Redeem(code) => Call::Redeem { code: code.into() },
            CallLine::Reverse(code) => Call::Reverse { code: code.into() },
            CallLine::Void(code) => Call::Void { code: code.into() },
            CallLine::SetQuota(quota) => Call::SetQuota { quota },
        };
        let outcome = match self.outcome {
            OutcomeLine::Issued { seq, code, replayed } => {
                Outcome::Issued { sequence: seq, code: code.into(), replayed }
            }
            OutcomeLine::LimitReached(codes) => {
                Outcome::LimitReached { codes: codes.into_iter().map(Box::from).collect() }
            }
            OutcomeLine::Counted(issued) => Outcome::Counted { issued },
            OutcomeLine::SoldOut => Outcome::SoldOut,
            OutcomeLine::NotStarted => Outcome::NotStarted,
            OutcomeLine::Ended => Outcome::Ended,
            OutcomeLine::Done => Outcome::Done,
            OutcomeLine::Refused => Outcome::Refused,
            OutcomeLine::Unknown => Outcome::Unknown,
        };
        (call, outcome)
    }
}

impl<'a> RowLine<'a> {
    pub(super) fn of(campaign: &'a str, coupon: &'a Coupon) -> Self {
        Self {
            campaign: campaign.into(),
            seq: coupon.sequence,
            code: Cow::Borrowed(&coupon.code),
            recipient: Cow::Borrowed(&coupon.recipient),
            request: RequestId(coupon.request_id),
            state: match coupon.state {
                CouponState::Issued => StateLine::Issued,
                CouponState::Redeemed => StateLine::Redeemed,
                CouponState::Voided => StateLine::Voided,
                CouponState::Returned => StateLine::Returned,
            },
        }
    }

    pub(super) fn into_coupon(self) -> Coupon {
        Coupon {
            sequence: self.seq,
            code: self.code.into(),
            recipient: self.recipient.into(),
            request_id: self.request.0,
            state: match self.state {
                StateLine::Issued => CouponState::Issued,
                StateLine::Redeemed => CouponState::Redeemed,
                StateLine::Voided => CouponState::Voided,
                StateLine::Returned => CouponState::Returned,
            },
        }
    }
}
