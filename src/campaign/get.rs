//! `coupon campaign get`.

use coupon_proto::v1;
use coupon_proto::v1::campaign_service_client::CampaignServiceClient;

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
    let mut client = CampaignServiceClient::new(router.channel());
    let request = v1::GetCampaignRequest { campaign_id: args.campaign };
    let answer = client.get_campaign(router.request(request)).await;
    print(answer.map_err(CallError::from)?.into_inner().campaign, args.output)
}
