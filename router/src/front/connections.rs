//! The connections to a router: accepted, served, and in the end closed when their requests are answered.

use std::os::fd::AsRawFd as _;
use std::pin::pin;
use std::time::Duration;

use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::dispatch::Dispatch;

/// How many requests one connection may have under way. Clients that issue in bulk use few
/// connections; admission bounds the sum.
const STREAMS_PER_CONNECTION_MAX: u32 = 4_096;

/// What a client may send on one stream before it is read: one batch of the largest size.
const STREAM_WINDOW_BYTES: u32 = 4 << 20;

/// See [`STREAM_WINDOW_BYTES`], for the whole connection.
const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;

/// Maximum number of streams that a client has reset and the router has not accepted yet: as many as it may
/// have open. With more, h2 closes the connection as a rapid-reset attack (CVE-2023-44487). h2's default of 20
/// would close those of honest clients that time out.
const PENDING_RESETS_MAX: usize = STREAMS_PER_CONNECTION_MAX as usize;

/// How much header one request may have.
const HEADER_BYTES_MAX: u32 = 16 << 10;

/// Interval between pings of an idle connection, and the time after which an unanswered ping closes it.
const KEEP_ALIVE: Duration = Duration::from_secs(20);

/// The pause after a connection could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves all connections until `ended`; then takes no new ones, lets requests under way finish, and returns when the
/// last connection is closed. Dropped before, it closes all connections.
pub(super) async fn serve(
    listener: TcpListener,
    dispatch: Dispatch,
    ended: impl Future<Output = ()>,
) {
    let protocol = http2();
    let closing = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    let mut ended = pin!(ended);
    loop {
        let stream = tokio::select! {
            () = &mut ended => break,
            // A task that has ended is forgotten.
            Some(_) = connections.join_next() => continue,
            stream = accept(&listener) => stream,
        };
        let dispatch = dispatch.clone().on_connection(stream.as_raw_fd());
        #[cfg(feature = "trace")]
        let stream = super::socket::MarkedSocket::new(stream, dispatch.connection());
        let service = service_fn(move |request| dispatch.answer(request));
        let connection = protocol.serve_connection(TokioIo::new(stream), service);
        let served = closing.watch(connection);
        connections.spawn(async {
            if let Err(error) = served.await {
                tracing::debug!(%error, "a connection broke");
            }
        });
    }
    // The system refuses clients from now on; otherwise they would wait until the last connection is closed.
    drop(listener);
    closing.shutdown().await;
}

/// The protocol of all connections: HTTP/2, known from the start.
fn http2() -> http2::Builder<TokioExecutor> {
    let mut protocol = http2::Builder::new(TokioExecutor::new());
    protocol
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_PER_CONNECTION_MAX)
        .max_pending_accept_reset_streams(PENDING_RESETS_MAX)
        // A call that is refused before it is read counts, and the count never falls: any limit would close a
        // connection in the end, with all calls under way on it.
        .max_local_error_reset_streams(None)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_header_list_size(HEADER_BYTES_MAX)
        .keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .auto_date_header(false);
    protocol
}

/// The next connection. After a failure, most likely for lack of file descriptors, it pauses: the connection stays in
/// the queue, and retrying at once would keep the thread busy.
async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                // It fails only when the client is gone already, which the protocol finds out.
                let _ = stream.set_nodelay(true);
                return stream;
            }
            Err(error) => {
                tracing::warn!(%error, "a connection was not accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}
