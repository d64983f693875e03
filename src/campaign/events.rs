//! `coupon events`: what happened to a campaign, its coupons and its holds.

use coupon_client::{Client, v1};

use crate::client::RouterArg;
use crate::failure::CallError;
use crate::output::Format;
use crate::{output, runtime, show};

/// Number of events in a page.
const PAGE: i32 = 1_000;

/// Lists what happened to a campaign, its coupons and its holds, an event a line.
///
/// Each change of the campaign makes a revision, and each revision is one event. With --follow, it goes on with what
/// happens from now on; it ends when no router has answered for --timeout, or when the campaign is deleted. With -o
/// json, each line is a JSON object.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  coupon events spring
  coupon events spring --after 1205 --follow
  coupon events spring -o json | jq 'select(.type == \"COUPON_REDEEMED\")'")]
pub(crate) struct EventsArgs {
    /// The campaign
    campaign: String,
    /// Only events with greater revisions
    #[arg(long, value_name = "REVISION", default_value_t = 0)]
    after: i64,
    /// The history_id of the event that --after names; it is not 0 where the cluster was restored or recovered
    #[arg(long, value_name = "ID", default_value_t = 0)]
    history: i64,
    /// Goes on with what happens from now on
    #[arg(long)]
    follow: bool,
    #[command(flatten)]
    router: RouterArg,
    /// Output format
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

/// Runs the command.
pub(crate) fn run(args: EventsArgs) -> anyhow::Result<()> {
    runtime::block_on(async {
        let client = args.router.follow().await?;
        if args.follow { follow(&client, args).await } else { list(&client, args).await }
    })
}

async fn list(client: &Client, args: EventsArgs) -> anyhow::Result<()> {
    let mut request = v1::ListEventsRequest {
        campaign_id: args.campaign,
        after_revision: args.after,
        history_id: args.history,
        page_size: PAGE,
    };
    loop {
        let page = client.list_events(request.clone()).await.map_err(CallError::from)?;
        let Some(last) = page.events.last() else { return Ok(()) };
        (request.after_revision, request.history_id) = (last.revision, last.history_id);
        print(page.events, args.output)?;
        if request.after_revision >= page.revision {
            return Ok(());
        }
    }
}

async fn follow(client: &Client, args: EventsArgs) -> anyhow::Result<()> {
    let mut events = client.stream_events(v1::StreamEventsRequest {
        campaign_id: args.campaign,
        after_revision: args.after,
        history_id: args.history,
    });
    loop {
        print(events.next().await.map_err(CallError::from)?, args.output)?;
    }
}

fn print(events: Vec<v1::Event>, format: Format) -> anyhow::Result<()> {
    for event in events {
        let event = show::Event::from(event);
        output::line(match format {
            Format::Table => event.line(),
            Format::Json => serde_json::to_string(&event)?,
        })?;
    }
    Ok(())
}
