//! Random values, from the system's generator of random numbers.

use uuid::Uuid;

/// A random UUID (RFC 9562, version 4) as text: the id of a cluster, a store, a start of it, or a file.
pub fn uuid() -> String {
    Uuid::new_v4().to_string()
}

/// The bytes of a UUID that begins with the time (RFC 9562, version 7), never nil: the id of a request.
pub fn time_ordered_uuid() -> [u8; 16] {
    Uuid::now_v7().into_bytes()
}

/// Bytes of a secret, from a cryptographically secure generator.
pub fn secret<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    rand::fill(&mut bytes[..]);
    bytes
}

/// A number that no other member draws: 64 random bits.
pub fn number() -> u64 {
    rand::random()
}

/// A number in 0..1, for pauses that are not to end at the same time everywhere.
pub fn fraction() -> f64 {
    rand::random()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_draws_are_equal() {
        assert_ne!(uuid(), uuid());
        assert_ne!(time_ordered_uuid(), time_ordered_uuid());
        assert_ne!(secret::<16>(), secret::<16>());
        assert_ne!(number(), number());
    }

    #[test]
    fn fractions_are_in_their_range() {
        assert!((0..1_000).map(|_| fraction()).all(|drawn| (0.0..1.0).contains(&drawn)));
    }

    #[test]
    fn uuids_say_their_version() {
        assert_eq!(uuid().as_bytes()[14], b'4');
        assert_eq!(time_ordered_uuid()[6] >> 4, 7);
    }
}
