//! Issuing as many coupons as possible, and recording every answer.
//!
//! A closed loop: each worker sends a request, and the next one when it is answered. A request without
//! an answer is sent again with the same id, as the API asks for; one that never gets an answer is
//! recorded as unanswered, not as failed.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use coupon_checker::Coupon;
use coupon_proto::v1;
use coupon_proto::v1::campaign_service_client::CampaignServiceClient;
use coupon_proto::v1::coupon_service_client::CouponServiceClient;
use futures::future::{join_all, try_join_all};
use tonic::transport::Channel;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;
use uuid::Uuid;

use super::progress::Progress;
use crate::client;
use crate::failure::CallError;

/// How many connections the load comes over, as clients do. Each connection is one task of the
/// router, and more of them than cores gain nothing.
const CONNECTIONS: usize = 4;

/// The deadline of one attempt: as long as the router itself tries by default.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);

/// The pause before a request is sent again.
const RETRY_PAUSE: Duration = Duration::from_millis(50);

/// How often the progress is shown.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);

/// How much load.
#[derive(Clone, Copy, Debug)]
pub(super) struct LoadOptions {
    /// How many coupons a campaign has.
    pub(super) quota: u32,
    /// How many requests are under way at a time.
    pub(super) concurrency: u16,
}

/// A campaign of the load, and what was recorded about it.
#[derive(Debug)]
pub(super) struct Recorded {
    /// Its id.
    pub(super) id: String,
    /// The coupons of all answers.
    pub(super) acknowledged: Vec<Coupon>,
    /// The requests without an answer.
    pub(super) unanswered: Vec<u128>,
    /// Whether an answer said that it is sold out.
    pub(super) sold_out: bool,
}

/// All that was recorded.
#[derive(Debug)]
pub(super) struct Traffic {
    /// The campaigns, in the order in which they were created.
    pub(super) campaigns: Vec<Recorded>,
    /// How long it took.
    pub(super) elapsed: Duration,
}

impl Traffic {
    /// How many coupons were answered.
    pub(super) fn issued(&self) -> usize {
        self.campaigns.iter().map(|campaign| campaign.acknowledged.len()).sum()
    }
}

/// The load. All of it runs on one thread, so that cells are enough to share.
pub(super) struct Load {
    options: LoadOptions,
    /// What the ids of its campaigns begin with, different in every run.
    prefix: String,
    campaigns: RefCell<Vec<Recorded>>,
    creator: tokio::sync::Mutex<CampaignServiceClient<Channel>>,
    issued: Cell<u64>,
    stopping: Cell<bool>,
}

/// What came of a request.
enum Answer {
    Issued(v1::Coupon),
    SoldOut,
    None,
}

impl Load {
    /// Creates the first campaign.
    pub(super) async fn begin(
        creator: CampaignServiceClient<Channel>,
        options: LoadOptions,
    ) -> anyhow::Result<Self> {
        let run = Uuid::new_v4().simple().to_string();
        let load = Self {
            options,
            prefix: format!("demo-{}", &run[..8]),
            campaigns: RefCell::default(),
            creator: tokio::sync::Mutex::new(creator),
            issued: Cell::new(0),
            stopping: Cell::new(false),
        };
        load.next_campaign(0).await?;
        Ok(load)
    }

    /// Issues until `stop`, and waits for the requests under way.
    pub(super) async fn run(
        self,
        router: SocketAddr,
        stop: impl Future<Output = ()>,
    ) -> anyhow::Result<Traffic> {
        let address = router.to_string();
        let channels = join_all((0..CONNECTIONS).map(|_| client::connect(&address))).await;
        let channels = channels.into_iter().collect::<Result<Vec<_>, _>>()?;
        let start = Instant::now();
        let workers = channels.iter().cycle().take(self.options.concurrency.into());
        let workers = try_join_all(workers.map(|channel| self.work(channel.clone())));
        let stopped = async {
            stop.await;
            self.stopping.set(true);
            // The workers end by themselves now.
            std::future::pending::<()>().await;
        };
        let mut progress = Progress::new();
        tokio::select! {
            worked = workers => drop(worked?),
            () = stopped => {}
            () = self.show(&mut progress) => {}
        }
        progress.finish();
        Ok(Traffic { campaigns: self.campaigns.into_inner(), elapsed: start.elapsed() })
    }

    async fn show(&self, progress: &mut Progress) {
        let mut ticks = tokio::time::interval(PROGRESS_INTERVAL);
        loop {
            ticks.tick().await;
            progress.show(self.issued.get(), self.campaigns.borrow().len());
        }
    }

    async fn work(&self, channel: Channel) -> anyhow::Result<()> {
        let mut client = CouponServiceClient::new(channel);
        while !self.stopping.get() {
            let index = self.campaigns.borrow().len() - 1;
            let id = Uuid::new_v4();
            let request = v1::IssueCouponRequest {
                campaign_id: self.campaign_id(index),
                recipient: id.simple().to_string()[..12].to_owned(),
                request_id: id.to_string(),
                ..v1::IssueCouponRequest::default()
            };
            match self.issue(&mut client, request).await? {
                Answer::Issued(coupon) => {
                    self.issued.set(self.issued.get() + 1);
                    let coupon = record(coupon)?;
                    self.campaigns.borrow_mut()[index].acknowledged.push(coupon);
                }
                Answer::SoldOut => {
                    self.campaigns.borrow_mut()[index].sold_out = true;
                    self.next_campaign(index + 1).await?;
                }
                Answer::None => {
                    self.campaigns.borrow_mut()[index].unanswered.push(id.as_u128());
                }
            }
        }
        Ok(())
    }

    /// Sends a request until there is an answer or the load ends.
    async fn issue(
        &self,
        client: &mut CouponServiceClient<Channel>,
        request: v1::IssueCouponRequest,
    ) -> anyhow::Result<Answer> {
        loop {
            let attempt = client::request(request.clone(), ATTEMPT_TIMEOUT);
            match client.issue_coupon(attempt).await {
                Ok(answer) => {
                    let coupon = answer.into_inner().coupon;
                    return Ok(Answer::Issued(coupon.context("the router sent no coupon")?));
                }
                Err(status) if is_sold_out(&status) => return Ok(Answer::SoldOut),
                Err(status) if !is_temporary(status.code()) => {
                    return Err(CallError::from(status)).context("issue a coupon");
                }
                Err(_) if self.stopping.get() => return Ok(Answer::None),
                Err(_) => tokio::time::sleep(RETRY_PAUSE).await,
            }
        }
    }

    fn campaign_id(&self, index: usize) -> String {
        format!("{}-{}", self.prefix, index + 1)
    }

    /// Creates the campaign number `index`, unless another worker has done that.
    async fn next_campaign(&self, index: usize) -> anyhow::Result<()> {
        let mut creator = self.creator.lock().await;
        while self.campaigns.borrow().len() <= index {
            let id = self.campaign_id(index);
            let request = v1::CreateCampaignRequest {
                campaign_id: id.clone(),
                display_name: format!("load of the demo, number {}", index + 1),
                quota: self.options.quota.into(),
                per_recipient_limit: 1,
                request_id: Uuid::new_v4().to_string(),
                ..v1::CreateCampaignRequest::default()
            };
            create(&mut creator, request).await?;
            let (acknowledged, unanswered) = (Vec::new(), Vec::new());
            let recorded = Recorded { id, acknowledged, unanswered, sold_out: false };
            self.campaigns.borrow_mut().push(recorded);
        }
        Ok(())
    }
}

/// Creates a campaign, with as many attempts as it takes.
async fn create(
    client: &mut CampaignServiceClient<Channel>,
    request: v1::CreateCampaignRequest,
) -> anyhow::Result<()> {
    loop {
        match client.create_campaign(client::request(request.clone(), ATTEMPT_TIMEOUT)).await {
            Ok(_) => return Ok(()),
            Err(status) if is_temporary(status.code()) => tokio::time::sleep(RETRY_PAUSE).await,
            Err(status) => return Err(CallError::from(status)).context("create a campaign"),
        }
    }
}

fn is_sold_out(status: &Status) -> bool {
    status.get_details_error_info().is_some_and(|info| info.reason == "SOLD_OUT")
}

/// Whether the same request may be answered otherwise when it is sent again.
fn is_temporary(code: Code) -> bool {
    matches!(code, Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled)
}

/// A coupon as the checker knows it.
pub(super) fn record(coupon: v1::Coupon) -> anyhow::Result<Coupon> {
    let request_id = coupon.request_id.parse::<Uuid>();
    let sequence = u64::try_from(coupon.sequence);
    let (Ok(request_id), Ok(sequence)) = (request_id, sequence) else {
        return Err(anyhow!("the router sent a coupon without request id or sequence number"));
    };
    Ok(Coupon {
        sequence,
        code: coupon.code.into(),
        recipient: coupon.recipient.into(),
        request_id: request_id.as_u128(),
    })
}
