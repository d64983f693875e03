//! The ledger's types as messages: on disk, in the log and on the wire.

use std::sync::Arc;

use coupon_cluster::{CampaignId, Epoch, KeyId, RequestId, ShardId};
use coupon_ledger::{
    Action, Campaign, CampaignCounters, CampaignSpec, Command, Coupon, CreateCampaign, Issue,
    IssuedCoupon, LogTime, Outcome, Refusal, ShardState,
};
use coupon_proto::internal as pb;

use crate::raft::types::Malformed;

/// 0 stands for "none" in times and durations: nothing happens at the very beginning of 1970.
fn nonzero(value: u64) -> Option<u64> {
    (value != 0).then_some(value)
}

fn time_to_pb(time: Option<LogTime>) -> u64 {
    time.map_or(0, |time| time.0)
}

fn time_from_pb(micros: u64) -> Option<LogTime> {
    nonzero(micros).map(LogTime)
}

fn campaign_id(text: &str) -> Result<CampaignId, Malformed> {
    CampaignId::parse(text).map_err(|_| Malformed("campaign id"))
}

fn shard_id(id: u32) -> Result<ShardId, Malformed> {
    ShardId::new(id).map_err(|_| Malformed("shard id"))
}

fn shard_ids(ids: &[u32]) -> Result<Vec<ShardId>, Malformed> {
    ids.iter().copied().map(shard_id).collect()
}

fn request_id(bytes: &[u8]) -> Result<RequestId, Malformed> {
    RequestId::from_bytes(bytes).map_err(|_| Malformed("request id"))
}

/// A campaign without its counters, as it is kept on disk.
pub fn spec_to_pb(spec: &CampaignSpec) -> pb::CampaignRecord {
    pb::CampaignRecord {
        campaign_id: spec.id.as_str().to_owned(),
        display_name: spec.display_name.clone(),
        quota: spec.quota,
        start_micros: spec.start.0,
        end_micros: time_to_pb(spec.end),
        per_recipient_limit: spec.per_recipient_limit,
        coupon_ttl_micros: spec.coupon_ttl_micros.unwrap_or(0),
        labels: spec.labels.clone(),
        request_id: spec.request_id.as_bytes().to_vec(),
        code_key_id: spec.code_key.0,
        number: spec.number,
        create_micros: spec.created.0,
        code_shard_id: spec.code_shard.get(),
        requested_start_micros: time_to_pb(spec.requested_start),
        counters: None,
    }
}

/// A campaign from its record.
///
/// # Errors
///
/// When an id is malformed.
pub fn spec_from_pb(record: pb::CampaignRecord) -> Result<CampaignSpec, Malformed> {
    Ok(CampaignSpec {
        id: campaign_id(&record.campaign_id)?,
        number: record.number,
        display_name: record.display_name,
        quota: record.quota,
        start: LogTime(record.start_micros),
        requested_start: time_from_pb(record.requested_start_micros),
        end: time_from_pb(record.end_micros),
        per_recipient_limit: record.per_recipient_limit,
        coupon_ttl_micros: nonzero(record.coupon_ttl_micros),
        labels: record.labels,
        request_id: request_id(&record.request_id)?,
        code_key: KeyId(record.code_key_id),
        code_shard: shard_id(record.code_shard_id)?,
        created: LogTime(record.create_micros),
    })
}

/// A campaign's counters as a message.
pub fn counters_to_pb(counters: &CampaignCounters) -> pb::CampaignCounters {
    pb::CampaignCounters {
        issued: counters.issued,
        revision: counters.revision,
        next_counter: counters.next_counter,
        block_left: counters.block_left,
    }
}

/// A campaign's counters from a message.
pub fn counters_from_pb(counters: pb::CampaignCounters) -> CampaignCounters {
    CampaignCounters {
        issued: counters.issued,
        revision: counters.revision,
        next_counter: counters.next_counter,
        block_left: counters.block_left,
    }
}

/// A campaign with its counters, as it travels.
pub fn campaign_to_pb(campaign: &Campaign) -> pb::CampaignRecord {
    let counters = Some(counters_to_pb(&campaign.counters));
    pb::CampaignRecord { counters, ..spec_to_pb(&campaign.spec) }
}

/// A campaign from its two records.
///
/// # Errors
///
/// See [`spec_from_pb`].
pub fn campaign_from_pb(
    spec: pb::CampaignRecord,
    counters: pb::CampaignCounters,
) -> Result<Campaign, Malformed> {
    Ok(Campaign { spec: Arc::new(spec_from_pb(spec)?), counters: counters_from_pb(counters) })
}

/// A coupon as it is kept on disk.
pub fn coupon_to_pb(coupon: Coupon) -> pb::CouponRecord {
    pb::CouponRecord {
        counter: coupon.counter,
        recipient: coupon.recipient,
        request_id: coupon.request_id.as_bytes().to_vec(),
        issue_micros: coupon.issued_at.0,
        expire_micros: time_to_pb(coupon.expires_at),
        metadata: coupon.metadata,
    }
}

/// A coupon from its record.
///
/// # Errors
///
/// When the request id is malformed.
pub fn coupon_from_pb(record: pb::CouponRecord) -> Result<Coupon, Malformed> {
    Ok(Coupon {
        counter: record.counter,
        recipient: record.recipient,
        request_id: request_id(&record.request_id)?,
        issued_at: LogTime(record.issue_micros),
        expires_at: time_from_pb(record.expire_micros),
        metadata: record.metadata,
    })
}

/// What a ledger knows about its shard, as it is kept on disk: all of the record but the digest.
pub fn shard_to_pb(state: &ShardState) -> pb::ShardRecord {
    pb::ShardRecord {
        epoch: state.epoch.0,
        ring_shards: state.ring_shards.iter().map(|shard| shard.get()).collect(),
        next_campaign_number: state.next_campaign_number,
        next_block: state.next_block,
        first_block: state.first_block,
        log_time_micros: state.log_time.0,
        running_digest: Vec::new(),
    }
}

/// What a ledger knows about its shard, from its record.
///
/// # Errors
///
/// When a shard id is out of range.
pub fn shard_from_pb(record: pb::ShardRecord) -> Result<ShardState, Malformed> {
    Ok(ShardState {
        epoch: Epoch(record.epoch),
        ring_shards: shard_ids(&record.ring_shards)?,
        next_campaign_number: record.next_campaign_number,
        next_block: record.next_block,
        first_block: record.first_block,
        log_time: LogTime(record.log_time_micros),
    })
}

/// Checks a command that a router sent: what stands in the log must be readable for ever, by every
/// replica.
///
/// # Errors
///
/// When it has no action, an id is malformed, or it is one that only the shard's leader makes.
pub fn check_command(command: &pb::Command) -> Result<(), Malformed> {
    use pb::command::Command as Kind;
    match command.command.as_ref().ok_or(Malformed("command"))? {
        Kind::CreateCampaign(create) => {
            campaign_id(&create.campaign_id)?;
            request_id(&create.request_id)?;
            Ok(())
        }
        Kind::Issue(issue) => {
            campaign_id(&issue.campaign_id)?;
            request_id(&issue.request_id)?;
            Ok(())
        }
        Kind::AdoptRing(_) | Kind::SkipCounters(_) => Err(Malformed("a router's command")),
    }
}

/// A command from the log by itself; see [`CommandReader::read`].
///
/// # Errors
///
/// See there.
pub fn command_from_pb(command: pb::Command) -> Result<Command, Malformed> {
    CommandReader::default().read(command)
}

/// Reads the commands of an entry, most of which are for the same campaign.
#[derive(Default)]
pub struct CommandReader {
    last_campaign: Option<CampaignId>,
}

impl CommandReader {
    /// A command from the log.
    ///
    /// # Errors
    ///
    /// When it has no action or an id is malformed.
    pub fn read(&mut self, command: pb::Command) -> Result<Command, Malformed> {
        use pb::command::Command as Kind;
        let action = match command.command.ok_or(Malformed("command"))? {
            Kind::CreateCampaign(create) => Action::CreateCampaign(CreateCampaign {
                id: campaign_id(&create.campaign_id)?,
                display_name: create.display_name,
                quota: create.quota,
                start: time_from_pb(create.start_micros),
                end: time_from_pb(create.end_micros),
                per_recipient_limit: create.per_recipient_limit,
                coupon_ttl_micros: nonzero(create.coupon_ttl_micros),
                labels: create.labels,
                request_id: request_id(&create.request_id)?,
                code_key: KeyId(create.code_key_id),
            }),
            Kind::Issue(issue) => Action::Issue(Issue {
                campaign: self.campaign_id(&issue.campaign_id)?,
                recipient: issue.recipient,
                request_id: request_id(&issue.request_id)?,
                metadata: issue.metadata,
            }),
            Kind::SkipCounters(pb::SkipCountersCommand {}) => Action::SkipCounters,
            Kind::AdoptRing(adopt) => Action::AdoptRing {
                epoch: Epoch(adopt.epoch),
                ring_shards: shard_ids(&adopt.ring_shards)?,
            },
        };
        Ok(Command { epoch: Epoch(command.epoch), action })
    }

    fn campaign_id(&mut self, text: &str) -> Result<CampaignId, Malformed> {
        if let Some(last) = self.last_campaign.as_ref().filter(|last| last.as_str() == text) {
            return Ok(last.clone());
        }
        Ok(self.last_campaign.insert(campaign_id(text)?).clone())
    }
}

/// An issued coupon as it travels.
pub fn issued_to_pb(issued: IssuedCoupon, replayed: bool) -> pb::CouponIssued {
    pb::CouponIssued {
        coupon: Some(coupon_to_pb(issued.coupon)),
        sequence: issued.sequence,
        replayed,
        code_shard_id: issued.code_shard.get(),
        code_key_id: issued.code_key.0,
    }
}

/// An outcome as it travels. `None` for an adopted ring, which no caller asks for.
pub fn outcome_to_pb(outcome: Outcome) -> Option<pb::Outcome> {
    use pb::outcome::Outcome as Kind;
    let kind = match outcome {
        Outcome::CampaignCreated { campaign, replayed } => {
            let campaign = Some(campaign_to_pb(&campaign));
            Kind::CampaignCreated(pb::CampaignCreated { campaign, replayed })
        }
        Outcome::CouponIssued { issued, replayed } => {
            // The caller has the rest, which is that of its command.
            let coupon = pb::CouponRecord {
                counter: issued.coupon.counter,
                issue_micros: issued.coupon.issued_at.0,
                expire_micros: time_to_pb(issued.coupon.expires_at),
                ..Default::default()
            };
            Kind::CouponIssued(pb::CouponIssued {
                coupon: Some(coupon),
                sequence: issued.sequence,
                replayed,
                code_shard_id: issued.code_shard.get(),
                code_key_id: issued.code_key.0,
            })
        }
        Outcome::Refused(refusal) => Kind::Refusal(refusal_to_pb(refusal)),
        Outcome::RingAdopted { .. } | Outcome::CountersSkipped => return None,
    };
    Some(pb::Outcome { outcome: Some(kind) })
}

/// A refusal as it travels.
pub fn refusal_to_pb(refusal: Refusal) -> pb::Refusal {
    use pb::RefusalReason as Reason;
    let refused = |reason: Reason| pb::Refusal { reason: reason.into(), ..Default::default() };
    match refusal {
        Refusal::NotStarted { start, now } => pb::Refusal {
            time_micros: start.0,
            log_time_micros: now.0,
            ..refused(Reason::NotStarted)
        },
        Refusal::Ended { end, now } => {
            pb::Refusal { time_micros: end.0, log_time_micros: now.0, ..refused(Reason::Ended) }
        }
        Refusal::SoldOut => refused(Reason::SoldOut),
        Refusal::RecipientLimitReached { held } => pb::Refusal {
            held: held.into_iter().map(|issued| issued_to_pb(issued, false)).collect(),
            ..refused(Reason::RecipientLimitReached)
        },
        Refusal::RecipientRequired => refused(Reason::RecipientRequired),
        Refusal::CampaignExists => refused(Reason::CampaignExists),
        Refusal::CampaignNotFound => refused(Reason::CampaignNotFound),
        Refusal::EmptyWindow => refused(Reason::EmptyWindow),
        Refusal::RequestIdReused => refused(Reason::RequestIdReused),
        Refusal::StaleEpoch { epoch } => {
            pb::Refusal { epoch: epoch.0, ..refused(Reason::StaleEpoch) }
        }
        Refusal::ShardFull => refused(Reason::ShardFull),
        Refusal::NotOwner { epoch } => pb::Refusal { epoch: epoch.0, ..refused(Reason::NotOwner) },
    }
}
