//! Commands of the ledger as a router sends them.

use coupon_cluster::RequestId;
use coupon_ledger::{
    Action, CampaignCode, CodeNumber, Command, CouponCode, CreateCampaign, UpdateCampaign,
};
use coupon_proto::internal as pb;
use coupon_wire::code::scheme_to_pb;
use pb::command::Operation;

/// A command.
pub(super) fn command(command: &Command) -> pb::Command {
    pb::Command { epoch: command.epoch.0, operation: operation(&command.action) }
}

/// An operation; `None` makes a command that cannot be read.
fn operation(action: &Action) -> Option<Operation> {
    Some(match action.clone() {
        Action::CreateCampaign(create) => Operation::CreateCampaign(create_campaign(create).into()),
        Action::Issue(issue) => Operation::Issue(pb::IssueCommand {
            campaign: issue.campaign.to_string(),
            recipient: issue.recipient,
            request_id: id(issue.request_id),
            metadata: issue.metadata,
        }),
        Action::PauseCampaign(pause) => Operation::PauseCampaign(pb::PauseCampaignCommand {
            campaign: pause.campaign.to_string(),
            request_id: id(pause.request_id),
        }),
        Action::ResumeCampaign(resume) => Operation::ResumeCampaign(pb::ResumeCampaignCommand {
            campaign: resume.campaign.to_string(),
            request_id: id(resume.request_id),
        }),
        Action::UpdateCampaign(update) => Operation::UpdateCampaign(update_campaign(update).into()),
        Action::EndCampaign(end) => Operation::EndCampaign(pb::EndCampaignCommand {
            campaign: end.campaign.to_string(),
            request_id: id(end.request_id),
        }),
        Action::ArchiveCampaign(archive) => {
            Operation::ArchiveCampaign(pb::ArchiveCampaignCommand {
                campaign: archive.campaign.to_string(),
                request_id: id(archive.request_id),
            })
        }
        Action::DeleteCampaign(delete) => Operation::DeleteCampaign(pb::DeleteCampaignCommand {
            campaign: delete.campaign.to_string(),
            request_id: id(delete.request_id),
        }),
        Action::RedeemCoupon(redeem) => {
            let (code, campaign_code) = coupon_code(&redeem.code);
            Operation::RedeemCoupon(pb::RedeemCouponCommand {
                code,
                campaign_code,
                request_id: id(redeem.request_id),
                order_ref: redeem.order_ref,
            })
        }
        Action::ReverseRedemption(reverse) => {
            let (code, campaign_code) = coupon_code(&reverse.code);
            Operation::ReverseRedemption(pb::ReverseRedemptionCommand {
                code,
                campaign_code,
                request_id: id(reverse.request_id),
            })
        }
        Action::VoidCoupon(void) => {
            let (code, campaign_code) = coupon_code(&void.code);
            Operation::VoidCoupon(pb::VoidCouponCommand {
                code,
                campaign_code,
                request_id: id(void.request_id),
                reason: void.reason,
                return_quota: void.return_quota,
            })
        }
        Action::HoldCoupon(hold) => Operation::HoldCoupon(pb::HoldCouponCommand {
            campaign: hold.campaign.to_string(),
            recipient: hold.recipient,
            request_id: id(hold.request_id),
            ttl_micros: hold.ttl_micros,
        }),
        Action::ConfirmHold(confirm) => Operation::ConfirmHold(pb::ConfirmHoldCommand {
            campaign: confirm.campaign.to_string(),
            hold_id: id(confirm.hold_id),
            request_id: id(confirm.request_id),
            metadata: confirm.metadata,
        }),
        Action::ReleaseHold(release) => Operation::ReleaseHold(pb::ReleaseHoldCommand {
            campaign: release.campaign.to_string(),
            hold_id: id(release.hold_id),
            request_id: id(release.request_id),
        }),
        Action::ImportCodes(import) => Operation::ImportCodes(pb::ImportCodesCommand {
            campaign: import.campaign.to_string(),
            import_id: id(import.import_id),
            first_line: import.first_line,
            codes: import.codes,
        }),
        Action::AdoptRing { .. } | Action::SkipCounters | Action::Unreadable => return None,
    })
}

/// The creation of a campaign.
pub(super) fn create_campaign(create: CreateCampaign) -> pb::CreateCampaignCommand {
    pb::CreateCampaignCommand {
        name: create.name.to_string(),
        display_name: create.display_name,
        quota: create.quota,
        start_micros: create.start.map_or(0, |start| start.0),
        end_micros: create.end.map_or(0, |end| end.0),
        per_recipient_limit: create.per_recipient_limit,
        coupon_ttl_micros: create.coupon_ttl_micros.unwrap_or(0),
        labels: create.labels,
        request_id: id(create.request_id),
        code_key_id: create.code_key.0,
        code_scheme: scheme_to_pb(create.code_scheme),
        imported_codes: create.has_imported_codes,
    }
}

fn update_campaign(update: UpdateCampaign) -> pb::UpdateCampaignCommand {
    pb::UpdateCampaignCommand {
        campaign: update.campaign.to_string(),
        request_id: id(update.request_id),
        etag: update.etag,
        display_name: update.display_name,
        quota: update.quota,
        start_micros: update.start.map(|start| start.map_or(0, |start| start.0)),
        end_micros: update.end.map(|end| end.map_or(0, |end| end.0)),
        labels: update.labels.map(|labels| pb::CampaignLabels { labels }),
        per_recipient_limit: update.per_recipient_limit,
        coupon_ttl_micros: update.coupon_ttl_micros.map(|ttl| ttl.unwrap_or(0)),
    }
}

/// What a coupon is named by: one of the two.
fn coupon_code(code: &CouponCode) -> (Option<pb::CodeNumber>, Option<Box<pb::CampaignCode>>) {
    match code {
        CouponCode::Generated(number) => (Some(code_number(number)), None),
        CouponCode::OfCampaign(code) => (None, Some(campaign_code(code).into())),
    }
}

/// A code of a campaign that is named.
pub(super) fn campaign_code(code: &CampaignCode) -> pb::CampaignCode {
    pb::CampaignCode {
        campaign: code.campaign.to_string(),
        text: code.text.clone(),
        number: code.number.as_ref().map(code_number),
    }
}

/// What a code stands for.
pub(super) fn code_number(code: &CodeNumber) -> pb::CodeNumber {
    pb::CodeNumber {
        shard_id: code.shard.get(),
        key_id: code.key.0,
        counter: code.counter,
        tenant: code.tenant.to_string(),
        code_scheme: scheme_to_pb(code.scheme),
    }
}

fn id(request_id: RequestId) -> Vec<u8> {
    request_id.as_bytes().to_vec()
}
