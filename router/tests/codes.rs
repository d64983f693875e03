//! Campaigns choose what their codes look like, and a code alone leads to the shard that issued it.

mod support;

use coupon_cluster::{
    CampaignName, Code, CodeCipher, CodeKey, Epoch, KeyId, Ring, ShardId, TenantId,
};
use coupon_proto::v1::{CodeProfile, CreateCampaignRequest};
use support::{Fixture, issue};

/// The key of the fake cluster.
const KEY: CodeKey = CodeKey { id: KeyId(1), secret: [7; 32] };

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
