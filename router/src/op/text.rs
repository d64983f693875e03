//! What a text must be to be stored and shown. Pure.

use unicode_normalization::is_nfc;
use unicode_properties::{GeneralCategory, UnicodeGeneralCategory as _};

/// Letters that show nothing: fillers of Hangul syllables.
const FILLERS: [char; 4] = ['\u{115F}', '\u{1160}', '\u{3164}', '\u{FFA0}'];

/// What makes a text unfit: characters that do something instead of being seen, and spellings that look like
/// another one.
pub(super) fn flaws(text: &str) -> impl Iterator<Item = &'static str> {
    let has = |unfit: fn(char) -> bool| text.chars().any(unfit);
    let is_ascii = text.is_ascii();
    let blank_at_end = text.starts_with(char::is_whitespace) || text.ends_with(char::is_whitespace);
    let found = [
        (has(char::is_control), "must not have control characters"),
        (!is_ascii && has(is_invisible), "must not have invisible or unassigned characters"),
        (blank_at_end, "must not begin or end with a blank"),
        (!is_ascii && !is_nfc(text), "must be in Unicode normal form C"),
    ];
    found.into_iter().filter_map(|(is_flawed, flaw)| is_flawed.then_some(flaw))
}

/// Whether a character is invisible or unassigned: formats and directions (Cf), separators of lines and paragraphs (Zl,
/// Zp), unassigned code points (Cn), and fillers.
fn is_invisible(character: char) -> bool {
    let category = character.general_category();
    FILLERS.contains(&character)
        || matches!(
            category,
            GeneralCategory::Format
                | GeneralCategory::LineSeparator
                | GeneralCategory::ParagraphSeparator
                | GeneralCategory::Unassigned
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_seen_passes() {
        for text in ["", "alice", "a b", "지원", "José", "日本語", "🎉", "a\u{A0}b"] {
            assert_eq!(flaws(text).count(), 0, "{text:?}");
        }
    }

    #[test]
    fn what_is_not_seen_does_not() {
        let unfit = [
            ("a\u{7}", "control"),
            ("a\u{200B}b", "invisible"),
            ("a\u{202E}b", "invisible"),
            ("\u{FEFF}a", "invisible"),
            ("a\u{AD}b", "invisible"),
            ("a\u{2028}b", "invisible"),
            ("a\u{3164}b", "invisible"),
            ("a\u{378}b", "unassigned"),
            (" a", "blank"),
            ("a\u{3000}", "blank"),
            ("e\u{301}", "normal form"),
            ("\u{1112}\u{1161}\u{11AB}", "normal form"),
        ];
        for (text, flaw) in unfit {
            let found: Vec<_> = flaws(text).collect();
            assert!(found.iter().any(|found| found.contains(flaw)), "{text:?}: {found:?}");
        }
    }
}
