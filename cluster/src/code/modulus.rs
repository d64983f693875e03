//! Arithmetic modulo a number that is known when compiling.

/// A modulus, for numbers that are too large for a word. Dividing 128 bits takes longer than AES, so
/// quotients are computed with reciprocals.
///
/// A number is taken as high · 2^`low_bits` + low. Modulo the modulus, 2^`low_bits` is `weight`.
pub(super) struct Modulus {
    value: u64,
    low_bits: u32,
    weight: u64,
    /// ⌊weight · 2^64 / value⌋.
    weight_quotient: u64,
    /// ⌊2^64 / value⌋.
    one_quotient: u64,
}

impl Modulus {
    /// `value` is from 2 to 2^56; numbers have at most 64 + `low_bits` bits, and `low_bits` is at
    /// most 32.
    pub(super) const fn new(value: u64, low_bits: u32) -> Self {
        let weight = (1 << low_bits) % value;
        let weight_quotient = (((weight as u128) << 64) / value as u128) as u64;
        let one_quotient = ((1 << 64) / value as u128) as u64;
        Self { value, low_bits, weight, weight_quotient, one_quotient }
    }

    /// (part + number) modulo this, where `part` is below it.
    #[inline]
    pub(super) fn add(&self, part: u64, number: u128) -> u64 {
        let high = (number >> self.low_bits) as u64;
        let low = (number as u64 & ((1 << self.low_bits) - 1)) + part;
        // At most 2 less than the quotient of high · weight + low, which is below 2^64: each
        // reciprocal is up to 1 too small, which makes less than 1 for all of `high` and next to
        // nothing for `low`; what is rounded down makes less than 1 again.
        let product = |one: u64, other: u64| u128::from(one) * u128::from(other);
        let quotients = product(high, self.weight_quotient) + product(low, self.one_quotient);
        let quotient = (quotients >> 64) as u64;
        // Only the last word of each product counts, since the difference is below 3 · value.
        let dividend = high.wrapping_mul(self.weight).wrapping_add(low);
        let rest = dividend.wrapping_sub(quotient.wrapping_mul(self.value));
        // What would be negative wraps around to a large number.
        rest.min(rest.wrapping_sub(self.value)).min(rest.wrapping_sub(2 * self.value))
    }

    /// (part − number) modulo this, where `part` is below it.
    #[inline]
    pub(super) fn subtract(&self, part: u64, number: u128) -> u64 {
        let number = self.add(0, number);
        if number <= part { part - number } else { part + self.value - number }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::test_runner::RngSeed;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig {
            cases: 10_000,
            rng_seed: RngSeed::Fixed(0x006d_6f64_756c_7573),
            failure_persistence: None,
            ..ProptestConfig::default()
        })]

        #[test]
        fn remainders_are_those_of_division(
            value in prop_oneof![2u64..=1 << 56, 2u64..1 << 34, Just(89u64.pow(4)), Just(89u64.pow(5))],
            low_bits in 0u32..=32,
            number: u128,
            multiple: u64,
            part: u64,
        ) {
            let modulus = Modulus::new(value, low_bits);
            let (part, wide) = (part % value, u128::from(value));
            let limit = 1 << (64 + low_bits);
            // Numbers around multiples are where a wrong quotient would show.
            let near = u128::from(multiple) % (limit / wide) * wide;
            for number in [number % limit, limit - 1, near, near + 1, near + wide - 1] {
                let sum = (number + u128::from(part)) % wide;
                prop_assert_eq!(u128::from(modulus.add(part, number)), sum);
                let difference = (u128::from(part) + wide - number % wide) % wide;
                prop_assert_eq!(u128::from(modulus.subtract(part, number)), difference);
            }
        }
    }
}
