//! A TCP link that takes its time: every byte arrives a fixed time after it was sent, in order.

use std::net::SocketAddr;
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

/// An address that leads to another one. Connections made before that is known wait.
pub(crate) struct SlowLink {
    pub(crate) address: SocketAddr,
    leads_to: watch::Sender<Option<SocketAddr>>,
    task: JoinHandle<()>,
}

impl SlowLink {
    /// A link on which `delay` passes in each direction.
    pub(crate) async fn start(delay: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (leads_to, target) = watch::channel(None);
        let task = tokio::spawn(async move {
            while let Ok((caller, _)) = listener.accept().await {
                tokio::spawn(connect(caller, target.clone(), delay));
            }
        });
        Self { address, leads_to, task }
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
    tokio::join!(carry(from_caller, to_callee, delay), carry(from_callee, to_caller, delay));
}

async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, delay: Duration) {
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
            // Nothing more to read on one side, or nobody left on the other, ends the direction.
            if piece.is_empty() || to.write_all(&piece).await.is_err() {
                return;
            }
        }
    };
    tokio::join!(sending, receiving);
}
