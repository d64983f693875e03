//! One stream of issues to one router, shared by many calls.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use coupon_proto::v1;
use coupon_proto::v1::coupon_service_client::CouponServiceClient;
use coupon_proto::v1::issue_stream_response::Result as IssueResult;
use futures::stream;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tonic::transport::Channel;
use tonic::{Status, Streaming};

use crate::batch::ItemAnswer;
use crate::call_error::CallError;

/// Number of requests that wait to be sent. The stream itself holds more, as HTTP/2's flow control lets it.
const WAITING_MAX: usize = 16;

/// A stream of issues over one connection. A cheap clone. It ends with its last clone.
#[derive(Clone, Debug)]
pub struct SharedIssueStream {
    calls: mpsc::Sender<Call>,
}

/// A request, and who waits for its answer.
#[derive(Debug)]
struct Call {
    request: v1::IssueStreamRequest,
    answer: oneshot::Sender<ItemAnswer>,
}

impl SharedIssueStream {
    /// Opens a stream. Calls wait until it is open.
    #[must_use]
    pub fn open(channel: Channel) -> Self {
        let (calls, waiting) = mpsc::channel(WAITING_MAX);
        tokio::spawn(Session::default().run(channel, waiting));
        Self { calls }
    }

    /// Whether the stream has ended. Another one is to be opened then.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.calls.is_closed()
    }

    /// Issues a coupon. The router works on the request for `timeout` after it has read it.
    ///
    /// # Errors
    /// [`CallError`], also when the stream ends before the answer.
    pub async fn issue(&self, request: v1::IssueCouponRequest, timeout: Duration) -> ItemAnswer {
        let (answer, answered) = oneshot::channel();
        let timeout = prost_types::Duration::try_from(timeout).ok();
        let request = v1::IssueStreamRequest { tag: 0, request: Some(request), timeout };
        if self.calls.send(Call { request, answer }).await.is_err() {
            return Err(ended());
        }
        answered.await.unwrap_or_else(|_| Err(ended()))
    }
}

fn ended() -> CallError {
    Status::unavailable("the stream ended before the answer").into()
}

/// The work of a [`SharedIssueStream`].
#[derive(Debug, Default)]
struct Session {
    /// Who waits for which answer.
    open: HashMap<i64, oneshot::Sender<ItemAnswer>>,
    last_tag: i64,
}

impl Session {
    /// Carries requests and answers until the stream ends.
    async fn run(mut self, channel: Channel, mut calls: mpsc::Receiver<Call>) {
        let (outgoing, requests) = mpsc::channel(1);
        let requests = stream::unfold(requests, |mut requests| async move {
            requests.recv().await.map(|request| (request, requests))
        });
        let opened = CouponServiceClient::new(channel).issue_stream(requests).await;
        let end = match opened {
            Ok(answers) => self.carry(answers.into_inner(), &mut calls, &outgoing).await,
            Err(status) => status,
        };
        let error = CallError::from(end);
        // Those that have not been sent learn why as well.
        calls.close();
        while let Some(call) = calls.recv().await {
            let _ = call.answer.send(Err(error.clone()));
        }
        for answer in self.open.into_values() {
            let _ = answer.send(Err(error.clone()));
        }
    }

    /// Returns why the stream has ended.
    async fn carry(
        &mut self,
        mut answers: Streaming<v1::IssueStreamResponse>,
        calls: &mut mpsc::Receiver<Call>,
        outgoing: &mpsc::Sender<v1::IssueStreamRequest>,
    ) -> Status {
        let mut next = None;
        loop {
            tokio::select! {
                call = calls.recv(), if next.is_none() => match call {
                    Some(call) => next = Some(call),
                    None => return Status::cancelled("nobody waits for answers"),
                },
                // Answers are read while the router reads nothing: it may be waiting for that.
                room = outgoing.reserve(), if next.is_some() => {
                    let (Ok(room), Some(call)) = (room, next.take()) else {
                        return Status::unavailable("the stream of requests has ended");
                    };
                    self.last_tag += 1;
                    self.open.insert(self.last_tag, call.answer);
                    room.send(v1::IssueStreamRequest { tag: self.last_tag, ..call.request });
                }
                answer = answers.message() => match answer {
                    Ok(Some(answer)) => self.take(answer),
                    Ok(None) => return Status::unavailable("the stream ended before the answer"),
                    Err(status) => return status,
                },
            }
        }
    }

    fn take(&mut self, answer: v1::IssueStreamResponse) {
        let Some(waiting) = self.open.remove(&answer.tag) else { return };
        // Who has given up waiting needs no answer.
        let _ = waiting.send(match answer.result {
            Some(IssueResult::Response(response)) => Ok(response),
            Some(IssueResult::Error(status)) => Err(status.into()),
            None => Err(Status::unknown("the answer has no result").into()),
        });
    }
}

/// A stream for each connection, opened when it is needed. A cheap clone; clones share them.
#[derive(Clone, Debug, Default)]
pub struct SharedIssueStreams(Arc<Mutex<HashMap<usize, SharedIssueStream>>>);

impl SharedIssueStreams {
    /// The stream over the connection with a number: a new one, if the last one is over.
    #[must_use]
    pub fn over(&self, number: usize, channel: Channel) -> SharedIssueStream {
        let mut streams = self.0.lock();
        if let Some(stream) = streams.get(&number).filter(|stream| !stream.is_over()) {
            return stream.clone();
        }
        let stream = SharedIssueStream::open(channel);
        streams.insert(number, stream.clone());
        stream
    }
}
