//! A cluster forms, issues, hands leadership over, and all replicas end with the same state.

use coupon_node::RaftOptions;
use coupon_proto::internal as pb;
use futures::StreamExt as _;

use crate::support::{
    Caller, SHARD, Session, TestCluster, code_number, command_batch, create, issue, pause, refusal,
    resume, sequence, set_quota, until,
};

#[tokio::test]
async fn a_cluster_issues_and_its_replicas_agree() {
    let mut cluster = TestCluster::start(RaftOptions::default()).await;
    let leader = cluster.leader().await;
    let mut session = Session::open(&cluster, leader).await.unwrap();
    session.one(create("c", 10, 0, 1)).await.unwrap();
    let commands = (1..=12).map(|n| issue("c", &format!("r{n}"), n)).collect();
    let replies: Vec<_> = session.propose(commands).await.unwrap().into_iter().map(Some).collect();
    let sequences: Vec<_> = replies.iter().filter_map(sequence).collect();
    assert_eq!(sequences, (1..=10).collect::<Vec<_>>());
    assert_eq!(refusal(&replies[10]), Some(pb::RefusalReason::SoldOut));
    // The same request is answered with the same coupon, by this leader and by the next one.
    assert_eq!(sequence(&session.one(issue("c", "r3", 3)).await), Some(3));
    let other = (1..=3).find(|id| *id != leader).unwrap();
    let transfer = pb::TransferLeadershipRequest { shard_id: SHARD, to_node_id: other };
    until("a follower that is caught up", async || {
        cluster.cluster_client(leader).await.transfer_leadership(transfer).await.ok()
    })
    .await;
    let next = until("the next leader", async || {
        let next = cluster.leader().await;
        (next != leader).then_some(next)
    })
    .await;
    // The old stream has ended with its term.
    assert_eq!(session.one(issue("c", "r4", 4)).await, None);
    let mut session = Session::open(&cluster, next).await.unwrap();
    assert_eq!(sequence(&session.one(issue("c", "r3", 3)).await), Some(3));

    until("equal digests", async || {
        let mut digests = Vec::new();
        for id in 1..=3 {
            digests.push(cluster.replica_status(id, true).await?.digest);
        }
        digests.dedup();
        (digests.len() == 1).then_some(())
    })
    .await;

    // A planned stop of the leader leaves another one behind.
    cluster.stop(next).await;
    let last = cluster.leader().await;
    let mut session = Session::open(&cluster, last).await.unwrap();
    assert_eq!(sequence(&session.one(issue("c", "r5", 5)).await), Some(5));
}

#[tokio::test]
async fn leadership_is_not_offered_to_a_node_that_has_just_died() {
    let mut cluster = TestCluster::start(RaftOptions::default()).await;
    let leader = cluster.leader().await;
    let mut session = Session::open(&cluster, leader).await.unwrap();
    session.one(create("c", 10, 0, 1)).await.unwrap();
    let term = cluster.replica_status(leader, false).await.unwrap().term;
    let dead = (1..=3).find(|id| *id != leader).unwrap();
    let mut asking = cluster.cluster_client(leader).await;
    cluster.halt(dead).await;
    let transfer = pb::TransferLeadershipRequest { shard_id: SHARD, to_node_id: dead };
    let refused = asking.transfer_leadership(transfer).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::FailedPrecondition, "{refused:?}");
    // It goes on leading, in the same term and over the same stream.
    assert_eq!(sequence(&session.one(issue("c", "r1", 1)).await), Some(1));
    assert_eq!(cluster.replica_status(leader, false).await.unwrap().term, term);
}

#[tokio::test]
async fn a_follower_passes_on_what_it_is_asked_to() {
    let cluster = TestCluster::start(RaftOptions::default()).await;
    let leader = cluster.leader().await;
    let follower = (1..=3).find(|id| *id != leader).unwrap();
    assert!(Session::open(&cluster, follower).await.is_none(), "it was not asked to");
    let mut session = until("a follower that knows the leader", async || {
        Session::open_through(&cluster, follower, true).await
    })
    .await;
    session.one(create("c", 10, 0, 1)).await.unwrap();
    assert_eq!(sequence(&session.one(issue("c", "r1", 1)).await), Some(1));

    let mut client = cluster.shard_client(follower).await;
    let get = pb::GetCampaignQuery { campaign: "default/c".into() };
    let query = Some(pb::read_request::Query::GetCampaign(get));
    let question = pb::ReadRequest { shard_id: SHARD, epoch: 1, query, forward: true };
    let answer = client.read(question.clone()).await.unwrap().into_inner();
    assert_eq!(answer.campaigns.len(), 1);
    let refused = client.read(pb::ReadRequest { forward: false, ..question }).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::Unavailable, "{refused:?}");
}

#[tokio::test]
async fn a_campaign_is_read_as_it_was_while_that_is_known() {
    use pb::command::Operation;

    let cluster = TestCluster::start(RaftOptions::default()).await;
    let leader = cluster.leader().await;
    let mut session = Session::open(&cluster, leader).await.unwrap();
    session.one(create("c", 100, 0, 0)).await.unwrap();
    let issues = (1..=5).map(|number| issue("c", "alice", number)).collect();
    let replies = session.propose(issues).await.unwrap();
    let codes: Vec<_> = replies.into_iter().map(|reply| code_number(&Some(reply))).collect();
    let mut client = cluster.shard_client(leader).await;
    let mut read = async |query| {
        let question =
            pb::ReadRequest { shard_id: SHARD, epoch: 1, query: Some(query), forward: false };
        client.read(question).await.unwrap().into_inner()
    };
    let get = pb::GetCampaignQuery { campaign: "default/c".into() };
    let get = pb::read_request::Query::GetCampaign(get);
    let mut found = read(get).await;
    let pb::CampaignCounters { revision, issued, .. } = found.campaigns.remove(0).counters.unwrap();
    let then = pb::CampaignRevision { revision, issued, first_block: found.first_block };
    let list = |as_of, after| {
        let query = pb::ListCouponsQuery {
            tenant: "default".into(),
            campaign_id: "c".into(),
            after: Some(pb::CouponPlace { sequence: after, ..Default::default() }),
            limit: 3,
            as_of,
            ..Default::default()
        };
        pb::read_request::Query::ListCoupons(query)
    };
    let before = [read(list(Some(then), 0)).await, read(list(Some(then), 3)).await];
    assert_eq!(
        before.each_ref().map(|page| (page.coupons.len(), page.more)),
        [(3, true), (2, false)]
    );

    // More coupons, one that is redeemed, and one that is redeemed and reversed.
    session.one(issue("c", "bob", 6)).await.unwrap();
    let mut change = async |operation| {
        let reply = session.one(pb::Command { epoch: 1, operation: Some(operation) }).await;
        assert!(reply.is_some() && refusal(&reply).is_none(), "{reply:?}");
    };
    let redeem = |place: usize, number: u8| {
        let (code, request_id) = (Some(codes[place].clone()), vec![number; 16]);
        let redeem = pb::RedeemCouponCommand { code, request_id, ..Default::default() };
        Operation::RedeemCoupon(redeem)
    };
    let reverse = |place: usize, number: u8| {
        let (code, request_id) = (Some(codes[place].clone()), vec![number; 16]);
        Operation::ReverseRedemption(pb::ReverseRedemptionCommand { code, request_id })
    };
    change(redeem(1, 20)).await;
    change(redeem(4, 21)).await;
    change(reverse(4, 22)).await;
    let coupons = |pages: &[pb::ReadResponse]| -> Vec<_> {
        pages.iter().flat_map(|page| page.coupons.clone()).collect()
    };
    let again = [read(list(Some(then), 0)).await, read(list(Some(then), 3)).await];
    assert_eq!(coupons(&again), coupons(&before));
    let now = coupons(&[read(list(None, 0)).await, read(list(None, 3)).await]);
    assert_eq!(now.len(), 6);
    assert!(now[1].coupon.as_ref().unwrap().last_change.is_some());

    // Each coupon remembers 16 changes.
    for number in 0..8 {
        change(redeem(0, 30 + 2 * number)).await;
        change(reverse(0, 31 + 2 * number)).await;
    }
    let gone = read(list(Some(then), 0)).await;
    assert_eq!(gone.refusal.map(|refusal| refusal.reason()), Some(pb::RefusalReason::RevisionGone));
    assert_eq!(gone.coupons, []);
    assert_eq!(read(list(Some(then), 3)).await.coupons, before[1].coupons);
    // Nor is a revision known that is still to come.
    let later = pb::CampaignRevision { revision: then.revision + 100, ..then };
    // In another history the same revision may be something else.
    let elsewhere = pb::CampaignRevision { first_block: then.first_block + 1, ..then };
    for unknown in [later, elsewhere] {
        let unknown = read(list(Some(unknown), 0)).await.refusal.map(|refusal| refusal.reason());
        assert_eq!(unknown, Some(pb::RefusalReason::RevisionGone));
    }
}

#[tokio::test]
async fn a_campaign_is_found_by_its_number_in_the_shard() {
    let cluster = TestCluster::start(RaftOptions::default()).await;
    let mut caller = Caller::default();
    for id in ["a", "b"] {
        caller.call(&cluster, create(id, 10, 0, 0)).await;
    }
    caller.call(&cluster, pause("b", 100)).await;
    let ask = async |tenant: &str, number: u32| {
        let query = pb::GetCampaignByNumberQuery { tenant: tenant.into(), number };
        let query = Some(pb::read_request::Query::GetCampaignByNumber(query));
        let question = pb::ReadRequest { shard_id: SHARD, epoch: 1, query, forward: false };
        until("an answer of the leader", async || {
            let leader = cluster.leader().await;
            let answer = cluster.shard_client(leader).await.read(question.clone()).await;
            Some(answer.ok()?.into_inner())
        })
        .await
    };
    let found = ask("default", 1).await;
    assert_eq!((found.campaigns[0].name.as_str(), found.campaigns[0].paused), ("default/b", true));
    for (tenant, number) in [("default", 2), ("other", 1)] {
        let refused = ask(tenant, number).await.refusal.unwrap();
        assert_eq!(refused.reason(), pb::RefusalReason::CampaignNotFound);
    }
}

#[tokio::test]
async fn a_paused_campaign_issues_nothing_until_it_is_resumed() {
    let mut cluster = TestCluster::start(RaftOptions::default()).await;
    let mut caller = Caller::default();
    caller.call(&cluster, create("c", 10, 0, 0)).await;
    assert_eq!(sequence(&caller.call(&cluster, issue("c", "a", 1)).await), Some(1));
    caller.call(&cluster, pause("c", 100)).await;
    // Twice, since a leader answers some refusals without the log once it has seen one.
    for number in [2, 3] {
        let refused = caller.call(&cluster, issue("c", "b", number)).await;
        assert_eq!(refusal(&refused), Some(pb::RefusalReason::Paused));
    }
    assert_eq!(sequence(&caller.call(&cluster, issue("c", "a", 1)).await), Some(1), "a retry");

    // The next leader knows.
    let leader = cluster.leader().await;
    cluster.stop(leader).await;
    let refused = caller.call(&cluster, issue("c", "b", 2)).await;
    assert_eq!(refusal(&refused), Some(pb::RefusalReason::Paused));
    caller.call(&cluster, resume("c", 101)).await;
    // A repeated pause is an old one.
    caller.call(&cluster, pause("c", 100)).await;
    assert_eq!(sequence(&caller.call(&cluster, issue("c", "b", 2)).await), Some(2));
}

#[tokio::test]
async fn a_campaign_that_is_sold_out_goes_on_when_its_quota_grows() {
    let cluster = TestCluster::start(RaftOptions::default()).await;
    let mut caller = Caller::default();
    caller.call(&cluster, create("c", 1, 0, 0)).await;
    assert_eq!(sequence(&caller.call(&cluster, issue("c", "a", 1)).await), Some(1));
    for quota in 2..20 {
        // Twice, since a leader answers some refusals without the log once it has seen one.
        for _ in 0..2 {
            let refused = caller.call(&cluster, issue("c", "b", quota)).await;
            assert_eq!(refusal(&refused), Some(pb::RefusalReason::SoldOut));
        }
        caller.call(&cluster, set_quota("c", quota, 100 + quota)).await;
        assert_eq!(sequence(&caller.call(&cluster, issue("c", "b", quota)).await), Some(quota));
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_refused_and_what_is_newer_ends_the_stream() {
    let cluster = TestCluster::start(RaftOptions::default()).await;
    let mut session = Session::open(&cluster, cluster.leader().await).await.unwrap();
    session.one(create("c", 10, 0, 0)).await.unwrap();
    let mut batch = command_batch(&[issue("c", "a", 1), issue("c", "b", 2)]);
    batch.commands[0] = b"\xff\xff".as_slice().into();
    let replies = session.send(batch).await.unwrap();
    let replies: Vec<_> = replies.into_iter().map(Some).collect();
    assert_eq!(refusal(&replies[0]), Some(pb::RefusalReason::Unreadable));
    assert_eq!(sequence(&replies[1]), Some(1));
    let mut newer = command_batch(&[issue("c", "c", 3)]);
    newer.commands[0] = b"\x08\x01\xfa\x01\x00".as_slice().into();
    assert_eq!(session.send(newer).await, None);
}

#[tokio::test]
async fn an_older_stream_of_a_router_is_fenced_off() {
    let cluster = TestCluster::start(RaftOptions::default()).await;
    let leader = cluster.leader().await;
    let mut client = cluster.shard_client(leader).await;
    let mut open = async |stream_number| {
        let hello =
            pb::RouterHello { shard_id: SHARD, router_id: 7, stream_number, forward: false };
        let message = Some(pb::propose_request::Message::Hello(hello));
        let hello = pb::ProposeRequest { message };
        let batch = command_batch(&[issue("c", "r", 1)]);
        let message = Some(pb::propose_request::Message::Batch(batch));
        let requests = tokio_stream::iter([hello, pb::ProposeRequest { message }]);
        let requests = requests.chain(futures::stream::pending());
        client.propose(requests).await.map(tonic::Response::into_inner)
    };
    let mut newer = open(2).await.unwrap();
    assert!(newer.message().await.unwrap().is_some(), "hello");
    assert!(newer.message().await.unwrap().is_some(), "replies");
    // What an older stream had sent may come late, by way of another node, and after the newer is gone.
    drop(newer);
    assert_eq!(open(1).await.unwrap_err().code(), tonic::Code::Aborted);
}

#[tokio::test]
async fn one_cluster_is_formed_however_many_are_asked() {
    let cluster = TestCluster::unformed().await;
    let answers = tokio::join!(cluster.init(3), cluster.init(2), cluster.init(1));
    let ids = [answers.0, answers.1, answers.2].map(|answer| answer.map.unwrap().cluster_id);
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
}

#[tokio::test]
async fn a_search_for_a_recipient_goes_on_where_an_answer_stopped() {
    use pb::command::Operation;

    let cluster = TestCluster::start(RaftOptions::default()).await;
    let leader = cluster.leader().await;
    let mut session = Session::open(&cluster, leader).await.unwrap();
    session.propose(vec![create("gone", 2_000, 0, 0), create("kept", 10, 0, 0)]).await.unwrap();
    for first in [0, 600] {
        let issues = (first..first + 600).map(|number| issue("gone", "alice", number));
        session.propose(issues.collect()).await.unwrap();
    }
    session.one(issue("kept", "alice", 1)).await.unwrap();
    // Of a deleted campaign only claims of the index are left.
    let campaign = "default/gone".to_owned();
    let end = pb::EndCampaignCommand { campaign: campaign.clone(), request_id: vec![7; 16] };
    let archive =
        pb::ArchiveCampaignCommand { campaign: campaign.clone(), request_id: vec![8; 16] };
    let delete = pb::DeleteCampaignCommand { campaign, request_id: vec![9; 16] };
    for operation in [
        Operation::EndCampaign(end),
        Operation::ArchiveCampaign(archive),
        Operation::DeleteCampaign(delete),
    ] {
        let reply = session.one(pb::Command { epoch: 1, operation: Some(operation) }).await;
        assert!(reply.is_some() && refusal(&reply).is_none(), "{reply:?}");
    }
    let mut client = cluster.shard_client(leader).await;
    let mut search = async |campaign: &str, after| {
        let query = pb::ListCouponsQuery {
            tenant: "default".into(),
            campaign_id: campaign.into(),
            recipient: "alice".into(),
            after,
            limit: 10,
            as_of: None,
        };
        let query = Some(pb::read_request::Query::ListCoupons(query));
        let question = pb::ReadRequest { shard_id: SHARD, epoch: 1, query, forward: false };
        client.read(question).await.unwrap().into_inner()
    };
    let first = search("", None).await;
    assert_eq!((first.coupons.len(), first.more), (0, true));
    assert_eq!(first.last_place, Some(pb::CouponPlace { campaign_number: 0, sequence: 1_000 }));
    let rest = search("", first.last_place).await;
    assert_eq!((rest.coupons.len(), rest.more), (1, false));
    assert_eq!(rest.coupons[0].campaign_id, "kept");
    assert_eq!(search("kept", None).await.coupons, rest.coupons);
    assert_eq!(search("kept", rest.last_place).await.coupons, []);
}
