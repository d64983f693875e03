//! Whole calls: from the first attempt to an answer, or to the end of the time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use coupon_proto::v1;
use coupon_proto::v1::campaign_service_client::CampaignServiceClient;
use coupon_proto::v1::coupon_service_client::CouponServiceClient;
use futures::future::select_ok;
use rand::seq::SliceRandom as _;
use tokio::time::{Instant, sleep, timeout};
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use crate::call_error::CallError;
use crate::call_state::{CallState, Step};
use crate::channels::Channels;
use crate::endpoint::{AddressError, router_endpoint};
use crate::retry::{Backoff, RetryPolicy};

/// Why a client could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// No router was named.
    #[error("no router is named: name at least one")]
    NoRouter,
    /// A router's address is not `host:port`.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// No router could be connected to.
    #[error("connect to {router}")]
    Connect {
        /// The last router that was tried.
        router: String,
        /// Why it failed.
        source: tonic::transport::Error,
    },
}

/// A client of one or several routers of a cluster. A cheap clone; clones share their connections.
///
/// Calls go to one router for as long as it answers, and then to the next.
#[derive(Clone, Debug)]
pub struct Client {
    channels: Channels,
    /// The number of the connection that answered last.
    preferred: Arc<AtomicUsize>,
    policy: RetryPolicy,
}

/// A new request id: a random UUID.
#[must_use]
pub fn new_request_id() -> String {
    Uuid::new_v4().to_string()
}

impl Client {
    /// Connects to routers, each named as `host:port` or `http://host:port`. Returns as soon as one is
    /// connected; the others are connected to when their turn comes.
    ///
    /// # Errors
    /// [`ConnectError`] when a router is not named like that, or none can be reached.
    pub async fn connect(
        routers: impl IntoIterator<Item = impl AsRef<str>>,
        policy: RetryPolicy,
    ) -> Result<Self, ConnectError> {
        let mut endpoints: Vec<(String, Endpoint)> = Vec::new();
        for router in routers {
            let router = router.as_ref();
            endpoints.push((router.to_owned(), router_endpoint(router)?));
        }
        if endpoints.is_empty() {
            return Err(ConnectError::NoRouter);
        }
        // Clients begin with different routers, so that these share the load.
        endpoints.shuffle(&mut rand::rng());
        let connecting = endpoints.iter().enumerate().map(|(number, (router, endpoint))| {
            Box::pin(async move {
                let connected = endpoint.connect().await.map(|channel| (number, channel));
                let router = router.clone();
                connected.map_err(|source| ConnectError::Connect { router, source })
            })
        });
        let ((first, connected), _) = select_ok(connecting).await?;
        let channels = endpoints.iter().enumerate().map(|(number, (_, endpoint))| {
            if number == first { connected.clone() } else { endpoint.connect_lazy() }
        });
        Ok(Self::from_channels(Channels::new(channels.collect()).starting_at(first), policy))
    }

    /// A client over connections that exist.
    #[must_use]
    pub fn from_channels(channels: Channels, policy: RetryPolicy) -> Self {
        let preferred = Arc::new(AtomicUsize::new(channels.turn()));
        Self { channels, preferred, policy }
    }

    /// The same client with another limit for each call, attempts and pauses included.
    #[must_use]
    pub fn giving_up_after(&self, give_up_after: Duration) -> Self {
        Self { policy: RetryPolicy { give_up_after, ..self.policy }, ..self.clone() }
    }

    /// Issues a coupon. An empty request id is replaced by a new one.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn issue_coupon(
        &self,
        mut request: v1::IssueCouponRequest,
    ) -> Result<v1::IssueCouponResponse, CallError> {
        let state = CallState::new(Some(fill_in(&mut request.request_id)));
        self.call(state, request, |channel, request| async move {
            CouponServiceClient::new(channel).issue_coupon(request).await
        })
        .await
    }

    /// Creates a campaign. An empty request id is replaced by a new one.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn create_campaign(
        &self,
        mut request: v1::CreateCampaignRequest,
    ) -> Result<v1::CreateCampaignResponse, CallError> {
        let state = CallState::new(Some(fill_in(&mut request.request_id)));
        self.call(state, request, |channel, request| async move {
            CampaignServiceClient::new(channel).create_campaign(request).await
        })
        .await
    }

    /// Pauses a campaign. An empty request id is replaced by a new one.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn pause_campaign(
        &self,
        mut request: v1::PauseCampaignRequest,
    ) -> Result<v1::PauseCampaignResponse, CallError> {
        let state = CallState::new(Some(fill_in(&mut request.request_id)));
        self.call(state, request, |channel, request| async move {
            CampaignServiceClient::new(channel).pause_campaign(request).await
        })
        .await
    }

    /// Resumes a campaign. An empty request id is replaced by a new one.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn resume_campaign(
        &self,
        mut request: v1::ResumeCampaignRequest,
    ) -> Result<v1::ResumeCampaignResponse, CallError> {
        let state = CallState::new(Some(fill_in(&mut request.request_id)));
        self.call(state, request, |channel, request| async move {
            CampaignServiceClient::new(channel).resume_campaign(request).await
        })
        .await
    }

    /// Changes fields of a campaign. An empty request id is replaced by a new one.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn update_campaign(
        &self,
        mut request: v1::UpdateCampaignRequest,
    ) -> Result<v1::UpdateCampaignResponse, CallError> {
        let state = CallState::new(Some(fill_in(&mut request.request_id)));
        self.call(state, request, |channel, request| async move {
            CampaignServiceClient::new(channel).update_campaign(request).await
        })
        .await
    }

    /// Ends a campaign. An empty request id is replaced by a new one.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn end_campaign(
        &self,
        mut request: v1::EndCampaignRequest,
    ) -> Result<v1::EndCampaignResponse, CallError> {
        let state = CallState::new(Some(fill_in(&mut request.request_id)));
        self.call(state, request, |channel, request| async move {
            CampaignServiceClient::new(channel).end_campaign(request).await
        })
        .await
    }

    /// Archives a campaign that has ended. An empty request id is replaced by a new one.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn archive_campaign(
        &self,
        mut request: v1::ArchiveCampaignRequest,
    ) -> Result<v1::ArchiveCampaignResponse, CallError> {
        let state = CallState::new(Some(fill_in(&mut request.request_id)));
        self.call(state, request, |channel, request| async move {
            CampaignServiceClient::new(channel).archive_campaign(request).await
        })
        .await
    }

    /// Deletes an archived campaign. An empty request id is replaced by a new one.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn delete_campaign(
        &self,
        mut request: v1::DeleteCampaignRequest,
    ) -> Result<v1::DeleteCampaignResponse, CallError> {
        let state = CallState::new(Some(fill_in(&mut request.request_id)));
        self.call(state, request, |channel, request| async move {
            CampaignServiceClient::new(channel).delete_campaign(request).await
        })
        .await
    }

    /// Reads a campaign with its counters.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn get_campaign(
        &self,
        request: v1::GetCampaignRequest,
    ) -> Result<v1::GetCampaignResponse, CallError> {
        self.call(CallState::new(None), request, |channel, request| async move {
            CampaignServiceClient::new(channel).get_campaign(request).await
        })
        .await
    }

    /// Reads a page of the campaigns of all shards.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn list_campaigns(
        &self,
        request: v1::ListCampaignsRequest,
    ) -> Result<v1::ListCampaignsResponse, CallError> {
        self.call(CallState::new(None), request, |channel, request| async move {
            CampaignServiceClient::new(channel).list_campaigns(request).await
        })
        .await
    }

    /// Reads a page of the coupons of a campaign, of a recipient, or both.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn list_coupons(
        &self,
        request: v1::ListCouponsRequest,
    ) -> Result<v1::ListCouponsResponse, CallError> {
        self.call(CallState::new(None), request, |channel, request| async move {
            CouponServiceClient::new(channel).list_coupons(request).await
        })
        .await
    }

    pub(crate) async fn call<Q: Clone, A, F>(
        &self,
        state: CallState,
        message: Q,
        mut attempt: impl FnMut(Channel, Request<Q>) -> F,
    ) -> Result<A, CallError>
    where
        F: Future<Output = Result<Response<A>, Status>>,
    {
        let answer = self.repeat(state, |channel, timeout| {
            let mut request = Request::new(message.clone());
            request.set_timeout(timeout);
            attempt(channel, request)
        });
        Ok(answer.await?.into_inner())
    }

    /// Repeats a call over one connection after the other until it is answered for good or its time is
    /// over.
    async fn repeat<T, F>(
        &self,
        mut state: CallState,
        mut attempt: impl FnMut(Channel, Duration) -> F,
    ) -> Result<T, CallError>
    where
        F: Future<Output = Result<T, Status>>,
    {
        let mut course = self.begin();
        loop {
            let status = match course.in_time(&mut attempt).await {
                Ok(answer) => {
                    self.prefer(&course);
                    return Ok(answer);
                }
                Err(status) => status,
            };
            let error = match state.take(status.into()) {
                Step::Done(error) => {
                    self.prefer(&course);
                    return Err(error);
                }
                Step::Again(error) => error,
            };
            if !course.pause(error.retry_after()).await {
                return Err(state.give_up(error));
            }
        }
    }

    /// The timeout of one attempt.
    pub(crate) fn attempt_timeout(&self) -> Duration {
        self.policy.attempt_timeout
    }

    /// The course of a call that begins now.
    pub(crate) fn begin(&self) -> Course {
        let first = self.preferred.load(Ordering::Relaxed);
        Course {
            channels: self.channels.starting_at(first),
            policy: self.policy,
            backoff: Backoff::new(self.policy),
            began: Instant::now(),
        }
    }

    /// Notes that the connection whose turn it is has answered.
    pub(crate) fn prefer(&self, course: &Course) {
        self.preferred.store(course.channels.turn(), Ordering::Relaxed);
    }
}

/// The course of one call: its connections, its time and its pauses.
#[derive(Debug)]
pub(crate) struct Course {
    pub(crate) channels: Channels,
    policy: RetryPolicy,
    backoff: Backoff,
    began: Instant,
}

impl Course {
    fn left(&self) -> Duration {
        self.policy.give_up_after.saturating_sub(self.began.elapsed())
    }

    /// Makes an attempt over the connection whose turn it is, within its timeout, which includes connecting and
    /// waiting for the connection.
    pub(crate) async fn in_time<T, F>(
        &self,
        attempt: impl FnOnce(Channel, Duration) -> F,
    ) -> Result<T, Status>
    where
        F: Future<Output = Result<T, Status>>,
    {
        let left = self.policy.timeout(self.left());
        let late = |_| Status::deadline_exceeded("no answer in time");
        timeout(left, attempt(self.channels.current(), left)).await.map_err(late)?
    }

    /// Waits before another attempt, which goes over the next connection. Returns false if there is no time
    /// for one.
    pub(crate) async fn pause(&mut self, retry_after: Option<Duration>) -> bool {
        let pause = self.backoff.pause(retry_after, rand::random());
        if !self.policy.has_time(self.left(), pause) {
            return false;
        }
        sleep(pause).await;
        self.channels.advance();
        true
    }
}

/// Fills in a request id where there is none, and returns the id.
pub(crate) fn fill_in(id: &mut String) -> String {
    if id.is_empty() {
        *id = new_request_id();
    }
    id.clone()
}
