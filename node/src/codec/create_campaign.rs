//! `CreateCampaignCommand`.

use coupon_cluster::KeyId;
use coupon_ledger::{Action, CreateCampaign};
use coupon_proto::internal as pb;
use coupon_wire::Malformed;
use coupon_wire::code::scheme_from_pb;
use coupon_wire::ids::{campaign_name, request_id};

use super::{nonzero, time_from_pb};

pub(super) fn action_from_pb(create: pb::CreateCampaignCommand) -> Result<Action, Malformed> {
    from_pb(create).map(Action::CreateCampaign)
}

/// The command.
///
/// # Errors
///
/// When an id is malformed.
pub fn from_pb(create: pb::CreateCampaignCommand) -> Result<CreateCampaign, Malformed> {
    Ok(CreateCampaign {
        name: campaign_name(&create.name)?,
        display_name: create.display_name,
        quota: create.quota,
        start: time_from_pb(create.start_micros),
        end: time_from_pb(create.end_micros),
        per_recipient_limit: create.per_recipient_limit,
        coupon_ttl_micros: nonzero(create.coupon_ttl_micros),
        labels: create.labels,
        request_id: request_id(&create.request_id)?,
        code_key: KeyId(create.code_key_id),
        code_scheme: scheme_from_pb(create.code_scheme.as_ref())?,
        has_imported_codes: create.imported_codes,
    })
}
