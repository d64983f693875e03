//! The payload of a code as FF1 computes with it.
//!
//! Crate `fpe` computes with numerals of any number in allocated big integers. Nine numerals of
//! radix 89 fit machine words, which takes a third of the time and no allocation: routers make a
//! code for every coupon that they answer with. The cipher itself (rounds, AES, key schedule) is the
//! crate's.

use fpe::ff1::{NumeralString, Operations};

use super::{PAYLOAD_LEN, PAYLOAD_LIMIT, RADIX};

/// Nine numerals of radix 89, most significant first, as a number below [`PAYLOAD_LIMIT`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Payload(pub(super) u64);

/// FF1 splits n numerals into ⌊n/2⌋ and the rest.
const LEFT_LEN: usize = PAYLOAD_LEN / 2;
const RIGHT_LEN: usize = PAYLOAD_LEN - LEFT_LEN;

/// FF1's *b*: the bytes that hold any number of [`RIGHT_LEN`] numerals.
const HALF_BYTES: usize = 5;

const _: () = assert!(RADIX.pow(RIGHT_LEN as u32) <= 1 << (8 * HALF_BYTES));

/// A half of the numerals, as a number below 89^`numerals`.
pub(super) struct Half {
    value: u64,
    numerals: usize,
}

fn modulus(numerals: usize) -> u64 {
    RADIX.pow(numerals as u32)
}

/// The number that FF1's 12 pseudo-random bytes (its *d*, 4·⌈b/4⌉ + 4) write, big-endian, reduced.
fn reduce(bytes: impl Iterator<Item = u8>, modulus: u64) -> u64 {
    let number = bytes.fold(0, |number: u128, byte| number << 8 | u128::from(byte));
    (number % u128::from(modulus)) as u64
}

impl NumeralString for Payload {
    type Ops = Half;

    fn is_valid(&self, radix: u32) -> bool {
        u64::from(radix) == RADIX && self.0 < PAYLOAD_LIMIT
    }

    fn numeral_count(&self) -> usize {
        PAYLOAD_LEN
    }

    fn split(&self) -> (Half, Half) {
        let shift = modulus(RIGHT_LEN);
        (
            Half { value: self.0 / shift, numerals: LEFT_LEN },
            Half { value: self.0 % shift, numerals: RIGHT_LEN },
        )
    }

    fn concat(left: Half, right: Half) -> Self {
        Self(left.value * modulus(right.numerals) + right.value)
    }
}

impl Operations for Half {
    type Bytes = [u8; HALF_BYTES];

    fn numeral_count(&self) -> usize {
        self.numerals
    }

    fn to_be_bytes(&self, _radix: u32, b: usize) -> [u8; HALF_BYTES] {
        assert_eq!(b, HALF_BYTES, "FF1's b follows from radix and length");
        let [_, _, _, bytes @ ..] = self.value.to_be_bytes();
        bytes
    }

    fn add_mod_exp(self, other: impl Iterator<Item = u8>, _radix: u32, m: usize) -> Self {
        let modulus = modulus(m);
        let value = (self.value + reduce(other, modulus)) % modulus;
        Self { value, numerals: m }
    }

    fn sub_mod_exp(self, other: impl Iterator<Item = u8>, _radix: u32, m: usize) -> Self {
        let modulus = modulus(m);
        let value = (self.value + modulus - reduce(other, modulus)) % modulus;
        Self { value, numerals: m }
    }
}

#[cfg(test)]
mod tests {
    use aes::Aes256;
    use fpe::ff1::{FF1, FlexibleNumeralString};
    use proptest::prelude::*;
    use proptest::test_runner::RngSeed;

    use super::*;

    fn numerals(payload: u64) -> Vec<u16> {
        (0..PAYLOAD_LEN as u32).rev().map(|i| (payload / RADIX.pow(i) % RADIX) as u16).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            rng_seed: RngSeed::Fixed(0x006e_756d_6572_616c),
            failure_persistence: None,
            ..ProptestConfig::default()
        })]

        /// The crate's own numerals, checked against NIST's vectors there, are the judge.
        #[test]
        fn encryption_is_that_of_the_crates_numerals(
            secret: [u8; 32],
            tweak in proptest::collection::vec(any::<u8>(), 0..20),
            payload in prop_oneof![0..PAYLOAD_LIMIT, Just(0), Just(PAYLOAD_LIMIT - 1)],
        ) {
            let ff1 = FF1::<Aes256>::new(&secret, RADIX as u32).unwrap();
            let ours = ff1.encrypt(&tweak, &Payload(payload)).unwrap();
            let theirs = FlexibleNumeralString::from(numerals(payload));
            let theirs: Vec<u16> = ff1.encrypt(&tweak, &theirs).unwrap().into();
            prop_assert_eq!(numerals(ours.0), theirs);
            prop_assert_eq!(ff1.decrypt(&tweak, &ours).unwrap(), Payload(payload));
        }
    }

    #[test]
    fn what_is_no_payload_is_refused() {
        let ff1 = FF1::<Aes256>::new(&[0; 32], RADIX as u32).unwrap();
        assert!(ff1.encrypt(&[], &Payload(PAYLOAD_LIMIT)).is_err());
    }
}
