//! `coupon campaign resume`.

use coupon_client::v1;

use super::change::{Change, ChangeArgs, change};

/// Issues coupons of a paused campaign again.
///
/// If there is no answer, repeat the command with the same --request-id: none of the campaign's latest 16
/// changes is made twice.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  coupon campaign resume spring")]
pub(crate) struct ResumeArgs {
    #[command(flatten)]
    change: ChangeArgs,
}

/// Runs the command.
pub(super) async fn resume(args: ResumeArgs) -> anyhow::Result<()> {
    change(args.change, async |client, Change { campaign_id, request_id }| {
        let request = v1::ResumeCampaignRequest { campaign_id, request_id };
        Ok(client.resume_campaign(request).await?.campaign)
    })
    .await
}
