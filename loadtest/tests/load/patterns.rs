//! When calls are sent, and how long they take by what clock.

use std::time::Duration;

use coupon_checker::Outcome;
use coupon_loadtest::{Bottleneck, LoadTest, Options, Pattern, Popularity, Target};

use crate::fake_router::{FakeRouter, Faults};

/// A campaign of its own with a quota.
pub(crate) fn new_campaign(quota: u32) -> Target {
    Target::New {
        prefix: "test".into(),
        count: 1,
        quota,
        per_recipient_limit: 1,
        is_renewed: false,
    }
}

/// An open loop.
pub(crate) fn open(rate: u32, seconds: u64) -> Options {
    Options {
        pattern: Pattern::Open { rate },
        duration: Some(Duration::from_secs(seconds)),
        target: new_campaign(100_000),
        ..Options::default()
    }
}

#[tokio::test(start_paused = true)]
async fn an_open_loop_sends_what_was_offered() {
    let router = FakeRouter::new(Faults::default());
    let (judged, report) = router.test(open(100, 3)).await;
    assert!(judged.is_ok(), "{}", judged.verdict);
    assert_eq!((report.offered, report.sent, report.issued, report.late), (300, 300, 300, 0));
    assert_eq!((report.served_per_second, report.errors, report.retries), (100, 0, 0));
    assert_eq!(report.bottleneck, Bottleneck::None);
    assert_eq!(report.latency_reads.count, 30, "ten a second");
    let per_slot: Vec<u32> = report.series.iter().map(|slot| slot.sent).collect();
    assert_eq!(per_slot, [10; 30]);
}

/// The system stands still from 1 s to 2 s. Of the hundred calls that should have been sent
/// meanwhile only one could be; but all of them waited.
#[tokio::test(start_paused = true)]
async fn latency_of_an_open_loop_counts_from_the_intended_time() {
    let still = Some((Duration::from_secs(1), Duration::from_secs(2)));
    let router = FakeRouter::new(Faults { still, ..Faults::default() });
    let (judged, report) = router.test(Options { in_flight_max: 1, ..open(100, 3) }).await;
    assert!(judged.is_ok(), "{}", judged.verdict);
    assert_eq!((report.issued, report.unsent), (300, 0));
    let latency = report.latency;
    assert!((950.0..1_010.0).contains(&latency.max_ms), "{latency:?}");
    assert!((600.0..750.0).contains(&latency.p90_ms), "{latency:?}");
    assert!((97..=99).contains(&report.late), "{} late", report.late);
    assert!((950.0..1_050.0).contains(&report.longest_gap_ms), "{}", report.longest_gap_ms);
    assert_eq!(report.bottleneck, Bottleneck::System);
}

#[tokio::test(start_paused = true)]
async fn what_a_system_that_is_too_slow_never_gets_is_counted() {
    let takes = Duration::from_millis(100);
    let router = FakeRouter::new(Faults { takes, ..Faults::default() });
    let (_, report) = router.test(Options { in_flight_max: 2, ..open(100, 5) }).await;
    assert_eq!((report.offered, report.sent + report.unsent), (500, 500));
    assert!((98..=102).contains(&report.sent), "{}", report.sent);
    assert_eq!(report.bottleneck, Bottleneck::System);
}

#[tokio::test(start_paused = true)]
async fn a_closed_loop_keeps_as_many_calls_under_way() {
    let takes = Duration::from_millis(10);
    let router = FakeRouter::new(Faults { takes, ..Faults::default() });
    let pattern = Pattern::Closed { concurrency: 200 };
    let (judged, report) = router.test(Options { pattern, ..open(0, 2) }).await;
    assert!(judged.is_ok(), "{}", judged.verdict);
    assert_eq!(report.in_flight_top, 200);
    // Ten milliseconds each, rounded up to the next tick of the clock.
    assert!((18_000..=20_200).contains(&report.issued_per_second), "{}", report.issued_per_second);
}

#[tokio::test(start_paused = true)]
async fn a_campaign_that_is_sold_out_is_followed_by_another() {
    let takes = Duration::from_millis(10);
    let router = FakeRouter::new(Faults { takes, ..Faults::default() });
    let target = Target::New {
        prefix: "test".into(),
        count: 2,
        quota: 20,
        per_recipient_limit: 1,
        is_renewed: true,
    };
    let pattern = Pattern::Closed { concurrency: 4 };
    let (judged, report) = router.test(Options { pattern, target, ..open(0, 1) }).await;
    assert!(judged.is_ok(), "{}", judged.verdict);
    assert!(report.campaigns > 10, "{}", report.campaigns);
    assert_eq!(report.issued, judged.verdict.issued);
    assert_eq!(report.errors, 0);
}

#[tokio::test(start_paused = true)]
async fn a_stampede_ends_with_a_final_answer_for_everybody() {
    let router = FakeRouter::new(Faults::default());
    let pattern = Pattern::Stampede { callers: 1_000, start_in: Duration::from_secs(5) };
    let target = new_campaign(500);
    let options = Options { pattern, target, duration: None, ..Options::default() };
    let (judged, report) = router.test(options).await;
    assert!(judged.is_ok(), "{}", judged.verdict);
    let answers: Vec<(&str, u64)> =
        report.answers.iter().map(|(reason, count)| (reason.as_str(), *count)).collect();
    assert_eq!(answers, [("ISSUED", 500), ("SOLD_OUT", 500)], "nobody is left with NOT_STARTED");
    assert_eq!((report.errors, report.unknown, report.retries), (0, 0, 0));
    let stampede = report.stampede.unwrap();
    assert!(stampede.not_started >= 100, "one in ten comes too early: {stampede:?}");
    assert!(stampede.sold_out_after_ms.is_some_and(|after| after < 200.0), "{stampede:?}");
    assert!(stampede.all_answered_after_ms < 200.0, "{stampede:?}");
    assert!(report.latency.max_ms < 200.0, "waiting for the start is no latency");
    // Each of these answers is known to the checker, which knows when it is a lie.
    let operations = &judged.history.campaigns[0].operations;
    let told = operations.iter().filter(|one| one.outcome == Outcome::NotStarted).count();
    assert_eq!(u64::try_from(told).unwrap(), stampede.not_started);
}

#[tokio::test(start_paused = true)]
async fn load_can_be_stopped() {
    let router = FakeRouter::new(Faults::default());
    let stop = tokio::time::sleep(Duration::from_millis(1_005));
    let (judged, report) = router.test_until(open(100, 60), stop).await;
    assert!(judged.is_ok(), "{}", judged.verdict);
    assert!(report.was_stopped);
    assert_eq!((report.issued, report.unsent), (101, 0));
}

/// More nanoseconds than 64 bits hold, from some moment on.
#[tokio::test(start_paused = true)]
async fn no_load_is_too_long() {
    let router = FakeRouter::new(Faults::default());
    let options = open(100, 1_000 * 365 * 86_400);
    let test = LoadTest::over(vec![router.connect().await], options).await.unwrap();
    tokio::time::advance(Duration::from_millis(1)).await;
    let recording = test.run(tokio::time::sleep(Duration::from_millis(1_005))).await.unwrap();
    assert_eq!(recording.issued(), 101);
}

#[tokio::test(start_paused = true)]
async fn batches_are_of_their_size() {
    let router = FakeRouter::new(Faults::default());
    let (judged, report) = router.test(Options { batch: Some(25), ..open(100, 2) }).await;
    assert!(judged.is_ok(), "{}", judged.verdict);
    assert_eq!((report.offered, report.issued, report.attempts), (200, 200, 200));
}

#[tokio::test(start_paused = true)]
async fn requests_of_a_stream_are_repeated_and_judged_as_others() {
    let router = FakeRouter::new(Faults { lost: 1, ..Faults::default() });
    let attempt_timeout = Duration::from_secs(1);
    let options = Options { is_streamed: true, attempt_timeout, ..open(100, 2) };
    let (judged, report) = router.test(options).await;
    assert!(judged.is_ok(), "{}", judged.verdict);
    assert_eq!((report.offered, report.issued, report.errors), (200, 200, 0));
    assert!(router.attempts().iter().all(|attempts| *attempts == 2), "{:?}", router.attempts());
    // The verdict sees what goes over streams.
    let router = FakeRouter::new(Faults { oversells: true, ..Faults::default() });
    let options = Options { is_streamed: true, target: new_campaign(50), ..open(100, 2) };
    assert!(!router.test(options).await.0.is_ok());
}

#[tokio::test(start_paused = true)]
async fn hot_campaigns_and_few_recipients_meet_limits() {
    let router = FakeRouter::new(Faults::default());
    let target = Target::New {
        prefix: "test".into(),
        count: 3,
        quota: 1_000,
        per_recipient_limit: 2,
        is_renewed: false,
    };
    let popularity = Popularity::Zipf(2.0);
    let options = Options { target, popularity, recipients: Some(20), ..open(100, 5) };
    let (judged, report) = router.test(options).await;
    assert!(judged.is_ok(), "{}", judged.verdict);
    assert!(report.answers["RECIPIENT_LIMIT_REACHED"] > 300, "{:?}", report.answers);
    assert_eq!((report.served, report.errors), (500, 0));
    let asked: Vec<usize> =
        judged.history.campaigns.iter().map(|campaign| campaign.operations.len()).collect();
    assert!(asked[0] > 2 * asked[1] && asked[1] > asked[2], "{asked:?}");
}
