//! A TCP link that takes its time: every byte arrives a fixed time after it was sent, in order. It can also lose long
//! packets, as a network does whose MTU is less than its routers say.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// How many pieces may be under way, in one direction of one connection.
const UNDER_WAY_MAX: usize = 1_024;
const PIECE_BYTES: usize = 64 << 10;
/// A longer packet may be lost. TCP sends it again and again, and what comes after it waits.
const SHORT_BYTES: usize = 700;

/// An address that leads to another one. Connections made before that is known wait.
pub(crate) struct SlowLink {
    pub(crate) address: SocketAddr,
    leads_to: watch::Sender<Option<SocketAddr>>,
    loses_long: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl SlowLink {
    /// A link on which `delay` passes in each direction.
    pub(crate) async fn start(delay: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (leads_to, target) = watch::channel(None);
        let loses_long = Arc::new(AtomicBool::new(false));
        let loses = Arc::clone(&loses_long);
        let task = tokio::spawn(async move {
            while let Ok((caller, _)) = listener.accept().await {
                tokio::spawn(connect(caller, target.clone(), delay, Arc::clone(&loses)));
            }
        });
        Self { address, leads_to, loses_long, task }
    }

    /// Loses long packets to its target from now on, or not any more.
    pub(crate) fn lose_long(&self, loses: bool) {
        self.loses_long.store(loses, Ordering::Relaxed);
    }

    pub(crate) fn lead_to(&self, target: SocketAddr) {
        self.leads_to.send_replace(Some(target));
    }
}

impl Drop for SlowLink {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn connect(
    caller: TcpStream,
    mut target: watch::Receiver<Option<SocketAddr>>,
    delay: Duration,
    loses_long: Arc<AtomicBool>,
) {
    let Some(target) = target.wait_for(Option::is_some).await.ok().and_then(|target| *target)
    else {
        return;
    };
    let Ok(callee) = TcpStream::connect(target).await else { return };
    caller.set_nodelay(true).unwrap();
    callee.set_nodelay(true).unwrap();
    let ((from_caller, to_caller), (from_callee, to_callee)) =
        (caller.into_split(), callee.into_split());
    let back = carry(from_callee, to_caller, delay, Arc::default());
    tokio::join!(carry(from_caller, to_callee, delay, loses_long), back);
}

async fn carry(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    delay: Duration,
    loses_long: Arc<AtomicBool>,
) {
    let (sent, mut arriving) = mpsc::channel::<(Instant, Bytes)>(UNDER_WAY_MAX);
    let sending = async move {
        loop {
            let mut piece = BytesMut::with_capacity(PIECE_BYTES);
            let count = from.read_buf(&mut piece).await.unwrap_or(0);
            let due = Instant::now() + delay;
            if sent.send((due, piece.freeze())).await.is_err() || count == 0 {
                return;
            }
        }
    };
    let receiving = async move {
        while let Some((due, piece)) = arriving.recv().await {
            tokio::time::sleep_until(due).await;
            if piece.len() > SHORT_BYTES && loses_long.load(Ordering::Relaxed) {
                std::future::pending::<()>().await;
            }
            // Nothing more to read on one side, or nobody left on the other, ends the direction.
            if piece.is_empty() || to.write_all(&piece).await.is_err() {
                return;
            }
        }
    };
    tokio::join!(sending, receiving);
}
