//! Words that no code may contain.
//!
//! The lists are short on purpose: they have vulgar words and insults that are written in symbols of
//! the alphabet alone, and that readers notice without help. Codes are random, and some meaning can be
//! found in many of them. They are part of the format (see the notes of the parent module).

use super::{kr, latin};

/// The words, written in symbols of the alphabet of `kr`.
const KR_WORDS: [&[char]; 10] = [
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

/// The words, written in symbols of the alphabet of `latin`: 1 for I and L, 0 for O, V for U.
const LATIN_WORDS: [&[char]; 13] = [
    &['A', 'S', 'S'],
    &['F', 'A', 'G'],
    &['K', 'K', 'K'],
    &['S', 'E', 'X'],
    &['S', 'H', '1', 'T'],
    &['F', 'V', 'C', 'K'],
    &['C', 'V', 'N', 'T'],
    &['D', '1', 'C', 'K'],
    &['C', '0', 'C', 'K'],
    &['P', '1', 'S', 'S'],
    &['T', '1', 'T', 'S'],
    &['R', 'A', 'P', 'E'],
    &['N', 'A', 'Z', '1'],
];

/// Letters of all words of a list, in a row, as sets of bits.
///
/// Every code is searched, so it is for all words at once: bit n is set where the symbols read so
/// far end with their word up to the n-th letter (Baeza-Yates and Gonnet, "A new approach to text
/// searching", 1992).
pub(super) struct Blocklist<const RADIX: usize> {
    /// Where a symbol stands.
    by_symbol: [u64; RADIX],
    /// Where words begin.
    first: u64,
    /// Where they end.
    last: u64,
}

pub(super) static KR: Blocklist<{ kr::SYMBOLS.len() }> = Blocklist::new(&kr::SYMBOLS, &KR_WORDS);

pub(super) static LATIN: Blocklist<{ latin::SYMBOLS.len() }> =
    Blocklist::new(&latin::SYMBOLS, &LATIN_WORDS);

impl<const RADIX: usize> Blocklist<RADIX> {
    /// The list of words over an alphabet, while compiling.
    const fn new(alphabet: &[char; RADIX], words: &[&[char]]) -> Self {
        let mut list = Self { by_symbol: [0; RADIX], first: 0, last: 0 };
        let (mut word, mut bit) = (0, 1);
        while word < words.len() {
            list.first |= bit;
            let mut place = 0;
            while place < words[word].len() {
                let mut symbol = 0;
                while alphabet[symbol] != words[word][place] {
                    symbol += 1;
                }
                list.by_symbol[symbol] |= bit;
                list.last |= if place + 1 == words[word].len() { bit } else { 0 };
                bit <<= 1;
                place += 1;
            }
            word += 1;
        }
        assert!(bit != 0, "the letters of all words have a bit each");
        list
    }

    /// Whether symbols, given as places in the alphabet, contain a word, at any place.
    pub(super) fn has_word_in(&self, symbols: &[u8]) -> bool {
        let (ended, _) = self.search(symbols);
        ended != 0
    }

    /// Whether symbols, followed by one that is not known, contain a word or could.
    pub(super) fn may_have_word_in(&self, symbols: &[u8]) -> bool {
        let (ended, read) = self.search(symbols);
        ended != 0 || (read << 1 | self.first) & self.last != 0
    }

    /// Where words ended, and where they stand after the last symbol.
    fn search(&self, symbols: &[u8]) -> (u64, u64) {
        let mut read = 0;
        let mut ended = 0;
        for &symbol in symbols {
            read = (read << 1 | self.first) & self.by_symbol[usize::from(symbol)];
            ended |= read & self.last;
        }
        (ended, read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kr_symbols(text: &str) -> Vec<u8> {
        text.chars().map(|letter| kr::value_of(letter).unwrap()).collect()
    }

    fn blocked(text: &str) -> bool {
        KR.has_word_in(&kr_symbols(text))
    }

    #[test]
    fn words_fit_a_code() {
        assert!(KR_WORDS.iter().all(|word| (2..=kr::SYMBOL_COUNT).contains(&word.len())));
        assert!(LATIN_WORDS.iter().all(|word| (2..=4).contains(&word.len())));
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

    #[test]
    fn a_word_that_lacks_its_last_letter_may_get_it() {
        let may = |text: &str| {
            let symbols: Vec<u8> = text.chars().map(|c| latin::value_of(c).unwrap()).collect();
            (LATIN.has_word_in(&symbols), LATIN.may_have_word_in(&symbols))
        };
        assert_eq!(may("0123SH1T4567"), (true, true));
        assert_eq!(may("0123456789SH1"), (false, true));
        assert_eq!(may("SH101234567"), (false, false));
    }

    /// Of letters of words alone, which begin, break off and overlap words more often than codes
    /// do.
    #[test]
    fn what_is_found_is_what_a_plain_search_finds() {
        let word = |letters: &[char], value_of: fn(char) -> Option<u8>| -> Vec<u8> {
            letters.iter().map(|&letter| value_of(letter).unwrap()).collect()
        };
        let kr_words = KR_WORDS.map(|letters| word(letters, kr::value_of));
        plain_search(&kr_words, |symbols| KR.has_word_in(symbols));
        let latin_words = LATIN_WORDS.map(|letters| word(letters, latin::value_of));
        plain_search(&latin_words, |symbols| LATIN.has_word_in(symbols));
    }

    fn plain_search(words: &[Vec<u8>], has_word: impl Fn(&[u8]) -> bool) {
        let letters = words.concat();
        let mut found = 0;
        for mut number in (0..20_000u64).map(|step| step.wrapping_mul(0x9E37_79B9_7F4A_7C15)) {
            let mut next = || {
                let place = number % letters.len() as u64;
                number /= letters.len() as u64;
                letters[place as usize]
            };
            let text: Vec<u8> = (0..10).map(|_| next()).collect();
            let expected =
                words.iter().any(|word| text.windows(word.len()).any(|part| part == word));
            assert_eq!(has_word(&text), expected, "{text:?}");
            found += usize::from(expected);
        }
        assert!((500..19_500).contains(&found), "{found}");
    }
}
