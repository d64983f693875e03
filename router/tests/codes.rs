//! Campaigns choose what their codes look like, and a code alone leads to the shard that issued it.

mod support;

use std::time::Duration;

use coupon_cluster::{
    CampaignName, Code, CodeCipher, CodeKey, CodeScheme, Epoch, KeyId, Ring, ShardId, TenantId,
};
use coupon_proto::internal::command::Operation;
use coupon_proto::v1::coupon_service_client::CouponServiceClient;
use coupon_proto::v1::{CodeProfile, CreateCampaignRequest, LookupCouponRequest};
use support::state::Trick;
use support::{Fixture, config, connect, issue, reason};

/// The key of the fake cluster.
const KEY: CodeKey = CodeKey { id: KeyId(1), secret: [7; 32] };

/// A second key, which nobody who watches the map has heard of.
fn add_unseen_key(t: &Fixture) {
    t.cluster.change_map_unseen(|map| {
        map.code_keys.push(coupon_proto::internal::CodeKey { key_id: 2, secret: vec![8; 32] });
    });
}

/// The key that the last command had for the codes of a new campaign.
fn last_key(t: &Fixture) -> u32 {
    match t.cluster.last_seen().command.operation {
        Some(Operation::CreateCampaign(create)) => create.code_key_id,
        other => panic!("no campaign was created: {other:?}"),
    }
}

#[tokio::test]
async fn a_new_campaign_whose_key_is_too_old_gets_the_newest() {
    let mut t = Fixture::start().await;
    add_unseen_key(&t);
    t.cluster.play([Trick::OldCodeKey]);
    t.create("autumn", 10).await;
    let keys: Vec<_> = t.cluster.seen().into_iter().map(|seen| seen.command.operation).collect();
    assert_eq!(keys.len(), 2, "{keys:?}");
    assert_eq!((last_key(&t), t.cluster.maps_read()), (2, 1));
}

#[tokio::test]
async fn a_code_of_a_key_that_the_router_has_not_heard_of_is_found() {
    let mut t = Fixture::start().await;
    // It watches the map from before there was another key.
    let other = coupon_router::start(config(&t.cluster)).await.unwrap();
    assert!(other.ready(Duration::from_secs(10)).await);
    add_unseen_key(&t);
    t.cluster.play([Trick::OldCodeKey]);
    t.create("autumn", 10).await;
    let issued = t.coupons.issue_coupon(issue("autumn", "a")).await.unwrap().into_inner();
    let code = issued.coupon.unwrap().code;
    let mut coupons = CouponServiceClient::new(connect(&other));
    let look_up = LookupCouponRequest { code, ..Default::default() };
    let found = coupons.lookup_coupon(look_up).await.unwrap().into_inner();
    assert_eq!(found.coupon.unwrap().campaign_id, "autumn");
}

#[tokio::test]
async fn questions_for_codes_that_nobody_made_share_the_question_for_the_newest_map() {
    let t = Fixture::start().await;
    let asked = (0..50).map(|_| {
        let mut coupons = t.coupons.clone();
        let look_up = LookupCouponRequest { code: unknown_code(), ..Default::default() };
        async move { coupons.lookup_coupon(look_up).await.unwrap_err() }
    });
    let answers = futures::future::join_all(asked).await;
    assert!(answers.iter().all(|status| reason(status) == "COUPON_NOT_FOUND"));
    // Those that came while it was asked wait for the next one.
    assert!((1..=5).contains(&t.cluster.maps_read()), "{}", t.cluster.maps_read());
}

#[tokio::test]
async fn without_the_newest_map_no_code_is_called_unknown() {
    let mut t = Fixture::start().await;
    t.cluster.lead(0);
    let mut request =
        tonic::Request::new(LookupCouponRequest { code: unknown_code(), ..Default::default() });
    request.set_timeout(Duration::from_millis(400));
    let status = t.coupons.lookup_coupon(request).await.unwrap_err();
    assert_eq!(reason(&status), "NO_LEADER");
}

/// A code that no key of the fake cluster makes.
fn unknown_code() -> String {
    let cipher = CodeCipher::new(&[CodeKey { id: KeyId(1), secret: [9; 32] }]);
    let made = CodeCipher::new(&[KEY]);
    let shard = ShardId::new(1).expect("1 is one");
    let mut codes = (0..)
        .map(|n| cipher.encode(KeyId(1), CodeScheme::default(), shard, n).expect("there is one"));
    let code = codes.find(|code| made.decode(code).is_none()).expect("most are none");
    CodeScheme::default().text(&code)
}

#[tokio::test]
async fn every_profile_and_prefix_leads_to_the_shard_and_the_counter() {
    let mut t = Fixture::start().await;
    let cipher = CodeCipher::new(&[KEY]);
    let ring = Ring::new(Epoch(1), (1..=4).map(|id| ShardId::new(id).unwrap())).unwrap();
    let (kr, latin) = (CodeProfile::Kr, CodeProfile::Latin);
    let wanted = [
        (CodeProfile::Unspecified, "", 0, 10),
        (kr, "SUMMER-", 10, 10),
        (latin, "", 0, 14),
        (latin, "BLACK-FRIDAY-", 14, 14),
        (latin, "OIL-RUSH", 20, 20),
    ];
    for (number, (profile, prefix, length, shown)) in wanted.into_iter().enumerate() {
        let campaign_id = format!("campaign-{number}");
        let request = CreateCampaignRequest {
            campaign_id: campaign_id.clone(),
            quota: 10,
            code_profile: profile.into(),
            code_prefix: prefix.to_owned(),
            code_length: length,
            ..Default::default()
        };
        let created = t.campaigns.create_campaign(request).await.unwrap().into_inner();
        let campaign = created.campaign.unwrap();
        assert_eq!(campaign.code_profile(), if profile == latin { latin } else { kr });
        assert_eq!((&*campaign.code_prefix, campaign.code_length), (prefix, shown));

        let mut counters = Vec::new();
        for recipient in ["a", "b"] {
            let issued = t.coupons.issue_coupon(issue(&campaign_id, recipient)).await.unwrap();
            let text = issued.into_inner().coupon.unwrap().code;
            let symbols = text.strip_prefix(prefix).expect("codes begin with the prefix");
            assert_eq!(symbols.chars().count(), usize::try_from(shown).unwrap());
            // As somebody types it.
            let typed = text.to_lowercase().replace('-', " ");
            let origin = cipher.decode(&Code::parse(&typed).unwrap()).expect("it was issued");
            let name = CampaignName::new(&TenantId::default(), &campaign_id).unwrap();
            assert_eq!((origin.key, origin.shard), (KEY.id, ring.owner(&name)));
            counters.push(origin.counter);
        }
        assert_eq!(counters[1], counters[0] + 1);
    }
}
