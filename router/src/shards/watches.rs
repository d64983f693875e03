//! The campaigns that clients watch.
//!
//! All watches of a campaign share one source: a task that asks the shard for the campaign, each time once it has
//! changed, and ends when its last watch does. Nothing is kept for a watch but what it has not seen of the latest
//! state, so that a slow client costs no memory. Each state was read like any other question, from a leader that made
//! sure that it leads; so a source follows changes of leaders by itself.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use coupon_cluster::{CampaignName, CampaignState};
use coupon_proto::internal::{CampaignRecord, ReadResponse};
use coupon_wire::campaign::state_at;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tonic::Status;

use crate::answer::error::Fault;
use crate::shards::read::get_campaign;
use crate::shards::shard_client::ShardClient;

/// Minimum time between two states of a campaign: ten messages a second are plenty for people, and cost a shard no more
/// than ten reads.
const INTERVAL: Duration = Duration::from_millis(100);

/// How long a source looks for a leader before it gives up: several elections.
const PATIENCE: Duration = Duration::from_secs(30);

/// Maximum number of campaigns that are watched at a time.
const CAMPAIGNS_MAX: usize = 256;

/// A campaign as it was seen.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    /// The campaign.
    pub(crate) record: Arc<CampaignRecord>,
    /// The log time of the answer that showed it.
    pub(crate) log_time_micros: u64,
    at: Instant,
}

impl Seen {
    /// The campaign in an answer that came now.
    ///
    /// # Errors
    /// [`Fault::Internal`] when there is none.
    pub(crate) fn of(response: ReadResponse) -> Result<Self, Fault> {
        let record = response.campaigns.into_iter().next();
        let record = record.ok_or(Fault::Internal("a shard showed no campaign"))?;
        let log_time_micros = response.log_time_micros;
        Ok(Self { record: Arc::new(record), log_time_micros, at: Instant::now() })
    }

    /// The revision of the campaign.
    pub(crate) fn revision(&self) -> u64 {
        self.record.counters.as_ref().map_or(0, |counters| counters.revision)
    }

    /// Where the campaign stood.
    pub(crate) fn state(&self) -> CampaignState {
        state_at(&self.record, self.log_time_micros)
    }

    /// How many holds claimed quota.
    fn held(&self) -> u64 {
        self.record.counters.as_ref().map_or(0, |counters| counters.held)
    }

    /// Whether the campaign ever had a hold. If not, time changes nothing about it but its state.
    pub(crate) fn has_holds(&self) -> bool {
        self.record.counters.as_ref().is_some_and(|counters| counters.has_holds)
    }

    /// Whether this is a later state of the campaign than `other`, and a different one.
    pub(crate) fn is_newer_than(&self, other: &Self) -> bool {
        // The clocks of two leaders may differ, and no watch goes back in time.
        let is_later = self.log_time_micros > other.log_time_micros;
        let is_changed_by_time = self.state() != other.state() || self.held() != other.held();
        self.revision() > other.revision()
            || (self.revision() == other.revision() && is_later && is_changed_by_time)
    }

    /// Time until the campaign starts or ends, or a hold expires, if any of these is to come.
    fn time_left(&self) -> Option<Duration> {
        let counters = self.record.counters.as_ref();
        let hold_end = counters.map_or(0, |counters| counters.first_hold_end_micros);
        let moments = [self.record.start_micros, self.record.end_micros, hold_end];
        let next = moments.into_iter().filter(|moment| *moment > self.log_time_micros).min()?;
        let left = Duration::from_micros(next - self.log_time_micros);
        Some(left.saturating_sub(self.at.elapsed()))
    }
}

/// What a watch is shown: the latest state, or why there are no more; `None` at first.
pub(crate) type Latest = Option<Result<Seen, Status>>;

/// The sources. A cheap clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Watches {
    sources: Arc<Mutex<BTreeMap<CampaignName, watch::Sender<Latest>>>>,
}

impl Watches {
    /// The states of a campaign from now on.
    ///
    /// # Errors
    /// [`Fault::Overloaded`] when too many other campaigns are watched.
    pub(crate) fn join(
        &self,
        shards: &Arc<ShardClient>,
        campaign: &CampaignName,
    ) -> Result<watch::Receiver<Latest>, Fault> {
        let mut sources = self.sources.lock();
        if let Some(source) = sources.get(campaign) {
            return Ok(source.subscribe());
        }
        if sources.len() >= CAMPAIGNS_MAX {
            return Err(Fault::Overloaded);
        }
        let (latest, watched) = watch::channel(None);
        sources.insert(campaign.clone(), latest.clone());
        let (watches, shards, campaign) = (self.clone(), Arc::clone(shards), campaign.clone());
        tokio::spawn(async move { watches.feed(&shards, &campaign, &latest).await });
        Ok(watched)
    }

    /// Shows the states of a campaign to those who watch it, until there are none, or an error.
    async fn feed(
        &self,
        shards: &ShardClient,
        campaign: &CampaignName,
        latest: &watch::Sender<Latest>,
    ) {
        let mut last: Option<Seen> = None;
        loop {
            let next = tokio::select! {
                next = next(shards, campaign, last.as_ref()) => next,
                () = latest.closed() => {
                    if self.leave(campaign, latest) {
                        return;
                    }
                    continue;
                }
            };
            match next {
                Ok(seen) => {
                    if last.as_ref().is_none_or(|last| seen.is_newer_than(last)) {
                        latest.send_replace(Some(Ok(seen.clone())));
                    }
                    last = Some(seen);
                }
                Err(fault) => {
                    self.sources.lock().remove(campaign);
                    latest.send_replace(Some(Err(fault.into_status())));
                    return;
                }
            }
        }
    }

    /// Ends a source, unless somebody has come back to it.
    fn leave(&self, campaign: &CampaignName, latest: &watch::Sender<Latest>) -> bool {
        let mut sources = self.sources.lock();
        let is_left = latest.receiver_count() == 0;
        if is_left {
            sources.remove(campaign);
        }
        is_left
    }
}

/// The next state of a campaign, after `last`; the same one when time has passed.
async fn next(
    shards: &ShardClient,
    campaign: &CampaignName,
    last: Option<&Seen>,
) -> Result<Seen, Fault> {
    let response = match last {
        None => shards.read_campaign(campaign, Instant::now() + PATIENCE).await?,
        Some(last) => {
            sleep(INTERVAL).await;
            let wait = last.time_left().unwrap_or(Duration::MAX);
            let (known, deadline) = ((last.revision(), wait), Instant::now() + PATIENCE);
            shards.read_changed(campaign, get_campaign(campaign), known, deadline).await?.0
        }
    };
    Seen::of(response)
}

#[cfg(test)]
mod tests {
    use coupon_proto::internal::CampaignCounters;

    use super::*;

    fn seen(revision: u64, log_time_micros: u64) -> Seen {
        let record = CampaignRecord {
            quota: 1,
            start_micros: 100,
            end_micros: 200,
            counters: Some(CampaignCounters { revision, ..Default::default() }),
            ..Default::default()
        };
        Seen { record: Arc::new(record), log_time_micros, at: Instant::now() }
    }

    /// The same with a hold, which expires at `end_micros`.
    fn with_hold(seen: Seen, end_micros: u64) -> Seen {
        let mut record = seen.record.as_ref().clone();
        let counters = record.counters.as_mut().expect("it has counters");
        (counters.held, counters.has_holds) = (1, true);
        counters.first_hold_end_micros = end_micros;
        Seen { record: Arc::new(record), ..seen }
    }

    #[test]
    fn a_later_revision_or_state_is_news_and_an_earlier_clock_is_not() {
        let scheduled = seen(5, 90);
        assert!(seen(6, 80).is_newer_than(&scheduled));
        assert!(seen(5, 100).is_newer_than(&scheduled));
        assert!(!seen(5, 95).is_newer_than(&scheduled), "nothing has changed");
        assert!(!scheduled.is_newer_than(&seen(5, 100)));
        assert!(!seen(4, 300).is_newer_than(&scheduled));
        let held = with_hold(seen(5, 90), 95);
        assert!(seen(5, 95).is_newer_than(&held), "a hold has expired");
        assert!(!seen(5, 90).is_newer_than(&held));
    }

    #[tokio::test(start_paused = true)]
    async fn the_next_look_is_no_later_than_what_time_changes() {
        let scheduled = seen(1, 40);
        assert_eq!(scheduled.time_left(), Some(Duration::from_micros(60)));
        assert_eq!(seen(1, 100).time_left(), Some(Duration::from_micros(100)));
        assert_eq!(seen(1, 200).time_left(), None);
        let held = with_hold(seen(1, 110), 115);
        assert_eq!(held.time_left(), Some(Duration::from_micros(5)));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(scheduled.time_left(), Some(Duration::ZERO), "it is overdue");
    }
}
