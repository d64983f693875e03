//! A cluster forms, issues, hands leadership over, and all replicas end with the same state.

use coupon_node::RaftOptions;
use coupon_proto::internal as pb;
use futures::StreamExt as _;

use crate::support::{
    Caller, SHARD, Session, TestCluster, command_batch, create, issue, pause, refusal, resume,
    sequence, set_quota, until,
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
    let question = pb::ReadRequest { shard_id: SHARD, epoch: 1, query, forward: true, wait: None };
    let answer = client.read(question.clone()).await.unwrap().into_inner();
    assert_eq!(answer.campaigns.len(), 1);
    let refused = client.read(pb::ReadRequest { forward: false, ..question }).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::Unavailable, "{refused:?}");

    let export = pb::StreamCouponsRequest {
        shard_id: SHARD,
        epoch: 1,
        campaign: "default/c".into(),
        forward: true,
    };
    let pages = client.stream_coupons(export).await.unwrap().into_inner();
    let pages: Vec<_> = pages.map(Result::unwrap).collect().await;
    assert_eq!(pages.iter().map(|page| page.coupons.len()).sum::<usize>(), 1);
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
        let question =
            pb::ReadRequest { shard_id: SHARD, epoch: 1, query, forward: false, wait: None };
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
    let cluster = TestCluster::start(RaftOptions::default()).await;
    let leader = cluster.leader().await;
    let mut session = Session::open(&cluster, leader).await.unwrap();
    for first in [0, 600] {
        let ids = (first..first + 600).map(|number| format!("c{number:04}"));
        session.propose(ids.map(|id| create(&id, 1, 0, 0)).collect()).await.unwrap();
    }
    session.one(issue("c1199", "alice", 1)).await.unwrap();
    let mut client = cluster.shard_client(leader).await;
    let mut search = async |after: &str| {
        let query = pb::ListCouponsQuery {
            tenant: "default".into(),
            recipient: "alice".into(),
            after_campaign_id: after.into(),
            after_sequence: u64::MAX,
            limit: 10,
            ..Default::default()
        };
        let query = Some(pb::read_request::Query::ListCoupons(query));
        let question =
            pb::ReadRequest { shard_id: SHARD, epoch: 1, query, forward: false, wait: None };
        client.read(question).await.unwrap().into_inner()
    };
    let first = search("").await;
    assert_eq!((first.coupons.len(), first.more), (0, true));
    assert_eq!(first.searched_campaign_id, "c0999");
    let rest = search(&first.searched_campaign_id).await;
    assert_eq!((rest.coupons.len(), rest.more), (1, false));
}
