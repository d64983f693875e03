//! `coupon validate`.

use anyhow::{Context as _, bail};
use coupon_client::v1;
use serde::Serialize;

use super::CampaignArg;
use crate::client::RouterArg;
use crate::failure::CallError;
use crate::output::Format;
use crate::{output, show};

/// Says whether a coupon can be redeemed now, and changes nothing. Exits with 1 if it cannot.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  coupon validate CODE")]
pub(crate) struct ValidateArgs {
    /// Its code
    code: String,
    #[command(flatten)]
    campaign: CampaignArg,
    #[command(flatten)]
    router: RouterArg,
    /// Output format
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

/// What is known of a coupon.
#[derive(Debug, Serialize)]
struct Validation {
    redeemable: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    why_not: Option<String>,
    coupon: show::Coupon,
}

/// Runs the command.
pub(super) async fn validate(args: ValidateArgs) -> anyhow::Result<()> {
    let router = args.router.connect().await?;
    let (code, campaign_id) = (args.code, args.campaign.campaign);
    let request = v1::ValidateCouponRequest { code, campaign_id };
    let answer = router.client().validate_coupon(request).await.map_err(CallError::from)?;
    let coupon = answer.coupon.context("the router sent no coupon")?;
    let validation = Validation {
        redeemable: answer.redeemable,
        why_not: answer.error.map(|error| error.message),
        coupon: show::Coupon::new(coupon, None),
    };
    match args.output {
        Format::Table => output::line(validation.coupon.sheet())?,
        Format::Json => output::json(&validation)?,
    }
    if !validation.redeemable {
        let why = validation.why_not.unwrap_or_default();
        bail!("the coupon cannot be redeemed: {why}");
    }
    Ok(())
}
