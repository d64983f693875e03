//! `coupon confirm-hold`.

use coupon_client::v1;

use super::print;
use crate::campaign::{map, pair, request_id_or_new};
use crate::client::RouterArg;
use crate::failure::CallError;
use crate::output::Format;

/// Turns a hold into a coupon. Its campaign may be paused or ended; only the hold's own expiry counts.
///
/// If there is no answer, repeat the command with the same --request-id: it has the same coupon.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  coupon confirm-hold spring HOLD
  coupon confirm-hold spring HOLD --metadata order=A-1024 -o json")]
pub(crate) struct ConfirmHoldArgs {
    /// The campaign
    campaign: String,
    /// The id of the hold
    hold: String,
    /// A UUID: the same one with the same fields gets the same coupon [default: a new one]
    #[arg(long, value_name = "UUID")]
    request_id: Option<String>,
    /// Kept with the coupon; may be repeated, at most 16 of them
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    metadata: Vec<(String, String)>,
    #[command(flatten)]
    router: RouterArg,
    /// Output format
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

/// Runs the command.
pub(super) async fn confirm_hold(args: ConfirmHoldArgs) -> anyhow::Result<()> {
    let request_id = request_id_or_new(args.request_id);
    let again = format!("--request-id {request_id}");
    let request = v1::ConfirmHoldRequest {
        campaign_id: args.campaign,
        hold_id: args.hold,
        request_id,
        metadata: map("--metadata", args.metadata)?,
    };
    let router = args.router.connect().await?;
    let answer = router.client().confirm_hold(request).await;
    let answer = answer.map_err(|error| CallError::of_change(error, || again))?;
    print(answer.coupon, Some(answer.replayed), args.output)
}
