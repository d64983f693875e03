//! What a caller names a coupon by: `CodeNumber`, `CampaignCode`.

use coupon_cluster::{KeyId, TenantId};
use coupon_ledger::{CampaignCode, CodeNumber, CouponCode};
use coupon_proto::internal as pb;
use coupon_wire::Malformed;
use coupon_wire::code::scheme_from_pb;
use coupon_wire::ids::{campaign_name, shard_id};

/// What a command names its coupon by: one of the two.
///
/// # Errors
///
/// When neither is there, or a part of it is malformed.
pub(super) fn from_pb(
    number: Option<&pb::CodeNumber>,
    campaign_code: Option<&pb::CampaignCode>,
) -> Result<CouponCode, Malformed> {
    match (number, campaign_code) {
        (_, Some(code)) => campaign_code_from_pb(code).map(CouponCode::OfCampaign),
        (Some(number), None) => number_from_pb(number).map(CouponCode::Generated),
        (None, None) => Err(Malformed("code")),
    }
}

/// What a code stands for, from a command or a question.
///
/// # Errors
///
/// When a part of it is malformed.
pub fn number_from_pb(code: &pb::CodeNumber) -> Result<CodeNumber, Malformed> {
    Ok(CodeNumber {
        tenant: TenantId::parse(&code.tenant).map_err(|_| Malformed("tenant"))?,
        shard: shard_id(code.shard_id)?,
        key: KeyId(code.key_id),
        counter: code.counter,
        scheme: scheme_from_pb(code.code_scheme.as_ref())?,
    })
}

/// A code of a campaign that is named, from a command or a question.
///
/// # Errors
///
/// When a part of it is malformed.
pub fn campaign_code_from_pb(code: &pb::CampaignCode) -> Result<CampaignCode, Malformed> {
    Ok(CampaignCode {
        campaign: campaign_name(&code.campaign)?,
        text: code.text.clone(),
        number: code.number.as_ref().map(number_from_pb).transpose()?,
    })
}
