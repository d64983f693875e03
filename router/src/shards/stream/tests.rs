use bytes::Bytes;
use coupon_cluster::NodeId;
use tokio::sync::oneshot;

use super::*;
use crate::route::leader::Route;
use crate::route::retry::Attempts;
use crate::shards::submission::{Answer, Waiter};

/// A stream of which no task runs, and whose nodes are nowhere.
fn idle() -> ShardStream {
    let pool = Arc::new(Pool::default());
    let directory = Directory::follow(vec!["127.0.0.1:1".to_owned()], None, Arc::clone(&pool));
    let context = StreamContext { router_id: 1, directory, pool, timing: Timing::default() };
    let (_, queue) = mpsc::channel(1);
    ShardStream::new(ShardId::new(1).unwrap(), context, queue)
}

fn submission(deadline: Instant) -> (Submission, oneshot::Receiver<Answer>) {
    let (answer, answered) = oneshot::channel();
    let waiter = Waiter { deadline, attempts: Attempts::default(), answer };
    (Submission { command: Bytes::from_static(b"abc"), deadline_micros: 0, waiter }, answered)
}

/// An open connection, and what comes out of it.
fn open() -> (Link, mpsc::Receiver<Bytes>) {
    let (outbound, requests) = mpsc::channel(1);
    let route = Route { node: NodeId::new(1).unwrap(), forward: false };
    (Link::Open(Box::new(Connection::with_outbound(route, outbound))), requests)
}

#[tokio::test(start_paused = true)]
async fn what_was_too_early_for_a_step_wakes_the_task_although_it_is_due_by_now() {
    let mut stream = idle();
    let (link, _requests) = open();
    stream.link = link;
    let (waiting, _answer) = submission(Instant::now() + Duration::from_secs(9));
    stream.backlog.push_back(waiting);
    let now = Instant::now();
    stream.resume_at = now + Duration::from_millis(1);
    stream.step(now);
    assert_eq!(stream.in_flight(), 0, "it is too early");
    tokio::time::advance(Duration::from_millis(2)).await;
    assert_eq!(stream.due(now), Some(stream.resume_at));
    stream.step(Instant::now());
    assert_eq!(stream.in_flight(), 1);
}

#[tokio::test(start_paused = true)]
async fn arrivals_do_not_bring_the_next_sweep_closer_than_its_interval() {
    let mut stream = idle();
    let swept_at = Instant::now();
    stream.sweep(swept_at);
    let (urgent, _answer) = submission(swept_at + Duration::from_millis(1));
    stream.arrived.push(urgent);
    stream.take_arrived(swept_at);
    assert_eq!(stream.next_sweep, Some(swept_at + SWEEP_INTERVAL));
}

#[tokio::test(start_paused = true)]
async fn whoever_has_hung_up_is_forgotten_long_before_the_deadline() {
    let mut stream = idle();
    let (link, _requests) = open();
    let begun = Instant::now();
    let far = begun + Duration::from_secs(60);
    let (gone, answer) = submission(far);
    let (sent, sent_answer) = submission(far);
    let (stays, _stays_answer) = submission(far);
    stream.backlog.push_back(sent);
    stream.link = link;
    stream.step(begun);
    assert_eq!(stream.in_flight(), 1);
    stream.arrived = vec![gone, stays];
    stream.take_arrived(begun);
    drop((answer, sent_answer));
    let due = stream.next_sweep.unwrap();
    assert_eq!(due, begun + GONE_INTERVAL);
    stream.sweep(due);
    assert_eq!(stream.backlog.len(), 1);
    let Link::Open(connection) = &mut stream.link else { panic!("it was open") };
    assert!(connection.take_ended(far).is_empty(), "nobody waits for what is in flight");
}
