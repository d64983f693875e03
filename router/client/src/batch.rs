//! Batches: requests that were answered for good are not sent again with the rest.

use coupon_proto::v1;
use coupon_proto::v1::batch_issue_coupons_result::Result as ItemResult;
use coupon_proto::v1::coupon_service_client::CouponServiceClient;
use tonic::{Request, Response, Status};

use crate::call_error::CallError;
use crate::call_state::{CallState, Step};
use crate::client::{Client, fill_in};

/// What a request of a batch was answered.
pub type ItemAnswer = Result<v1::IssueCouponResponse, CallError>;

/// A request of a batch that has no final answer yet.
struct Open {
    /// Its place in the batch.
    place: usize,
    request: v1::IssueCouponRequest,
    state: CallState,
}

impl Client {
    /// Issues up to 1,000 coupons, each by itself, and returns an answer for each request in the order of
    /// the requests. Empty request ids are replaced by new ones.
    pub async fn batch_issue_coupons(
        &self,
        requests: Vec<v1::IssueCouponRequest>,
    ) -> Vec<ItemAnswer> {
        let mut answers: Vec<Option<ItemAnswer>> = requests.iter().map(|_| None).collect();
        let numbered = requests.into_iter().enumerate();
        let mut open: Vec<Open> = numbered
            .map(|(place, mut request)| {
                let state = CallState::new(Some(fill_in(&mut request.request_id)));
                Open { place, request, state }
            })
            .collect();
        let mut course = self.begin();
        while !open.is_empty() {
            let requests = open.iter().map(|one| one.request.clone()).collect();
            let mut request = Request::new(v1::BatchIssueCouponsRequest { requests });
            let answer = course.in_time(|channel, left| async move {
                request.set_timeout(left);
                CouponServiceClient::new(channel).batch_issue_coupons(request).await
            });
            let answer = answer.await.map(Response::into_inner);
            if answer.is_ok() {
                self.prefer(&course);
            }
            let mut items = item_answers(answer);
            let mut again: Vec<(Open, CallError)> = Vec::new();
            for mut one in open.drain(..) {
                let answer = match items.next().expect("there is no end of them") {
                    Ok(response) => Ok(response),
                    Err(error) => match one.state.take(error) {
                        Step::Done(error) => Err(error),
                        Step::Again(error) => {
                            again.push((one, error));
                            continue;
                        }
                    },
                };
                answers[one.place] = Some(answer);
            }
            let retry_after = again.iter().filter_map(|(_, error)| error.retry_after()).max();
            if !again.is_empty() && !course.pause(retry_after).await {
                for (one, error) in again {
                    answers[one.place] = Some(Err(one.state.give_up(error)));
                }
                break;
            }
            open.extend(again.into_iter().map(|(one, _)| one));
        }
        let answers = answers.into_iter();
        answers.map(|answer| answer.expect("each request was answered or given up")).collect()
    }
}

/// The answers to the requests of a batch, in their order and without an end: a request beyond the answer's
/// end has none.
pub fn item_answers(
    answer: Result<v1::BatchIssueCouponsResponse, Status>,
) -> impl Iterator<Item = ItemAnswer> + Send {
    let (results, rest) = match answer {
        Ok(response) => {
            (response.results, Status::unknown("the answer to the batch has no result"))
        }
        Err(status) => (Vec::new(), status),
    };
    let rest = CallError::from(rest);
    let missing = rest.clone();
    let given = results.into_iter().map(move |result| match result.result {
        Some(ItemResult::Response(response)) => Ok(response),
        Some(ItemResult::Error(status)) => Err(status.into()),
        None => Err(missing.clone()),
    });
    given.chain(std::iter::repeat_with(move || Err(rest.clone())))
}
