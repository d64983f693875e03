//! Answers that are none.

use std::time::Duration;

use coupon_checker::Outcome;
use coupon_loadtest::{Conditions, LoadTest, Options, Scope, Unjudged};

use crate::fake_router::{FakeRouter, Faults};
use crate::patterns::open;

#[tokio::test(start_paused = true)]
async fn a_call_is_repeated_with_its_id() {
    for batch in [None, Some(5)] {
        let router = FakeRouter::new(Faults { unavailable: 2, ..Faults::default() });
        let (judged, report) = router.test(Options { batch, ..open(50, 2) }).await;
        assert!(judged.is_ok(), "{}", judged.verdict);
        assert_eq!(router.attempts(), vec![3; 100], "each id came three times");
        assert_eq!((report.sent, report.issued, report.errors), (100, 100, 0));
        assert_eq!((report.attempts, report.retries), (300, 200));
        assert_eq!(report.retries_after["NO_LEADER"], 200);
        assert!(report.latency.p50_ms >= 30.0, "pauses are part of a call's latency");
    }
}

/// What is recorded is the attempt that can have had an effect; who observes learns how long the call
/// took.
#[tokio::test(start_paused = true)]
async fn a_refused_attempt_is_no_part_of_what_is_recorded() {
    let router = FakeRouter::new(Faults { unavailable: 2, ..Faults::default() });
    let test = LoadTest::over(vec![router.connect().await], open(50, 1)).await.unwrap();
    let (seen, waits) = std::sync::mpsc::channel();
    let test = test.observed_by(Box::new(move |observed| {
        let waited = observed.operation.invoked - observed.sent;
        seen.send(Duration::from_nanos(waited)).unwrap();
    }));
    drop(test.run(std::future::pending()).await.unwrap());
    // Two pauses, of 20 and 40 ms, of which up to half is left out.
    let pauses = Duration::from_millis(30)..Duration::from_millis(65);
    let waits: Vec<Duration> = waits.iter().collect();
    assert_eq!(waits.len(), 50);
    assert!(waits.iter().all(|waited| pauses.contains(waited)), "{waits:?}");
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_is_asked_for_again() {
    let router = FakeRouter::new(Faults { lost: 1, ..Faults::default() });
    let attempt_timeout = Duration::from_secs(1);
    let (judged, report) = router.test(Options { attempt_timeout, ..open(50, 1) }).await;
    assert!(judged.is_ok(), "{}", judged.verdict);
    assert_eq!((report.issued, report.retries, router.issued()), (50, 50, 50));
    let replayed = |outcome: &Outcome| matches!(outcome, Outcome::Issued { replayed: true, .. });
    let operations = &judged.history.campaigns[0].operations;
    assert_eq!(operations.iter().filter(|one| replayed(&one.outcome)).count(), 50);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_known_is_recorded_as_unknown() {
    // All is carried out, and never answered.
    let router = FakeRouter::new(Faults { lost: 1_000, ..Faults::default() });
    let options = Options {
        attempt_timeout: Duration::from_millis(300),
        give_up_after: Duration::from_secs(2),
        ..open(50, 1)
    };
    let (judged, report) = router.test(options).await;
    assert!(judged.is_ok(), "coupons of unknown calls are no phantoms: {}", judged.verdict);
    assert_eq!((report.issued, report.unknown, report.errors, report.served), (0, 50, 50, 0));
    assert_eq!((router.issued(), judged.verdict.unknown), (50, 50));
    assert!(report.attempts > 200, "{}", report.attempts);
    assert!((1_500.0..2_100.0).contains(&report.latency.max_ms), "{:?}", report.latency);
    assert!(report.longest_gap_ms >= 1_000.0);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_repeated_when_the_load_is_stopped() {
    let router = FakeRouter::new(Faults { unavailable: 1_000, ..Faults::default() });
    let options = Options { give_up_after: Duration::from_secs(3_600), ..open(50, 60) };
    let stop = tokio::time::sleep(Duration::from_secs(2));
    let (judged, report) = router.test_until(options, stop).await;
    assert!(judged.is_ok(), "{}", judged.verdict);
    assert_eq!((report.issued, report.unknown, report.errors), (0, 0, report.sent));
    assert_eq!(report.answers["NO_LEADER"], report.sent);
}

#[tokio::test(start_paused = true)]
async fn faults_of_the_server_are_errors() {
    let router = FakeRouter::new(Faults { is_broken: true, ..Faults::default() });
    let (judged, report) = router.test(open(50, 1)).await;
    assert!(judged.is_ok(), "{}", judged.verdict);
    assert_eq!((report.errors, report.retries, report.answers["INTERNAL"]), (50, 0, 50));
}

/// One of two routers goes away under load and stays away.
#[tokio::test(start_paused = true)]
async fn a_dead_router_is_gone_around() {
    for batch in [None, Some(5)] {
        let router = FakeRouter::new(Faults::default());
        let dying = router.connect_for(Duration::from_secs(1)).await;
        let channels = vec![dying, router.connect().await];
        let options = Options { batch, reads_per_second: 0, ..open(50, 2) };
        let test = LoadTest::over(channels, options).await.unwrap();
        let recording = test.run(std::future::pending()).await.unwrap();
        let judged = recording.judge(Scope::Recorded, Conditions::default()).await;
        let (judged, report) = judged.unwrap();
        assert!(judged.is_ok(), "{}", judged.verdict);
        assert_eq!((report.issued, report.errors), (100, 0));
        assert!(report.retries > 0);
    }
}

/// Both are gone when all is to be read back.
#[tokio::test(start_paused = true)]
async fn figures_are_there_without_a_verdict() {
    let router = FakeRouter::new(Faults::default());
    let dying = router.connect_for(Duration::from_millis(1_500)).await;
    let options = Options { give_up_after: Duration::from_secs(1), ..open(50, 2) };
    let test = LoadTest::over(vec![dying], options).await.unwrap();
    let recording = test.run(std::future::pending()).await.unwrap();
    let judged = recording.judge(Scope::Recorded, Conditions::default()).await;
    let Unjudged { history, report, .. } = *judged.unwrap_err();
    assert!(!report.is_ok && report.verdict.is_none());
    // Only calls that were under way may have been heard; no later one found a connection.
    assert!(report.issued > 50 && report.errors > 10 && report.unknown > 0, "{report:?}");
    let calls = history.campaigns[0].operations.len();
    assert!(calls > 100, "{calls}, and no coupons: {:?}", history.campaigns[0].rows);
}
