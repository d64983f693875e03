//! Calls to nodes and routers.

use anyhow::Context as _;
use tokio::time::{Instant, timeout_at};
use tonic::Request;
use tonic::transport::Channel;

use crate::address::endpoint;
use crate::settings::Span;

/// Which router is called.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct RouterArg {
    /// The router's address
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:7000", env = "COUPON_ROUTER")]
    router: String,
    /// How long the command may take, from connecting to the last answer
    #[arg(long, value_name = "DURATION", default_value = "10s")]
    timeout: Span,
}

impl RouterArg {
    /// Connects to the router for one command.
    pub(crate) async fn connect(&self) -> anyhow::Result<Connection> {
        Connection::open(&self.router, self.timeout).await
    }
}

/// A connection for a command that must be done in time as a whole, however many calls it makes.
#[derive(Debug)]
pub(crate) struct Connection {
    channel: Channel,
    deadline: Instant,
}

impl Connection {
    /// Connects to `host:port`; from now on the command may take so long.
    pub(crate) async fn open(address: &str, timeout: Span) -> anyhow::Result<Self> {
        let deadline = Instant::now() + timeout.get();
        let connected = timeout_at(deadline, connect(address)).await;
        let silent = || format!("connect to {address}: not done within {timeout}");
        Ok(Self { channel: connected.with_context(silent)??, deadline })
    }

    /// What clients of services call through.
    pub(crate) fn channel(&self) -> Channel {
        self.channel.clone()
    }

    /// A request that may take what is left of the time.
    pub(crate) fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.set_timeout(self.deadline.saturating_duration_since(Instant::now()));
        request
    }
}

/// Connects to `host:port`, so that one who does not answer is told from one who answers wrongly.
pub(crate) async fn connect(address: &str) -> anyhow::Result<Channel> {
    endpoint(address)?.connect().await.with_context(|| format!("connect to {address}"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn calls_share_the_time_of_their_command() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let _context = runtime.enter();
        let channel = endpoint("127.0.0.1:1").unwrap().connect_lazy();
        let timeout_of = |deadline| {
            let connection = Connection { channel: channel.clone(), deadline };
            let request = connection.request(());
            request.metadata().get("grpc-timeout").unwrap().to_str().unwrap().to_owned()
        };
        let now = Instant::now();
        assert_eq!(timeout_of(now), "0n");
        let left = timeout_of(now + Duration::from_secs(10));
        let left: u64 = left.strip_suffix('u').unwrap().parse().unwrap();
        assert!(left < 10_000_000, "{left}");
    }
}
