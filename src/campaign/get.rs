//! `coupon campaign get`.

use coupon_client::v1;

use super::print;
use crate::client::RouterArg;
use crate::failure::CallError;
use crate::output::Format;

/// Shows a campaign with its counters.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  coupon campaign get spring")]
pub(crate) struct GetArgs {
    /// Its id
    campaign: String,
    #[command(flatten)]
    router: RouterArg,
    /// Output format
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

/// Runs the command.
pub(super) async fn get(args: GetArgs) -> anyhow::Result<()> {
    let router = args.router.connect().await?;
    let request = v1::GetCampaignRequest { campaign_id: args.campaign };
    let answer = router.client().get_campaign(request).await;
    print(answer.map_err(CallError::from)?.campaign, args.output)
}
