//! `coupon void`.

use coupon_client::v1;

use super::change::{Change, ChangeArgs, change};

/// Voids a coupon. This cannot be undone; a redeemed coupon must be reversed first.
///
/// If there is no answer, repeat the command with the same --request-id: the quota is returned only once.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  coupon void CODE --reason \"sent to a wrong address\"
  coupon void CODE --return-quota")]
pub(crate) struct VoidArgs {
    /// Why, for people; kept with the coupon
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    reason: String,
    /// Return its quota: another coupon may be issued in its place, to the same recipient too
    #[arg(long)]
    return_quota: bool,
    #[command(flatten)]
    change: ChangeArgs,
}

/// Runs the command.
pub(super) async fn void(args: VoidArgs) -> anyhow::Result<()> {
    let (reason, return_quota) = (args.reason, args.return_quota);
    change(args.change, async |client, Change { code, campaign_id, request_id }| {
        let request = v1::VoidCouponRequest { code, request_id, return_quota, reason, campaign_id };
        let answer = client.void_coupon(request).await?;
        Ok((answer.coupon, answer.replayed))
    })
    .await
}
