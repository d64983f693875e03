//! A batch sees its own writes.

use std::sync::Arc;

use coupon_cluster::{CodeScheme, KeyId, ShardId, TenantId};
use coupon_ledger::{CouponChange, CouponChangeKind, LogTime};

use super::*;

fn campaign(id: &str, number: u32) -> Campaign {
    let spec = CampaignSpec {
        name: CampaignName::new(&TenantId::default(), id).unwrap(),
        number,
        display_name: String::new(),
        quota: 1,
        start: LogTime(1),
        requested_start: None,
        end: None,
        per_recipient_limit: 0,
        coupon_ttl_micros: None,
        labels: Default::default(),
        request_id: RequestId::from_bytes(&[1; 16]).unwrap(),
        code_key: KeyId(1),
        code_scheme: CodeScheme::default(),
        code_shard: ShardId::new(1).unwrap(),
        created: LogTime(1),
        updated: LogTime(1),
        updated_revision: 1,
        asked: None,
        is_paused: false,
        stage: coupon_ledger::CampaignStage::InUse,
        changes: Vec::new(),
    };
    let counters = CampaignCounters {
        issued: 0,
        redeemed: 0,
        voided: 0,
        returned: 0,
        revision: 1,
        next_counter: 0,
        block_left: 0,
        opened: None,
        sold_out: None,
    };
    Campaign { spec: Arc::new(spec), counters }
}

#[test]
fn a_number_leads_to_its_campaign_in_the_batch_that_creates_it_and_later() {
    let dir = tempfile::tempdir().unwrap();
    let storage = Storage::open(dir.path()).unwrap();
    let keys = StateKeys::new(ShardId::new(1).unwrap(), 0);
    let begin = || LedgerBatch::new(&storage, keys, Digest::default()).unwrap();
    let (first, second) = (campaign("b", 0), campaign("a", 1));
    let mut batch = begin();
    for campaign in [&first, &second] {
        batch.put_campaign(campaign).unwrap();
    }
    assert_eq!(batch.campaign_of_number(1).unwrap().as_ref(), Some(&second));
    storage.write(batch.finish().0).unwrap();
    let mut batch = begin();
    assert_eq!(batch.campaign_of_number(0).unwrap(), Some(first));
    assert_eq!(batch.campaign_of_number(1).unwrap(), Some(second));
    assert_eq!(batch.campaign_of_number(2).unwrap(), None);
}

#[test]
fn blocks_and_what_was_done_with_coupons_are_seen_in_their_batch_and_later() {
    let dir = tempfile::tempdir().unwrap();
    let storage = Storage::open(dir.path()).unwrap();
    let keys = StateKeys::new(ShardId::new(1).unwrap(), 0);
    let begin = || LedgerBatch::new(&storage, keys, Digest::default()).unwrap();
    let campaign = campaign("a", 1);
    let change = |number: u8, kind| CouponChange {
        request_id: RequestId::from_bytes(&[number; 16]).unwrap(),
        at: LogTime(number.into()),
        revision: number.into(),
        kind,
    };
    let redeem = change(1, CouponChangeKind::Redeem { order_ref: "A".into() });
    let once = CouponHistory { changes: vec![redeem.clone()] };
    let twice = CouponHistory { changes: vec![redeem, change(2, CouponChangeKind::Reverse)] };
    let mut batch = begin();
    batch.put_block(3, 1, 5).unwrap();
    for history in [once, twice.clone()] {
        batch.put_coupon_history(&campaign.spec, 7, &history).unwrap();
        assert_eq!(batch.coupon_history(1, 7).unwrap(), Some(history));
    }
    assert_eq!(batch.block(3).unwrap(), Some((1, 5)));
    storage.write(batch.finish().0).unwrap();
    let mut batch = begin();
    assert_eq!(batch.coupon_history(1, 7).unwrap(), Some(twice));
    assert_eq!(
        (batch.coupon_history(1, 6).unwrap(), batch.coupon_history(2, 7).unwrap()),
        (None, None)
    );
    assert_eq!((batch.block(3).unwrap(), batch.block(4).unwrap()), (Some((1, 5)), None));
}
