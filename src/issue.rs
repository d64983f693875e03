//! `coupon issue`: one coupon through a router.

use anyhow::Context as _;
use coupon_client::v1;

use crate::campaign::{map, pair, request_id_or_new};
use crate::client::RouterArg;
use crate::failure::CallError;
use crate::output::Format;
use crate::show;
use crate::{output, runtime};

/// Issues one coupon.
///
/// An answer means that a quorum of disks holds the coupon. The call is repeated until --timeout; if there is
/// no answer by then, ask again with the same --request-id: that never issues a second one.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  coupon issue spring --recipient ann
  coupon issue spring --recipient ann --request-id 3f2a9c1e-7b54-4d0a-9e21-5c86d7f0b413 -o json")]
pub(crate) struct IssueArgs {
    /// The campaign
    campaign: String,
    /// Who gets it; may be left out where the campaign has no limit per recipient
    #[arg(long, value_name = "ID", default_value = "", hide_default_value = true)]
    recipient: String,
    /// A UUID: the same one with the same fields gets the same coupon [default: a new one]
    #[arg(long, value_name = "UUID")]
    request_id: Option<String>,
    /// Kept with the coupon; may be repeated, at most 16 of them
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    metadata: Vec<(String, String)>,
    #[command(flatten)]
    router: RouterArg,
    /// Output format
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

/// Runs the command.
pub(crate) fn run(args: IssueArgs) -> anyhow::Result<()> {
    let request_id = request_id_or_new(args.request_id);
    let request = v1::IssueCouponRequest {
        campaign_id: args.campaign,
        recipient: args.recipient,
        request_id: request_id.clone(),
        metadata: map("--metadata", args.metadata)?,
    };
    runtime::block_on(async {
        let router = args.router.connect().await?;
        let again = || format!("--request-id {request_id}");
        let answer = router.client().issue_coupon(request).await;
        let answer = answer.map_err(|error| CallError::of_change(error, again))?;
        let coupon = answer.coupon.context("the router sent no coupon")?;
        let coupon = show::Coupon::new(coupon, Some(answer.replayed));
        match args.output {
            Format::Table => output::line(coupon.sheet()),
            Format::Json => output::json(&coupon),
        }
    })
}
