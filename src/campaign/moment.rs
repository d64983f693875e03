//! Times on the command line.

use std::str::FromStr;
use std::time::{Duration, SystemTime};

use crate::settings::Span;

/// A moment, written as RFC 3339 or as a duration from now on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment(pub(super) SystemTime);

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
}
