//! Many clients that issue at the same time and record every answer.
//!
//! How much they may issue is granted by the test, so that there is load exactly while it wants some.
//! Each client has a connection of its own. It sends a request again, with the same id, until there
//! is an answer, and records every attempt that failed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use coupon_checker::{Call, Campaign, Coupon, History, Operation, Outcome};
use coupon_client::CallError;
use coupon_proto::v1::coupon_service_client::CouponServiceClient;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tonic::Status;

use super::campaign::{issue, recorded, request};
use super::cluster::Cluster;
use super::wait::until;

/// The pause before a request is sent again.
const RETRY_PAUSE: Duration = Duration::from_millis(20);

/// Clients at work.
pub(crate) struct Load {
    shared: Arc<Shared>,
    clients: JoinSet<Answers>,
}

struct Shared {
    campaign_id: String,
    /// When the recording began.
    began: Instant,
    /// One permit for each coupon that may be asked for.
    grants: Semaphore,
    /// Makes the recipients of this load its own.
    name: String,
    /// How many clients' requests were begun; makes recipients.
    begun: AtomicU64,
    acknowledged: AtomicU64,
}

/// What was recorded.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    /// The coupons of all answers.
    pub(crate) acknowledged: Vec<Coupon>,
    /// The calls that got them.
    operations: Vec<Operation>,
    /// The attempts that failed.
    pub(crate) failures: Vec<Failure>,
}

/// An attempt that failed.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    /// When it was sent.
    pub(crate) sent: Instant,
    /// When it had failed.
    pub(crate) failed: Instant,
    /// How.
    pub(crate) status: Status,
}

impl Load {
    /// Starts clients, which wait until something is granted.
    pub(crate) fn start(cluster: &Cluster, campaign_id: &str, clients: usize) -> Self {
        let shared = Arc::new(Shared {
            campaign_id: campaign_id.to_owned(),
            began: Instant::now(),
            grants: Semaphore::new(0),
            name: uuid::Uuid::new_v4().simple().to_string(),
            begun: AtomicU64::new(0),
            acknowledged: AtomicU64::new(0),
        });
        let mut tasks = JoinSet::new();
        for _ in 0..clients {
            tasks.spawn(Arc::clone(&shared).run(CouponServiceClient::new(cluster.connect())));
        }
        Self { shared, clients: tasks }
    }

    /// Lets the clients ask for so many more coupons, each for a recipient that has none.
    pub(crate) fn grant(&self, coupons: usize) {
        self.shared.grants.add_permits(coupons);
    }

    /// Nanoseconds since the recording began.
    pub(crate) fn now(&self) -> u64 {
        self.shared.now()
    }

    /// How many coupons were answered.
    pub(crate) fn acknowledged(&self) -> u64 {
        self.shared.acknowledged.load(Ordering::SeqCst)
    }

    /// Waits until so many more coupons are answered than now.
    pub(crate) async fn progress(&self, coupons: u64) {
        let goal = self.acknowledged() + coupons;
        until("coupons to be issued", async || (self.acknowledged() >= goal).then_some(())).await;
    }

    /// Waits until all that was granted is answered.
    pub(crate) async fn finish(mut self) -> Answers {
        until("all that was granted to be asked for", async || {
            (self.shared.grants.available_permits() == 0).then_some(())
        })
        .await;
        self.end().await
    }

    /// Takes back what is granted and not asked for yet, and waits for the rest.
    pub(crate) async fn stop(mut self) -> Answers {
        self.end().await
    }

    async fn end(&mut self) -> Answers {
        self.shared.grants.close();
        let mut all = Answers::default();
        while let Some(answers) = self.clients.join_next().await {
            let answers = answers.expect("a client met an answer that it should not get");
            all.acknowledged.extend(answers.acknowledged);
            all.operations.extend(answers.operations);
            all.failures.extend(answers.failures);
        }
        all
    }
}

impl Shared {
    async fn run(
        self: Arc<Self>,
        mut client: CouponServiceClient<tonic::transport::Channel>,
    ) -> Answers {
        let mut answers = Answers::default();
        while let Ok(permit) = self.grants.acquire().await {
            permit.forget();
            let number = self.begun.fetch_add(1, Ordering::SeqCst);
            let recipient = format!("recipient-{}-{number}", self.name);
            let request = request(&self.campaign_id, &recipient);
            let invoked = self.now();
            loop {
                let sent = Instant::now();
                match issue(&mut client, request.clone()).await {
                    Ok(answer) => {
                        let coupon = recorded(answer.coupon.expect("an answer has a coupon"));
                        let returned = self.now();
                        let operation = operation(&coupon, answer.replayed, [invoked, returned]);
                        answers.operations.push(operation);
                        answers.acknowledged.push(coupon);
                        self.acknowledged.fetch_add(1, Ordering::SeqCst);
                        break;
                    }
                    Err(status) => {
                        let failure = Failure { sent, failed: Instant::now(), status };
                        assert!(failure.is_retryable(), "{failure:?}");
                        answers.failures.push(failure);
                        tokio::time::sleep(RETRY_PAUSE).await;
                    }
                }
            }
        }
        answers
    }

    /// Nanoseconds since the recording began.
    fn now(&self) -> u64 {
        self.began.elapsed().as_nanos().try_into().expect("a test does not take centuries")
    }
}

/// A call that got a coupon.
fn operation(coupon: &Coupon, replayed: bool, [invoked, returned]: [u64; 2]) -> Operation {
    let (request_id, recipient) = (coupon.request_id, coupon.recipient.clone());
    let (sequence, code) = (coupon.sequence, coupon.code.clone());
    Operation {
        invoked,
        returned,
        call: Call::Issue { request_id, recipient },
        outcome: Outcome::Issued { sequence, code, replayed },
    }
}

impl Failure {
    /// Whether the same request is to be sent again.
    fn is_retryable(&self) -> bool {
        CallError::from(self.status.clone()).meaning().is_retryable()
    }

    /// Whether a fault that began at `fault` explains it: the attempt was under way then, or was
    /// sent not later than `within` afterwards.
    pub(crate) fn is_explained_by(&self, fault: Instant, within: Duration) -> bool {
        self.failed >= fault && self.sent <= fault + within
    }
}

impl Answers {
    /// Adds what was recorded to a campaign that was read back.
    pub(crate) fn with(&self, read_back: Campaign) -> History {
        // Every request was repeated until it was answered.
        let operations = self.operations.clone();
        let campaign = Campaign { operations, is_complete: true, ..read_back };
        History { campaigns: vec![campaign], ..History::default() }
    }
}
