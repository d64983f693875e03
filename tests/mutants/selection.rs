//! `COUPON_MUTANT`.

use crate::support::process::coupon;

#[test]
fn an_unknown_mutant_is_refused() {
    let output = coupon(&["version"]).env("COUPON_MUTANT", "nobody").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("COUPON_MUTANT=nobody: the mutants are retry-not-dedup"), "{said}");
}

#[test]
fn a_mutant_says_that_it_is_one() {
    let output = coupon(&["version"]).env("COUPON_MUTANT", "starts-early").output().unwrap();
    assert!(output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).starts_with("MUTANT starts-early: "));
}
