//! `coupon redeem`.

use coupon_client::v1;

use super::change::{Change, ChangeArgs, change};

/// Redeems a coupon. Its campaign may be paused or ended; only the coupon's own expiry counts.
///
/// If there is no answer, repeat the command with the same --request-id: it never redeems the coupon twice, and has
/// the same answer.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  coupon redeem CODE --order-ref A-1024
  coupon redeem GIFT-7F2K --campaign gifts
  coupon redeem CODE --request-id 3f2a9c1e-7b54-4d0a-9e21-5c86d7f0b413 -o json")]
pub(crate) struct RedeemArgs {
    /// Your reference to the order it is redeemed for; stored with the coupon
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    order_ref: String,
    #[command(flatten)]
    change: ChangeArgs,
}

/// Runs the command.
pub(super) async fn redeem(args: RedeemArgs) -> anyhow::Result<()> {
    let order_ref = args.order_ref;
    change(args.change, async |client, Change { code, campaign_id, request_id }| {
        let request = v1::RedeemCouponRequest { code, request_id, order_ref, campaign_id };
        let answer = client.redeem_coupon(request).await?;
        Ok((answer.coupon, answer.replayed))
    })
    .await
}
