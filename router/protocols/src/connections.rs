//! The connections to a server: accepted, served in HTTP/1.1 or HTTP/2, and in the end closed when their requests are
//! answered.

use std::convert::Infallible;
use std::pin::pin;
use std::time::Duration;

use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::version::HttpVersion;

/// How many requests one connection may have under way. Clients that issue in bulk use few
/// connections; admission bounds the sum.
const STREAMS_PER_CONNECTION_MAX: u32 = 4_096;

/// Flow-control window of a stream: the largest batch fits into it.
const STREAM_WINDOW_BYTES: u32 = 4 << 20;

/// Flow-control window of a connection: four full streams.
const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;

/// Maximum number of streams that a client has reset and the router has not accepted yet: as many as it may
/// have open. With more, h2 closes the connection as a rapid-reset attack (CVE-2023-44487). h2's default of 20
/// would close those of honest clients that time out.
const PENDING_RESETS_MAX: usize = STREAMS_PER_CONNECTION_MAX as usize;

/// Maximum size of a request's headers and its path; the query of a GET holds the message.
const HEADER_BYTES_MAX: u32 = 16 << 10;

/// Interval between pings of an idle connection, and the time after which an unanswered ping closes it.
const KEEP_ALIVE: Duration = Duration::from_secs(20);

/// Time until a new HTTP/1.1 connection, or one that is kept open, must have sent a whole header. HTTP/1.1 has no
/// pings, so that this ends idle connections as well; clients open new ones.
const HEADER_WAIT_MAX: Duration = Duration::from_secs(30);

/// The pause after a connection could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves connections until `ended`; then accepts no more, lets requests in flight finish, and returns when the last
/// connection is closed. Dropping the future closes all connections. `service` makes the service of one connection from
/// its socket.
pub async fn serve<S, F, B>(
    listener: TcpListener,
    service: impl Fn(&TcpStream) -> S,
    ended: impl Future<Output = ()>,
) where
    S: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
    F: Future<Output = Result<Response<B>, Infallible>> + Send + 'static,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let protocols = Protocols::new();
    let closing = GracefulShutdown::new();
    let (stop, stopping) = watch::channel(());
    let mut connections = JoinSet::new();
    let mut ended = pin!(ended);
    loop {
        let stream = tokio::select! {
            () = &mut ended => break,
            // A task that has ended is forgotten.
            Some(_) = connections.join_next() => continue,
            stream = accept(&listener) => stream,
        };
        let service = service(&stream);
        let (protocols, watcher, mut stopping) =
            (protocols.clone(), closing.watcher(), stopping.clone());
        connections.spawn(async move {
            let version = tokio::select! {
                // A client that has said nothing yet is not waited for.
                _ = stopping.changed() => None,
                version = HttpVersion::of(&stream, HEADER_WAIT_MAX) => version,
            };
            if let Some(version) = version {
                protocols.serve(version, stream, service, watcher).await;
            }
        });
    }
    // The system refuses clients from now on; otherwise they would wait until the last connection is closed.
    drop((listener, stop));
    closing.shutdown().await;
}

/// Both versions of HTTP with their bounds.
#[derive(Debug, Clone)]
struct Protocols {
    http1: http1::Builder,
    http2: http2::Builder<TokioExecutor>,
}

impl Protocols {
    fn new() -> Self {
        let mut http1 = http1::Builder::new();
        http1
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_WAIT_MAX)
            .max_header_size(HEADER_BYTES_MAX as usize);
        let mut http2 = http2::Builder::new(TokioExecutor::new());
        http2
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
        Self { http1, http2 }
    }

    /// Serves one connection to its end.
    async fn serve<S, F, B>(
        self,
        version: HttpVersion,
        stream: TcpStream,
        service: S,
        watcher: Watcher,
    ) where
        S: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
        F: Future<Output = Result<Response<B>, Infallible>> + Send + 'static,
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        #[cfg(feature = "trace")]
        let stream = crate::socket::MarkedSocket::new(stream);
        let (io, service) = (TokioIo::new(stream), service_fn(service));
        let served = match version {
            HttpVersion::Http1 => watcher.watch(self.http1.serve_connection(io, service)).await,
            HttpVersion::Http2 => watcher.watch(self.http2.serve_connection(io, service)).await,
        };
        if let Err(error) = served {
            tracing::debug!(%error, "a connection broke");
        }
    }
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
