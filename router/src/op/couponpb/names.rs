//! Names of campaigns by their numeric ids.

use std::collections::BTreeMap;

use coupon_cluster::{CampaignName, NumericId};
use coupon_proto::internal::{CampaignRecord, ReadResponse};
use coupon_wire::ids;
use parking_lot::RwLock;
use tokio::time::Instant;

use crate::answer::error::Fault;
use crate::op::check;
use crate::shards::shard_client::ShardClient;

/// How many names are remembered, at about 200 bytes each. A crowd is for a few.
const NAMES_MAX: usize = 10_000;

/// The names of campaigns that were asked for before, so that issuing a coupon costs no read.
///
/// A number and a name belong together for ever. That holds as long as a campaign's id is never given to another one.
#[derive(Debug, Default)]
pub(super) struct Names(RwLock<BTreeMap<NumericId, CampaignName>>);

impl Names {
    /// The name of the campaign with an id.
    ///
    /// # Errors
    /// [`Fault::Refused`] when there is no such campaign, [`Fault::Unanswered`] at `deadline`.
    pub(super) async fn find(
        &self,
        shards: &ShardClient,
        id: i64,
        deadline: Instant,
    ) -> Result<CampaignName, Fault> {
        let known = NumericId::from_i64(id).and_then(|id| self.0.read().get(&id).cloned());
        if let Some(name) = known {
            return Ok(name);
        }
        let (id, record, _) = read(shards, id, deadline).await?;
        let name = name_in(&record)?;
        let mut names = self.0.write();
        if names.len() >= NAMES_MAX {
            names.clear();
        }
        names.insert(id, name.clone());
        Ok(name)
    }
}

/// Reads the campaign with an id, and the log time of the answer.
///
/// # Errors
/// As [`Names::find`].
pub(super) async fn read(
    shards: &ShardClient,
    id: i64,
    deadline: Instant,
) -> Result<(NumericId, CampaignRecord, u64), Fault> {
    let id = NumericId::from_i64(id).ok_or_else(Fault::campaign_not_found)?;
    let answer = shards.read_campaign_by_number(id, check::tenant(), deadline).await?;
    let ReadResponse { campaigns, log_time_micros, .. } = answer;
    let record = campaigns.into_iter().next();
    let record = record.ok_or(Fault::Internal("a shard showed no campaign"))?;
    Ok((id, record, log_time_micros))
}

/// The name in a campaign's record.
///
/// # Errors
/// [`Fault::Internal`] when it is none.
pub(super) fn name_in(record: &CampaignRecord) -> Result<CampaignName, Fault> {
    ids::campaign_name(&record.name)
        .map_err(|_| Fault::Internal("a shard showed a campaign with a malformed name"))
}
