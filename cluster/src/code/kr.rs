//! Format `kr`: its 89 symbols and its check symbol, and the right symbol nearest to a wrong one.
//!
//! Ten digits and 79 open Hangul syllables: the 14 plain consonants times the 6 vowels ㅏㅓㅗㅜㅡㅣ,
//! without 이 사 오 구, which are spoken like 2 4 5 9, and without 으. What is left out is left out
//! because people confuse it: final consonants are hard to read, tense consonants and ㅐ/ㅔ are
//! hard to tell apart in speech, Latin letters look like digits.

/// How many symbols there are: a prime, which the check symbol relies on.
pub(super) const RADIX: u64 = SYMBOLS.len() as u64;

/// How many symbols a code has, the check symbol included.
pub(super) const SYMBOL_COUNT: usize = 10;

/// How many of them carry the payload.
pub(super) const PAYLOAD_LEN: usize = SYMBOL_COUNT - 1;

/// How many symbols the left part of the payload has.
const LEFT_LEN: usize = PAYLOAD_LEN / 2;

/// The symbols by value, in the order of Unicode (which [`value_of`] relies on).
#[rustfmt::skip]
pub(super) const SYMBOLS: [char; 89] = [
    '0', '1', '2', '3', '4', '5', '6', '7', '8', '9',
    '가', '거', '고', '그', '기',
    '나', '너', '노', '누', '느', '니',
    '다', '더', '도', '두', '드', '디',
    '라', '러', '로', '루', '르', '리',
    '마', '머', '모', '무', '므', '미',
    '바', '버', '보', '부', '브', '비',
    '서', '소', '수', '스', '시',
    '아', '어', '우',
    '자', '저', '조', '주', '즈', '지',
    '차', '처', '초', '추', '츠', '치',
    '카', '커', '코', '쿠', '크', '키',
    '타', '터', '토', '투', '트', '티',
    '파', '퍼', '포', '푸', '프', '피',
    '하', '허', '호', '후', '흐', '히',
];

/// The symbols of a code, given as places in the alphabet, that carries a payload: two numbers below 89^4 and 89^5.
pub(super) fn symbols([left, right]: [u64; 2]) -> [u8; SYMBOL_COUNT] {
    let mut symbols = [0; SYMBOL_COUNT];
    write(left, &mut symbols[..LEFT_LEN]);
    write(right, &mut symbols[LEFT_LEN..PAYLOAD_LEN]);
    // The check symbol is still 0 and its weight is 1, so it has to be what the others lack.
    symbols[PAYLOAD_LEN] = ((RADIX - weighted_sum(&symbols)) % RADIX) as u8;
    symbols
}

/// Writes a number in base 89.
fn write(mut number: u64, symbols: &mut [u8]) {
    for symbol in symbols.iter_mut().rev() {
        *symbol = (number % RADIX) as u8;
        number /= RADIX;
    }
}

/// What [`symbols`] were made of.
pub(super) fn payload(symbols: &[u8]) -> [u64; 2] {
    let number = |symbols: &[u8]| {
        symbols.iter().fold(0, |number, &symbol| number * RADIX + u64::from(symbol))
    };
    [number(&symbols[..LEFT_LEN]), number(&symbols[LEFT_LEN..PAYLOAD_LEN])]
}

/// Whether the check symbol is right.
pub(super) fn checks(symbols: &[u8; SYMBOL_COUNT]) -> bool {
    weighted_sum(symbols) == 0
}

/// Σ wᵢ·xᵢ modulo 89 with weights 10, 9, …, 1.
fn weighted_sum(symbols: &[u8; SYMBOL_COUNT]) -> u64 {
    let weights = (1..=SYMBOL_COUNT as u64).rev();
    symbols.iter().zip(weights).map(|(&symbol, weight)| u64::from(symbol) * weight).sum::<u64>()
        % RADIX
}

/// The value of a symbol; `None` if it is not in the alphabet.
pub(super) fn value_of(symbol: char) -> Option<u8> {
    let place = SYMBOLS.binary_search(&symbol).ok()?;
    u8::try_from(place).ok()
}

/// The symbol that was probably meant by `wrong`, which is not in the alphabet: a suggestion for people,
/// never taken for what they wrote.
pub(super) fn nearest(wrong: char) -> Option<char> {
    look_alike(wrong).or_else(|| spoken_digit(wrong)).or_else(|| nearest_syllable(wrong))
}

/// The digit that a letter looks like.
fn look_alike(letter: char) -> Option<char> {
    match letter {
        'O' | 'o' | 'ㅇ' => Some('0'),
        'I' | 'i' | 'L' | 'l' | 'ㅣ' => Some('1'),
        'Z' | 'z' => Some('2'),
        'S' | 's' => Some('5'),
        'B' => Some('8'),
        _ => None,
    }
}

/// The digit that a syllable outside the alphabet is the Korean name of.
fn spoken_digit(syllable: char) -> Option<char> {
    match syllable {
        '영' | '공' => Some('0'),
        '일' => Some('1'),
        '이' => Some('2'),
        '삼' => Some('3'),
        '사' => Some('4'),
        '오' => Some('5'),
        '육' | '륙' => Some('6'),
        '칠' => Some('7'),
        '팔' => Some('8'),
        '구' => Some('9'),
        _ => None,
    }
}

/// Where Hangul syllables begin in Unicode: all combinations of 19 leading consonants, 21 vowels
/// and 28 final consonants (the first: none), in this order (The Unicode Standard, 3.12).
const FIRST_SYLLABLE: u32 = 0xAC00;
const LEADS: u32 = 19;
const VOWELS: u32 = 21;
const FINALS: u32 = 28;

/// Takes a syllable's final consonant away, makes a tense consonant plain and a vowel one of the
/// six.
fn nearest_syllable(syllable: char) -> Option<char> {
    let index = u32::from(syllable).checked_sub(FIRST_SYLLABLE)?;
    let (lead, vowel) = (index / (VOWELS * FINALS), index / FINALS % VOWELS);
    let plain_lead = match lead {
        // ㄲ ㄸ ㅃ ㅆ ㅉ each follow their plain consonant.
        1 | 4 | 8 | 10 | 13 => lead - 1,
        0..LEADS => lead,
        _ => return None,
    };
    let plain_vowel = match vowel {
        // ㅏ ㅐ ㅑ ㅒ
        0..=3 => 0,
        // ㅓ ㅔ ㅕ ㅖ
        4..=7 => 4,
        // ㅗ ㅘ ㅙ ㅚ ㅛ
        8..=12 => 8,
        // ㅜ ㅝ ㅞ ㅟ ㅠ
        13..=17 => 13,
        // ㅡ
        18 => 18,
        // ㅢ ㅣ
        _ => 20,
    };
    let open = char::from_u32(FIRST_SYLLABLE + (plain_lead * VOWELS + plain_vowel) * FINALS)?;
    match open {
        // 으 is not in the alphabet and no digit; many speakers do not tell it from 어.
        '으' => Some('어'),
        _ if value_of(open).is_some() => Some(open),
        _ => spoken_digit(open),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_alphabet_is_what_its_definition_says() {
        let syllable = |lead: u32, vowel: u32| {
            char::from_u32(FIRST_SYLLABLE + (lead * VOWELS + vowel) * FINALS).unwrap()
        };
        let mut expected: Vec<char> = ('0'..='9').collect();
        // ㄱㄴㄷㄹㅁㅂㅅㅇㅈㅊㅋㅌㅍㅎ and ㅏㅓㅗㅜㅡㅣ by their numbers in Unicode.
        for lead in [0, 2, 3, 5, 6, 7, 9, 11, 12, 14, 15, 16, 17, 18] {
            for vowel in [0, 4, 8, 13, 18, 20] {
                expected.push(syllable(lead, vowel));
            }
        }
        expected.retain(|symbol| !['이', '사', '오', '구', '으'].contains(symbol));
        assert_eq!(expected, SYMBOLS);
        assert_eq!(expected.len(), 10 + 79);
    }

    #[test]
    fn the_alphabet_is_sorted_and_found() {
        assert!(SYMBOLS.is_sorted_by(|one, next| one < next));
        for (value, &symbol) in SYMBOLS.iter().enumerate() {
            assert_eq!(value_of(symbol).map(usize::from), Some(value));
        }
        assert_eq!(value_of('이'), None);
        assert_eq!(value_of('A'), None);
    }

    #[test]
    fn the_radix_is_prime() {
        assert!((2..RADIX).all(|divisor| !RADIX.is_multiple_of(divisor)));
    }

    fn codes() -> impl Iterator<Item = [u8; SYMBOL_COUNT]> {
        // Multiples of a large odd number, so that every symbol takes every value.
        (0..200u64).map(|step| {
            let number = step.wrapping_mul(0x9E37_79B9_7F4A_7C15);
            symbols([number % RADIX.pow(4), number % RADIX.pow(5)])
        })
    }

    #[test]
    fn payloads_come_back() {
        let last = [RADIX.pow(4) - 1, RADIX.pow(5) - 1];
        for parts in [[0, 0], [0, 1], [88, 89], [1, 0], last] {
            let symbols = symbols(parts);
            assert!(checks(&symbols));
            assert_eq!(payload(&symbols), parts);
        }
    }

    /// Linear in the symbols, so that what holds for the differences holds for all codes: a wrong
    /// symbol adds w·d with w and d not 0, a swap adds (v − w)·d with v ≠ w and d not 0.
    #[test]
    fn no_wrong_symbol_and_no_swap_can_pass() {
        for weight in 1..=SYMBOL_COUNT as u64 {
            for difference in 1..RADIX {
                assert_ne!(weight * difference % RADIX, 0);
                for other in 1..weight {
                    assert_ne!((weight - other) * difference % RADIX, 0);
                }
            }
        }
    }

    #[test]
    fn every_wrong_symbol_is_caught() {
        for code in codes() {
            for place in 0..SYMBOL_COUNT {
                for symbol in (0..RADIX as u8).filter(|&symbol| symbol != code[place]) {
                    let mut wrong = code;
                    wrong[place] = symbol;
                    assert!(!checks(&wrong));
                }
            }
        }
    }

    #[test]
    fn every_swap_is_caught() {
        for code in codes() {
            for one in 0..SYMBOL_COUNT {
                for other in (0..one).filter(|&other| code[other] != code[one]) {
                    let mut wrong = code;
                    wrong.swap(one, other);
                    assert!(!checks(&wrong));
                }
            }
        }
    }

    #[test]
    fn wrong_symbols_have_neighbours() {
        for (wrong, right) in [
            ('강', '가'),
            ('값', '가'),
            ('까', '가'),
            ('빠', '바'),
            ('쪼', '조'),
            ('래', '라'),
            ('레', '러'),
            ('며', '머'),
            ('교', '고'),
            ('화', '호'),
            ('뮤', '무'),
            ('희', '히'),
            ('꽥', '고'),
            ('으', '어'),
            ('은', '어'),
            ('이', '2'),
            ('사', '4'),
            ('싸', '4'),
            ('산', '4'),
            ('오', '5'),
            ('요', '5'),
            ('구', '9'),
            ('일', '1'),
            ('공', '0'),
            ('칠', '7'),
            ('O', '0'),
            ('l', '1'),
        ] {
            assert_eq!(nearest(wrong), Some(right), "{wrong}");
        }
        for strange in ['A', '?', 'ㄱ', '漢', '힣', '\u{D7A4}', '😀'] {
            let suggestion = nearest(strange);
            assert_eq!(suggestion, if strange == '힣' { Some('히') } else { None }, "{strange}");
        }
    }

    #[test]
    fn every_syllable_has_a_neighbour_in_the_alphabet() {
        for syllable in '가'..='힣' {
            assert!(nearest(syllable).and_then(value_of).is_some(), "{syllable}");
        }
    }
}
