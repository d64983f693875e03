//! A node or a router on a thread of its own, with a runtime of its own.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use coupon_cluster::NodeId;
use coupon_env::SystemClock;
use coupon_node::{NodeConfig, RaftOptions};
use coupon_router::RouterConfig;
use tokio::sync::oneshot;

use crate::runtime;

/// How far clocks may be apart. All members have the same one, but a busy machine answers late.
const CLOCK_OFFSET_MAX: Duration = Duration::from_secs(5);

/// A member of the demo.
pub(super) struct Member {
    name: String,
    address: SocketAddr,
    /// How it ended; `None` once that was reported.
    ended: Option<oneshot::Receiver<anyhow::Result<()>>>,
    thread: MemberThread,
}

/// The thread of a member. Dropping it stops the member and waits for that: RocksDB must not be at
/// work any more when the process ends.
struct MemberThread {
    stop: Option<oneshot::Sender<()>>,
    handle: Option<JoinHandle<()>>,
}

impl MemberThread {
    fn tell_to_stop(&mut self) {
        // A member that ends by itself, or never listens, is told in vain.
        drop(self.stop.take());
    }
}

impl Drop for MemberThread {
    fn drop(&mut self) {
        self.tell_to_stop();
        // If it panicked, its message was printed.
        let _ = self.handle.take().map(JoinHandle::join);
    }
}

impl Member {
    /// Starts a node.
    pub(super) async fn node(
        node_id: NodeId,
        data_dir: PathBuf,
        listen: SocketAddr,
        others: Vec<SocketAddr>,
    ) -> anyhow::Result<Self> {
        let config = NodeConfig {
            node_id,
            data_dir,
            listen,
            advertise: None,
            join: others.iter().map(SocketAddr::to_string).collect(),
            max_clock_offset: CLOCK_OFFSET_MAX,
            workers: NonZeroUsize::MIN,
            raft: RaftOptions::default(),
        };
        let name = format!("node {}", node_id.get());
        Self::start(name, |running| async move {
            let mut handle = coupon_node::start(config, Arc::new(SystemClock)).await?;
            let stopped = running.until_stop(handle.local_addr());
            let ended = tokio::select! {
                () = stopped => Ok(()),
                refused = handle.refused() => Err(refused.into()),
            };
            // The whole cluster stops: no node is left to take leadership.
            handle.halt().await;
            ended
        })
        .await
    }

    /// Starts the router.
    pub(super) async fn router(listen: SocketAddr, nodes: Vec<String>) -> anyhow::Result<Self> {
        let config = RouterConfig { listen, nodes, ..RouterConfig::default() };
        Self::start("router".to_owned(), |running| async {
            let handle = coupon_router::start(config).await?;
            tokio::select! {
                () = running.until_stop(handle.local_addr()) => Ok(handle.shutdown().await?),
                refused = handle.refused() => Err(refused.into()),
            }
        })
        .await
    }

    /// Runs `member` on a new thread and waits until it listens.
    async fn start<F>(
        name: String,
        member: impl FnOnce(Running) -> F + Send + 'static,
    ) -> anyhow::Result<Self>
    where
        F: Future<Output = anyhow::Result<()>>,
    {
        let (stop, stopped) = oneshot::channel();
        let (listening, listens) = oneshot::channel();
        let (ending, ended) = oneshot::channel();
        let running = Running { listening, stopped };
        let thread_name = name.clone();
        let handle = thread::Builder::new()
            .name(thread_name.clone())
            .spawn(move || {
                let end = runtime::block_on(member(running)).context(thread_name);
                // A demo that was cut short does not wait for this end.
                let _ = ending.send(end);
            })
            .with_context(|| format!("start the thread of the {name}"))?;
        // Made at once, so that a demo that is cut short here waits for it as well.
        let thread = MemberThread { stop: Some(stop), handle: Some(handle) };
        match listens.await {
            Ok(address) => Ok(Self { name, address, ended: Some(ended), thread }),
            Err(_) => match ended.await {
                Ok(Err(error)) => Err(error),
                Ok(Ok(())) | Err(_) => Err(anyhow!("the {name} ended before it listened")),
            },
        }
    }

    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits until it ends without being told to, and says why. May be dropped and called again.
    pub(super) async fn failure(&mut self) -> anyhow::Error {
        let Some(ended) = &mut self.ended else { return std::future::pending().await };
        let end = ended.await;
        self.ended = None;
        match end {
            Ok(Err(error)) => error,
            Ok(Ok(())) | Err(_) => anyhow!("the {} ended by itself", self.name),
        }
    }

    /// Stops it and waits for that.
    pub(super) async fn stop(mut self) -> anyhow::Result<()> {
        self.thread.tell_to_stop();
        match self.ended {
            Some(ended) => ended.await.context("a member of the demo panicked")?,
            None => Ok(()),
        }
    }
}

/// What a member tells, and is told.
struct Running {
    listening: oneshot::Sender<SocketAddr>,
    stopped: oneshot::Receiver<()>,
}

impl Running {
    /// Says where the member listens, and waits until it is to stop.
    async fn until_stop(self, address: SocketAddr) {
        // A demo that was cut short does not hear this, and its end of the other channel is gone.
        let _ = self.listening.send(address);
        let _ = self.stopped.await;
    }
}
