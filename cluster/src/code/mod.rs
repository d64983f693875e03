//! Coupon codes: symbols that people read, type and say.
//!
//! ```text
//! (shard, counter) ──► variant·2^54 + shard·2^44 + counter ──FF1──► payload ──► symbols + check symbol
//! ```
//!
//! - **Unique without asking anybody.** A code is a keyed bijection of the shard that issues it
//!   and the shard's counter. Two shards, or two counters of one shard, never give the same code; nor do two keys of
//!   one cluster, nor two formats. [`CodeCipher::decode`] leads from the code back to all of them. Prefixes add
//!   nothing to this and are not needed for it.
//! - **Not guessable.** The bijection is format-preserving encryption (FF1 with AES-256, NIST SP
//!   800-38G). One that was issued cannot be told from one that was not without the key. A well-formed guess is one
//!   of *n* issued codes with a chance of *n* in the number of payloads; see the table.
//! - **Checked.** The check symbol catches every single wrong symbol and every swap of two different symbols, in
//!   all formats: [`kr`] and [`latin`] have the sums and the proofs.
//! - **Not embarrassing.** No code contains a word of the blocklist; see [`cipher`] for how codes
//!   that would are avoided without losing the bijection.
//!
//! | format | symbols | payloads |
//! |---|---|---|
//! | `kr` | 10 of 89, digits and syllables | 89^9, 3·10^17 |
//! | `latin` | 14, 16, 18 or 20 of 32, digits and letters | 2^63, 2^73, 2^83, 2^93 |
//!
//! Shard and counter take 54 bits, and codes must have some more, for variants and against guessing. So 14 is the
//! least even length of Latin codes that is not easier to guess than `kr`.
//!
//! # Reading
//!
//! A reader has the text alone. It takes a text for Latin if letters outnumber syllables among the last ten symbols.
//! A code of format `kr` has no letters there, a Latin one at least two. The length of a Latin code is in its last symbol but one. What
//! comes before the code is its prefix. That it is the right one is no question of reading: a look-up finds
//! a coupon only if the coupon's own code, prefix included, is equal to what was read.
//!
//! All of it is a format: alphabets and their order, weights, blocklists, layout of the plaintext and
//! tweaks. Golden tests pin it. A change of any of these needs a new tweak and a new [`CodeFormat`], since people
//! hold the old codes.
//!
//! Codes are as good as money, so [`Code`] and [`CodeKey`] do not show themselves in `Debug`.

mod blocklist;
mod cipher;
mod ff1;
mod format;
mod kr;
mod latin;
mod modulus;
mod reading;

use std::fmt;

pub(crate) use cipher::CODE_KEYS_MAX;
pub use cipher::{COUNTER_LIMIT, CodeCipher, CodeKey, CodeOrigin, EncodeError, SECRET_LEN};
pub use format::{
    CodeFormat, CodePrefix, CodePrefixError, CodeProfile, CodeScheme, PREFIX_LEN_MAX,
    PREFIX_SYMBOLS_MAX,
};
pub use reading::CodeError;

/// How many of the last symbols tell the profile: as many as the shortest code has.
const TAIL_LEN: usize = kr::SYMBOL_COUNT;

/// A well-formed code with its prefix: symbols of one alphabet whose check holds. Whether it was ever issued
/// is another question.
///
/// Equal codes are read alike. The prefix is folded: without hyphens, 0 for O and 1 for I and L.
/// [`CodeScheme::text`] writes a code as its campaign wants it. `Display` writes what is read, in NFC. `Debug` does
/// not, to keep codes out of logs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Code {
    format: CodeFormat,
    prefix: CodePrefix,
    /// Places in the alphabet; zeros after the end.
    symbols: [u8; latin::SYMBOL_COUNT_MAX],
}

impl Code {
    /// The code without prefix that carries `payload`, which is in range for the format.
    fn from_payload(format: CodeFormat, payload: [u64; 2]) -> Self {
        let mut code = Self { format, prefix: CodePrefix::NONE, symbols: Default::default() };
        match format.mark() {
            None => code.symbols[..kr::SYMBOL_COUNT].copy_from_slice(&kr::symbols(payload)),
            Some(mark) => {
                latin::write(mark, payload, &mut code.symbols);
                code.set_check_symbol();
            }
        }
        code
    }

    /// The code of these symbols after a folded prefix; `None` if the check fails.
    fn from_symbols(format: CodeFormat, prefix: CodePrefix, symbols: &[u8]) -> Option<Self> {
        let mut code = Self { format, prefix, symbols: Default::default() };
        code.symbols.get_mut(..symbols.len())?.copy_from_slice(symbols);
        let is_right = match format.mark() {
            None => symbols.try_into().is_ok_and(kr::checks),
            Some(_) => latin::checks(code.checked_symbols()),
        };
        is_right.then_some(code)
    }

    /// The code that carries the same after another, folded prefix.
    fn with_prefix(mut self, prefix: CodePrefix) -> Self {
        if self.prefix != prefix {
            self.prefix = prefix;
            if self.format.mark().is_some() {
                self.set_check_symbol();
            }
        }
        self
    }

    /// Makes the check symbol of a Latin code right.
    fn set_check_symbol(&mut self) {
        let last = self.format.symbol_count() - 1;
        let others = self.prefix_values().chain(self.symbols[..last].iter().copied());
        self.symbols[last] = latin::check_symbol(others);
    }

    /// What the check symbol of a Latin code covers, itself included.
    fn checked_symbols(&self) -> impl Iterator<Item = u8> {
        self.prefix_values().chain(self.symbols().iter().copied())
    }

    fn prefix_values(&self) -> impl Iterator<Item = u8> {
        self.prefix.as_bytes().iter().map(|&symbol| latin::prefix_value(symbol))
    }

    /// What [`Code::from_payload`] made it of.
    fn payload(&self) -> [u64; 2] {
        match self.format.mark() {
            None => kr::payload(self.symbols()),
            Some(mark) => latin::payload(mark, self.symbols()),
        }
    }

    /// The symbols as places in the alphabet, without the prefix.
    fn symbols(&self) -> &[u8] {
        &self.symbols[..self.format.symbol_count()]
    }

    /// The [folded](CodeScheme::folded) scheme of the campaign that has such codes.
    pub fn scheme(&self) -> CodeScheme {
        CodeScheme { format: self.format, prefix: self.prefix }
    }

    /// Profile and length.
    pub fn format(&self) -> CodeFormat {
        self.format
    }

    /// Number of bytes of the symbols as text.
    fn text_len(&self) -> usize {
        if self.format == CodeFormat::Kr { 3 * kr::SYMBOL_COUNT } else { self.symbols().len() }
    }

    /// Adds the symbols to a text, without the prefix.
    fn push_symbols(&self, text: &mut String) {
        let alphabet: &[char] =
            if self.format == CodeFormat::Kr { &kr::SYMBOLS } else { &latin::SYMBOLS };
        text.extend(self.symbols().iter().map(|&symbol| alphabet[usize::from(symbol)]));
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.scheme().text(self))
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

    #[test]
    fn payloads_and_symbols_come_back() {
        let prefixes = [CodePrefix::NONE, CodePrefix::new("HELLO-UP").unwrap().folded()];
        for format in CodeFormat::ALL {
            for prefix in prefixes {
                let payload = [12_345, 67_890];
                let code = Code::from_payload(format, payload).with_prefix(prefix);
                assert_eq!((code.payload(), code.format()), (payload, format));
                assert_eq!(Code::from_symbols(format, prefix, code.symbols()), Some(code));
                assert_eq!(code.with_prefix(CodePrefix::NONE), Code::from_payload(format, payload));
            }
        }
    }

    #[test]
    fn the_text_has_the_prefix_as_it_was_chosen() {
        let prefix = CodePrefix::new("OIL-RUSH-").unwrap();
        let scheme = CodeScheme { format: CodeFormat::Kr, prefix };
        let code = Code::from_payload(scheme.format, [0, 0]).with_prefix(prefix.folded());
        assert_eq!(scheme.text(&code), "OIL-RUSH-0000000000");
        assert_eq!(code.to_string(), "011RUSH0000000000");
    }

    #[test]
    fn debug_hides_the_code() {
        let code = Code::from_payload(CodeFormat::Kr, [123_456, 789]);
        assert_eq!(format!("{code:?}"), "Code(..)");
        assert_eq!(code.to_string().chars().count(), 10);
    }
}
