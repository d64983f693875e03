//! All replicas of a shard end in the same state.

use crate::findings::Findings;
use crate::history::{History, Replica};

/// Finds replicas that did not get to the last log entry of their shard, and those that are not in the
/// state of others at the same entry.
pub(crate) fn find(history: &History) -> Findings {
    let mut replicas: Vec<&Replica> = history.replicas.iter().collect();
    replicas.sort_by_key(|one| (one.shard, one.applied_index, &one.digest, one.replica));
    let mut findings = Findings::default();
    for shard in replicas.chunk_by(|one, other| one.shard == other.shard) {
        let last = shard.iter().map(|one| one.applied_index).max().unwrap_or(0);
        for behind in shard.iter().filter(|one| one.applied_index < last) {
            let Replica { replica, applied_index, .. } = behind;
            findings.add_about(format_args!("shard {}", behind.shard), 1, || {
                format!("replica {replica} is at entry {applied_index}, another one at {last}")
            });
        }
        for pair in shard.windows(2) {
            let [one, other] = [pair[0], pair[1]];
            let is_same_entry = one.applied_index == other.applied_index;
            let differs = is_same_entry && one.digest != other.digest;
            findings.add_about(format_args!("shard {}", one.shard), u64::from(differs), || {
                let (replica, other, entry) = (one.replica, other.replica, one.applied_index);
                format!("replicas {replica} and {other} are in two states at entry {entry}")
            });
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use crate::history::{History, Replica};
    use crate::{Check, check};

    fn replica(shard: u64, replica: u64, applied_index: u64, digest: &str) -> Replica {
        Replica { shard, replica, applied_index, digest: digest.into() }
    }

    fn replicas_of(replicas: &[Replica]) -> u64 {
        let replicas = replicas.to_vec();
        check(&History { replicas, ..History::default() }).found(Check::Replicas)
    }

    #[test]
    fn shards_differ_and_replicas_do_not() {
        let (one, other) = ([1, 2, 3], [4, 5]);
        let one = one.map(|number| replica(1, number, 100, "a"));
        let other = other.map(|number| replica(2, number, 7, "b"));
        let all: Vec<Replica> = one.into_iter().chain(other).collect();
        assert_eq!(replicas_of(&all), 0);
    }

    #[test]
    fn another_state_is_found() {
        let three = |digests: [&str; 3]| {
            replicas_of(&[0, 1, 2].map(|at: u64| {
                let digest = digests[usize::try_from(at).unwrap()];
                replica(1, at, 100, digest)
            }))
        };
        assert_eq!(three(["a", "b", "a"]), 1);
        assert_eq!(three(["a", "b", "c"]), 2);
    }

    #[test]
    fn a_replica_that_did_not_converge_is_found() {
        assert_eq!(replicas_of(&[replica(1, 1, 100, "a"), replica(1, 2, 99, "z")]), 1);
    }

    #[test]
    fn states_at_an_earlier_entry_are_compared_as_well() {
        let last = replica(1, 1, 100, "a");
        assert_eq!(replicas_of(&[last, replica(1, 2, 99, "y"), replica(1, 3, 99, "z")]), 3);
    }
}
