//! `coupon campaign update`.

use std::str::FromStr;

use coupon_client::v1;
use coupon_proto::limits::QUOTA_MAX;
use prost_types::{FieldMask, Timestamp};

use super::change::{Change, ChangeArgs, change};
use super::moment::Moment;
use super::{map, pair};
use crate::failure::UsageError;

/// Changes a campaign: its name, quota, times and labels. What is not named stays as it is.
///
/// The quota cannot be less than the coupons that count against it. A sold-out campaign issues coupons again when
/// its quota grows. The start can be changed until the campaign starts, and the end until it ends.
///
/// If there is no answer, repeat the command with the same --request-id and the same times: a delay such as +10m is a
/// new time when repeated, and gives REQUEST_ID_REUSED.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  coupon campaign update spring --quota 2000
  coupon campaign update launch --start now
  coupon campaign update flash --end 2030-03-01T21:00:00+09:00
  coupon campaign update spring --name 'Spring again' --label team=growth --etag 1-640f2a3b91c80")]
pub(crate) struct UpdateArgs {
    #[command(flatten)]
    change: ChangeArgs,
    /// How many coupons may be issued: 1 to 1,000,000,000
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    #[arg(value_parser = clap::value_parser!(i64).range(1..=QUOTA_MAX))]
    quota: Option<i64>,
    /// A name for people; '' for none
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
    /// When issuing begins: a time such as 2030-03-01T09:00:00Z, a delay from now such as +10m, or now
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    start: Option<Limit<Now>>,
    /// When it ends: a time, a delay from now, or never
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    end: Option<Limit<Never>>,
    /// A label; may be repeated, at most 32 of them. The campaign then has these labels and no others
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair, conflicts_with = "no_labels")]
    label: Vec<(String, String)>,
    /// Remove all labels
    #[arg(long)]
    no_labels: bool,
    /// The etag that the campaign must still have, as `coupon campaign get` shows it [default: any]
    #[arg(long, value_name = "ETAG", default_value = "", hide_default_value = true)]
    etag: String,
}

/// The end of a window: a moment, or none, which is said with a word.
#[derive(Clone, Copy, Debug)]
enum Limit<W> {
    At(Moment),
    Open(W),
}

/// `now`.
#[derive(Clone, Copy, Debug)]
struct Now;

/// `never`.
#[derive(Clone, Copy, Debug)]
struct Never;

impl FromStr for Limit<Now> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "now" { Ok(Self::Open(Now)) } else { text.parse().map(Self::At) }
    }
}

impl FromStr for Limit<Never> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "never" { Ok(Self::Open(Never)) } else { text.parse().map(Self::At) }
    }
}

impl<W> Limit<W> {
    fn time(&self) -> Option<Timestamp> {
        match self {
            Self::At(Moment(time)) => Some(Timestamp::from(*time)),
            Self::Open(_) => None,
        }
    }
}

/// Runs the command.
pub(super) async fn update(args: UpdateArgs) -> anyhow::Result<()> {
    let paths = [
        ("quota", args.quota.is_some()),
        ("display_name", args.name.is_some()),
        ("start_time", args.start.is_some()),
        ("end_time", args.end.is_some()),
        ("labels", args.no_labels || !args.label.is_empty()),
    ];
    let paths = paths.into_iter().filter(|(_, is_set)| *is_set);
    let paths: Vec<_> = paths.map(|(path, _)| path.to_owned()).collect();
    if paths.is_empty() {
        let why = "nothing to change: use --quota, --name, --start, --end, --label or --no-labels";
        return Err(UsageError(why.to_owned()).into());
    }
    let campaign = v1::Campaign {
        quota: args.quota.unwrap_or(0),
        display_name: args.name.unwrap_or_default(),
        start_time: args.start.as_ref().and_then(Limit::time),
        end_time: args.end.as_ref().and_then(Limit::time),
        labels: map("--label", args.label)?,
        etag: args.etag,
        ..Default::default()
    };
    change(args.change, async |client, Change { campaign_id, request_id }| {
        let request = v1::UpdateCampaignRequest {
            campaign: Some(v1::Campaign { campaign_id, ..campaign }),
            update_mask: Some(FieldMask { paths }),
            request_id,
        };
        Ok(client.update_campaign(request).await?.campaign)
    })
    .await
}
