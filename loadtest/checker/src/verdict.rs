//! What came of all checks.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;
use serde::ser::{SerializeStruct, Serializer};

use crate::checks::Check;
use crate::findings::{Findings, len};
use crate::history::{History, Outcome};

/// What came of all checks: every one ends with a count, so that there is no verdict "unknown".
///
/// Its text and its JSON name neither codes nor recipients.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// How many campaigns were judged.
    pub campaigns: u64,
    /// How many coupons they have.
    pub issued: u64,
    /// How many calls were recorded.
    pub operations: u64,
    /// How many answers with a coupon were recorded.
    pub acknowledged: u64,
    /// How many calls had no answer that says what came of them.
    pub unknown: u64,
    /// What the planned faults met.
    pub coverage: Coverage,
    /// Some of the violations, described.
    pub violations: Vec<Violation>,
    counts: [u64; Check::ALL.len()],
}

/// What the planned faults met.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Coverage {
    /// How many faults were planned.
    pub planned: u64,
    /// How many of them were seen to be in force.
    pub in_force: u64,
    /// How many answers with a coupon came while one was in force.
    pub acknowledged_meanwhile: u64,
}

/// A violation, described for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// The check that found it.
    pub check: Check,
    /// What shows it, for instance "campaign spring" or "shard 3".
    pub subject: String,
    /// What is wrong.
    pub description: String,
}

impl Verdict {
    /// The verdict before any check.
    pub(crate) fn of(history: &History) -> Self {
        let mut verdict = Self { campaigns: len(&history.campaigns), ..Self::default() };
        for campaign in &history.campaigns {
            verdict.issued += len(&campaign.rows);
            verdict.operations += len(&campaign.operations);
            for operation in &campaign.operations {
                let is_acknowledged = matches!(operation.outcome, Outcome::Issued { .. });
                verdict.acknowledged += u64::from(is_acknowledged);
                verdict.unknown += u64::from(operation.outcome == Outcome::Unknown);
            }
        }
        verdict
    }

    /// Adds what a check found.
    pub(crate) fn add(&mut self, check: Check, findings: Findings) {
        let known = Check::ALL.into_iter().zip(&mut self.counts);
        for (_, count) in known.filter(|(one, _)| *one == check) {
            *count += findings.count;
        }
        self.violations.extend(findings.described.into_iter().map(|found| Violation {
            check,
            subject: found.subject,
            description: found.description,
        }));
    }

    /// Whether no check found anything.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.counts.iter().all(|count| *count == 0)
    }

    /// Whether the system kept its promises, as far as this was tested: no check but that of the
    /// coverage found anything. A run that lacks coverage proves nothing, and blames nothing.
    #[must_use]
    pub fn keeps_promises(&self) -> bool {
        self.checks().all(|(check, count)| count == 0 || check == Check::Coverage)
    }

    /// How many violations a check found. Each is counted once for each coupon, request, call,
    /// recipient or sequence number that shows it.
    #[must_use]
    pub fn found(&self, check: Check) -> u64 {
        self.checks().filter(|(one, _)| *one == check).map(|(_, count)| count).sum()
    }

    fn checks(&self) -> impl Iterator<Item = (Check, u64)> {
        Check::ALL.into_iter().zip(self.counts)
    }

    fn word(&self) -> &'static str {
        if self.is_ok() { "OK" } else { "VIOLATED" }
    }

    fn totals(&self) -> [(&'static str, u64); 8] {
        [
            ("campaigns", self.campaigns),
            ("issued", self.issued),
            ("operations", self.operations),
            ("acknowledged", self.acknowledged),
            ("unknown", self.unknown),
            ("faults planned", self.coverage.planned),
            ("faults in force", self.coverage.in_force),
            ("issued meanwhile", self.coverage.acknowledged_meanwhile),
        ]
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "verdict: {}", self.word())?;
        let found = self.checks().map(|(check, count)| (check.name(), count));
        for (name, count) in self.totals().into_iter().chain(found) {
            writeln!(f, "  {name:<17}{count:>10}")?;
        }
        for Violation { check, subject, description } in &self.violations {
            writeln!(f, "  ! {}: {subject}: {description}", check.name())?;
        }
        Ok(())
    }
}

/// `{"verdict":"OK", totals …, "coverage":{…}, "found":{"duplicates":0, …}, "violations":[…]}`.
impl Serialize for Verdict {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let found: BTreeMap<&str, u64> =
            self.checks().map(|(check, count)| (check.name(), count)).collect();
        let mut fields = serializer.serialize_struct("Verdict", 9)?;
        fields.serialize_field("verdict", self.word())?;
        fields.serialize_field("campaigns", &self.campaigns)?;
        fields.serialize_field("issued", &self.issued)?;
        fields.serialize_field("operations", &self.operations)?;
        fields.serialize_field("acknowledged", &self.acknowledged)?;
        fields.serialize_field("unknown", &self.unknown)?;
        fields.serialize_field("coverage", &self.coverage)?;
        fields.serialize_field("found", &found)?;
        fields.serialize_field("violations", &self.violations)?;
        fields.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::findings::DESCRIBED_MAX;
    use crate::history::Campaign;

    #[test]
    fn every_count_makes_the_verdict() {
        for check in Check::ALL {
            let mut verdict = Verdict::default();
            assert!(verdict.is_ok());
            let mut findings = Findings::default();
            findings.add(&Campaign::default(), 1, String::new);
            verdict.add(check, findings);
            assert!(!verdict.is_ok(), "{verdict}");
            assert_eq!(verdict.keeps_promises(), check == Check::Coverage);
            let found: Vec<Check> =
                Check::ALL.into_iter().filter(|one| verdict.found(*one) == 1).collect();
            assert_eq!(found, [check]);
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
        verdict.add(Check::Lost, findings);
        assert_eq!((verdict.found(Check::Lost), verdict.violations.len()), (200, DESCRIBED_MAX));
        assert!(verdict.to_string().contains("! lost: campaign spring: finding 0\n"), "{verdict}");
    }

    #[test]
    fn a_verdict_is_read_at_a_glance() {
        let verdict = Verdict { campaigns: 2, issued: 100_000, ..Verdict::default() };
        let text = verdict.to_string();
        assert!(text.starts_with("verdict: OK\n"), "{text}");
        assert!(text.contains("  issued               100000\n"), "{text}");
        assert!(text.contains("  oversold                  0\n"), "{text}");
    }

    #[test]
    fn a_verdict_is_read_by_programs() {
        let mut findings = Findings::default();
        findings.add_about("shard 3", 1, || "two states".to_owned());
        let mut verdict = Verdict { issued: 7, ..Verdict::default() };
        verdict.add(Check::Replicas, findings);
        let json = serde_json::to_value(&verdict).unwrap();
        assert_eq!(json["verdict"], "VIOLATED");
        assert_eq!((&json["issued"], &json["coverage"]["planned"]), (&7.into(), &0.into()));
        assert_eq!((&json["found"]["replicas"], &json["found"]["lost"]), (&1.into(), &0.into()));
        let violation = &json["violations"][0];
        assert_eq!(
            (&violation["check"], &violation["subject"]),
            (&"replicas".into(), &"shard 3".into())
        );
    }
}
