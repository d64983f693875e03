//! Tokens that say where an answer goes on: opaque to clients, and checked when they come back. Pure.

use prost::Message;

/// A position as a token.
pub(crate) fn to_token(position: &impl Message) -> String {
    let mut bytes = position.encode_to_vec();
    bytes.extend(crc32fast::hash(&bytes).to_be_bytes());
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The position in a token, unless it is garbage.
pub(crate) fn from_token<M: Message + Default>(token: &str) -> Option<M> {
    let bytes = from_hex(token)?;
    let (content, checksum) = bytes.split_last_chunk::<4>()?;
    let is_whole = crc32fast::hash(content) == u32::from_be_bytes(*checksum);
    M::decode(content).ok().filter(|_| is_whole)
}

/// What tells the tokens of one question from those of others.
pub(crate) fn checksum_of(question: &[&str]) -> u32 {
    let mut checksum = crc32fast::Hasher::new();
    for part in question {
        checksum.update(part.as_bytes());
        // No part holds this byte, so that two lists of parts never run together alike.
        checksum.update(&[0xff]);
    }
    checksum.finalize()
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u32>> = text.chars().map(|digit| digit.to_digit(16)).collect();
    let digits = digits.filter(|digits| digits.len() % 2 == 0)?;
    digits.chunks_exact(2).map(|pair| u8::try_from(pair[0] * 16 + pair[1]).ok()).collect()
}
