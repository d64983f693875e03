//! What is let in, and until when it is worked on.
//!
//! A router takes on a bounded number of requests and refuses the others at once, with a hint when to
//! come back. A batch counts once for each of its requests. A caller that takes long to send a request, or
//! never sends the rest of it, loses its permit when the request should have been answered. Health and
//! reflection are let in always, so that a busy router is not taken for a dead one.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{HeaderMap, Request, Response};
use pin_project_lite::pin_project;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, Sleep, sleep_until};
use tonic::body::Body;
use tower::{Layer, Service};

use super::malformed;
use crate::answer::error::Fault;
use crate::op::limits::{Deadline, Permits};

/// The services that are let in always.
const UNGOVERNED: &str = "/grpc.";

/// Our deadline comes before the caller's by a tenth, so that the caller still gets our answer, which
/// says whether anything may have happened; at most by this.
const MARGIN_MAX: Duration = Duration::from_millis(50);

/// No request is worked on for longer, whatever its caller says.
pub const DEADLINE_MAX: Duration = Duration::from_secs(60);

/// Delay after the deadline until a request loses its permit. A service that has read the whole request answers
/// by the deadline, and can say more than that it is over.
const LATE_MAX: Duration = Duration::from_millis(500);

/// The deadline of a request whose caller asked for a timeout, or did not.
fn deadline(asked: Option<Duration>, default: Duration) -> Deadline {
    let budget = match asked {
        Some(timeout) => timeout.saturating_sub((timeout / 10).min(MARGIN_MAX)),
        None => default,
    };
    Deadline(Instant::now() + budget.min(DEADLINE_MAX))
}

/// When a request loses its permit. `None` when the framework sees to that, since it has a timer of its own for
/// the caller's `grpc-timeout`.
fn last_call(deadline: Deadline, asked: Option<Duration>) -> Option<Instant> {
    let timed = asked.is_some_and(|timeout| timeout <= DEADLINE_MAX);
    (!timed).then(|| deadline.0 + LATE_MAX)
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

/// Puts [`Admission`] in front of a service.
#[derive(Debug, Clone)]
pub(crate) struct AdmissionLayer {
    permits: Permits,
    default_deadline: Duration,
}

impl AdmissionLayer {
    /// Lets in as many requests as there are permits.
    pub(crate) fn new(permits: Permits, default_deadline: Duration) -> Self {
        Self { permits, default_deadline }
    }
}

impl<S> Layer<S> for AdmissionLayer {
    type Service = Admission<S>;

    fn layer(&self, inner: S) -> Admission<S> {
        Admission { inner, permits: self.permits.clone(), default_deadline: self.default_deadline }
    }
}

/// A service that refuses what is too much.
#[derive(Debug, Clone)]
pub(crate) struct Admission<S> {
    inner: S,
    permits: Permits,
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
        let Some(permit) = self.permits.for_request() else {
            return Answering::Refused;
        };
        let asked = timeout_of(request.headers());
        let deadline = deadline(asked, self.default_deadline);
        let last_call = last_call(deadline, asked).map(sleep_until);
        request.extensions_mut().insert(deadline);
        let bytes_max = malformed::request_bytes_max(request.uri().path());
        Answering::Governed { answer: self.inner.call(request), last_call, bytes_max, permit }
    }
}

pin_project! {
    /// The answer to a request.
    #[project = AnsweringProjection]
    pub(crate) enum Answering<F> {
        /// It has no permit and needs none.
        Ungoverned { #[pin] answer: F },
        /// It got no permit.
        Refused,
        /// It keeps its permit until it is answered, or over.
        Governed {
            #[pin] answer: F,
            #[pin] last_call: Option<Sleep>,
            bytes_max: usize,
            permit: OwnedSemaphorePermit,
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
            deadline(timeout_of(&headers), Duration::from_secs(10)).0 - Instant::now()
        };
        assert_eq!(left(None), Duration::from_secs(10));
        assert_eq!(left(Some("100m")), Duration::from_millis(90));
        assert_eq!(left(Some("2S")), Duration::from_millis(1_950));
        assert_eq!(left(Some("99999999H")), DEADLINE_MAX);
        assert_eq!(left(Some("nonsense")), Duration::from_secs(10));
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_without_a_short_timeout_of_its_own_gets_a_timer() {
        let left = |asked| {
            let deadline = deadline(asked, Duration::from_secs(10));
            last_call(deadline, asked).map(|last_call| last_call - Instant::now())
        };
        assert_eq!(left(None), Some(Duration::from_secs(10) + LATE_MAX));
        assert_eq!(left(Some(Duration::from_secs(1))), None, "the framework has one");
        assert_eq!(left(Some(Duration::MAX)), Some(DEADLINE_MAX + LATE_MAX));
    }
}
