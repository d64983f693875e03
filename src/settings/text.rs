//! How settings are written: durations and lists of addresses.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::de::{self, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The longest duration: more than anybody can mean, and little enough to be added to any time that
/// there is a clock for.
const SPAN_MAX: Duration = Duration::from_secs(100 * 31_557_600);

/// A duration of at most a hundred years, written as `500ms`, `10s` or `1m 30s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span(pub(crate) Duration);

impl Span {
    /// As the standard library has it.
    pub(crate) fn get(self) -> Duration {
        self.0
    }
}

/// A text is no [`Span`].
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoSpan {
    /// It is no duration at all.
    #[error(transparent)]
    NoDuration(#[from] humantime::DurationError),
    /// It is longer than any that can be meant.
    #[error("must be {} or less", Span(SPAN_MAX))]
    TooLong,
}

impl FromStr for Span {
    type Err = NoSpan;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let duration = humantime::parse_duration(text)?;
        if duration > SPAN_MAX { Err(NoSpan::TooLong) } else { Ok(Self(duration)) }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(self.0).fmt(f)
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(|error| de::Error::custom(format!("duration {text:?}: {error}")))
    }
}

/// Reads a list of addresses: a list in a file, `a:1,b:2` in the environment.
pub(super) fn addresses<'de, D: Deserializer<'de>>(de: D) -> Result<Vec<String>, D::Error> {
    struct Addresses;

    impl<'de> Visitor<'de> for Addresses {
        type Value = Vec<String>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list of host:port")
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
            let addresses = text.split(',').map(str::trim).filter(|address| !address.is_empty());
            Ok(addresses.map(str::to_owned).collect())
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
            let mut addresses = Vec::new();
            while let Some(address) = seq.next_element()? {
                addresses.push(address);
            }
            Ok(addresses)
        }
    }

    de.deserialize_any(Addresses)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_written_as_people_say_them() {
        for (text, millis) in [("500ms", 500), ("10s", 10_000), ("1m 30s", 90_000)] {
            let span: Span = text.parse().unwrap();
            assert_eq!(span.get(), Duration::from_millis(millis));
            assert_eq!(span.to_string(), text);
        }
        for wrong in ["10", "", "-1s", "fast"] {
            assert!(wrong.parse::<Span>().is_err(), "{wrong}");
        }
        assert_eq!("100years".parse::<Span>().unwrap().get(), SPAN_MAX);
        for long in ["101years", "20000years"] {
            let error = long.parse::<Span>().unwrap_err().to_string();
            assert_eq!(error, "must be 100years or less", "{long}");
        }
    }
}
