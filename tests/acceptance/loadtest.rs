//! `coupon loadtest` and `coupon check`, against a cluster of processes.

use std::process::Output;

use serde_json::Value;

use crate::support::cluster::Cluster;
use crate::support::process::coupon;

/// Runs a load test against a cluster, off the thread of the test.
async fn loadtest(cluster: &Cluster, args: &[&str]) -> Output {
    let mut command = coupon(&["loadtest", "--router", &cluster.router]);
    command.args(args);
    let output = tokio::task::spawn_blocking(move || command.output()).await;
    output.expect("it does not panic").expect("the program was just built")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[tokio::test]
async fn a_stampede_gets_exactly_the_quota() {
    let cluster = Cluster::start(&[]).await;
    let (json, history) =
        (cluster.dir().join("stampede.json"), cluster.dir().join("stampede.jsonl"));
    let (json_arg, history_arg) = (json.to_str().unwrap(), history.to_str().unwrap());
    let stampede = ["--stampede", "--callers", "2000", "--quota", "1000", "--start-in", "2s"];
    let files = ["--json", json_arg, "--history", history_arg, "--max-errors", "0"];
    let output = loadtest(&cluster, &[&stampede[..], &files[..]].concat()).await;
    let (out, log) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{out}\n{log}");
    assert!(out.contains("verdict: OK"), "{out}");

    let report: Value = serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
    assert_eq!(report["answers"]["ISSUED"], 1_000, "{report}");
    assert_eq!(report["answers"]["SOLD_OUT"], 1_000, "{report}");
    assert_eq!(report["issued_before_start"], 0, "{report}");
    let stampede = &report["stampede"];
    // Those who cannot wait are told so, and ask until they get another answer.
    assert!(stampede["not_started"].as_u64().unwrap() >= 200, "{stampede}");
    assert!(report["answers"].get("NOT_STARTED").is_none(), "{report}");
    assert!(stampede["sold_out_after_ms"].as_f64().unwrap() > 0.0, "{stampede}");

    let check = coupon(&["check", history_arg, "-o", "json"]).output().unwrap();
    assert!(check.status.success(), "{}", text(&check.stderr));
    let verdict: Value = serde_json::from_slice(&check.stdout).unwrap();
    assert_eq!((&verdict["verdict"], &verdict["issued"]), (&"OK".into(), &1_000.into()));

    // Somebody who claims a coupon that is not there makes a promise broken.
    let saved = std::fs::read_to_string(&history).unwrap();
    let saved = saved.replace("\"rows\":1000", "\"rows\":999");
    let row = saved.lines().position(|line| line.starts_with("{\"row\"")).unwrap();
    let lines = saved.lines().enumerate().filter(|(number, _)| *number != row);
    let without: String = lines.map(|(_, line)| format!("{line}\n")).collect();
    std::fs::write(&history, without).unwrap();
    let check = coupon(&["check", history_arg]).output().unwrap();
    assert_eq!(check.status.code(), Some(1), "{}", text(&check.stderr));
    assert!(text(&check.stdout).contains("verdict: VIOLATED"), "{}", text(&check.stdout));
}

#[tokio::test]
async fn a_missed_threshold_is_a_failure() {
    let cluster = Cluster::start(&[]).await;
    let load = ["--rate", "200", "--duration", "2s", "--campaigns", "3", "--hot", "zipf:1"];
    let good = loadtest(&cluster, &[&load[..], &["--max-errors", "0"]].concat()).await;
    assert!(good.status.success(), "{}\n{}", text(&good.stdout), text(&good.stderr));
    assert!(text(&good.stdout).contains("issued       400 coupons"), "{}", text(&good.stdout));
    let batches = ["--rate", "200", "--duration", "2s", "--batch", "20", "--min-rate", "1000000"];
    let slow = loadtest(&cluster, &batches).await;
    assert_eq!(slow.status.code(), Some(1), "{}", text(&slow.stdout));
    assert!(text(&slow.stdout).contains("verdict: OK"), "{}", text(&slow.stdout));
    assert!(text(&slow.stderr).contains("not 1000000"), "{}", text(&slow.stderr));
}
