//! Reading codes as people type, paste and dictate them.
//!
//! Forgiven is what does not change which symbols are meant: decomposed Hangul (macOS types NFD),
//! full-width digits, and spaces, hyphens and zero-width characters anywhere. A symbol outside the
//! alphabet is refused with the nearest one in it as a suggestion. It is never mapped silently:
//! a guess that happens to pass the check would be another person's coupon.

use unicode_normalization::UnicodeNormalization;

use super::alphabet::{nearest, value_of};
use super::{Code, SYMBOL_COUNT};

/// Why a text is no code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodeError {
    /// A symbol is not in the alphabet.
    #[error("symbol {position}, {found:?}, is in no code{}", suggestion(*.nearest))]
    UnknownSymbol {
        /// Which symbol, counted from 1 without what is forgiven.
        position: usize,
        /// The symbol.
        found: char,
        /// The symbol that may have been meant.
        nearest: Option<char>,
    },
    /// There are too few or too many symbols.
    #[error("a code has {SYMBOL_COUNT} symbols, this has {symbols}")]
    WrongLength {
        /// How many there are.
        symbols: usize,
    },
    /// The symbols do not belong together: one is wrong, or two are swapped.
    #[error("a symbol is wrong, or two are swapped")]
    CheckFailed,
}

fn suggestion(nearest: Option<char>) -> String {
    nearest.map(|symbol| format!(": did you mean {symbol:?}?")).unwrap_or_default()
}

impl Code {
    /// Reads a code. The first unknown symbol is reported before a wrong length, and both before a
    /// failed check.
    pub fn parse(text: &str) -> Result<Self, CodeError> {
        let mut symbols = [0; SYMBOL_COUNT];
        let mut count = 0;
        // What is forgiven goes first, since a zero-width character would keep apart what NFC is
        // to compose.
        for found in text.chars().filter(|&c| !is_forgiven(c)).nfc() {
            let position = count + 1;
            let value = value_of(narrow_digit(found)).ok_or_else(|| CodeError::UnknownSymbol {
                position,
                found,
                nearest: nearest(found),
            })?;
            if let Some(symbol) = symbols.get_mut(count) {
                *symbol = value;
            }
            count = position;
        }
        if count != SYMBOL_COUNT {
            return Err(CodeError::WrongLength { symbols: count });
        }
        Self::from_symbols(symbols).ok_or(CodeError::CheckFailed)
    }
}

/// Spaces of every width, hyphens and dashes, and characters that show nothing: zero-width space,
/// joiners, direction marks, soft hyphen, word joiner, byte order mark.
fn is_forgiven(c: char) -> bool {
    c.is_whitespace()
        || matches!(
            c,
            '-' | '\u{AD}'
                | '\u{2010}'..='\u{2015}'
                | '\u{2212}'
                | '\u{FE58}'
                | '\u{FE63}'
                | '\u{FF0D}'
                | '\u{200B}'..='\u{200F}'
                | '\u{2060}'
                | '\u{FEFF}'
        )
}

/// ０ to ９, as East Asian keyboards type them, as 0 to 9.
fn narrow_digit(c: char) -> char {
    match c {
        '\u{FF10}'..='\u{FF19}' => {
            char::from_u32(u32::from(c) - 0xFF10 + 0x30).expect("ASCII digits are characters")
        }
        _ => c,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code() -> Code {
        Code::from_payload(31_415_926_535_897_932)
    }

    fn text() -> String {
        code().to_string()
    }

    #[test]
    fn what_is_written_is_read() {
        assert_eq!(Code::parse(&text()), Ok(code()));
    }

    #[test]
    fn forgiven_characters_do_not_matter() {
        for filler in [" ", "-", "–", "\u{3000}", "\u{200B}", "\u{FEFF}", "\u{AD}", "\t\r\n"] {
            let spread: String =
                text().chars().flat_map(|c| [filler.into(), c.to_string()]).collect();
            assert_eq!(Code::parse(&(spread + filler)), Ok(code()), "{filler:?}");
        }
    }

    #[test]
    fn decomposed_hangul_is_read() {
        let decomposed: String = text().nfd().collect();
        assert!(decomposed.chars().count() > SYMBOL_COUNT);
        assert_eq!(Code::parse(&decomposed), Ok(code()));
        let torn: String = decomposed.chars().flat_map(|c| [c, '\u{200B}']).collect();
        assert_eq!(Code::parse(&torn), Ok(code()));
    }

    #[test]
    fn full_width_digits_are_read() {
        let digits = Code::from_payload(0).to_string();
        assert_eq!(digits, "0000000000");
        assert_eq!(Code::parse("００００-００００００"), Ok(Code::from_payload(0)));
    }

    #[test]
    fn unknown_symbols_are_named() {
        let error = Code::parse("0 0-강0000000").unwrap_err();
        let named = CodeError::UnknownSymbol { position: 3, found: '강', nearest: Some('가') };
        assert_eq!(error, named);
        assert_eq!(error.to_string(), "symbol 3, '강', is in no code: did you mean '가'?");
        let error = Code::parse("000000000?").unwrap_err();
        assert_eq!(error.to_string(), "symbol 10, '?', is in no code");
        // The suggestion is never taken for what was written: 이 is said like 2, but is not 2.
        let error = Code::parse("이000000000").unwrap_err();
        let named = CodeError::UnknownSymbol { position: 1, found: '이', nearest: Some('2') };
        assert_eq!(error, named);
        // Superscripts and circled digits are no digits, which compatibility forms would make them.
        assert!(Code::parse("①²00000000").is_err());
    }

    #[test]
    fn wrong_lengths_are_counted() {
        for symbols in [0, 1, 9, 11, 1000] {
            let error = Code::parse(&"0".repeat(symbols)).unwrap_err();
            assert_eq!(error, CodeError::WrongLength { symbols });
        }
    }

    #[test]
    fn the_check_is_checked() {
        assert_eq!(Code::parse("0000000001"), Err(CodeError::CheckFailed));
        assert_eq!(Code::parse("가000000000"), Err(CodeError::CheckFailed));
    }
}
