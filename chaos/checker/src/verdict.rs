//! What the checks found.

use std::fmt;

use crate::history::{Campaign, History, Outcome};

/// How many violations of one kind in one campaign are described; all are counted.
const DESCRIBED_MAX: usize = 5;

/// What came of all checks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// How many campaigns were judged.
    pub campaigns: u64,
    /// How many coupons they have.
    pub issued: u64,
    /// How many answers with a coupon were recorded.
    pub acknowledged: u64,
    /// Coupons whose code another coupon had before, in any campaign.
    pub duplicates: u64,
    /// Coupons beyond the quota.
    pub oversold: u64,
    /// Coupons that were left in campaigns that had been answered as sold out.
    pub undersold: u64,
    /// Answered coupons that are not there, or not as they were answered.
    pub lost: u64,
    /// Coupons that nobody asked for.
    pub phantoms: u64,
    /// Coupons of requests that had issued one before.
    pub repeats: u64,
    /// Recipients that hold more than the limit.
    pub limit_violations: u64,
    /// Sequence numbers between 1 and the number of coupons that no coupon has.
    pub gaps: u64,
    /// Some of the violations, described.
    pub violations: Vec<Violation>,
}

/// A violation, described for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The campaign that shows it.
    pub campaign_id: String,
    /// What is wrong.
    pub description: String,
}

/// What one check found.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    count: u64,
    described: Vec<Violation>,
}

impl Findings {
    /// Counts `count` violations at once, described by one text.
    pub(crate) fn add(
        &mut self,
        campaign: &Campaign,
        count: u64,
        describe: impl FnOnce() -> String,
    ) {
        self.count += count;
        if count > 0 && self.described.len() < DESCRIBED_MAX {
            let (campaign_id, description) = (campaign.id.clone(), describe());
            self.described.push(Violation { campaign_id, description });
        }
    }
}

impl Verdict {
    /// The verdict before any check.
    pub(crate) fn of(history: &History) -> Self {
        let campaigns = &history.campaigns;
        let operations = || campaigns.iter().flat_map(|campaign| &campaign.operations);
        let is_issued = |outcome: &Outcome| matches!(outcome, Outcome::Issued { .. });
        let acknowledged = operations().filter(|one| is_issued(&one.outcome)).map(|_| 1).sum();
        Self {
            campaigns: len(campaigns),
            issued: campaigns.iter().map(|campaign| len(&campaign.rows)).sum(),
            acknowledged,
            ..Self::default()
        }
    }

    /// Adds what a check found.
    pub(crate) fn count(&mut self, findings: Findings, field: impl Fn(&mut Self) -> &mut u64) {
        *field(self) += findings.count;
        self.violations.extend(findings.described);
    }

    /// Whether no check found anything.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.checks().iter().all(|(_, count)| *count == 0)
    }

    /// The name and the count of each check.
    fn checks(&self) -> [(&'static str, u64); 8] {
        [
            ("duplicates", self.duplicates),
            ("oversold", self.oversold),
            ("undersold", self.undersold),
            ("lost", self.lost),
            ("phantoms", self.phantoms),
            ("repeats", self.repeats),
            ("limit violations", self.limit_violations),
            ("gaps", self.gaps),
        ]
    }
}

/// The length of a collection as a count.
pub(crate) fn len<T>(items: &[T]) -> u64 {
    u64::try_from(items.len()).unwrap_or(u64::MAX)
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = if self.is_ok() { "OK" } else { "VIOLATED" };
        writeln!(f, "verdict: {word}")?;
        let counts = [
            ("campaigns", self.campaigns),
            ("issued", self.issued),
            ("acknowledged", self.acknowledged),
        ];
        for (name, count) in counts.into_iter().chain(self.checks()) {
            writeln!(f, "  {name:<17}{count:>10}")?;
        }
        for Violation { campaign_id, description } in &self.violations {
            writeln!(f, "  ! campaign {campaign_id}: {description}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_count_makes_the_verdict() {
        let fields: [fn(&mut Verdict) -> &mut u64; 8] = [
            |verdict| &mut verdict.duplicates,
            |verdict| &mut verdict.oversold,
            |verdict| &mut verdict.undersold,
            |verdict| &mut verdict.lost,
            |verdict| &mut verdict.phantoms,
            |verdict| &mut verdict.repeats,
            |verdict| &mut verdict.limit_violations,
            |verdict| &mut verdict.gaps,
        ];
        for field in fields {
            let mut verdict = Verdict::default();
            assert!(verdict.is_ok());
            *field(&mut verdict) = 1;
            assert!(!verdict.is_ok(), "{verdict}");
        }
    }

    #[test]
    fn all_are_counted_and_some_described() {
        let campaign = Campaign { id: "spring".into(), ..Campaign::default() };
        let mut findings = Findings::default();
        for number in 0..100 {
            findings.add(&campaign, 2, || format!("finding {number}"));
        }
        let mut verdict = Verdict::default();
        verdict.count(findings, |verdict| &mut verdict.lost);
        assert_eq!((verdict.lost, verdict.violations.len()), (200, DESCRIBED_MAX));
        assert!(verdict.to_string().contains("! campaign spring: finding 0"), "{verdict}");
    }

    #[test]
    fn a_verdict_is_read_at_a_glance() {
        let verdict = Verdict { campaigns: 2, issued: 100_000, ..Verdict::default() };
        let text = verdict.to_string();
        assert!(text.starts_with("verdict: OK\n"), "{text}");
        assert!(text.contains("  issued               100000\n"), "{text}");
        assert!(text.contains("  oversold                  0\n"), "{text}");
    }
}
