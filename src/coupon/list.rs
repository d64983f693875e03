//! `coupon list-coupons`.

use coupon_client::v1;

use crate::client::RouterArg;
use crate::failure::{CallError, check_whole};
use crate::output::Format;
use crate::{output, show};

/// Number of coupons in a page.
const PAGE: i32 = 1_000;

/// Lists the coupons that a recipient holds. Exits with 6 if some shards could not be reached, and names them.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  coupon list-coupons --recipient ann
  coupon list-coupons --recipient ann --campaign spring -o json")]
pub(crate) struct ListCouponsArgs {
    /// Who holds them
    #[arg(long, value_name = "ID")]
    recipient: String,
    /// Only those of this campaign
    #[arg(long, value_name = "CAMPAIGN", default_value = "", hide_default_value = true)]
    campaign: String,
    #[command(flatten)]
    router: RouterArg,
    /// Output format
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

/// Runs the command.
pub(super) async fn list(args: ListCouponsArgs) -> anyhow::Result<()> {
    let router = args.router.connect().await?;
    let (mut coupons, mut unreachable) = (Vec::new(), Vec::new());
    let mut request = v1::ListCouponsRequest {
        campaign_id: args.campaign,
        recipient: args.recipient,
        page_size: PAGE,
        ..v1::ListCouponsRequest::default()
    };
    loop {
        let page = router.client().list_coupons(request.clone()).await.map_err(CallError::from)?;
        coupons.extend(page.coupons.into_iter().map(|coupon| show::Coupon::new(coupon, None)));
        unreachable.extend(page.unreachable);
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    match args.output {
        Format::Table => output::line(show::coupons(&coupons))?,
        Format::Json => output::json(&coupons)?,
    }
    check_whole(&unreachable)
}
