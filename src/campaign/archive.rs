//! `coupon campaign archive`.

use coupon_client::v1;

use super::change::{Change, ChangeArgs, change};

/// Archives a campaign that has ended: it stays readable and cannot be changed any more.
///
/// If there is no answer, repeat the command with the same --request-id.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  coupon campaign archive spring")]
pub(crate) struct ArchiveArgs {
    #[command(flatten)]
    change: ChangeArgs,
}

/// Runs the command.
pub(super) async fn archive(args: ArchiveArgs) -> anyhow::Result<()> {
    change(args.change, async |client, Change { campaign_id, request_id }| {
        let request = v1::ArchiveCampaignRequest { campaign_id, request_id };
        Ok(client.archive_campaign(request).await?.campaign)
    })
    .await
}
