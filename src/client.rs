//! Calls to nodes and routers.

use std::time::Duration;

use anyhow::Context as _;
use tonic::Request;
use tonic::transport::{Channel, Endpoint};

use crate::failure::UsageError;
use crate::settings::Span;

/// How long setting up a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Which router is called.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct RouterArg {
    /// The router's address
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:7000", env = "COUPON_ROUTER")]
    router: String,
    /// How long the answer may take
    #[arg(long, value_name = "DURATION", default_value = "10s")]
    timeout: Span,
}

impl RouterArg {
    /// Connects to the router.
    pub(crate) async fn connect(&self) -> anyhow::Result<Channel> {
        connect(&self.router).await
    }

    /// A request with its deadline.
    pub(crate) fn request<T>(&self, message: T) -> Request<T> {
        request(message, self.timeout.get())
    }
}

/// A request with a deadline.
pub(crate) fn request<T>(message: T, timeout: Duration) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(timeout);
    request
}

/// Connects to `host:port`, so that one who does not answer is told from one who answers wrongly.
pub(crate) async fn connect(address: &str) -> anyhow::Result<Channel> {
    endpoint(address)?.connect().await.with_context(|| format!("connect to {address}"))
}

/// How `host:port` is called.
pub(crate) fn endpoint(address: &str) -> Result<Endpoint, UsageError> {
    let refused = || UsageError(format!("{address:?} is no address: it must be host:port"));
    let (host, port) = address.rsplit_once(':').ok_or_else(refused)?;
    if host.is_empty() || port.parse::<u16>().is_err() {
        return Err(refused());
    }
    let endpoint = Endpoint::from_shared(format!("http://{address}")).map_err(|_| refused())?;
    Ok(endpoint.connect_timeout(CONNECT_TIMEOUT).tcp_nodelay(true))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_a_host_and_a_port() {
        for good in ["127.0.0.1:7000", "[::1]:7000", "node-1.example:443"] {
            assert!(endpoint(good).is_ok(), "{good}");
        }
        for bad in
            ["", ":7000", "127.0.0.1", "node", "node:", "node:http", "a b:1", "http://x:80000"]
        {
            assert!(endpoint(bad).is_err(), "{bad}");
        }
    }
}
