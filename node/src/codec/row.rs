//! Campaigns, coupons and the state of a shard, as they are kept on disk.

use std::sync::Arc;

use coupon_cluster::{Epoch, KeyId};
use coupon_ledger::{
    Campaign, CampaignCounters, CampaignSpec, CampaignStage, Change, ChangeKind, Coupon,
    CreationTerms, HoldEnds, LogTime, ShardState,
};
use coupon_proto::internal as pb;
use coupon_wire::Malformed;
use coupon_wire::code::{scheme_from_pb, scheme_to_pb};
use coupon_wire::ids::{campaign_name, request_id, shard_id};

use super::{nonzero, shard_ids, time_from_pb, time_to_pb};

/// A campaign without its counters, as it is kept on disk.
pub fn spec_to_pb(spec: &CampaignSpec) -> pb::CampaignRecord {
    pb::CampaignRecord {
        name: spec.name.as_str().to_owned(),
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
        paused: spec.is_paused,
        changes: spec.changes.iter().map(change_to_pb).collect(),
        code_scheme: scheme_to_pb(spec.code_scheme),
        imported_codes: spec.has_imported_codes,
        update_micros: spec.updated.0,
        update_revision: spec.updated_revision,
        asked: spec.asked.as_deref().map(asked_to_pb),
        stage: stage_to_pb(spec.stage).into(),
    }
}

/// A campaign from its record.
///
/// # Errors
///
/// When an id, a change or the scheme of codes is malformed.
fn spec_from_pb(record: pb::CampaignRecord) -> Result<CampaignSpec, Malformed> {
    Ok(CampaignSpec {
        name: campaign_name(&record.name)?,
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
        code_scheme: scheme_from_pb(record.code_scheme.as_ref())?,
        code_shard: shard_id(record.code_shard_id)?,
        has_imported_codes: record.imported_codes,
        created: LogTime(record.create_micros),
        is_paused: record.paused,
        changes: record.changes.iter().map(change_from_pb).collect::<Result<_, _>>()?,
        updated: LogTime(record.update_micros),
        updated_revision: record.update_revision,
        stage: stage_from_pb(record.stage)?,
        asked: record.asked.map(|asked| Box::new(asked_from_pb(asked))),
    })
}

fn stage_to_pb(stage: CampaignStage) -> pb::CampaignStage {
    match stage {
        CampaignStage::InUse => pb::CampaignStage::Unspecified,
        CampaignStage::Archived => pb::CampaignStage::Archived,
        CampaignStage::Deleted => pb::CampaignStage::Deleted,
    }
}

fn stage_from_pb(stage: i32) -> Result<CampaignStage, Malformed> {
    let stage = pb::CampaignStage::try_from(stage).map_err(|_| Malformed("stage of a campaign"))?;
    Ok(match stage {
        pb::CampaignStage::Unspecified => CampaignStage::InUse,
        pb::CampaignStage::Archived => CampaignStage::Archived,
        pb::CampaignStage::Deleted => CampaignStage::Deleted,
    })
}

fn asked_to_pb(asked: &CreationTerms) -> pb::CreationTerms {
    pb::CreationTerms {
        display_name: asked.display_name.clone(),
        quota: asked.quota,
        end_micros: time_to_pb(asked.end),
        labels: asked.labels.clone(),
    }
}

fn asked_from_pb(asked: pb::CreationTerms) -> CreationTerms {
    CreationTerms {
        display_name: asked.display_name,
        quota: asked.quota,
        end: time_from_pb(asked.end_micros),
        labels: asked.labels,
    }
}

fn change_to_pb(change: &Change) -> pb::CampaignChange {
    let (kind, fingerprint) = match change.kind {
        ChangeKind::Pause => (pb::CampaignChangeKind::Pause, 0),
        ChangeKind::Resume => (pb::CampaignChangeKind::Resume, 0),
        ChangeKind::End => (pb::CampaignChangeKind::End, 0),
        ChangeKind::Archive => (pb::CampaignChangeKind::Archive, 0),
        ChangeKind::Delete => (pb::CampaignChangeKind::Delete, 0),
        ChangeKind::Update { fingerprint } => (pb::CampaignChangeKind::Update, fingerprint),
    };
    let request_id = change.request_id.as_bytes().to_vec();
    pb::CampaignChange { request_id, kind: kind.into(), fingerprint }
}

fn change_from_pb(change: &pb::CampaignChange) -> Result<Change, Malformed> {
    let kind = match change.kind() {
        pb::CampaignChangeKind::Pause => ChangeKind::Pause,
        pb::CampaignChangeKind::Resume => ChangeKind::Resume,
        pb::CampaignChangeKind::End => ChangeKind::End,
        pb::CampaignChangeKind::Archive => ChangeKind::Archive,
        pb::CampaignChangeKind::Delete => ChangeKind::Delete,
        pb::CampaignChangeKind::Update => ChangeKind::Update { fingerprint: change.fingerprint },
        pb::CampaignChangeKind::Unspecified => return Err(Malformed("kind of a change")),
    };
    Ok(Change { request_id: request_id(&change.request_id)?, kind })
}

/// A campaign's counters as they are kept on disk.
pub fn counters_to_pb(spec: &CampaignSpec, counters: &CampaignCounters) -> pb::CampaignCounters {
    pb::CampaignCounters {
        freed: spec.is_deleted(),
        issued: counters.issued,
        revision: counters.revision,
        next_counter: counters.next_counter,
        block_left: counters.block_left,
        open_micros: time_to_pb(counters.opened),
        sold_out_micros: time_to_pb(counters.sold_out),
        redeemed: counters.redeemed,
        voided: counters.voided,
        returned: counters.returned,
        held: counters.held,
        first_hold_end_micros: time_to_pb(counters.hold_ends.map(|ends| ends.first)),
        last_hold_end_micros: time_to_pb(counters.hold_ends.map(|ends| ends.last)),
        has_holds: counters.has_holds,
        imported: counters.imported,
        imports: counters.imports,
    }
}

/// A campaign's counters from a message.
fn counters_from_pb(counters: pb::CampaignCounters) -> CampaignCounters {
    CampaignCounters {
        issued: counters.issued,
        revision: counters.revision,
        next_counter: counters.next_counter,
        block_left: counters.block_left,
        opened: time_from_pb(counters.open_micros),
        sold_out: time_from_pb(counters.sold_out_micros),
        redeemed: counters.redeemed,
        voided: counters.voided,
        returned: counters.returned,
        held: counters.held,
        hold_ends: (counters.held > 0).then_some(HoldEnds {
            first: LogTime(counters.first_hold_end_micros),
            last: LogTime(counters.last_hold_end_micros),
        }),
        has_holds: counters.has_holds,
        imported: counters.imported,
        imports: counters.imports,
    }
}

/// A campaign with its counters, as it travels.
pub fn campaign_to_pb(campaign: &Campaign) -> pb::CampaignRecord {
    let counters = pb::CampaignCounters {
        last_hold_end_micros: 0,
        ..counters_to_pb(&campaign.spec, &campaign.counters)
    };
    let counters = Some(counters);
    pb::CampaignRecord { counters, changes: Vec::new(), asked: None, ..spec_to_pb(&campaign.spec) }
}

/// A campaign from its two records.
///
/// # Errors
///
/// When an id, a change or the scheme of codes is malformed.
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
        imported_code: coupon.imported_code.unwrap_or_default(),
    }
}

/// Adds a coupon to a row as it is kept on disk: the bytes of its [record](coupon_to_pb) as an element of
/// `CouponRow.coupons`, without making one.
pub fn add_coupon_to_row(coupon: &Coupon, row: &mut Vec<u8>) {
    use prost::encoding::{
        WireType, btree_map, encode_key, encode_varint, encoded_len_varint, key_len, string, uint64,
    };
    let request_id = coupon.request_id.as_bytes();
    let numbers =
        [(1, coupon.counter), (4, coupon.issued_at.0), (5, time_to_pb(coupon.expires_at))];
    let numbers = numbers.map(|(tag, value)| (value != 0).then_some((tag, value)));
    let number_len = |(tag, value): &(u32, u64)| uint64::encoded_len(*tag, value);
    let recipient = Some(&coupon.recipient).filter(|recipient| !recipient.is_empty());
    let code = coupon.imported_code.as_ref().filter(|code| !code.is_empty());
    let length = numbers.iter().flatten().map(number_len).sum::<usize>()
        + recipient.map_or(0, |recipient| string::encoded_len(2, recipient))
        + key_len(3)
        + encoded_len_varint(request_id.len() as u64)
        + request_id.len()
        + btree_map::encoded_len(string::encoded_len, string::encoded_len, 6, &coupon.metadata)
        + code.map_or(0, |code| string::encoded_len(7, code));
    encode_key(1, WireType::LengthDelimited, row);
    encode_varint(length as u64, row);
    let [counter, issued, expires] = numbers;
    let encode = |number: Option<(u32, u64)>, row: &mut Vec<u8>| {
        if let Some((tag, value)) = number {
            uint64::encode(tag, &value, row);
        }
    };
    encode(counter, row);
    if let Some(recipient) = recipient {
        string::encode(2, recipient, row);
    }
    encode_key(3, WireType::LengthDelimited, row);
    encode_varint(request_id.len() as u64, row);
    row.extend_from_slice(request_id);
    encode(issued, row);
    encode(expires, row);
    btree_map::encode(
        string::encode,
        string::encoded_len,
        string::encode,
        string::encoded_len,
        6,
        &coupon.metadata,
        row,
    );
    if let Some(code) = code {
        string::encode(7, code, row);
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
        imported_code: Some(record.imported_code).filter(|code| !code.is_empty()),
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
        holds: state.holds,
        holds_from_micros: state.holds_from.0,
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
        holds: record.holds,
        holds_from: LogTime(record.holds_from_micros),
        log_time: LogTime(record.log_time_micros),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use coupon_cluster::RequestId;
    use proptest::prelude::*;
    use prost::Message as _;

    use super::*;

    proptest! {
        #[test]
        fn a_coupon_in_a_row_has_the_bytes_of_its_record(
            counter: u64,
            issued: u64,
            expires: u64,
            recipient in ".{0,40}",
            request in 1..u128::MAX,
            metadata: BTreeMap<String, String>,
            imported_code: Option<String>,
        ) {
            let coupon = Coupon {
                counter,
                recipient,
                request_id: RequestId::from_bytes(&request.to_be_bytes()).unwrap(),
                issued_at: LogTime(issued),
                expires_at: time_from_pb(expires),
                metadata,
                imported_code,
            };
            let mut row = Vec::new();
            add_coupon_to_row(&coupon, &mut row);
            add_coupon_to_row(&coupon, &mut row);
            let record = coupon_to_pb(coupon);
            let coupons = vec![record.clone(), record];
            let expected = pb::CouponRow { coupons, ..Default::default() };
            prop_assert_eq!(row, expected.encode_to_vec());
        }
    }
}
