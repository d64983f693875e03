//! `coupon campaign pause`.

use coupon_proto::v1;
use coupon_proto::v1::campaign_service_client::CampaignServiceClient;

use super::{print, request_id_or_new};
use crate::client::RouterArg;
use crate::failure::CallError;
use crate::output::Format;

/// Stops issuing coupons of a campaign until it is resumed. What was issued stays issued.
///
/// If there is no answer, repeat the command with the same --request-id: none of the campaign's latest 16
/// changes is made twice.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  coupon campaign pause spring")]
pub(crate) struct PauseArgs {
    /// Its id
    campaign: String,
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
pub(super) async fn pause(args: PauseArgs) -> anyhow::Result<()> {
    let request_id = request_id_or_new(args.request_id);
    let again = format!("--request-id {request_id}");
    let request = v1::PauseCampaignRequest { campaign_id: args.campaign, request_id };
    let router = args.router.connect().await?;
    let mut client = CampaignServiceClient::new(router.channel());
    let answer = client.pause_campaign(router.request(request)).await;
    let answer = answer.map_err(|status| CallError::of_change(status, || again))?.into_inner();
    print(answer.campaign, args.output)
}
