//! What one check found.

use std::fmt::Display;

use crate::history::Campaign;

/// How many violations of one kind in one campaign are described; all are counted.
pub(crate) const DESCRIBED_MAX: usize = 5;

/// What one check found.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub(crate) count: u64,
    pub(crate) described: Vec<Finding>,
}

/// A violation, described for people.
#[derive(Debug)]
pub(crate) struct Finding {
    pub(crate) subject: String,
    pub(crate) description: String,
}

impl Findings {
    /// Counts `count` violations in a campaign at once, described by one text.
    pub(crate) fn add(
        &mut self,
        campaign: &Campaign,
        count: u64,
        describe: impl FnOnce() -> String,
    ) {
        self.add_about(format_args!("campaign {}", campaign.id), count, describe);
    }

    /// Counts `count` violations that something else than a campaign shows.
    pub(crate) fn add_about(
        &mut self,
        subject: impl Display,
        count: u64,
        describe: impl FnOnce() -> String,
    ) {
        self.count += count;
        if count > 0 && self.described.len() < DESCRIBED_MAX {
            let (subject, description) = (subject.to_string(), describe());
            self.described.push(Finding { subject, description });
        }
    }
}

/// The length of a collection as a count.
pub(crate) fn len<T>(items: &[T]) -> u64 {
    u64::try_from(items.len()).unwrap_or(u64::MAX)
}
