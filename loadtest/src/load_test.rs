//! A load test from its first to its last step.

use std::time::SystemTime;

use coupon_client::{Channels, ConnectError, endpoint};
use tonic::transport::Channel;

use crate::campaigns;
use crate::clock::{Clock, nanos};
use crate::demand::Demand;
use crate::engine::{Engine, Sending};
use crate::error::LoadError;
use crate::judge::{Evidence, Judged, Scope, judge, read, unread};
use crate::observer::Observer;
use crate::options::{Options, Pattern};
use crate::pacer::Pacer;
use crate::progress::{Progress, Show};
use crate::readback;
use crate::recorder::{RecordedCampaign, Recorder};
use crate::report::{Conditions, Material, Report};
use crate::unjudged::Unjudged;

/// Number of calls that a connection is expected to carry: half of what a router lets in over one, so
/// that none waits in the client for another to end.
const CALLS_PER_CONNECTION: usize = 2_048;

/// Number of calls that wait for their turn on a connection before their callers wait.
const BUFFER_CALLS: usize = 8_192;

/// A load test that is ready to begin: connected, and with campaigns.
pub struct LoadTest {
    engine: Engine,
    setup: Setup,
}

/// What outlives the load.
struct Setup {
    options: Options,
    clock: Clock,
    channels: Channels,
    starts: u64,
}

/// What was recorded. It is judged when all campaigns have been read back.
pub struct Recording {
    setup: Setup,
    recorder: Recorder,
    sending: Sending,
}

impl LoadTest {
    /// Connects to the routers and makes sure that the campaigns exist.
    ///
    /// # Errors
    /// When a router cannot be reached, or a campaign can be neither created nor found.
    pub async fn prepare(options: Options, show: Show) -> Result<Self, LoadError> {
        let channels = connect_all(&options).await?;
        let pacer = Pacer::kernel().map_err(LoadError::Timer)?;
        Self::begin(options, channels, pacer, show).await
    }

    /// Begins over connections that exist, at least one, paced by the runtime's own timers: for
    /// tests that hold the runtime's clock.
    ///
    /// # Errors
    /// When a campaign can be neither created nor found.
    pub async fn over(channels: Vec<Channel>, options: Options) -> Result<Self, LoadError> {
        Self::begin(options, channels, Pacer::Runtime, Show::Nothing).await
    }

    async fn begin(
        options: Options,
        channels: Vec<Channel>,
        pacer: Pacer,
        show: Show,
    ) -> Result<Self, LoadError> {
        let clock = Clock::start();
        let channels = Channels::new(channels);
        let start = match options.pattern {
            // In whole microseconds, which is what the servers keep.
            Pattern::Stampede { start_in, .. } => {
                let start_in = nanos(start_in) / 1_000 * 1_000;
                let since = clock.began_at().duration_since(SystemTime::UNIX_EPOCH);
                let rest = since.map_or(0, |since| u64::from(since.subsec_nanos()) % 1_000);
                Some(clock.wall(start_in - rest.min(start_in)))
            }
            Pattern::Open { .. } | Pattern::Closed { .. } => None,
        };
        let client = campaigns::client(&channels, &options);
        let recorded = campaigns::prepare(&client, &options, &clock, start).await?;
        let starts = start.map_or(0, |start| clock.of_wall(start));
        let numbered = recorded.iter().enumerate();
        let in_demand = numbered.map(|(number, one)| (number, one.id.as_str().into())).collect();
        let demand = Demand::new(in_demand, options.popularity, options.recipients, options.seed);
        let seconds = match options.pattern {
            Pattern::Stampede { start_in, .. } => Some(start_in.as_secs()),
            Pattern::Open { .. } | Pattern::Closed { .. } => {
                options.duration.map(|duration| duration.as_secs())
            }
        };
        let began = clock.now();
        let engine = Engine {
            options: options.clone(),
            clock,
            channels: channels.clone(),
            pacer,
            progress: Progress::new(show, starts),
            recorder: Recorder::new(recorded, began, began.max(starts), seconds),
            demand,
            starts,
            observer: None,
        };
        Ok(Self { engine, setup: Setup { options, clock, channels, starts } })
    }

    /// The clock that the recording will be of.
    #[must_use]
    pub fn clock(&self) -> Clock {
        self.setup.clock
    }

    /// Reports every call that is over to an observer, while the load is sent.
    #[must_use]
    pub fn observed_by(mut self, observer: Observer) -> Self {
        self.engine.observer = Some(observer);
        self
    }

    /// Sends the load until its time is over or `stop` ends, and waits for the calls under way; after
    /// `stop` none of them is repeated.
    ///
    /// # Errors
    /// When a campaign that follows a sold-out one cannot be created.
    pub async fn run(self, stop: impl Future<Output = ()>) -> Result<Recording, LoadError> {
        let Self { engine, setup } = self;
        let (recorder, sending) = engine.run(stop).await?;
        Ok(Recording { setup, recorder, sending })
    }
}

impl Recording {
    /// How many coupons were answered.
    #[must_use]
    pub fn issued(&self) -> u64 {
        self.recorder.figures.issued
    }

    /// The clock that its times are of.
    #[must_use]
    pub fn clock(&self) -> Clock {
        self.setup.clock
    }

    /// The campaigns and what was asked of them.
    #[must_use]
    pub fn campaigns(&self) -> &[RecordedCampaign] {
        &self.recorder.campaigns
    }

    /// The figures of the load alone, without reading back: nothing is judged, and so nothing is said to
    /// be right.
    #[must_use]
    pub fn unjudged(&self, conditions: Conditions) -> Report {
        let material = Material {
            options: &self.setup.options,
            clock: &self.setup.clock,
            figures: self.recorder.figures.clone(),
            sending: self.sending,
            starts: self.setup.starts,
            campaigns: self.recorder.campaigns.len(),
            judged: &Judged::default(),
        };
        Report { is_ok: false, ..Report::new(material, conditions) }
    }

    /// Reads the campaigns back, judges them and reports.
    ///
    /// # Errors
    /// [`Unjudged`] when the campaigns cannot be read for a minute from any router.
    pub async fn judge(
        self,
        scope: Scope,
        conditions: Conditions,
    ) -> Result<(Judged, Report), Box<Unjudged>> {
        self.judge_with(scope, conditions, Evidence::default()).await
    }

    /// As [`Recording::judge`], with evidence of others: faults, and what the replicas hold.
    ///
    /// # Errors
    /// [`Unjudged`] when the campaigns cannot be read for a minute from any router.
    pub async fn judge_with(
        self,
        scope: Scope,
        conditions: Conditions,
        evidence: Evidence,
    ) -> Result<(Judged, Report), Box<Unjudged>> {
        let Self { setup, recorder, sending } = self;
        let Setup { options, clock, channels, starts } = setup;
        let Recorder { campaigns, figures } = recorder;
        let client = readback::client(channels);
        let count = campaigns.len();
        let (judged, failure) = match read(&client, &clock, &campaigns, scope).await {
            Ok(found) => (judge(found, campaigns, evidence), None),
            Err(error) => (unread(campaigns, evidence), Some(error)),
        };
        let material = Material {
            options: &options,
            clock: &clock,
            figures,
            sending,
            starts,
            campaigns: count,
            judged: &judged,
        };
        let report = Report::new(material, conditions);
        let Some(source) = failure else { return Ok((judged, report)) };
        let report = Report { is_ok: false, verdict: None, ..report };
        Err(Box::new(Unjudged { history: judged.history, report, source }))
    }
}

/// Reads all campaigns of a cluster back and judges them, when no load was sent.
///
/// # Errors
/// When the router cannot be reached or the campaigns cannot be read for a minute.
pub async fn judge_all(router: &str) -> Result<Judged, LoadError> {
    let client = readback::client(Channels::new(vec![connect(router).await?]));
    let found = read(&client, &Clock::start(), &[], Scope::All).await?;
    Ok(judge(found, Vec::new(), Evidence::default()))
}

async fn connect_all(options: &Options) -> Result<Vec<Channel>, ConnectError> {
    let calls = match options.pattern {
        Pattern::Open { .. } => 0,
        Pattern::Closed { concurrency: calls } | Pattern::Stampede { callers: calls, .. } => calls,
    };
    let calls = usize::try_from(calls).unwrap_or(usize::MAX).min(options.in_flight_max);
    let routers = options.routers.len().max(1);
    let wanted = usize::try_from(options.connections).unwrap_or(1).max(1);
    let each = wanted.max(calls.div_ceil(CALLS_PER_CONNECTION * routers));
    let addresses = (0..each).flat_map(|_| &options.routers);
    let channels = futures::future::try_join_all(addresses.map(|address| connect(address)));
    channels.await
}

/// Connects to `host:port`.
async fn connect(address: &str) -> Result<Channel, ConnectError> {
    let connected = endpoint(address)?.buffer_size(BUFFER_CALLS).connect().await;
    connected.map_err(|source| ConnectError::Connect { router: address.to_owned(), source })
}
