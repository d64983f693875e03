//! All systems, running side by side; one at a time is given load.

pub(crate) mod audited;
pub(crate) mod campaigns;
pub(crate) mod cluster;
pub(crate) mod echo;
mod etcd;
pub(crate) mod placement;
pub(crate) mod proxy;
mod redis;
mod server;
mod status;

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use tempfile::TempDir;

use crate::cell::{Role, System};
use crate::machine::process::{Process, command};
use crate::systems::cluster::{Cluster, Shape};
use crate::systems::etcd::Etcd;
use crate::systems::redis::Redis;

/// The running systems. Dropping them ends all and removes their files.
#[derive(Debug)]
pub(crate) struct Systems {
    program: PathBuf,
    cluster: Cluster,
    echo: Process,
    echo_address: String,
    proxy: Process,
    proxy_address: String,
    redis: Option<Redis>,
    etcd: Option<Etcd>,
    // Dropped last, when nothing writes to it any more.
    dir: TempDir,
}

impl Systems {
    /// Starts Coupon and the peers that are part of this program, with all files in a new directory below
    /// `parent`.
    pub(crate) async fn start(program: &Path, parent: &Path) -> anyhow::Result<Self> {
        let dir = tempfile::Builder::new().prefix("coupon-bench-").tempdir_in(parent)?;
        let cluster = Cluster::start(program, dir.path(), Shape::ONE_SHARD).await?;
        let this = std::env::current_exe().context("find this program")?;
        let echo = Process::start(command(&this, &["echo"]), &dir.path().join("echo.log"))?;
        let echo_address = echo.address()?;
        let args = ["proxy", "--to", &echo_address];
        let proxy = Process::start(command(&this, &args), &dir.path().join("proxy.log"))?;
        let proxy_address = proxy.address()?;
        let (program, redis, etcd) = (program.to_owned(), None, None);
        Ok(Self { program, cluster, echo, echo_address, proxy, proxy_address, redis, etcd, dir })
    }

    /// Starts a second cluster, with the default number of shards. It is not one of these systems: idle shards
    /// take CPU time that would be missing in other measurements. Its files are in the directory.
    pub(crate) async fn start_default_cluster(&self) -> anyhow::Result<(Cluster, TempDir)> {
        let dir = tempfile::tempdir_in(self.dir.path())?;
        Ok((Cluster::start(&self.program, dir.path(), Shape::DEFAULT).await?, dir))
    }

    /// Starts Redis and etcd as well.
    pub(crate) async fn start_databases(&mut self) -> anyhow::Result<()> {
        self.redis = Some(Redis::start(self.dir.path()).await?);
        self.etcd = Some(Etcd::start(self.dir.path()).await?);
        Ok(())
    }

    /// Where a system listens.
    pub(crate) fn address(&self, system: System) -> anyhow::Result<&str> {
        Ok(match system {
            System::Echo => &self.echo_address,
            System::Proxy => &self.proxy_address,
            System::Coupon => self.cluster.router_address(),
            System::Redis => self.redis()?.address(),
            System::Etcd => self.etcd()?.address(),
        })
    }

    /// The Redis server.
    pub(crate) fn redis(&self) -> anyhow::Result<&Redis> {
        self.redis.as_ref().context("Redis was not started")
    }

    fn etcd(&self) -> anyhow::Result<&Etcd> {
        self.etcd.as_ref().context("etcd was not started")
    }

    /// The processes that work when a system is given load, the load generator first.
    pub(crate) fn processes(&self, system: System) -> anyhow::Result<Vec<(Role, Vec<u32>)>> {
        let mut processes = vec![(Role::Client, vec![std::process::id()])];
        let echo = (Role::Echo, vec![self.echo.id()]);
        match system {
            System::Echo => processes.push(echo),
            System::Proxy => processes.extend([(Role::Proxy, vec![self.proxy.id()]), echo]),
            System::Coupon => processes.extend([
                (Role::Router, vec![self.cluster.router_id()]),
                (Role::Nodes, self.cluster.node_ids()),
            ]),
            System::Redis => processes.push((Role::Redis, vec![self.redis()?.id()])),
            System::Etcd => processes.push((Role::Etcd, self.etcd()?.ids())),
        }
        Ok(processes)
    }

    /// The process ids of all systems.
    pub(crate) fn all(&self) -> Vec<u32> {
        let mut all = self.cluster.node_ids();
        all.extend([self.cluster.router_id(), self.echo.id(), self.proxy.id()]);
        all.extend(self.redis.iter().map(Redis::id));
        all.extend(self.etcd.iter().flat_map(Etcd::ids));
        all
    }

    /// The index of the last log entry that the campaigns' shard has applied; `None` of other systems.
    pub(crate) fn applied_index(&self, system: System) -> anyhow::Result<Option<u64>> {
        match system {
            System::Coupon => self.cluster.applied_index().map(Some),
            System::Echo | System::Proxy | System::Redis | System::Etcd => Ok(None),
        }
    }

    /// Why a system is not as it was, if a process has ended.
    pub(crate) fn check(&mut self) -> anyhow::Result<()> {
        self.cluster.check()?;
        self.echo.check()?;
        self.proxy.check()?;
        self.redis.iter_mut().try_for_each(Redis::check)?;
        self.etcd.iter_mut().try_for_each(Etcd::check)
    }
}
