//! What is let in, and until when it is worked on.
//!
//! A router takes on a bounded number of requests and refuses the others at once, with a hint when to
//! come back. A batch counts as often as it has requests. Whoever takes long to send a request, or
//! never sends the rest of it, loses its place when the request should have been answered. Health and
//! reflection are let in always, so that a busy router is not taken for a dead one.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{HeaderMap, Request, Response};
use pin_project_lite::pin_project;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};
use tokio::time::{Instant, Sleep, sleep_until};
use tonic::body::Body;
use tower::{Layer, Service};

use crate::error::Fault;
use crate::malformed;

/// The services that are let in always.
const UNGOVERNED: &str = "/grpc.";

/// Our deadline comes before the caller's by a tenth, so that the caller still gets our answer, which
/// says whether anything may have happened; at most by this.
const MARGIN_MAX: Duration = Duration::from_millis(50);

/// No request is worked on for longer, whatever its caller says.
pub const DEADLINE_MAX: Duration = Duration::from_secs(60);

/// A place is taken back so long after the deadline. Whoever has read the whole request answers by the
/// deadline, and can say more than that it is over.
const LATE_MAX: Duration = Duration::from_millis(500);

/// When a request must have been answered. Found in the extensions of every request let in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline(pub(crate) Instant);

impl Deadline {
    fn of(asked: Option<Duration>, default: Duration) -> Self {
        let budget = match asked {
            Some(timeout) => timeout.saturating_sub((timeout / 10).min(MARGIN_MAX)),
            None => default,
        };
        Self(Instant::now() + budget.min(DEADLINE_MAX))
    }

    /// When the request loses its place. `None` when the framework sees to that, since it has a timer
    /// of its own for the caller's `grpc-timeout`.
    fn last_call(self, asked: Option<Duration>) -> Option<Instant> {
        let timed = asked.is_some_and(|timeout| timeout <= DEADLINE_MAX);
        (!timed).then(|| self.0 + LATE_MAX)
    }
}

fn timeout_of(headers: &HeaderMap) -> Option<Duration> {
    headers.get("grpc-timeout").and_then(|value| value.to_str().ok()).and_then(parse_timeout)
}

/// Reads a `grpc-timeout`: up to eight digits and a unit.
fn parse_timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(count * 3_600),
        "M" => Duration::from_secs(count * 60),
        "S" => Duration::from_secs(count),
        "m" => Duration::from_millis(count),
        "u" => Duration::from_micros(count),
        "n" => Duration::from_nanos(count),
        _ => return None,
    })
}

/// The places of the requests that are worked on. A cheap clone.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    free: Arc<Semaphore>,
    requests_max: usize,
}

impl Places {
    /// Places for `requests_max` requests at a time.
    pub(crate) fn new(requests_max: usize) -> Self {
        let requests_max = requests_max.min(Semaphore::MAX_PERMITS);
        Self { free: Arc::new(Semaphore::new(requests_max)), requests_max }
    }

    /// Places for all requests of a batch, which itself has one already. A batch that is larger than
    /// the router takes all places there are, so that a router without other work answers it.
    ///
    /// # Errors
    /// [`Fault::Overloaded`] when there are not as many.
    pub(crate) fn for_batch(&self, requests: usize) -> Result<SemaphorePermit<'_>, Fault> {
        let more = requests.min(self.requests_max).saturating_sub(1);
        let more = u32::try_from(more).unwrap_or(u32::MAX);
        self.free.try_acquire_many(more).map_err(|_| Fault::Overloaded)
    }
}

/// Puts [`Admission`] in front of a service.
#[derive(Debug, Clone)]
pub(crate) struct AdmissionLayer {
    places: Places,
    default_deadline: Duration,
}

impl AdmissionLayer {
    /// Lets in as many requests as there are places.
    pub(crate) fn new(places: Places, default_deadline: Duration) -> Self {
        Self { places, default_deadline }
    }
}

impl<S> Layer<S> for AdmissionLayer {
    type Service = Admission<S>;

    fn layer(&self, inner: S) -> Admission<S> {
        Admission { inner, places: self.places.clone(), default_deadline: self.default_deadline }
    }
}

/// A service that refuses what is too much.
#[derive(Debug, Clone)]
pub(crate) struct Admission<S> {
    inner: S,
    places: Places,
    default_deadline: Duration,
}

impl<S> Service<Request<Body>> for Admission<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Answering<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        if request.uri().path().starts_with(UNGOVERNED) {
            return Answering::Ungoverned { answer: self.inner.call(request) };
        }
        let Ok(place) = Arc::clone(&self.places.free).try_acquire_owned() else {
            return Answering::Refused;
        };
        let asked = timeout_of(request.headers());
        let deadline = Deadline::of(asked, self.default_deadline);
        let last_call = deadline.last_call(asked).map(sleep_until);
        request.extensions_mut().insert(deadline);
        let bytes_max = malformed::request_bytes_max(request.uri().path());
        Answering::Governed { answer: self.inner.call(request), last_call, bytes_max, place }
    }
}

pin_project! {
    /// The answer to a request.
    #[project = AnsweringProjection]
    pub(crate) enum Answering<F> {
        /// It has no place and needs none.
        Ungoverned { #[pin] answer: F },
        /// It got no place.
        Refused,
        /// It keeps its place until it is answered, or over.
        Governed {
            #[pin] answer: F,
            #[pin] last_call: Option<Sleep>,
            bytes_max: usize,
            place: OwnedSemaphorePermit,
        },
    }
}

impl<F, E> Future for Answering<F>
where
    F: Future<Output = Result<Response<Body>, E>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        match self.project() {
            AnsweringProjection::Ungoverned { answer } => answer.poll(context),
            AnsweringProjection::Refused => {
                Poll::Ready(Ok(Fault::Overloaded.into_status().into_http()))
            }
            AnsweringProjection::Governed { answer, last_call, bytes_max, .. } => {
                if let Poll::Ready(answered) = answer.poll(context) {
                    let explained = answered.map(|answer| malformed::explain(answer, *bytes_max));
                    return Poll::Ready(explained);
                }
                match last_call.as_pin_mut().map(|last_call| last_call.poll(context)) {
                    Some(Poll::Ready(())) => {
                        Poll::Ready(Ok(Fault::DeadlineExceeded.into_status().into_http()))
                    }
                    Some(Poll::Pending) | None => Poll::Pending,
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_read_as_grpc_writes_them() {
        assert_eq!(parse_timeout("100m"), Some(Duration::from_millis(100)));
        assert_eq!(parse_timeout("99999999H"), Some(Duration::from_secs(99_999_999 * 3_600)));
        for malformed in ["", "m", "1", "+1S", "1.5S", "123456789S", "1x", "한"] {
            assert_eq!(parse_timeout(malformed), None, "{malformed}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn deadlines_leave_time_for_the_answer_and_have_an_end() {
        let left = |timeout: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            if let Some(timeout) = timeout {
                headers.insert("grpc-timeout", http::HeaderValue::from_static(timeout));
            }
            Deadline::of(timeout_of(&headers), Duration::from_secs(10)).0 - Instant::now()
        };
        assert_eq!(left(None), Duration::from_secs(10));
        assert_eq!(left(Some("100m")), Duration::from_millis(90));
        assert_eq!(left(Some("2S")), Duration::from_millis(1_950));
        assert_eq!(left(Some("99999999H")), DEADLINE_MAX);
        assert_eq!(left(Some("nonsense")), Duration::from_secs(10));
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_without_a_short_timeout_of_its_own_gets_a_timer() {
        let last_call = |asked| {
            let deadline = Deadline::of(asked, Duration::from_secs(10));
            deadline.last_call(asked).map(|last_call| last_call - Instant::now())
        };
        assert_eq!(last_call(None), Some(Duration::from_secs(10) + LATE_MAX));
        assert_eq!(last_call(Some(Duration::from_secs(1))), None, "the framework has one");
        assert_eq!(last_call(Some(Duration::MAX)), Some(DEADLINE_MAX + LATE_MAX));
    }

    #[test]
    fn a_batch_takes_a_place_for_each_request_and_at_most_all() {
        let places = Places::new(4);
        let batch = Arc::clone(&places.free).try_acquire_owned().unwrap();
        let rest = places.for_batch(1_000).unwrap();
        assert_eq!(places.free.available_permits(), 0);
        assert!(matches!(places.for_batch(2), Err(Fault::Overloaded)));
        drop((batch, rest));
        let other = Arc::clone(&places.free).try_acquire_owned().unwrap();
        let batch = Arc::clone(&places.free).try_acquire_owned().unwrap();
        assert!(places.for_batch(4).is_err());
        assert!(places.for_batch(3).is_ok());
        drop((other, batch));
    }
}
