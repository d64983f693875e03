//! What the nodes say about the cluster: `coupon status` in one of their containers.

use std::time::{Duration, Instant};

use coupon_checker::Replica;

use crate::nemesis::{NemesisError, docker};
use crate::topology::Status;

/// How long replicas may take to have applied the same when nothing is asked any more.
const QUIET_MAX: Duration = Duration::from_secs(30);

/// The pause before they are asked again.
const PAUSE: Duration = Duration::from_millis(500);

/// Why nobody says it.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// Docker does not answer.
    #[error(transparent)]
    Docker(#[from] NemesisError),
    /// No node runs.
    #[error("no node of the project {0} runs")]
    NoNode(String),
    /// It is not understood.
    #[error("`coupon status` said what is not understood")]
    Status(#[from] serde_json::Error),
    /// The replicas do not get to the same state.
    #[error("not all replicas have applied the same after {} s", QUIET_MAX.as_secs())]
    NotQuiet,
}

/// What the cluster is like.
///
/// # Errors
/// When no node says so.
pub(crate) fn status(project: &str) -> Result<Status, ClusterError> {
    ask(project, &[])
}

/// The digests of all replicas, when they have come to rest.
///
/// # Errors
/// When they do not.
pub(crate) fn digests(project: &str) -> Result<Vec<Replica>, ClusterError> {
    let deadline = Instant::now() + QUIET_MAX;
    loop {
        if let Some(replicas) = ask(project, &["--digests"])?.digests() {
            return Ok(replicas);
        }
        if Instant::now() >= deadline {
            return Err(ClusterError::NotQuiet);
        }
        std::thread::sleep(PAUSE);
    }
}

fn ask(project: &str, more: &[&str]) -> Result<Status, ClusterError> {
    let label = format!("label=com.docker.compose.project={project}");
    let filters = ["--filter", &label, "--filter", "label=coupon.member=node-1"];
    let listed = docker(&[&["ps", "--quiet"], &filters[..]].concat())?;
    let no_node = || ClusterError::NoNode(project.to_owned());
    let node = listed.lines().next().ok_or_else(no_node)?;
    let asked = ["exec", node, "/coupon", "status", "--node", "127.0.0.1:7000", "-o", "json"];
    let answer = docker(&[&asked[..], more].concat())?;
    Ok(serde_json::from_str(&answer)?)
}
