//! What happened to a campaign.

use coupon_proto::v1;
use coupon_proto::v1::event_service_client::EventServiceClient;
use tonic::transport::Channel;
use tonic::{Response, Status, Streaming};

use crate::call_error::CallError;
use crate::call_state::CallState;
use crate::client::Client;
use crate::follow::{Follower, Resumable};

/// The events of a campaign, as they happen. When the stream breaks, it is resumed after the last event, at the next
/// router.
#[derive(Debug)]
pub struct EventStream(Follower<Source>);

impl EventStream {
    /// The next events, at least one; waits until there are some. The future may be dropped at any time.
    ///
    /// # Errors
    /// [`CallError`]: refused, as when the campaign is deleted, or out of reach for as long as the client tries. Calling
    /// this again goes on after the last event.
    pub async fn next(&mut self) -> Result<Vec<v1::Event>, CallError> {
        Ok(self.0.next().await?.events)
    }
}

impl Client {
    /// Reads events of a campaign.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn list_events(
        &self,
        request: v1::ListEventsRequest,
    ) -> Result<v1::ListEventsResponse, CallError> {
        self.call(CallState::new(None), request, |channel, request| async move {
            EventServiceClient::new(channel).list_events(request).await
        })
        .await
    }

    /// Follows the events of a campaign. Nothing is sent before the first call of [`EventStream::next`].
    #[must_use]
    pub fn stream_events(&self, request: v1::StreamEventsRequest) -> EventStream {
        EventStream(Follower::new(self.clone(), Source(request)))
    }
}

/// What is asked for next.
#[derive(Debug)]
struct Source(v1::StreamEventsRequest);

impl Resumable for Source {
    type Message = v1::StreamEventsResponse;

    async fn open(
        &self,
        channel: Channel,
    ) -> Result<Response<Streaming<v1::StreamEventsResponse>>, Status> {
        EventServiceClient::new(channel).stream_events(self.0.clone()).await
    }

    fn note(&mut self, message: &v1::StreamEventsResponse) {
        if let Some(last) = message.events.last() {
            self.0.after_revision = last.revision;
            self.0.history_id = last.history_id;
        }
    }
}
