//! Words that no code may contain.
//!
//! The list is short on purpose: it has vulgar words and insults that are written in symbols of
//! the alphabet alone, and that readers notice without help. Codes are random, and some meaning can be
//! found in many of them. It is part of the format (see the notes of the parent module).

use super::SYMBOL_COUNT;
use super::alphabet::SYMBOLS;

/// The words, written in symbols of the alphabet.
const WORDS: [&[char]; 10] = [
    &['시', '바'],
    &['시', '파'],
    &['보', '지'],
    &['자', '지'],
    &['니', '미'],
    &['고', '자'],
    &['호', '로'],
    &['버', '러', '지'],
    &['니', '기', '미'],
    &['시', '부'],
];

/// Whether `symbols`, given as places in the alphabet, contain a word of the list, at any place.
///
/// Every code is searched, so it is for all words at once: bit n is set where the symbols read so
/// far end with their word up to the n-th letter (Baeza-Yates and Gonnet, "A new approach to text
/// searching", 1992).
pub(super) fn is_blocked(symbols: &[u8; SYMBOL_COUNT]) -> bool {
    let mut read = 0;
    let mut ended = 0;
    for &symbol in symbols {
        read = (read << 1 | LETTERS.first) & LETTERS.by_symbol[usize::from(symbol)];
        ended |= read & LETTERS.last;
    }
    ended != 0
}

/// The letters of all words in a row, as sets of bits.
struct Letters {
    /// Where a symbol stands.
    by_symbol: [u32; SYMBOLS.len()],
    /// Where words begin.
    first: u32,
    /// Where they end.
    last: u32,
}

static LETTERS: Letters = {
    let mut letters = Letters { by_symbol: [0; SYMBOLS.len()], first: 0, last: 0 };
    let (mut word, mut bit) = (0, 1);
    while word < WORDS.len() {
        letters.first |= bit;
        let mut place = 0;
        while place < WORDS[word].len() {
            letters.by_symbol[symbol_of(WORDS[word][place])] |= bit;
            letters.last |= if place + 1 == WORDS[word].len() { bit } else { 0 };
            bit <<= 1;
            place += 1;
        }
        word += 1;
    }
    assert!(bit != 0, "the letters of all words have a bit each");
    letters
};

/// The place of a letter in the alphabet, while compiling.
const fn symbol_of(letter: char) -> usize {
    let mut place = 0;
    while SYMBOLS[place] != letter {
        place += 1;
    }
    place
}
#[cfg(test)]
mod tests {
    use super::*;

    fn blocked(text: &str) -> bool {
        let symbols: Vec<u8> = text.chars().map(|letter| symbol_of(letter) as u8).collect();
        is_blocked(&symbols.try_into().unwrap())
    }

    #[test]
    fn words_fit_a_code() {
        assert!(WORDS.iter().all(|word| (2..=SYMBOL_COUNT).contains(&word.len())));
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

    /// Of letters of words alone, which begin, break off and overlap words more often than codes
    /// do.
    #[test]
    fn what_is_found_is_what_a_plain_search_finds() {
        let letters: String = WORDS.concat().iter().collect();
        let words = WORDS.map(|word| word.iter().collect::<String>());
        let mut found = 0;
        for mut number in (0..20_000u64).map(|step| step.wrapping_mul(0x9E37_79B9_7F4A_7C15)) {
            let mut next = || {
                let place = number % WORDS.concat().len() as u64;
                number /= WORDS.concat().len() as u64;
                letters.chars().nth(place as usize).unwrap()
            };
            let text: String = (0..SYMBOL_COUNT).map(|_| next()).collect();
            let expected = words.iter().any(|word| text.contains(word));
            assert_eq!(blocked(&text), expected, "{text}");
            found += usize::from(expected);
        }
        assert!((1_000..19_000).contains(&found), "{found}");
    }
}
