//! `coupon lookup`.

use coupon_client::v1;

use super::{CampaignArg, print};
use crate::client::RouterArg;
use crate::failure::CallError;
use crate::output::Format;

/// Shows what anyone with the code may see: the coupon's campaign, state and times.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  coupon lookup CODE")]
pub(crate) struct LookupArgs {
    /// The code
    code: String,
    #[command(flatten)]
    campaign: CampaignArg,
    #[command(flatten)]
    router: RouterArg,
    /// Output format
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

/// Runs the command.
pub(super) async fn lookup(args: LookupArgs) -> anyhow::Result<()> {
    let router = args.router.connect().await?;
    let (code, campaign_id) = (args.code, args.campaign.campaign);
    let request = v1::LookupCouponRequest { code, campaign_id };
    let answer = router.client().lookup_coupon(request).await.map_err(CallError::from)?;
    print(answer.coupon, None, args.output)
}
