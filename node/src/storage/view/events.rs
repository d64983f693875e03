//! What happened to a campaign: the rows of its events, and its coupons between them.

use coupon_ledger::mutants::{self, Mutant};
use coupon_ledger::{Campaign, Hold, HoldState};
use coupon_proto::internal as pb;
use coupon_wire::code::scheme_to_pb;
use coupon_wire::ids::request_id;
use pb::event_record::Event as Kind;
use rocksdb::{Direction, IteratorMode, ReadOptions};

use super::{LedgerView, Row};
use crate::codec::hold;
use crate::storage::coupon_rows::Found;
use crate::storage::index::Coupons as _;
use crate::storage::keys::{after_prefix, trailing_u64};
use crate::storage::ledger::decode;
use crate::storage::{StorageError, hold_rows};

impl<'a> LedgerView<'a> {
    /// What happened to a campaign after a revision, in the order of revisions, each exactly once.
    ///
    /// # Errors
    ///
    /// When the disk fails.
    pub fn events_after(
        &self,
        campaign: &'a Campaign,
        after: u64,
    ) -> Result<impl Iterator<Item = Result<pb::CampaignEvent, StorageError>> + '_, StorageError>
    {
        let number = campaign.spec.number;
        let mut issued = self.issued_by(number, after)?;
        let end = after_prefix(&self.keys.events(number));
        let mut next = after.saturating_add(1);
        let rows = self.rows(self.storage.state(), &self.keys.event(number, next), end);
        let mut rows = rows.peekable();
        let mut coupons = self.found_after(number, issued);
        let is_at = |row: &Result<Row, StorageError>, revision: u64| {
            row.as_ref().is_ok_and(|(key, _)| trailing_u64(key) == Some(revision))
        };
        if mutants::is(Mutant::EventSkipped)
            && after > 0
            && rows.next_if(|row| is_at(row, next)).is_some()
        {
            next += 1;
        }
        let revisions = next..=campaign.counters.revision;
        Ok(revisions.map(move |revision| {
            let row = rows.next_if(|row| row.is_err() || is_at(row, revision));
            let (record, coupon) = match row {
                Some(row) => {
                    let record: pb::EventRecord = decode("event", &row?.1)?;
                    let coupon = self.changed(campaign, &record)?;
                    (record, coupon)
                }
                None => {
                    issued += 1;
                    let found = coupons.next().transpose()?;
                    let found = found.filter(|found| found.sequence == issued);
                    self.issue_of(campaign, found.ok_or_else(|| missing(number, revision))?)?
                }
            };
            Ok(pb::CampaignEvent { revision, record: Some(record), coupon })
        }))
    }

    /// How many coupons of a campaign were issued up to a revision.
    fn issued_by(&self, number: u32, revision: u64) -> Result<u64, StorageError> {
        if revision == 0 {
            return Ok(0);
        }
        let mut options = ReadOptions::default();
        options.set_iterate_lower_bound(self.keys.events(number));
        let last = self.keys.event(number, revision);
        let mode = IteratorMode::From(&last, Direction::Reverse);
        let mut rows = self.snapshot.iterator_cf_opt(self.storage.state(), options, mode);
        let row = rows.next().transpose()?;
        let (key, value) = row.ok_or_else(|| missing(number, 1))?;
        let record: pb::EventRecord = decode("event", &value)?;
        let made = trailing_u64(&key).ok_or_else(|| missing(number, 1))?;
        // What follows an event is coupons.
        Ok(record.issued + (revision - made))
    }

    /// The coupon that an event is about, as the event left it.
    fn changed(
        &self,
        campaign: &Campaign,
        record: &pb::EventRecord,
    ) -> Result<Option<pb::CouponIssued>, StorageError> {
        let Some(Kind::CouponChanged(changed)) = &record.event else { return Ok(None) };
        let (number, sequence) = (campaign.spec.number, changed.sequence);
        let coupon = self.coupon(number, sequence)?.ok_or_else(|| {
            StorageError::corrupt(
                "event",
                format!("coupon {sequence} of campaign {number} is missing"),
            )
        })?;
        let mut shown = shown(campaign, sequence, coupon);
        let change = changed.change.clone().unwrap_or_default();
        let is_reversal = matches!(change.change, Some(pb::coupon_change::Change::Reversal(_)));
        let change = pb::CouponChange { time_micros: record.time_micros, ..change };
        shown.last_change = (!is_reversal).then(|| Box::new(change));
        Ok(Some(shown))
    }

    /// The issue of a coupon as an event. That of a coupon which was held is by the request that confirmed the hold.
    fn issue_of(
        &self,
        campaign: &Campaign,
        found: Found,
    ) -> Result<(pb::EventRecord, Option<pb::CouponIssued>), StorageError> {
        let Found { sequence, log_index, coupon } = found;
        let hold = self.hold_of(campaign, &coupon)?;
        let request_id = match hold.as_ref().map(|hold| hold.state) {
            Some(HoldState::Confirmed { request_id, .. }) => request_id.as_bytes().to_vec(),
            Some(HoldState::Open | HoldState::Released { .. }) | None => coupon.request_id.clone(),
        };
        let record = pb::EventRecord {
            log_index,
            time_micros: coupon.issue_micros,
            request_id,
            issued: sequence,
            event: Some(Kind::CouponIssued(pb::IssueEvent {
                hold: hold.as_ref().map(hold::to_pb),
            })),
        };
        Ok((record, Some(shown(campaign, sequence, coupon))))
    }

    /// The hold that became a coupon, whose id it has; `None`: the coupon was issued without one.
    fn hold_of(
        &self,
        campaign: &Campaign,
        coupon: &pb::CouponRecord,
    ) -> Result<Option<Hold>, StorageError> {
        if !campaign.counters.has_holds {
            return Ok(None);
        }
        let hold_id = request_id(&coupon.request_id);
        let hold_id = hold_id.map_err(|error| StorageError::corrupt("coupon", error))?;
        hold_rows::hold(self, self.keys, campaign.spec.number, &hold_id)
    }
}

/// A coupon as it was issued.
fn shown(campaign: &Campaign, sequence: u64, coupon: pb::CouponRecord) -> pb::CouponIssued {
    let spec = &campaign.spec;
    pb::CouponIssued {
        coupon: Some(coupon),
        sequence,
        code_shard_id: spec.code_shard.get(),
        code_key_id: spec.code_key.0,
        code_scheme: scheme_to_pb(spec.code_scheme).map(Box::new),
        ..Default::default()
    }
}

fn missing(number: u32, revision: u64) -> StorageError {
    let what = format!("revision {revision} of campaign {number} is neither an event nor a coupon");
    StorageError::corrupt("events", what)
}
