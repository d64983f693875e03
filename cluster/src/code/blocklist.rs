//! Words that no code may contain.
//!
//! The list is short on purpose: it has vulgar words and insults that are written in symbols of
//! the alphabet alone, and that readers notice without help. Codes are random; whoever looks for
//! meaning long enough finds some. It is part of the format (see the notes of the parent module).

use super::SYMBOL_COUNT;

/// The words, written in symbols of the alphabet.
const WORDS: [&str; 10] =
    ["시바", "시파", "보지", "자지", "니미", "고자", "호로", "버러지", "니기미", "시부"];

/// Whether `symbols` contain a word of the list, at any place.
pub(super) fn is_blocked(symbols: &[char; SYMBOL_COUNT]) -> bool {
    (0..SYMBOL_COUNT).any(|start| {
        WORDS.iter().any(|word| {
            let mut rest = symbols[start..].iter();
            word.chars().all(|letter| rest.next() == Some(&letter))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::code::alphabet;

    fn blocked(text: &str) -> bool {
        let symbols: Vec<char> = text.chars().collect();
        is_blocked(&symbols.try_into().unwrap())
    }

    #[test]
    fn words_can_be_written_in_the_alphabet() {
        for word in WORDS {
            assert!((2..=SYMBOL_COUNT).contains(&word.chars().count()), "{word}");
            assert!(word.chars().all(|letter| alphabet::value_of(letter).is_some()), "{word}");
        }
    }

    #[test]
    fn words_are_found_at_any_place() {
        assert!(blocked("시바01234567"));
        assert!(blocked("0123시바4567"));
        assert!(blocked("01234567시바"));
        assert!(blocked("0123버러지456"));
        assert!(!blocked("0123버러4지56"));
        assert!(!blocked("바01234567시"));
    }
}
