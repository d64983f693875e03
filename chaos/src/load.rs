//! The load: `coupon-loadtest` on a thread of its own, open loop, until it is told to end.

use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use coupon_loadtest::{
    Clock, Conditions, Evidence, Judged, LoadError, LoadTest, Options, Pattern, Report, Scope,
    Show, Target, Unjudged,
};
use tokio::sync::oneshot;

use crate::calls::Asked;
use crate::recovery::Successes;

/// How long an attempt of a call may take. Longer than an election, so that a router's retries are
/// seen; shorter than most faults, so that a caller tries another time.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a call is repeated until it is given up: longer than any fault of a plan.
const GIVE_UP_AFTER: Duration = Duration::from_secs(60);

/// The coupons that were issued since the last fault, by shard: for what is told meanwhile. What counts
/// is computed at the end, from the recording.
pub(crate) type Live = Arc<Mutex<Successes>>;

/// What was asked for and what came of it.
pub struct Outcomes {
    /// What was read back, and the verdict; or why nothing was judged.
    pub judged: Result<Judged, Box<Unjudged>>,
    /// Figures of the load.
    pub report: Report,
    /// All calls for coupons, in the order of their ends.
    pub calls: Vec<Asked>,
    /// The clock of the recording.
    pub clock: Clock,
}

/// Load that is being sent.
pub(crate) struct Load {
    pub(crate) clock: Clock,
    pub(crate) live: Live,
    stop: oneshot::Sender<()>,
    quiet: mpsc::Receiver<()>,
    evidence: oneshot::Sender<Evidence>,
    thread: JoinHandle<Result<Outcomes, LoadError>>,
}

/// Load that has ended and is to be judged.
pub(crate) struct Quiet {
    evidence: oneshot::Sender<Evidence>,
    thread: JoinHandle<Result<Outcomes, LoadError>>,
}

/// What the thread is told and tells.
struct Talk {
    ready: mpsc::Sender<Clock>,
    stop: oneshot::Receiver<()>,
    quiet: mpsc::Sender<()>,
    evidence: oneshot::Receiver<Evidence>,
}

/// An open loop until it is stopped, with calls that are repeated through any fault.
pub(crate) fn options(routers: Vec<String>, rate: u32, target: Target, seed: u64) -> Options {
    Options {
        routers,
        pattern: Pattern::Open { rate },
        duration: None,
        target,
        attempt_timeout: ATTEMPT_TIMEOUT,
        give_up_after: GIVE_UP_AFTER,
        seed,
        ..Options::default()
    }
}

impl Load {
    /// Begins. `owner` says which shard owns a campaign.
    ///
    /// # Errors
    /// When the routers cannot be reached, or the campaigns cannot be created.
    pub(crate) fn begin(
        options: Options,
        conditions: Conditions,
        shards: Vec<u32>,
        owner: impl Fn(&str) -> Option<u32> + Send + 'static,
    ) -> Result<Self, LoadError> {
        let live = Live::new(Mutex::new(Successes::new(shards)));
        let observed = Arc::clone(&live);
        let (ready, is_ready) = mpsc::channel();
        let (stop, stopped) = oneshot::channel();
        let (quiet, is_quiet) = mpsc::channel();
        let (evidence, given) = oneshot::channel();
        let talk = Talk { ready, stop: stopped, quiet, evidence: given };
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.map_err(LoadError::Timer)?;
            runtime.block_on(run(options, conditions, talk, observed, owner))
        });
        match is_ready.recv() {
            Ok(clock) => Ok(Self { clock, live, stop, quiet: is_quiet, evidence, thread }),
            // It ended before it began.
            Err(mpsc::RecvError) => Err(match join(thread) {
                Err(error) => error,
                Ok(_) => LoadError::BrokenAnswer("no load"),
            }),
        }
    }

    /// Whether it still goes on.
    pub(crate) fn goes_on(&self) -> bool {
        !self.thread.is_finished()
    }

    /// Ends the load and waits for the calls under way.
    pub(crate) fn end(self) -> Quiet {
        // If it has ended by itself, judging says why.
        let _ = self.stop.send(());
        let _ = self.quiet.recv();
        Quiet { evidence: self.evidence, thread: self.thread }
    }
}

impl Quiet {
    /// Reads everything back and judges it.
    ///
    /// # Errors
    /// When the load failed.
    pub(crate) fn judge(self, evidence: Evidence) -> Result<Outcomes, LoadError> {
        let _ = self.evidence.send(evidence);
        join(self.thread)
    }
}

fn join(thread: JoinHandle<Result<Outcomes, LoadError>>) -> Result<Outcomes, LoadError> {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

async fn run(
    options: Options,
    conditions: Conditions,
    talk: Talk,
    live: Live,
    owner: impl Fn(&str) -> Option<u32> + Send + 'static,
) -> Result<Outcomes, LoadError> {
    let test = LoadTest::prepare(options, Show::Nothing).await?;
    let calls = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&calls);
    let test = test.observed_by(Box::new(move |observed| {
        let shard = owner(observed.campaign_id);
        let Some(call) = shard.and_then(|shard| Asked::of(&observed, shard)) else { return };
        noted.lock().unwrap_or_else(PoisonError::into_inner).push(call);
        if let Some((shard, success)) = call.success() {
            live.lock().unwrap_or_else(PoisonError::into_inner).add(shard, success);
        }
    }));
    // The receiver waits until it comes.
    let _ = talk.ready.send(test.clock());
    let recording = test.run(async { drop(talk.stop.await) }).await?;
    let _ = talk.quiet.send(());
    let evidence = talk.evidence.await.unwrap_or_default();
    let clock = recording.clock();
    let report = recording.unjudged(conditions.clone());
    let judged = recording.judge_with(Scope::Recorded, conditions, evidence).await;
    let judged = judged.map(|(judged, _)| judged);
    let calls = std::mem::take(&mut *calls.lock().unwrap_or_else(PoisonError::into_inner));
    Ok(Outcomes { judged, report, calls, clock })
}
