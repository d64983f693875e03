//! `coupon watch`: a campaign as it changes.

use std::io::{IsTerminal as _, stdout};

use coupon_client::v1;

use crate::client::RouterArg;
use crate::failure::CallError;
use crate::output::Format;
use crate::{output, runtime, show};

/// Shows a campaign as it is now, and again whenever it changes.
///
/// On a terminal the view is redrawn, elsewhere each change is a line. With -o json, each line is a JSON object. A watch
/// follows its campaign from router to router; it ends when no router has answered for --timeout, or when the campaign
/// is deleted.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  coupon watch spring
  coupon watch spring -o json | jq .remaining
  coupon watch spring --after 1205 --router router-1:7000,router-2:7000")]
pub(crate) struct WatchArgs {
    /// Its id
    campaign: String,
    /// Shows nothing until the campaign has another revision than this [default: shows the present first]
    #[arg(long, value_name = "REVISION", default_value_t = 0, hide_default_value = true)]
    after: i64,
    #[command(flatten)]
    router: RouterArg,
    /// Output format
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

/// Runs the command.
pub(crate) fn run(args: WatchArgs) -> anyhow::Result<()> {
    runtime::block_on(async {
        let client = args.router.follow().await?;
        let request = v1::WatchCampaignRequest {
            campaign_id: args.campaign,
            after_revision: args.after,
            ..Default::default()
        };
        let mut watch = client.watch_campaign(request);
        let mut view = View::new(args.output, stdout().is_terminal());
        loop {
            let campaign = watch.next().await.map_err(CallError::from)?;
            output::line(view.show(&show::Campaign::from(campaign))?)?;
        }
    })
}

/// How a campaign that changes is shown.
#[derive(Debug)]
enum View {
    /// A view that is redrawn. Holds the number of lines to write over.
    Screen(usize),
    Lines,
    Json,
}

impl View {
    fn new(format: Format, is_terminal: bool) -> Self {
        match format {
            Format::Json => Self::Json,
            Format::Table if is_terminal => Self::Screen(0),
            Format::Table => Self::Lines,
        }
    }

    /// What to print, without the last line break.
    fn show(&mut self, campaign: &show::Campaign) -> anyhow::Result<String> {
        Ok(match self {
            Self::Json => serde_json::to_string(campaign)?,
            Self::Lines => campaign.change(),
            Self::Screen(lines) => {
                let sheet = campaign.sheet();
                let before = std::mem::replace(lines, sheet.lines().count());
                if before == 0 {
                    sheet
                } else {
                    // ANSI: up to where the view begins, and clear all below.
                    format!("\x1b[{before}A\x1b[J{sheet}")
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn campaign(issued: i64) -> show::Campaign {
        show::Campaign::from(v1::Campaign {
            campaign_id: "spring".into(),
            quota: 10,
            issued,
            remaining: 10 - issued,
            revision: issued + 1,
            state: v1::CampaignState::Active.into(),
            ..v1::Campaign::default()
        })
    }

    #[test]
    fn a_screen_is_written_over_and_lines_are_added() {
        let mut screen = View::new(Format::Table, true);
        let first = screen.show(&campaign(1)).unwrap();
        assert_eq!(first, campaign(1).sheet());
        let lines = first.lines().count();
        let second = screen.show(&campaign(2)).unwrap();
        assert_eq!(second, format!("\x1b[{lines}A\x1b[J{}", campaign(2).sheet()));

        let mut lines = View::new(Format::Table, false);
        let shown = lines.show(&campaign(2)).unwrap();
        assert_eq!(
            shown,
            "revision 3: ACTIVE, 2 of 10 issued, 0 held, 8 left, 0 redeemed, 0 voided"
        );

        let json = View::new(Format::Json, true).show(&campaign(2)).unwrap();
        assert_eq!(json.lines().count(), 1);
        assert!(json.contains("\"issued\":2"), "{json}");
    }
}
