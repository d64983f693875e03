//! `coupon campaign list`.

use coupon_proto::v1;
use coupon_proto::v1::campaign_service_client::CampaignServiceClient;

use crate::client::RouterArg;
use crate::failure::CallError;
use crate::output::Format;
use crate::{output, show};

/// How many campaigns are asked for at a time.
const PAGE: i32 = 1_000;

/// Lists all campaigns of all shards.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  coupon campaign list -o json")]
pub(crate) struct ListArgs {
    #[command(flatten)]
    router: RouterArg,
    /// Output format
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

/// Runs the command.
pub(super) async fn list(args: ListArgs) -> anyhow::Result<()> {
    let router = args.router.connect().await?;
    let mut client = CampaignServiceClient::new(router.channel());
    let mut campaigns = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = v1::ListCampaignsRequest { page_size: PAGE, page_token };
        let answer = client.list_campaigns(router.request(request)).await;
        let page = answer.map_err(CallError::from)?.into_inner();
        campaigns.extend(page.campaigns.into_iter().map(show::Campaign::from));
        if page.next_page_token.is_empty() {
            break;
        }
        page_token = page.next_page_token;
    }
    match args.output {
        Format::Table => output::line(show::campaigns(&campaigns)),
        Format::Json => output::json(&campaigns),
    }
}
