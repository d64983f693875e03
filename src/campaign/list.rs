//! `coupon campaign list`.

use coupon_client::v1;

use crate::client::RouterArg;
use crate::failure::CallError;
use crate::output::Format;
use crate::{output, show};

/// Number of campaigns in a page.
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
    let mut campaigns = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = v1::ListCampaignsRequest { page_size: PAGE, page_token };
        let page = router.client().list_campaigns(request).await.map_err(CallError::from)?;
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
