//! The connections to a server: accepted, served in HTTP/1.1 or HTTP/2, and in the end closed when their requests are
//! answered.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use coupon_accept::{Acceptor, HttpVersion, Place};
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulConnection;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::under_way::{CountedBody, UnderWay};

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

/// Maximum size of a request's headers and its path that are read; the query of a GET holds the message. A service may
/// refuse less, and say why: to a request beyond this, HTTP/2 answers without a reason.
const HEADER_BYTES_READ_MAX: u32 = 256 << 10;
/// The same in HTTP/1.1, which has an answer for it.
const HTTP1_HEADER_BYTES_MAX: usize = 16 << 10;

/// Interval between pings of an idle connection, and the time after which an unanswered ping closes it.
const KEEP_ALIVE: Duration = Duration::from_secs(20);

/// Time until a new HTTP/1.1 connection, or one that is kept open, must have sent a whole header. HTTP/1.1 has no
/// pings, so that this ends idle connections as well; clients open new ones.
const HEADER_WAIT_MAX: Duration = Duration::from_secs(30);

/// How long connections may take to close at the end of the server, when no call is under way any more.
const CLOSE_WAIT_MAX: Duration = Duration::from_millis(500);

/// How connections are served.
#[derive(Debug, Clone, Copy)]
pub struct ConnectionRules {
    /// Age at which a client is asked to open a new connection, up to a quarter more: so that new servers behind the
    /// same name get their share.
    pub age_max: Duration,
    /// Whether the end of the server waits for the requests at a path.
    pub is_waited_for: fn(path: &str) -> bool,
}

/// Serves connections until `ended`; then accepts no more, lets requests in flight finish, and closes what is left soon
/// after. Dropping the future closes all connections. `service` makes the service of one connection from its socket.
pub async fn serve<S, F, B>(
    acceptor: Acceptor,
    service: impl Fn(&TcpStream) -> S,
    rules: ConnectionRules,
    ended: impl Future<Output = ()>,
) where
    S: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
    F: Future<Output = Result<Response<B>, Infallible>> + Send + 'static,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let (protocols, under_way) = (Protocols::new(), UnderWay::default());
    let (stop, stopping) = watch::channel(());
    let mut connections = JoinSet::new();
    let mut ended = pin!(ended);
    loop {
        let (stream, place) = tokio::select! {
            () = &mut ended => break,
            // A task that has ended is forgotten.
            Some(_) = connections.join_next() => continue,
            accepted = acceptor.accept() => accepted,
        };
        let service = service(&stream);
        let connection = Connection {
            place: Arc::new(place),
            rules,
            under_way: under_way.clone(),
            stopping: stopping.clone(),
        };
        connections.spawn(connection.serve(protocols.clone(), stream, service));
    }
    // The system refuses clients from now on; otherwise they would wait until the last connection is closed.
    drop((acceptor, stop));
    loop {
        under_way.until_none().await;
        // Clients close theirs at once. What is left is silent, frozen, or waits for something that never ends.
        let closed = async { while connections.join_next().await.is_some() {} };
        if timeout(CLOSE_WAIT_MAX, closed).await.is_ok() || under_way.is_none() {
            return;
        }
    }
}

/// What the connection of one client is served with.
struct Connection {
    place: Arc<Place>,
    rules: ConnectionRules,
    under_way: UnderWay,
    stopping: watch::Receiver<()>,
}

impl Connection {
    /// Serves the connection to its end.
    async fn serve<S, F, B>(mut self, protocols: Protocols, stream: TcpStream, service: S)
    where
        S: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
        F: Future<Output = Result<Response<B>, Infallible>> + Send + 'static,
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let version = tokio::select! {
            // A client that has said nothing yet is not waited for.
            _ = self.stopping.changed() => return,
            () = self.place.revoked() => return,
            version = HttpVersion::of(&stream, HEADER_WAIT_MAX) => version,
        };
        let Some(version) = version else { return };
        let (place, rules, under_way) = (self.place.clone(), self.rules, self.under_way.clone());
        let service = service_fn(move |request: Request<Incoming>| {
            place.note_spoken();
            let call = (rules.is_waited_for)(request.uri().path()).then(|| under_way.begin());
            let answer = service(request);
            async move {
                let answer = answer.await?;
                Ok::<_, Infallible>(answer.map(|body| CountedBody::new(body, call)))
            }
        });
        #[cfg(feature = "trace")]
        let stream = crate::socket::MarkedSocket::new(stream);
        let io = TokioIo::new(stream);
        let served = match version {
            HttpVersion::Http1 => self.drive(protocols.http1.serve_connection(io, service)).await,
            HttpVersion::Http2 => self.drive(protocols.http2.serve_connection(io, service)).await,
        };
        if let Err(error) = served {
            tracing::debug!(%error, "a connection broke");
        }
    }

    /// Serves a connection, and asks its client to close it when it is old or the server ends.
    async fn drive<C: GracefulConnection>(mut self, connection: C) -> Result<(), C::Error> {
        let mut connection = pin!(connection);
        // Not all at the same time.
        let share = u32::try_from(self.place.number() % 16).unwrap_or_default();
        let age_max = self.rules.age_max + self.rules.age_max / 64 * share;
        tokio::select! {
            served = &mut connection => return served,
            () = self.place.revoked() => return Ok(()),
            _ = self.stopping.changed() => {}
            () = sleep(age_max) => {}
        }
        connection.as_mut().graceful_shutdown();
        connection.await
    }
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
            .max_header_size(HTTP1_HEADER_BYTES_MAX);
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
            .max_header_list_size(HEADER_BYTES_READ_MAX)
            .keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE)
            .auto_date_header(false);
        Self { http1, http2 }
    }
}
