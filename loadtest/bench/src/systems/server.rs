//! What the peers share: how they listen and serve, and that they end with the benchmark.

use anyhow::Context as _;
use coupon_proto::v1;
use coupon_proto::v1::coupon_service_server::{CouponService, CouponServiceServer};
use futures::stream::Empty;
use rustix::process::{Signal, set_parent_process_death_signal};
use tokio::net::TcpListener;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status, Streaming};

/// As in the router's server, so that the peers' HTTP/2 is the same.
const STREAMS_PER_CONNECTION_MAX: u32 = 4_096;

/// As in the router's server.
const STREAM_WINDOW_BYTES: u32 = 4 << 20;

/// As in the router's server.
const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;

/// What a peer does with IssueCoupon, the one call that it serves.
pub(super) trait Issue: Send + Sync + 'static {
    /// Answers a request.
    ///
    /// # Errors
    /// The status to answer instead.
    fn issue(
        &self,
        request: v1::IssueCouponRequest,
    ) -> impl Future<Output = Result<Response<v1::IssueCouponResponse>, Status>> + Send;
}

/// Serves with the settings of a router until the process is killed.
pub(super) async fn serve(peer: impl Issue) -> anyhow::Result<()> {
    let incoming = listen().await?;
    let service = CouponServiceServer::new(Peer(peer));
    server().add_service(service).serve_with_incoming(incoming).await.context("serve")
}

fn server() -> Server {
    Server::builder()
        .tcp_nodelay(true)
        .max_concurrent_streams(STREAMS_PER_CONNECTION_MAX)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
}

/// Listens on a free port and says on which, as routers do. From here on the process ends when the
/// benchmark does, however that ends.
async fn listen() -> anyhow::Result<TcpIncoming> {
    set_parent_process_death_signal(Some(Signal::KILL)).context("tie the process to its parent")?;
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.context("listen")?;
    println!("peer listens on {}", listener.local_addr()?);
    Ok(TcpIncoming::from(listener).with_nodelay(Some(true)))
}

/// The service of a peer.
struct Peer<I>(I);

#[tonic::async_trait]
impl<I: Issue> CouponService for Peer<I> {
    type StreamCouponsStream = Empty<Result<v1::StreamCouponsResponse, Status>>;
    type IssueStreamStream = Empty<Result<v1::IssueStreamResponse, Status>>;

    async fn issue_stream(
        &self,
        _request: Request<Streaming<v1::IssueStreamRequest>>,
    ) -> Result<Response<Self::IssueStreamStream>, Status> {
        Err(not_served())
    }

    async fn issue_coupon(
        &self,
        request: Request<v1::IssueCouponRequest>,
    ) -> Result<Response<v1::IssueCouponResponse>, Status> {
        self.0.issue(request.into_inner()).await
    }

    async fn batch_issue_coupons(
        &self,
        _request: Request<v1::BatchIssueCouponsRequest>,
    ) -> Result<Response<v1::BatchIssueCouponsResponse>, Status> {
        Err(not_served())
    }

    async fn redeem_coupon(
        &self,
        _request: Request<v1::RedeemCouponRequest>,
    ) -> Result<Response<v1::RedeemCouponResponse>, Status> {
        Err(not_served())
    }

    async fn reverse_redemption(
        &self,
        _request: Request<v1::ReverseRedemptionRequest>,
    ) -> Result<Response<v1::ReverseRedemptionResponse>, Status> {
        Err(not_served())
    }

    async fn hold_coupon(
        &self,
        _request: Request<v1::HoldCouponRequest>,
    ) -> Result<Response<v1::HoldCouponResponse>, Status> {
        Err(not_served())
    }

    async fn confirm_hold(
        &self,
        _request: Request<v1::ConfirmHoldRequest>,
    ) -> Result<Response<v1::ConfirmHoldResponse>, Status> {
        Err(not_served())
    }

    async fn release_hold(
        &self,
        _request: Request<v1::ReleaseHoldRequest>,
    ) -> Result<Response<v1::ReleaseHoldResponse>, Status> {
        Err(not_served())
    }

    async fn void_coupon(
        &self,
        _request: Request<v1::VoidCouponRequest>,
    ) -> Result<Response<v1::VoidCouponResponse>, Status> {
        Err(not_served())
    }

    async fn validate_coupon(
        &self,
        _request: Request<v1::ValidateCouponRequest>,
    ) -> Result<Response<v1::ValidateCouponResponse>, Status> {
        Err(not_served())
    }

    async fn get_coupon(
        &self,
        _request: Request<v1::GetCouponRequest>,
    ) -> Result<Response<v1::GetCouponResponse>, Status> {
        Err(not_served())
    }

    async fn lookup_coupon(
        &self,
        _request: Request<v1::LookupCouponRequest>,
    ) -> Result<Response<v1::LookupCouponResponse>, Status> {
        Err(not_served())
    }

    async fn list_coupons(
        &self,
        _request: Request<v1::ListCouponsRequest>,
    ) -> Result<Response<v1::ListCouponsResponse>, Status> {
        Err(not_served())
    }

    async fn stream_coupons(
        &self,
        _request: Request<v1::StreamCouponsRequest>,
    ) -> Result<Response<Self::StreamCouponsStream>, Status> {
        Err(not_served())
    }
}

fn not_served() -> Status {
    Status::unimplemented("a peer serves IssueCoupon alone")
}
