//! The verdict: what was read back, judged against what was recorded.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use coupon_checker::{Campaign, Fault, History, Outcome, Replica, Verdict, check};
use coupon_proto::v1;
use tonic::transport::Channel;

use crate::campaigns;
use crate::client::Caller;
use crate::error::LoadError;
use crate::readback::{self, PATIENCE};
use crate::recorder::RecordedCampaign;

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
    /// How long after its start the last coupon of a campaign was issued, by log time; the longest
    /// of all campaigns that are sold out, `None` if there is none.
    pub sold_out_after: Option<Duration>,
}

impl Judged {
    /// Whether every promise was kept.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.verdict.is_ok() && self.issued_before_start == 0
    }
}

/// Reads campaigns back and judges them. `caller` asks for the counters once more, so that they are
/// compared with the coupons.
pub(crate) async fn judge(
    channel: &Channel,
    caller: Option<&Caller>,
    recorded: Vec<RecordedCampaign>,
    scope: Scope,
    evidence: Evidence,
) -> Result<Judged, LoadError> {
    let mut recorded: BTreeMap<String, RecordedCampaign> =
        recorded.into_iter().map(|campaign| (campaign.id.clone(), campaign)).collect();
    let listed = match scope {
        Scope::All => readback::list(channel).await?,
        Scope::Recorded => {
            let mut found = Vec::with_capacity(recorded.len());
            for id in recorded.keys() {
                match campaigns::get(channel, id, PATIENCE).await {
                    Ok(campaign) => found.push(campaign),
                    // It is judged as one that has lost everything.
                    Err(LoadError::Call { status, .. }) if is_not_found(&status) => {}
                    Err(error) => return Err(error),
                }
            }
            found
        }
    };
    let mut judged = Judged {
        history: History {
            faults: evidence.faults,
            replicas: evidence.replicas,
            ..History::default()
        },
        verdict: Verdict::default(),
        issued_before_start: 0,
        sold_out_after: None,
    };
    for campaign in listed {
        let mut seen = recorded.remove(&campaign.campaign_id);
        if let (Some(caller), Some(seen)) = (caller, &mut seen) {
            let read = caller.clone().count(&campaign.campaign_id).await;
            seen.operations.extend((read.outcome != Outcome::Unknown).then_some(read));
        }
        let start = campaign.start_time.and_then(|start| SystemTime::try_from(start).ok());
        let rows = readback::rows(channel, &campaign.campaign_id, start).await?;
        judged.issued_before_start += rows.before_start;
        if i64::try_from(rows.coupons.len()).is_ok_and(|count| count >= campaign.quota) {
            let lasted = rows.last_issued.zip(start);
            let lasted = lasted.and_then(|(last, start)| last.duration_since(start).ok());
            judged.sold_out_after = judged.sold_out_after.max(lasted);
        }
        judged.history.campaigns.push(assembled(&campaign, rows.coupons, seen));
    }
    // A campaign that is gone has lost all that was answered about it.
    for seen in recorded.into_values() {
        let gone = v1::Campaign { campaign_id: seen.id.clone(), ..v1::Campaign::default() };
        judged.history.campaigns.push(assembled(&gone, Vec::new(), Some(seen)));
    }
    judged.verdict = check(&judged.history);
    Ok(judged)
}

fn is_not_found(status: &tonic::Status) -> bool {
    status.code() == tonic::Code::NotFound
}

fn assembled(
    campaign: &v1::Campaign,
    rows: Vec<coupon_checker::Coupon>,
    seen: Option<RecordedCampaign>,
) -> Campaign {
    let (operations, is_complete) =
        seen.map_or_else(Default::default, |seen| (seen.operations, seen.is_complete));
    Campaign {
        id: campaign.campaign_id.clone(),
        quota: campaign.quota.unsigned_abs(),
        per_recipient_limit: campaign.per_recipient_limit.unsigned_abs().into(),
        rows,
        operations,
        is_complete,
    }
}
