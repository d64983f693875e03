//! All coupons of a campaign, read over one connection after the other.

use coupon_proto::v1;
use coupon_proto::v1::coupon_service_client::CouponServiceClient;
use tonic::{Status, Streaming};

use crate::call_error::CallError;
use crate::call_state::{CallState, Step};
use crate::client::{Client, Course};

/// A stream of coupons at one revision. When it breaks, it is resumed.
pub struct CouponParts {
    client: Client,
    request: v1::StreamCouponsRequest,
    course: Course,
    state: CallState,
    open: Option<Streaming<v1::StreamCouponsResponse>>,
    is_complete: bool,
}

impl Client {
    /// Reads all coupons of a campaign at one revision, or those after the part whose `resume_token` the request has.
    #[must_use]
    pub fn stream_coupons(&self, request: v1::StreamCouponsRequest) -> CouponParts {
        CouponParts {
            course: self.begin(),
            client: self.clone(),
            request,
            state: CallState::new(None),
            open: None,
            is_complete: false,
        }
    }
}

impl CouponParts {
    /// The next part; `None` after the last one. Each part may take as long as a call, with all attempts.
    ///
    /// # Errors
    /// [`CallError`] when the part was not read. The parts before stay valid, and the stream can be resumed after the
    /// last one, unless the reason is [`RevisionGone`](crate::Reason::RevisionGone).
    pub async fn next(&mut self) -> Result<Option<v1::StreamCouponsResponse>, CallError> {
        while !self.is_complete {
            let status = match self.attempt().await {
                Ok(part) => {
                    self.client.prefer(&self.course);
                    self.course = self.client.begin();
                    self.state = CallState::new(None);
                    self.request.resume_token.clone_from(&part.resume_token);
                    self.is_complete = part.resume_token.is_empty();
                    return Ok(Some(part));
                }
                Err(status) => status,
            };
            let error = match self.state.take(status.into()) {
                Step::Done(error) => return Err(error),
                Step::Again(error) => error,
            };
            if !self.course.pause(error.retry_after()).await {
                return Err(self.state.give_up(error));
            }
        }
        Ok(None)
    }

    /// Reads a part of the stream that is open, or else of one that is opened where that one broke.
    async fn attempt(&mut self) -> Result<v1::StreamCouponsResponse, Status> {
        let (open, request) = (self.open.take(), self.request.clone());
        let read = self.course.in_time(|channel, _| async move {
            let mut parts = match open {
                Some(parts) => parts,
                None => {
                    CouponServiceClient::new(channel).stream_coupons(request).await?.into_inner()
                }
            };
            let part = parts.message().await?;
            let part = part.ok_or_else(|| Status::unavailable("the stream ended early"))?;
            Ok((parts, part))
        });
        let (parts, part) = read.await?;
        self.open = Some(parts);
        Ok(part)
    }
}
