//! Where asynchronous code runs, and how it is told to end.
//!
//! Everything runs on one thread: a node's work is ordered by its disk, and a router is scaled by
//! running more of them.

use std::time::Duration;

use anyhow::Context as _;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::disable_transparent_huge_pages;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// How long blocking work, such as a snapshot being written, may go on when all else has ended.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(1);

/// Runs a future to its end on the current thread, with a runtime of its own.
pub(crate) fn block_on<T>(future: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start the asynchronous runtime")?;
    let output = runtime.block_on(future);
    runtime.shutdown_timeout(SHUTDOWN_TIMEOUT);
    output
}

/// Lets a panic, wherever it happens, end the process once it has been printed. A server that goes on
/// without one of its tasks would look healthy and answer no call.
pub(crate) fn abort_on_panic() {
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        print(panic);
        std::process::abort();
    }));
}

/// Number of open files and connections below which a server warns: many shards and clients take thousands.
const DESCRIPTORS_MIN: u64 = 8_192;

/// Allows the process as many open files and connections as its hard limit does; most systems give it a soft limit of
/// 1,024.
pub(crate) fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, ..limit };
    let allowed = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(error) => {
            tracing::warn!(%error, "the limit of open files was not raised");
            limit.current
        }
    };
    if let Some(allowed) = allowed.filter(|allowed| *allowed < DESCRIPTORS_MIN) {
        tracing::warn!(
            allowed,
            wanted = DESCRIPTORS_MIN,
            "few files may be open: raise `ulimit -n`"
        );
    }
}

/// Has the kernel back memory with pages of 4 KiB only. The allocator asks for huge pages, which make resident what
/// each shard reserves for peaks and an idle one never touches: 64 idle shards took 260 MiB instead of 91. Throughput
/// was the same with and without.
pub(crate) fn disable_huge_pages() {
    if let Err(error) = disable_transparent_huge_pages(true) {
        tracing::warn!(%error, "huge pages stay enabled: idle shards will take more memory");
    }
}

/// The signals that ask the process to end. While this exists they do nothing else.
#[derive(Debug)]
pub(crate) struct StopSignals {
    interrupt: Signal,
    terminate: Signal,
}

impl StopSignals {
    /// Catches the signals from now on.
    pub(crate) fn catch() -> anyhow::Result<Self> {
        let catch = |kind| signal(kind).context("catch signals");
        let (interrupt, terminate) =
            (catch(SignalKind::interrupt())?, catch(SignalKind::terminate())?);
        Ok(Self { interrupt, terminate })
    }

    /// Waits for the next one.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }

    /// Runs an orderly stop, which a second signal cuts short.
    pub(crate) async fn unless_impatient(
        &mut self,
        stop: impl Future<Output = anyhow::Result<()>>,
    ) -> anyhow::Result<()> {
        tokio::select! {
            stopped = stop => stopped,
            () = self.next() => anyhow::bail!("cut short by a second signal"),
        }
    }
}
