//! Times on the command line.

use std::str::FromStr;
use std::time::{Duration, SystemTime};

use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use crate::settings::Span;

/// A moment, written as RFC 3339 or as a duration from now on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment(pub(super) SystemTime);

impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.strip_prefix('-').is_some_and(|ago| ago.parse::<Span>().is_ok()) {
            return Err(
                "is in the past: a delay from now begins with a plus, such as +10m".to_owned()
            );
        }
        let Some(ahead) = text.strip_prefix('+') else {
            return parse_rfc3339(text).map(Self);
        };
        let ahead: Duration = ahead.parse::<Span>().map_err(|error| error.to_string())?.get();
        let time = SystemTime::now().checked_add(ahead).ok_or("too far ahead")?;
        Ok(Self(time))
    }
}

/// Reads a time with an offset such as `+09:00`, or in UTC with a `Z`.
fn parse_rfc3339(text: &str) -> Result<SystemTime, String> {
    let parse = |text| humantime::parse_rfc3339_weak(text).map_err(|error| error.to_string());
    let at = text.len().saturating_sub("+09:00".len());
    let Some((local, offset)) = text.split_at_checked(at).and_then(|(local, offset)| {
        let offset = Offset::read(offset)?;
        local.contains(['T', ' ']).then_some((local, offset))
    }) else {
        let time = parse(text)?;
        let is_utc = text.ends_with('Z');
        return if is_utc { Ok(time) } else { Err(readings(text, &TimeZone::system())) };
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

/// What is wrong with a time without an offset: which instants it could mean, here and elsewhere.
fn readings(text: &str, here: &TimeZone) -> String {
    let text = text.replace(' ', "T");
    let local: Option<DateTime> = text.parse().ok();
    let local = local.and_then(|time| time.to_zoned(here.clone()).ok());
    let offset =
        local.map(|time| time.strftime("%:z").to_string()).filter(|offset| offset != "+00:00");
    let here =
        offset.map(|offset| format!(", or {text}{offset} for the time zone of this machine"));
    format!("has no offset: write {text}Z for UTC{}", here.unwrap_or_default())
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
        let past = "-10s".parse::<Moment>().unwrap_err();
        assert!(past.contains("begins with a plus"), "{past}");
    }

    #[test]
    fn a_time_without_an_offset_is_refused_with_both_readings() {
        let seoul = TimeZone::fixed(jiff::tz::offset(9));
        for text in ["2030-03-01T09:00:00", "2030-03-01 09:00:00"] {
            assert_eq!(
                readings(text, &seoul),
                "has no offset: write 2030-03-01T09:00:00Z for UTC, or 2030-03-01T09:00:00+09:00 for the time zone \
                 of this machine"
            );
            let utc = "has no offset: write 2030-03-01T09:00:00Z for UTC";
            assert_eq!(readings(text, &TimeZone::UTC), utc);
            assert!(text.parse::<Moment>().unwrap_err().starts_with(utc));
        }
    }
}
