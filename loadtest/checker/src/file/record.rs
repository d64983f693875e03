//! Writing.

use super::VERSION;
use super::held::{BalanceLine, ClaimLine, HoldLine};
use super::line::{
    CampaignLine, EndLine, FaultLine, HistoryLine, Line, OperationLine, ReplicaLine, RowLine,
};
use crate::history::{Balance, Campaign, Claim, Coupon, Fault, History, Hold, Operation, Replica};

/// What one line says.
#[derive(Clone, Copy, Debug)]
pub enum Record<'a> {
    /// The first line.
    History {
        /// The wall clock when the monotonic clock was 0, as RFC 3339.
        began: &'a str,
    },
    /// A campaign without what was asked of it and found in it, which are records of their own.
    Campaign(&'a Campaign),
    /// A call.
    Operation {
        /// The campaign's id.
        campaign: &'a str,
        /// The call.
        operation: &'a Operation,
    },
    /// A coupon as it was found.
    Row {
        /// The campaign's id.
        campaign: &'a str,
        /// The coupon.
        coupon: &'a Coupon,
    },
    /// A hold.
    Hold {
        /// The campaign's id.
        campaign: &'a str,
        /// The hold.
        hold: &'a Hold,
    },
    /// What claimed quota without a hold.
    Claim {
        /// The campaign's id.
        campaign: &'a str,
        /// The claim.
        claim: &'a Claim,
    },
    /// A read of all counters.
    Balance {
        /// The campaign's id.
        campaign: &'a str,
        /// The counters.
        balance: &'a Balance,
    },
    /// What a replica said.
    Replica(&'a Replica),
    /// A fault.
    Fault(&'a Fault),
    /// The end of what was recorded.
    End {
        /// The history.
        history: &'a History,
        /// Whether its coupons were read back. If not, there is nothing to judge its calls by.
        is_read_back: bool,
    },
}

impl Record<'_> {
    /// The line, without the character that ends it.
    #[must_use]
    pub fn to_line(&self) -> String {
        serde_json::to_string(&self.line()).expect("keys are strings, and nothing else can fail")
    }

    fn line(&self) -> Line<'_> {
        match *self {
            Self::History { began } => {
                Line::History(HistoryLine { version: VERSION, began: began.into() })
            }
            Self::Campaign(campaign) => Line::Campaign(CampaignLine {
                id: (&*campaign.id).into(),
                quota: campaign.quota,
                per_recipient_limit: campaign.per_recipient_limit,
                complete: campaign.is_complete,
            }),
            Self::Operation { campaign, operation } => {
                Line::Op(OperationLine::of(campaign, operation))
            }
            Self::Row { campaign, coupon } => Line::Row(RowLine::of(campaign, coupon)),
            Self::Hold { campaign, hold } => Line::Hold(HoldLine::of(campaign, hold)),
            Self::Claim { campaign, claim } => Line::Claim(ClaimLine::of(campaign, claim)),
            Self::Balance { campaign, balance } => {
                Line::Balance(BalanceLine::of(campaign, balance))
            }
            Self::Replica(Replica { shard, replica, applied_index, digest }) => {
                Line::Replica(ReplicaLine {
                    shard: *shard,
                    replica: *replica,
                    applied_index: *applied_index,
                    digest: (&**digest).into(),
                })
            }
            Self::Fault(Fault { name, began, ended, in_force }) => Line::Fault(FaultLine {
                name: (&**name).into(),
                began: *began,
                ended: *ended,
                in_force: *in_force,
            }),
            Self::End { history, is_read_back } => {
                let end = EndLine::of(history);
                Line::End(EndLine { rows: end.rows.filter(|_| is_read_back), ..end })
            }
        }
    }
}

/// All records of a history, in an order in which they can be read. `began` is the wall clock when the
/// monotonic clock was 0, as RFC 3339.
pub fn records<'a>(history: &'a History, began: &'a str) -> impl Iterator<Item = Record<'a>> {
    with_end(history, began, true)
}

/// The same of a history whose coupons could not be read back. It is kept for people: reading it gives
/// an error, since there is nothing to judge it by.
pub fn records_of_calls<'a>(
    history: &'a History,
    began: &'a str,
) -> impl Iterator<Item = Record<'a>> {
    with_end(history, began, false)
}

fn with_end<'a>(
    history: &'a History,
    began: &'a str,
    is_read_back: bool,
) -> impl Iterator<Item = Record<'a>> {
    let campaigns = history.campaigns.iter().flat_map(|campaign| {
        let id = &*campaign.id;
        let operations = campaign.operations.iter();
        let operations =
            operations.map(move |operation| Record::Operation { campaign: id, operation });
        let rows = campaign.rows.iter().map(move |coupon| Record::Row { campaign: id, coupon });
        let holds = campaign.holds.iter().map(move |hold| Record::Hold { campaign: id, hold });
        let claims = campaign.claims.iter().map(move |claim| Record::Claim { campaign: id, claim });
        let balances = campaign.balances.iter();
        let balances = balances.map(move |balance| Record::Balance { campaign: id, balance });
        let all = std::iter::once(Record::Campaign(campaign)).chain(operations).chain(rows);
        all.chain(holds).chain(claims).chain(balances)
    });
    std::iter::once(Record::History { began })
        .chain(campaigns)
        .chain(history.replicas.iter().map(Record::Replica))
        .chain(history.faults.iter().map(Record::Fault))
        .chain(std::iter::once(Record::End { history, is_read_back }))
}
