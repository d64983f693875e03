//! The campaigns whose next change somebody waits for.
//!
//! Applying costs a lock for each batch, and a look-up for each campaign in it while anybody waits.

use std::collections::HashMap;
use std::sync::Arc;

use coupon_cluster::CampaignName;
use coupon_ledger::{Campaign, CampaignSpec};
use parking_lot::Mutex;
use tokio::sync::watch;

type Waiting = HashMap<CampaignName, watch::Sender<u64>>;

/// The campaigns that are waited for, and the last revision that was noted of each. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Revisions(Arc<Mutex<Waiting>>);

/// The revisions of one campaign, as they are written. Dropping it ends the wait.
#[derive(Debug)]
pub struct NextRevision {
    all: Revisions,
    name: CampaignName,
    noted: watch::Receiver<u64>,
}

/// Campaigns of a batch, and the revisions that it takes them to.
pub(super) struct Reached(Vec<(Arc<CampaignSpec>, u64)>);

impl Reached {
    /// These campaigns, as the batch leaves them.
    pub(super) fn by<'a>(campaigns: impl Iterator<Item = &'a Campaign>) -> Self {
        let reached = |campaign: &Campaign| (campaign.spec.clone(), campaign.counters.revision);
        Self(campaigns.map(reached).collect())
    }
}

impl Revisions {
    /// Begins to wait for a campaign. What is written from now on is not missed: look at the state after this call.
    pub fn next_of(&self, name: &CampaignName) -> NextRevision {
        let mut waiting = self.0.lock();
        let noted = match waiting.get(name) {
            Some(revision) => revision.subscribe(),
            None => {
                let (revision, noted) = watch::channel(0);
                waiting.insert(name.clone(), revision);
                noted
            }
        };
        NextRevision { all: self.clone(), name: name.clone(), noted }
    }

    /// Tells that a batch is written.
    pub(super) fn note(&self, reached: &Reached) {
        let waiting = self.0.lock();
        if waiting.is_empty() {
            return;
        }
        for (spec, revision) in &reached.0 {
            if let Some(noted) = waiting.get(&spec.name) {
                noted.send_replace(*revision);
            }
        }
    }
}

impl NextRevision {
    /// Returns once the campaign has another revision than `known`, as far as was noted.
    pub async fn other_than(&mut self, known: u64) {
        // It is not closed, since dropping this is what removes the sender.
        let _ = self.noted.wait_for(|noted| *noted != 0 && *noted != known).await;
    }
}

impl Drop for NextRevision {
    fn drop(&mut self) {
        let mut waiting = self.all.0.lock();
        // This one is still counted.
        if waiting.get(&self.name).is_some_and(|revision| revision.receiver_count() == 1) {
            waiting.remove(&self.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use coupon_cluster::{CodeScheme, Epoch, KeyId, RequestId, ShardId, TenantId};
    use coupon_ledger::{CreateCampaign, Ledger, LogTime, Outcome, ShardState};
    use tokio::time::timeout;

    use super::*;

    fn campaign(id: &str, revision: u64) -> Campaign {
        let shard = ShardId::new(1).unwrap();
        let state = ShardState { epoch: Epoch(1), ring_shards: vec![shard], ..Default::default() };
        let command = CreateCampaign {
            name: CampaignName::new(&TenantId::default(), id).unwrap(),
            display_name: String::new(),
            quota: 1,
            start: None,
            end: None,
            per_recipient_limit: 0,
            coupon_ttl_micros: None,
            labels: std::collections::BTreeMap::new(),
            request_id: RequestId::from_bytes(&[1; 16]).unwrap(),
            code_key: KeyId(1),
            code_scheme: CodeScheme::default(),
            has_imported_codes: false,
        };
        let created =
            Ledger::outcome_of_creation(shard, state, None, LogTime(1), Epoch(1), command);
        let Outcome::CampaignCreated { mut campaign, .. } = created else { panic!("{created:?}") };
        campaign.counters.revision = revision;
        campaign
    }

    fn note(revisions: &Revisions, id: &str, revision: u64) {
        revisions.note(&Reached::by([&campaign(id, revision)].into_iter()));
    }

    #[tokio::test]
    async fn whoever_waits_is_told_of_what_comes_and_leaves_nothing_behind() {
        let revisions = Revisions::default();
        note(&revisions, "a", 5);
        let name = campaign("a", 1).spec.name.clone();
        let (mut one, mut two) = (revisions.next_of(&name), revisions.next_of(&name));
        note(&revisions, "b", 6);
        let silent = timeout(Duration::from_millis(20), one.other_than(0)).await;
        assert!(silent.is_err(), "neither what was before nor another campaign counts");
        note(&revisions, "a", 7);
        one.other_than(5).await;
        two.other_than(5).await;
        assert!(timeout(Duration::from_millis(20), one.other_than(7)).await.is_err());
        drop(one);
        assert_eq!(revisions.0.lock().len(), 1);
        drop(two);
        assert!(revisions.0.lock().is_empty());
    }
}
