//! A consumer follows a campaign while 16 clients change it and leaders are killed: each revision is shown once, in order,
//! and what was shown comes to the campaign that is there.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use coupon_client::v1::EventType;
use coupon_client::{CallError, Client, RetryPolicy, new_request_id, v1};
use futures::future::join_all;
use prost_types::Duration;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::support::campaign::{create, request};
use crate::support::cluster::Cluster;
use crate::support::wait::PATIENCE;

const CLIENTS: usize = 16;

/// How often each client does something, at least.
const ROUNDS_MIN: usize = 8;

const CAMPAIGN: &str = "spring";

/// What clients did: the events that there must be, by request id.
#[derive(Default)]
struct Done {
    events: Mutex<BTreeMap<String, EventType>>,
    is_over: AtomicBool,
}

impl Done {
    /// Notes a request that was answered.
    fn note(&self, request_id: String, event: EventType) {
        let known = self.events.lock().expect("no test panics with it").insert(request_id, event);
        assert_eq!(known, None, "each request is new");
    }

    /// What one client does: all there is to do, beginning with something else than its neighbours.
    async fn client(&self, client: Client, number: usize) -> Result<(), CallError> {
        for round in 0.. {
            if round >= ROUNDS_MIN && self.is_over.load(Ordering::Relaxed) {
                break;
            }
            let recipient = format!("client-{number}-{round}");
            match (number + round) % 4 {
                0 => self.redeemed(&client, &recipient).await?,
                1 => self.held(&client, &recipient).await?,
                2 => self.batch(&client, &recipient).await?,
                _ => self.updated(&client, &recipient).await?,
            }
        }
        Ok(())
    }

    async fn issued(&self, client: &Client, recipient: &str) -> Result<v1::Coupon, CallError> {
        let request = request(CAMPAIGN, recipient);
        let request_id = request.request_id.clone();
        let coupon = client.issue_coupon(request).await?.coupon.expect("an answer has a coupon");
        self.note(request_id, EventType::CouponIssued);
        Ok(coupon)
    }

    /// Redeems a coupon, and reverses that.
    async fn redeemed(&self, client: &Client, recipient: &str) -> Result<(), CallError> {
        let code = self.issued(client, recipient).await?.code;
        let request_id = new_request_id();
        let redeem = v1::RedeemCouponRequest {
            code: code.clone(),
            order_ref: recipient.to_owned(),
            request_id: request_id.clone(),
            ..Default::default()
        };
        client.redeem_coupon(redeem).await?;
        self.note(request_id, EventType::CouponRedeemed);
        let request_id = new_request_id();
        let reverse = v1::ReverseRedemptionRequest {
            code,
            request_id: request_id.clone(),
            ..Default::default()
        };
        client.reverse_redemption(reverse).await?;
        self.note(request_id, EventType::RedemptionReversed);
        Ok(())
    }

    /// Confirms one hold and releases another.
    async fn held(&self, client: &Client, recipient: &str) -> Result<(), CallError> {
        let campaign_id = || CAMPAIGN.to_owned();
        for confirms in [true, false] {
            let hold_id = new_request_id();
            let hold = v1::HoldCouponRequest {
                campaign_id: campaign_id(),
                recipient: format!("{recipient}-{confirms}"),
                ttl: Some(Duration { seconds: 3_600, nanos: 0 }),
                request_id: hold_id.clone(),
            };
            client.hold_coupon(hold).await?;
            self.note(hold_id.clone(), EventType::HoldCreated);
            let request_id = new_request_id();
            if confirms {
                let confirm = v1::ConfirmHoldRequest {
                    campaign_id: campaign_id(),
                    hold_id,
                    request_id: request_id.clone(),
                    ..Default::default()
                };
                client.confirm_hold(confirm).await?;
                self.note(request_id, EventType::CouponIssued);
            } else {
                let (campaign_id, of) = (campaign_id(), request_id.clone());
                let release = v1::ReleaseHoldRequest { campaign_id, hold_id, request_id: of };
                client.release_hold(release).await?;
                self.note(request_id, EventType::HoldReleased);
            }
        }
        Ok(())
    }

    /// Issues some coupons at once, and voids one of them.
    async fn batch(&self, client: &Client, recipient: &str) -> Result<(), CallError> {
        let requests: Vec<_> =
            (0..5).map(|place| request(CAMPAIGN, &format!("{recipient}-{place}"))).collect();
        let answers = client.batch_issue_coupons(requests.clone()).await;
        let mut code = String::new();
        for (request, answer) in requests.into_iter().zip(answers) {
            code = answer?.coupon.expect("an answer has a coupon").code;
            self.note(request.request_id, EventType::CouponIssued);
        }
        let request_id = new_request_id();
        let void = v1::VoidCouponRequest {
            code,
            return_quota: true,
            request_id: request_id.clone(),
            ..Default::default()
        };
        client.void_coupon(void).await?;
        self.note(request_id, EventType::CouponVoided);
        Ok(())
    }

    async fn updated(&self, client: &Client, name: &str) -> Result<(), CallError> {
        let request_id = new_request_id();
        let update = v1::UpdateCampaignRequest {
            campaign: Some(v1::Campaign {
                campaign_id: CAMPAIGN.to_owned(),
                display_name: name.to_owned(),
                ..Default::default()
            }),
            request_id: request_id.clone(),
            ..Default::default()
        };
        client.update_campaign(update).await?;
        self.note(request_id, EventType::CampaignUpdated);
        Ok(())
    }
}

/// Follows a campaign until the event that makes its `last` revision, which is known when all is done.
async fn followed(client: &Client, mut last: watch::Receiver<Option<usize>>) -> Vec<v1::Event> {
    let campaign_id = CAMPAIGN.to_owned();
    let mut stream =
        client.stream_events(v1::StreamEventsRequest { campaign_id, ..Default::default() });
    let mut seen: Vec<v1::Event> = Vec::new();
    while last.borrow_and_update().is_none_or(|last| seen.len() < last) {
        let next = async {
            tokio::select! {
                next = stream.next() => next.expect("the campaign is there"),
                changed = last.changed() => changed.map(|()| Vec::new()).expect("it ends"),
            }
        };
        seen.extend(timeout(PATIENCE, next).await.expect("there is always something new"));
    }
    seen
}

/// What events come to.
#[derive(Default)]
struct Replay {
    name: String,
    coupons: BTreeMap<i64, v1::Coupon>,
    held: i64,
}

impl Replay {
    fn of(events: &[v1::Event]) -> Self {
        let mut replay = Self::default();
        for event in events {
            let (kind, of_hold) = (event.r#type(), event.hold.is_some());
            if kind == EventType::HoldCreated {
                replay.held += 1;
            } else if kind == EventType::HoldReleased
                || (kind == EventType::CouponIssued && of_hold)
            {
                replay.held -= 1;
            }
            if let Some(terms) = &event.terms {
                replay.name.clone_from(&terms.display_name);
            }
            if let Some(coupon) = &event.coupon {
                replay.coupons.insert(coupon.sequence, coupon.clone());
            }
        }
        replay
    }

    fn count(&self, wanted: impl Fn(&v1::Coupon) -> bool) -> i64 {
        i64::try_from(self.coupons.values().filter(|coupon| wanted(coupon)).count())
            .expect("there are few")
    }
}

/// All coupons of the campaign as they are.
async fn coupons(client: &Client) -> BTreeMap<i64, v1::Coupon> {
    let campaign_id = CAMPAIGN.to_owned();
    let mut parts =
        client.stream_coupons(v1::StreamCouponsRequest { campaign_id, ..Default::default() });
    let mut coupons = BTreeMap::new();
    while let Some(part) = parts.next().await.expect("it can be read") {
        coupons.extend(part.coupons.into_iter().map(|coupon| (coupon.sequence, coupon)));
    }
    coupons
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_revision_is_shown_once_and_in_order_while_clients_race_and_leaders_die() {
    let mut cluster = Cluster::start(&[]).await;
    create(&cluster, CAMPAIGN, 1_000_000).await;
    let client = Client::connect([&cluster.router], RetryPolicy::default()).await.expect("connect");
    let done = Done::default();
    let clients = async {
        let all = (0..CLIENTS).map(|number| done.client(client.clone(), number));
        for ended in join_all(all).await {
            ended.expect("a client repeats what may pass");
        }
    };
    let (end, last) = watch::channel(None);
    let killer = async {
        for _ in 0..2 {
            let leader = cluster.leader_of(Cluster::shard_of(CAMPAIGN)).await;
            cluster.kill(leader);
            cluster.restart(leader);
            cluster.whole().await;
        }
        done.is_over.store(true, Ordering::Relaxed);
    };
    let work = async {
        tokio::join!(clients, killer);
        let get = v1::GetCampaignRequest { campaign_id: CAMPAIGN.to_owned() };
        let campaign = client.get_campaign(get).await.expect("the campaign is there").campaign;
        let campaign = campaign.expect("an answer has a campaign");
        end.send_replace(usize::try_from(campaign.revision).ok());
        campaign
    };
    let (campaign, seen) = tokio::join!(work, followed(&client, last));

    let revisions: Vec<i64> = seen.iter().map(|event| event.revision).collect();
    assert_eq!(revisions, (1..=campaign.revision).collect::<Vec<_>>());
    let place = |event: &v1::Event| {
        let time = event.time.expect("it has one");
        let index = event.log_position.expect("it has one").index;
        (index, time.seconds, time.nanos)
    };
    assert!(seen.is_sorted_by_key(place), "neither the log nor its time goes back");

    let told = seen.iter().map(|event| (event.request_id.clone(), event.r#type()));
    let told: BTreeMap<_, _> =
        told.filter(|(_, event)| *event != EventType::CampaignCreated).collect();
    assert_eq!(told.len(), seen.len() - 1, "no request made two events");
    assert_eq!(told, done.events.into_inner().expect("no test panics with it"));

    let replay = Replay::of(&seen);
    assert_eq!(replay.coupons, coupons(&client).await);
    assert_eq!(replay.name, campaign.display_name);
    let counted = [
        replay.count(|_| true),
        replay.count(|coupon| coupon.state() == v1::CouponState::Redeemed),
        replay.count(|coupon| coupon.state() == v1::CouponState::Voided),
        replay.count(|coupon| coupon.quota_returned),
        replay.held,
    ];
    let v1::Campaign { issued, redeemed, voided, returned, held, .. } = campaign;
    assert_eq!(counted, [issued, redeemed, voided, returned, held]);
}
