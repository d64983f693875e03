//! A client and addresses at which no router answers: every call ends.

use std::net::SocketAddr;
use std::time::Duration;

use coupon_client::{CallError, Channels, Client, Meaning, RetryPolicy, endpoint, v1};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::timeout;

/// Timeout for any wait in a test.
const PATIENCE: Duration = Duration::from_secs(20);

/// A policy with time for several attempts.
const SHORT: RetryPolicy = RetryPolicy {
    attempt_timeout: Duration::from_millis(150),
    give_up_after: Duration::from_millis(600),
    backoff_min: Duration::from_millis(1),
    backoff_max: Duration::from_millis(5),
};

/// Most connections that a queue of two may take; the kernel rounds its length up.
const QUEUE_MAX: usize = 16;

/// The error of a call to an address, which is not connected to before.
async fn call(address: SocketAddr) -> CallError {
    let channel = endpoint(&address.to_string()).expect("it is one").connect_lazy();
    let client = Client::from_channels(Channels::new(vec![channel]), SHORT);
    let request = v1::IssueCouponRequest { campaign_id: "spring".into(), ..Default::default() };
    let answer = timeout(PATIENCE, client.issue_coupon(request)).await;
    answer.expect("the call ends").expect_err("nothing answers")
}

#[tokio::test]
async fn a_call_that_is_never_answered_ends_with_its_time() {
    // The kernel accepts connections, and nothing reads from them.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let error = call(listener.local_addr().unwrap()).await;
    assert_eq!(error.meaning(), Meaning::Unknown);
    assert!(error.attempts() > 1, "{error:?}");
    assert!(error.to_string().starts_with("the outcome is unknown"), "{error}");
}

#[tokio::test]
async fn a_call_that_never_connects_ends_with_its_time() {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    // With a full queue, the kernel leaves further connections without an answer.
    let mut queued = Vec::new();
    while let Ok(stream) = timeout(SHORT.attempt_timeout, TcpStream::connect(address)).await {
        queued.push(stream.expect("it listens"));
        assert!(queued.len() <= QUEUE_MAX, "the queue is never full");
    }
    let error = call(address).await;
    assert!(error.meaning().may_have_happened() || error.meaning().is_retryable(), "{error:?}");
    assert!(error.attempts() > 1, "{error:?}");
}

#[tokio::test]
async fn a_call_for_which_no_connection_is_made_changes_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let error = call(address).await;
    assert_eq!(error.meaning(), Meaning::RetryUnchanged, "{error:?}");
    assert!(!error.may_have_happened());
    assert!(error.attempts() > 1, "{error:?}");
}
