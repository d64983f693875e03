//! Coupon codes of profile `kr`: ten symbols that people read, type and say.
//!
//! ```text
//! (shard, counter) ──► variant·2^54 + shard·2^44 + counter ──FF1──► 9 symbols ──► + 1 check symbol
//! ```
//!
//! - **Unique without asking anybody.** A code is a keyed bijection of the shard that issues it
//!   and the shard's counter. Two shards, or two counters of one shard, never give the same code
//!   under one key; [`CodeCipher::decode`] leads from the code back to both.
//! - **Not guessable.** The bijection is format-preserving encryption (FF1 with AES-256, NIST SP
//!   800-38G). Of the 89^9 payloads one in 19 belongs to some shard and counter at all, and one
//!   that was issued cannot be told from one that was not without the key.
//! - **Checked.** The last symbol makes Σ wᵢ·xᵢ ≡ 0 modulo 89 over all ten, with weights 10, 9, …,
//!   1 as in ISBN-10. Since 89 is prime and the weights are distinct and not 0, every single wrong
//!   symbol and every swap of two different symbols is caught.
//! - **Not embarrassing.** No code contains a word of the blocklist; see [`cipher`] for how codes
//!   that would are avoided without losing the bijection.
//!
//! All of it is a format: alphabet and its order, weights, blocklist, layout of the plaintext and
//! tweak. A golden test pins it. A change of any of these needs a new tweak and a way to tell
//! old codes from new ones, since people hold the old ones.
//!
//! Caveat: two keys are two bijections of the same payloads, so a code of one may equal a code of
//! the other, and one in 19 decodes under a key that did not make it. A cluster that rotates keys
//! has to look under each of them, and to refuse to issue a code that an older key has issued.
//!
//! Codes are as good as money, so [`Code`] and [`CodeKey`] do not show themselves in `Debug`.

mod alphabet;
mod blocklist;
mod cipher;
mod ff1;
mod modulus;
mod reading;

use std::fmt;

use alphabet::{RADIX, SYMBOLS};
pub use cipher::{COUNTER_LIMIT, CodeCipher, CodeKey, CounterTooLarge, SECRET_LEN};
pub use reading::CodeError;

/// How many symbols a code has, the check symbol included.
pub const SYMBOL_COUNT: usize = 10;

/// How many of them carry the payload.
const PAYLOAD_LEN: usize = SYMBOL_COUNT - 1;

/// How many payloads there are.
const PAYLOAD_LIMIT: u64 = RADIX.pow(PAYLOAD_LEN as u32);

/// A well-formed code: ten symbols of the alphabet whose check holds. Whether it was ever issued
/// is another question.
///
/// `Display` writes the ten symbols, in NFC. `Debug` does not, to keep codes out of logs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Code([u8; SYMBOL_COUNT]);

impl Code {
    /// The code that carries `payload`, which is below [`PAYLOAD_LIMIT`].
    fn from_payload(mut payload: u64) -> Self {
        let mut symbols = [0; SYMBOL_COUNT];
        for symbol in symbols[..PAYLOAD_LEN].iter_mut().rev() {
            *symbol = (payload % RADIX) as u8;
            payload /= RADIX;
        }
        // The check symbol is still 0 and its weight is 1, so it has to be what the others lack.
        let sum = weighted_sum(&symbols);
        symbols[PAYLOAD_LEN] = ((RADIX - sum) % RADIX) as u8;
        Self(symbols)
    }

    /// The code of these symbols, given as places in the alphabet; `None` if the check fails.
    fn from_symbols(symbols: [u8; SYMBOL_COUNT]) -> Option<Self> {
        (weighted_sum(&symbols) == 0).then_some(Self(symbols))
    }

    /// What [`Code::from_payload`] made it of.
    fn payload(&self) -> u64 {
        self.0[..PAYLOAD_LEN].iter().fold(0, |value, &symbol| value * RADIX + u64::from(symbol))
    }
}

/// Σ wᵢ·xᵢ modulo 89 with weights 10, 9, …, 1.
fn weighted_sum(symbols: &[u8; SYMBOL_COUNT]) -> u64 {
    let weights = (1..=SYMBOL_COUNT as u64).rev();
    symbols.iter().zip(weights).map(|(&symbol, weight)| u64::from(symbol) * weight).sum::<u64>()
        % RADIX
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = [0; 3 * SYMBOL_COUNT];
        let mut len = 0;
        for symbol in self.0 {
            len += SYMBOLS[usize::from(symbol)].encode_utf8(&mut bytes[len..]).len();
        }
        f.pad(str::from_utf8(&bytes[..len]).expect("characters were written"))
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Code(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codes() -> impl Iterator<Item = Code> {
        // Multiples of a large odd number, so that every symbol takes every value.
        (0..200u64).map(|step| {
            Code::from_payload(step.wrapping_mul(0x9E37_79B9_7F4A_7C15) % PAYLOAD_LIMIT)
        })
    }

    #[test]
    fn payloads_come_back() {
        for payload in [0, 1, 88, 89, PAYLOAD_LIMIT - 1] {
            let code = Code::from_payload(payload);
            assert_eq!(code.payload(), payload);
            assert_eq!(Code::from_symbols(code.0), Some(code));
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
                for symbol in (0..RADIX as u8).filter(|&symbol| symbol != code.0[place]) {
                    let mut wrong = code.0;
                    wrong[place] = symbol;
                    assert_eq!(Code::from_symbols(wrong), None);
                }
            }
        }
    }

    #[test]
    fn every_swap_is_caught() {
        for code in codes() {
            for one in 0..SYMBOL_COUNT {
                for other in (0..one).filter(|&other| code.0[other] != code.0[one]) {
                    let mut wrong = code.0;
                    wrong.swap(one, other);
                    assert_eq!(Code::from_symbols(wrong), None);
                }
            }
        }
    }

    #[test]
    fn debug_hides_the_code() {
        let code = Code::from_payload(123_456_789);
        assert_eq!(format!("{code:?}"), "Code(..)");
        assert_eq!(code.to_string().chars().count(), 10);
    }
}
