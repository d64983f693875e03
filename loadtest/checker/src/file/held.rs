//! Lines about holds and what else claims quota.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::request_id::RequestId;
use crate::history::{Balance, Claim, Hold, HoldEnd};

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HoldLine<'a> {
    #[serde(borrow)]
    pub(super) campaign: Cow<'a, str>,
    id: RequestId,
    #[serde(borrow)]
    recipient: Cow<'a, str>,
    from: u64,
    expires: u64,
    end: HoldEndLine,
    confirmations: u64,
    releases: u64,
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum HoldEndLine {
    Expired,
    Confirmed((u64, Option<u64>)),
    Released(u64),
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ClaimLine<'a> {
    #[serde(borrow)]
    pub(super) campaign: Cow<'a, str>,
    #[serde(borrow)]
    recipient: Cow<'a, str>,
    from: u64,
    until: Option<u64>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BalanceLine<'a> {
    #[serde(borrow)]
    pub(super) campaign: Cow<'a, str>,
    issued: u64,
    returned: u64,
    held: u64,
    remaining: u64,
    revision: u64,
    from: u64,
    until: u64,
}

impl<'a> HoldLine<'a> {
    pub(super) fn of(campaign: &'a str, hold: &'a Hold) -> Self {
        Self {
            campaign: campaign.into(),
            id: RequestId(hold.id),
            recipient: Cow::Borrowed(&hold.recipient),
            from: hold.from,
            expires: hold.expires,
            end: match hold.end {
                HoldEnd::Expired => HoldEndLine::Expired,
                HoldEnd::Confirmed { at, until } => HoldEndLine::Confirmed((at, until)),
                HoldEnd::Released { at } => HoldEndLine::Released(at),
            },
            confirmations: hold.confirmations,
            releases: hold.releases,
        }
    }

    pub(super) fn into_hold(self) -> Hold {
        Hold {
            id: self.id.0,
            recipient: self.recipient.into(),
            from: self.from,
            expires: self.expires,
            end: match self.end {
                HoldEndLine::Expired => HoldEnd::Expired,
                HoldEndLine::Confirmed((at, until)) => HoldEnd::Confirmed { at, until },
                HoldEndLine::Released(at) => HoldEnd::Released { at },
            },
            confirmations: self.confirmations,
            releases: self.releases,
        }
    }
}

impl<'a> ClaimLine<'a> {
    pub(super) fn of(campaign: &'a str, claim: &'a Claim) -> Self {
        let Claim { recipient, from, until } = claim;
        let (from, until) = (*from, *until);
        Self { campaign: campaign.into(), recipient: Cow::Borrowed(recipient), from, until }
    }

    pub(super) fn into_claim(self) -> Claim {
        Claim { recipient: self.recipient.into(), from: self.from, until: self.until }
    }
}

impl<'a> BalanceLine<'a> {
    pub(super) fn of(campaign: &'a str, balance: &Balance) -> Self {
        let Balance { issued, returned, held, remaining, revision, from, until } = *balance;
        let campaign = campaign.into();
        Self { campaign, issued, returned, held, remaining, revision, from, until }
    }

    pub(super) fn into_balance(self) -> Balance {
        let Self { campaign: _, issued, returned, held, remaining, revision, from, until } = self;
        Balance { issued, returned, held, remaining, revision, from, until }
    }
}
