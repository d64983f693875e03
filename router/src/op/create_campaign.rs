//! `CreateCampaign`.

use coupon_cluster::{
    self as cluster, CampaignName, CodeFormat, CodePrefix, CodeScheme, RequestId,
};
use coupon_proto::internal::command::Operation;
use coupon_proto::internal::{CreateCampaignCommand, outcome};
use coupon_proto::v1::{CodeProfile, CodeSource, CreateCampaignRequest, CreateCampaignResponse};
use coupon_wire::code::scheme_to_pb;
use tokio::time::Instant;

use super::check::{self, Check, RequestIdentity};
use super::check_creation::check_creation;
use crate::answer::convert;
use crate::answer::error::Fault;
use crate::shards::shard_client::ShardClient;

/// Creates a campaign.
///
/// # Errors
/// [`Fault`].
pub(super) async fn create_campaign(
    shards: &ShardClient,
    request: CreateCampaignRequest,
    deadline: Instant,
) -> Result<CreateCampaignResponse, Fault> {
    let validate_only = request.validate_only;
    let Creation { campaign, identity, command } = creation(request)?;
    if validate_only {
        return check_creation(shards, &campaign, command, deadline).await;
    }
    let mut operation = Operation::CreateCampaign(command.into());
    let answered = shards.propose(&campaign, &mut operation, deadline).await;
    let (outcome, topology) = answered.map_err(|fault| identity.judge(fault))?;
    match outcome.outcome {
        Some(outcome::Outcome::CampaignCreated(created)) => {
            let record =
                created.campaign.ok_or(Fault::Internal("a shard created a nameless campaign"))?;
            Ok(CreateCampaignResponse {
                campaign: Some(convert::campaign(record, created.log_time_micros)),
                replayed: created.replayed && !identity.generated,
            })
        }
        Some(outcome::Outcome::Refusal(refusal)) => Err(Fault::refused(refusal, &topology)),
        Some(
            outcome::Outcome::CampaignChanged(_)
            | outcome::Outcome::CampaignDeleted(_)
            | outcome::Outcome::CouponIssued(_)
            | outcome::Outcome::CouponChanged(_)
            | outcome::Outcome::HoldChanged(_)
            | outcome::Outcome::HoldConfirmed(_)
            | outcome::Outcome::CodesImported(_),
        )
        | None => Err(Fault::another_question()),
    }
}

/// A `CreateCampaign` that can be proposed, but for the key of its codes.
struct Creation {
    campaign: CampaignName,
    identity: RequestIdentity,
    command: CreateCampaignCommand,
}

/// Checks `CreateCampaign`.
///
/// # Errors
/// [`Fault::Invalid`] with all violations.
fn creation(request: CreateCampaignRequest) -> Result<Creation, Fault> {
    let mut check = Check::default();
    let identity = check.request_id(&request.request_id);
    let campaign = match identity {
        Some(identity) if request.campaign_id.is_empty() => Some(derived_name(identity.id)),
        Some(_) | None if request.campaign_id.is_empty() => None,
        Some(_) | None => check.campaign_id(&request.campaign_id),
    };
    check.display_name(&request.display_name);
    let quota = check.quota(request.quota);
    let per_recipient_limit = check.per_recipient_limit(request.per_recipient_limit);
    let start_micros = check.start_time(request.start_time.as_ref());
    let end_micros = check.end_time(request.end_time.as_ref(), start_micros);
    let coupon_ttl_micros = check.coupon_ttl(request.coupon_ttl.as_ref());
    check.labels(&request.labels);
    let imported_codes = has_imported_codes(&mut check, &request);
    let code_scheme = code_scheme(&mut check, &request);
    check.result()?;
    let (Some(campaign), Some(identity)) = (campaign, identity) else {
        return Err(Fault::Internal("an id is missing without a violation"));
    };
    let command = CreateCampaignCommand {
        name: campaign.to_string(),
        display_name: request.display_name,
        quota,
        start_micros,
        end_micros,
        per_recipient_limit,
        coupon_ttl_micros,
        labels: request.labels,
        request_id: identity.id.as_bytes().to_vec(),
        code_key_id: 0,
        code_scheme: scheme_to_pb(code_scheme),
        imported_codes,
    };
    Ok(Creation { campaign, identity, command })
}

/// Whether a campaign asks for codes that are imported. Then it has no say in what they look like.
fn has_imported_codes(check: &mut Check, request: &CreateCampaignRequest) -> bool {
    match CodeSource::try_from(request.code_source) {
        Ok(CodeSource::Unspecified | CodeSource::Generated) => return false,
        Ok(CodeSource::Imported) => {}
        Err(_) => {
            check.fail("code_source", "must be CODE_SOURCE_GENERATED or CODE_SOURCE_IMPORTED");
            return false;
        }
    }
    let fields = [
        ("code_profile", request.code_profile != 0),
        ("code_prefix", !request.code_prefix.is_empty()),
        ("code_length", request.code_length != 0),
    ];
    for (field, _) in fields.into_iter().filter(|(_, is_set)| *is_set) {
        check.fail(field, "must not be set, since codes are imported");
    }
    true
}

/// What a campaign asks for its codes; another scheme where a field is wrong.
fn code_scheme(check: &mut Check, request: &CreateCampaignRequest) -> CodeScheme {
    let profile = match CodeProfile::try_from(request.code_profile) {
        Ok(CodeProfile::Unspecified | CodeProfile::Kr) => cluster::CodeProfile::Kr,
        Ok(CodeProfile::Latin) => cluster::CodeProfile::Latin,
        Err(_) => {
            check.fail("code_profile", "must be CODE_PROFILE_KR or CODE_PROFILE_LATIN");
            return CodeScheme::default();
        }
    };
    let length = usize::try_from(request.code_length).ok();
    let format = length.and_then(|length| CodeFormat::new(profile, length));
    if format.is_none() {
        let formats = CodeFormat::ALL.into_iter().filter(|format| format.profile() == profile);
        let lengths: Vec<_> = formats.map(|format| format.symbol_count().to_string()).collect();
        let lengths = lengths.join(", ");
        check.fail("code_length", format!("must be 0 or one of the profile's lengths: {lengths}"));
    }
    let prefix = CodePrefix::new(&request.code_prefix);
    let prefix = prefix.map_err(|error| check.fail("code_prefix", error.to_string()));
    CodeScheme { format: format.unwrap_or_default(), prefix: prefix.unwrap_or_default() }
}

/// The name of a campaign whose id is made of the id of the request that creates it, so that the same request
/// always means the same campaign.
fn derived_name(id: RequestId) -> CampaignName {
    let hex: String = id.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    CampaignName::new(check::tenant(), &format!("c-{hex}"))
        .expect("a letter, a hyphen and hexadecimal digits")
}
