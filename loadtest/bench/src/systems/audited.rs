//! Many campaigns under load, each with an audit of its answers.

use std::sync::Arc;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use parking_lot::Mutex;
use tonic::transport::Channel;

use crate::load::audit::Audit;
use crate::load::requests::Requests;
use crate::load::unary::Unary;
use crate::systems::campaigns::Campaigns;

/// Number of campaigns that are created or read at once: their order does not matter, and one by one each would
/// wait for a log entry of its own.
const AT_ONCE: usize = 32;

/// A campaign that has started and is never sold out.
#[derive(Clone, Debug)]
pub(crate) struct Audited {
    id: String,
    requests: Requests,
    audit: Arc<Mutex<Audit>>,
}

impl Audited {
    /// Creates campaigns with ids of [`new_id`](super::campaigns::new_id).
    pub(crate) async fn create_all(
        campaigns: &Campaigns,
        ids: Vec<String>,
    ) -> anyhow::Result<Vec<Self>> {
        let created = ids.into_iter().map(|id| async move {
            campaigns.create_large_with_id(&id).await?;
            anyhow::Ok(Self { requests: Requests::new(&id), id, audit: Arc::default() })
        });
        stream::iter(created).buffer_unordered(AT_ONCE).try_collect().await
    }

    /// One caller for each of the calls in flight, spread over the connections.
    pub(crate) fn callers(&self, channels: &[Channel], in_flight: usize) -> Vec<Unary> {
        Unary::callers(channels, in_flight, &self.requests, Some(&self.audit))
    }

    /// What is wrong with the answers so far of all campaigns. No call may be in flight.
    pub(crate) async fn faults(
        campaigns: &Campaigns,
        all: impl IntoIterator<Item = &Self>,
    ) -> anyhow::Result<Vec<String>> {
        let looks = all.into_iter().map(|one| async move {
            let issued = campaigns.issued(&one.id).await?;
            let faults = one.audit.lock().faults(issued);
            anyhow::Ok(faults.into_iter().map(|fault| format!("campaign {}: {fault}", one.id)))
        });
        let faults: Vec<_> = stream::iter(looks).buffer_unordered(AT_ONCE).try_collect().await?;
        Ok(faults.into_iter().flatten().collect())
    }
}
