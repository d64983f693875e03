//! A batch sees its own writes.

use std::sync::Arc;

use coupon_cluster::{CodeScheme, KeyId, ShardId, TenantId};
use coupon_ledger::{CouponChange, CouponChangeKind, EndsFound, HoldState, StateReader as _};

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
        has_imported_codes: false,
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
        held: 0,
        hold_ends: None,
        has_holds: false,
        imported: 0,
        imports: 0,
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

/// Before a batch is written, and after.
#[test]
fn holds_are_found_by_their_ends_and_recipients() {
    let dir = tempfile::tempdir().unwrap();
    let storage = Storage::open(dir.path()).unwrap();
    let keys = StateKeys::new(ShardId::new(1).unwrap(), 0);
    let begin = || LedgerBatch::new(&storage, keys, Digest::default()).unwrap();
    let id = |number: u8| RequestId::from_bytes(&[number; 16]).unwrap();
    let hold = |recipient: &str, end: u64, state: HoldState| Hold {
        recipient: recipient.to_owned(),
        held_at: LogTime(1),
        expires_at: LogTime(end),
        state,
    };
    let open = |recipient: &str, end: u64| hold(recipient, end, HoldState::Open);
    let found = |batch: &mut LedgerBatch<'_>| {
        let ends = |batch: &mut LedgerBatch<'_>, number: u32, until: u64| {
            let EndsFound { ended, next } =
                batch.hold_ends(number, LogTime(0), LogTime(until), 9).unwrap();
            (ended, next.map(|next| next.0))
        };
        let ends = [ends(batch, 1, 5), ends(batch, 1, 20), ends(batch, 2, 100), ends(batch, 3, 9)];
        let of_ann = batch.open_holds_of(1, "ann", LogTime(10), 9).unwrap();
        let first = batch.first_hold_end(LogTime(5)).unwrap().map(|end| (end.at.0, end.hold_id));
        (ends, of_ann, first)
    };

    let mut batch = begin();
    batch.put_hold(1, id(1), &open("ann", 10), None).unwrap();
    batch.put_hold(1, id(2), &open("ann", 20), None).unwrap();
    batch.put_hold(2, id(3), &open("", 30), None).unwrap();
    let all = ([(0, Some(10)), (2, None), (1, None), (0, None)], vec![id(2)], Some((10, id(1))));
    assert_eq!(found(&mut batch), all);
    storage.write(batch.finish().0).unwrap();
    let mut batch = begin();
    assert_eq!(found(&mut batch), all);

    let confirmed = HoldState::Confirmed { at: LogTime(2), request_id: id(9), sequence: 1 };
    let released = HoldState::Released { at: LogTime(3), request_id: id(9) };
    let confirmed = hold("ann", 10, confirmed);
    batch.put_hold(1, id(1), &confirmed, Some(LogTime(10))).unwrap();
    batch.put_hold(1, id(2), &hold("ann", 20, released), Some(LogTime(20))).unwrap();
    let some = ([(0, None), (0, None), (1, None), (0, None)], vec![], Some((30, id(3))));
    assert_eq!(found(&mut batch), some);
    storage.write(batch.finish().0).unwrap();
    let mut batch = begin();
    assert_eq!(found(&mut batch), some);
    assert_eq!(batch.hold(1, id(1)).unwrap(), Some(confirmed));

    for (at, campaign_number, number) in [(3, 1, 2), (30, 2, 3)] {
        let end = HoldEnd { at: LogTime(at), campaign_number, hold_id: id(number) };
        batch.forget_hold(&end).unwrap();
        assert_eq!(batch.hold(campaign_number, id(number)).unwrap(), None);
    }
    batch.free_coupons(&campaign("a", 1).spec).unwrap();
    let none = ([(0, None), (0, None), (0, None), (0, None)], vec![], None);
    assert_eq!(found(&mut batch), none);
    storage.write(batch.finish().0).unwrap();
    assert_eq!(found(&mut begin()), none);
    let rows = storage.db().iterator_cf(storage.state(), rocksdb::IteratorMode::Start);
    assert_eq!(rows.count(), 0);
}

/// Before a batch is written, and after.
#[test]
fn imported_codes_are_found_and_taken_once() {
    let dir = tempfile::tempdir().unwrap();
    let storage = Storage::open(dir.path()).unwrap();
    let keys = StateKeys::new(ShardId::new(1).unwrap(), 0);
    let begin = || LedgerBatch::new(&storage, keys, Digest::default()).unwrap();
    let import_id = RequestId::from_bytes(&[7; 16]).unwrap();
    let code = |sequence| ImportedCode { sequence, import: 1, line: 10 + sequence };
    let import = |next_line| CodeImport { number: 1, next_line, imported: 2 };
    let mut batch = begin();
    for (sequence, text) in [(1, "GIFT-1"), (2, "GIFT-2")] {
        batch.put_imported_code(1, text, &code(sequence)).unwrap();
        batch.put_code_import(1, import_id, &import(sequence)).unwrap();
        assert_eq!(batch.code_import(1, import_id).unwrap(), Some(import(sequence)));
    }
    assert_eq!(batch.imported_code(1, "GIFT-2").unwrap(), Some(code(2)));
    assert_eq!(batch.take_code(1, 1).unwrap(), "GIFT-1");
    assert!(batch.take_code(1, 1).is_err(), "it was taken");
    storage.write(batch.finish().0).unwrap();

    let mut batch = begin();
    assert_eq!(batch.code_import(1, import_id).unwrap(), Some(import(2)));
    assert_eq!(batch.imported_code(1, "GIFT-1").unwrap(), Some(code(1)), "it is still found");
    for (number, text) in [(1, "GIFT"), (1, "GIFT-11"), (2, "GIFT-1")] {
        assert_eq!(batch.imported_code(number, text).unwrap(), None);
    }
    assert!(batch.take_code(1, 1).is_err(), "it was taken");
    assert_eq!(batch.take_code(1, 2).unwrap(), "GIFT-2");
    batch.free_coupons(&campaign("a", 1).spec).unwrap();
    storage.write(batch.finish().0).unwrap();
    let rows = storage.db().iterator_cf(storage.state(), rocksdb::IteratorMode::Start);
    assert_eq!(rows.count(), 0);
}
