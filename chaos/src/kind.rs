//! The faults there are. Pure.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// The leader of a shard ends as with kill -9.
    KillLeader,
    /// A follower does.
    KillFollower,
    /// All nodes and routers do, and are started again.
    KillAll,
    /// A router does.
    KillRouter,
    /// The leader of a shard is frozen for 5 to 20 seconds.
    PauseLeader,
    /// A follower is.
    PauseFollower,
    /// The leader of a shard is stopped in an orderly way, and started again.
    Stop,
    /// All nodes are restarted in an orderly way, one after the other; no call may fail.
    RestartEach,
    /// The leader of a shard is cut off from all others.
    IsolateLeader,
    /// It hears nothing of the others, but is heard.
    InLeader,
    /// It hears the others, but is not heard.
    OutLeader,
    /// It is cut off from all others, together with a router and a node without a replica of the
    /// shard.
    SplitMinority,
    /// Two halves of the cluster that only one node reaches.
    Bridge,
    /// Each node reaches only its two neighbours.
    Ring,
    /// A router does not reach the leader of a shard.
    RouterCut,
    /// The leader of a shard loses 10 % of its packets.
    Loss,
}

/// What is measured of a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// How long after it was in force the shard that was hit answered a call with a coupon that was sent
    /// after that; where a router was cut off from it, through that router.
    Recovery,
    /// How long after everything was started again every shard did.
    Restart,
    /// The longest time in which a shard issued nothing: no shard need be without a leader.
    Gap,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 16] = [
        Self::KillLeader,
        Self::KillFollower,
        Self::KillAll,
        Self::KillRouter,
        Self::PauseLeader,
        Self::PauseFollower,
        Self::Stop,
        Self::RestartEach,
        Self::IsolateLeader,
        Self::InLeader,
        Self::OutLeader,
        Self::SplitMinority,
        Self::Bridge,
        Self::Ring,
        Self::RouterCut,
        Self::Loss,
    ];

    /// Its name on the command line and in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::KillLeader => "kill-leader",
            Self::KillFollower => "kill-follower",
            Self::KillAll => "kill-all",
            Self::KillRouter => "kill-router",
            Self::PauseLeader => "pause-leader",
            Self::PauseFollower => "pause-follower",
            Self::Stop => "stop",
            Self::RestartEach => "restart-each",
            Self::IsolateLeader => "isolate-leader",
            Self::InLeader => "in-leader",
            Self::OutLeader => "out-leader",
            Self::SplitMinority => "split-minority",
            Self::Bridge => "bridge",
            Self::Ring => "ring",
            Self::RouterCut => "router-cut",
            Self::Loss => "loss",
        }
    }

    /// What is measured of it.
    #[must_use]
    pub fn measure(self) -> Measure {
        match self {
            Self::KillLeader
            | Self::PauseLeader
            | Self::IsolateLeader
            | Self::InLeader
            | Self::OutLeader
            | Self::SplitMinority
            | Self::RouterCut => Measure::Recovery,
            Self::KillAll => Measure::Restart,
            Self::KillFollower
            | Self::KillRouter
            | Self::PauseFollower
            | Self::Stop
            | Self::RestartEach
            | Self::Bridge
            | Self::Ring
            | Self::Loss => Measure::Gap,
        }
    }

    /// Whether it is an operator's doing, of which callers must notice no error.
    #[must_use]
    pub fn is_planned(self) -> bool {
        matches!(self, Self::Stop | Self::RestartEach)
    }

    /// Whether it works by dropping packets, which are counted.
    #[must_use]
    pub fn drops_packets(self) -> bool {
        matches!(
            self,
            Self::IsolateLeader
                | Self::InLeader
                | Self::OutLeader
                | Self::SplitMinority
                | Self::Bridge
                | Self::Ring
                | Self::RouterCut
                | Self::Loss
        )
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl Serialize for Kind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// How many faults of a kind are wanted, written as `kill-leader=50`; `kill-leader` alone is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    /// The kind.
    pub kind: Kind,
    /// How many: at most [`COUNT_MAX`].
    pub count: u32,
}

/// How many faults of a kind are at most in a plan: days of them.
pub const COUNT_MAX: u32 = 10_000;

/// A text that is no [`Count`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoCount {
    /// There is no such kind.
    #[error("{0:?} is no kind of fault; there are {kinds}", kinds = names())]
    Kind(String),
    /// It is no number, or too large.
    #[error("{0:?} is no number from 0 to {COUNT_MAX}")]
    Number(String),
}

fn names() -> String {
    Kind::ALL.map(Kind::name).join(", ")
}

impl FromStr for Count {
    type Err = NoCount;

    fn from_str(text: &str) -> Result<Self, NoCount> {
        let (name, count) = text.split_once('=').unwrap_or((text, "1"));
        let kind = Kind::ALL.into_iter().find(|kind| kind.name() == name);
        let kind = kind.ok_or_else(|| NoCount::Kind(name.to_owned()))?;
        let number = count.parse().ok().filter(|count| *count <= COUNT_MAX);
        let count = number.ok_or_else(|| NoCount::Number(count.to_owned()))?;
        Ok(Self { kind, count })
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.kind, self.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_written_as_people_say_them() {
        for kind in Kind::ALL {
            let count = Count { kind, count: 7 };
            assert_eq!(count.to_string().parse(), Ok(count));
            assert_eq!(kind.name().parse(), Ok(Count { kind, count: 1 }));
        }
        for wrong in ["", "kill", "kill-leader=", "kill-leader=-1", "kill-leader=10001", "=3"] {
            assert!(wrong.parse::<Count>().is_err(), "{wrong}");
        }
        let error = "kill".parse::<Count>().unwrap_err().to_string();
        assert!(error.contains("kill-leader, kill-follower"), "{error}");
    }
}
