//! Streams without an end, which are resumed where they broke.

use std::fmt::Debug;

use tokio::time::Instant;
use tonic::transport::Channel;
use tonic::{Response, Status, Streaming};

use crate::call_error::CallError;
use crate::call_state::{CallState, Step};
use crate::client::{Client, Course};

/// A stream that can be resumed after any of its messages.
pub(crate) trait Resumable: Debug {
    /// A message.
    type Message: Debug;

    /// Opens a stream of what comes after the last message that was noted.
    fn open(
        &self,
        channel: Channel,
    ) -> impl Future<Output = Result<Response<Streaming<Self::Message>>, Status>> + Send;

    /// Notes that a message has arrived.
    fn note(&mut self, message: &Self::Message);
}

/// A stream that is read, over whichever router is there.
#[derive(Debug)]
pub(crate) struct Follower<S: Resumable> {
    client: Client,
    source: S,
    open: Option<Open<S::Message>>,
    outage: Option<(Course, CallState)>,
}

#[derive(Debug)]
struct Open<M> {
    stream: Streaming<M>,
    since: Instant,
}

impl<S: Resumable> Follower<S> {
    /// A stream that is opened when it is read.
    pub(crate) fn new(client: Client, source: S) -> Self {
        Self { client, source, open: None, outage: None }
    }

    /// The next message. A future that is dropped loses none.
    ///
    /// # Errors
    /// [`CallError`], when the stream was refused, or was out of reach for as long as the client tries.
    pub(crate) async fn next(&mut self) -> Result<S::Message, CallError> {
        loop {
            let status = match self.message().await {
                Ok(message) => {
                    self.outage = None;
                    self.source.note(&message);
                    return Ok(message);
                }
                Err(status) => status,
            };
            if let Some(open) = self.open.take()
                && open.since.elapsed() > self.client.attempt_timeout()
            {
                // It had been there; this outage is a new one.
                self.outage = None;
            }
            if let Some(error) = self.end_of_outage(status).await {
                self.outage = None;
                return Err(error);
            }
        }
    }

    /// The error to end with after an attempt that failed; `None` once the pause before the next attempt is over.
    async fn end_of_outage(&mut self, status: Status) -> Option<CallError> {
        let (course, state) = Self::outage(&mut self.outage, &self.client);
        match state.take(status.into()) {
            Step::Done(error) => Some(error),
            Step::Again(error) => {
                let goes_on = course.pause(error.retry_after()).await;
                (!goes_on).then(|| state.give_up(error))
            }
        }
    }

    async fn message(&mut self) -> Result<S::Message, Status> {
        let open = match &mut self.open {
            Some(open) => open,
            None => {
                let (course, _) = Self::outage(&mut self.outage, &self.client);
                let opening = course.in_time(|channel, _| self.source.open(channel));
                let stream = opening.await?.into_inner();
                self.client.prefer(course);
                self.open.insert(Open { stream, since: Instant::now() })
            }
        };
        let message = open.stream.message().await?;
        message.ok_or_else(|| Status::unavailable("the stream has ended"))
    }

    /// The outage under way, or one that begins now.
    fn outage<'a>(
        outage: &'a mut Option<(Course, CallState)>,
        client: &Client,
    ) -> &'a mut (Course, CallState) {
        outage.get_or_insert_with(|| (client.begin(), CallState::new(None)))
    }
}
