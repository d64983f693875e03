//! Rules about single lines and items of the source.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::{assert_none, code_lines, crates, first_word, place, read, relative, root, rust_files};

/// Where members get chance and the time of day from is `coupon-env`. Their tests count as well.
const AMBIENT: [&str; 2] = ["rand", "uuid"];

/// The crates of members.
const MEMBERS: [&str; 2] = ["coupon-node", "coupon-router"];

/// What routing gets passed in, and never asks for by itself. `tokio::time::Instant` is only a type.
const ASKED_FOR: [&str; 7] =
    ["Instant::now", "SystemTime", "async ", ".await", "coupon_env", "rand::", "tokio::"];

/// The one name of tokio that is data.
const MOMENT: &str = "use tokio::time::Instant;";

/// Items that must be named in another file than their own, or need no visibility. Types are not among them:
/// a signature may expose them without their name.
const VISIBLE: [&str; 3] = ["fn", "const", "static"];

#[test]
fn members_get_chance_from_env() {
    let crates = crates();
    let mut violations = Vec::new();
    for name in MEMBERS {
        for dependency in AMBIENT {
            if crates[name].dependencies.contains(dependency) {
                violations.push(format!("{name} must not depend on {dependency}"));
            }
        }
    }
    assert_none("take random values from coupon-env", &violations);
}

#[test]
fn routing_gets_time_chance_and_events_passed_in() {
    let mut violations = Vec::new();
    for file in rust_files(&root().join("router/src/route")) {
        let lines = code_lines(&file);
        let tests = lines.iter().position(|(_, line)| line.contains("#[cfg(test)]"));
        for (number, line) in &lines[..tests.unwrap_or(lines.len())] {
            if line != MOMENT && ASKED_FOR.iter().any(|asked| line.contains(asked)) {
                violations.push(place(&file, *number, line));
            }
        }
    }
    assert_none("pass it in, or do it in router/src/shards", &violations);
}

#[test]
fn what_is_visible_is_used_elsewhere() {
    let files = rust_files(&root());
    let words: BTreeMap<&Path, BTreeSet<String>> =
        files.iter().map(|file| (file.as_path(), words(file))).collect();
    let mut uses: BTreeMap<&str, usize> = BTreeMap::new();
    for word in words.values().flatten() {
        *uses.entry(word).or_default() += 1;
    }
    let mut violations = Vec::new();
    for file in files.iter().filter(|file| is_source(file)) {
        for (number, line) in code_lines(file) {
            if visible_item(&line).is_some_and(|item| uses.get(item.as_str()) == Some(&1)) {
                violations.push(place(file, number, &line));
            }
        }
    }
    assert_none("make it private to its module, or remove it", &violations);
}

/// Whether a file belongs to a crate proper, not to its tests or examples.
fn is_source(file: &Path) -> bool {
    let relative = relative(file);
    relative.starts_with("src/") || relative.contains("/src/")
}

/// The words of a file, without its comments.
fn words(file: &Path) -> BTreeSet<String> {
    let text = read(file);
    let code = text.lines().map(|line| line.split("//").next().unwrap_or_default());
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    code.flat_map(|line| line.split(move |c| !is_part(c)))
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect()
}

/// The name of the item that a line declares for other files.
fn visible_item(line: &str) -> Option<String> {
    let declared = line.trim_start().strip_prefix("pub")?;
    let declared = match declared.strip_prefix('(') {
        Some(scoped) => scoped.split_once(") ")?.1,
        None => declared.strip_prefix(' ')?,
    };
    let mut words = declared.split(' ').skip_while(|word| *word == "async");
    let kind = words.next().filter(|kind| VISIBLE.contains(kind))?;
    let name = match (kind, words.next()?) {
        ("const", "fn") => words.next()?,
        (_, name) => name,
    };
    first_word(name)
}
