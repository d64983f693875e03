//! Many clients that hold, confirm, release, issue and void coupons of one small campaign at once, and what the checker
//! is to be told of it.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use coupon_checker::{Balance, Call, Campaign, Claim, Coupon, Hold, HoldEnd, Operation, Outcome};
use coupon_client::new_request_id;
use coupon_proto::v1;
use coupon_proto::v1::campaign_service_client::CampaignServiceClient;
use coupon_proto::v1::coupon_service_client::CouponServiceClient;
use futures::future::join_all;
use prost_types::{Duration, Timestamp};
use tokio::time::Instant;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};
use tonic_types::StatusExt as _;
use uuid::Uuid;

use super::campaign::{CALL_TIMEOUT, create, issue, reason, recorded, request};
use super::cluster::Cluster;
use super::wait::until;

/// How many clients race.
const CLIENTS: usize = 64;

/// How often each does something: twice each of the things that it does.
const ROUNDS: usize = 12;

/// How many coupons there are: fewer than clients.
const QUOTA: i64 = 24;

/// A race for the coupons of one campaign.
pub(crate) struct Race<'a> {
    cluster: &'a Cluster,
    campaign_id: &'static str,
    began: Instant,
    operations: Mutex<Vec<Operation>>,
    /// By their ids.
    holds: Mutex<BTreeMap<u128, Asked>>,
    reads: Mutex<Vec<Read>>,
    /// The log times that answers showed.
    times: Mutex<Vec<Shown>>,
    refused: Mutex<BTreeMap<String, u64>>,
}

/// A read of the campaign. Times are nanoseconds since the race began.
struct Read {
    invoked: u64,
    returned: u64,
    campaign: v1::Campaign,
}

/// The log time of a change, and when it was asked for and answered.
struct Shown {
    invoked: u64,
    returned: u64,
    log_time: u64,
}

/// A hold that was asked for, and how often it was said to be ended by a new request.
struct Asked {
    request: v1::HoldCouponRequest,
    confirmations: u64,
    releases: u64,
}

/// A coupon with what the checker does not know of it.
struct Found {
    row: Coupon,
    issued_at: u64,
    returned_at: Option<u64>,
}

impl<'a> Race<'a> {
    /// A race for a new campaign, with one coupon for each recipient.
    pub(crate) async fn new(cluster: &'a Cluster, campaign_id: &'static str) -> Self {
        create(cluster, campaign_id, QUOTA).await;
        Self {
            cluster,
            campaign_id,
            began: Instant::now(),
            operations: Mutex::default(),
            holds: Mutex::default(),
            reads: Mutex::default(),
            times: Mutex::default(),
            refused: Mutex::default(),
        }
    }

    /// Runs all clients, and somebody who reads the counters meanwhile; with `updates`, one more changes the quota. A
    /// read whose counters are not the quota it shows fails the test, unless the checker is to find it.
    pub(crate) async fn run(&self, updates: bool) {
        let is_over = AtomicBool::new(false);
        let clients = async {
            join_all((0..CLIENTS).map(|number| self.client(number))).await;
            is_over.store(true, Ordering::Relaxed);
        };
        let reader = async {
            let mut client = CampaignServiceClient::new(self.cluster.connect());
            while !is_over.load(Ordering::Relaxed) {
                let invoked = self.nanos();
                let campaign = self.read(&mut client).await;
                if updates {
                    assert_eq!(sum(&campaign), i128::from(campaign.quota), "{campaign:?}");
                } else {
                    let read = Read { invoked, returned: self.nanos(), campaign };
                    self.reads.lock().expect("no test panics with it").push(read);
                }
            }
        };
        let updater = async {
            let mut client = CampaignServiceClient::new(self.cluster.connect());
            let mut quota = QUOTA;
            while updates && !is_over.load(Ordering::Relaxed) {
                quota = if quota > QUOTA / 2 { quota - 5 } else { QUOTA };
                self.update(&mut client, quota).await;
            }
        };
        tokio::join!(clients, reader, updater);
    }

    /// How often something was refused, by the reason.
    pub(crate) fn refused(&self, reason: &str) -> u64 {
        let refused = self.refused.lock().expect("no test panics with it");
        refused.get(reason).copied().unwrap_or(0)
    }

    /// The campaign as it is now.
    pub(crate) async fn now(&self) -> v1::Campaign {
        self.read(&mut CampaignServiceClient::new(self.cluster.connect())).await
    }

    /// What happened, for the checker.
    pub(crate) async fn recorded(self) -> Campaign {
        let mut client = CouponServiceClient::new(self.cluster.connect());
        let found = self.found().await;
        let by_id: BTreeMap<u128, &Found> =
            found.iter().map(|found| (found.row.request_id, found)).collect();
        let mut holds = Vec::new();
        let asked = self.holds.into_inner().expect("no test panics with it");
        for (id, Asked { request, confirmations, releases }) in &asked {
            let held = client.hold_coupon(request.clone()).await.expect("it is remembered");
            let hold = held.into_inner().hold.expect("an answer has a hold");
            let until = by_id.get(id).and_then(|found| found.returned_at);
            holds.push(Hold {
                id: *id,
                recipient: hold.recipient.as_str().into(),
                from: micros(hold.create_time),
                expires: micros(hold.expire_time),
                end: match hold.state() {
                    v1::HoldState::Confirmed => {
                        HoldEnd::Confirmed { at: micros(hold.confirm_time), until }
                    }
                    v1::HoldState::Released => HoldEnd::Released { at: micros(hold.release_time) },
                    v1::HoldState::Unspecified | v1::HoldState::Open | v1::HoldState::Expired => {
                        HoldEnd::Expired
                    }
                },
                confirmations: *confirmations,
                releases: *releases,
            });
        }
        let without_hold = found.iter().filter(|found| !asked.contains_key(&found.row.request_id));
        let times = self.times.into_inner().expect("no test panics with it");
        let reads = self.reads.into_inner().expect("no test panics with it");
        let balances = reads.iter().map(|read| balance(read, &times)).collect();
        let claims = without_hold.map(|found| Claim {
            recipient: found.row.recipient.clone(),
            from: found.issued_at,
            until: found.returned_at,
        });
        Campaign {
            id: self.campaign_id.to_owned(),
            quota: QUOTA.unsigned_abs(),
            per_recipient_limit: 1,
            claims: claims.collect(),
            rows: found.into_iter().map(|found| found.row).collect(),
            operations: self.operations.into_inner().expect("no test panics with it"),
            holds,
            balances,
            is_complete: true,
        }
    }

    /// All coupons.
    async fn found(&self) -> Vec<Found> {
        let mut client = CouponServiceClient::new(self.cluster.connect());
        let request = v1::StreamCouponsRequest {
            campaign_id: self.campaign_id.to_owned(),
            ..Default::default()
        };
        let answer = client.stream_coupons(request).await.expect("it can be read");
        let mut stream = answer.into_inner();
        let mut found = Vec::new();
        while let Some(part) = stream.message().await.expect("it does not break") {
            found.extend(part.coupons.into_iter().map(|coupon| Found {
                issued_at: micros(coupon.issue_time),
                returned_at: coupon.quota_returned.then(|| micros(coupon.void_time)),
                row: recorded(coupon),
            }));
        }
        found
    }

    /// What one client does: all there is to do, beginning with something else than its neighbours.
    async fn client(&self, number: usize) {
        let mut client = CouponServiceClient::new(self.cluster.connect());
        for round in 0..ROUNDS {
            let recipient = format!("client-{number}-{round}");
            match (number + round) % 6 {
                0 => self.confirmed(&mut client, &recipient).await,
                1 => self.released(&mut client, &recipient).await,
                2 if round < ROUNDS / 2 => self.too_late(&mut client, &recipient).await,
                2 | 3 => drop(self.hold(&mut client, &recipient, 1).await),
                _ => self.issued_and_voided(&mut client, &recipient).await,
            }
        }
    }

    /// Holds a coupon and confirms it, again with the same request, and with another one.
    async fn confirmed(&self, client: &mut CouponServiceClient<Channel>, recipient: &str) {
        let Some(hold) = self.hold(client, recipient, 60).await else { return };
        let first = self.confirmation(&hold);
        let coupon = self.confirm(client, &hold, first.clone()).await.expect("it is open");
        let again = self.confirm(client, &hold, first).await.expect("it is answered again");
        assert_eq!(again, coupon);
        let other = self.confirm(client, &hold, self.confirmation(&hold)).await;
        assert_eq!(reason(&other.expect_err("another request")), "HOLD_CONFIRMED");
        self.void(client, &coupon.code).await;
    }

    /// Holds a coupon and releases it, again with the same request, and with another one.
    async fn released(&self, client: &mut CouponServiceClient<Channel>, recipient: &str) {
        let Some(hold) = self.hold(client, recipient, 60).await else { return };
        let release = || v1::ReleaseHoldRequest {
            campaign_id: self.campaign_id.to_owned(),
            hold_id: hold.hold_id.clone(),
            request_id: new_request_id(),
        };
        let first = release();
        for replayed in [false, true] {
            let invoked = self.nanos();
            let answer = client.release_hold(timed(first.clone())).await.expect("it is open");
            let answer = answer.into_inner();
            assert_eq!(answer.replayed, replayed);
            if !replayed {
                let released = answer.hold.expect("an answer has a hold");
                self.shown(invoked, released.release_time);
            }
            self.ended(&hold, |asked| asked.releases += u64::from(!answer.replayed));
        }
        let other = client.release_hold(timed(release())).await.expect_err("another request");
        assert_eq!(reason(&other), "HOLD_RELEASED");
        let late = self.confirm(client, &hold, self.confirmation(&hold)).await;
        assert_eq!(reason(&late.expect_err("it is released")), "HOLD_RELEASED");
    }

    /// Holds a coupon and confirms it when it has expired.
    async fn too_late(&self, client: &mut CouponServiceClient<Channel>, recipient: &str) {
        let Some(hold) = self.hold(client, recipient, 1).await else { return };
        let request = {
            let holds = self.holds.lock().expect("no test panics with it");
            holds[&uuid_of(&hold.hold_id)].request.clone()
        };
        let mut looking = client.clone();
        until("a hold to expire", async || {
            let answer = looking.hold_coupon(timed(request.clone())).await.expect("it is known");
            let hold = answer.into_inner().hold.expect("an answer has a hold");
            (hold.state() == v1::HoldState::Expired).then_some(())
        })
        .await;
        // The checker is to say what it means if this is not refused.
        let late = self.confirm(client, &hold, self.confirmation(&hold)).await;
        late.err().iter().for_each(|refused| self.note_refusal(refused));
    }

    /// Issues a coupon and voids it, so that the next one can be issued.
    async fn issued_and_voided(&self, client: &mut CouponServiceClient<Channel>, recipient: &str) {
        let asked = request(self.campaign_id, recipient);
        let (invoked, request_id) = (self.nanos(), uuid_of(&asked.request_id));
        let call = Call::Issue { request_id, recipient: recipient.into() };
        match issue(client, asked).await {
            Ok(answer) => {
                let coupon = answer.coupon.expect("an answer has a coupon");
                let code = coupon.code.clone();
                self.shown(invoked, coupon.issue_time);
                self.record(invoked, call, issued(coupon, answer.replayed));
                self.void(client, &code).await;
            }
            Err(refused) => {
                self.note_refusal(&refused);
                self.record(invoked, call, Outcome::Refused);
            }
        }
    }

    async fn hold(
        &self,
        client: &mut CouponServiceClient<Channel>,
        recipient: &str,
        seconds: i64,
    ) -> Option<v1::Hold> {
        let request = v1::HoldCouponRequest {
            campaign_id: self.campaign_id.to_owned(),
            recipient: recipient.to_owned(),
            ttl: Some(Duration { seconds, nanos: 0 }),
            request_id: new_request_id(),
        };
        let invoked = self.nanos();
        match client.hold_coupon(timed(request.clone())).await {
            Ok(answer) => {
                let id = uuid_of(&request.request_id);
                let asked = Asked { request, confirmations: 0, releases: 0 };
                self.holds.lock().expect("no test panics with it").insert(id, asked);
                let hold = answer.into_inner().hold.expect("an answer has a hold");
                self.shown(invoked, hold.create_time);
                Some(hold)
            }
            Err(refused) => {
                self.note_refusal(&refused);
                None
            }
        }
    }

    fn confirmation(&self, hold: &v1::Hold) -> v1::ConfirmHoldRequest {
        v1::ConfirmHoldRequest {
            campaign_id: self.campaign_id.to_owned(),
            hold_id: hold.hold_id.clone(),
            request_id: new_request_id(),
            metadata: BTreeMap::from([("order".to_owned(), "A-1".to_owned())]),
        }
    }

    async fn confirm(
        &self,
        client: &mut CouponServiceClient<Channel>,
        hold: &v1::Hold,
        request: v1::ConfirmHoldRequest,
    ) -> Result<v1::Coupon, Status> {
        let invoked = self.nanos();
        let answer = client.confirm_hold(timed(request)).await?.into_inner();
        let coupon = answer.coupon.expect("an answer has a coupon");
        self.ended(hold, |asked| asked.confirmations += u64::from(!answer.replayed));
        if !answer.replayed {
            self.shown(invoked, coupon.issue_time);
        }
        let (request_id, recipient) = (uuid_of(&hold.hold_id), hold.recipient.as_str().into());
        let call = Call::Issue { request_id, recipient };
        self.record(invoked, call, issued(coupon.clone(), answer.replayed));
        Ok(coupon)
    }

    async fn void(&self, client: &mut CouponServiceClient<Channel>, code: &str) {
        let (code, request_id) = (code.to_owned(), new_request_id());
        let request = v1::VoidCouponRequest {
            code: code.clone(),
            request_id,
            return_quota: true,
            ..Default::default()
        };
        let invoked = self.nanos();
        let answer = client.void_coupon(timed(request)).await.expect("it can be voided");
        let voided = answer.into_inner().coupon.expect("an answer has a coupon");
        self.shown(invoked, voided.void_time);
        self.record(invoked, Call::Void { code: code.into() }, Outcome::Done);
    }

    async fn update(&self, client: &mut CampaignServiceClient<Channel>, quota: i64) {
        let campaign_id = self.campaign_id.to_owned();
        let request = v1::UpdateCampaignRequest {
            campaign: Some(v1::Campaign { campaign_id, quota, ..Default::default() }),
            ..Default::default()
        };
        match client.update_campaign(timed(request)).await {
            Ok(answer) => {
                let updated = answer.into_inner().campaign.expect("an answer has a campaign");
                assert_eq!(updated.quota, quota);
                assert_eq!(sum(&updated), i128::from(quota), "{updated:?}");
            }
            Err(refused) => {
                assert_eq!(reason(&refused), "QUOTA_BELOW_ISSUED");
                let metadata = refused.get_details_error_info().expect("it has one").metadata;
                let least: i64 = metadata["quota_min"].parse().expect("it is a number");
                assert!((quota + 1..=QUOTA).contains(&least), "{metadata:?}");
                self.note_refusal(&refused);
            }
        }
    }

    async fn read(&self, client: &mut CampaignServiceClient<Channel>) -> v1::Campaign {
        let request = v1::GetCampaignRequest { campaign_id: self.campaign_id.to_owned() };
        let answer = client.get_campaign(timed(request)).await.expect("it can be read");
        answer.into_inner().campaign.expect("an answer has a campaign")
    }

    fn note_refusal(&self, refused: &Status) {
        assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
        let reason = reason(refused);
        if reason == "QUOTA_HELD" {
            let retry = refused.get_details_retry_info().and_then(|retry| retry.retry_delay);
            assert!(retry.is_some(), "{refused:?}");
        }
        let mut all = self.refused.lock().expect("no test panics with it");
        *all.entry(reason).or_default() += 1;
    }

    fn ended(&self, hold: &v1::Hold, note: impl FnOnce(&mut Asked)) {
        let mut holds = self.holds.lock().expect("no test panics with it");
        note(holds.get_mut(&uuid_of(&hold.hold_id)).expect("it was asked for"));
    }

    /// Notes the log time of a change that was just answered.
    fn shown(&self, invoked: u64, log_time: Option<Timestamp>) {
        let shown = Shown { invoked, returned: self.nanos(), log_time: micros(log_time) };
        self.times.lock().expect("no test panics with it").push(shown);
    }

    fn record(&self, invoked: u64, call: Call, outcome: Outcome) {
        let operation = Operation { invoked, returned: self.nanos(), call, outcome };
        self.operations.lock().expect("no test panics with it").push(operation);
    }

    fn nanos(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_nanos()).expect("a test takes no centuries")
    }
}

fn issued(coupon: v1::Coupon, replayed: bool) -> Outcome {
    let sequence = coupon.sequence.unsigned_abs();
    Outcome::Issued { sequence, code: coupon.code.into(), replayed }
}

/// A read for the checker. Log time never runs backwards, so that what was answered before and asked for afterwards
/// bounds it.
fn balance(read: &Read, times: &[Shown]) -> Balance {
    let before = times.iter().filter(|shown| shown.returned < read.invoked);
    let after = times.iter().filter(|shown| shown.invoked > read.returned);
    let campaign = &read.campaign;
    Balance {
        issued: campaign.issued.unsigned_abs(),
        returned: campaign.returned.unsigned_abs(),
        held: campaign.held.unsigned_abs(),
        remaining: campaign.remaining.unsigned_abs(),
        revision: campaign.revision.unsigned_abs(),
        from: before.map(|shown| shown.log_time).max().unwrap_or(0),
        until: after.map(|shown| shown.log_time).min().unwrap_or(u64::MAX),
    }
}

/// What a campaign has issued, holds and has left, which is the quota.
fn sum(read: &v1::Campaign) -> i128 {
    let [issued, returned, held, remaining] =
        [read.issued, read.returned, read.held, read.remaining].map(i128::from);
    assert!(issued >= returned && held >= 0 && remaining >= 0, "{read:?}");
    issued - returned + held + remaining
}

fn micros(time: Option<Timestamp>) -> u64 {
    let time = time.expect("it is set");
    time.seconds.unsigned_abs() * 1_000_000 + u64::from(time.nanos.unsigned_abs()) / 1_000
}

fn uuid_of(request_id: &str) -> u128 {
    request_id.parse::<Uuid>().expect("it is one").as_u128()
}

fn timed<T>(request: T) -> Request<T> {
    let mut request = Request::new(request);
    request.set_timeout(CALL_TIMEOUT);
    request
}
