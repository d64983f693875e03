//! Golden bytes of what is done with coupons: the commands, and the rows.

use coupon_cluster::RequestId;
use coupon_ledger::{CouponChange, CouponChangeKind, CouponHistory, Event, EventKind, LogTime};
use coupon_node::codec::{coupon_history, event};
use coupon_proto::internal as pb;
use pb::command::Operation;
use prost::Message as _;

use crate::{LAYOUT, golden};

const REDEEM: &str = "
    08 01                            | epoch 1
    52 29                            | redeem_coupon
       0a 12                         |    code
          08 82 02                   |       shard_id 258
          10 01                      |       key_id 1
          18 80 80 04                |       counter 65,536
          22 07 64 65 66 61 75 6c 74 | tenant default
       12 10 11 11 11 11 11 11 11 11 11 11 11 11 11 11 11 11 | request_id
       1a 01 41                      |    order_ref A
";

const REVERSE: &str = "
    08 01                            | epoch 1
    5a 26                            | reverse_redemption
       0a 12                         |    code
          08 82 02  10 01  18 80 80 04  22 07 64 65 66 61 75 6c 74 |
       12 10 11 11 11 11 11 11 11 11 11 11 11 11 11 11 11 11 | request_id
";

const VOID: &str = "
    08 01                            | epoch 1
    62 2b                            | void_coupon
       0a 12                         |    code
          08 82 02  10 01  18 80 80 04  22 07 64 65 66 61 75 6c 74 |
       12 10 11 11 11 11 11 11 11 11 11 11 11 11 11 11 11 11 | request_id
       1a 01 78                      |    reason x
       20 01                         |    return_quota
";

#[test]
fn commands_for_coupons_are_as_ever() {
    let code = Some(pb::CodeNumber {
        shard_id: 258,
        key_id: 1,
        counter: 65_536,
        tenant: "default".into(),
        code_scheme: None,
    });
    let request_id = vec![0x11; 16];
    let redeem = pb::RedeemCouponCommand {
        code: code.clone(),
        request_id: request_id.clone(),
        order_ref: "A".into(),
        campaign_code: None,
    };
    let reverse = pb::ReverseRedemptionCommand {
        code: code.clone(),
        request_id: request_id.clone(),
        campaign_code: None,
    };
    let void = pb::VoidCouponCommand {
        code,
        request_id,
        reason: "x".into(),
        return_quota: true,
        campaign_code: None,
    };
    for (operation, expected) in [
        (Operation::RedeemCoupon(redeem), REDEEM),
        (Operation::ReverseRedemption(reverse), REVERSE),
        (Operation::VoidCoupon(void), VOID),
    ] {
        let command = pb::Command { epoch: 1, operation: Some(operation) };
        golden::check("commands", LAYOUT, &command.encode_to_vec(), expected);
    }
}

/// The value of an `E` row.
const HISTORY: &str = "
    0a 1c                            | changes
       0a 10 11 11 11 11 11 11 11 11 11 11 11 11 11 11 11 11 | request_id
       10 d0 0f                      |    time_micros 2,000
       1a 03  0a 01 41               |    redemption: order_ref A
       30 05                         |    revision 5
    0a 19                            | changes
       0a 10 12 12 12 12 12 12 12 12 12 12 12 12 12 12 12 12 | request_id
       10 b8 17                      |    time_micros 3,000
       22 00                         |    reversal
       30 06                         |    revision 6
    0a 1e                            | changes
       0a 10 13 13 13 13 13 13 13 13 13 13 13 13 13 13 13 13 | request_id
       10 a0 1f                      |    time_micros 4,000
       2a 05  0a 01 78  10 01        |    voiding: reason x, quota_returned
       30 07                         |    revision 7
";

#[test]
fn what_was_done_with_a_coupon_is_as_ever() {
    let kinds = [
        CouponChangeKind::Redeem { order_ref: "A".into() },
        CouponChangeKind::Reverse,
        CouponChangeKind::Void { reason: "x".into(), return_quota: true },
    ];
    let changes = kinds.into_iter().zip(1..).map(|(kind, number): (_, u8)| CouponChange {
        request_id: RequestId::from_bytes(&[0x10 + number; 16]).unwrap(),
        at: LogTime(1_000 * (1 + u64::from(number))),
        revision: 4 + u64::from(number),
        kind,
    });
    let history = CouponHistory { changes: changes.collect() };
    let found = coupon_history::to_pb(&history).encode_to_vec();
    golden::check("histories of coupons", LAYOUT, &found, HISTORY);
    let read = coupon_history::from_pb(pb::CouponHistory::decode(&*found).unwrap());
    assert_eq!(read, Ok(history));
}

/// The values of `V` rows: a coupon is voided, a campaign is ended.
const EVENTS: [&str; 2] = [
    "
    08 09                            | log_index 9
    10 d0 0f                         | time_micros 2,000
    1a 10 11 11 11 11 11 11 11 11 11 11 11 11 11 11 11 11 | request_id
    20 07                            | issued 7
    a2 01 0b                         | coupon_changed
       08 05                         |    sequence 5
       12 07                         |    change
          2a 05  0a 01 78  10 01     |       voiding: reason x, quota_returned
    ",
    "
    08 09  10 d0 0f                  | log_index 9, time_micros 2,000
    1a 10 11 11 11 11 11 11 11 11 11 11 11 11 11 11 11 11 | request_id
    20 07                            | issued 7
    60 04                            | campaign_changed: ended
    ",
];

#[test]
fn events_are_as_ever() {
    let kind = CouponChangeKind::Void { reason: "x".into(), return_quota: true };
    let kinds = [EventKind::CouponChanged { sequence: 5, kind }, EventKind::CampaignEnded];
    for (kind, expected) in kinds.into_iter().zip(EVENTS) {
        let request_id = RequestId::from_bytes(&[0x11; 16]).unwrap();
        let happened = Event { at: LogTime(2_000), request_id, issued: 7, kind };
        let found = event::to_pb(&happened, 9).encode_to_vec();
        golden::check("events", LAYOUT, &found, expected);
    }
}
