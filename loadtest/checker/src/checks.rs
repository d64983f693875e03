//! The list of all checks.

use serde::Serialize;

/// What is checked. Each is a file of its own, which says more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Check {
    /// Coupons whose code another coupon had before, in any campaign.
    Duplicates,
    /// Coupons beyond the quota.
    Oversold,
    /// Coupons that were left in campaigns that had been answered as sold out.
    Undersold,
    /// Sequence numbers between 1 and the number of coupons that no coupon has.
    Gaps,
    /// Recipients that hold more than the limit.
    Limit,
    /// Replicas that are not at the same log entry, or not in the same state, when all is over.
    Replicas,
    /// Answered coupons that are not there, or not as they were answered.
    Lost,
    /// Coupons without a request.
    Phantoms,
    /// Coupons of requests that had issued one before.
    Repeats,
    /// Coupons that were seen before they, or those before them, can have been issued.
    Order,
    /// Answers that differ from an earlier answer to the same request.
    Answers,
    /// Refusals that what was issued contradicts, or that name other codes than the recipient's.
    Refusals,
    /// Redemptions and voidings of coupons that exclude each other, or did not last.
    Redemptions,
    /// Holds that ended twice or too late, or without their coupon; moments at which more was issued and held than the
    /// quota or a limit allows; counters that do not add up.
    Holds,
    /// Answers that put the campaign's start after something that goes before it, or its end before
    /// something that goes after it.
    Window,
    /// Faults that were not in force, or without success until they were over.
    Coverage,
}

impl Check {
    /// All checks, in the order in which a verdict lists them.
    pub const ALL: [Self; 16] = [
        Self::Duplicates,
        Self::Oversold,
        Self::Undersold,
        Self::Gaps,
        Self::Limit,
        Self::Replicas,
        Self::Lost,
        Self::Phantoms,
        Self::Repeats,
        Self::Order,
        Self::Answers,
        Self::Refusals,
        Self::Redemptions,
        Self::Holds,
        Self::Window,
        Self::Coverage,
    ];

    /// What a verdict calls it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Duplicates => "duplicates",
            Self::Oversold => "oversold",
            Self::Undersold => "undersold",
            Self::Gaps => "gaps",
            Self::Limit => "limit",
            Self::Replicas => "replicas",
            Self::Lost => "lost",
            Self::Phantoms => "phantoms",
            Self::Repeats => "repeats",
            Self::Order => "order",
            Self::Answers => "answers",
            Self::Refusals => "refusals",
            Self::Redemptions => "redemptions",
            Self::Holds => "holds",
            Self::Window => "window",
            Self::Coverage => "coverage",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_has_the_same_name_in_text_and_in_json() {
        for check in Check::ALL {
            assert_eq!(serde_json::to_value(check).unwrap(), check.name());
        }
    }
}
