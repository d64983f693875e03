//! A Redis server that syncs its log before it answers: one disk, no replica.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use tokio::time::{Duration, Instant, sleep};

use crate::load::resp::Connection;
use crate::machine::ports;
use crate::machine::process::{Process, command};

/// The program, of the Debian package redis-server.
const PROGRAM: &str = "redis-server";

/// Maximum time until it answers.
const READY_TIMEOUT: Duration = Duration::from_secs(10);

/// Interval of looks whether it does.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// The whole decision in one script, which Redis runs alone: the quota, one coupon per recipient, the count.
const SCRIPT: &str = "\
if tonumber(redis.call('GET', KEYS[1]) or '0') >= tonumber(ARGV[2]) then return -1 end \
if redis.call('SADD', KEYS[2], ARGV[1]) == 0 then return -2 end \
return redis.call('INCR', KEYS[1])";

/// A running server. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Redis {
    process: Process,
    address: String,
    script: String,
}

impl Redis {
    /// Starts a server with its files below `dir`, and loads the script.
    pub(crate) async fn start(dir: &Path) -> anyhow::Result<Self> {
        let data: PathBuf = dir.join("redis");
        std::fs::create_dir(&data)?;
        let port = ports::free(1)?[0].to_string();
        let dir_text = data.to_string_lossy();
        let mut args = vec!["--port", &port, "--bind", "127.0.0.1", "--dir", &dir_text];
        args.extend(["--appendonly", "yes", "--appendfsync", "always", "--save", ""]);
        let log = dir.join("redis.log");
        let process = Process::start(command(Path::new(PROGRAM), &args), &log)
            .context("Redis does not start: see loadtest/bench/install-peers")?;
        let address = format!("127.0.0.1:{port}");
        let deadline = Instant::now() + READY_TIMEOUT;
        loop {
            match Self::load(&address).await {
                Ok(script) => return Ok(Self { process, address, script }),
                Err(error) if Instant::now() > deadline => return Err(error),
                Err(_) => sleep(LOOK_INTERVAL).await,
            }
        }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// The name of the script.
    pub(crate) fn script(&self) -> &str {
        &self.script
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// Why it has ended, if it has.
    pub(crate) fn check(&mut self) -> anyhow::Result<()> {
        self.process.check()
    }

    async fn load(address: &str) -> anyhow::Result<String> {
        let mut connection = Connection::open(address).await?;
        let answer = connection.call(&["SCRIPT", "LOAD", SCRIPT]).await?;
        match answer.strip_prefix('$') {
            Some(script) => Ok(script.to_owned()),
            None => bail!("Redis does not load the script: {answer}"),
        }
    }
}
