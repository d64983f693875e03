//! A page of what happened to a campaign: what `ListEvents` and `StreamEvents` share.

use std::time::Duration;

use coupon_cluster::CampaignName;
use coupon_proto::internal::{ListEventsQuery, read_request};
use coupon_proto::v1::Event;
use tokio::time::Instant;

use super::check::Check;
use crate::answer::error::Fault;
use crate::answer::event::event;
use crate::route::retry::Unanswered;
use crate::shards::shard_client::ShardClient;

/// A place in the events of a campaign.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) campaign: CampaignName,
    /// The revision of the event before it; 0: the beginning.
    pub(super) after_revision: u64,
    /// The history that this revision is of.
    pub(super) history_id: u64,
}

/// Some events.
pub(super) struct Page {
    pub(super) events: Vec<Event>,
    /// The revision of the campaign.
    pub(super) revision: u64,
    /// Whether there are more already.
    pub(super) more: bool,
}

impl Place {
    /// The place that a request names.
    ///
    /// # Errors
    /// [`Fault::Invalid`] with all violations, also those that `check` has found already.
    pub(super) fn checked(
        mut check: Check,
        campaign_id: &str,
        after_revision: i64,
        history_id: i64,
    ) -> Result<Self, Fault> {
        let campaign = check.campaign_id(campaign_id);
        let numbers = [("after_revision", after_revision), ("history_id", history_id)];
        let [after_revision, history_id] = numbers.map(|(field, number)| {
            u64::try_from(number).unwrap_or_else(|_| {
                check.fail(field, "must be 0 or more");
                0
            })
        });
        check.result()?;
        let campaign = campaign.ok_or(Fault::Internal("an invalid campaign id has passed"))?;
        Ok(Self { campaign, after_revision, history_id })
    }

    /// The events that come next, at most `limit`, and the place after them. If there are none yet, waits for some, for
    /// `wait` at most.
    ///
    /// # Errors
    /// [`Fault`].
    pub(super) async fn next(
        &mut self,
        shards: &ShardClient,
        limit: u32,
        wait: Duration,
        deadline: Instant,
    ) -> Result<Page, Fault> {
        let query = read_request::Query::ListEvents(ListEventsQuery {
            campaign: self.campaign.to_string(),
            after_revision: self.after_revision,
            limit,
        });
        let known = (self.after_revision, wait);
        let asked = shards.read_changed(&self.campaign, query, known, deadline);
        let (answer, topology) = asked.await?;
        if self.after_revision > 0 && answer.history_id != self.history_id {
            return Err(Fault::HistoryChanged { history_id: answer.history_id });
        }
        if self.after_revision > answer.revision {
            let description =
                format!("must not exceed the campaign's revision, {}", answer.revision);
            return Err(Fault::field("after_revision", description));
        }
        let coupons = answer.events.iter().filter_map(|event| event.coupon.as_ref());
        let topology = shards.with_keys(topology, coupons, deadline).await;
        let topology = topology.ok_or(Fault::Unanswered(Unanswered::NoLeader))?;
        let source = (topology.owner(&self.campaign), answer.history_id);
        self.history_id = answer.history_id;
        let mut events = Vec::with_capacity(answer.events.len());
        for happened in answer.events {
            if happened.revision != self.after_revision + 1 {
                return Err(Fault::Internal("a shard left an event out"));
            }
            self.after_revision = happened.revision;
            let campaign_id = self.campaign.id().to_owned();
            events.push(event(campaign_id, happened, source, &topology)?);
        }
        Ok(Page { events, revision: answer.revision, more: answer.more })
    }
}
