//! Addresses of routers and nodes: what is one, and how a connection to it is set up.

use std::time::Duration;

use tonic::transport::Endpoint;

/// Maximum time to set up a connection, so that a machine that is gone does not take a whole attempt.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Interval of HTTP/2 pings while calls are under way: finds a peer that is gone without a word. Proxies
/// accept pings this rare.
const PING_INTERVAL: Duration = Duration::from_secs(20);

/// Maximum time for the answer to a ping; a machine under full load takes seconds.
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// Idle time before the kernel probes a connection, so that firewalls do not forget it.
const TCP_KEEPALIVE: Duration = Duration::from_secs(60);

/// A text that is not the address of a machine.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an address: it must be host:port, such as 127.0.0.1:7000")]
pub struct AddressError(
    /// The text.
    pub String,
);

/// The endpoint at `host:port`, not connected.
///
/// # Errors
/// [`AddressError`] when the text is not written like that.
pub fn endpoint(address: &str) -> Result<Endpoint, AddressError> {
    let refused = || AddressError(address.to_owned());
    let (host, port) = address.rsplit_once(':').ok_or_else(refused)?;
    if host.is_empty() || host.contains('/') || port.parse::<u16>().is_err() {
        return Err(refused());
    }
    let endpoint = Endpoint::from_shared(format!("http://{address}")).map_err(|_| refused())?;
    Ok(endpoint
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .tcp_keepalive(Some(TCP_KEEPALIVE))
        .http2_keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT))
}

/// The endpoint of a router at `host:port` or `http://host:port`.
///
/// # Errors
/// [`AddressError`] when the text is neither.
pub(crate) fn router_endpoint(router: &str) -> Result<Endpoint, AddressError> {
    let address = router.strip_prefix("http://").unwrap_or(router);
    endpoint(address.strip_suffix('/').unwrap_or(address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_a_host_and_a_port() {
        for good in ["127.0.0.1:7000", "[::1]:7000", "node-1.example:443"] {
            assert!(endpoint(good).is_ok(), "{good}");
        }
        for bad in ["", ":7000", "127.0.0.1", "node", "node:", "node:http", "a b:1", "http://x:80"]
        {
            assert_eq!(endpoint(bad).unwrap_err(), AddressError(bad.to_owned()));
        }
    }

    #[test]
    fn routers_may_be_urls() {
        for good in ["router:7000", "http://router:7000", "http://router:7000/"] {
            let endpoint = router_endpoint(good).unwrap();
            assert_eq!(endpoint.uri().to_string(), "http://router:7000/");
        }
        for bad in ["https://router:7000", "http://router", "http://router:7000/path"] {
            assert!(router_endpoint(bad).is_err(), "{bad}");
        }
    }
}
