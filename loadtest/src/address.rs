//! Addresses of nodes and routers: what is one, and how it is called.

use std::time::Duration;

use tonic::transport::Endpoint;

/// How long setting up a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// A text is not the address of a machine.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no address: it must be host:port")]
pub struct NoAddress(
    /// What was given.
    pub String,
);

/// How `host:port` is called.
///
/// # Errors
/// [`NoAddress`] when it is not written like that.
pub fn endpoint(address: &str) -> Result<Endpoint, NoAddress> {
    let refused = || NoAddress(address.to_owned());
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
            assert_eq!(endpoint(bad).unwrap_err(), NoAddress(bad.to_owned()));
        }
    }
}
