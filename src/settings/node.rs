//! The settings of a node.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use coupon_cluster::NodeId;
use coupon_node::{NodeConfig, RaftOptions};
use serde::{Deserialize, Serialize};

use super::{Span, check_address, check_listen, layer, missing, text};
use crate::failure::UsageError;

/// What variables in the environment begin with.
const PREFIX: &str = "COUPON_NODE_";

/// The shortest time between heartbeats: timers are no finer than a few milliseconds.
const HEARTBEAT_MIN: Duration = Duration::from_millis(10);

/// Maximum number of workers: far more than there are processors to run them.
const WORKERS_MAX: usize = 1_024;
/// Maximum election timeout; a longer one is a mistake in the unit.
const ELECTION_MAX: Duration = Duration::from_secs(3_600);

/// Runs one member of a cluster.
///
/// A new node waits for `coupon cluster init`, or joins the cluster of the
/// nodes in --join. On SIGTERM it transfers its leaderships, then stops. Every flag
/// can also be set in a TOML file (`log_entries_kept = 1000`) or in the environment
/// (COUPON_NODE_LOG_ENTRIES_KEPT); flags override the environment, which overrides the file.
#[derive(Debug, Default, clap::Args, Serialize)]
#[command(after_help = "\
Examples:
  coupon node --node-id 1 --data /var/lib/coupon --listen 127.0.0.1:7001
  coupon node --node-id 2 --data data2 --listen 127.0.0.1:7002 --join 127.0.0.1:7001,127.0.0.1:7003
  coupon node --node-id 3 --data /data --listen 0.0.0.0:7001 --advertise node3:7001 --insecure")]
pub(crate) struct NodeArgs {
    /// A TOML file with settings
    #[arg(long, value_name = "FILE", env = "COUPON_NODE_CONFIG")]
    #[serde(skip)]
    config: Option<PathBuf>,
    /// The node's id, unique in the cluster and never 0
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    node_id: Option<u64>,
    /// The directory of its data; made if it is not there
    #[arg(long, value_name = "DIR")]
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<PathBuf>,
    /// Where it listens; port 0 takes a free one [default: 127.0.0.1:7001]
    #[arg(long, value_name = "IP:PORT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    listen: Option<SocketAddr>,
    /// Where others reach it [default: where it listens]
    #[arg(long, value_name = "HOST:PORT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    advertise: Option<String>,
    /// Nodes to learn the cluster from
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',')]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    join: Vec<String>,
    /// How far its clock may be off from those of its peers before it refuses to lead
    /// [default: 500ms]
    #[arg(long, value_name = "DURATION")]
    #[serde(skip_serializing_if = "Option::is_none")]
    max_clock_offset: Option<Span>,
    /// Interval between a leader's heartbeats [default: 150ms]
    #[arg(long, value_name = "DURATION")]
    #[serde(skip_serializing_if = "Option::is_none")]
    heartbeat_interval: Option<Span>,
    /// How long a follower waits for a leader before it stands for election, at least
    /// [default: 750ms]
    #[arg(long, value_name = "DURATION")]
    #[serde(skip_serializing_if = "Option::is_none")]
    election_timeout: Option<Span>,
    /// Applied log entries that a shard keeps for followers that were away; it purges at twice as many
    /// [default: 100000]
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    log_entries_kept: Option<u64>,
    /// Bytes of applied log entries that a shard keeps, if that is less than log_entries_kept
    /// [default: 33554432]
    #[arg(long, value_name = "BYTES")]
    #[serde(skip_serializing_if = "Option::is_none")]
    log_bytes_kept: Option<u64>,
    /// Threads that run its shards and serve its connections [default: 1]
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    workers: Option<NonZeroUsize>,
    /// Listen beyond this machine although there is no TLS
    #[arg(long)]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    insecure: bool,
}

/// The settings of a node from all layers.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NodeSettings {
    #[serde(skip_serializing_if = "Option::is_none")]
    node_id: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<PathBuf>,
    listen: SocketAddr,
    #[serde(skip_serializing_if = "Option::is_none")]
    advertise: Option<String>,
    #[serde(deserialize_with = "text::addresses")]
    join: Vec<String>,
    max_clock_offset: Span,
    heartbeat_interval: Span,
    election_timeout: Span,
    log_entries_kept: u64,
    log_bytes_kept: u64,
    workers: NonZeroUsize,
    insecure: bool,
}

impl Default for NodeSettings {
    fn default() -> Self {
        let raft = RaftOptions::default();
        Self {
            node_id: None,
            data: None,
            listen: SocketAddr::from(([127, 0, 0, 1], 7001)),
            advertise: None,
            join: Vec::new(),
            max_clock_offset: Span(std::time::Duration::from_millis(500)),
            heartbeat_interval: Span(raft.heartbeat_interval),
            election_timeout: Span(raft.election_timeout),
            log_entries_kept: raft.log_entries_kept,
            log_bytes_kept: raft.log_bytes_kept,
            workers: NonZeroUsize::MIN,
            insecure: false,
        }
    }
}

impl NodeArgs {
    /// The settings from all layers.
    ///
    /// # Errors
    /// [`UsageError`] when a layer is wrong.
    pub(crate) fn load(&self) -> Result<NodeSettings, UsageError> {
        layer(self.config.as_deref(), PREFIX, self)
    }
}

impl NodeSettings {
    /// What the node is started with.
    ///
    /// # Errors
    /// [`UsageError`] when a setting is missing or makes no sense.
    pub(crate) fn config(self) -> Result<NodeConfig, UsageError> {
        let node_id = self.node_id.ok_or_else(|| missing(PREFIX, "node_id"))?;
        let node_id =
            NodeId::new(node_id).map_err(|error| UsageError(format!("node_id: {error}")))?;
        let data_dir = self.data.ok_or_else(|| missing(PREFIX, "data"))?;
        check_listen(self.listen, self.insecure)?;
        if self.listen.ip().is_unspecified() && self.advertise.is_none() {
            let why = format!(
                "advertise is not set, and other nodes cannot call {}: set an address that they can call",
                self.listen
            );
            return Err(UsageError(why));
        }
        self.advertise.iter().try_for_each(|address| check_address("advertise", address))?;
        self.join.iter().try_for_each(|address| check_address("join", address))?;
        if self.max_clock_offset.get().is_zero() {
            return Err(UsageError("max_clock_offset must not be 0".into()));
        }
        let (heartbeat, election) = (self.heartbeat_interval.get(), self.election_timeout.get());
        if heartbeat < HEARTBEAT_MIN {
            let why =
                format!("heartbeat_interval is {}: must be 10ms or more", self.heartbeat_interval);
            return Err(UsageError(why));
        }
        if election > ELECTION_MAX {
            let why = format!("election_timeout is {}: must be 1h or less", self.election_timeout);
            return Err(UsageError(why));
        }
        let raft = RaftOptions {
            heartbeat_interval: heartbeat,
            election_timeout: election,
            log_entries_kept: self.log_entries_kept,
            log_bytes_kept: self.log_bytes_kept,
        };
        // Heartbeats longer than elections may be are longer than Raft can count.
        if heartbeat >= election || raft.check().is_err() {
            let why = format!(
                "election_timeout is {}: must be more than three times the heartbeat_interval of {}",
                self.election_timeout, self.heartbeat_interval
            );
            return Err(UsageError(why));
        }
        if self.log_entries_kept == 0 || self.log_bytes_kept == 0 {
            return Err(UsageError("log_entries_kept and log_bytes_kept must not be 0".into()));
        }
        if self.workers.get() > WORKERS_MAX {
            let why = format!("workers is {}: must be {WORKERS_MAX} or less", self.workers);
            return Err(UsageError(why));
        }
        Ok(NodeConfig {
            node_id,
            data_dir,
            listen: self.listen,
            advertise: self.advertise,
            join: self.join,
            max_clock_offset: self.max_clock_offset.get(),
            workers: self.workers,
            raft,
        })
    }
}

/// Checks that a directory for data is there or can be made, and can be written to. Leaves nothing
/// behind.
///
/// # Errors
/// [`UsageError`] when it is not so.
pub(crate) fn check_data(data: &Path) -> Result<(), UsageError> {
    let refused = |error: std::io::Error| UsageError(format!("data {}: {error}", data.display()));
    for place in data.ancestors() {
        let place = if place.as_os_str().is_empty() { Path::new(".") } else { place };
        match std::fs::metadata(place) {
            Ok(_) => return tempfile::tempfile_in(place).map(drop).map_err(refused),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(refused(error)),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_file(text: &str, args: NodeArgs) -> Result<NodeSettings, UsageError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        NodeArgs { config: Some(file.path().to_owned()), ..args }.load()
    }

    fn complete() -> NodeSettings {
        NodeSettings { node_id: Some(1), data: Some("data".into()), ..NodeSettings::default() }
    }

    #[test]
    fn flags_go_before_the_file_and_that_before_the_defaults() {
        let text = "node_id = 3\nlog_entries_kept = 7\nmax_clock_offset = \"2s\"\njoin = [\"a:1\"]";
        let args = NodeArgs { node_id: Some(4), ..NodeArgs::default() };
        let settings = in_file(text, args).unwrap();
        assert_eq!(settings.node_id, Some(4));
        assert_eq!(settings.log_entries_kept, 7);
        assert_eq!(settings.max_clock_offset.to_string(), "2s");
        assert_eq!(settings.join, ["a:1"]);
        assert_eq!(settings.log_bytes_kept, NodeSettings::default().log_bytes_kept);
    }

    #[test]
    fn what_is_printed_can_be_read_back() {
        let text = toml::to_string(&complete()).unwrap();
        assert_eq!(in_file(&text, NodeArgs::default()).unwrap(), complete());
    }

    #[test]
    fn mistakes_are_named() {
        for (text, said) in [
            ("node-id = 1", "node-id"),
            ("listen = \"here\"", "listen"),
            ("heartbeat_interval = \"soon\"", "soon"),
            ("join = 7", "host:port"),
            ("[raft]", "raft"),
        ] {
            let error = in_file(text, NodeArgs::default()).unwrap_err().to_string();
            assert!(error.contains(said), "{text}: {error}");
        }
        let nowhere = NodeArgs { config: Some("/nowhere.toml".into()), ..NodeArgs::default() };
        assert!(nowhere.load().unwrap_err().to_string().contains("/nowhere.toml"));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let refused = |change: fn(&mut NodeSettings), said: &str| {
            let mut settings = complete();
            change(&mut settings);
            let error = settings.config().unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        };
        assert!(complete().config().is_ok());
        refused(|settings| settings.node_id = None, "COUPON_NODE_NODE_ID");
        refused(|settings| settings.node_id = Some(0), "must not be 0");
        refused(|settings| settings.data = None, "--data");
        refused(|settings| settings.listen = "0.0.0.0:1".parse().unwrap(), "--insecure");
        refused(
            |settings| {
                settings.listen = "0.0.0.0:1".parse().unwrap();
                settings.insecure = true;
            },
            "advertise is not set",
        );
        refused(|settings| settings.election_timeout = settings.heartbeat_interval, "three times");
        refused(|settings| settings.log_entries_kept = 0, "must not be 0");
        refused(|settings| settings.workers = NonZeroUsize::MAX, "1024 or less");
        refused(|settings| settings.max_clock_offset = Span(Duration::ZERO), "must not be 0");
        refused(|settings| settings.join = vec!["not an address".into()], "host:port");
        refused(|settings| settings.advertise = Some("foo".into()), "host:port");
        refused(|settings| settings.advertise = Some(":7001".into()), "host:port");
        refused(|settings| settings.heartbeat_interval = Span(Duration::MAX), "three times");
        refused(|settings| settings.election_timeout = Span(Duration::MAX), "1h or less");
        refused(
            |settings| settings.election_timeout = Span(Duration::from_millis(450)),
            "three times",
        );
        let fast =
            NodeSettings { heartbeat_interval: Span(Duration::from_millis(9)), ..complete() };
        assert!(fast.config().unwrap_err().to_string().contains("10ms or more"));
    }

    #[test]
    fn data_must_be_writable_and_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let inside = dir.path().join("a/b");
        check_data(&inside).unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        std::fs::write(dir.path().join("a"), "").unwrap();
        assert!(check_data(&inside).is_err());
        assert!(check_data(&dir.path().join("a")).is_err());
        assert!(check_data(Path::new("/proc/coupon")).is_err());
    }
}
