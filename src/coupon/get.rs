//! `coupon get-coupon`.

use coupon_client::v1;

use super::print;
use crate::client::RouterArg;
use crate::failure::CallError;
use crate::output::Format;

/// Shows one coupon of a campaign.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  coupon get-coupon spring 17")]
pub(crate) struct GetCouponArgs {
    /// The campaign
    campaign: String,
    /// The coupon's number in it, from 1
    #[arg(value_parser = clap::value_parser!(i64).range(1..))]
    sequence: i64,
    #[command(flatten)]
    router: RouterArg,
    /// Output format
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

/// Runs the command.
pub(super) async fn get(args: GetCouponArgs) -> anyhow::Result<()> {
    let router = args.router.connect().await?;
    let request = v1::GetCouponRequest { campaign_id: args.campaign, sequence: args.sequence };
    let answer = router.client().get_coupon(request).await.map_err(CallError::from)?;
    print(answer.coupon, None, args.output)
}
