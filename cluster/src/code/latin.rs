//! Format `latin`: 32 symbols, the length of a code, its check symbol, and the right symbol nearest to a wrong one.
//!
//! The symbols are those of Crockford's base 32: digits and capital letters without I, L, O and U. What people write
//! for them is forgiven as he says: small letters, O for 0, I and L for 1.
//!
//! The check symbol is not his, which is a number modulo 37: five of 37 codes would end with `*`, `~`, `$`, `=` or
//! `U`, which do not survive links, shells and dictation. Ours is a symbol like the others. Symbols are taken as
//! elements of GF(32), and a code is right if Σ αⁱ·xᵢ = 0, with α a generator and i the place, counted from the end
//! of the code, from 0. All powers of α up to the 30th differ and none is 0, so every single wrong symbol and every swap of
//! two different symbols is caught, in up to 31 symbols. A prefix counts as symbols, U as V.
//!
//! The last symbol of the payload, next to the check symbol, has the length of the code in its first two bits. Thus a reader knows
//! where the prefix ends, and since the check covers the prefix as well, a mistake in that symbol is caught too.

use unicode_normalization::UnicodeNormalization;

/// The symbols by value.
#[rustfmt::skip]
pub(super) const SYMBOLS: [char; 32] = [
    '0', '1', '2', '3', '4', '5', '6', '7', '8', '9',
    'A', 'B', 'C', 'D', 'E', 'F', 'G', 'H', 'J', 'K', 'M',
    'N', 'P', 'Q', 'R', 'S', 'T', 'V', 'W', 'X', 'Y', 'Z',
];

/// Number of lengths that a code can have.
pub(super) const LENGTHS: usize = 4;

/// How many symbols a code of the greatest length has.
pub(super) const SYMBOL_COUNT_MAX: usize = symbol_count(LENGTHS as u8 - 1);

/// Number of symbols, prefix included, at most: the powers of α repeat themselves after it.
pub(super) const CHECKED_MAX: usize = 31;

/// How many symbols the check symbol and the one with the length have.
const ENDING_LEN: usize = 2;

/// How many bits of the payload are beside the length.
const LOW_BITS: u32 = 3;

const BITS: u32 = 5;

/// How many symbols a code has, the check symbol included, by the mark of its length.
pub(super) const fn symbol_count(mark: u8) -> usize {
    14 + 2 * mark as usize
}

/// How many bits the payload has, by the mark of the length.
pub(super) const fn payload_bits(mark: u8) -> u32 {
    BITS * (symbol_count(mark) - ENDING_LEN) as u32 + LOW_BITS
}

/// How many bits the second part of the payload has, as FF1 divides it.
pub(super) const fn low_part_bits(mark: u8) -> u32 {
    payload_bits(mark).div_ceil(2)
}

/// The mark of a code's length, from the symbol before the last.
pub(super) fn mark(symbol: u8) -> u8 {
    symbol >> LOW_BITS
}

/// Writes a payload, in the two parts that FF1 makes of it, into all symbols but the check symbol.
pub(super) fn write(mark: u8, [left, right]: [u64; 2], symbols: &mut [u8]) {
    let payload = u128::from(left) << low_part_bits(mark) | u128::from(right);
    let count = symbol_count(mark);
    let low = payload as u8 & ((1 << LOW_BITS) - 1);
    symbols[count - ENDING_LEN] = mark << LOW_BITS | low;
    let mut rest = payload >> LOW_BITS;
    for symbol in symbols[..count - ENDING_LEN].iter_mut().rev() {
        *symbol = rest as u8 & ((1 << BITS) - 1);
        rest >>= BITS;
    }
}

/// What [`write`] wrote.
pub(super) fn payload(mark: u8, symbols: &[u8]) -> [u64; 2] {
    let count = symbol_count(mark);
    let high = symbols[..count - ENDING_LEN].iter();
    let high = high.fold(0, |number, &symbol| number << BITS | u128::from(symbol));
    let low = symbols[count - ENDING_LEN] & ((1 << LOW_BITS) - 1);
    let payload = high << LOW_BITS | u128::from(low);
    let right = payload & ((1 << low_part_bits(mark)) - 1);
    [(payload >> low_part_bits(mark)) as u64, right as u64]
}

/// The check symbol after these.
pub(super) fn check_symbol(symbols: impl Iterator<Item = u8>) -> u8 {
    times_alpha(sum(symbols))
}

/// Whether the last of these is the right check symbol for the others.
pub(super) fn checks(symbols: impl Iterator<Item = u8>) -> bool {
    sum(symbols) == 0
}

/// Σ αⁱ·xᵢ, in Horner's way.
fn sum(symbols: impl Iterator<Item = u8>) -> u8 {
    symbols.fold(0, |sum, symbol| times_alpha(sum) ^ symbol)
}

/// A product with α, a root of x⁵ + x² + 1, which is primitive.
fn times_alpha(element: u8) -> u8 {
    let carried = if element & 0b1_0000 == 0 { 0 } else { 0b10_0101 };
    element << 1 ^ carried
}

/// Whether a code can be used, by its symbols but the check symbol: a reader knows a Latin code by the letters among
/// its last symbols. There are two, so that one is left when another is mistaken for a digit.
pub(super) fn is_recognisable(symbols: &[u8]) -> bool {
    let tail = &symbols[symbols.len() - (super::TAIL_LEN - 1)..];
    tail.iter().filter(|&&symbol| symbol >= 10).count() >= 2
}

/// What a letter or digit of ASCII is read as: a digit, a capital letter of the alphabet, or `U`. `None` for other
/// characters.
pub(super) fn fold(found: char) -> Option<u8> {
    let byte = u8::try_from(found).ok().filter(u8::is_ascii_alphanumeric)?;
    Some(match byte.to_ascii_uppercase() {
        b'O' => b'0',
        b'I' | b'L' => b'1',
        other => other,
    })
}

/// The value of a symbol, however it is written; `None` if it is not in the alphabet.
pub(super) fn value_of(found: char) -> Option<u8> {
    let place = SYMBOLS.binary_search(&fold(found)?.into()).ok()?;
    u8::try_from(place).ok()
}

/// The value that a folded symbol of a prefix has in the check.
pub(super) fn prefix_value(symbol: u8) -> u8 {
    let symbol = if symbol == b'U' { b'V' } else { symbol };
    value_of(symbol.into()).expect("all letters and digits but U have a value")
}

/// The symbol that was probably meant by `wrong`, which is not in the alphabet: a suggestion for people, never taken
/// for what they wrote.
pub(super) fn nearest(wrong: char) -> Option<char> {
    match without_accents(wrong) {
        Some('U') => Some('V'),
        Some(meant) => Some(meant),
        None => match wrong {
            '$' => Some('S'),
            '@' => Some('A'),
            '!' | '|' => Some('1'),
            _ => None,
        },
    }
}

/// The letter of a prefix that was probably meant by one with accents.
pub(super) fn without_accents(letter: char) -> Option<char> {
    letter.nfd().next().and_then(fold).map(char::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_alphabet_is_sorted_and_found() {
        assert!(SYMBOLS.is_sorted_by(|one, next| one < next));
        for (value, &symbol) in SYMBOLS.iter().enumerate() {
            assert_eq!(value_of(symbol).map(usize::from), Some(value));
            assert_eq!(usize::from(prefix_value(symbol as u8)), value);
        }
        let left_out = ('A'..='Z').filter(|letter| !SYMBOLS.contains(letter));
        assert_eq!(left_out.collect::<String>(), "ILOU");
        for (written, value) in
            [('o', 0), ('O', 0), ('i', 1), ('I', 1), ('l', 1), ('L', 1), ('z', 31)]
        {
            assert_eq!(value_of(written), Some(value));
        }
        for wrong in ['U', 'u', '-', '가', 'Ä', '\u{FF21}'] {
            assert_eq!(value_of(wrong), None);
        }
    }

    /// Linear in the symbols, so that what holds for the differences holds for all codes: a wrong symbol adds w·d
    /// with w and d not 0, a swap adds (v − w)·d with v ≠ w and d not 0, and a field has no other divisors of 0.
    #[test]
    fn no_wrong_symbol_and_no_swap_can_pass() {
        let weight = |place: usize| (0..place).fold(1, |power, _| times_alpha(power));
        let weights: Vec<u8> = (0..CHECKED_MAX).map(weight).collect();
        let mut sorted = weights.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (1..32).collect::<Vec<u8>>(), "every element but 0 once");
        // With one symbol that is not 0, at each place.
        for place in 0..CHECKED_MAX {
            for difference in 1..32 {
                let symbols =
                    |at: usize| (0..CHECKED_MAX).map(move |i| if i == at { difference } else { 0 });
                assert!(!checks(symbols(place)));
                for other in (0..CHECKED_MAX).filter(|&other| other != place) {
                    assert_ne!(sum(symbols(place)), sum(symbols(other)));
                }
            }
        }
    }

    #[test]
    fn payloads_come_back() {
        for mark in 0..LENGTHS as u8 {
            let [left, right] = [payload_bits(mark) / 2, low_part_bits(mark)];
            let [left, right] = [left, right].map(|bits| (1u64 << bits) - 1);
            for parts in [[0, 0], [0, 1], [0, 8], [1, 0], [left / 3, right / 5], [left, right]] {
                let mut symbols = [0; SYMBOL_COUNT_MAX];
                write(mark, parts, &mut symbols);
                assert_eq!(payload(mark, &symbols), parts);
                assert_eq!(super::mark(symbols[symbol_count(mark) - ENDING_LEN]), mark);
                assert!(symbols.iter().all(|&symbol| symbol < 32));
            }
        }
        assert_eq!((0..4).map(payload_bits).collect::<Vec<_>>(), [63, 73, 83, 93]);
    }

    #[test]
    fn wrong_symbols_have_neighbours() {
        for (wrong, right) in
            [('U', 'V'), ('ü', 'V'), ('É', 'E'), ('ó', '0'), ('$', 'S'), ('|', '1')]
        {
            assert_eq!(nearest(wrong), Some(right), "{wrong}");
        }
        for strange in ['?', '가', 'ㄱ', '漢'] {
            assert_eq!(nearest(strange), None, "{strange}");
        }
    }
}
