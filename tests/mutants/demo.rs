//! `coupon demo --load` says so when its cluster breaks a promise, and exits accordingly.

use crate::report::Report;
use crate::support::process::coupon;

fn demo(mutant: Option<&str>) -> Report {
    let mut command = coupon(&["demo", "--load", "--for", "3s", "--quota", "2000"]);
    command.envs(mutant.map(|name| ("COUPON_MUTANT", name)));
    command.output().expect("the program was just built").into()
}

#[test]
fn a_demo_that_oversells_ends_with_a_failure() {
    let report = demo(Some("quota-outside-log"));
    report.assert_violated("oversold");
    report.assert_failed("the cluster broke a promise");
}

#[test]
fn a_demo_is_fine() {
    demo(None).assert_ok();
}
