//! An etcd cluster of three members: a quorum of disks, and no logic of a quota.

use std::path::Path;

use anyhow::{Context as _, bail};
use tokio::time::{Duration, Instant, sleep};

use crate::load::connect::connect_once;
use crate::load::put::is_leader;
use crate::machine::ports;
use crate::machine::process::{Process, command};

/// The program, of the Debian package etcd-server.
const PROGRAM: &str = "etcd";

/// Number of members.
const MEMBERS: usize = 3;

/// Maximum time until the cluster has a leader.
const READY_TIMEOUT: Duration = Duration::from_secs(30);

/// Interval of looks whether it has.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// A running cluster. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Etcd {
    members: Vec<Process>,
    leader_address: String,
}

impl Etcd {
    /// Starts a cluster with its files below `dir`, and waits for its leader.
    pub(crate) async fn start(dir: &Path) -> anyhow::Result<Self> {
        let ports = ports::free(2 * MEMBERS)?;
        let (clients, peers) = ports.split_at(MEMBERS);
        let url = |port: &u16| format!("http://127.0.0.1:{port}");
        let named: Vec<String> =
            (1..).zip(peers).map(|(id, port)| format!("m{id}={}", url(port))).collect();
        let initial = named.join(",");
        let mut members = Vec::new();
        for (id, (client, peer)) in (1..).zip(clients.iter().zip(peers)) {
            let (name, client, peer) = (format!("m{id}"), url(client), url(peer));
            let data = dir.join(format!("etcd-{id}"));
            let data_text = data.to_string_lossy();
            let mut args = vec!["--name", &name, "--data-dir", &data_text];
            args.extend(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
            args.extend(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
            args.extend(["--initial-cluster", &initial, "--logger", "zap", "--log-level", "error"]);
            let process =
                Process::start(command(Path::new(PROGRAM), &args), &data.with_extension("log"));
            members.push(process.context("etcd does not start: see loadtest/bench/install-peers")?);
        }
        let addresses: Vec<String> =
            clients.iter().map(|port| format!("127.0.0.1:{port}")).collect();
        let leader_address = leader(&addresses).await?;
        Ok(Self { members, leader_address })
    }

    /// Where the leader listens: calls through another member take longer.
    pub(crate) fn address(&self) -> &str {
        &self.leader_address
    }

    /// The members' process ids.
    pub(crate) fn ids(&self) -> Vec<u32> {
        self.members.iter().map(Process::id).collect()
    }

    /// Why it is not as it was, if a member has ended.
    pub(crate) fn check(&mut self) -> anyhow::Result<()> {
        self.members.iter_mut().try_for_each(Process::check)
    }
}

async fn leader(addresses: &[String]) -> anyhow::Result<String> {
    let deadline = Instant::now() + READY_TIMEOUT;
    while Instant::now() < deadline {
        for address in addresses {
            if let Ok(channel) = connect_once(address).await
                && is_leader(&channel).await.unwrap_or(false)
            {
                return Ok(address.clone());
            }
        }
        sleep(LOOK_INTERVAL).await;
    }
    bail!("etcd has no leader after {READY_TIMEOUT:?}")
}
