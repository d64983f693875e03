//! The steps on the way of an entry.

/// Who does a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lane {
    Router,
    Leader,
    /// The follower that is the first to confirm the entry.
    First,
    /// The other follower.
    Second,
}

impl Lane {
    pub(super) const ALL: [Self; 4] = [Self::Router, Self::Leader, Self::First, Self::Second];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Router => "router",
            Self::Leader => "leader",
            Self::First => "follower 1",
            Self::Second => "follower 2",
        }
    }
}

/// What happens between a step and the one before, for the colours of the picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A processor works on the entry, or on others before it.
    Work,
    /// The entry is on its way to another member.
    Network,
    /// The entry waits for the sync of others, or for its turn.
    Wait,
    /// The disk syncs.
    Sync,
}

/// A step. Its row is in [`STEPS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Read,
    Admitted,
    FirstDecoded,
    LastDecoded,
    BatchSent,
    BatchReceived,
    Proposed,
    AppendCalled,
    Appended,
    SyncBegan,
    Durable,
    First(Follower),
    Second(Follower),
    Quorum,
    ApplyBegan,
    Applied,
    Decided,
    RepliesSent,
    RepliesReceived,
    Answered,
    Written,
}

/// A step that each follower does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Follower {
    Sent,
    Received,
    AppendCalled,
    Appended,
    SyncBegan,
    Durable,
    Answered,
    Confirmed,
}

impl Follower {
    pub(super) const ALL: [Self; 8] = [
        Self::Sent,
        Self::Received,
        Self::AppendCalled,
        Self::Appended,
        Self::SyncBegan,
        Self::Durable,
        Self::Answered,
        Self::Confirmed,
    ];
}

/// What is known of a step.
pub(super) struct Row {
    pub(super) step: Step,
    pub(super) lane: Lane,
    pub(super) kind: Kind,
    /// What has happened when it is done.
    pub(super) name: &'static str,
    /// The step that it follows.
    pub(super) after: Step,
}

/// All steps, in the order in which they are shown.
pub(super) const STEPS: [Row; 35] = [
    row(Step::Read, Lane::Router, Kind::Work, "first request read from its socket", Step::Read),
    row(Step::Admitted, Lane::Router, Kind::Work, "first request admitted", Step::Read),
    row(Step::FirstDecoded, Lane::Router, Kind::Work, "first request decoded", Step::Admitted),
    row(Step::LastDecoded, Lane::Router, Kind::Work, "last request decoded", Step::FirstDecoded),
    row(Step::BatchSent, Lane::Router, Kind::Work, "batch sent", Step::LastDecoded),
    row(Step::BatchReceived, Lane::Leader, Kind::Network, "batch received", Step::BatchSent),
    row(Step::Proposed, Lane::Leader, Kind::Wait, "entry proposed", Step::BatchReceived),
    row(Step::AppendCalled, Lane::Leader, Kind::Work, "append called", Step::Proposed),
    row(Step::Appended, Lane::Leader, Kind::Work, "written, not synced", Step::AppendCalled),
    row(Step::SyncBegan, Lane::Leader, Kind::Wait, "sync began", Step::Appended),
    row(Step::Durable, Lane::Leader, Kind::Sync, "sync done", Step::SyncBegan),
    follower(Lane::First, Follower::Sent),
    follower(Lane::First, Follower::Received),
    follower(Lane::First, Follower::AppendCalled),
    follower(Lane::First, Follower::Appended),
    follower(Lane::First, Follower::SyncBegan),
    follower(Lane::First, Follower::Durable),
    follower(Lane::First, Follower::Answered),
    follower(Lane::First, Follower::Confirmed),
    follower(Lane::Second, Follower::Sent),
    follower(Lane::Second, Follower::Received),
    follower(Lane::Second, Follower::AppendCalled),
    follower(Lane::Second, Follower::Appended),
    follower(Lane::Second, Follower::SyncBegan),
    follower(Lane::Second, Follower::Durable),
    follower(Lane::Second, Follower::Answered),
    follower(Lane::Second, Follower::Confirmed),
    row(Step::Quorum, Lane::Leader, Kind::Wait, "quorum known", Step::First(Follower::Confirmed)),
    row(Step::ApplyBegan, Lane::Leader, Kind::Wait, "apply began", Step::Quorum),
    row(Step::Applied, Lane::Leader, Kind::Work, "applied", Step::ApplyBegan),
    row(Step::Decided, Lane::Leader, Kind::Work, "outcomes known to the proposer", Step::Applied),
    row(Step::RepliesSent, Lane::Leader, Kind::Work, "replies sent", Step::Decided),
    row(Step::RepliesReceived, Lane::Router, Kind::Network, "replies received", Step::RepliesSent),
    row(Step::Answered, Lane::Router, Kind::Work, "last answer made", Step::RepliesReceived),
    row(
        Step::Written,
        Lane::Router,
        Kind::Work,
        "last answer written to its socket",
        Step::Answered,
    ),
];

const fn row(step: Step, lane: Lane, kind: Kind, name: &'static str, after: Step) -> Row {
    Row { step, lane, kind, name, after }
}

const fn follower(lane: Lane, step: Follower) -> Row {
    let (name, kind, after) = match step {
        Follower::Sent => ("entry sent by the leader", Kind::Wait, None),
        Follower::Received => ("entry received", Kind::Network, Some(Follower::Sent)),
        Follower::AppendCalled => ("append called", Kind::Work, Some(Follower::Received)),
        Follower::Appended => ("written, not synced", Kind::Work, Some(Follower::AppendCalled)),
        Follower::SyncBegan => ("sync began", Kind::Wait, Some(Follower::Appended)),
        Follower::Durable => ("sync done", Kind::Sync, Some(Follower::SyncBegan)),
        Follower::Answered => ("answered", Kind::Work, Some(Follower::Durable)),
        Follower::Confirmed => ("leader has the answer", Kind::Network, Some(Follower::Answered)),
    };
    let is_first = matches!(lane, Lane::First);
    let step = if is_first { Step::First(step) } else { Step::Second(step) };
    let after = match after {
        Some(after) if is_first => Step::First(after),
        Some(after) => Step::Second(after),
        None => Step::Appended,
    };
    row(step, lane, kind, name, after)
}

impl Step {
    /// Its place in [`STEPS`].
    pub(super) fn place(self) -> usize {
        STEPS.iter().position(|row| row.step == self).expect("every step has a row")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_follows_one_that_is_shown_before_it() {
        for (place, row) in STEPS.iter().enumerate() {
            assert_eq!(row.step.place(), place);
            assert!(row.after.place() < place || row.step == Step::Read, "{}", row.name);
        }
        for step in Follower::ALL {
            assert!(Step::First(step).place() < Step::Second(step).place());
        }
    }
}
