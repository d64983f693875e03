//! Golden scripts: stories about the ledger that a person can read, in `tests/scripts/*.txt`.
//!
//! A script is a list of blocks. A block is some lines of commands, a line `----`, and the lines
//! that came of them; a blank line or the end of the file ends it. Lines that begin with `#` are for
//! the reader.
//!
//! ```text
//! adopt EPOCH SHARD...               adopt a ring (the ledger is that of shard 1)
//! create ID quota=N [start=T] [end=T] [limit=N] [ttl=MICROS] [name=TEXT] [label=TEXT] [key=N]
//!                                    [codes=imported] [request=rN]
//! import ID rN LINE [CODE...]        import codes from that line on; CODE - is a line without one, rN is the import
//! update ID rN [quota=N] [start=T] [end=T] [name=TEXT] [label=TEXT] [limit=N] [ttl=MICROS] [etag=TEXT]
//!                                    start=now, end=never, label=- is none
//! end ID rN                          end a campaign
//! archive ID rN                      archive a campaign
//! delete ID rN                       delete a campaign
//! check create ID ...                what that would come to (no entry)
//! issue ID RECIPIENT rN [KEY=VALUE...]    RECIPIENT - is nobody, KEY=VALUE is metadata
//! hold ID RECIPIENT rN MICROS        hold a coupon for MICROS microseconds; rN is the hold's id
//! confirm ID rHOLD rN [KEY=VALUE...] confirm a hold
//! release ID rHOLD rN                release a hold
//! redeem SHARD/COUNTER[/KEY] rN [order=TEXT]   or redeem ID:CODE, here and below
//! reverse SHARD/COUNTER[/KEY] rN
//! void SHARD/COUNTER[/KEY] rN [reason=TEXT]
//! void-and-return SHARD/COUNTER[/KEY] rN [reason=TEXT]
//! skip-counters                      skip the counters that an abandoned history could have used
//! fill ID COUNT                      issue COUNT coupons; shows the last one
//! show ID                            show a campaign (no entry)
//! number N                           show the campaign with a number (no entry)
//! terms ID                           show what an administrator decides about a campaign (no entry)
//! shard                              show the state of the shard (no entry)
//! block N                            show who uses a block of counters (no entry)
//! reopen                             forget the ledger and open it from its store (no entry)
//! ```
//!
//! Every line is one log entry; commands in it are set apart by ` ; `. A line may begin with `at T`,
//! the time stamped on its entry and those after it, and a command with `epoch N` if its sender
//! routed by another epoch than the last one that the script adopted.
//!
//! `UPDATE_SCRIPTS=1 cargo test -p coupon-ledger --test golden` rewrites what came of the commands.

#![expect(clippy::unwrap_used, reason = "all of this is a test, also what is not marked as one")]

mod parse;
mod show;
mod stage;

use std::fs;
use std::path::{Path, PathBuf};

use stage::Stage;

#[test]
fn scripts_play_as_written() {
    let update = std::env::var_os("UPDATE_SCRIPTS").is_some();
    let mut differing = Vec::new();
    let scripts = scripts();
    assert!(!scripts.is_empty());
    for path in scripts {
        let written = fs::read_to_string(&path).unwrap();
        let played = play(&written);
        if update {
            fs::write(&path, played).unwrap();
        } else if played != written {
            differing.push(format!("{}:\n{}", path.display(), first_difference(&written, &played)));
        }
    }
    assert!(differing.is_empty(), "{}", differing.join("\n"));
}

fn scripts() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts");
    let mut paths: Vec<_> =
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "txt"));
    paths.sort();
    paths
}

/// The script with the lines that really come of its commands.
fn play(script: &str) -> String {
    let mut stage = Stage::new();
    let mut played = String::new();
    let mut outcomes: Vec<String> = Vec::new();
    let mut in_outcomes = false;
    for line in script.lines().chain([""]) {
        if line.is_empty() {
            assert!(in_outcomes || outcomes.is_empty(), "a block without ----");
            in_outcomes = false;
            for outcome in outcomes.drain(..) {
                played.push_str(&outcome);
                played.push('\n');
            }
        } else if in_outcomes {
            continue;
        } else if line == "----" {
            in_outcomes = true;
        } else if !line.starts_with('#') {
            outcomes.extend(stage.play(line));
        }
        played.push_str(line);
        played.push('\n');
    }
    // The empty line that ended the last block is not part of the script.
    played.pop();
    played
}

fn first_difference(written: &str, played: &str) -> String {
    let mut lines = written.lines().zip(played.lines()).zip(1..);
    lines.find(|((written, played), _)| written != played).map_or_else(
        || "  one is longer than the other".to_owned(),
        |((written, played), number)| {
            format!("  line {number}\n  written: {written}\n  played:  {played}")
        },
    )
}
