//! `coupon release-hold`.

use coupon_client::v1;

use super::print_hold;
use crate::campaign::request_id_or_new;
use crate::client::RouterArg;
use crate::failure::CallError;
use crate::output::Format;

/// Gives up a hold before it expires, so that another caller can have the coupon at once.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  coupon release-hold spring HOLD")]
pub(crate) struct ReleaseHoldArgs {
    /// The campaign
    campaign: String,
    /// The id of the hold
    hold: String,
    /// A UUID: the same one gets the same answer [default: a new one]
    #[arg(long, value_name = "UUID")]
    request_id: Option<String>,
    #[command(flatten)]
    router: RouterArg,
    /// Output format
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

/// Runs the command.
pub(super) async fn release_hold(args: ReleaseHoldArgs) -> anyhow::Result<()> {
    let request_id = request_id_or_new(args.request_id);
    let again = format!("--request-id {request_id}");
    let request =
        v1::ReleaseHoldRequest { campaign_id: args.campaign, hold_id: args.hold, request_id };
    let router = args.router.connect().await?;
    let answer = router.client().release_hold(request).await;
    let answer = answer.map_err(|error| CallError::of_change(error, || again))?;
    print_hold(answer.hold, answer.replayed, args.output)
}
