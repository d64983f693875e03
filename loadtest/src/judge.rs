//! The verdict: what was read back, judged against what was recorded.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use coupon_checker::{Campaign, Fault, History, Operation, Outcome, Replica, Verdict, check};
use coupon_client::{Client, v1};
use tonic::Code;

use crate::campaigns;
use crate::client::counted;
use crate::clock::Clock;
use crate::error::LoadError;
use crate::readback::{self, Rows};
use crate::recorder::{RecordedCampaign, Terms};

/// Which campaigns are judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Those that got load.
    Recorded,
    /// All campaigns of the cluster.
    All,
}

/// What is judged besides the calls and what was read back.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    /// The faults that were planned, on the clock of the recording.
    pub faults: Vec<Fault>,
    /// What the replicas held when all was quiet.
    pub replicas: Vec<Replica>,
}

/// What came of reading everything back.
#[derive(Debug, Default)]
pub struct Judged {
    /// All that was judged.
    pub history: History,
    /// What the checker says.
    pub verdict: Verdict,
    /// How many coupons were issued before the start of their campaign, by log time.
    pub issued_before_start: u64,
    /// Campaigns that are gone, or have another quota, limit or start than they were created with, in
    /// words.
    pub changed: Vec<String>,
    /// How long after its start the last coupon of a campaign was issued, by log time; the longest
    /// of all campaigns that are sold out, `None` if no campaign is.
    pub sold_out_after: Option<Duration>,
}

impl Judged {
    /// Before anything was judged.
    fn begin(evidence: Evidence) -> Self {
        let Evidence { faults, replicas } = evidence;
        Self {
            history: History { faults, replicas, ..History::default() },
            verdict: Verdict::default(),
            issued_before_start: 0,
            changed: Vec::new(),
            sold_out_after: None,
        }
    }

    /// Whether every promise was kept.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.verdict.is_ok() && self.issued_before_start == 0 && self.changed.is_empty()
    }
}

/// A campaign as it was read back.
pub(crate) struct Found {
    campaign: v1::Campaign,
    rows: Rows,
    /// A last read of its counters, to be compared with the coupons.
    count: Option<Operation>,
}

/// Reads back the campaigns that were recorded, or all there are. The counters of the recorded ones are read
/// once more, on their `clock`.
pub(crate) async fn read(
    client: &Client,
    clock: &Clock,
    recorded: &[RecordedCampaign],
    scope: Scope,
) -> Result<Vec<Found>, LoadError> {
    let ids: BTreeSet<&str> = recorded.iter().map(|campaign| campaign.id.as_str()).collect();
    let listed = match scope {
        Scope::All => readback::list(client).await?,
        Scope::Recorded => {
            let mut found = Vec::with_capacity(ids.len());
            for id in &ids {
                match campaigns::get(client, id).await {
                    Ok(campaign) => found.push(campaign),
                    // It is judged as one that has lost everything.
                    Err(LoadError::Call { error, .. }) if error.code() == Code::NotFound => {}
                    Err(error) => return Err(error),
                }
            }
            found
        }
    };
    let mut found = Vec::with_capacity(listed.len());
    for campaign in listed {
        let id = campaign.campaign_id.as_str();
        let mut count = None;
        if ids.contains(id) {
            let invoked = clock.now();
            let campaign = campaigns::get(client, id).await?;
            let read = counted(Some(campaign), invoked, clock.now());
            count = Some(read).filter(|read| read.outcome != Outcome::Unknown);
        }
        let rows = readback::rows(client, id, start_of(&campaign)).await?;
        found.push(Found { campaign, rows, count });
    }
    Ok(found)
}

/// Judges what was recorded by what was read back.
pub(crate) fn judge(
    found: Vec<Found>,
    recorded: Vec<RecordedCampaign>,
    evidence: Evidence,
) -> Judged {
    let mut recorded: BTreeMap<String, RecordedCampaign> =
        recorded.into_iter().map(|campaign| (campaign.id.clone(), campaign)).collect();
    let mut judged = Judged::begin(evidence);
    for Found { campaign, rows, count } in found {
        let mut seen = recorded.remove(&campaign.campaign_id);
        if let Some(seen) = &mut seen {
            seen.operations.extend(count);
        }
        if let Some(created) = seen.as_ref().and_then(|seen| seen.created) {
            judged.changed.extend(change(&campaign, created));
        }
        judged.issued_before_start += rows.before_start;
        if i64::try_from(rows.coupons.len()).is_ok_and(|count| count >= campaign.quota) {
            let lasted = rows.last_issued.zip(start_of(&campaign));
            let lasted = lasted.and_then(|(last, start)| last.duration_since(start).ok());
            judged.sold_out_after = judged.sold_out_after.max(lasted);
        }
        judged.history.campaigns.push(assembled(&campaign, rows.coupons, seen));
    }
    // A campaign that is gone has lost all that was answered about it.
    for seen in recorded.into_values() {
        judged.changed.push(format!("campaign {} is gone", seen.id));
        let gone = v1::Campaign { campaign_id: seen.id.clone(), ..v1::Campaign::default() };
        judged.history.campaigns.push(assembled(&gone, Vec::new(), Some(seen)));
    }
    judged.verdict = check(&judged.history);
    judged
}

/// What was recorded, when nothing could be read back: without coupons, and not judged.
pub(crate) fn unread(recorded: Vec<RecordedCampaign>, evidence: Evidence) -> Judged {
    let mut unread = Judged::begin(evidence);
    for seen in recorded {
        let unknown = v1::Campaign { campaign_id: seen.id.clone(), ..v1::Campaign::default() };
        unread.history.campaigns.push(assembled(&unknown, Vec::new(), Some(seen)));
    }
    unread
}

fn start_of(campaign: &v1::Campaign) -> Option<SystemTime> {
    campaign.start_time.and_then(|start| SystemTime::try_from(start).ok())
}

/// In what a campaign differs from how it was created.
fn change(campaign: &v1::Campaign, created: Terms) -> Option<String> {
    let is_same = campaign.quota == i64::from(created.quota)
        && i64::from(campaign.per_recipient_limit) == i64::from(created.per_recipient_limit)
        && created.start.is_none_or(|start| start_of(campaign) == Some(start));
    let id = &campaign.campaign_id;
    (!is_same).then(|| format!("campaign {id} has not the terms that it was created with"))
}

fn assembled(
    campaign: &v1::Campaign,
    rows: Vec<coupon_checker::Coupon>,
    seen: Option<RecordedCampaign>,
) -> Campaign {
    let created = seen.as_ref().and_then(|seen| seen.created);
    let (operations, is_complete) =
        seen.map_or_else(Default::default, |seen| (seen.operations, seen.is_complete));
    let quota = campaign.quota.unsigned_abs();
    let limit = campaign.per_recipient_limit.unsigned_abs();
    Campaign {
        id: campaign.campaign_id.clone(),
        // What was promised is what it was created with, whatever it says of itself now.
        quota: created.map_or(quota, |created| created.quota.into()),
        per_recipient_limit: created.map_or(limit, |created| created.per_recipient_limit).into(),
        rows,
        operations,
        is_complete,
        ..Campaign::default()
    }
}
