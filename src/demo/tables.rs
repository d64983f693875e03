//! What the demo says about its cluster before it begins.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use coupon_admin::Survey;
use coupon_cluster::{CampaignName, Epoch, Ring, ShardId, TenantId};

use crate::output::table;

/// How many campaigns the share of a shard is measured with: enough for whole percents.
const SAMPLE: u32 = 10_000;

/// The nodes and where they listen.
pub(super) fn nodes(survey: &Survey) -> comfy_table::Table {
    let mut table = table(&["NODE", "ADDRESS", "LEADS"]);
    for node in &survey.nodes {
        let leads =
            survey.map.shards.keys().filter(|shard| {
                survey.leader(**shard).is_some_and(|(leader, _)| leader == node.id)
            });
        let address = node.node.address.clone();
        table.add_row([node.id.to_string(), address, leads.count().to_string()]);
    }
    table
}

/// The shards: their share of the ring, their leaders and replicas.
pub(super) fn shards(survey: &Survey) -> comfy_table::Table {
    let shares = shares(&survey.map.ring_shards);
    let mut table = table(&["SHARD", "CAMPAIGNS", "LEADER", "TERM", "NODES"]);
    for (shard, replicas) in &survey.map.shards {
        let share = shares.get(shard).map(|share| format!("{} %", share * 100 / SAMPLE));
        let leader = survey.leader(*shard);
        let nodes: Vec<String> =
            replicas.values().map(|replica| replica.node.to_string()).collect();
        table.add_row([
            if *shard == ShardId::META { "meta".to_owned() } else { shard.to_string() },
            share.unwrap_or_else(|| "-".to_owned()),
            leader.map_or_else(|| "-".to_owned(), |(node, _)| format!("node {node}")),
            leader.map_or_else(|| "-".to_owned(), |(_, status)| status.term.to_string()),
            nodes.join(" "),
        ]);
    }
    table
}

/// How many of [`SAMPLE`] campaigns each shard owns.
fn shares(ring_shards: &BTreeSet<ShardId>) -> BTreeMap<ShardId, u32> {
    let Some(ring) = Ring::new(Epoch(1), ring_shards.iter().copied()) else {
        return BTreeMap::new();
    };
    let mut shares = BTreeMap::new();
    for number in 0..SAMPLE {
        let campaign = CampaignName::new(&TenantId::default(), &format!("campaign-{number}"))
            .expect("letters, a hyphen and digits are an id");
        *shares.entry(ring.owner(&campaign)).or_default() += 1;
    }
    shares
}

/// What to try next.
pub(super) fn invitation(router: SocketAddr) -> String {
    format!(
        "\n\ntry, in another terminal:
  coupon campaign create spring --quota 100 --per-recipient-limit 1 --router {router}
  coupon issue spring --recipient ann --router {router}
  grpcurl -plaintext -d '{{\"campaign_id\":\"spring\",\"recipient\":\"bob\"}}' {router} \
         coupon.v1.CouponService/IssueCoupon

Ctrl-C ends it with a verdict over all campaigns"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shard_has_a_share() {
        let shares = shares(&(1..=4).map(|id| ShardId::new(id).unwrap()).collect());
        assert_eq!(shares.len(), 4);
        assert_eq!(shares.values().sum::<u32>(), SAMPLE);
        assert!(
            shares.values().all(|share| (SAMPLE / 8..SAMPLE / 2).contains(share)),
            "{shares:?}"
        );
    }

    #[test]
    fn the_invitation_can_be_pasted() {
        let text = invitation("127.0.0.1:7000".parse().unwrap());
        let call = "bob\"}' 127.0.0.1:7000 coupon.v1.CouponService/IssueCoupon\n";
        assert!(text.contains(call), "{text}");
    }
}
