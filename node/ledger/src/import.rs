//! Codes that were imported, and the imports that they came from.

/// What is known of an imported code, under its campaign and the code itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImportedCode {
    /// Its place among the codes of its campaign, from 1: the sequence number of the coupon that has it or will have
    /// it.
    pub sequence: u64,
    /// The number of its import.
    pub import: u32,
    /// Its line there.
    pub line: u64,
}

/// How far an import has come, under its campaign and its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CodeImport {
    /// Its number in the campaign, from 1: a short name for it.
    pub number: u32,
    /// The line that comes next: all before it were looked at.
    pub next_line: u64,
    /// How many codes it has added.
    pub imported: u64,
}

/// A line of an import whose code was not added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RefusedLine {
    /// The line.
    pub line: u64,
    /// Why.
    pub reason: LineRefusal,
}

/// Why the code of a line was not added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineRefusal {
    /// The campaign has the code already.
    Duplicate {
        /// Its place among the codes of the campaign.
        sequence: u64,
        /// The line that added it, if that is one of the same import.
        line: Option<u64>,
    },
    /// The campaign has as many codes as it may.
    TooManyCodes,
    /// The line was sent before, with another code or without one.
    Changed,
}
