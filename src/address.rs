//! Addresses on the command line and in settings.

use tonic::transport::Endpoint;

use crate::failure::UsageError;

/// How `host:port` is called.
pub(crate) fn endpoint(address: &str) -> Result<Endpoint, UsageError> {
    coupon_client::endpoint(address).map_err(|error| UsageError(error.to_string()))
}
