//! What a campaign decides about its codes: profile, length and prefix.

use std::fmt;

use super::{Code, kr, latin};

/// The symbols that codes are made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CodeProfile {
    /// Digits and Hangul syllables.
    #[default]
    Kr,
    /// Digits and Latin letters, of Crockford's base 32.
    Latin,
}

/// A profile and a length.
///
/// It stands for all that codes depend on beside the key: alphabet, blocklist, layout, tweak. Campaigns keep theirs, so a
/// new blocklist is a new format for new campaigns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CodeFormat {
    /// 10 symbols of profile `kr`.
    #[default]
    Kr,
    /// 14 symbols of profile `latin`.
    Latin14,
    /// 16 symbols of profile `latin`.
    Latin16,
    /// 18 symbols of profile `latin`.
    Latin18,
    /// 20 symbols of profile `latin`.
    Latin20,
}

impl CodeFormat {
    /// All formats.
    pub const ALL: [Self; 1 + latin::LENGTHS] =
        [Self::Kr, Self::Latin14, Self::Latin16, Self::Latin18, Self::Latin20];

    /// The format of a profile whose codes have `length` symbols; the shortest one for 0. `None` if the profile has no such
    /// length.
    pub fn new(profile: CodeProfile, length: usize) -> Option<Self> {
        let mut formats = Self::ALL.into_iter().filter(|format| format.profile() == profile);
        formats.find(|format| length == 0 || format.symbol_count() == length)
    }

    /// The profile.
    pub fn profile(self) -> CodeProfile {
        if self == Self::Kr { CodeProfile::Kr } else { CodeProfile::Latin }
    }

    /// How many symbols a code has, the check symbol included and the prefix not.
    pub fn symbol_count(self) -> usize {
        self.mark().map_or(kr::SYMBOL_COUNT, latin::symbol_count)
    }

    /// The mark of the length in Latin codes; `None` for others.
    pub(super) fn mark(self) -> Option<u8> {
        match self {
            Self::Kr => None,
            Self::Latin14 => Some(0),
            Self::Latin16 => Some(1),
            Self::Latin18 => Some(2),
            Self::Latin20 => Some(3),
        }
    }

    /// The Latin format with this mark, which is below [`latin::LENGTHS`].
    pub(super) fn latin(mark: u8) -> Self {
        Self::ALL[1 + usize::from(mark)]
    }
}

/// Maximum number of letters and digits in a prefix: with the longest code, they are as many symbols as the check
/// symbol of a Latin code can cover.
pub const PREFIX_SYMBOLS_MAX: usize = latin::CHECKED_MAX - latin::SYMBOL_COUNT_MAX;

/// Maximum number of characters in a prefix, hyphens included.
pub const PREFIX_LEN_MAX: usize = 16;

/// What the codes of a campaign begin with, such as `SUMMER-`; may be empty.
///
/// 1 to 11 capital letters and digits, at least one of them a letter other than I, L and O, and hyphens between or
/// after them, two in a row never. A reader forgives a missing hyphen, small letters, and 0 and 1 for what looks like them.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CodePrefix {
    /// ASCII.
    bytes: [u8; PREFIX_LEN_MAX],
    len: u8,
}

/// The text is not a prefix of codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be at most {PREFIX_SYMBOLS_MAX} letters A to Z and digits and {PREFIX_LEN_MAX} characters, with a letter other \
     than I, L and O; single hyphens may stand between and after them"
)]
pub struct CodePrefixError;

impl CodePrefix {
    /// No prefix.
    pub const NONE: Self = Self { bytes: [0; PREFIX_LEN_MAX], len: 0 };

    /// A prefix from its text.
    ///
    /// # Errors
    ///
    /// When the text has other characters, or too many.
    pub fn new(text: &str) -> Result<Self, CodePrefixError> {
        let is_allowed = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '-';
        let is_well_formed =
            text.chars().all(is_allowed) && !text.starts_with('-') && !text.contains("--");
        let prefix = is_well_formed.then(|| Self::from_bytes(text.bytes())).flatten();
        let prefix = prefix.ok_or(CodePrefixError)?;
        let symbols = prefix.folded();
        let is_readable = symbols.as_bytes().len() <= PREFIX_SYMBOLS_MAX && symbols.has_letter();
        if is_readable || text.is_empty() { Ok(prefix) } else { Err(CodePrefixError) }
    }

    /// The prefix that was written as these characters, folded; `None` if they are none.
    pub(super) fn read(written: &[char]) -> Option<Self> {
        if written.is_empty() {
            return Some(Self::NONE);
        }
        let symbols: Option<Vec<u8>> = written.iter().map(|&found| latin::fold(found)).collect();
        let symbols = symbols.filter(|symbols| symbols.len() <= PREFIX_SYMBOLS_MAX)?;
        Self::from_bytes(symbols.into_iter()).filter(Self::has_letter)
    }

    /// As it is read: without hyphens, and with what looks alike as one.
    pub(super) fn folded(&self) -> Self {
        let symbols = self.as_bytes().iter().filter_map(|&byte| latin::fold(byte.into()));
        Self::from_bytes(symbols).expect("there are no more symbols than characters")
    }

    fn from_bytes(bytes: impl Iterator<Item = u8>) -> Option<Self> {
        let mut prefix = Self::NONE;
        for byte in bytes {
            *prefix.bytes.get_mut(usize::from(prefix.len))? = byte;
            prefix.len += 1;
        }
        Some(prefix)
    }

    /// Whether one of the symbols is a letter, which tells a prefix from digits too many. Of a folded prefix.
    fn has_letter(&self) -> bool {
        self.as_bytes().iter().any(u8::is_ascii_uppercase)
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        str::from_utf8(self.as_bytes()).expect("a prefix is ASCII")
    }
}

impl fmt::Debug for CodePrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CodePrefix({:?})", self.as_str())
    }
}

/// What a campaign decides about its codes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CodeScheme {
    /// Profile and length.
    pub format: CodeFormat,
    /// What the codes begin with.
    pub prefix: CodePrefix,
}

impl CodeScheme {
    /// The scheme as a code tells it: with the prefix as it is read.
    #[must_use]
    pub fn folded(self) -> Self {
        Self { prefix: self.prefix.folded(), ..self }
    }

    /// A code of this scheme as people get it: with the prefix as it was chosen.
    pub fn text(&self, code: &Code) -> String {
        let prefix = self.prefix.as_str();
        let mut text = String::with_capacity(prefix.len() + code.text_len());
        text.push_str(prefix);
        code.push_symbols(&mut text);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_those_of_the_profile() {
        let latin = |length| CodeFormat::new(CodeProfile::Latin, length);
        let kr = |length| CodeFormat::new(CodeProfile::Kr, length);
        assert_eq!([kr(0), kr(10)], [Some(CodeFormat::Kr); 2]);
        assert_eq!([latin(0), latin(14)], [Some(CodeFormat::Latin14); 2]);
        let longer = [CodeFormat::Latin16, CodeFormat::Latin18, CodeFormat::Latin20];
        assert_eq!([16, 18, 20].map(latin), longer.map(Some));
        assert!([9, 11, 14].into_iter().all(|length| kr(length).is_none()));
        assert!([1, 10, 13, 15, 17, 19, 21, 22].into_iter().all(|length| latin(length).is_none()));
        for format in CodeFormat::ALL {
            assert_eq!(CodeFormat::new(format.profile(), format.symbol_count()), Some(format));
            assert_eq!(format.mark().map(CodeFormat::latin).unwrap_or_default(), format);
        }
    }

    #[test]
    fn prefixes_are_bounded_and_readable() {
        for text in
            ["", "SUMMER-", "SUMMER", "A", "2030-A", "BLACK-FRIDAY-", "A-B-C-D-E-F-G-H-", "U"]
        {
            assert_eq!(CodePrefix::new(text).as_ref().map(CodePrefix::as_str), Ok(text));
        }
        let wrong = [
            "O2-",
            "-",
            "-A",
            "A--B",
            "a",
            "Ä",
            "가",
            "A B",
            "A_",
            "2030-",
            "OIL-",
            "1",
            "ABCDEFGHIJKL",
            "A-B-C-D-E-F-G-H-I",
        ];
        for text in wrong {
            assert_eq!(CodePrefix::new(text), Err(CodePrefixError), "{text}");
        }
    }
}
