//! `coupon.v1.CouponService`.

use std::collections::BTreeSet;
use std::sync::Arc;

use coupon_cluster::{CampaignId, ShardId};
use coupon_proto::internal::{ListCouponsQuery, ReadResponse, command, outcome, read_request};
use coupon_proto::v1::coupon_service_server::CouponService;
use coupon_proto::v1::{
    BatchIssueCouponsRequest, BatchIssueCouponsResponse, BatchIssueCouponsResult, Coupon,
    IssueCouponRequest, IssueCouponResponse, ListCouponsRequest, ListCouponsResponse,
    StreamCouponsRequest, batch_issue_coupons_result,
};
use futures::future::join_all;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tonic::{Request, Response, Status};

use super::deadline;
use super::export::{EXPORTS_MAX, Export, Parts};
use super::listing::{self, Listing};
use crate::admission::Places;
use crate::backend::Backend;
use crate::convert;
use crate::error::Fault;
use crate::page::Cursor;
use crate::retry::Unanswered;
use crate::topology::Topology;
use crate::validate;

const PAGE_DEFAULT: u32 = 100;

/// Issues coupons and shows them.
#[derive(Debug)]
pub(crate) struct Coupons {
    backend: Arc<Backend>,
    places: Places,
    exports: Arc<Semaphore>,
}

impl Coupons {
    /// The service in front of a backend. Batches need more of the places than the one they come with.
    pub(crate) fn new(backend: Arc<Backend>, places: Places) -> Self {
        Self { backend, places, exports: Arc::new(Semaphore::new(EXPORTS_MAX)) }
    }

    async fn issue(
        &self,
        request: IssueCouponRequest,
        deadline: Instant,
    ) -> Result<IssueCouponResponse, Fault> {
        let validate::Issue { campaign, identity, command } = validate::issue(request)?;
        let command = command::Command::Issue(command);
        let (outcome, topology) = self.backend.propose(&campaign, command, deadline).await?;
        match outcome.outcome {
            Some(outcome::Outcome::CouponIssued(issued)) => {
                // The coupon exists; only asking again, by a newer map, could show it.
                let unknown = Fault::Unanswered(Unanswered::OutcomeUnknown);
                let once = std::iter::once(&issued);
                let topology = self.backend.with_keys(topology, once, deadline).await;
                let topology = topology.ok_or(unknown)?;
                let replayed = issued.replayed;
                // Log time is its issuance, unless that was long ago.
                let issue_micros = issued.coupon.as_ref().map_or(0, |coupon| coupon.issue_micros);
                let now = if replayed { self.backend.clock().micros() } else { issue_micros };
                let coupon = convert::coupon(campaign.to_string(), issued, &topology, now)?;
                let replayed = replayed && !identity.generated;
                Ok(IssueCouponResponse { coupon: Some(coupon), replayed })
            }
            Some(outcome::Outcome::Refusal(refusal)) => {
                let held = refusal.held.iter();
                let keyed = self.backend.with_keys(Arc::clone(&topology), held, deadline).await;
                Err(Fault::refused(refusal, &keyed.unwrap_or(topology)))
            }
            Some(outcome::Outcome::CampaignCreated(_)) | None => {
                Err(Fault::Internal("a shard answered another question"))
            }
        }
    }

    async fn issue_batch(
        &self,
        request: BatchIssueCouponsRequest,
        deadline: Instant,
    ) -> Result<BatchIssueCouponsResponse, Fault> {
        validate::batch(&request)?;
        let _places = self.places.for_batch(request.requests.len())?;
        let results = request.requests.into_iter().map(|request| async {
            let result = match self.issue(request, deadline).await {
                Ok(response) => batch_issue_coupons_result::Result::Response(response),
                Err(fault) => batch_issue_coupons_result::Result::Error(fault.into_pb()),
            };
            BatchIssueCouponsResult { result: Some(result) }
        });
        Ok(BatchIssueCouponsResponse { results: join_all(results).await })
    }

    async fn list(
        &self,
        request: ListCouponsRequest,
        deadline: Instant,
    ) -> Result<ListCouponsResponse, Fault> {
        let token = request.page_token.clone();
        let validate::CouponListing { campaign, recipient, limit } =
            validate::coupon_listing(request, PAGE_DEFAULT)?;
        let found = Found { campaign, recipient };
        let page = listing::page(&found, &self.backend, &token, limit, deadline).await?;
        let (coupons, next_page_token) = page;
        Ok(ListCouponsResponse { coupons, next_page_token })
    }

    async fn export(
        &self,
        request: StreamCouponsRequest,
        deadline: Instant,
    ) -> Result<Parts, Fault> {
        let campaign = validate::campaign_id(&request.campaign_id)?;
        let permit = Arc::clone(&self.exports).try_acquire_owned();
        let permit = permit.map_err(|_| Fault::Overloaded)?;
        let (stream, topology) = self.backend.stream_coupons(&campaign, deadline).await?;
        let export = Export::begin(Arc::clone(&self.backend), topology, campaign, stream)?;
        Ok(export.send(permit))
    }
}

#[tonic::async_trait]
impl CouponService for Coupons {
    async fn issue_coupon(
        &self,
        request: Request<IssueCouponRequest>,
    ) -> Result<Response<IssueCouponResponse>, Status> {
        let deadline = deadline(&request);
        let issued = self.issue(request.into_inner(), deadline).await;
        issued.map(Response::new).map_err(Fault::into_status)
    }

    async fn batch_issue_coupons(
        &self,
        request: Request<BatchIssueCouponsRequest>,
    ) -> Result<Response<BatchIssueCouponsResponse>, Status> {
        let deadline = deadline(&request);
        let issued = self.issue_batch(request.into_inner(), deadline).await;
        issued.map(Response::new).map_err(Fault::into_status)
    }

    async fn list_coupons(
        &self,
        request: Request<ListCouponsRequest>,
    ) -> Result<Response<ListCouponsResponse>, Status> {
        let deadline = deadline(&request);
        let page = self.list(request.into_inner(), deadline).await;
        page.map(Response::new).map_err(Fault::into_status)
    }

    type StreamCouponsStream = Parts;

    async fn stream_coupons(
        &self,
        request: Request<StreamCouponsRequest>,
    ) -> Result<Response<Parts>, Status> {
        let deadline = deadline(&request);
        let parts = self.export(request.into_inner(), deadline).await;
        parts.map(Response::new).map_err(Fault::into_status)
    }
}

/// The coupons of a campaign, of a recipient, or both.
struct Found {
    campaign: Option<CampaignId>,
    recipient: String,
}

impl Listing for Found {
    type Item = Coupon;

    fn question(&self) -> Vec<&str> {
        let campaign = self.campaign.as_ref().map_or("", CampaignId::as_str);
        vec!["coupons", campaign, &self.recipient]
    }

    fn shards(&self, topology: &Topology) -> BTreeSet<ShardId> {
        match &self.campaign {
            Some(campaign) => BTreeSet::from([topology.owner(campaign)]),
            None => topology.ring_shards().clone(),
        }
    }

    fn query(&self, cursor: &Cursor, limit: u32) -> read_request::Query {
        read_request::Query::ListCoupons(ListCouponsQuery {
            campaign_id: self.campaign.as_ref().map(CampaignId::to_string).unwrap_or_default(),
            recipient: self.recipient.clone(),
            after_campaign_id: cursor.after_campaign_id.clone(),
            after_sequence: cursor.after_sequence,
            limit,
        })
    }

    fn take(
        &self,
        response: ReadResponse,
        cursor: &mut Cursor,
        topology: &Topology,
    ) -> Result<Vec<Coupon>, Fault> {
        if let Some(last) = response.coupons.last() {
            cursor.after_campaign_id.clone_from(&last.campaign_id);
            cursor.after_sequence = last.coupon.as_ref().map_or(0, |coupon| coupon.sequence);
        }
        if !response.searched_campaign_id.is_empty() {
            cursor.after_campaign_id.clone_from(&response.searched_campaign_id);
            cursor.after_sequence = u64::MAX;
        }
        let now = response.log_time_micros;
        let coupons = response.coupons.into_iter();
        let shown = coupons.map(|found| {
            convert::coupon(found.campaign_id, found.coupon.unwrap_or_default(), topology, now)
        });
        shown.collect()
    }
}
