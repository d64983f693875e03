//! Log time: the only clock the ledger knows.

/// A moment as the log has it: microseconds since 1970-01-01T00:00:00Z.
///
/// The leader of a shard stamps every entry; the ledger never asks a clock. That makes "has the
/// campaign started?" a question with one answer, the same on every replica and in every replay of
/// the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogTime(
    /// Microseconds since 1970-01-01T00:00:00Z.
    pub u64,
);

impl LogTime {
    /// The moment `micros` microseconds later, or the last one there is.
    #[must_use]
    pub fn after_micros(self, micros: u64) -> Self {
        Self(self.0.saturating_add(micros))
    }
}
