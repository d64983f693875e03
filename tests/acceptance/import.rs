//! Codes made elsewhere: each is imported once, whatever happens meanwhile, and given once, in order.

use std::fmt::Write as _;
use std::path::Path;

use coupon_client::{Client, Reason, RetryPolicy, v1};
use coupon_proto::v1::campaign_service_client::CampaignServiceClient;
use coupon_proto::v1::event_service_client::EventServiceClient;
use futures::StreamExt as _;
use futures::stream;
use serde_json::Value;

use crate::support::cluster::Cluster;
use crate::support::process::{Process, coupon, run};
use crate::support::wait::until;

/// How many codes there are.
const CODES: usize = 100_000;

/// How many of them are imported at least when the leader is killed.
const BEFORE_THE_CRASH: i64 = 10_000;

/// How many coupons are issued before one is answered.
const IN_FLIGHT: usize = 500;

/// The exit code of a refusal.
const REFUSED: i32 = 4;

/// The exit code when the codes of some lines were not added.
const LINES_REFUSED: i32 = 1;

/// Makes a campaign with imported codes.
fn create(cluster: &Cluster, campaign_id: &str, quota: &str) {
    let args = ["campaign", "create", campaign_id, "--quota", quota, "--imported-codes"];
    let created = run(&[&args[..], &["--router", &cluster.router]].concat());
    assert!(created.status.success(), "{}", String::from_utf8_lossy(&created.stderr));
}

/// The arguments that import a file.
fn import<'a>(cluster: &'a Cluster, campaign_id: &'a str, file: &'a str) -> Vec<&'a str> {
    let to = ["--router", &cluster.router, "--timeout", "60s"];
    [&["campaign", "import", campaign_id, file, "-o", "json"][..], &to].concat()
}

async fn campaign(cluster: &Cluster, campaign_id: &str) -> Option<v1::Campaign> {
    let mut campaigns = CampaignServiceClient::new(cluster.connect());
    let request = v1::GetCampaignRequest { campaign_id: campaign_id.to_owned() };
    campaigns.get_campaign(request).await.ok()?.into_inner().campaign
}

fn code(number: usize) -> String {
    format!("GIFT-{number:06}")
}

fn json(output: &std::process::Output) -> Value {
    serde_json::from_slice(&output.stdout).expect("it prints JSON")
}

fn text(path: &Path) -> String {
    path.to_str().expect("temporary paths are text").to_owned()
}

/// Issues coupons until one is refused. Returns the codes in the order of their sequence numbers.
async fn issue_all(client: &Client, campaign_id: &str, count: usize) -> Vec<String> {
    let request = || v1::IssueCouponRequest {
        campaign_id: campaign_id.to_owned(),
        ..v1::IssueCouponRequest::default()
    };
    let requests = (0..count).map(|_| request());
    let mut issued = client.issue_stream(stream::iter(requests), IN_FLIGHT);
    let mut codes = Vec::new();
    while let Some(issued) = issued.next().await {
        let coupon = issued.answer.expect("there is a code for it").coupon.expect("it was issued");
        codes.push((coupon.sequence, coupon.code));
    }
    drop(issued);
    let refused = client.issue_coupon(request()).await.expect_err("there are no more codes");
    assert_eq!(refused.reason(), Some(Reason::OutOfCodes));
    codes.sort_unstable();
    codes.into_iter().map(|(_, code)| code).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_adds_every_code_once_although_the_leader_and_the_command_are_killed() {
    let mut cluster = Cluster::start(&[]).await;
    create(&cluster, "gifts", "1000000");
    let mut lines: Vec<String> = (1..=CODES).map(code).collect();
    for (place, line) in [
        (50_000, code(7)),
        (60_000, "no code".into()),
        (70_000, code(50_000)),
        (80_000, "x".into()),
    ] {
        lines.insert(place, line);
    }
    lines.push(code(CODES));
    let path = cluster.dir().join("codes.txt");
    std::fs::write(&path, lines.join("\r\n")).unwrap();
    let file = text(&path);

    let log = cluster.dir().join("import.log");
    let mut interrupted = Process::start(coupon(&import(&cluster, "gifts", &file)), &log);
    let imported = async || campaign(&cluster, "gifts").await.map(|campaign| campaign.imported);
    until("some codes to be imported", async || {
        imported().await.filter(|imported| *imported >= BEFORE_THE_CRASH)
    })
    .await;
    let leader = cluster.leader_of(Cluster::shard_of("gifts")).await;
    cluster.kill(leader);
    interrupted.kill();
    let output = run(&import(&cluster, "gifts", &file));
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(LINES_REFUSED), "{error}");
    let report = json(&output);
    assert_eq!(report["imported"], CODES, "{report}");
    let refused = report["refused_lines"].as_array().expect("they are listed").iter();
    let refused: Vec<_> = refused.filter_map(|refused| refused["line"].as_u64()).collect();
    assert_eq!(refused, [50_001, 60_001, 70_001, 80_001, 100_005], "those of the first run too");
    assert_eq!(report["lines"], lines.len());
    cluster.restart(leader);
    cluster.whole().await;

    let client = Client::connect([&cluster.router], RetryPolicy::default()).await.unwrap();
    let given = issue_all(&client, "gifts", CODES).await;
    assert!(given.iter().cloned().eq((1..=CODES).map(code)), "each once, and in order");
    // Another file begins with a code that is there.
    let more = cluster.dir().join("more.txt");
    std::fs::write(&more, format!("{}\n{}\n", code(1), code(CODES + 1))).unwrap();
    let file = text(&more);
    let output = run(&import(&cluster, "gifts", &file));
    assert_eq!(output.status.code(), Some(LINES_REFUSED));
    assert_eq!(json(&output)["imported"], 1);
    assert_eq!(issue_all(&client, "gifts", 1).await, [code(CODES + 1)]);

    // Each message that added codes is an event.
    let mut added = 0;
    let mut after = v1::ListEventsRequest {
        campaign_id: "gifts".into(),
        page_size: 1_000,
        ..Default::default()
    };
    let mut events = EventServiceClient::new(cluster.connect());
    loop {
        let page = events.list_events(after.clone()).await.unwrap().into_inner();
        added += page.events.iter().map(|event| event.imported).sum::<i64>();
        let Some(last) = page.events.last() else { break };
        (after.after_revision, after.history_id) = (last.revision, last.history_id);
    }
    assert_eq!(added, CODES as i64 + 1);

    let path = cluster.dir().join("export.csv");
    let exported = run(&["export", "gifts", "--file", &text(&path), "--router", &cluster.router]);
    assert!(exported.status.success());
    let rows = std::fs::read_to_string(&path).unwrap();
    let codes = rows.lines().skip(1).map(|row| row.split(',').next().unwrap_or_default());
    assert!(codes.eq((1..=CODES + 1).map(code)), "an export shows them");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lines_that_are_refused_are_told_and_coupons_are_found_by_their_campaign_and_code() {
    let cluster = Cluster::start(&[]).await;
    create(&cluster, "gifts", "10");
    let mut file = String::from("\u{feff}");
    for line in ["AAAA-1", "", "AAAA-2", "AAAA-1", "x,y-z", "AAAA-3"] {
        writeln!(file, "{line}").unwrap();
    }
    let path = cluster.dir().join("codes.txt");
    std::fs::write(&path, file).unwrap();
    let path = text(&path);
    let output = run(&import(&cluster, "gifts", &path));
    assert_eq!(output.status.code(), Some(LINES_REFUSED));
    let report = json(&output);
    assert_eq!((&report["imported"], &report["lines"]), (&3.into(), &6.into()));
    let refused = serde_json::json!([
        { "line": 4, "reason": "DUPLICATE", "duplicate_of_sequence": 1, "duplicate_of_line": 1 },
        { "line": 5, "reason": "MALFORMED" },
    ]);
    assert_eq!(report["refused_lines"], refused);
    let again = run(&import(&cluster, "gifts", &path));
    assert_eq!(again.status.code(), Some(LINES_REFUSED));
    assert_eq!(
        json(&again),
        report,
        "the same file once more changes nothing, and is told the same"
    );
    let id = report["import_id"].as_str().expect("an import has an id").to_owned();
    let other = text(&cluster.dir().join("other.txt"));
    std::fs::write(&other, "AAAA-1\nBBBB-2\n").unwrap();
    let changed = run(&[&import(&cluster, "gifts", &other)[..], &["--import-id", &id]].concat());
    assert_eq!(changed.status.code(), Some(LINES_REFUSED));
    let refused = serde_json::json!([{ "line": 2, "reason": "CHANGED" }]);
    assert_eq!(json(&changed)["refused_lines"], refused, "another file is not that import");
    std::fs::write(&other, "Code\r\nAAAA-4\r\n").unwrap();
    let table = run(&import(&cluster, "gifts", &other));
    assert!(String::from_utf8_lossy(&table.stderr).contains("header"), "nobody is given a header");

    let client = Client::connect([&cluster.router], RetryPolicy::default()).await.unwrap();
    assert_eq!(issue_all(&client, "gifts", 3).await, ["AAAA-1", "AAAA-2", "AAAA-3"]);
    let of = |command: &'static str, code: &'static str| {
        run(&[command, code, "--campaign", "gifts", "--router", &cluster.router, "-o", "json"])
    };
    assert_eq!(json(&of("redeem", "AAAA-2"))["state"], "REDEEMED");
    assert_eq!(json(&of("lookup", "AAAA-2"))["state"], "REDEEMED");
    assert_eq!(of("redeem", "AAAA-2").status.code(), Some(REFUSED), "it was redeemed");
    assert_eq!(json(&of("reverse", "AAAA-2"))["state"], "ISSUED");
    assert_eq!(json(&of("void", "AAAA-3"))["state"], "VOIDED");
    assert_eq!(of("lookup", "AAAA-9").status.code(), Some(REFUSED));

    for step in ["end", "archive", "delete"] {
        let done = run(&["campaign", step, "gifts", "--router", &cluster.router]);
        assert!(done.status.success(), "{step}: {}", String::from_utf8_lossy(&done.stderr));
    }
    let gone = of("lookup", "AAAA-1");
    assert!(String::from_utf8_lossy(&gone.stderr).contains("CAMPAIGN_NOT_FOUND"));
}
