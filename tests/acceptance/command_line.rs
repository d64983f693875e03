//! Mistakes are named, and scripts can tell them from failures by the exit code.

use crate::support::ports;
use crate::support::process::{coupon, run};

/// A mistake in the command line or the configuration.
const USAGE: i32 = 2;

/// A failure.
const FAILURE: i32 = 1;

/// No router or node could answer.
const UNAVAILABLE: i32 = 6;

#[track_caller]
fn refused(args: &[&str], code: i32, said: &str) {
    let output = run(args);
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{args:?}: {error}");
    assert!(error.contains(said), "{args:?} should say {said:?} and says: {error}");
    assert!(output.stdout.is_empty(), "{args:?}: errors go to standard error");
}

#[test]
fn mistakes_exit_with_2() {
    let node = ["node", "--node-id", "1", "--data", "/nowhere"];
    let with = |more: &[&'static str]| [&node, more].concat();
    refused(&["serve"], USAGE, "unrecognized subcommand");
    refused(&["node", "--data", "/nowhere"], USAGE, "--node-id");
    refused(&["node", "--node-id", "1"], USAGE, "COUPON_NODE_DATA");
    refused(&["node", "--node-id", "one"], USAGE, "invalid digit");
    refused(&["node", "--node-id", "0", "--data", "x"], USAGE, "must not be 0");
    refused(&with(&["--listen", "0.0.0.0:7001"]), USAGE, "--insecure");
    refused(&with(&["--listen", "0.0.0.0:7001", "--insecure"]), USAGE, "advertise is not set");
    refused(&with(&["--max-clock-offset", "500"]), USAGE, "time unit needed");
    refused(&with(&["--config", "/nowhere.toml"]), USAGE, "/nowhere.toml");
    refused(&["router"], USAGE, "--nodes");
    refused(&["router", "--nodes", "a:1", "--listen", "[::]:7000"], USAGE, "--insecure");
    refused(&["cluster", "init"], USAGE, "--nodes");
    refused(&["cluster", "init", "--nodes", "a:1", "--replication", "3"], USAGE, "replication 3");
    refused(&["cluster", "init", "--nodes", "a:1", "--shards", "0"], USAGE, "1..=1023");
    refused(&["status", "--node", "nowhere"], USAGE, "must be host:port");
    refused(&["campaign", "create", "spring"], USAGE, "--quota");
    refused(&["campaign", "create", "--quota", "1", "--start", "soon"], USAGE, "soon");
    refused(&["campaign", "list", "--timeout", "20000years"], USAGE, "100years or less");
    refused(&["loadtest", "--duration", "1000years"], USAGE, "100years or less");
    refused(&["loadtest", "--router", ":7000"], USAGE, "must be host:port");
    refused(&["loadtest", "--rate", "5", "--closed"], USAGE, "cannot be used with");
    refused(&["loadtest", "--hot", "zipf"], USAGE, "zipf:1.1");
    refused(&["loadtest", "--router", "nowhere"], USAGE, "must be host:port");
    refused(&["loadtest", "--stampede", "--start-in", "5ms"], USAGE, "1s or more");
    refused(&["check"], USAGE, "HISTORY_FILE");
    refused(&["check", "/nowhere/run.jsonl"], USAGE, "/nowhere/run.jsonl");
    refused(&["demo", "--nodes", "0"], USAGE, "1..=9");
    refused(&["demo", "--quota", "5"], USAGE, "--load");
    refused(&["demo", "--listen", "0.0.0.0:7000"], USAGE, "loopback");
}

#[test]
fn failures_exit_with_1() {
    let nobody = format!("127.0.0.1:{}", ports::free());
    refused(&["health", &nobody], FAILURE, &nobody);
}

#[test]
fn a_router_that_is_away_exits_with_6() {
    let nobody = format!("127.0.0.1:{}", ports::free());
    refused(&["status", "--node", &nobody], UNAVAILABLE, &nobody);
    refused(&["issue", "spring", "--router", &nobody], UNAVAILABLE, &nobody);
    refused(&["campaign", "list", "--router", &nobody], UNAVAILABLE, &nobody);
    refused(&["loadtest", "--router", &nobody], UNAVAILABLE, &nobody);
    let init = ["cluster", "init", "--nodes", &nobody, "--timeout", "300ms"];
    refused(&init, UNAVAILABLE, "waiting for the node");
}

#[test]
fn small_mistakes_are_told_with_what_to_write_instead() {
    let create = |more: &[&'static str]| [&["campaign", "create", "spring"], more].concat();
    let quota = |more: &[&'static str]| create(&[&["--quota", "1"], more].concat());
    refused(&create(&["--quota", "0"]), USAGE, "1..=1000000000");
    refused(&quota(&["--per-recipient-limit", "101"]), USAGE, "0..=100");
    refused(&quota(&["--start", "-10s"]), USAGE, "begins with a plus, such as +10m");
    refused(&quota(&["--end", "-10s"]), USAGE, "is in the past");
    refused(
        &quota(&["--start", "2030-03-01T09:00:00"]),
        USAGE,
        "write 2030-03-01T09:00:00Z for UTC",
    );
    refused(&quota(&["--label", "a=1", "--label", "a=2"]), USAGE, "the key \"a\" twice");
    let twice = ["issue", "spring", "--metadata", "order=1", "--metadata", "order=1"];
    refused(&twice, USAGE, "the key \"order\" twice");
    refused(&["campaign", "update", "spring", "--label", "a=1", "--label", "a=2"], USAGE, "twice");
    refused(&["health", "http://127.0.0.1:7000"], USAGE, "host:port, such as 127.0.0.1:7000");
    refused(&["issue", "spring", "--timeout", "0s"], USAGE, "--timeout is 0");
    refused(&["health", "127.0.0.1:7000", "--timeout", "0s"], USAGE, "--timeout is 0");
}

#[test]
fn a_time_without_an_offset_is_shown_as_it_reads_here() {
    let mut command =
        coupon(&["campaign", "create", "--quota", "1", "--start", "2030-03-01T09:00:00"]);
    // A time zone of its own, which no machine needs files for.
    let output = command.env("TZ", "KST-9").output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(USAGE), "{error}");
    assert!(
        error.contains("or 2030-03-01T09:00:00+09:00 for the time zone of this machine"),
        "{error}"
    );
}

#[test]
fn failures_are_json_where_output_is() {
    let nobody = format!("127.0.0.1:{}", ports::free());
    let output = run(&["issue", "spring", "--router", &nobody, "-o", "json"]);
    assert_eq!(output.status.code(), Some(UNAVAILABLE));
    let error: serde_json::Value = serde_json::from_slice(&output.stderr).unwrap();
    assert_eq!((&error["kind"], &error["exit_code"]), (&"unavailable".into(), &UNAVAILABLE.into()));
    assert!(error["message"].as_str().unwrap().contains(&nobody), "{error}");
    let usage = run(&["issue", "spring", "--timeout", "0s", "-o", "json"]);
    let error: serde_json::Value = serde_json::from_slice(&usage.stderr).unwrap();
    assert_eq!(error["kind"], "usage");
}

#[test]
fn a_reader_that_stops_reading_is_no_fault() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = coupon(&["completions", "bash"]).stdout(writer).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert_eq!(output.status.code(), Some(FAILURE));
}

#[test]
fn completions_and_manual_pages_are_made() {
    for (shell, says) in
        [("bash", "complete -F"), ("zsh", "#compdef coupon"), ("fish", "complete -c coupon")]
    {
        let output = run(&["completions", shell]);
        let script = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && script.contains(says), "{shell}: {script}");
        assert!(script.contains("per-recipient-limit"), "{shell}");
    }
    let page = String::from_utf8(run(&["man"]).stdout).unwrap();
    assert!(page.contains(".TH coupon 1") && page.contains("Exit codes:"), "{page}");
    let directory = tempfile::tempdir().unwrap();
    let pages = directory.path().join("man1");
    assert!(run(&["man", "--to", pages.to_str().unwrap()]).status.success());
    for name in ["coupon.1", "coupon-campaign-create.1", "coupon-issue.1"] {
        assert!(pages.join(name).is_file(), "{name}");
    }
}

#[test]
fn help_and_version_exit_with_0() {
    for args in [&["--help"][..], &["help", "node"], &["version"], &["--version"]] {
        let output = run(args);
        assert!(output.status.success(), "{args:?}");
        assert!(!output.stdout.is_empty(), "{args:?}");
    }
    let version = String::from_utf8(run(&["version"]).stdout).unwrap();
    assert_eq!(version.trim(), concat!("coupon ", env!("CARGO_PKG_VERSION")));
}

#[test]
fn layers_are_put_together() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "node_id = 1\nelection_timeout = \"11s\"\nlog_entries_kept = 12")
        .unwrap();
    let config = file.path().to_str().unwrap();
    let print = |more: &[&str], variables: &[(&str, &str)]| {
        let mut command = coupon(&["config", "print", "node", "--config", config]);
        let output = command.args(more).envs(variables.iter().copied()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let variables = [
        ("COUPON_NODE_LOG_ENTRIES_KEPT", "22"),
        ("COUPON_NODE_LOG_BYTES_KEPT", "23"),
        ("COUPON_NODE_JOIN", "a:1, b:2"),
        ("COUPON_NODE_SERVICE_HOST", "10.0.0.1"),
    ];
    let printed = print(&["--log-bytes-kept", "33"], &variables);
    for line in [
        "node_id = 1",
        "election_timeout = \"11s\"",
        "log_entries_kept = 22",
        "log_bytes_kept = 33",
        "join = [\"a:1\", \"b:2\"]",
        "max_clock_offset = \"500ms\"",
    ] {
        assert!(printed.lines().any(|printed| printed == line), "no {line} in\n{printed}");
    }
}

#[test]
fn texts_in_the_environment_are_what_the_setting_takes_them_for() {
    let print = |variables: &[(&str, &str)]| {
        let mut command = coupon(&["config", "print", "node"]);
        command.envs(variables.iter().copied()).output().unwrap()
    };
    for (text, is_insecure) in [("1", true), ("true", true), ("0", false), ("false", false)] {
        let variables = [
            ("COUPON_NODE_INSECURE", text),
            ("COUPON_NODE_DATA", text),
            ("COUPON_NODE_ADVERTISE", "1"),
            ("COUPON_NODE_NODE_ID", "7"),
        ];
        let output = print(&variables);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{text}: {error}");
        let printed = String::from_utf8(output.stdout).unwrap();
        for line in [
            &format!("insecure = {is_insecure}"),
            &format!("data = \"{text}\""),
            "advertise = \"1\"",
            "node_id = 7",
        ] {
            assert!(printed.lines().any(|printed| printed == line), "no {line} in\n{printed}");
        }
    }
    for (name, text) in [("INSECURE", "maybe"), ("NODE_ID", "one"), ("SNAPSHOT_BYTES", "-1")] {
        let output = print(&[(&format!("COUPON_NODE_{name}"), text)]);
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(USAGE), "{name}: {error}");
        assert!(error.contains(name), "{error}");
    }
}

#[test]
fn mistakes_in_a_file_are_told_by_the_names_in_it() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let config = ["config", "check", "node", "--config", file.path().to_str().unwrap()];
    for (text, says) in [
        ("node_id = \"one\"", "expected a whole number for key \"node_id\""),
        ("listen = \"here\"", "for key \"listen\""),
        ("listens = 1", "found `listens`"),
    ] {
        std::fs::write(file.path(), text).unwrap();
        refused(&config, USAGE, says);
        let said = String::from_utf8(run(&config).stderr).unwrap();
        assert!(!said.contains("default.") && !said.contains("u64"), "{said}");
    }
}

#[test]
fn unknown_settings_are_refused() {
    let mut typo = coupon(&["config", "check", "router", "--nodes", "a:1"]);
    let output = typo.env("COUPON_ROUTER_LISTENS", "127.0.0.1:1").output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(USAGE), "{error}");
    assert!(error.contains("listens"), "{error}");
    let good = run(&["config", "check", "router", "--nodes", "a:1"]);
    assert!(good.status.success(), "{}", String::from_utf8_lossy(&good.stderr));
}
