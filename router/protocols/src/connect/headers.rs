//! The headers of a request in which Connect differs from gRPC.

use http::{HeaderMap, HeaderValue};

use crate::refusal::Refusal;

/// How many digits a timeout may have.
const TIMEOUT_DIGITS_MAX: usize = 10;

/// How many digits gRPC takes.
const GRPC_TIMEOUT_DIGITS_MAX: usize = 8;

/// Checks the version, leniently: a client that names none is taken at its content type, as Connect's own servers do.
///
/// # Errors
/// [`Refusal::Invalid`] when it names another one.
pub(crate) fn check_version(headers: &HeaderMap) -> Result<(), Refusal> {
    match headers.get("connect-protocol-version") {
        Some(version) if version != "1" => {
            Err(Refusal::invalid("Connect-Protocol-Version must be 1, or be left out"))
        }
        Some(_) | None => Ok(()),
    }
}

/// The timeout as gRPC writes it.
///
/// # Errors
/// [`Refusal::Invalid`] when it is no number of milliseconds.
pub(crate) fn grpc_timeout(headers: &HeaderMap) -> Result<Option<HeaderValue>, Refusal> {
    let Some(timeout) = headers.get("connect-timeout-ms") else { return Ok(None) };
    let refuse = || Refusal::invalid("Connect-Timeout-Ms must be a number of at most ten digits");
    let digits = timeout.to_str().map_err(|_| refuse())?;
    if digits.len() > TIMEOUT_DIGITS_MAX || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return Err(refuse());
    }
    let ms: u64 = digits.parse().map_err(|_| refuse())?;
    let timeout = if ms < 10_u64.pow(GRPC_TIMEOUT_DIGITS_MAX as u32) {
        format!("{ms}m")
    } else {
        format!("{}S", ms / 1_000)
    };
    Ok(Some(HeaderValue::try_from(timeout).expect("digits are ASCII")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_milliseconds() {
        let read = |timeout: &'static str| {
            let headers = [("connect-timeout-ms", timeout)];
            let headers = headers
                .map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value)));
            grpc_timeout(&HeaderMap::from_iter(headers)).map(Option::unwrap)
        };
        assert_eq!(read("0").unwrap(), "0m");
        assert_eq!(read("5000").unwrap(), "5000m");
        assert_eq!(read("9999999999").unwrap(), "9999999S");
        for wrong in ["", "-1", "1s", "10000000000", "1.5"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
        assert_eq!(grpc_timeout(&HeaderMap::new()), Ok(None));
    }
}
