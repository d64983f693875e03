//! `coupon reverse`.

use coupon_client::v1;

use super::change::{Change, ChangeArgs, change};

/// Reverses the redemption of a coupon, so that it can be redeemed again.
///
/// If there is no answer, repeat the command with the same --request-id: none of the coupon's latest 16 changes is
/// made twice.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  coupon reverse CODE")]
pub(crate) struct ReverseArgs {
    #[command(flatten)]
    change: ChangeArgs,
}

/// Runs the command.
pub(super) async fn reverse(args: ReverseArgs) -> anyhow::Result<()> {
    change(args.change, async |client, Change { code, campaign_id, request_id }| {
        let request = v1::ReverseRedemptionRequest { code, request_id, campaign_id };
        let answer = client.reverse_redemption(request).await?;
        Ok((answer.coupon, answer.replayed))
    })
    .await
}
