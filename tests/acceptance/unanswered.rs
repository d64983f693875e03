//! What is said when there is no answer: how to ask again, if something may have happened.

use std::net::TcpListener;

use crate::support::ports;
use crate::support::process::{Process, coupon, run};

/// Calls that change something.
const CHANGES: [&[&str]; 2] = [
    &["issue", "spring"],
    &["campaign", "create", "spring", "--quota", "1", "--start", "+10m", "--end", "+20m"],
];

/// Exit codes.
const OUTCOME_UNKNOWN: i32 = 5;
const UNAVAILABLE: i32 = 6;

/// What a call that fails says; it exits with `code`.
fn said(call: &[&str], router: &str, timeout: &str, code: i32) -> String {
    let output = run(&[call, &["--router", router, "--timeout", timeout]].concat());
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{call:?}: {error}");
    error
}

#[test]
fn a_change_without_an_answer_can_be_asked_for_again() {
    // Connections are made by the operating system, and nobody ever looks at them.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let router = silent.local_addr().unwrap().to_string();
    for call in CHANGES {
        let error = said(call, &router, "300ms", OUTCOME_UNKNOWN);
        assert!(error.contains("ask again with --request-id "), "{call:?}: {error}");
        let has_times = error.contains(" --start 2") && error.contains(" --end 2");
        assert_eq!(has_times, call.contains(&"--start"), "{error}");
    }
}

#[test]
fn nothing_is_to_be_asked_again_when_nothing_was_changed() {
    let nobody = format!("127.0.0.1:{}", ports::free());
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("router.log");
    let args = ["router", "--listen", "127.0.0.1:0", "--nodes", &nobody];
    let mut router = Process::start(coupon(&args), &log);
    let address = router.address();
    for call in CHANGES {
        let error = said(call, &address, "3s", UNAVAILABLE);
        assert!(error.contains("NO_LEADER"), "{call:?}: {error}");
        assert!(!error.contains("ask again"), "{call:?}: {error}");
    }
}
