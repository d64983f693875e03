//! All systems, running side by side; one at a time is given load.

pub(crate) mod campaigns;
mod cluster;
pub(crate) mod echo;
pub(crate) mod proxy;
mod server;
mod status;

use std::path::Path;

use anyhow::Context as _;

use crate::cell::{Role, System};
use crate::machine::process::{Process, command};
use crate::systems::cluster::Cluster;

/// The running systems. Dropping them ends all.
#[derive(Debug)]
pub(crate) struct Systems {
    /// Router and nodes.
    pub(crate) cluster: Cluster,
    echo: Process,
    echo_address: String,
    proxy: Process,
    proxy_address: String,
}

impl Systems {
    /// Starts the systems.
    pub(crate) async fn start(program: &Path, parent: &Path) -> anyhow::Result<Self> {
        let cluster = Cluster::start(program, parent).await?;
        let this = std::env::current_exe().context("find this program")?;
        let echo = Process::start(command(&this, &["echo"]), &cluster.dir().join("echo.log"))?;
        let echo_address = echo.address()?;
        let args = ["proxy", "--to", &echo_address];
        let proxy = Process::start(command(&this, &args), &cluster.dir().join("proxy.log"))?;
        let proxy_address = proxy.address()?;
        Ok(Self { cluster, echo, echo_address, proxy, proxy_address })
    }

    /// Where a system listens.
    pub(crate) fn address(&self, system: System) -> &str {
        match system {
            System::Echo => &self.echo_address,
            System::Proxy => &self.proxy_address,
            System::Coupon => self.cluster.router_address(),
        }
    }

    /// The processes that work when a system is given load, the load generator first.
    pub(crate) fn processes(&self, system: System) -> Vec<(Role, Vec<u32>)> {
        let client = (Role::Client, vec![std::process::id()]);
        let echo = (Role::Echo, vec![self.echo.id(), self.proxy.id()]);
        match system {
            System::Echo => vec![client, echo],
            System::Proxy => vec![client, (Role::Proxy, vec![self.proxy.id()]), echo],
            System::Coupon => vec![
                client,
                (Role::Router, vec![self.cluster.router_id()]),
                (Role::Nodes, self.cluster.node_ids()),
            ],
        }
    }

    /// The process ids of all systems.
    pub(crate) fn all(&self) -> Vec<u32> {
        let mut all = self.cluster.node_ids();
        all.extend([self.cluster.router_id(), self.echo.id()]);
        all
    }

    /// Why a system is not as it was, if a process has ended.
    pub(crate) fn check(&mut self) -> anyhow::Result<()> {
        self.cluster.check()?;
        self.echo.check()?;
        self.proxy.check()
    }
}
