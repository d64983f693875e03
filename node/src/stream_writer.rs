//! A stream of messages to a peer, filled by a blocking writer: snapshots and backups.

use std::io::{BufWriter, ErrorKind, Write};
use std::time::Duration;

use bytes::Bytes;
use futures::Stream;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::storage::{WriteError, fatal};

/// Size of a part, which is one message.
const PART_BYTES: usize = 256 << 10;
/// Maximum number of parts that wait for the receiver.
const WAITING_MAX: usize = 4;
/// Maximum wait for the peer between two parts; meanwhile a transfer holds a thread or a file, and its sender a
/// RocksDB snapshot.
pub(crate) const IDLE_MAX: Duration = Duration::from_secs(30);

/// Runs `write` on a thread of its own, since the receiver may be slow, and returns what it writes. The stream
/// ends early when the receiver takes nothing for [`IDLE_MAX`], so the output must show that it is not whole.
///
/// A fault while reading the state ends the process.
pub(crate) fn stream_written_by(
    write: impl FnOnce(BufWriter<StreamWriter>) -> Result<(), WriteError> + Send + 'static,
) -> impl Stream<Item = Bytes> + Send + 'static {
    let (parts, outgoing) = mpsc::channel(WAITING_MAX);
    let out = StreamWriter { runtime: Handle::current(), parts: Some(parts) };
    tokio::task::spawn_blocking(move || match write(BufWriter::with_capacity(PART_BYTES, out)) {
        Ok(()) | Err(WriteError::Out(_)) => {}
        Err(WriteError::State(fault)) => fatal::abort("reading state", &fault),
    });
    ReceiverStream::new(outgoing)
}

/// The output of a thread, which waits for the receiver.
pub(crate) struct StreamWriter {
    runtime: Handle,
    /// `None` once the receiver has taken nothing for too long.
    parts: Option<mpsc::Sender<Bytes>>,
}

impl Write for StreamWriter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let taken = bytes.len().min(PART_BYTES);
        let part = Bytes::copy_from_slice(&bytes[..taken]);
        let parts = self.parts.as_ref().ok_or(ErrorKind::BrokenPipe)?;
        if self.runtime.block_on(parts.send_timeout(part, IDLE_MAX)).is_err() {
            self.parts = None;
            return Err(ErrorKind::BrokenPipe.into());
        }
        Ok(taken)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
