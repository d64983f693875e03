//! Between codes and what they stand for: the shard that issued a coupon and its counter there.
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
//! About one code in 110 is blocked, so all 19 variants of a counter never are in practice; the
//! last one would then be used as it is, which keeps encoding total.

use std::fmt;

use aes::Aes256Enc;
use aes::cipher::KeyInit;

use super::alphabet::RADIX;
use super::blocklist::is_blocked;
use super::ff1::Ff1;
use super::{Code, PAYLOAD_LEN, PAYLOAD_LIMIT};
use crate::ids::{KeyId, ShardId};

/// How many bytes the secret of a code key has: a key of AES-256.
pub const SECRET_LEN: usize = 32;

/// A shard's counters are below this: 2^44, enough for a million coupons a second for half a year
/// per shard and key.
pub const COUNTER_LIMIT: u64 = 1 << COUNTER_BITS;

const COUNTER_BITS: u32 = 44;
const SHARD_BITS: u32 = 10;
const VARIANT_SHIFT: u32 = SHARD_BITS + COUNTER_BITS;
const VARIANTS: u64 = 19;

const _: () = assert!(VARIANTS << VARIANT_SHIFT <= PAYLOAD_LIMIT);
const _: () = assert!(ShardId::MAX < 1 << SHARD_BITS);

/// FF1 takes payloads in two parts; the second one is below this.
const PART_LIMIT: u64 = RADIX.pow(PAYLOAD_LEN.div_ceil(2) as u32);

/// Name and version of the format: another version under the same key gives unrelated codes.
const TWEAK: &[u8] = b"coupon code kr 1";

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

/// The counter does not fit a code: the shard has used the key up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("counter {0} is not below {COUNTER_LIMIT}, the number of codes a shard has under one key")]
pub struct CounterTooLarge(pub u64);

/// Makes and reads the codes of one key. Holds the expanded key: make one per key and keep it.
pub struct CodeCipher {
    ff1: Ff1<Aes256Enc, RADIX, { PAYLOAD_LEN as u32 }>,
}

impl CodeCipher {
    /// The cipher of `key`.
    pub fn new(key: &CodeKey) -> Self {
        Self { ff1: Ff1::new(Aes256Enc::new(&key.secret.into()), TWEAK) }
    }

    /// The code of the coupon that `shard` issues under `counter`, which is below
    /// [`COUNTER_LIMIT`].
    pub fn encode(&self, shard: ShardId, counter: u64) -> Result<Code, CounterTooLarge> {
        if counter >= COUNTER_LIMIT {
            return Err(CounterTooLarge(counter));
        }
        let point = u64::from(shard.get()) << COUNTER_BITS | counter;
        let mut code = self.encrypt(point);
        for variant in 1..VARIANTS {
            if !is_blocked(&code.0) {
                break;
            }
            code = self.encrypt(variant << VARIANT_SHIFT | point);
        }
        Ok(code)
    }

    /// The shard that issued `code`, if it is one of this key's, and its counter there; `None` if
    /// no shard can have issued it. That the counter was reached is not said.
    pub fn decode(&self, code: &Code) -> Option<(ShardId, u64)> {
        let plain = self.decrypt(code);
        let counter = plain & (COUNTER_LIMIT - 1);
        let shard = (plain >> COUNTER_BITS) & u64::from(ShardId::MAX);
        let shard = ShardId::new(u32::try_from(shard).ok()?).ok()?;
        // Past the last variant, or a variant that encoding does not use, is another code.
        let is_canonical = self.encode(shard, counter) == Ok(*code);
        is_canonical.then_some((shard, counter))
    }

    fn encrypt(&self, plain: u64) -> Code {
        let [left, right] = self.ff1.encrypt([plain / PART_LIMIT, plain % PART_LIMIT]);
        Code::from_payload(left * PART_LIMIT + right)
    }

    fn decrypt(&self, code: &Code) -> u64 {
        let payload = code.payload();
        let [left, right] = self.ff1.decrypt([payload / PART_LIMIT, payload % PART_LIMIT]);
        left * PART_LIMIT + right
    }
}

impl fmt::Debug for CodeCipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CodeCipher").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cipher() -> CodeCipher {
        CodeCipher::new(&CodeKey { id: KeyId(1), secret: [42; SECRET_LEN] })
    }

    /// Walks counters until enough of them have a blocked first variant.
    #[test]
    fn blocked_codes_give_way_to_the_next_variant() {
        let cipher = cipher();
        let shard = ShardId::new(5).unwrap();
        let mut blocked = 0;
        for counter in 0..20_000 {
            let point = u64::from(shard.get()) << COUNTER_BITS | counter;
            let first = cipher.encrypt(point);
            let code = cipher.encode(shard, counter).unwrap();
            assert!(!is_blocked(&code.0));
            if is_blocked(&first.0) {
                blocked += 1;
                assert_ne!(code, first);
                assert_eq!(cipher.decode(&first), None);
                assert_eq!(cipher.decode(&code), Some((shard, counter)));
            } else {
                assert_eq!(code, first);
            }
        }
        // Eight words of two symbols at nine places: 72 in 7,921, which is 182 in 20,000.
        assert!((100..300).contains(&blocked), "{blocked}");
    }

    /// A later variant of a counter whose first one is clean is a well-formed code of nothing.
    #[test]
    fn only_the_first_clean_variant_is_accepted() {
        let cipher = cipher();
        let point = 7u64 << COUNTER_BITS | 1234;
        assert!(cipher.decode(&cipher.encrypt(point)).is_some());
        for variant in 1..VARIANTS {
            assert_eq!(cipher.decode(&cipher.encrypt(variant << VARIANT_SHIFT | point)), None);
        }
        for plain in [VARIANTS << VARIANT_SHIFT, PAYLOAD_LIMIT - 1] {
            assert_eq!(cipher.decode(&cipher.encrypt(plain)), None);
        }
    }

    #[test]
    fn debug_hides_secrets() {
        let key = CodeKey { id: KeyId(3), secret: [77; SECRET_LEN] };
        assert_eq!(format!("{key:?}"), "CodeKey { id: KeyId(3), .. }");
        assert_eq!(format!("{:?}", CodeCipher::new(&key)), "CodeCipher { .. }");
    }
}
