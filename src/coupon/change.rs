//! What commands that change a coupon share: their arguments, and how they are repeated.

use coupon_client::{Client, v1};

use super::{CampaignArg, print};
use crate::campaign::request_id_or_new;
use crate::client::RouterArg;
use crate::failure::CallError;
use crate::output::Format;

/// The arguments of a change.
#[derive(Debug, clap::Args)]
pub(super) struct ChangeArgs {
    /// Its code
    code: String,
    #[command(flatten)]
    campaign: CampaignArg,
    /// A UUID: the same one with the same fields gets the same answer [default: a new one]
    #[arg(long, value_name = "UUID")]
    request_id: Option<String>,
    #[command(flatten)]
    router: RouterArg,
    /// Output format
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

/// A change of one coupon.
pub(super) struct Change {
    /// Its code.
    pub(super) code: String,
    /// The campaign that the code is looked for in; empty: the code says which.
    pub(super) campaign_id: String,
    /// The request id of all attempts.
    pub(super) request_id: String,
}

/// Makes a change and shows the coupon that `call` returns, with whether an earlier request had made it.
pub(super) async fn change(
    args: ChangeArgs,
    call: impl AsyncFnOnce(
        Client,
        Change,
    ) -> Result<(Option<v1::Coupon>, bool), coupon_client::CallError>,
) -> anyhow::Result<()> {
    let request_id = request_id_or_new(args.request_id);
    let again = format!("--request-id {request_id}");
    let router = args.router.connect().await?;
    let (code, campaign_id) = (args.code, args.campaign.campaign);
    let changed = call(router.client(), Change { code, campaign_id, request_id }).await;
    let (coupon, replayed) = changed.map_err(|error| CallError::of_change(error, || again))?;
    print(coupon, Some(replayed), args.output)
}
