//! Broken promises and missed thresholds.

use std::time::Duration;

use coupon_checker::{Check, check};
use coupon_loadtest::{Clock, LoadTest, Options, Pattern, Target, Thresholds, history_file};

use crate::fake_router::{FakeRouter, Faults};
use crate::patterns::{new_campaign, open};

#[tokio::test(start_paused = true)]
async fn overselling_is_found() {
    let router = FakeRouter::new(Faults { oversells: true, ..Faults::default() });
    let options = Options { target: new_campaign(30), ..open(50, 1) };
    let (judged, report) = router.test(options).await;
    assert!(!judged.is_ok() && !report.is_ok);
    assert_eq!(judged.verdict.found(Check::Oversold), 20, "{}", judged.verdict);
}

#[tokio::test(start_paused = true)]
async fn other_terms_than_were_asked_for_are_found() {
    let router = FakeRouter::new(Faults { widens: true, ..Faults::default() });
    let (judged, report) = router.test(Options { target: new_campaign(30), ..open(50, 1) }).await;
    assert!(!judged.is_ok() && !report.is_ok);
    assert!(report.changed[0].contains("test-1 has not the terms"), "{:?}", report.changed);
    assert_eq!(judged.verdict.found(Check::Oversold), 1, "{}", judged.verdict);
}

#[tokio::test(start_paused = true)]
async fn an_early_start_is_found() {
    let router = FakeRouter::new(Faults { starts_early: true, ..Faults::default() });
    let pattern = Pattern::Stampede { callers: 100, start_in: Duration::from_secs(5) };
    let options = Options { pattern, target: new_campaign(100), ..Options::default() };
    let (judged, report) = router.test(options).await;
    assert!(report.issued_before_start >= 10, "{}", report.issued_before_start);
    assert!(!judged.is_ok());
}

/// Meanwhile others were given coupons, so that those of a second attempt come too late.
#[tokio::test(start_paused = true)]
async fn coupons_that_were_denied_are_out_of_order() {
    for batch in [None, Some(5)] {
        let router = FakeRouter::new(Faults { denied: 1, ..Faults::default() });
        let (judged, report) = router.test(Options { batch, ..open(1_000, 1) }).await;
        assert_eq!((report.issued, router.issued()), (1_000, 1_000));
        assert!(judged.verdict.found(Check::Order) > 0, "{}", judged.verdict);
        assert!(!judged.is_ok() && !report.is_ok);
    }
}

#[tokio::test(start_paused = true)]
async fn coupons_that_are_always_denied_are_phantoms() {
    let router = FakeRouter::new(Faults { denied: 1_000, ..Faults::default() });
    let give_up_after = Duration::from_secs(1);
    let (judged, report) = router.test(Options { give_up_after, ..open(50, 1) }).await;
    assert_eq!((report.unknown, report.errors, router.issued()), (0, 50, 50));
    assert_eq!(judged.verdict.found(Check::Phantoms), 50, "{}", judged.verdict);
}

/// What is said of an attempt that got no answer is not said of the call.
#[tokio::test(start_paused = true)]
async fn a_denial_after_a_lost_answer_says_nothing() {
    let router = FakeRouter::new(Faults { lost: 1, denied: 2, ..Faults::default() });
    let attempt_timeout = Duration::from_millis(300);
    let (judged, report) = router.test(Options { attempt_timeout, ..open(50, 1) }).await;
    assert!(judged.is_ok(), "{}", judged.verdict);
    assert_eq!((report.issued, report.retries), (50, 100));
}

#[tokio::test(start_paused = true)]
async fn a_saved_history_gets_the_same_verdict() {
    let router = FakeRouter::new(Faults { oversells: true, ..Faults::default() });
    let options = Options { target: new_campaign(30), ..open(50, 1) };
    let (judged, _) = router.test(options).await;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("history.jsonl");
    history_file::write(&path, &judged.history, &Clock::start()).unwrap();
    let read = history_file::read(&path).unwrap();
    assert_eq!(read, judged.history);
    assert_eq!(check(&read), judged.verdict);
}

#[tokio::test(start_paused = true)]
async fn calls_of_others_are_known_to_be_unknown() {
    let router = FakeRouter::new(Faults::default());
    let (_, first) = router.test(open(50, 1)).await;
    let target = Target::Existing { campaign_id: "test-1".into() };
    let (judged, second) = router.test(Options { target, ..open(50, 1) }).await;
    assert!(judged.is_ok(), "{}", judged.verdict);
    assert!(!judged.history.campaigns[0].is_complete);
    assert_eq!((first.issued, second.issued, judged.verdict.issued), (50, 50, 100));
    assert!(first.is_complete && !second.is_complete);
    assert!(second.summary().to_string().contains("existed before"), "{}", second.summary());
}

/// Two loads on one campaign that had no coupon when they began.
#[tokio::test(start_paused = true)]
async fn calls_of_others_at_the_same_time_are_no_phantoms() {
    let router = FakeRouter::new(Faults::default());
    // It is created, and then nothing is asked for.
    drop(LoadTest::over(vec![router.connect().await], open(1, 1)).await.unwrap());
    let target = Target::Existing { campaign_id: "test-1".into() };
    let options = Options { target, ..open(50, 1) };
    let ((one, _), (other, _)) = tokio::join!(router.test(options.clone()), router.test(options));
    for judged in [one, other] {
        assert!(judged.is_ok(), "{}", judged.verdict);
        assert_eq!((judged.verdict.issued, judged.verdict.acknowledged), (100, 50));
    }
}

/// Coupons are asked for once a second, the last time a second before the end.
#[tokio::test(start_paused = true)]
async fn rates_are_of_the_time_that_load_was_given() {
    let router = FakeRouter::new(Faults::default());
    let (_, report) = router.test(Options { batch: Some(50), ..open(50, 4) }).await;
    assert_eq!((report.issued, report.issued_per_second), (200, 50));
    assert!((4.0..4.1).contains(&report.elapsed_seconds), "{}", report.elapsed_seconds);
}

#[tokio::test(start_paused = true)]
async fn calls_that_are_never_sent_miss_any_latency() {
    let takes = Duration::from_secs(1);
    let router = FakeRouter::new(Faults { takes, ..Faults::default() });
    let (_, report) = router.test(Options { in_flight_max: 1, ..open(50, 3) }).await;
    assert!(report.unsent > 100, "{}", report.unsent);
    let generous = Thresholds { p99_max: Some(Duration::from_secs(60)), ..Thresholds::default() };
    let missed = generous.missed(&report);
    assert!(missed.len() == 1 && missed[0].contains("never sent"), "{missed:?}");
}

#[tokio::test(start_paused = true)]
async fn thresholds_are_held_against_the_figures() {
    let takes = Duration::from_millis(20);
    let router = FakeRouter::new(Faults { takes, unavailable: 1, ..Faults::default() });
    let (_, report) = router.test(open(50, 2)).await;
    let none = Thresholds::default();
    assert!(none.missed(&report).is_empty());
    let generous = Thresholds {
        p99_max: Some(Duration::from_millis(200)),
        rate_min: Some(40),
        errors_max: Some(0),
        gap_max: Some(Duration::from_millis(500)),
    };
    assert!(generous.missed(&report).is_empty(), "{:?}", generous.missed(&report));
    for (strict, word) in [
        (Thresholds { p99_max: Some(Duration::from_millis(20)), ..none }, "99 %"),
        (Thresholds { rate_min: Some(51), ..none }, "a second"),
        (Thresholds { gap_max: Some(Duration::from_millis(5)), ..none }, "nothing was served"),
    ] {
        let missed = strict.missed(&report);
        assert!(missed.len() == 1 && missed[0].contains(word), "{missed:?}");
    }
    let broken = FakeRouter::new(Faults { is_broken: true, ..Faults::default() });
    let (_, report) = broken.test(open(50, 1)).await;
    assert_eq!(generous.missed(&report).len(), 3, "{:?}", generous.missed(&report));
}

#[tokio::test(start_paused = true)]
async fn a_report_can_be_read_by_programs_and_people() {
    let router = FakeRouter::new(Faults { unavailable: 1, ..Faults::default() });
    let (_, report) = router.test(open(50, 2)).await;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("report.json");
    report.write(&path).unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(json["issued"], 100);
    assert_eq!(json["verdict"]["verdict"], "OK");
    assert_eq!(json["series"][0]["at_ms"], 0);
    assert!(json["latency"]["p99_ms"].as_f64().unwrap() > 0.0);
    let summary = report.summary().to_string();
    assert!(summary.contains("issued       100 coupons in"), "{summary}");
    assert!(summary.contains("repeated a call without an answer (NO_LEADER 100)"), "{summary}");
    let recipients = summary.contains("test-1") || text.contains("\"recipient");
    assert!(!recipients, "figures name nobody");
}
