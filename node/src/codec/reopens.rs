//! Which commands may make a campaign issue coupons that it would refuse before.

use coupon_proto::internal as pb;
use pb::command::Operation;
use prost::Message as _;

use super::command::{HOLD, ISSUE, operation};

/// What a command may reopen: make it issue coupons that it would refuse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reopens {
    /// The campaign of this name.
    Campaign(String),
    /// Any campaign of the shard.
    Any,
}

/// What a command may reopen, if anything. A command that cannot be read may reopen any campaign.
pub fn reopens(command: &[u8]) -> Option<Reopens> {
    // Nearly all commands issue a coupon, and that is seen without reading the rest.
    if matches!(operation(command), Some((ISSUE | HOLD, _))) {
        return None;
    }
    let Ok(command) = pb::Command::decode(command) else { return Some(Reopens::Any) };
    match command.operation {
        Some(
            Operation::CreateCampaign(_)
            | Operation::Issue(_)
            | Operation::PauseCampaign(_)
            | Operation::ArchiveCampaign(_)
            | Operation::DeleteCampaign(_)
            | Operation::RedeemCoupon(_)
            | Operation::ReverseRedemption(_)
            | Operation::HoldCoupon(_)
            | Operation::ConfirmHold(_),
        ) => None,
        Some(Operation::ResumeCampaign(resume)) => Some(Reopens::Campaign(resume.campaign)),
        Some(Operation::UpdateCampaign(update)) => Some(Reopens::Campaign(update.campaign)),
        Some(Operation::ReleaseHold(release)) => Some(Reopens::Campaign(release.campaign)),
        Some(Operation::ImportCodes(import)) => Some(Reopens::Campaign(import.campaign)),
        // The end of one moves log time, and another may start then.
        Some(Operation::EndCampaign(_)) | None => Some(Reopens::Any),
        Some(Operation::VoidCoupon(void)) if void.return_quota => Some(match void.campaign_code {
            Some(code) => Reopens::Campaign(code.campaign),
            // Only an entry finds the campaign of a code that was made.
            None => Reopens::Any,
        }),
        Some(Operation::VoidCoupon(_)) => None,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn encoded(operation: Operation) -> Bytes {
        pb::Command { epoch: 7, operation: Some(operation) }.encode_to_vec().into()
    }

    #[test]
    fn only_what_can_undo_a_refusal_reopens_a_campaign() {
        let issue = encoded(Operation::Issue(pb::IssueCommand::default()));
        assert_eq!(reopens(&issue), None);
        let end = encoded(Operation::EndCampaign(pb::EndCampaignCommand::default()));
        assert_eq!([reopens(&end), reopens(b"")], [const { Some(Reopens::Any) }; 2]);
        let redeem = Operation::RedeemCoupon(pb::RedeemCouponCommand::default());
        let reverse = Operation::ReverseRedemption(pb::ReverseRedemptionCommand::default());
        let hold = Operation::HoldCoupon(pb::HoldCouponCommand::default());
        let confirm = Operation::ConfirmHold(pb::ConfirmHoldCommand::default());
        let none = [redeem, reverse, hold, confirm].map(|one| reopens(&encoded(one)));
        assert!(none.iter().all(Option::is_none), "{none:?}");
        let campaign = "default/c".to_owned();
        let release = pb::ReleaseHoldCommand { campaign: campaign.clone(), ..Default::default() };
        let release = encoded(Operation::ReleaseHold(release));
        assert_eq!(reopens(&release), Some(Reopens::Campaign(campaign.clone())));
        let import = pb::ImportCodesCommand { campaign: campaign.clone(), ..Default::default() };
        let import = encoded(Operation::ImportCodes(import));
        assert_eq!(reopens(&import), Some(Reopens::Campaign(campaign.clone())));
        let void = |named: Option<&pb::CampaignCode>, return_quota| {
            let void = pb::VoidCouponCommand {
                code: Some(pb::CodeNumber::default()),
                campaign_code: named.cloned().map(Box::new),
                return_quota,
                ..Default::default()
            };
            reopens(&encoded(Operation::VoidCoupon(void)))
        };
        let named = pb::CampaignCode { campaign: campaign.clone(), ..Default::default() };
        assert_eq!(void(None, true), Some(Reopens::Any));
        assert_eq!(void(Some(&named), true), Some(Reopens::Campaign(campaign)));
        assert_eq!([void(None, false), void(Some(&named), false)], [const { None }; 2]);
    }
}
