//! What is let in, and until when it is worked on.
//!
//! A router takes on a bounded number of requests and refuses the others at once, with a hint when to
//! come back. A batch counts once for each of its requests. A caller that takes long to send a request, or
//! never sends the rest of it, loses its permit when the request should have been answered. Health and
//! reflection need no permit, so that a busy router is not taken for a dead one.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::{HeaderMap, Request, Response};
use pin_project_lite::pin_project;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::answer::error::Fault;
use crate::op::limits::{Deadline, Permits};

/// The services that need no permit.
const UNGOVERNED: &str = "/grpc.";

/// Our deadline comes before the caller's by a tenth, so that the caller still gets our answer, which
/// says whether anything may have happened; at most by this.
const MARGIN_MAX: Duration = Duration::from_millis(50);

/// No request is worked on for longer, whatever its caller says.
pub const DEADLINE_MAX: Duration = Duration::from_secs(60);

/// Delay after the deadline until a request loses its permit. A service that has read the whole request answers
/// by the deadline, and can say more than that it is over.
const LATE_MAX: Duration = Duration::from_millis(500);

/// Whether requests to the method at `path` need a permit.
pub(super) fn is_governed(path: &str) -> bool {
    !path.starts_with(UNGOVERNED)
}

/// Lets requests in. A cheap clone.
#[derive(Debug, Clone)]
pub(super) struct Admission {
    permits: Permits,
    default_deadline: Duration,
}

impl Admission {
    /// Lets in as many requests at a time as there are permits.
    pub(super) fn new(permits: Permits, default_deadline: Duration) -> Self {
        Self { permits, default_deadline }
    }

    /// Lets a request in.
    ///
    /// # Errors
    /// [`Fault::DeadlineExceeded`] when the caller gives no time at all, so that nothing is begun;
    /// [`Fault::Overloaded`] when all permits are taken.
    pub(super) fn admit<B>(&self, request: &Request<B>) -> Result<Admitted, Fault> {
        let (now, asked) = (Instant::now(), timeout_of(request.headers()));
        if asked.is_some_and(|timeout| timeout.is_zero()) {
            return Err(Fault::DeadlineExceeded);
        }
        let permit = if is_governed(request.uri().path()) {
            Some(self.permits.for_request().ok_or(Fault::Overloaded)?)
        } else {
            None
        };
        let deadline = deadline(now, asked, self.default_deadline);
        Ok(Admitted { deadline, end: end(now, asked, deadline), permit })
    }
}

/// A request that was let in.
#[derive(Debug)]
pub(super) struct Admitted {
    deadline: Deadline,
    end: Instant,
    permit: Option<OwnedSemaphorePermit>,
}

impl Admitted {
    /// When the request must have been answered.
    pub(super) fn deadline(&self) -> Deadline {
        self.deadline
    }

    /// The answer to the request, or that it is over. Until then the request keeps its permit.
    pub(super) fn in_time<F>(self, answer: F) -> InTime<F> {
        let Self { end, permit, .. } = self;
        InTime { answer, end: sleep_until(end), permit }
    }
}

pin_project! {
    /// The answer to a request, given in time.
    pub(super) struct InTime<F> {
        #[pin] answer: F,
        #[pin] end: Sleep,
        permit: Option<OwnedSemaphorePermit>,
    }
}

impl<F, B> Future for InTime<F>
where
    F: Future<Output = Response<B>>,
    B: Default,
{
    type Output = Response<B>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Response<B>> {
        let this = self.project();
        if let Poll::Ready(answer) = this.answer.poll(context) {
            return Poll::Ready(answer);
        }
        ready!(this.end.poll(context));
        Poll::Ready(Fault::DeadlineExceeded.into_status().into_http())
    }
}

/// The deadline of a request that came at `now`, whose caller asked for a timeout, or did not.
fn deadline(now: Instant, asked: Option<Duration>, default: Duration) -> Deadline {
    let budget = match asked {
        Some(timeout) => timeout.saturating_sub((timeout / 10).min(MARGIN_MAX)),
        None => default,
    };
    Deadline(now + budget.min(DEADLINE_MAX))
}

/// When such a request is over although it has no answer: when its caller stops waiting, or it should have been
/// answered long ago and has probably not arrived as a whole.
fn end(now: Instant, asked: Option<Duration>, deadline: Deadline) -> Instant {
    match asked {
        Some(timeout) if timeout <= DEADLINE_MAX => now + timeout,
        Some(_) | None => deadline.0 + LATE_MAX,
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
            let now = Instant::now();
            deadline(now, timeout_of(&headers), Duration::from_secs(10)).0 - now
        };
        assert_eq!(left(None), Duration::from_secs(10));
        assert_eq!(left(Some("100m")), Duration::from_millis(90));
        assert_eq!(left(Some("2S")), Duration::from_millis(1_950));
        assert_eq!(left(Some("99999999H")), DEADLINE_MAX);
        assert_eq!(left(Some("nonsense")), Duration::from_secs(10));
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_is_over_when_its_caller_stops_waiting_or_should_have() {
        let end = |asked| {
            let now = Instant::now();
            end(now, asked, deadline(now, asked, Duration::from_secs(10))) - now
        };
        let second = Duration::from_secs(1);
        assert_eq!(end(None), Duration::from_secs(10) + LATE_MAX);
        assert_eq!(end(Some(second)), second);
        assert_eq!(end(Some(Duration::MAX)), DEADLINE_MAX + LATE_MAX);
    }
}
