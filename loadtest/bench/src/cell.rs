//! What is measured: a cell is one load on one system; a sample is one measurement of it.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

/// What answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum System {
    /// A server that does nothing.
    Echo,
    /// A hop before it that does nothing either.
    Proxy,
    /// Router and three nodes.
    Coupon,
    /// One server, its log synced before each answer.
    Redis,
    /// Three members.
    Etcd,
}

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Load {
    /// IssueCoupon in a closed loop.
    Unary,
    /// The same in JSON of Connect.
    ConnectJson,
    /// The same in gRPC-Web.
    GrpcWeb,
    /// BatchIssueCoupons in a closed loop.
    Batch,
    /// IssueCoupon of a campaign that is sold out.
    SoldOut,
    /// IssueCoupon of a campaign that has not started.
    NotStarted,
    /// IssueCoupon in an open loop, at half of the peak.
    Open,
    /// IssueCoupon of many campaigns in an open loop, at a low rate.
    ColdAlone,
    /// The same beside a hot campaign in a closed loop; only the cold ones are measured.
    Cold,
}

/// One load on one system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct Cell {
    /// What is asked.
    pub(crate) load: Load,
    /// Number of calls in flight; of an open loop, of the closed loop that found the peak; of cold campaigns, of
    /// the hot one beside them.
    pub(crate) in_flight: usize,
    /// What answers.
    pub(crate) system: System,
}

/// Whose CPU time it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Role {
    /// The load generator.
    Client,
    /// The echo.
    Echo,
    /// The proxy before the echo.
    Proxy,
    /// The router.
    Router,
    /// All nodes together.
    Nodes,
    /// The Redis server.
    Redis,
    /// All members of etcd together.
    Etcd,
}

/// One measurement of a cell.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Sample {
    /// Coupons, or calls where there are none, per second.
    pub(crate) per_second: f64,
    /// Latencies of calls.
    pub(crate) p50_ms: f64,
    /// See `p50_ms`.
    pub(crate) p99_ms: f64,
    /// See `p50_ms`.
    pub(crate) p99_9_ms: f64,
    /// Coupons, or calls where there are none, the time to warm up included, and those of a load beside it.
    pub(crate) count: u64,
    /// Share of the time in which the load generator, which has one thread, was on a processor.
    pub(crate) client_busy: f64,
    /// CPU time per coupon or call, in microseconds.
    pub(crate) cpu_us: BTreeMap<Role, f64>,
    /// Context switches per coupon or call.
    pub(crate) switches: BTreeMap<Role, f64>,
    /// Log entries that the coupons took; for Coupon alone.
    pub(crate) log_entries: Option<u64>,
    /// Where the cold campaigns live that were measured; for their loads alone.
    pub(crate) cold: Option<ColdSample>,
}

/// The calls to cold campaigns, by where the campaigns live.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ColdSample {
    /// On the shard of the hot campaign, whether that is called or not.
    pub(crate) hot_shard: Latency,
    /// On other shards.
    pub(crate) other_shards: Latency,
    /// Coupons per second of the hot campaign.
    pub(crate) hot_per_second: f64,
}

/// Latencies of some of the calls.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Latency {
    /// Number of these calls per second.
    pub(crate) per_second: f64,
    /// Median.
    pub(crate) p50_ms: f64,
    /// See `p50_ms`.
    pub(crate) p99_ms: f64,
}

impl System {
    /// All of them.
    pub(crate) const ALL: [Self; 5] =
        [Self::Echo, Self::Proxy, Self::Coupon, Self::Redis, Self::Etcd];
}

impl Cell {
    /// Whether it measures what this project makes.
    pub(crate) fn is_of_coupon(self) -> bool {
        self.system == System::Coupon
    }
}

impl Sample {
    /// CPU time per coupon or call over all roles, in microseconds.
    pub(crate) fn cpu_us_total(&self) -> f64 {
        self.cpu_us.values().sum()
    }

    /// Context switches per coupon or call over all roles.
    pub(crate) fn switches_total(&self) -> f64 {
        self.switches.values().sum()
    }

    /// Number of coupons that shared a log entry.
    #[expect(clippy::cast_precision_loss, reason = "counts of some seconds fit into 2^52")]
    pub(crate) fn commands_per_entry(&self) -> Option<f64> {
        let entries = self.log_entries.filter(|entries| *entries > 0)?;
        Some(self.count as f64 / entries as f64)
    }
}

impl fmt::Display for System {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Echo => "echo",
            Self::Proxy => "proxy",
            Self::Coupon => "coupon",
            Self::Redis => "redis",
            Self::Etcd => "etcd",
        })
    }
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unary => "unary",
            Self::ConnectJson => "unary, Connect JSON",
            Self::GrpcWeb => "unary, gRPC-Web",
            Self::Batch => "batches of 256",
            Self::SoldOut => "sold out",
            Self::NotStarted => "not started",
            Self::Open => "open, half of peak",
            Self::ColdAlone => "cold alone",
            Self::Cold => "cold beside hot",
        })
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Client => "client",
            Self::Echo => "echo",
            Self::Proxy => "proxy",
            Self::Router => "router",
            Self::Nodes => "nodes",
            Self::Redis => "redis",
            Self::Etcd => "etcd",
        })
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { load, in_flight, system } = self;
        write!(f, "{load} {system} @{in_flight}")
    }
}
