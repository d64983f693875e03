//! Reading codes as people type, paste and dictate them.
//!
//! Forgiven is what does not change which symbols are meant: decomposed Hangul (macOS types NFD),
//! full-width digits and letters, and spaces, hyphens and zero-width characters anywhere; in Latin codes and prefixes also
//! small letters, O for 0, and I and L for 1. A symbol outside the
//! alphabet is refused with the nearest one in it as a suggestion. It is never mapped silently:
//! a guess that happens to pass the check would be another person's coupon.

use unicode_normalization::UnicodeNormalization;

use super::{Code, CodeFormat, CodePrefix, TAIL_LEN, kr, latin};

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
    /// There are too few symbols, or too many that are no prefix.
    #[error("a code like this has {expected} symbols, this has {symbols}")]
    WrongLength {
        /// How many such a code has, without a prefix.
        expected: usize,
        /// How many there are.
        symbols: usize,
    },
    /// The symbols do not belong together: one is wrong, or two are swapped; in a Latin code, the prefix may be
    /// wrong or missing.
    #[error("a symbol is wrong, or two are swapped")]
    CheckFailed,
}

fn suggestion(nearest: Option<char>) -> String {
    nearest.map(|symbol| format!(": did you mean {symbol:?}?")).unwrap_or_default()
}

impl Code {
    /// Reads a code of any format, with or without a prefix.
    ///
    /// # Errors
    ///
    /// The first unknown symbol is reported before a wrong length, and both before a failed check.
    pub fn parse(text: &str) -> Result<Self, CodeError> {
        // What is forgiven goes first, since a zero-width character would keep apart what NFC is
        // to compose.
        let symbols = text.chars().filter(|&c| !is_forgiven(c)).nfc().map(narrow);
        let symbols: Vec<char> = symbols.collect();
        let tail = &symbols[symbols.len().saturating_sub(TAIL_LEN)..];
        let letters = tail.iter().filter(|c| c.is_ascii_alphabetic()).count();
        let others = tail.iter().filter(|c| !c.is_ascii()).count();
        if letters > others { read_latin(&symbols) } else { read_kr(&symbols) }
    }
}

fn read_kr(symbols: &[char]) -> Result<Code, CodeError> {
    let (prefix, code) = symbols.split_at(symbols.len().saturating_sub(kr::SYMBOL_COUNT));
    let values = values(prefix, code, kr::value_of, kr::nearest)?;
    finish(CodeFormat::Kr, prefix, &values)
}

fn read_latin(symbols: &[char]) -> Result<Code, CodeError> {
    // Without a readable length, all symbols have to be those of a code.
    let marked = symbols.iter().rev().nth(1).and_then(|&symbol| latin::value_of(symbol));
    let format = marked.map(|symbol| CodeFormat::latin(latin::mark(symbol)));
    let count = format.map_or(symbols.len(), CodeFormat::symbol_count);
    let (prefix, code) = symbols.split_at(symbols.len().saturating_sub(count));
    let values = values(prefix, code, latin::value_of, latin::nearest)?;
    finish(format.unwrap_or(CodeFormat::Latin14), prefix, &values)
}

/// The values of the symbols of a code. Of a prefix, letters and digits are allowed beside the symbols of the alphabet.
fn values(
    prefix: &[char],
    code: &[char],
    value_of: fn(char) -> Option<u8>,
    nearest: fn(char) -> Option<char>,
) -> Result<Vec<u8>, CodeError> {
    let unknown = |place: usize, found: char, nearest: Option<char>| CodeError::UnknownSymbol {
        position: place + 1,
        found,
        nearest,
    };
    let is_unknown = |c: char| latin::fold(c).is_none() && value_of(c).is_none();
    if let Some(place) = prefix.iter().position(|&c| is_unknown(c)) {
        let found = prefix[place];
        let nearest = latin::without_accents(found).or_else(|| nearest(found));
        return Err(unknown(place, found, nearest));
    }
    let value = |(place, &found): (usize, &char)| {
        value_of(found).ok_or_else(|| unknown(place, found, nearest(found)))
    };
    (prefix.len()..).zip(code).map(value).collect()
}

fn finish(format: CodeFormat, prefix: &[char], values: &[u8]) -> Result<Code, CodeError> {
    let (expected, symbols) = (format.symbol_count(), prefix.len() + values.len());
    let wrong_length = CodeError::WrongLength { expected, symbols };
    let prefix = CodePrefix::read(prefix).ok_or(wrong_length)?;
    if values.len() != expected {
        return Err(wrong_length);
    }
    Code::from_symbols(format, prefix, values).ok_or(CodeError::CheckFailed)
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

/// Full-width digits and letters, as East Asian keyboards type them, as those of ASCII.
fn narrow(c: char) -> char {
    match c {
        '\u{FF10}'..='\u{FF19}' | '\u{FF21}'..='\u{FF3A}' | '\u{FF41}'..='\u{FF5A}' => {
            char::from_u32(u32::from(c) - 0xFF00 + 0x20).expect("ASCII characters are characters")
        }
        _ => c,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code() -> Code {
        Code::from_payload(CodeFormat::Kr, [31_415_926, 535_897_932])
    }

    fn latin() -> Code {
        let prefix = CodePrefix::new("SUMMER-").unwrap().folded();
        Code::from_payload(CodeFormat::Latin16, [31_415_926_535, 8_979_323_846]).with_prefix(prefix)
    }

    fn text() -> String {
        code().to_string()
    }

    #[test]
    fn what_is_written_is_read() {
        for code in [code(), latin()] {
            assert_eq!(Code::parse(&code.to_string()), Ok(code));
        }
    }

    #[test]
    fn forgiven_characters_do_not_matter() {
        for filler in [" ", "-", "–", "\u{3000}", "\u{200B}", "\u{FEFF}", "\u{AD}", "\t\r\n"] {
            for code in [code(), latin()] {
                let text = code.to_string();
                let spread: String =
                    text.chars().flat_map(|c| [filler.into(), c.to_string()]).collect();
                assert_eq!(Code::parse(&(spread + filler)), Ok(code), "{filler:?}");
            }
        }
    }

    #[test]
    fn decomposed_hangul_is_read() {
        let decomposed: String = text().nfd().collect();
        assert!(decomposed.chars().count() > kr::SYMBOL_COUNT);
        assert_eq!(Code::parse(&decomposed), Ok(code()));
        let torn: String = decomposed.chars().flat_map(|c| [c, '\u{200B}']).collect();
        assert_eq!(Code::parse(&torn), Ok(code()));
    }

    #[test]
    fn full_width_digits_and_letters_are_read() {
        let zero = Code::from_payload(CodeFormat::Kr, [0, 0]);
        assert_eq!(zero.to_string(), "0000000000");
        assert_eq!(Code::parse("００００-００００００"), Ok(zero));
        let wide = |c: char| char::from_u32(u32::from(c) + 0xFF00 - 0x20).unwrap();
        let text = latin().to_string();
        assert_eq!(Code::parse(&text.chars().map(wide).collect::<String>()), Ok(latin()));
        let small = text.to_lowercase();
        assert_eq!(Code::parse(&small.chars().map(wide).collect::<String>()), Ok(latin()));
    }

    #[test]
    fn letters_that_look_like_digits_are_read_in_latin_codes() {
        let text = latin().to_string();
        assert!(text.contains('0') || text.contains('1'), "{text}");
        for (zero, one) in [("O", "I"), ("o", "l"), ("O", "i"), ("0", "L")] {
            assert_eq!(Code::parse(&text.replace('0', zero).replace('1', one)), Ok(latin()));
        }
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
        // Neither is a letter among syllables.
        let error = Code::parse("가나다O가나다가나다").unwrap_err();
        let named = CodeError::UnknownSymbol { position: 4, found: 'O', nearest: Some('0') };
        assert_eq!(error, named);
        // U is in prefixes, but in no code.
        let error = Code::parse("SU-ABCD-EFGH-UABC-02").unwrap_err();
        let named = CodeError::UnknownSymbol { position: 11, found: 'U', nearest: Some('V') };
        assert_eq!(error, named);
        let error = Code::parse("SÜ-ABCD-EFGH-VABC-02").unwrap_err();
        let named = CodeError::UnknownSymbol { position: 2, found: 'Ü', nearest: Some('U') };
        assert_eq!(error, named);
    }

    #[test]
    fn wrong_lengths_are_counted() {
        for symbols in [0, 1, 9, 11, 1000] {
            let error = Code::parse(&"0".repeat(symbols)).unwrap_err();
            assert_eq!(error, CodeError::WrongLength { expected: 10, symbols });
        }
        // A syllable or a digit before a code is no prefix, and neither are too many letters.
        for (before, symbols) in [("가", 11), ("7", 11), ("ABCDEFGHJKMN", 22)] {
            let error = Code::parse(&(before.to_owned() + &text())).unwrap_err();
            assert_eq!(error, CodeError::WrongLength { expected: 10, symbols });
        }
        for text in ["A", "ABCD", "ABCD-EFGH-JKMN-0"] {
            let error = Code::parse(text).unwrap_err();
            assert!(matches!(error, CodeError::WrongLength { .. }), "{text}: {error}");
        }
        let error = Code::parse("ABCDEFGHJKM07").unwrap_err();
        assert_eq!(error, CodeError::WrongLength { expected: 14, symbols: 13 });
        assert_eq!(error.to_string(), "a code like this has 14 symbols, this has 13");
    }

    #[test]
    fn the_check_is_checked() {
        assert_eq!(Code::parse("0000000001"), Err(CodeError::CheckFailed));
        assert_eq!(Code::parse("가000000000"), Err(CodeError::CheckFailed));
        // Of a Latin code, it is that of one prefix.
        let bare = latin().to_string().replace("SUMMER", "");
        assert_eq!(Code::parse(&bare), Err(CodeError::CheckFailed));
        let other = latin().to_string().replace("SUMMER", "SIMMER");
        assert_eq!(Code::parse(&other), Err(CodeError::CheckFailed));
    }

    #[test]
    fn a_prefix_is_read_with_the_code() {
        for code in [code(), latin()] {
            let prefix = CodePrefix::new("O2-BLUE-").unwrap();
            let code = code.with_prefix(prefix.folded());
            for before in ["O2-BLUE-", "02b1ue", "o2 B L U E ", "Ｏ２ＢＬＵＥ"] {
                let mut text = before.to_owned();
                code.push_symbols(&mut text);
                assert_eq!(Code::parse(&text), Ok(code), "{before}");
            }
        }
    }
}
