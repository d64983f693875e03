//! `coupon campaign end`.

use coupon_client::v1;

use super::change::{Change, ChangeArgs, change};

/// Ends a campaign now. This cannot be undone; coupons that were issued stay valid.
///
/// If there is no answer, repeat the command with the same --request-id. To stop issuing for a while, use
/// `coupon campaign pause`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  coupon campaign end spring")]
pub(crate) struct EndArgs {
    #[command(flatten)]
    change: ChangeArgs,
}

/// Runs the command.
pub(super) async fn end(args: EndArgs) -> anyhow::Result<()> {
    change(args.change, async |client, Change { campaign_id, request_id }| {
        let request = v1::EndCampaignRequest { campaign_id, request_id };
        Ok(client.end_campaign(request).await?.campaign)
    })
    .await
}
