//! Calls to nodes and routers.

use anyhow::Context as _;
use coupon_admin::connect;
use coupon_client::{Client, RetryPolicy};
use tokio::time::{Instant, timeout_at};
use tonic::Request;
use tonic::transport::Channel;

use crate::failure::{self, UsageError};
use crate::settings::Span;

/// Which router is called.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct RouterArg {
    /// The router's address; of several, one that answers is called
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',', env = "COUPON_ROUTER")]
    #[arg(default_value = "127.0.0.1:7000")]
    router: Vec<String>,
    /// How long the command may take, from connecting to the last answer
    #[arg(long, value_name = "DURATION", default_value = "10s")]
    timeout: Span,
}

impl RouterArg {
    /// Connects to a router for one command.
    pub(crate) async fn connect(&self) -> anyhow::Result<Router> {
        check_timeout(self.timeout)?;
        let timeout = self.timeout.get();
        let deadline = Instant::now() + timeout;
        let mut policy = RetryPolicy { give_up_after: timeout, ..RetryPolicy::default() };
        if self.router.len() == 1 {
            // There is no other router to ask meanwhile.
            policy.attempt_timeout = timeout;
        }
        let connecting = Client::connect(&self.router, policy);
        let silent =
            || format!("connect to {}: not done within {}", self.router.join(","), self.timeout);
        let connected = timeout_at(deadline, connecting).await.with_context(silent)?;
        Ok(Router { client: connected.map_err(failure::of_router)?, deadline })
    }
}

impl RouterArg {
    /// Connects to a router for a command that follows something. The timeout is how long it may be out of reach.
    pub(crate) async fn follow(&self) -> anyhow::Result<Client> {
        let router = self.connect().await?;
        Ok(router.client.giving_up_after(self.timeout.get()))
    }
}

/// A router for a command that must be done in time as a whole, however many calls it makes.
#[derive(Debug)]
pub(crate) struct Router {
    client: Client,
    deadline: Instant,
}

impl Router {
    /// A client for a call that may take what is left of the time, repetitions included.
    pub(crate) fn client(&self) -> Client {
        let left = self.deadline.saturating_duration_since(Instant::now());
        self.client.giving_up_after(left)
    }

    /// A client for a stream, each part of which may take the time of the command.
    pub(crate) fn client_for_stream(&self) -> Client {
        self.client.clone()
    }
}

/// A connection to a node or a router for a command that must be done in time as a whole.
#[derive(Debug)]
pub(crate) struct Connection {
    channel: Channel,
    deadline: Instant,
}

impl Connection {
    /// Connects to `host:port`. The command may take `timeout` from now on.
    pub(crate) async fn open(address: &str, timeout: Span) -> anyhow::Result<Self> {
        check_timeout(timeout)?;
        let deadline = Instant::now() + timeout.get();
        let connected = timeout_at(deadline, connect(address)).await;
        let silent = || format!("connect to {address}: not done within {timeout}");
        Ok(Self { channel: connected.with_context(silent)?.map_err(failure::of_node)?, deadline })
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

/// Refuses no time at all, in which nothing can be done.
fn check_timeout(timeout: Span) -> Result<(), UsageError> {
    if timeout.get().is_zero() {
        return Err(UsageError("--timeout is 0: it must be more, such as 10s".to_owned()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::address::endpoint;

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
