//! Between codes and what they stand for: the key, the shard that issued a coupon and its counter there.
//!
//! # Why there are variants
//!
//! Some of the codes that encryption gives contain a word of the blocklist, so there must be
//! another code for the same counter. The textbook answer, encrypting again until the code is
//! clean, is no bijection here: cycle walking works when inputs and outputs are the same set,
//! but inputs are all counters and outputs are the clean codes only. Where counter *p*, read as
//! a payload, is itself a blocked code and *q* is the counter that encrypts to *p*, both would walk
//! to the encryption of *p*: one code for two coupons.
//!
//! Instead, a plaintext has room for a variant: 54 bits hold shard and counter, and 19·2^54 < 89^9.
//! All plaintexts are different, so all their codes are. A counter's code is that of its first
//! variant without a blocked word; decoding accepts no other, so that a coupon has one code only.
//! About one code of format `kr` in 110 is blocked, so all 19 variants of a counter never are in
//! practice; the last one would then be used as it is.
//!
//! Payloads of Latin codes have 63 bits or more, of which 64 variants are used. What makes a variant unfit must not
//! depend on the prefix, or the same counter could have other payloads with other prefixes; so it is decided without
//! the check symbol.
//!
//! # Several keys
//!
//! Two keys are two bijections onto the same payloads. A key therefore skips, like blocked words, the variants whose
//! payloads are codes of an older key. So, key by key, the sets of codes are disjoint, and a code leads to one key.
//! An older key has one payload of format `kr` in 19.4. With [`CODE_KEYS_MAX`] keys, all variants of a counter would be
//! taken by chance once in 10^15; there is no code then. Whether a payload is an older key's costs two encryptions and
//! the same question for the keys before it, so that codes cost about twice as much with each key more.

use std::fmt;

use aes::Aes256Enc;
use aes::cipher::KeyInit;

use super::blocklist;
use super::ff1::{Ff1, Fixed, Shape};
use super::format::{CodeFormat, CodeScheme};
use super::{Code, kr, latin};
use crate::ids::{KeyId, ShardId};

/// How many bytes the secret of a code key has: a key of AES-256.
pub const SECRET_LEN: usize = 32;

/// Number of code keys that a cluster can have: with more, codes would run out of variants.
pub(crate) const CODE_KEYS_MAX: usize = 4;

/// A shard's counters are below this: 2^44, enough for a million coupons a second for half a year
/// per shard.
pub const COUNTER_LIMIT: u64 = 1 << COUNTER_BITS;

const COUNTER_BITS: u32 = 44;
const SHARD_BITS: u32 = 10;
const VARIANT_SHIFT: u32 = SHARD_BITS + COUNTER_BITS;
const KR_VARIANTS: u64 = 19;
const LATIN_VARIANTS: u64 = 64;

/// FF1 takes payloads in two parts; the second one of format `kr` is below this.
const KR_PART_LIMIT: u64 = kr::RADIX.pow(kr::PAYLOAD_LEN.div_ceil(2) as u32);

const _: () = assert!(KR_VARIANTS << VARIANT_SHIFT <= kr::RADIX.pow(kr::PAYLOAD_LEN as u32));
const _: () = assert!((LATIN_VARIANTS as u128) << VARIANT_SHIFT <= 1 << latin::payload_bits(0));
const _: () = assert!(ShardId::MAX < 1 << SHARD_BITS);

/// Names and versions of the formats: another version under the same key gives unrelated codes.
const KR_TWEAK: &[u8] = b"coupon code kr 1";
const LATIN_TWEAK: &[u8] = b"coupon code latin 1";

/// A key of coupon codes. It belongs to the cluster; who has it can make valid codes.
#[derive(Clone, PartialEq, Eq)]
pub struct CodeKey {
    /// Its id.
    pub id: KeyId,
    /// Random bytes. `Debug` does not show them.
    pub secret: [u8; SECRET_LEN],
}

impl fmt::Debug for CodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CodeKey").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Where a code comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CodeOrigin {
    /// The key that it is made with.
    pub key: KeyId,
    /// The shard that issued it.
    pub shard: ShardId,
    /// The counter of that shard.
    pub counter: u64,
}

/// There is no such code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// The key is not among those that are known.
    #[error("code key {0} is not known")]
    UnknownKey(KeyId),
    /// The counter does not fit a code: the shard has used its counters up.
    #[error("counter {0} is not below {COUNTER_LIMIT}, the number of codes that a shard has")]
    CounterTooLarge(u64),
    /// All that the code could be are codes of older keys.
    #[error("older keys have all codes of this counter")]
    Taken,
}

/// Makes and reads codes. Holds the expanded keys: make one for a shard map and keep it.
pub struct CodeCipher {
    /// By id.
    keys: Vec<KeyCipher>,
}

impl CodeCipher {
    /// The cipher of all keys of a cluster.
    pub fn new<'a>(keys: impl IntoIterator<Item = &'a CodeKey>) -> Self {
        let mut keys: Vec<KeyCipher> = keys.into_iter().map(KeyCipher::new).collect();
        keys.sort_by_key(|key| key.id);
        Self { keys }
    }

    /// The key that new campaigns use; `None` where there are no keys.
    pub fn newest_key(&self) -> Option<KeyId> {
        self.keys.last().map(|key| key.id)
    }

    /// Whether codes of this key can be made.
    pub fn has_key(&self, key: KeyId) -> bool {
        self.place(key).is_some()
    }

    /// The code of the coupon that `shard` issues under `counter`, which is below [`COUNTER_LIMIT`].
    ///
    /// # Errors
    ///
    /// When the key is not known or the counter is too large, and once in 10^15 if there are older keys.
    pub fn encode(
        &self,
        key: KeyId,
        scheme: CodeScheme,
        shard: ShardId,
        counter: u64,
    ) -> Result<Code, EncodeError> {
        let place = self.place(key).ok_or(EncodeError::UnknownKey(key))?;
        if counter >= COUNTER_LIMIT {
            return Err(EncodeError::CounterTooLarge(counter));
        }
        let point = u64::from(shard.get()) << COUNTER_BITS | counter;
        let code = self.code_of_point(place, scheme.format, point).ok_or(EncodeError::Taken)?;
        Ok(code.with_prefix(scheme.prefix.folded()))
    }

    /// Where `code` comes from; `None` if no shard can have issued it. That the counter was reached is not said, nor
    /// that its campaign has such codes: only the code that the coupon found is shown with is the code of it.
    pub fn decode(&self, code: &Code) -> Option<CodeOrigin> {
        let bare = code.with_prefix(Default::default());
        let mut places = 0..self.keys.len();
        places.find_map(|place| {
            let point = self.point_of_code(place, &bare)?;
            let counter = point & (COUNTER_LIMIT - 1);
            let shard = ShardId::new((point >> COUNTER_BITS) as u32).ok()?;
            Some(CodeOrigin { key: self.keys[place].id, shard, counter })
        })
    }

    fn place(&self, key: KeyId) -> Option<usize> {
        self.keys.iter().position(|cipher| cipher.id == key)
    }

    /// The code without prefix that the key at a place has for shard and counter.
    fn code_of_point(&self, place: usize, format: CodeFormat, point: u64) -> Option<Code> {
        let mut last = None;
        for variant in 0..variants(format) {
            let payload = self.keys[place].encrypt(format, variant << VARIANT_SHIFT | point);
            let code = Code::from_payload(format, payload);
            if self.is_older(place, &code) {
                continue;
            }
            if is_fit(&code) {
                return Some(code);
            }
            last = Some(code);
        }
        last
    }

    /// Whether a code without prefix is one of a key before that at a place.
    fn is_older(&self, place: usize, code: &Code) -> bool {
        (0..place).any(|older| self.point_of_code(older, code).is_some())
    }

    /// The shard and counter that a code without prefix stands for under the key at a place.
    fn point_of_code(&self, place: usize, code: &Code) -> Option<u64> {
        let plain = self.keys[place].decrypt(code.format, code.payload())?;
        if plain >> VARIANT_SHIFT >= variants(code.format) {
            return None;
        }
        let point = plain & ((1 << VARIANT_SHIFT) - 1);
        // A variant that encoding does not use is another code.
        (self.code_of_point(place, code.format, point).as_ref() == Some(code)).then_some(point)
    }
}

impl fmt::Debug for CodeCipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CodeCipher").finish_non_exhaustive()
    }
}

fn variants(format: CodeFormat) -> u64 {
    if format == CodeFormat::Kr { KR_VARIANTS } else { LATIN_VARIANTS }
}

/// Whether a code may be given to people. Independent of the prefix.
fn is_fit(code: &Code) -> bool {
    match code.format.mark() {
        None => !blocklist::KR.has_word_in(code.symbols()),
        Some(_) => {
            let (_check, others) = code.symbols().split_last().expect("codes have symbols");
            latin::is_recognisable(others) && !blocklist::LATIN.may_have_word_in(others)
        }
    }
}

/// All ciphers of one key.
struct KeyCipher {
    id: KeyId,
    kr: Ff1<Aes256Enc, Fixed<{ kr::RADIX }, { kr::PAYLOAD_LEN as u32 }>>,
    /// By the marks of the lengths.
    latin: [Ff1<Aes256Enc, Shape>; latin::LENGTHS],
}

impl KeyCipher {
    fn new(key: &CodeKey) -> Self {
        let aes = Aes256Enc::new(&key.secret.into());
        let bits = |mark: usize| Shape::new(2, latin::payload_bits(mark as u8));
        Self {
            id: key.id,
            latin: std::array::from_fn(|mark| Ff1::new(aes.clone(), bits(mark), LATIN_TWEAK)),
            kr: Ff1::new(aes, Fixed, KR_TWEAK),
        }
    }

    /// The payload, in two parts, that stands for a variant of shard and counter.
    fn encrypt(&self, format: CodeFormat, plain: u64) -> [u64; 2] {
        match format.mark() {
            None => self.kr.encrypt([plain / KR_PART_LIMIT, plain % KR_PART_LIMIT]),
            Some(mark) => {
                let low_bits = latin::low_part_bits(mark);
                let parts = [plain >> low_bits, plain & ((1 << low_bits) - 1)];
                self.latin[usize::from(mark)].encrypt(parts)
            }
        }
    }

    /// The inverse; `None` where the payload stands for no variant.
    fn decrypt(&self, format: CodeFormat, payload: [u64; 2]) -> Option<u64> {
        match format.mark() {
            None => {
                let [left, right] = self.kr.decrypt(payload);
                Some(left * KR_PART_LIMIT + right)
            }
            Some(mark) => {
                let [left, right] = self.latin[usize::from(mark)].decrypt(payload);
                let plain = u128::from(left) << latin::low_part_bits(mark) | u128::from(right);
                u64::try_from(plain).ok()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::code::CodePrefix;

    const SHARD: u32 = 5;

    fn key(id: u32) -> CodeKey {
        CodeKey { id: KeyId(id), secret: [41 + id as u8; SECRET_LEN] }
    }

    fn first_variant(cipher: &CodeCipher, format: CodeFormat, counter: u64) -> Code {
        let point = u64::from(SHARD) << COUNTER_BITS | counter;
        Code::from_payload(format, cipher.keys[0].encrypt(format, point))
    }

    fn origin(counter: u64) -> CodeOrigin {
        CodeOrigin { key: KeyId(1), shard: ShardId::new(SHARD).unwrap(), counter }
    }

    fn encode(cipher: &CodeCipher, format: CodeFormat, counter: u64) -> Code {
        let scheme = CodeScheme { format, prefix: CodePrefix::NONE };
        cipher.encode(KeyId(1), scheme, ShardId::new(SHARD).unwrap(), counter).unwrap()
    }

    /// Walks counters until enough of them have a blocked first variant.
    #[test]
    fn unfit_codes_give_way_to_the_next_variant() {
        let cipher = CodeCipher::new(&[key(1)]);
        for format in [CodeFormat::Kr, CodeFormat::Latin14, CodeFormat::Latin20] {
            let mut unfit = 0;
            for counter in 0..20_000 {
                let first = first_variant(&cipher, format, counter);
                let code = encode(&cipher, format, counter);
                assert!(is_fit(&code));
                if is_fit(&first) {
                    assert_eq!(code, first);
                } else {
                    unfit += 1;
                    assert_ne!(code, first);
                    assert_eq!(cipher.decode(&first), None);
                    assert_eq!(cipher.decode(&code), Some(origin(counter)));
                }
            }
            // Of kr, eight words of two symbols at nine places: 72 in 7,921, which is 182 in 20,000. Of Latin, four
            // words of three symbols at 11 or 17 places, in 32,768: 27 or 42. And 34 with a digit as the length that
            // are nearly all digits, or 80 with a letter as the length that may end with ASS.
            let expected = if format == CodeFormat::Kr { 100..300 } else { 40..200 };
            assert!(expected.contains(&unfit), "{format:?}: {unfit}");
        }
    }

    /// A later variant of a counter whose first one is clean is a well-formed code of nothing.
    #[test]
    fn only_the_first_fit_variant_is_accepted() {
        let cipher = CodeCipher::new(&[key(1)]);
        let point = u64::from(SHARD) << COUNTER_BITS | 1234;
        for format in CodeFormat::ALL {
            let code = |plain| Code::from_payload(format, cipher.keys[0].encrypt(format, plain));
            assert_eq!(cipher.decode(&code(point)), Some(origin(1234)));
            for variant in 1..variants(format) {
                assert_eq!(cipher.decode(&code(variant << VARIANT_SHIFT | point)), None);
            }
            assert_eq!(cipher.decode(&code(variants(format) << VARIANT_SHIFT)), None);
        }
    }

    /// Where the second key's first variant is a code of the first key, the second key gives another.
    #[test]
    fn keys_do_not_share_codes() {
        let (old, both) = (CodeCipher::new(&[key(1)]), CodeCipher::new(&[key(2), key(1)]));
        let alone = CodeCipher::new(&[key(2)]);
        let shard = ShardId::new(SHARD).unwrap();
        let mut skipped = 0;
        for counter in 0..2_000 {
            let code = both.encode(KeyId(2), CodeScheme::default(), shard, counter).unwrap();
            assert_eq!(old.decode(&code), None);
            assert_eq!(both.decode(&code), Some(CodeOrigin { key: KeyId(2), ..origin(counter) }));
            let would_be = alone.encode(KeyId(2), CodeScheme::default(), shard, counter).unwrap();
            assert_eq!(would_be != code, old.decode(&would_be).is_some());
            skipped += usize::from(would_be != code);
            // The older key's codes stay what they were.
            let older = old.encode(KeyId(1), CodeScheme::default(), shard, counter);
            assert_eq!(both.encode(KeyId(1), CodeScheme::default(), shard, counter), older);
            assert_eq!(both.decode(&older.unwrap()), Some(origin(counter)));
        }
        // One in 19.4.
        assert!((60..150).contains(&skipped), "{skipped}");
    }

    #[test]
    fn debug_hides_secrets() {
        let key = CodeKey { id: KeyId(3), secret: [77; SECRET_LEN] };
        assert_eq!(format!("{key:?}"), "CodeKey { id: KeyId(3), .. }");
        assert_eq!(format!("{:?}", CodeCipher::new(&[key])), "CodeCipher { .. }");
    }
}
