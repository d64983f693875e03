//! Checks that each sequence number of a campaign is answered exactly once.

/// The sequence numbers that were answered. The numbers of a campaign have no gaps, so one bit each is
/// enough.
#[derive(Debug, Default)]
pub(crate) struct Audit {
    seen: Vec<u64>,
    acknowledged: u64,
    highest: u64,
    broken: u64,
}

/// Highest sequence number that is believed, so that a broken answer does not take all memory.
const SEQUENCE_MAX: u64 = 1 << 32;

impl Audit {
    /// Notes an answer.
    pub(crate) fn note(&mut self, sequence: i64) {
        self.acknowledged += 1;
        let Some(sequence) = u64::try_from(sequence).ok().filter(|n| (1..SEQUENCE_MAX).contains(n))
        else {
            self.broken += 1;
            return;
        };
        let Ok(word) = usize::try_from(sequence / 64) else { return };
        if self.seen.len() <= word {
            self.seen.resize(word + 1, 0);
        }
        let bit = 1 << (sequence % 64);
        if self.seen[word] & bit != 0 {
            self.broken += 1;
        }
        self.seen[word] |= bit;
        self.highest = self.highest.max(sequence);
    }

    /// What is wrong with the answers, given how many coupons the campaign says it has issued.
    pub(crate) fn faults(&self, issued: i64) -> Vec<String> {
        let mut faults = self.gaps();
        if u64::try_from(issued) != Ok(self.acknowledged) {
            faults.push(format!(
                "{} coupons were acknowledged, and the campaign has issued {issued}",
                self.acknowledged
            ));
        }
        faults
    }

    /// What is wrong with the answers by themselves: repeated numbers, and missing ones.
    pub(crate) fn gaps(&self) -> Vec<String> {
        let mut faults = Vec::new();
        if self.broken > 0 {
            faults.push(format!("{} answers repeat a sequence number or have none", self.broken));
        }
        if self.broken == 0 && self.highest != self.acknowledged {
            faults.push(format!(
                "{} coupons were acknowledged, and the highest sequence number is {}",
                self.acknowledged, self.highest
            ));
        }
        faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn audit(sequences: &[i64]) -> Audit {
        let mut audit = Audit::default();
        sequences.iter().for_each(|sequence| audit.note(*sequence));
        audit
    }

    #[test]
    fn each_number_once_and_none_missing_is_right() {
        assert!(audit(&[2, 1, 3]).faults(3).is_empty());
        assert!(audit(&[]).faults(0).is_empty());
    }

    #[test]
    fn repeated_missing_and_unacknowledged_numbers_are_faults() {
        assert_eq!(audit(&[1, 2, 2]).faults(3).len(), 1);
        assert_eq!(audit(&[1, 3]).faults(2).len(), 1);
        assert_eq!(audit(&[1, 2]).faults(3).len(), 1);
        assert_eq!(audit(&[0, -1]).faults(2).len(), 1);
    }
}
