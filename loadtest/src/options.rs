//! What load is sent.

use std::time::Duration;

use crate::popularity::Popularity;

/// How many calls are under way at a time at most, unless [`Options::in_flight_max`] says otherwise:
/// more than a stampede of 20,000 needs. A call takes some 10 KiB while it is under way.
pub const IN_FLIGHT_MAX: usize = 32_768;

/// How many requests a batch has at most, as the API has it.
pub const BATCH_MAX: u32 = 1_000;

/// How many campaigns a run has at most; each is created and read back.
pub const CAMPAIGNS_MAX: u32 = 10_000;

/// When calls are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// Open loop: coupons are asked for at a rate, whatever is answered.
    Open {
        /// Coupons a second.
        rate: u32,
    },
    /// Closed loop: a number of calls is under way; the next one is sent when one is answered. It
    /// finds what the system can do at most, and says little about latency.
    Closed {
        /// Calls under way.
        concurrency: u32,
    },
    /// All callers wait for the start of the campaigns and call once; one in ten cannot wait and calls
    /// up to [`crate::EARLY_LEAD`] too early.
    Stampede {
        /// How many callers there are.
        callers: u32,
        /// How long after the creation of the campaigns they start.
        start_in: Duration,
    },
}

/// Which campaigns get the load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// New ones, whose history is then known completely.
    New {
        /// What their ids begin with; `-1`, `-2` and so on follow.
        prefix: String,
        /// How many there are: 1 to [`CAMPAIGNS_MAX`].
        count: u32,
        /// How many coupons each has: 1 to 1,000,000,000.
        quota: u32,
        /// How many coupons a recipient may hold: 1 to 100; 0 is no limit.
        per_recipient_limit: u32,
        /// Whether a campaign that is sold out is followed by another one.
        is_renewed: bool,
    },
    /// One that exists.
    Existing {
        /// Its id.
        campaign_id: String,
    },
}

/// What load is sent, and to which routers and campaigns.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// The addresses of routers, `host:port`; load is spread evenly over them.
    pub routers: Vec<String>,
    /// How many connections each router gets at least.
    pub connections: u32,
    /// When calls are sent.
    pub pattern: Pattern,
    /// For how long; `None`: until it is stopped. A stampede ends by itself.
    pub duration: Option<Duration>,
    /// Which campaigns get the load.
    pub target: Target,
    /// How it is spread over them.
    pub popularity: Popularity,
    /// How many recipients there are; `None`: each call is for a new one.
    pub recipients: Option<u64>,
    /// How many requests a call has: 1 to [`BATCH_MAX`]; `None`: `IssueCoupon`, one each.
    pub batch: Option<u32>,
    /// Whether requests go over a stream for each connection (`IssueStream`), without batches.
    pub is_streamed: bool,
    /// How often a campaign's counters are read, so that the checker can see the order of things.
    pub reads_per_second: u32,
    /// How long one attempt of a call may take.
    pub attempt_timeout: Duration,
    /// How long a call without an answer is repeated.
    pub give_up_after: Duration,
    /// How many calls are under way at a time at most.
    pub in_flight_max: usize,
    /// What the choice of campaigns and recipients is derived from.
    pub seed: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            routers: Vec::new(),
            connections: 4,
            pattern: Pattern::Open { rate: 1_000 },
            duration: Some(Duration::from_secs(10)),
            target: Target::New {
                prefix: "load".to_owned(),
                count: 1,
                quota: 100_000,
                per_recipient_limit: 1,
                is_renewed: false,
            },
            popularity: Popularity::Uniform,
            recipients: None,
            batch: None,
            is_streamed: false,
            reads_per_second: 10,
            attempt_timeout: Duration::from_secs(10),
            give_up_after: Duration::from_secs(30),
            in_flight_max: IN_FLIGHT_MAX,
            seed: 1,
        }
    }
}
