//! `coupon campaign`: campaigns are created and shown through a router.

use std::str::FromStr;
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use coupon_proto::v1;
use coupon_proto::v1::campaign_service_client::CampaignServiceClient;
use prost_types::Timestamp;

use crate::client::RouterArg;
use crate::failure::{CallError, UsageError};
use crate::output::Format;
use crate::settings::Span;
use crate::show;
use crate::{output, runtime};

/// How many campaigns are asked for at a time.
const PAGE: i32 = 1_000;

/// Creates and shows campaigns.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum CampaignCommand {
    Create(CreateArgs),
    Get(GetArgs),
    List(ListArgs),
}

/// Creates a campaign.
///
/// Without an answer, ask again with the same --request-id: that never creates a second one.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  coupon campaign create spring --quota 1000
  coupon campaign create launch --quota 100000 --start 2030-03-01T09:00:00Z --per-recipient-limit 1
  coupon campaign create flash --quota 500 --start +10m --end +20m -o json")]
pub(crate) struct CreateArgs {
    /// Its id: a to z, 0 to 9 and hyphens [default: one is made]
    #[arg(default_value = "", hide_default_value = true)]
    campaign: String,
    /// How many coupons may be issued
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    #[arg(value_parser = clap::value_parser!(i64).range(1..))]
    quota: i64,
    /// A name for people
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    name: String,
    /// When issuing begins: a time such as 2030-03-01T09:00:00Z, or +10m, which is another time
    /// whenever it is said [default: at once]
    #[arg(long, value_name = "TIME")]
    start: Option<Moment>,
    /// When it ends [default: never]
    #[arg(long, value_name = "TIME")]
    end: Option<Moment>,
    /// How many coupons a recipient may hold; 0 is no limit
    #[arg(long, value_name = "N", default_value_t = 0, allow_negative_numbers = true)]
    #[arg(value_parser = clap::value_parser!(i32).range(0..))]
    per_recipient_limit: i32,
    /// How long a coupon may be used, such as 30days [default: for ever]
    #[arg(long, value_name = "DURATION")]
    coupon_ttl: Option<Span>,
    /// A label; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    label: Vec<(String, String)>,
    /// A UUID: the same one with the same fields gets the same answer; times such as +10m are not the
    /// same, so that it is REQUEST_ID_REUSED then [default: a new one]
    #[arg(long, value_name = "UUID")]
    request_id: Option<String>,
    #[command(flatten)]
    router: RouterArg,
    /// How it is printed
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

/// Shows a campaign with its counters.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  coupon campaign get spring")]
pub(crate) struct GetArgs {
    /// Its id
    campaign: String,
    #[command(flatten)]
    router: RouterArg,
    /// How it is printed
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

/// Lists all campaigns of all shards.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  coupon campaign list -o json")]
pub(crate) struct ListArgs {
    #[command(flatten)]
    router: RouterArg,
    /// How it is printed
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

/// A moment, written as RFC 3339 or as a duration from now on.
#[derive(Clone, Copy, Debug)]
struct Moment(SystemTime);

impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let Some(ahead) = text.strip_prefix('+') else {
            return parse_rfc3339(text).map(Self);
        };
        let ahead: Duration = ahead.parse::<Span>().map_err(|error| error.to_string())?.get();
        let time = SystemTime::now().checked_add(ahead).ok_or("too far ahead")?;
        Ok(Self(time))
    }
}

/// Reads a time with an offset such as `+09:00`, or in UTC.
fn parse_rfc3339(text: &str) -> Result<SystemTime, String> {
    let parse = |text| humantime::parse_rfc3339_weak(text).map_err(|error| error.to_string());
    let at = text.len().saturating_sub("+09:00".len());
    let Some((local, offset)) = text.split_at_checked(at).and_then(|(local, offset)| {
        let offset = Offset::read(offset)?;
        local.contains(['T', ' ']).then_some((local, offset))
    }) else {
        return parse(text);
    };
    if local.ends_with('Z') {
        return Err("has two offsets".to_owned());
    }
    let local = parse(local)?;
    let time = match offset {
        Offset::East(by) => local.checked_sub(by),
        Offset::West(by) => local.checked_add(by),
    };
    time.ok_or_else(|| "is out of range".to_owned())
}

/// How far a local time is from UTC.
enum Offset {
    East(Duration),
    West(Duration),
}

impl Offset {
    /// Reads `+09:00` or `-03:30`.
    fn read(text: &str) -> Option<Self> {
        let (sign, clock) = text.split_at_checked(1)?;
        let (hours, minutes) = clock.split_once(':')?;
        let number = |digits: &str, most: u64| {
            let both = digits.len() == 2 && digits.bytes().all(|byte| byte.is_ascii_digit());
            both.then(|| digits.parse::<u64>().ok()).flatten().filter(|number| *number <= most)
        };
        let by = Duration::from_secs((number(hours, 23)? * 60 + number(minutes, 59)?) * 60);
        match sign {
            "+" => Some(Self::East(by)),
            "-" => Some(Self::West(by)),
            _ => None,
        }
    }
}

/// Reads `key=value`.
pub(crate) fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("must be KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

/// Runs the command.
pub(crate) fn run(command: CampaignCommand) -> anyhow::Result<()> {
    runtime::block_on(async {
        match command {
            CampaignCommand::Create(args) => create(args).await,
            CampaignCommand::Get(args) => get(args).await,
            CampaignCommand::List(args) => list(args).await,
        }
    })
}

async fn create(args: CreateArgs) -> anyhow::Result<()> {
    let coupon_ttl = args.coupon_ttl.map(|ttl| ttl.get().try_into()).transpose();
    let coupon_ttl = coupon_ttl.map_err(|_| UsageError("--coupon-ttl is too long".to_owned()))?;
    let request_id = args.request_id.unwrap_or_else(|| uuid::Uuid::new_v4().to_string());
    let again = same_request(&request_id, args.start, args.end);
    let request = v1::CreateCampaignRequest {
        campaign_id: args.campaign,
        display_name: args.name,
        quota: args.quota,
        start_time: args.start.map(|Moment(time)| Timestamp::from(time)),
        end_time: args.end.map(|Moment(time)| Timestamp::from(time)),
        per_recipient_limit: args.per_recipient_limit,
        coupon_ttl,
        labels: args.label.into_iter().collect(),
        request_id,
    };
    let router = args.router.connect().await?;
    let mut client = CampaignServiceClient::new(router.channel());
    let answer = client.create_campaign(router.request(request)).await;
    let answer = answer.map_err(|status| CallError::of_change(status, || again))?.into_inner();
    print(answer.campaign, args.output)
}

/// The arguments that make a creation the same one when it is asked for again: those for times may
/// have been relative.
fn same_request(request_id: &str, start: Option<Moment>, end: Option<Moment>) -> String {
    let mut arguments = format!("--request-id {request_id}");
    for (name, moment) in [("start", start), ("end", end)] {
        if let Some(Moment(time)) = moment {
            arguments.push_str(&format!(" --{name} {}", Timestamp::from(time)));
        }
    }
    arguments
}

async fn get(args: GetArgs) -> anyhow::Result<()> {
    let router = args.router.connect().await?;
    let mut client = CampaignServiceClient::new(router.channel());
    let request = v1::GetCampaignRequest { campaign_id: args.campaign };
    let answer = client.get_campaign(router.request(request)).await;
    print(answer.map_err(CallError::from)?.into_inner().campaign, args.output)
}

fn print(campaign: Option<v1::Campaign>, format: Format) -> anyhow::Result<()> {
    let campaign = show::Campaign::from(campaign.context("the router sent no campaign")?);
    match format {
        Format::Table => output::line(campaign.sheet()),
        Format::Json => output::json(&campaign),
    }
}

async fn list(args: ListArgs) -> anyhow::Result<()> {
    let router = args.router.connect().await?;
    let mut client = CampaignServiceClient::new(router.channel());
    let mut campaigns = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = v1::ListCampaignsRequest { page_size: PAGE, page_token };
        let answer = client.list_campaigns(router.request(request)).await;
        let page = answer.map_err(CallError::from)?.into_inner();
        campaigns.extend(page.campaigns.into_iter().map(show::Campaign::from));
        if page.next_page_token.is_empty() {
            break;
        }
        page_token = page.next_page_token;
    }
    match args.output {
        Format::Table => output::line(show::campaigns(&campaigns)),
        Format::Json => output::json(&campaigns),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_absolute_or_relative() {
        let Moment(time) = "2030-03-01T09:00:00Z".parse().unwrap();
        let seconds = time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        assert_eq!(seconds, 1_898_586_000);
        for same in [
            "2030-03-01T18:00:00+09:00",
            "2030-03-01T05:30:00-03:30",
            "2030-03-01 09:00:00.0+00:00",
            "2030-03-01T09:00:00",
        ] {
            let Moment(other) = same.parse().unwrap();
            assert_eq!(other, time, "{same}");
        }
        let Moment(soon) = "+10m".parse().unwrap();
        assert!(soon > SystemTime::now() + Duration::from_secs(590));
        for wrong in
            ["", "soon", "+", "10m", "+10", "2030-13-01T00:00:00Z", "2030-03-01T09:00:00Z+09:00"]
        {
            assert!(wrong.parse::<Moment>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_creation_is_asked_for_again_with_the_times_it_had() {
        let (soon, later): (Moment, Moment) = ("+10m".parse().unwrap(), "+20m".parse().unwrap());
        let arguments = same_request("some-id", Some(soon), Some(later));
        let words: Vec<&str> = arguments.split(' ').collect();
        let [id, "some-id", start, again, end, end_again] = words[..] else { panic!("{words:?}") };
        assert_eq!([id, start, end], ["--request-id", "--start", "--end"]);
        for (moment, text) in [(soon, again), (later, end_again)] {
            let Moment(time) = text.parse().unwrap();
            assert_eq!(time, moment.0, "{text}");
        }
        assert_eq!(same_request("some-id", None, None), "--request-id some-id");
    }

    #[test]
    fn labels_are_pairs() {
        assert_eq!(pair("a=b=c").unwrap(), ("a".to_owned(), "b=c".to_owned()));
        assert!(pair("a").is_err());
    }
}
