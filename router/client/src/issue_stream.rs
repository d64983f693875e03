//! Many issues over one stream, with what a single one has: a request id, and safe repetition.

use coupon_proto::v1;
use futures::{Stream, StreamExt as _};
use tonic::Status;

use crate::batch::ItemAnswer;
use crate::call_error::CallError;
use crate::call_state::{CallState, Step};
use crate::client::{Client, fill_in};
use crate::shared_issue_stream::SharedIssueStreams;

/// What came of one of many requests.
#[derive(Debug)]
pub struct Issued {
    /// The request, with its request id.
    pub request: v1::IssueCouponRequest,
    /// Its answer.
    pub answer: ItemAnswer,
}

impl Client {
    /// Issues a coupon for each request, and returns the answers in the order in which they come. At most `in_flight`
    /// requests are taken before some are answered. Empty request ids are replaced by new ones. When a stream breaks,
    /// what has no answer is asked again over another one, with the same request ids.
    pub fn issue_stream<S>(
        &self,
        requests: S,
        in_flight: usize,
    ) -> impl Stream<Item = Issued> + use<S>
    where
        S: Stream<Item = v1::IssueCouponRequest>,
    {
        let (client, streams) = (self.clone(), SharedIssueStreams::default());
        let issued = requests.map(move |request| {
            let (client, streams) = (client.clone(), streams.clone());
            async move { client.issue_over(&streams, request).await }
        });
        issued.buffer_unordered(in_flight)
    }

    async fn issue_over(
        &self,
        streams: &SharedIssueStreams,
        mut request: v1::IssueCouponRequest,
    ) -> Issued {
        let mut state = CallState::new(Some(fill_in(&mut request.request_id)));
        let mut course = self.begin();
        let answer = loop {
            let asked = request.clone();
            let number = course.channels.turn();
            let attempt = course.in_time(|channel, timeout| async move {
                Ok::<_, Status>(streams.over(number, channel).issue(asked, timeout).await)
            });
            let error = match attempt.await.map_err(CallError::from).flatten() {
                Ok(response) => {
                    self.prefer(&course);
                    break Ok(response);
                }
                Err(error) => error,
            };
            let error = match state.take(error) {
                Step::Done(error) => break Err(error),
                Step::Again(error) => error,
            };
            if !course.pause(error.retry_after()).await {
                break Err(state.give_up(error));
            }
        };
        Issued { request, answer }
    }
}
