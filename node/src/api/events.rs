//! Questions for what happened to a campaign.

use coupon_ledger::Refusal;
use coupon_proto::internal as pb;

use super::reader::{Page, ReadError, Reader, campaign_name};

impl Reader<'_> {
    /// What happened to a campaign and its coupons after a revision.
    ///
    /// # Errors
    ///
    /// When the question makes no sense, or the disk fails.
    pub(super) fn list_events(
        &self,
        epoch: u64,
        query: &pb::ListEventsQuery,
    ) -> Result<pb::ReadResponse, ReadError> {
        let name = campaign_name(&query.campaign)?;
        self.respond(epoch, |view, answer| {
            let campaign = view.campaign(&name)?.ok_or(Refusal::CampaignNotFound)?;
            answer.revision = campaign.counters.revision;
            let mut page = Page::new(query.limit);
            if query.after_revision < campaign.counters.revision {
                for event in view.events_after(&campaign, query.after_revision)? {
                    if !page.push(event?) {
                        break;
                    }
                }
            }
            answer.more = page.more;
            answer.events = page.items;
            Ok(())
        })
    }
}
