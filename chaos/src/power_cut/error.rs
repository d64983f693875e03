//! Why there is nothing to report of a run.

use std::io;
use std::time::Duration;

use coupon_loadtest::LoadError;

use crate::cluster::ClusterError;
use crate::nemesis::NemesisError;
use crate::topology::Unfit;

/// Why a run did not begin, or was not judged.
#[derive(Debug, thiserror::Error)]
pub enum PowerCutError {
    /// Only root mounts disks and takes their power away.
    #[error("only root can mount images and shut their file systems down: try sudo")]
    NotRoot,
    /// Images cannot be used as disks.
    #[error(
        "there is no free loop device: load the module `loop`, or detach some (see `losetup --list`)"
    )]
    NoLoopDevice(#[source] NemesisError),
    /// A command of the system or of the program failed.
    #[error("{what}")]
    Command {
        /// What it was to do.
        what: String,
        /// How it failed.
        source: NemesisError,
    },
    /// A file cannot be made, or a process not be started.
    #[error("{what}")]
    System {
        /// What was to be done.
        what: String,
        /// Why it failed.
        source: io::Error,
    },
    /// Too few ports are free.
    #[error("too few ports of 127.0.0.1 are free: stop what listens on ports 10000 to 31999")]
    NoPorts,
    /// The nodes did not become a cluster.
    #[error("the cluster does not serve {} s after its start", .0.as_secs())]
    NotFormed(Duration),
    /// The status of the cluster is not available.
    #[error("ask for the status of the cluster")]
    Cluster(#[from] ClusterError),
    /// Some shard would get no load.
    #[error(transparent)]
    Unfit(#[from] Unfit),
    /// The load failed.
    #[error("run the load")]
    Load(#[from] LoadError),
}

impl PowerCutError {
    /// For `map_err` of commands.
    pub(super) fn command(what: impl Into<String>) -> impl FnOnce(NemesisError) -> Self {
        move |source| Self::Command { what: what.into(), source }
    }

    /// For `map_err` of the standard library.
    pub(super) fn system(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::System { what: what.into(), source }
    }
}
