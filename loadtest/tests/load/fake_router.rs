//! A router with a ledger in memory.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use coupon_loadtest::{Conditions, Judged, LoadTest, Options, Report, Scope};
use coupon_proto::v1;
use coupon_proto::v1::batch_issue_coupons_result::Result as ItemResult;
use coupon_proto::v1::campaign_service_server::{CampaignService, CampaignServiceServer};
use coupon_proto::v1::coupon_service_server::{CouponService, CouponServiceServer};
use coupon_proto::v1::issue_stream_response::Result as StreamResult;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::io::DuplexStream;
use tokio::time::Instant;
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Code, Request, Response, Status, Streaming};
use tonic_types::pb;

use crate::refusal::refusal;

/// How many bytes a connection holds.
const PIPE_BYTES: usize = 1 << 20;

/// Number of coupons in a part of a stream.
const PART_COUPONS: usize = 100;

/// What goes wrong.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Faults {
    /// How many attempts of each request are answered that nothing was done.
    pub(crate) unavailable: u32,
    /// How many attempts of each request are carried out and never answered.
    pub(crate) lost: u32,
    /// How many attempts of each request are carried out and answered that nothing was done.
    pub(crate) denied: u32,
    /// How long each call takes.
    pub(crate) takes: Duration,
    /// From when to when nothing is answered, since the router began.
    pub(crate) still: Option<(Duration, Duration)>,
    /// Coupons are issued beyond the quota.
    pub(crate) oversells: bool,
    /// Campaigns get one coupon more than was asked for.
    pub(crate) widens: bool,
    /// Coupons are issued before the start.
    pub(crate) starts_early: bool,
    /// All calls are answered with a fault.
    pub(crate) is_broken: bool,
}

/// The router.
#[derive(Clone)]
pub(crate) struct FakeRouter {
    faults: Faults,
    began: Instant,
    began_at: SystemTime,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    campaigns: BTreeMap<String, Ledger>,
    /// How often each request came.
    attempts: BTreeMap<String, u32>,
}

struct Ledger {
    campaign: v1::Campaign,
    coupons: Vec<v1::Coupon>,
    by_request: BTreeMap<String, usize>,
    by_recipient: BTreeMap<String, Vec<usize>>,
}

impl FakeRouter {
    pub(crate) fn new(faults: Faults) -> Self {
        let (began, began_at) = (Instant::now(), SystemTime::now());
        Self { faults, began, began_at, state: Arc::default() }
    }

    /// How often each request for a coupon came.
    pub(crate) fn attempts(&self) -> Vec<u32> {
        self.state.lock().attempts.values().copied().collect()
    }

    /// How many coupons were issued, in all campaigns.
    pub(crate) fn issued(&self) -> usize {
        let state = self.state.lock();
        state.campaigns.values().map(|ledger| ledger.coupons.len()).sum()
    }

    /// A connection to it.
    pub(crate) async fn connect(&self) -> Channel {
        let (client, server) = tokio::io::duplex(PIPE_BYTES);
        self.serve(client, server).await
    }

    /// A connection to it that breaks after `time`.
    pub(crate) async fn connect_for(&self, time: Duration) -> Channel {
        let (client, mut near) = tokio::io::duplex(PIPE_BYTES);
        let (mut far, server) = tokio::io::duplex(PIPE_BYTES);
        tokio::spawn(async move {
            let carried = tokio::io::copy_bidirectional(&mut near, &mut far);
            let _ = tokio::time::timeout(time, carried).await;
        });
        self.serve(client, server).await
    }

    async fn serve(&self, client: DuplexStream, server: DuplexStream) -> Channel {
        let incoming = tokio_stream::once(Ok::<_, std::io::Error>(server));
        let router = Server::builder()
            .add_service(CampaignServiceServer::new(self.clone()))
            .add_service(CouponServiceServer::new(self.clone()));
        tokio::spawn(async move {
            // The stream of connections ends; this one must not.
            let _ = router.serve_with_incoming(incoming).await;
        });
        let mut client = Some(client);
        let connector = tower::service_fn(move |_| {
            let client = client.take();
            async move { client.map(TokioIo::new).ok_or(std::io::Error::other("once")) }
        });
        Endpoint::from_static("http://fake")
            .connect_with_connector(connector)
            .await
            .expect("it listens")
    }

    /// Runs a load test to its verdict.
    pub(crate) async fn test(&self, options: Options) -> (Judged, Report) {
        self.test_until(options, std::future::pending()).await
    }

    /// Runs a load test that is told to stop.
    pub(crate) async fn test_until(
        &self,
        options: Options,
        stop: impl Future<Output = ()>,
    ) -> (Judged, Report) {
        let channels = vec![self.connect().await, self.connect().await];
        let test = LoadTest::over(channels, options).await.expect("it is reached");
        let recording = test.run(stop).await.expect("campaigns can be created");
        let judged = recording.judge(Scope::Recorded, Conditions::default()).await;
        judged.expect("campaigns can be read")
    }

    fn now(&self) -> SystemTime {
        self.began_at + self.began.elapsed()
    }

    /// Lets time pass as the faults want it.
    async fn wait(&self) {
        tokio::time::sleep(self.faults.takes).await;
        if let Some((from, to)) = self.faults.still
            && (from..to).contains(&self.began.elapsed())
        {
            tokio::time::sleep_until(self.began + to).await;
        }
    }

    async fn issue(
        &self,
        request: v1::IssueCouponRequest,
    ) -> Result<v1::IssueCouponResponse, Status> {
        if self.faults.is_broken {
            return Err(refusal(Code::Internal, "INTERNAL", &[]));
        }
        let attempt = {
            let mut state = self.state.lock();
            let attempts = state.attempts.entry(request.request_id.clone()).or_default();
            *attempts += 1;
            *attempts
        };
        if attempt <= self.faults.unavailable {
            return Err(refusal(Code::Unavailable, "NO_LEADER", &[]));
        }
        let answer = self.apply(request);
        if attempt <= self.faults.unavailable + self.faults.lost {
            std::future::pending::<()>().await;
        }
        if attempt <= self.faults.denied {
            return Err(refusal(Code::Unavailable, "NO_LEADER", &[]));
        }
        answer
    }

    fn apply(&self, request: v1::IssueCouponRequest) -> Result<v1::IssueCouponResponse, Status> {
        let (faults, now) = (self.faults, self.now());
        let mut state = self.state.lock();
        let ledger = state.campaigns.get_mut(&request.campaign_id);
        let ledger = ledger.ok_or(refusal(Code::NotFound, "CAMPAIGN_NOT_FOUND", &[]))?;
        if let Some(place) = ledger.by_request.get(&request.request_id) {
            let coupon = Some(ledger.coupons[*place].clone());
            return Ok(v1::IssueCouponResponse { coupon, replayed: true });
        }
        let held = ledger.by_recipient.entry(request.recipient.clone()).or_default();
        let limit = usize::try_from(ledger.campaign.per_recipient_limit).expect("it is in range");
        if limit > 0 && held.len() >= limit {
            let codes: Vec<&str> =
                held.iter().map(|place| ledger.coupons[*place].code.as_str()).collect();
            let codes = [("codes", codes.join(","))];
            return Err(refusal(Code::AlreadyExists, "RECIPIENT_LIMIT_REACHED", &codes));
        }
        let start = SystemTime::try_from(ledger.campaign.start_time.expect("it was set"))
            .expect("it is in range");
        if now < start && !faults.starts_early {
            let time = |time| humantime::format_rfc3339_micros(time).to_string();
            let times = [("start_time", time(start)), ("server_time", time(now))];
            return Err(refusal(Code::FailedPrecondition, "NOT_STARTED", &times));
        }
        let quota = usize::try_from(ledger.campaign.quota).expect("it is in range");
        if ledger.coupons.len() >= quota && !faults.oversells {
            return Err(refusal(Code::FailedPrecondition, "SOLD_OUT", &[]));
        }
        let sequence = i64::try_from(ledger.coupons.len() + 1).expect("it is in range");
        let coupon = v1::Coupon {
            campaign_id: request.campaign_id.clone(),
            code: format!("{}/{sequence}", request.campaign_id),
            sequence,
            recipient: request.recipient,
            state: v1::CouponState::Issued.into(),
            issue_time: Some(now.into()),
            request_id: request.request_id.clone(),
            ..v1::Coupon::default()
        };
        held.push(ledger.coupons.len());
        ledger.by_request.insert(request.request_id, ledger.coupons.len());
        ledger.coupons.push(coupon.clone());
        Ok(v1::IssueCouponResponse { coupon: Some(coupon), replayed: false })
    }
}

#[tonic::async_trait]
impl CampaignService for FakeRouter {
    async fn create_campaign(
        &self,
        request: Request<v1::CreateCampaignRequest>,
    ) -> Result<Response<v1::CreateCampaignResponse>, Status> {
        let request = request.into_inner();
        let campaign = v1::Campaign {
            campaign_id: request.campaign_id.clone(),
            quota: request.quota + i64::from(self.faults.widens),
            start_time: Some(request.start_time.unwrap_or(self.now().into())),
            per_recipient_limit: request.per_recipient_limit,
            remaining: request.quota,
            ..v1::Campaign::default()
        };
        let ledger = Ledger {
            campaign: campaign.clone(),
            coupons: Vec::new(),
            by_request: BTreeMap::new(),
            by_recipient: BTreeMap::new(),
        };
        let before = self.state.lock().campaigns.insert(request.campaign_id, ledger);
        assert!(before.is_none(), "ids of campaigns are unique");
        let campaign = Some(campaign);
        Ok(Response::new(v1::CreateCampaignResponse { campaign, replayed: false }))
    }

    async fn get_campaign(
        &self,
        request: Request<v1::GetCampaignRequest>,
    ) -> Result<Response<v1::GetCampaignResponse>, Status> {
        let state = self.state.lock();
        let ledger = state.campaigns.get(&request.get_ref().campaign_id);
        let ledger = ledger.ok_or(refusal(Code::NotFound, "CAMPAIGN_NOT_FOUND", &[]))?;
        let issued = i64::try_from(ledger.coupons.len()).expect("it is in range");
        let campaign = Some(v1::Campaign { issued, ..ledger.campaign.clone() });
        Ok(Response::new(v1::GetCampaignResponse { campaign }))
    }

    async fn list_campaigns(
        &self,
        _: Request<v1::ListCampaignsRequest>,
    ) -> Result<Response<v1::ListCampaignsResponse>, Status> {
        Err(Status::unimplemented("load tests do not ask"))
    }

    async fn pause_campaign(
        &self,
        _: Request<v1::PauseCampaignRequest>,
    ) -> Result<Response<v1::PauseCampaignResponse>, Status> {
        Err(Status::unimplemented("load tests do not ask"))
    }

    async fn resume_campaign(
        &self,
        _: Request<v1::ResumeCampaignRequest>,
    ) -> Result<Response<v1::ResumeCampaignResponse>, Status> {
        Err(Status::unimplemented("load tests do not ask"))
    }

    async fn update_campaign(
        &self,
        _: Request<v1::UpdateCampaignRequest>,
    ) -> Result<Response<v1::UpdateCampaignResponse>, Status> {
        Err(Status::unimplemented("load tests do not ask"))
    }

    async fn end_campaign(
        &self,
        _: Request<v1::EndCampaignRequest>,
    ) -> Result<Response<v1::EndCampaignResponse>, Status> {
        Err(Status::unimplemented("load tests do not ask"))
    }

    type ImportCodesStream = futures::stream::Empty<Result<v1::ImportCodesResponse, Status>>;

    async fn import_codes(
        &self,
        _: Request<Streaming<v1::ImportCodesRequest>>,
    ) -> Result<Response<Self::ImportCodesStream>, Status> {
        Err(Status::unimplemented("load tests do not ask"))
    }

    async fn archive_campaign(
        &self,
        _: Request<v1::ArchiveCampaignRequest>,
    ) -> Result<Response<v1::ArchiveCampaignResponse>, Status> {
        Err(Status::unimplemented("load tests do not ask"))
    }

    async fn delete_campaign(
        &self,
        _: Request<v1::DeleteCampaignRequest>,
    ) -> Result<Response<v1::DeleteCampaignResponse>, Status> {
        Err(Status::unimplemented("load tests do not ask"))
    }

    type WatchCampaignStream =
        Pin<Box<dyn futures::Stream<Item = Result<v1::WatchCampaignResponse, Status>> + Send>>;

    async fn watch_campaign(
        &self,
        _: Request<v1::WatchCampaignRequest>,
    ) -> Result<Response<Self::WatchCampaignStream>, Status> {
        Err(Status::unimplemented("load tests do not ask"))
    }
}

#[tonic::async_trait]
impl CouponService for FakeRouter {
    async fn issue_coupon(
        &self,
        request: Request<v1::IssueCouponRequest>,
    ) -> Result<Response<v1::IssueCouponResponse>, Status> {
        self.wait().await;
        self.issue(request.into_inner()).await.map(Response::new)
    }

    async fn batch_issue_coupons(
        &self,
        request: Request<v1::BatchIssueCouponsRequest>,
    ) -> Result<Response<v1::BatchIssueCouponsResponse>, Status> {
        self.wait().await;
        let mut results = Vec::new();
        for request in request.into_inner().requests {
            let result = match self.issue(request).await {
                Ok(response) => ItemResult::Response(response),
                Err(status) => {
                    let decoded: pb::Status =
                        prost::Message::decode(status.details()).expect("it is in range");
                    ItemResult::Error(decoded)
                }
            };
            results.push(v1::BatchIssueCouponsResult { result: Some(result) });
        }
        Ok(Response::new(v1::BatchIssueCouponsResponse { results }))
    }

    type IssueStreamStream = BoxStream<'static, Result<v1::IssueStreamResponse, Status>>;

    async fn issue_stream(
        &self,
        request: Request<Streaming<v1::IssueStreamRequest>>,
    ) -> Result<Response<Self::IssueStreamStream>, Status> {
        let router = self.clone();
        let answers = request.into_inner().map(move |request| {
            let router = router.clone();
            async move {
                let v1::IssueStreamRequest { tag, request, .. } = request?;
                router.wait().await;
                let result = match router.issue(request.unwrap_or_default()).await {
                    Ok(response) => StreamResult::Response(response),
                    Err(status) => {
                        let decoded = prost::Message::decode(status.details());
                        StreamResult::Error(decoded.expect("it is in range"))
                    }
                };
                Ok(v1::IssueStreamResponse { tag, result: Some(result) })
            }
        });
        Ok(Response::new(answers.buffer_unordered(1_024).boxed()))
    }

    async fn redeem_coupon(
        &self,
        _: Request<v1::RedeemCouponRequest>,
    ) -> Result<Response<v1::RedeemCouponResponse>, Status> {
        Err(Status::unimplemented("load tests do not ask"))
    }

    async fn reverse_redemption(
        &self,
        _: Request<v1::ReverseRedemptionRequest>,
    ) -> Result<Response<v1::ReverseRedemptionResponse>, Status> {
        Err(Status::unimplemented("load tests do not ask"))
    }

    async fn hold_coupon(
        &self,
        _: Request<v1::HoldCouponRequest>,
    ) -> Result<Response<v1::HoldCouponResponse>, Status> {
        Err(Status::unimplemented("load tests do not ask"))
    }

    async fn confirm_hold(
        &self,
        _: Request<v1::ConfirmHoldRequest>,
    ) -> Result<Response<v1::ConfirmHoldResponse>, Status> {
        Err(Status::unimplemented("load tests do not ask"))
    }

    async fn release_hold(
        &self,
        _: Request<v1::ReleaseHoldRequest>,
    ) -> Result<Response<v1::ReleaseHoldResponse>, Status> {
        Err(Status::unimplemented("load tests do not ask"))
    }

    async fn void_coupon(
        &self,
        _: Request<v1::VoidCouponRequest>,
    ) -> Result<Response<v1::VoidCouponResponse>, Status> {
        Err(Status::unimplemented("load tests do not ask"))
    }

    async fn validate_coupon(
        &self,
        _: Request<v1::ValidateCouponRequest>,
    ) -> Result<Response<v1::ValidateCouponResponse>, Status> {
        Err(Status::unimplemented("load tests do not ask"))
    }

    async fn get_coupon(
        &self,
        _: Request<v1::GetCouponRequest>,
    ) -> Result<Response<v1::GetCouponResponse>, Status> {
        Err(Status::unimplemented("load tests do not ask"))
    }

    async fn lookup_coupon(
        &self,
        _: Request<v1::LookupCouponRequest>,
    ) -> Result<Response<v1::LookupCouponResponse>, Status> {
        Err(Status::unimplemented("load tests do not ask"))
    }

    async fn list_coupons(
        &self,
        _: Request<v1::ListCouponsRequest>,
    ) -> Result<Response<v1::ListCouponsResponse>, Status> {
        Err(Status::unimplemented("load tests do not ask"))
    }

    type StreamCouponsStream =
        Pin<Box<dyn futures::Stream<Item = Result<v1::StreamCouponsResponse, Status>> + Send>>;

    async fn stream_coupons(
        &self,
        request: Request<v1::StreamCouponsRequest>,
    ) -> Result<Response<Self::StreamCouponsStream>, Status> {
        let state = self.state.lock();
        let ledger = state.campaigns.get(&request.get_ref().campaign_id);
        let ledger = ledger.ok_or(refusal(Code::NotFound, "CAMPAIGN_NOT_FOUND", &[]))?;
        let sent: usize = request.get_ref().resume_token.parse().unwrap_or(0);
        let all = ledger.coupons.len();
        let part = |first: usize| {
            let end = all.min(first + PART_COUPONS);
            Ok(v1::StreamCouponsResponse {
                coupons: ledger.coupons[first..end].to_vec(),
                revision: 1,
                resume_token: if end < all { end.to_string() } else { String::new() },
                coupon_count: i64::try_from(all).unwrap_or(i64::MAX),
            })
        };
        // There is a part without a coupon.
        let parts: Vec<_> = (sent..all.max(1)).step_by(PART_COUPONS).map(part).collect();
        Ok(Response::new(Box::pin(futures::stream::iter(parts))))
    }
}
