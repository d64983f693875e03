//! How long ten million calls take to judge, and how much memory.
//!
//! Makes a history like that of a stampede: several campaigns, each wanted by more callers than it has
//! coupons, all at once; some answers are lost and asked for again, some callers ask twice, and others
//! look at the counters meanwhile. It is written to a file, read back and judged, all in this process.
//!
//! ```sh
//! cargo run --release -p coupon-checker --example ten_million [CALLS [FILE]]
//! ```

#![expect(clippy::disallowed_types, reason = "what is measured here is time")]

use std::error::Error;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use coupon_checker::file::{Assembler, Record, records};
use coupon_checker::{
    Call, Campaign, Coupon, CouponState, Fault, History, Operation, Outcome, check,
};

/// How many campaigns are wanted at once.
const CAMPAIGNS: u64 = 4;

/// Calls under way at once in a campaign.
const CONCURRENCY: u64 = 2_000;

/// The time from one answer to the next in a campaign, in nanoseconds.
const BETWEEN_ANSWERS_NANOS: u64 = 20_000;

/// Number of calls of which one reads the counters.
const READ_EVERY: u64 = 1_000;

/// Number of answers of which one is lost, so that the request is sent again.
const LOST_EVERY: u64 = 499;

/// Number of callers of which one asks for another coupon.
const GREEDY_EVERY: u64 = 50;

/// Bytes in a mebibyte and a kibibyte.
const MIB: u64 = 1 << 20;
const KIB: u64 = 1 << 10;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let calls: u64 = arguments.next().map_or(Ok(10_000_000), |text| text.parse())?;
    let file = arguments.next().map_or_else(
        || std::env::temp_dir().join(format!("history-{}.jsonl", std::process::id())),
        PathBuf::from,
    );
    println!(
        "{calls} calls, {CAMPAIGNS} campaigns, {CONCURRENCY} calls at once in each, three quarters of \
         them with a coupon"
    );
    println!("{} processors, load {}", processors(), load());

    let history = timed("make", || stampede(calls));
    let found = judge("judge what was made", &history);
    println!("{found}");

    timed("write", || write(&history, &file))?;
    let size = fs::metadata(&file)?.len();
    println!("  the file has {} MiB, {} bytes for each call", size / MIB, size / calls.max(1));
    drop(history);

    let history = timed("read", || read(&file));
    fs::remove_file(&file)?;
    judge("judge what was read", &history?);
    println!("load {}", load());
    Ok(())
}

fn judge(what: &str, history: &History) -> String {
    let verdict = timed(what, || check(history));
    assert!(verdict.is_ok(), "a correct history was blamed: {verdict}");
    verdict.to_string()
}

/// A correct history of about `calls` calls.
fn stampede(calls: u64) -> History {
    let campaigns = (0..CAMPAIGNS).map(|number| campaign(number, calls / CAMPAIGNS)).collect();
    let last = calls / CAMPAIGNS * BETWEEN_ANSWERS_NANOS;
    let fault = Fault {
        name: "kill the leader".to_owned(),
        began: last / 4,
        ended: last / 2,
        in_force: true,
    };
    History { campaigns, faults: vec![fault], ..History::default() }
}

/// A campaign whose calls take effect one after the other, each somewhere between its question and its
/// answer.
fn campaign(number: u64, calls: u64) -> Campaign {
    let quota = calls / 4 * 3;
    let mut campaign = Campaign {
        id: format!("stampede-{number}"),
        quota,
        per_recipient_limit: 1,
        is_complete: true,
        ..Campaign::default()
    };
    let mut random = mixed(number);
    let (mut call, mut lost) = (0, None);
    while call < calls {
        call += 1;
        random = mixed(random);
        let effect = (call + CONCURRENCY) * BETWEEN_ANSWERS_NANOS;
        let spread = CONCURRENCY * BETWEEN_ANSWERS_NANOS / 2;
        let invoked = effect - random % spread;
        let returned = effect + mixed(random) % spread;
        let add = |campaign: &mut Campaign, call, outcome| {
            campaign.operations.push(Operation { invoked, returned, call, outcome });
        };
        if let Some((request_id, recipient, sequence, code)) = lost.take() {
            // Asked again after the answer was lost.
            let outcome = Outcome::Issued { sequence, code, replayed: true };
            add(&mut campaign, Call::Issue { request_id, recipient }, outcome);
            continue;
        }
        let issued = u64::try_from(campaign.rows.len()).unwrap_or(u64::MAX);
        if call % READ_EVERY == 0 {
            add(&mut campaign, Call::Get, Outcome::Counted { issued });
            continue;
        }
        let request_id = u128::from(random) << 64 | u128::from(mixed(random ^ 1));
        let greedy = (call % GREEDY_EVERY == 0).then(|| campaign.rows.last()).flatten();
        if let Some(held) = greedy {
            let recipient = held.recipient.clone();
            let codes = Box::new([held.code.clone()]);
            let outcome = Outcome::LimitReached { codes };
            add(&mut campaign, Call::Issue { request_id, recipient }, outcome);
            continue;
        }
        let recipient: Box<str> = format!("user-{number}-{call:09}").into();
        if issued == quota {
            add(&mut campaign, Call::Issue { request_id, recipient }, Outcome::SoldOut);
            continue;
        }
        let sequence = issued + 1;
        let code: Box<str> = format!("{:016X}", mixed(sequence << 8 | number)).into();
        campaign.rows.push(Coupon {
            sequence,
            code: code.clone(),
            recipient: recipient.clone(),
            request_id,
            state: CouponState::Issued,
        });
        let outcome = if call % LOST_EVERY == 0 {
            lost = Some((request_id, recipient.clone(), sequence, code));
            Outcome::Unknown
        } else {
            Outcome::Issued { sequence, code, replayed: false }
        };
        add(&mut campaign, Call::Issue { request_id, recipient }, outcome);
    }
    // A recording is in the order of the answers.
    campaign.operations.sort_unstable_by_key(|operation| operation.returned);
    campaign
}

fn write(history: &History, path: &Path) -> Result<(), std::io::Error> {
    let mut file = BufWriter::with_capacity(1 << 20, File::create(path)?);
    for record in records(history, "2026-11-22T18:00:00Z") {
        writeln!(file, "{}", Record::to_line(&record))?;
    }
    file.flush()
}

fn read(path: &Path) -> Result<History, Box<dyn Error>> {
    let mut file = BufReader::with_capacity(1 << 20, File::open(path)?);
    let mut assembler = Assembler::new();
    let mut line = String::new();
    while file.read_line(&mut line)? > 0 {
        assembler.push(&line)?;
        line.clear();
    }
    Ok(assembler.finish()?)
}

/// Does something, and says how long it took by the clock on the wall and on the processor, and how much
/// memory was in use at most so far.
fn timed<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let (begun, used) = (Instant::now(), processor_seconds());
    let result = work();
    let (seconds, used) = (begun.elapsed().as_secs_f64(), processor_seconds() - used);
    let peak = peak_mib();
    println!("{what:<20}{seconds:>7.1} s, {used:>6.1} s of a processor, at most {peak} MiB so far");
    result
}

/// For how long this thread, the only one, has been on a processor, as Linux counts it.
fn processor_seconds() -> f64 {
    let times = fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
    let nanos = times.split(' ').next().and_then(|nanos| nanos.parse::<f64>().ok());
    nanos.unwrap_or(0.0) / 1e9
}

/// The most memory that the process had, as Linux counts it.
fn peak_mib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = peak.and_then(|peak| peak.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kib.unwrap_or(0) / (MIB / KIB)
}

fn load() -> String {
    fs::read_to_string("/proc/loadavg").unwrap_or_default().trim().to_owned()
}

fn processors() -> usize {
    std::thread::available_parallelism().map_or(0, usize::from)
}

/// A number that looks like chance: SplitMix64.
fn mixed(number: u64) -> u64 {
    let sum = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (sum ^ (sum >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
