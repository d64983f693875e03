//! What is done with issued coupons, through a router. Each command has a file.

mod change;
mod export;
mod get;
mod list;
mod lookup;
mod redeem;
mod reverse;
mod validate;
mod void;

use anyhow::Context as _;
use coupon_client::v1;

use crate::output::Format;
use crate::{output, runtime, show};

/// Redeems, voids and shows coupons.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum CouponCommand {
    Redeem(redeem::RedeemArgs),
    Reverse(reverse::ReverseArgs),
    Void(void::VoidArgs),
    Validate(validate::ValidateArgs),
    GetCoupon(get::GetCouponArgs),
    ListCoupons(list::ListCouponsArgs),
    Export(export::ExportArgs),
    Lookup(lookup::LookupArgs),
}

/// Runs the command.
pub(crate) fn run(command: CouponCommand) -> anyhow::Result<()> {
    runtime::block_on(async {
        match command {
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
