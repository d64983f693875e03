//! The containers of the cluster, and what they say about it: `coupon status` in one of them.

use std::time::{Duration, Instant};

use coupon_admin::ClusterStatus;
use coupon_checker::Replica;

use crate::nemesis::{NemesisError, docker};
use crate::plan::ROUTERS;
use crate::topology;

/// How long replicas may take to have applied the same when nothing is asked any more.
const QUIET_MAX: Duration = Duration::from_secs(30);

/// The pause before they are asked again.
const PAUSE: Duration = Duration::from_millis(500);

/// Why it is not known.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// A command failed that asks for it.
    #[error(transparent)]
    Command(#[from] NemesisError),
    /// No such container runs.
    #[error("no {member} of the project {project} runs")]
    Absent {
        /// Which one, for instance `node-1`.
        member: String,
        /// The Compose project.
        project: String,
    },
    /// It cannot be reached from outside.
    #[error("{member} of the project {project} publishes no port")]
    Unpublished {
        /// Which one.
        member: String,
        /// The Compose project.
        project: String,
    },
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
pub(crate) fn status(project: &str) -> Result<ClusterStatus, ClusterError> {
    ask(project, &[])
}

/// The digests of all replicas, when they have come to rest.
///
/// # Errors
/// When they do not.
pub(crate) fn digests(project: &str) -> Result<Vec<Replica>, ClusterError> {
    at_rest(|| ask(project, &["--digests"]))
}

/// The digests of all replicas, when they have come to rest; `ask` asks once.
///
/// # Errors
/// When they do not.
pub(crate) fn at_rest(
    ask: impl Fn() -> Result<ClusterStatus, ClusterError>,
) -> Result<Vec<Replica>, ClusterError> {
    let deadline = Instant::now() + QUIET_MAX;
    loop {
        if let Some(replicas) = topology::digests(&ask()?) {
            return Ok(replicas);
        }
        if Instant::now() >= deadline {
            return Err(ClusterError::NotQuiet);
        }
        std::thread::sleep(PAUSE);
    }
}

/// The addresses at which the routers of a project are published, that of `router-1` first.
///
/// # Errors
/// When one of them does not run, or is not published.
pub(crate) fn routers(project: &str) -> Result<Vec<String>, ClusterError> {
    let address = |number: u64| {
        let member = format!("router-{number}");
        let container = running(project, &member)?;
        let published = "{{range index .NetworkSettings.Ports \"7000/tcp\"}}\
                         {{.HostIp}} {{.HostPort}}\n{{end}}";
        let published = docker(&["inspect", "--format", published, &container])?;
        let project = project.to_owned();
        reachable(&published).ok_or(ClusterError::Unpublished { member, project })
    };
    (1..=ROUTERS).map(address).collect()
}

/// The first of some published addresses, as it is reached from this machine.
fn reachable(published: &str) -> Option<String> {
    let (host, port) = published.lines().next()?.split_once(' ')?;
    Some(match host {
        "" | "0.0.0.0" | "::" => format!("127.0.0.1:{port}"),
        _ if host.contains(':') => format!("[{host}]:{port}"),
        _ => format!("{host}:{port}"),
    })
}

/// The container of a member that runs.
///
/// # Errors
/// When it does not.
pub(crate) fn running(project: &str, member: &str) -> Result<String, ClusterError> {
    let of_project = format!("label=com.docker.compose.project={project}");
    let of_member = format!("label=coupon.member={member}");
    let listed = docker(&["ps", "--quiet", "--filter", &of_project, "--filter", &of_member])?;
    let absent = || ClusterError::Absent { member: member.to_owned(), project: project.to_owned() };
    listed.lines().next().map(str::to_owned).ok_or_else(absent)
}

fn ask(project: &str, more: &[&str]) -> Result<ClusterStatus, ClusterError> {
    let node = running(project, "node-1")?;
    let asked = ["exec", &node, "/coupon", "status", "--node", "127.0.0.1:7000", "-o", "json"];
    let answer = docker(&[&asked[..], more].concat())?;
    Ok(serde_json::from_str(&answer)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routers_are_reached_where_they_are_published() {
        for (published, address) in [
            ("127.0.0.1 7101\n", "127.0.0.1:7101"),
            ("0.0.0.0 32768\n:: 32768\n", "127.0.0.1:32768"),
            ("::1 7101\n", "[::1]:7101"),
            ("10.0.0.7 80\n", "10.0.0.7:80"),
        ] {
            assert_eq!(reachable(published).as_deref(), Some(address), "{published}");
        }
        assert_eq!(reachable("\n"), None);
    }
}
