//! `coupon hold`.

use coupon_client::v1;

use super::print_hold;
use crate::campaign::request_id_or_new;
use crate::client::RouterArg;
use crate::failure::{CallError, UsageError};
use crate::output::Format;
use crate::settings::Span;

/// Holds a coupon, for instance while a customer pays. It is confirmed or released by the id of the hold, or expires.
///
/// If there is no answer, repeat the command with the same --request-id, which is also the id of the hold: that never
/// holds a second coupon.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  coupon hold spring --recipient ann --ttl 10m
  coupon hold spring --ttl 30s -o json")]
pub(crate) struct HoldArgs {
    /// The campaign
    campaign: String,
    /// Who is to get the coupon; may be left out where the campaign has no limit per recipient
    #[arg(long, value_name = "ID", default_value = "", hide_default_value = true)]
    recipient: String,
    /// How long it is held: 1s to 24h
    #[arg(long, value_name = "DURATION")]
    ttl: Span,
    /// A UUID: the same one with the same fields gets the same hold [default: a new one]
    #[arg(long, value_name = "UUID")]
    request_id: Option<String>,
    #[command(flatten)]
    router: RouterArg,
    /// Output format
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

/// Runs the command.
pub(super) async fn hold(args: HoldArgs) -> anyhow::Result<()> {
    let ttl = args.ttl.get().try_into();
    let ttl = ttl.map_err(|_| UsageError("--ttl is too long".to_owned()))?;
    let request_id = request_id_or_new(args.request_id);
    let again = format!("--request-id {request_id}");
    let request = v1::HoldCouponRequest {
        campaign_id: args.campaign,
        recipient: args.recipient,
        ttl: Some(ttl),
        request_id,
    };
    let router = args.router.connect().await?;
    let answer = router.client().hold_coupon(request).await;
    let answer = answer.map_err(|error| CallError::of_change(error, || again))?;
    print_hold(answer.hold, answer.replayed, args.output)
}
