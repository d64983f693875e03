//! What a text must be to be stored and shown. Pure.

use std::ops::RangeInclusive;

use unicode_normalization::is_nfc;
use unicode_properties::{GeneralCategory, UnicodeGeneralCategory as _};

/// Characters that show nothing although their category does not say so (Unicode: Default_Ignorable_Code_Point): fillers
/// of Hangul and Khmer, joiners of graphemes, variation selectors; and the empty Braille pattern.
const FILLERS: [RangeInclusive<char>; 9] = [
    '\u{34F}'..='\u{34F}',
    '\u{115F}'..='\u{1160}',
    '\u{17B4}'..='\u{17B5}',
    '\u{180B}'..='\u{180F}',
    '\u{2800}'..='\u{2800}',
    '\u{3164}'..='\u{3164}',
    '\u{FE00}'..='\u{FE0F}',
    '\u{FFA0}'..='\u{FFA0}',
    '\u{E0100}'..='\u{E01EF}',
];

/// Characters that only shape their neighbours, which some languages and emoji need: the zero-width joiner and
/// non-joiner, and the selector of emoji.
const SHAPERS: [char; 3] = ['\u{200C}', '\u{200D}', '\u{FE0F}'];

/// What a text is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    /// It is compared: two texts that look the same must be the same.
    Comparison,
    /// It is only shown.
    Display,
}

/// What makes a text unfit: characters that do something instead of being seen, and spellings that look like
/// another one.
pub(super) fn flaws(text: &str, of: Use) -> impl Iterator<Item = &'static str> {
    let is_ascii = text.is_ascii();
    let has_control = text.chars().any(char::is_control);
    let has_invisible = !is_ascii && text.chars().any(|character| is_invisible(character, of));
    let blank_at_end = text.starts_with(char::is_whitespace) || text.ends_with(char::is_whitespace);
    let found = [
        (has_control, "must not have control characters"),
        (has_invisible, "must not have invisible or unassigned characters"),
        (blank_at_end, "must not begin or end with a blank"),
        (!is_ascii && !is_nfc(text), "must be in Unicode normal form C"),
    ];
    found.into_iter().filter_map(|(is_flawed, flaw)| is_flawed.then_some(flaw))
}

/// Whether a character is invisible or unassigned: formats and directions (Cf), separators of lines and paragraphs (Zl,
/// Zp), unassigned code points (Cn), and fillers.
fn is_invisible(character: char, of: Use) -> bool {
    if of == Use::Display && SHAPERS.contains(&character) {
        return false;
    }
    FILLERS.iter().any(|range| range.contains(&character))
        || matches!(
            character.general_category(),
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
            assert_eq!(flaws(text, Use::Comparison).count(), 0, "{text:?}");
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
            ("alice\u{FE0F}", "invisible"),
            ("a\u{2800}b", "invisible"),
            ("a\u{378}b", "unassigned"),
            (" a", "blank"),
            ("a\u{3000}", "blank"),
            ("e\u{301}", "normal form"),
            ("\u{1112}\u{1161}\u{11AB}", "normal form"),
        ];
        for (text, flaw) in unfit {
            let found: Vec<_> = flaws(text, Use::Comparison).collect();
            assert!(found.iter().any(|found| found.contains(flaw)), "{text:?}: {found:?}");
        }
    }

    #[test]
    fn what_is_only_shown_may_have_joiners() {
        for text in ["👩\u{200D}💻", "❤\u{FE0F}", "می\u{200C}خواهم"] {
            assert_eq!(flaws(text, Use::Display).count(), 0, "{text:?}");
            assert_ne!(flaws(text, Use::Comparison).count(), 0, "{text:?}");
        }
        assert_ne!(flaws("a\u{202E}b", Use::Display).count(), 0);
    }
}
