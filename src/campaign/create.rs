//! `coupon campaign create`.

use coupon_client::v1;
use coupon_proto::limits::{PER_RECIPIENT_LIMIT_MAX, QUOTA_MAX};
use prost_types::Timestamp;

use super::moment::Moment;
use super::{map, pair, print, request_id_or_new};
use crate::client::RouterArg;
use crate::failure::{CallError, UsageError};
use crate::output::Format;
use crate::settings::Span;

/// Creates a campaign.
///
/// If there is no answer, repeat the command with the same --request-id: it never creates a second campaign.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  coupon campaign create spring --quota 1000
  coupon campaign create launch --quota 100000 --start 2030-03-01T09:00:00Z --per-recipient-limit 1
  coupon campaign create flash --quota 500 --start +10m --end +20m -o json
  coupon campaign create flash --quota 500 --end +20m --validate-only
  coupon campaign create summer --quota 1000 --code-profile latin --code-prefix SUMMER-
  coupon campaign create gifts --quota 1000000 --imported-codes")]
pub(crate) struct CreateArgs {
    /// Its id: a to z, 0 to 9 and hyphens [default: derived from the request id]
    #[arg(default_value = "", hide_default_value = true)]
    campaign: String,
    /// How many coupons may be issued: 1 to 1,000,000,000
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    #[arg(value_parser = clap::value_parser!(i64).range(1..=QUOTA_MAX))]
    quota: i64,
    /// A name for people
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    name: String,
    /// When issuing begins: a time such as 2030-03-01T09:00:00Z, or a delay from now such as +10m
    /// [default: at once]
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    start: Option<Moment>,
    /// When it ends [default: never]
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    end: Option<Moment>,
    /// How many coupons a recipient may hold: 1 to 100; 0 is no limit
    #[arg(long, value_name = "N", default_value_t = 0, allow_negative_numbers = true)]
    #[arg(value_parser = clap::value_parser!(i32).range(0..=i64::from(PER_RECIPIENT_LIMIT_MAX)))]
    per_recipient_limit: i32,
    /// How long a coupon may be used, such as 30days: 1s to 10years [default: for ever]
    #[arg(long, value_name = "DURATION")]
    coupon_ttl: Option<Span>,
    /// The symbols that codes are made of
    #[arg(long, value_name = "PROFILE", value_enum, default_value_t)]
    code_profile: CodeProfile,
    /// What codes begin with, such as SUMMER-: capital letters, digits and hyphens
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    code_prefix: String,
    /// Number of symbols in a code, without the prefix: 10 for kr; 14, 16, 18 or 20 for latin [default: the fewest]
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    #[arg(allow_negative_numbers = true, value_parser = clap::value_parser!(i32).range(0..))]
    code_length: i32,
    /// Its codes are imported: see `coupon campaign import`
    #[arg(long, conflicts_with_all = ["code_profile", "code_prefix", "code_length"])]
    imported_codes: bool,
    /// A label; may be repeated, at most 32 of them
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    label: Vec<(String, String)>,
    /// A UUID. Repeated with the same fields, it gets the same answer. A delay such as +10m is a new time when
    /// repeated, and gives REQUEST_ID_REUSED [default: a new UUID]
    #[arg(long, value_name = "UUID")]
    request_id: Option<String>,
    /// Only check whether the campaign could be created now
    #[arg(long)]
    validate_only: bool,
    #[command(flatten)]
    router: RouterArg,
    /// Output format
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

/// Profiles of codes.
#[derive(Clone, Copy, Debug, Default, clap::ValueEnum)]
enum CodeProfile {
    /// Digits and Hangul syllables
    #[default]
    Kr,
    /// Digits and Latin letters
    Latin,
}

impl From<CodeProfile> for v1::CodeProfile {
    fn from(profile: CodeProfile) -> Self {
        match profile {
            CodeProfile::Kr => Self::Kr,
            CodeProfile::Latin => Self::Latin,
        }
    }
}

/// Runs the command.
pub(super) async fn create(args: CreateArgs) -> anyhow::Result<()> {
    let coupon_ttl = args.coupon_ttl.map(|ttl| ttl.get().try_into()).transpose();
    let coupon_ttl = coupon_ttl.map_err(|_| UsageError("--coupon-ttl is too long".to_owned()))?;
    let request_id = request_id_or_new(args.request_id);
    let again = same_request(&request_id, args.start, args.end);
    let (source, profile) = if args.imported_codes {
        (v1::CodeSource::Imported, v1::CodeProfile::Unspecified)
    } else {
        (v1::CodeSource::Generated, args.code_profile.into())
    };
    let request = v1::CreateCampaignRequest {
        campaign_id: args.campaign,
        display_name: args.name,
        quota: args.quota,
        start_time: args.start.map(|Moment(time)| Timestamp::from(time)),
        end_time: args.end.map(|Moment(time)| Timestamp::from(time)),
        per_recipient_limit: args.per_recipient_limit,
        coupon_ttl,
        labels: map("--label", args.label)?,
        request_id,
        code_profile: profile.into(),
        code_prefix: args.code_prefix,
        code_length: args.code_length,
        code_source: source.into(),
        validate_only: args.validate_only,
    };
    let router = args.router.connect().await?;
    let answer = router.client().create_campaign(request).await;
    let answer = answer.map_err(|error| CallError::of_change(error, || again))?;
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

#[cfg(test)]
mod tests {
    use super::*;

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
}
