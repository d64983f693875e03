//! `coupon campaign delete`.

use coupon_client::v1;

use super::request_id_or_new;
use crate::client::RouterArg;
use crate::failure::CallError;
use crate::output;

/// Deletes an archived campaign and all of its coupons. This cannot be undone.
///
/// Neither its id nor its codes are ever reused. If there is no answer, repeat the command with the same --request-id.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  coupon campaign end spring
  coupon campaign archive spring
  coupon campaign delete spring")]
pub(crate) struct DeleteArgs {
    /// Its id
    campaign: String,
    /// A UUID: the same one gets the same answer [default: a new one]
    #[arg(long, value_name = "UUID")]
    request_id: Option<String>,
    #[command(flatten)]
    router: RouterArg,
}

/// Runs the command.
pub(super) async fn delete(args: DeleteArgs) -> anyhow::Result<()> {
    let request_id = request_id_or_new(args.request_id);
    let again = format!("--request-id {request_id}");
    let router = args.router.connect().await?;
    let request = v1::DeleteCampaignRequest { campaign_id: args.campaign.clone(), request_id };
    let answer = router.client().delete_campaign(request).await;
    answer.map_err(|error| CallError::of_change(error, || again))?;
    output::line(format_args!("{} is deleted", args.campaign))
}
