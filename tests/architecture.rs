//! The architecture, as rules that fail a build.
//!
//! Imports run one way: cluster ← transport and ledger ← node; cluster and proto ← wire; accept, trace ← protocols;
//! accept, env, proto, transport, trace, wire ← node and router; protocols ← router; proto ← client; client, transport, wire ← admin; client and
//! checker ← loadtest; admin and loadtest ← bench; the program and chaos on top. What is decided lives in pure crates, and
//! their lists of dependencies prove that they are pure.
//! Each rule is one test; its message says what to do about a violation.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

#[path = "architecture/crates.rs"]
mod crates;
#[path = "architecture/source.rs"]
mod source;
use crates::CRATES;

/// Crates that compute the same everywhere: no runtime, no I/O, no clock, no randomness.
const PURE: [&str; 3] = ["coupon-cluster", "coupon-ledger", "coupon-checker"];

/// What a pure crate must not reach through any of its dependencies.
const IMPURE: [&str; 10] = [
    "getrandom",
    "mio",
    "openraft",
    "rand",
    "rocksdb",
    "socket2",
    "tokio",
    "tonic",
    "tracing",
    "uuid",
];

/// Modules of the standard library that touch the world outside.
const OUTSIDE_WORLD: [&str; 7] = [
    "std::env",
    "std::fs",
    "std::io",
    "std::net",
    "std::process",
    "std::thread",
    "std::time::System",
];

/// The folders and files below a crate's root, each of which may import those before it.
const LAYERS: [(&str, &[&str]); 2] = [
    (
        "node/src",
        &[
            "codec",
            "latency",
            "peers",
            "clock",
            "workers",
            "storage",
            "stream_writer",
            "ticks",
            "raft",
            "meta",
            "shard",
            "config",
            "recovery",
            "node",
            "registration",
            "api",
            "server",
        ],
    ),
    ("router/src", &["route", "answer", "shards", "op", "front"]),
];

/// Files outside of `node/src/raft` and `node/src/shard` that may name openraft, each with its reason.
const OPENRAFT_EXEMPT: [(&str, &str); 1] =
    [("node/src/api/raft.rs", "the serving side of raft/network.rs: the same calls, received")];

/// Past this a file holds more than one idea.
const SOURCE_LINES_MAX: usize = 500;

/// Marks of unfinished work, in two parts so that this file does not find itself.
const UNFINISHED: [&str; 3] =
    [concat!("todo", "!("), concat!("unimplemented", "!("), concat!("dbg", "!(")];

#[test]
fn every_crate_has_a_row_in_this_file() {
    let found: BTreeSet<String> = crates().into_keys().collect();
    let known: BTreeSet<String> = CRATES.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(found, known, "the crates found (left) are not those of CRATES (right)");
}

#[test]
fn imports_between_our_crates_run_one_way() {
    let crates = crates();
    let mut violations = Vec::new();
    for (name, rules) in CRATES {
        let Some(found) = crates.get(*name) else { continue };
        for dependency in found.dependencies.iter().filter(|name| crates.contains_key(*name)) {
            if !rules.ours.contains(&dependency.as_str()) {
                violations.push(format!("{name} must not depend on {dependency}"));
            }
        }
    }
    assert_none("move what is needed to the crate it belongs to", &violations);
}

#[test]
fn pure_crates_depend_only_on_what_is_listed() {
    let crates = crates();
    let mut violations = Vec::new();
    for (name, rules) in CRATES {
        let (Some(found), Some(others)) = (crates.get(*name), rules.others) else { continue };
        for dependency in found.dependencies.iter().filter(|name| !crates.contains_key(*name)) {
            if !others.contains(&dependency.as_str()) {
                violations.push(format!("{name} must not depend on {dependency}"));
            }
        }
    }
    assert_none("a pure crate gets a dependency only if that one is pure", &violations);
}

#[test]
fn pure_crates_reach_nothing_impure() {
    let mut violations = Vec::new();
    for name in PURE {
        for reached in reached_by(name).iter().filter(|name| IMPURE.contains(&name.as_str())) {
            violations.push(format!("{name} reaches {reached}"));
        }
    }
    assert_none("`cargo tree -p CRATE -e no-dev -i REACHED` says how", &violations);
}

#[test]
fn pure_crates_do_not_touch_the_outside_world() {
    let crates = crates();
    let mut violations = Vec::new();
    for name in PURE {
        for file in rust_files(&crates[name].directory.join("src")) {
            for (number, line) in code_lines(&file) {
                if OUTSIDE_WORLD.iter().any(|module| line.contains(module)) {
                    violations.push(place(&file, number, &line));
                }
            }
        }
    }
    assert_none("take it as an argument, or do it in the crate that calls", &violations);
}

#[test]
fn the_router_reaches_neither_openraft_nor_rocksdb() {
    let reached = reached_by("coupon-router");
    let banned = |name: &&String| name.starts_with("openraft") || name.contains("rocksdb");
    let violations: Vec<String> = reached.iter().filter(banned).cloned().collect();
    assert_none("a router holds nothing; `cargo tree -p coupon-router -i NAME`", &violations);
}

#[test]
fn openraft_stays_below_raft_and_shard() {
    let sources = root().join("node/src");
    let mut exempt_and_found = BTreeSet::new();
    let mut violations = Vec::new();
    for file in rust_files(&sources) {
        let relative = relative(&file);
        if ["node/src/raft/", "node/src/shard/"].iter().any(|below| relative.starts_with(below)) {
            continue;
        }
        for (number, line) in code_lines(&file) {
            if !names_openraft(&line) {
                continue;
            }
            match OPENRAFT_EXEMPT.iter().find(|(exempt, _)| *exempt == relative) {
                Some((exempt, _)) => {
                    exempt_and_found.insert(*exempt);
                }
                None => violations.push(place(&file, number, &line)),
            }
        }
    }
    assert_none("its API moves; wrap what is needed in node/src/raft", &violations);
    let stale: Vec<String> = OPENRAFT_EXEMPT
        .iter()
        .filter(|(file, _)| !exempt_and_found.contains(file))
        .map(|(file, reason)| format!("{file} ({reason})"))
        .collect();
    assert_none("no longer needed in OPENRAFT_EXEMPT", &stale);
}

#[test]
fn imports_between_folders_run_one_way() {
    let mut violations = Vec::new();
    for (sources, layers) in LAYERS {
        let directory = root().join(sources);
        let layer = |name: &str| layers.iter().position(|layer| *layer == name);
        for file in rust_files(&directory) {
            let inside = file.strip_prefix(&directory).expect("it was found there");
            let top = inside.iter().next().and_then(OsStr::to_str).unwrap_or_default();
            let top = top.trim_end_matches(".rs");
            // The root names everything.
            if top == "lib" {
                continue;
            }
            let Some(own) = layer(top) else {
                violations.push(format!("{sources}/{top} is not in LAYERS"));
                continue;
            };
            for (number, line) in code_lines(&file) {
                let imported = line.split("crate::").skip(1);
                // Several modules in one line could not be told apart here.
                let upwards = imported.map(first_word).any(|name| {
                    name.is_none_or(|name| layer(&name).is_some_and(|used| used > own))
                });
                if upwards {
                    violations.push(place(&file, number, &line));
                }
            }
        }
    }
    assert_none("move what is needed below, or pass it in from above", &violations);
}

#[test]
fn source_files_hold_one_idea() {
    let mut violations = Vec::new();
    for file in rust_files(&root()) {
        let lines = read(&file).lines().count();
        if lines > SOURCE_LINES_MAX {
            violations.push(format!("{} has {lines} lines", relative(&file)));
        }
    }
    assert_none(&format!("split files of more than {SOURCE_LINES_MAX} lines"), &violations);
}

#[test]
fn nothing_is_left_unfinished() {
    let mut violations = Vec::new();
    for file in rust_files(&root()) {
        for (number, line) in code_lines(&file) {
            if UNFINISHED.iter().any(|mark| line.contains(mark)) {
                violations.push(place(&file, number, &line));
            }
        }
    }
    assert_none("finish it or leave it out", &violations);
}

#[test]
fn marks_are_recorded_in_no_ordinary_build() {
    let mut violations = Vec::new();
    for (name, found) in crates() {
        for line in found.manifest.lines().filter(|line| !line.starts_with('#')) {
            let switches =
                ["\"trace\"", "coupon-node/trace", "coupon-protocols/trace", "coupon-router/trace"];
            let switches_on = switches.iter().any(|switch| line.contains(switch));
            // A crate may have the feature and hand it on, and a test may require it.
            let is_allowed = ["trace = ", "required-features = "];
            if switches_on && !is_allowed.iter().any(|allowed| line.starts_with(allowed)) {
                violations.push(format!("{name}: {line}"));
            }
        }
    }
    assert_none("a trace is for `--features trace` alone", &violations);
}

#[test]
fn unsafe_code_is_forbidden_everywhere() {
    let workspace = read(&root().join("Cargo.toml"));
    let lints = section(&workspace, "workspace.lints.rust");
    assert!(
        lints.contains(&r#"unsafe_code = "forbid""#),
        "the root Cargo.toml must forbid unsafe_code in [workspace.lints.rust]"
    );
    let violations: Vec<String> = crates()
        .into_iter()
        .filter(|(_, found)| !section(&found.manifest, "lints").contains(&"workspace = true"))
        .map(|(name, _)| name)
        .collect();
    assert_none("the manifest needs [lints] workspace = true", &violations);
}

#[test]
fn mutants_are_in_no_ordinary_build() {
    let mut violations = Vec::new();
    for (name, found) in crates() {
        let mut header = "";
        for line in found.manifest.lines().filter(|line| !line.starts_with('#')) {
            if line.starts_with('[') {
                header = line;
            }
            // A crate may have the feature and hand it on, and a test may require it.
            let is_allowed = match header {
                "[features]" => line.starts_with("mutants = "),
                "[[test]]" => true,
                _ => false,
            };
            if line.contains("mutants") && !is_allowed {
                violations.push(format!("{name}: {line}"));
            }
        }
    }
    assert_none("deliberate faults are for `--features mutants` alone", &violations);
}

/// A crate of the workspace.
struct Crate {
    directory: PathBuf,
    manifest: String,
    /// What it is built on, for any target; not what only its tests need.
    dependencies: BTreeSet<String>,
}

/// The crates below the root, by name.
fn crates() -> BTreeMap<String, Crate> {
    let mut crates = BTreeMap::new();
    for path in files(&root(), &|path| path.file_name() == Some(OsStr::new("Cargo.toml"))) {
        let manifest = read(&path);
        let name = section(&manifest, "package").into_iter().find_map(|line| {
            let name = line.strip_prefix("name = \"")?.strip_suffix('"')?;
            Some(name.to_owned())
        });
        let Some(name) = name else { panic!("{} names no package", path.display()) };
        let directory = path.parent().expect("a file is in a directory").to_owned();
        let dependencies = dependencies(&manifest);
        crates.insert(name, Crate { directory, manifest, dependencies });
    }
    crates
}

/// The names in `[dependencies]`, `[build-dependencies]` and their forms for single targets; in this
/// workspace each is the first word of a line.
fn dependencies(manifest: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for header in headers(manifest) {
        let (_, kind) = header.rsplit_once('.').unwrap_or(("", header));
        if header.starts_with("workspace.") || kind == "dev-dependencies" {
            continue;
        }
        if kind == "dependencies" || kind == "build-dependencies" {
            let lines = section(manifest, header);
            names.extend(lines.into_iter().filter_map(first_word));
        } else if let Some((_, name)) = header.split_once("dependencies.")
            && !header.contains("dev-dependencies.")
        {
            names.insert(name.to_owned());
        }
    }
    names
}

/// The key that a line of TOML begins with.
fn first_word(line: &str) -> Option<String> {
    let end = line.find(|c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == '_'))?;
    (end > 0).then(|| line[..end].to_owned())
}

/// The names of all tables of a TOML file.
fn headers(toml: &str) -> Vec<&str> {
    toml.lines().filter_map(|line| line.strip_prefix('[')?.strip_suffix(']')).collect()
}

/// The lines of one table of a TOML file.
fn section<'a>(toml: &'a str, header: &str) -> Vec<&'a str> {
    let begin = format!("[{header}]");
    let lines = toml.lines().skip_while(|line| *line != begin).skip(1);
    lines.take_while(|line| !line.starts_with('[')).map(str::trim).collect()
}

/// All crates that go into a crate, itself among them, by cargo's own word.
fn reached_by(name: &str) -> BTreeSet<String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .current_dir(root())
        .args(["tree", "--offline", "--locked", "--edges", "no-dev", "--prefix", "none"])
        .args(["--format", "{p}", "--package", name])
        .output()
        .expect("cargo is there, since it runs this test");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let tree = String::from_utf8(output.stdout).expect("cargo prints UTF-8");
    tree.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

/// Whether a line of code names openraft or one of its companions.
fn names_openraft(line: &str) -> bool {
    ["openraft::", "openraft_macros::", "openraft_rt::", "openraft_rt_tokio::"]
        .iter()
        .any(|path| line.contains(path))
}

/// The lines of a file that are not comments, with their numbers.
fn code_lines(file: &Path) -> Vec<(usize, String)> {
    let text = read(file);
    let numbered = (1..).zip(text.lines());
    numbered
        .map(|(number, line)| (number, line.split("//").next().unwrap_or_default().to_owned()))
        .collect()
}

/// All Rust files below a directory.
fn rust_files(directory: &Path) -> Vec<PathBuf> {
    files(directory, &|path| path.extension() == Some(OsStr::new("rs")))
}

/// The files below a directory that are wanted, in order; nothing of hidden or built directories.
fn files(directory: &Path, wanted: &dyn Fn(&Path) -> bool) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut entries: Vec<PathBuf> = fs::read_dir(directory)
        .unwrap_or_else(|error| panic!("{}: {error}", directory.display()))
        .map(|entry| entry.expect("a directory that opens can be read").path())
        .collect();
    entries.sort();
    for path in entries {
        let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
        if path.is_dir() {
            if !name.starts_with('.') && name != "target" {
                found.extend(files(&path, wanted));
            }
        } else if wanted(&path) {
            found.push(path);
        }
    }
    found
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A path as people write it.
fn relative(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

fn place(file: &Path, number: usize, line: &str) -> String {
    format!("{}:{number}: {}", relative(file), line.trim())
}

/// Fails with all violations and what to do about them.
fn assert_none(advice: &str, violations: &[String]) {
    assert!(violations.is_empty(), "\n{advice}:\n  {}\n", violations.join("\n  "));
}
