//! Answers to questions, from the state of a replica at one moment. Whether it leads is not asked here.

use coupon_cluster::{CampaignName, TenantId};
use coupon_ledger::{Campaign, LogTime, Refusal, ShardState};
use coupon_proto::internal as pb;
use coupon_proto::internal::read_request::Query;
use coupon_wire::{Malformed, ids};
use tonic::Status;

use super::status::malformed;
use crate::codec::{outcome, row};
use crate::shard::registry::Replica;
use crate::storage::view::LedgerView;
use crate::storage::{Storage, StorageError, fatal};

/// How many rows one answer holds at most.
const PAGE_MAX: usize = 1_000;
/// How many campaigns one answer looks at for those that meet a filter, and how many places for the coupons of a
/// recipient.
pub(super) const SEARCHED_MAX: usize = 1_000;
/// Size at which a message takes no more rows: gRPC clients accept 4 MiB by default, and a row has at most some
/// tens of kilobytes.
const PAGE_BYTES: usize = 1 << 20;

/// Why a question was not answered.
pub(super) enum ReadError {
    /// The question makes no sense.
    Malformed(Malformed),
    /// The disk failed.
    Storage(StorageError),
}

impl From<StorageError> for ReadError {
    fn from(error: StorageError) -> Self {
        Self::Storage(error)
    }
}

impl ReadError {
    /// As the status of a call. A disk that fails ends the process.
    pub(super) fn into_status(self) -> Status {
        match self {
            Self::Malformed(error) => malformed(&error),
            Self::Storage(fault) => fatal::abort("reading state", &fault),
        }
    }
}

/// Why the rest of an answer is not filled in.
pub(super) enum Ended {
    /// The state has something against it, which is the answer.
    Refused(Box<pb::Refusal>),
    /// There is no answer.
    Failed(ReadError),
}

impl From<Refusal> for Ended {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(Box::new(outcome::refusal_to_pb(refusal)))
    }
}

impl From<StorageError> for Ended {
    fn from(error: StorageError) -> Self {
        Self::Failed(error.into())
    }
}

impl From<ReadError> for Ended {
    fn from(error: ReadError) -> Self {
        Self::Failed(error)
    }
}

/// The name of a campaign.
///
/// # Errors
///
/// When it is malformed.
pub(super) fn campaign_name(text: &str) -> Result<CampaignName, ReadError> {
    ids::campaign_name(text).map_err(ReadError::Malformed)
}

pub(super) fn tenant_id(text: &str) -> Result<TenantId, ReadError> {
    TenantId::parse(text).map_err(|_| ReadError::Malformed(Malformed("tenant")))
}

/// Answers questions from a replica's state.
pub(super) struct Reader<'a> {
    /// Where the state is.
    pub(super) storage: &'a Storage,
    /// Whose state it is.
    pub(super) replica: &'a Replica,
    /// When the question came.
    pub(super) came: Moment,
}

/// When a question came.
#[derive(Clone, Copy, Default)]
pub(super) struct Moment {
    /// Its time: see [`Proposer::read_time`](crate::shard::proposer::Proposer::read_time).
    pub(super) time: LogTime,
    /// The term of the leader.
    pub(super) term: u64,
}

impl<'a> Reader<'a> {
    /// Answers a question that was routed by the ring of `epoch`.
    ///
    /// # Errors
    ///
    /// When the question makes no sense, or the disk fails.
    pub(super) fn answer(&self, epoch: u64, query: Query) -> Result<pb::ReadResponse, ReadError> {
        match query {
            Query::GetCampaign(query) => self.get_campaign(epoch, &query),
            Query::GetCampaignByNumber(query) => self.get_campaign_by_number(epoch, &query),
            Query::ListCampaigns(query) => self.list_campaigns(epoch, &query),
            Query::ListCoupons(query) => self.list_coupons(epoch, &query),
            Query::GetCoupon(query) => self.get_coupon(epoch, &query),
            Query::FindCoupon(code) => self.find_coupon(epoch, &code),
            Query::FindCouponInCampaign(code) => self.find_coupon_in_campaign(epoch, &code),
            Query::CheckCreation(command) => self.check_creation(epoch, command),
            Query::ListEvents(query) => self.list_events(epoch, &query),
        }
    }

    pub(super) fn view(&self) -> Result<LedgerView<'a>, StorageError> {
        let key = self.replica.raft.key;
        LedgerView::new(self.storage, key.shard, key.replica)
    }

    /// The time that states are shown at. Log time stands still while nothing is written, but the next entry is stamped
    /// with a later time.
    pub(super) fn time(&self, state: &ShardState) -> u64 {
        state.log_time.max(self.came.time).0
    }

    /// A campaign as it stands at the time of the answer: holds that have expired by then no longer count.
    pub(super) fn settled(
        &self,
        view: &LedgerView<'_>,
        campaign: Campaign,
        now: LogTime,
    ) -> Result<Campaign, StorageError> {
        view.settled(campaign, now, self.came.term, &self.replica.hold_counts)
    }

    /// The answer to a question that was routed by the ring of `epoch`: the time, which history it is, and what `fill_in`
    /// makes of the state. A question that did not come by the shard's own ring is refused before.
    ///
    /// # Errors
    ///
    /// When the disk fails, or `fill_in` does.
    pub(super) fn respond(
        &self,
        epoch: u64,
        fill_in: impl FnOnce(LedgerView<'a>, &mut pb::ReadResponse) -> Result<(), Ended>,
    ) -> Result<pb::ReadResponse, ReadError> {
        let view = self.view()?;
        let state = view.shard_state()?;
        let mut answer = pb::ReadResponse {
            log_time_micros: self.time(&state),
            // It grows when the ledger gives up counters that an abandoned history may have used, and never otherwise.
            history_id: state.first_block,
            ..Default::default()
        };
        let ended = match state.epoch.0 == epoch {
            true => fill_in(view, &mut answer),
            false => Err(Refusal::StaleEpoch { epoch: state.epoch }.into()),
        };
        match ended {
            Ok(()) => {}
            Err(Ended::Refused(refusal)) => answer.refusal = Some(*refusal),
            Err(Ended::Failed(error)) => return Err(error),
        }
        Ok(answer)
    }

    fn get_campaign(
        &self,
        epoch: u64,
        query: &pb::GetCampaignQuery,
    ) -> Result<pb::ReadResponse, ReadError> {
        let id = campaign_name(&query.campaign)?;
        self.one_campaign(epoch, |view| view.campaign(&id))
    }

    fn get_campaign_by_number(
        &self,
        epoch: u64,
        query: &pb::GetCampaignByNumberQuery,
    ) -> Result<pb::ReadResponse, ReadError> {
        let tenant = tenant_id(&query.tenant)?;
        self.one_campaign(epoch, |view| {
            let found = view.campaign_of_number(query.number)?;
            Ok(found.filter(|campaign| campaign.spec.name.belongs_to(&tenant)))
        })
    }

    /// The revision that a campaign has; `None` if there is no such campaign.
    ///
    /// # Errors
    ///
    /// When the disk fails.
    pub(super) fn revision_of(&self, name: &CampaignName) -> Result<Option<u64>, ReadError> {
        let found = self.view()?.campaign(name)?;
        Ok(found.map(|campaign| campaign.counters.revision))
    }

    /// The answer that shows the campaign which `find` finds.
    fn one_campaign(
        &self,
        epoch: u64,
        find: impl FnOnce(&LedgerView<'_>) -> Result<Option<Campaign>, StorageError>,
    ) -> Result<pb::ReadResponse, ReadError> {
        self.respond(epoch, |view, answer| {
            let campaign = find(&view)?.ok_or(Refusal::CampaignNotFound)?;
            let campaign = self.settled(&view, campaign, LogTime(answer.log_time_micros))?;
            answer.campaigns.push(row::campaign_to_pb(&campaign));
            Ok(())
        })
    }
}

/// The rows of one answer, bounded in number and in bytes.
pub(super) struct Page<T> {
    rows_max: usize,
    bytes: usize,
    pub(super) items: Vec<T>,
    /// Whether there was a row too many.
    pub(super) more: bool,
}

impl<T: prost::Message> Page<T> {
    pub(super) fn new(limit: u32) -> Self {
        let rows_max = usize::try_from(limit).unwrap_or(PAGE_MAX).clamp(1, PAGE_MAX);
        Self { rows_max, bytes: 0, items: Vec::new(), more: false }
    }

    /// Takes a row. Returns whether it had room for it.
    pub(super) fn push(&mut self, item: T) -> bool {
        if self.items.len() >= self.rows_max || self.bytes >= PAGE_BYTES {
            self.more = true;
            return false;
        }
        self.bytes += item.encoded_len();
        self.items.push(item);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn campaign(id: &str, label: usize) -> pb::CampaignRecord {
        let labels = [("l".to_owned(), "x".repeat(label))].into();
        pb::CampaignRecord { name: id.to_owned(), labels, ..Default::default() }
    }

    #[test]
    fn a_page_ends_with_its_rows_or_its_bytes_and_says_that_there_is_more() {
        let mut rows = Page::new(2);
        assert!(rows.push(campaign("a", 1)) && rows.push(campaign("b", 1)) && !rows.more);
        assert!(!rows.push(campaign("c", 1)) && rows.more);
        assert_eq!(rows.items.len(), 2);

        let mut bytes = Page::new(u32::MAX);
        while bytes.push(campaign("a", 100_000)) {}
        assert_eq!(bytes.items.len(), PAGE_BYTES.div_ceil(100_000));
        // However large a row is, a page has one, or a listing would not go on.
        assert!(Page::new(0).push(campaign("a", 2 * PAGE_BYTES)));
    }
}
