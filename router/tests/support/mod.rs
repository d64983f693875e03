//! What the tests of the router share.

#![allow(dead_code, reason = "each test binary uses a part of it")]
#![allow(unreachable_pub, reason = "a module of a test binary has no public")]

pub mod events;
pub mod fake_cluster;
pub mod fake_node;
pub mod holds;
pub mod http1;
pub mod http2;
pub mod imports;
pub mod ledger;
pub mod state;

use std::time::Duration;

use bytes::BufMut as _;
use coupon_proto::v1::campaign_service_client::CampaignServiceClient;
use coupon_proto::v1::coupon_service_client::CouponServiceClient;
use coupon_proto::v1::event_service_client::EventServiceClient;
use coupon_proto::v1::{CreateCampaignRequest, IssueCouponRequest};
use coupon_router::{RouterConfig, RouterHandle, Timing};
use tonic::Status;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::{Channel, Endpoint};
use tonic_types::StatusExt as _;

use fake_cluster::FakeCluster;

/// A router in front of a fake cluster, and clients of it.
pub struct Fixture {
    pub cluster: FakeCluster,
    pub router: RouterHandle,
    pub channel: Channel,
    pub campaigns: CampaignServiceClient<Channel>,
    pub coupons: CouponServiceClient<Channel>,
    pub events: EventServiceClient<Channel>,
}

/// A configuration whose bounds are short, but long for a loopback on a busy machine.
pub fn config(cluster: &FakeCluster) -> RouterConfig {
    let step = Duration::from_millis(250);
    RouterConfig {
        listen: ([127, 0, 0, 1], 0).into(),
        nodes: vec![cluster.address(1)],
        timing: Timing { hello: step, reply: step, read_attempt: step },
        ..RouterConfig::default()
    }
}

/// A new connection to a router.
pub fn connect(router: &RouterHandle) -> Channel {
    let endpoint = Endpoint::from_shared(format!("http://{}", router.local_addr()));
    endpoint.expect("a socket address is a URI").connect_lazy()
}

/// The same, over which little may come before it is read.
pub fn connect_narrow(router: &RouterHandle) -> Channel {
    let endpoint = Endpoint::from_shared(format!("http://{}", router.local_addr()));
    let endpoint = endpoint.expect("a socket address is a URI");
    endpoint.initial_stream_window_size(16 << 10).connect_lazy()
}

impl Fixture {
    /// Three nodes, four shards.
    pub async fn start() -> Self {
        let cluster = FakeCluster::start(3, &[1, 2, 3, 4]).await;
        let config = config(&cluster);
        Self::with(cluster, config).await
    }

    pub async fn with(cluster: FakeCluster, config: RouterConfig) -> Self {
        let router = coupon_router::start(config).await.expect("the router starts");
        assert!(router.ready(Duration::from_secs(10)).await, "the map arrives");
        let channel = connect(&router);
        Self {
            cluster,
            router,
            campaigns: CampaignServiceClient::new(channel.clone()),
            coupons: CouponServiceClient::new(channel.clone()),
            events: EventServiceClient::new(channel.clone()),
            channel,
        }
    }

    /// Creates a campaign that is open.
    pub async fn create(&mut self, campaign_id: &str, quota: i64) {
        let request = CreateCampaignRequest {
            campaign_id: campaign_id.to_owned(),
            quota,
            ..Default::default()
        };
        self.campaigns.create_campaign(request).await.expect("the campaign is created");
    }
}

pub fn issue(campaign_id: &str, recipient: &str) -> IssueCouponRequest {
    IssueCouponRequest {
        campaign_id: campaign_id.to_owned(),
        recipient: recipient.to_owned(),
        ..Default::default()
    }
}

pub const REQUEST_ID: &str = "3f2a9c1e-7b54-4d0a-9e21-5c86d7f0b413";

/// The reason in the `ErrorInfo` of a status.
pub fn reason(status: &Status) -> String {
    let info = status.get_details_error_info();
    let info = info.unwrap_or_else(|| panic!("an error without ErrorInfo: {status:?}"));
    assert_eq!(info.domain, "coupon.v1");
    info.reason
}

/// Bytes out, nothing in.
pub struct Raw;

impl Codec for Raw {
    type Encode = Vec<u8>;
    type Decode = ();
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put_slice(&item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = ();
    type Error = Status;

    fn decode(&mut self, _: &mut DecodeBuf<'_>) -> Result<Option<()>, Status> {
        Ok(Some(()))
    }
}
