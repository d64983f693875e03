//! What is done with coupons, held and issued, through a router. Each command has a file.

mod change;
mod confirm_hold;
mod export;
mod get;
mod hold;
mod list;
mod lookup;
mod redeem;
mod release_hold;
mod reverse;
mod validate;
mod void;

use anyhow::Context as _;
use coupon_client::v1;

use crate::output::Format;
use crate::{output, runtime, show};

/// Holds, redeems, voids and shows coupons.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum CouponCommand {
    Hold(hold::HoldArgs),
    ConfirmHold(confirm_hold::ConfirmHoldArgs),
    ReleaseHold(release_hold::ReleaseHoldArgs),
    Redeem(redeem::RedeemArgs),
    Reverse(reverse::ReverseArgs),
    Void(void::VoidArgs),
    Validate(validate::ValidateArgs),
    GetCoupon(get::GetCouponArgs),
    ListCoupons(list::ListCouponsArgs),
    Export(export::ExportArgs),
    Lookup(lookup::LookupArgs),
}

/// In which campaign a code is looked for.
#[derive(Debug, clap::Args)]
struct CampaignArg {
    /// The campaign of the code; codes that were imported need it
    #[arg(long, value_name = "CAMPAIGN", default_value = "", hide_default_value = true)]
    campaign: String,
}

/// Runs the command.
pub(crate) fn run(command: CouponCommand) -> anyhow::Result<()> {
    runtime::block_on(async {
        match command {
            CouponCommand::Hold(args) => hold::hold(args).await,
            CouponCommand::ConfirmHold(args) => confirm_hold::confirm_hold(args).await,
            CouponCommand::ReleaseHold(args) => release_hold::release_hold(args).await,
            CouponCommand::Redeem(args) => redeem::redeem(args).await,
            CouponCommand::Reverse(args) => reverse::reverse(args).await,
            CouponCommand::Void(args) => void::void(args).await,
            CouponCommand::Validate(args) => validate::validate(args).await,
            CouponCommand::GetCoupon(args) => get::get(args).await,
            CouponCommand::ListCoupons(args) => list::list(args).await,
            CouponCommand::Export(args) => export::export(args).await,
            CouponCommand::Lookup(args) => lookup::lookup(args).await,
        }
    })
}

/// Prints the coupon in an answer; `replayed` says whether an earlier request had changed it.
fn print(coupon: Option<v1::Coupon>, replayed: Option<bool>, format: Format) -> anyhow::Result<()> {
    let coupon = show::Coupon::new(coupon.context("the router sent no coupon")?, replayed);
    match format {
        Format::Table => output::line(coupon.sheet()),
        Format::Json => output::json(&coupon),
    }
}

/// Prints the hold in an answer; `replayed` says whether an earlier request had changed it.
fn print_hold(hold: Option<v1::Hold>, replayed: bool, format: Format) -> anyhow::Result<()> {
    let hold = show::Hold::new(hold.context("the router sent no hold")?, Some(replayed));
    match format {
        Format::Table => output::line(hold.sheet()),
        Format::Json => output::json(&hold),
    }
}
