//! Codes in requests, and which shard each leads to.

use coupon_cluster::{CampaignName, Code, ShardId};
use coupon_proto::internal::{CampaignCode, CodeNumber, ReadResponse, read_request};
use coupon_wire::code::scheme_to_pb;
use tokio::time::Instant;

use super::check::{self, Check};
use crate::answer::error::Fault;
use crate::route::topology::{Destination, Topology};
use crate::shards::shard_client::ShardClient;

/// How many characters an imported code has.
const IMPORTED_CODE_LENGTH: std::ops::RangeInclusive<usize> = 4..=64;

/// Whether a text can be a code that is imported: printable ASCII without what separates codes in files.
pub(super) fn can_be_imported(text: &str) -> bool {
    IMPORTED_CODE_LENGTH.contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"',".contains(&byte))
}

/// A code in a request, and where its coupon is looked for.
pub(super) enum RequestedCode {
    /// Where the code itself says.
    Generated(Code),
    /// In a campaign.
    OfCampaign {
        /// The campaign.
        campaign: CampaignName,
        /// The code as it may have been imported.
        text: String,
        /// The code as the campaign may have made it.
        code: Option<Code>,
    },
}

/// A code as commands have it: one of the two.
pub(super) struct CommandCode {
    pub(super) code: Option<CodeNumber>,
    pub(super) campaign_code: Option<Box<CampaignCode>>,
}

impl RequestedCode {
    /// Reads the code of a request that may name its campaign; `check` has seen the other fields.
    ///
    /// # Errors
    /// [`Fault::Invalid`] with all violations, or [`Fault::Code`].
    pub(super) fn read(mut check: Check, text: &str, campaign_id: &str) -> Result<Self, Fault> {
        let is_named = !campaign_id.is_empty();
        let campaign = if is_named { check.campaign_id(campaign_id) } else { None };
        check.result()?;
        let code = Code::parse(text);
        Ok(match campaign {
            None => Self::Generated(code.map_err(Fault::Code)?),
            Some(campaign) => {
                // No campaign has another text as a code, and nothing is learnt from how it is none.
                let text = if can_be_imported(text) { text.to_owned() } else { String::new() };
                Self::OfCampaign { campaign, text, code: code.ok() }
            }
        })
    }

    /// The shard that has the coupon, if there is one, and what commands say instead of the code.
    ///
    /// # Errors
    /// [`Fault::CouponNotFound`], when no shard can have issued it, or another [`Fault`].
    pub(super) async fn located(
        &self,
        shards: &ShardClient,
        deadline: Instant,
    ) -> Result<(Destination<'_>, CommandCode), Fault> {
        match self {
            Self::Generated(code) => {
                let (shard, number) = number(shards, code, deadline).await?;
                let code = CommandCode { code: Some(number), campaign_code: None };
                Ok((Destination::Shard(shard), code))
            }
            Self::OfCampaign { campaign, text, code } => {
                let number = match code {
                    None => None,
                    Some(code) => match number(shards, code, deadline).await {
                        Ok((_, number)) => Some(number),
                        Err(Fault::CouponNotFound) => None,
                        Err(fault) => return Err(fault),
                    },
                };
                let campaign_code =
                    CampaignCode { campaign: campaign.to_string(), text: text.clone(), number };
                let code = CommandCode { code: None, campaign_code: Some(campaign_code.into()) };
                Ok((Destination::Owner(campaign), code))
            }
        }
    }

    /// The answer of the shard that has the coupon.
    ///
    /// # Errors
    /// [`Fault::CouponNotFound`], or another [`Fault`].
    pub(super) async fn find(
        &self,
        shards: &ShardClient,
        deadline: Instant,
    ) -> Result<ReadResponse, Fault> {
        let (to, code) = self.located(shards, deadline).await?;
        let query = match (code.code, code.campaign_code) {
            (_, Some(code)) => read_request::Query::FindCouponInCampaign(*code),
            (Some(number), None) => read_request::Query::FindCoupon(number),
            (None, None) => return Err(Fault::Internal("a code is missing without a violation")),
        };
        shards.read_from(to, query, deadline).await
    }
}

/// What a code stands for, and the shard that issued its coupon. The shard tells whether there is such a coupon, and
/// whether that is its code.
///
/// # Errors
/// [`Fault::CouponNotFound`], when no shard can have issued it by the newest map; [`Fault::Unanswered`], when there is no
/// map until `deadline`, or nobody says which one is the newest.
async fn number(
    shards: &ShardClient,
    code: &Code,
    deadline: Instant,
) -> Result<(ShardId, CodeNumber), Fault> {
    let known = shards.topology(deadline).await?;
    if let Some(number) = number_by(&known, code) {
        return Ok(number);
    }
    // It may be made with a key that this map does not have yet.
    let latest = shards.latest_topology(deadline).await?;
    let is_newer = latest.version() > known.version();
    let number = is_newer.then(|| number_by(&latest, code)).flatten();
    number.ok_or(Fault::CouponNotFound)
}

/// What a code stands for by a map.
fn number_by(topology: &Topology, code: &Code) -> Option<(ShardId, CodeNumber)> {
    let origin = topology.codes().decode(code)?;
    if topology.replicas(origin.shard).is_empty() {
        return None;
    }
    let number = CodeNumber {
        shard_id: origin.shard.get(),
        key_id: origin.key.get(),
        counter: origin.counter,
        tenant: check::tenant().to_string(),
        code_scheme: scheme_to_pb(code.scheme()),
    };
    Some((origin.shard, number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_imported_code_is_plain() {
        let longest = "x".repeat(64);
        for text in ["GIFT", "a-b_c.d/1", "!#$%&()*+", longest.as_str()] {
            assert!(can_be_imported(text), "{text}");
        }
        let too_long = "x".repeat(65);
        for text in [
            "",
            "ABC",
            "AB CD",
            " ABCD",
            "A,BCD",
            "\"ABC\"",
            "AB\'CD",
            "ABC\t",
            "ABC\u{7f}",
            "가나다라",
            &too_long,
        ] {
            assert!(!can_be_imported(text), "{text}");
        }
    }
}
