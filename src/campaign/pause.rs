//! `coupon campaign pause`.

use coupon_client::v1;

use super::change::{Change, ChangeArgs, change};

/// Stops issuing coupons of a campaign until it is resumed. What was issued stays issued.
///
/// If there is no answer, repeat the command with the same --request-id: none of the campaign's latest 16
/// changes is made twice.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  coupon campaign pause spring")]
pub(crate) struct PauseArgs {
    #[command(flatten)]
    change: ChangeArgs,
}

/// Runs the command.
pub(super) async fn pause(args: PauseArgs) -> anyhow::Result<()> {
    change(args.change, async |client, Change { campaign_id, request_id }| {
        let request = v1::PauseCampaignRequest { campaign_id, request_id };
        Ok(client.pause_campaign(request).await?.campaign)
    })
    .await
}
