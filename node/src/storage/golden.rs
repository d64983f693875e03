//! Golden bytes, for tests: formats written out by hand, independently of the code that writes them.
//!
//! The text has a line for each part: its bytes in hex, `|`, and their meaning. The rules that it follows are in
//! `node/FORMATS.md`. Protobuf fields were encoded by hand. CRC-32, SHA-256 and SipHash come from other
//! implementations: `zlib.crc32` and `hashlib.sha256` of Python, and SipHash as in the paper.

/// The bytes that `text` writes out.
pub(super) fn bytes(text: &str) -> Vec<u8> {
    let digits = text.lines().filter_map(|line| line.split('|').next()).flat_map(str::chars);
    let digits = digits.filter(|digit| !digit.is_whitespace());
    let mut halves = digits.map(|digit| digit.to_digit(16).expect("golden bytes are hex"));
    let mut bytes = Vec::new();
    while let Some(high) = halves.next() {
        let low = halves.next().expect("golden bytes are whole");
        bytes.push(u8::try_from(high << 4 | low).expect("two digits are a byte"));
    }
    bytes
}

/// Checks that `found` is what `text` writes out. `version` names the constant that says which version of the
/// format it is.
///
/// # Panics
///
/// When the format has changed.
#[track_caller]
pub(super) fn check(format: &str, version: &str, found: &[u8], text: &str) {
    let [found, golden] = [found, &bytes(text)].map(hex);
    assert_eq!(
        found, golden,
        "the format of {format} has changed: what is on disk would not be read any more. Undo that, or raise \
         {version} and say so in node/FORMATS.md"
    );
}

fn hex(bytes: &[u8]) -> String {
    let digits: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    digits.join(" ")
}
