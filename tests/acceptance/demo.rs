//! `coupon demo`: a whole cluster in one process.

use std::process::Stdio;

use rustix::process::Signal;

use crate::support::process::{Process, coupon, run};

fn count(verdict: &str, name: &str) -> u64 {
    let line = verdict.lines().find_map(|line| line.trim().strip_prefix(name));
    line.and_then(|rest| rest.trim().parse().ok())
        .unwrap_or_else(|| panic!("no {name} in:\n{verdict}"))
}

#[test]
fn load_is_issued_without_a_fault() {
    let output = run(&["demo", "--load", "--for", "3s", "--quota", "2000"]);
    let (out, log) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}\n{log}");
    let verdict = out.split_once("verdict: OK").unwrap_or_else(|| panic!("{out}")).1;
    for fault in ["duplicates", "oversold", "undersold", "lost", "phantoms", "gaps"] {
        assert_eq!(count(verdict, fault), 0, "{verdict}");
    }
    assert!(count(verdict, "issued") > 0, "{verdict}");
    assert!(count(verdict, "acknowledged") > 0, "{verdict}");
}

#[test]
fn data_is_found_again() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let args = ["demo", "--data", data.to_str().unwrap(), "--nodes", "1", "--for", "1s"];
    let first = coupon(&args).arg("--load").output().unwrap();
    let again = coupon(&args).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(first.status.success(), "{}", text(&first.stderr));
    assert!(again.status.success(), "{}", text(&again.stderr));
    let issued = count(&text(&first.stdout), "acknowledged");
    assert!(count(&text(&again.stdout), "issued") >= issued);

    let other = run(&["demo", "--data", data.to_str().unwrap(), "--nodes", "3"]);
    assert_eq!(other.status.code(), Some(2), "{}", text(&other.stderr));
    assert!(text(&other.stderr).contains("say --nodes 1"), "{}", text(&other.stderr));
}

/// A node whose directory was replaced by a new one, and is there again, is refused by the others.
#[test]
fn a_member_that_ends_by_itself_ends_the_demo() {
    let dir = tempfile::tempdir().unwrap();
    let (data, away) = (dir.path().join("data"), dir.path().join("away"));
    let demo = || run(&["demo", "--data", data.to_str().unwrap(), "--for", "1s"]);
    let node = data.join("node-2");
    assert!(demo().status.success());
    std::fs::rename(&node, &away).unwrap();
    assert!(demo().status.success(), "a new directory takes its place");
    std::fs::remove_dir_all(&node).unwrap();
    std::fs::rename(&away, &node).unwrap();
    let refused = demo();
    let error = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(3), "{error}");
    assert!(error.contains("error: node 2: ") && error.contains("replaced by another"), "{error}");
}

#[test]
fn it_ends_when_asked_to() {
    let mut command = coupon(&["demo", "--nodes", "1", "--shards", "1"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut demo = Process::adopt(child);
    demo.read_until("Ctrl-C ends it");
    demo.signal(Signal::TERM);
    demo.read_until("verdict: OK");
    assert!(demo.wait().success());
}
