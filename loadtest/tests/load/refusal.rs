//! Refusals as routers make them.

use std::collections::HashMap;
use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

/// A refusal for a reason.
pub(crate) fn refusal(code: Code, reason: &str, metadata: &[(&str, String)]) -> Status {
    let metadata = metadata.iter().map(|(key, value)| ((*key).to_owned(), value.clone()));
    let mut details =
        ErrorDetails::with_error_info(reason, "coupon.v1", metadata.collect::<HashMap<_, _>>());
    if code == Code::Unavailable {
        details.set_retry_info(Some(Duration::from_secs(1)));
    }
    Status::with_error_details(code, "no", details)
}
