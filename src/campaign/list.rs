//! `coupon campaign list`.

use coupon_client::v1;

use crate::client::RouterArg;
use crate::failure::{CallError, check_whole};
use crate::output::Format;
use crate::{output, show};

/// Number of campaigns in a page.
const PAGE: i32 = 1_000;

/// Lists the campaigns of all shards. Exits with 6 if some could not be reached, and names them.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  coupon campaign list -o json
  coupon campaign list --filter 'state = ACTIVE AND labels.team = growth'
  coupon campaign list --filter 'state != ARCHIVED AND labels:team'")]
pub(crate) struct ListArgs {
    /// Conditions joined by AND: state = ACTIVE, state != ENDED, labels.KEY = VALUE, labels.KEY != VALUE, labels:KEY
    #[arg(long, value_name = "FILTER", default_value = "", hide_default_value = true)]
    filter: String,
    #[command(flatten)]
    router: RouterArg,
    /// Output format
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

/// Runs the command.
pub(super) async fn list(args: ListArgs) -> anyhow::Result<()> {
    let router = args.router.connect().await?;
    let (mut campaigns, mut unreachable) = (Vec::new(), Vec::new());
    let mut page_token = String::new();
    loop {
        let filter = args.filter.clone();
        let request = v1::ListCampaignsRequest { page_size: PAGE, page_token, filter };
        let page = router.client().list_campaigns(request).await.map_err(CallError::from)?;
        campaigns.extend(page.campaigns.into_iter().map(show::Campaign::from));
        unreachable.extend(page.unreachable);
        if page.next_page_token.is_empty() {
            break;
        }
        page_token = page.next_page_token;
    }
    match args.output {
        Format::Table => output::line(show::campaigns(&campaigns))?,
        Format::Json => output::json(&campaigns)?,
    }
    check_whole(&unreachable)
}
