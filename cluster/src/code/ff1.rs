//! FF1 of NIST SP 800-38G, section 5.1, algorithms 7 (encryption) and 8 (decryption), over machine
//! words.
//!
//! Routers make a code for every coupon that they answer with. General implementations allocate
//! big integers and look for the processor's instructions in every round. Here half of the numerals
//! fit a word, so that a round is one block of AES and a few multiplications, and nothing is
//! allocated. Where radix and length are known when compiling, so are the multipliers ([`Fixed`]).
//!
//! # What is done once for a key
//!
//! The PRF (algorithm 6) is the CBC-MAC of P ‖ Q (steps 5 and 6.i), which fills whole blocks:
//!
//! ```text
//! P (16 bytes) ‖ T (t bytes) ‖ 0^((−t−b−1) mod 16) ‖ i (1 byte) ‖ NUM(B) (b bytes)
//! ```
//!
//! Only i and NUM(B) differ between rounds and between plaintexts, and both are in the last block. So
//! the state before that block is kept, with the constant bytes of the block added to it. For codes
//! of format `kr` t is 16 and b is 5: of three blocks one is left.

use aes::cipher::consts::U16;
use aes::cipher::{
    BlockCipherEncBackend, BlockCipherEncClosure, BlockCipherEncrypt, BlockSizeUser,
};

use super::modulus::Modulus;

/// FF1 with one key and tweak, for numerals of a radix and a length that `S` says.
///
/// Numeral strings go in and out in the two parts of step 2: A, the first ⌊n/2⌋ numerals, and B,
/// the rest, each as the number that it writes (NUM, algorithm 1).
pub(super) struct Ff1<C, S> {
    cipher: C,
    shape: S,
    /// The CBC-MAC up to where rounds differ, as the input of AES for i = 0 and NUM(B) = 0.
    state: u128,
}

/// Ten rounds are five pairs. In a pair A changes, then B, so that nothing need be swapped (steps
/// 6.viii and 6.ix).
const ROUND_PAIRS: u64 = 5;

/// Where radix and length come from.
pub(super) trait Numerals {
    /// What follows from them.
    fn shape(&self) -> &Shape;
}

/// A radix and a length that are known when compiling.
pub(super) struct Fixed<const RADIX: u64, const LEN: u32>;

impl<const RADIX: u64, const LEN: u32> Numerals for Fixed<RADIX, LEN> {
    #[inline(always)]
    fn shape(&self) -> &Shape {
        const { &Shape::new(RADIX, LEN) }
    }
}

impl Numerals for Shape {
    #[inline(always)]
    fn shape(&self) -> &Shape {
        self
    }
}

impl<C, S> Ff1<C, S>
where
    C: BlockCipherEncrypt<BlockSize = U16>,
    S: Numerals,
{
    /// FF1 with `cipher`, which holds the key, and `tweak`.
    pub(super) fn new(cipher: C, numerals: S, tweak: &[u8]) -> Self {
        let shape = numerals.shape();
        let [_, radix @ ..] = shape.radix.to_be_bytes();
        let tweak_len = u32::try_from(tweak.len()).expect("a tweak has less than 4 GB");
        // Steps 5 and 6.i.
        let mut input = vec![1, 2, 1];
        input.extend(radix);
        input.extend([10, shape.left_len as u8]);
        input.extend(shape.len.to_be_bytes());
        input.extend(tweak_len.to_be_bytes());
        input.extend(tweak);
        let varying = 1 + shape.b as usize;
        input.resize((input.len() + varying).next_multiple_of(16), 0);
        // Algorithm 6 but for the last encryption.
        let (blocks, _) = input.as_chunks();
        let blocks = blocks.iter().map(|&block| u128::from_be_bytes(block));
        let state = blocks.reduce(|input, block| {
            let mut output = input.to_be_bytes().into();
            cipher.encrypt_block(&mut output);
            u128::from_be_bytes(output.into()) ^ block
        });
        Self { cipher, shape: numerals, state: state.expect("P is a block") }
    }

    /// Algorithm 7. The parts are below radix^⌊n/2⌋ and radix^⌈n/2⌉.
    pub(super) fn encrypt(&self, parts: [u64; 2]) -> [u64; 2] {
        self.run(parts, true)
    }

    /// Algorithm 8, the inverse.
    pub(super) fn decrypt(&self, parts: [u64; 2]) -> [u64; 2] {
        self.run(parts, false)
    }

    fn run(&self, mut parts: [u64; 2], forward: bool) -> [u64; 2] {
        let rounds = Rounds { shape: &self.shape, state: self.state, parts: &mut parts, forward };
        self.cipher.encrypt_with_backend(rounds);
        parts
    }
}

/// The rounds of step 6. Crate `aes` calls them from where it has found the processor's
/// instructions for AES, so that this is done once and the key schedule stays in registers.
struct Rounds<'a, S> {
    shape: &'a S,
    state: u128,
    parts: &'a mut [u64; 2],
    forward: bool,
}

impl<S> BlockSizeUser for Rounds<'_, S> {
    type BlockSize = U16;
}

impl<S: Numerals> BlockCipherEncClosure for Rounds<'_, S> {
    #[inline(always)]
    fn call<Aes: BlockCipherEncBackend<BlockSize = U16>>(self, aes: &Aes) {
        let shape = self.shape.shape();
        let (left, right) = (&shape.left, &shape.right);
        // Steps 6.i to 6.iv: y of round i, in which `part` is what NUM(B) stands for above.
        let y = |i: u64, part: u64| {
            let input = self.state ^ u128::from(i << (8 * shape.b) | part);
            let mut block = input.to_be_bytes().into();
            aes.encrypt_block_inplace(&mut block);
            u128::from_be_bytes(block.into()) >> (128 - 8 * shape.d)
        };
        // Steps 6.v to 6.vii: rounds with even i change A, the others B.
        let [mut a, mut b] = *self.parts;
        if self.forward {
            for pair in 0..ROUND_PAIRS {
                a = left.add(a, y(2 * pair, b));
                b = right.add(b, y(2 * pair + 1, a));
            }
        } else {
            for pair in (0..ROUND_PAIRS).rev() {
                b = right.subtract(b, y(2 * pair + 1, a));
                a = left.subtract(a, y(2 * pair, b));
            }
        }
        *self.parts = [a, b];
    }
}

/// A radix and a length, and what follows from them.
pub(super) struct Shape {
    radix: u32,
    len: u32,
    /// The standard's u.
    left_len: u32,
    left: Modulus,
    right: Modulus,
    /// The bytes that hold NUM(B).
    b: u32,
    /// The bytes of y.
    d: u32,
}

impl Shape {
    /// Steps 1, 3 and 4. Half of the numerals, rounded up, write numbers up to 2^56.
    pub(super) const fn new(radix: u64, len: u32) -> Self {
        let left_len = len / 2;
        let right = radix.pow(len - left_len);
        // ⌈v · log2(radix)⌉ bits are those of the greatest number of v numerals.
        let b = (u64::BITS - (right - 1).leading_zeros()).div_ceil(8);
        assert!(b < 8, "i and NUM(B) fit one word, and y one block");
        let d = 4 * b.div_ceil(4) + 4;
        let low_bits = 8 * d - u64::BITS;
        let left = Modulus::new(radix.pow(left_len), low_bits);
        let right = Modulus::new(right, low_bits);
        Self { radix: radix as u32, len, left_len, left, right, b, d }
    }
}

#[cfg(test)]
mod tests {
    use aes::cipher::KeyInit;
    use aes::{Aes128Enc, Aes192Enc, Aes256, Aes256Enc};
    use fpe::ff1::{FF1, FlexibleNumeralString};
    use proptest::prelude::*;
    use proptest::test_runner::RngSeed;

    use super::*;

    const RADIX: u64 = 89;
    const PARTS: [u64; 2] = [RADIX.pow(4), RADIX.pow(5)];

    fn parts() -> [impl Strategy<Value = u64>; 2] {
        PARTS.map(|limit| prop_oneof![8 => 0..limit, 1 => Just(0), 1 => Just(limit - 1)])
    }

    fn numerals(parts: [u64; 2]) -> Vec<u16> {
        let string = parts[0] * PARTS[1] + parts[1];
        (0..9).rev().map(|i| (string / RADIX.pow(i) % RADIX) as u16).collect()
    }

    fn bits(parts: [u64; 2], len: u32) -> Vec<u16> {
        let string = u128::from(parts[0]) << len.div_ceil(2) | u128::from(parts[1]);
        (0..len).rev().map(|i| (string >> i & 1) as u16).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            cases: 2_000,
            rng_seed: RngSeed::Fixed(0x0066_6631),
            failure_persistence: None,
            ..ProptestConfig::default()
        })]

        #[test]
        fn both_ways_are_those_of_another_implementation(
            secret: [u8; 32],
            tweak in prop::collection::vec(any::<u8>(), 0..40),
            parts in parts(),
        ) {
            let ours = Ff1::new(Aes256Enc::new(&secret.into()), Fixed::<RADIX, 9>, &tweak);
            let theirs = FF1::<Aes256>::new(&secret, RADIX as u32).unwrap();
            let string = FlexibleNumeralString::from(numerals(parts));
            let encrypted: Vec<u16> = theirs.encrypt(&tweak, &string).unwrap().into();
            prop_assert_eq!(numerals(ours.encrypt(parts)), encrypted);
            let decrypted: Vec<u16> = theirs.decrypt(&tweak, &string).unwrap().into();
            prop_assert_eq!(numerals(ours.decrypt(parts)), decrypted);
        }

        #[test]
        fn both_ways_of_bits_are_those_of_another_implementation(
            secret: [u8; 32],
            tweak in prop::collection::vec(any::<u8>(), 0..40),
            len in prop_oneof![Just(63u32), Just(73), Just(83), Just(93), 20u32..=111],
            parts: [u64; 2],
        ) {
            let [left, right] = parts;
            let parts = [left % (1 << (len / 2)), right % (1 << len.div_ceil(2))];
            let ours = Ff1::new(Aes256Enc::new(&secret.into()), Shape::new(2, len), &tweak);
            let theirs = FF1::<Aes256>::new(&secret, 2).unwrap();
            let string = FlexibleNumeralString::from(bits(parts, len));
            let encrypted: Vec<u16> = theirs.encrypt(&tweak, &string).unwrap().into();
            prop_assert_eq!(bits(ours.encrypt(parts), len), encrypted);
            let decrypted: Vec<u16> = theirs.decrypt(&tweak, &string).unwrap().into();
            prop_assert_eq!(bits(ours.decrypt(parts), len), decrypted);
        }
    }

    /// Numerals are digits and small letters, as in the samples.
    fn check<C, const RADIX: u64, const LEN: u32>(tweak: &[u8], plain: &str, encrypted: &str)
    where
        C: KeyInit + BlockCipherEncrypt<BlockSize = U16>,
    {
        // The samples' keys for AES-128 and AES-192 are beginnings of that for AES-256.
        let key = [
            0x2B, 0x7E, 0x15, 0x16, 0x28, 0xAE, 0xD2, 0xA6, 0xAB, 0xF7, 0x15, 0x88, 0x09, 0xCF,
            0x4F, 0x3C, 0xEF, 0x43, 0x59, 0xD8, 0xD5, 0x80, 0xAA, 0x4F, 0x7F, 0x03, 0x6D, 0x6F,
            0x04, 0xFC, 0x6A, 0x94,
        ];
        let cipher = C::new_from_slice(&key[..C::key_size()]).unwrap();
        let [plain, encrypted] = [plain, encrypted].map(|text| {
            let (a, b) = text.split_at(LEN as usize / 2);
            [a, b].map(|part| u64::from_str_radix(part, RADIX as u32).unwrap())
        });
        let ff1 = Ff1::new(&cipher, Fixed::<RADIX, LEN>, tweak);
        assert_eq!(ff1.encrypt(plain), encrypted);
        assert_eq!(ff1.decrypt(encrypted), plain);
        let ff1 = Ff1::new(&cipher, Shape::new(RADIX, LEN), tweak);
        assert_eq!(ff1.encrypt(plain), encrypted);
        assert_eq!(ff1.decrypt(encrypted), plain);
    }

    /// Samples 1 to 9 of FF1samples.pdf, which NIST publishes as examples with intermediate values.
    #[test]
    fn the_samples_of_nist_come_out() {
        let (digits, tweak) = ("0123456789", b"9876543210");
        check::<Aes128Enc, 10, 10>(b"", digits, "2433477484");
        check::<Aes128Enc, 10, 10>(tweak, digits, "6124200773");
        check::<Aes192Enc, 10, 10>(b"", digits, "2830668132");
        check::<Aes192Enc, 10, 10>(tweak, digits, "2496655549");
        check::<Aes256Enc, 10, 10>(b"", digits, "6657667009");
        check::<Aes256Enc, 10, 10>(tweak, digits, "1001623463");
        let (letters, tweak) = ("0123456789abcdefghi", b"7777pqrs777");
        check::<Aes128Enc, 36, 19>(tweak, letters, "a9tv40mll9kdu509eum");
        check::<Aes192Enc, 36, 19>(tweak, letters, "xbj3kv35jrawxv32ysr");
        check::<Aes256Enc, 36, 19>(tweak, letters, "xs8a0azh2avyalyzuwd");
    }
}
