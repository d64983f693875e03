//! Golden bytes of holds: the commands, the rows, and the keys.

use coupon_cluster::{RequestId, ShardId};
use coupon_ledger::{Event, EventKind, Hold, HoldEnd, HoldState, LogTime};
use coupon_node::codec::{event, hold};
use coupon_node::storage::keys::StateKeys;
use coupon_proto::internal as pb;
use pb::command::Operation;
use prost::Message as _;

use crate::{LAYOUT, golden};

const COMMANDS: [&str; 3] = [
    "
    08 01                            | epoch 1
    6a 1c                            | hold_coupon
       0a 01 63                      |    campaign c
       12 03 61 6e 6e                |    recipient ann
       1a 10 11 11 11 11 11 11 11 11 11 11 11 11 11 11 11 11 | request_id
       20 05                         |    ttl_micros 5
    ",
    "
    08 01                            | epoch 1
    72 2f                            | confirm_hold
       0a 01 63                      |    campaign c
       12 10 11 11 11 11 11 11 11 11 11 11 11 11 11 11 11 11 | hold_id
       1a 10 12 12 12 12 12 12 12 12 12 12 12 12 12 12 12 12 | request_id
       22 06  0a 01 61  12 01 31     |    metadata: a to 1
    ",
    "
    08 01                            | epoch 1
    7a 27                            | release_hold
       0a 01 63                      |    campaign c
       12 10 11 11 11 11 11 11 11 11 11 11 11 11 11 11 11 11 | hold_id
       1a 10 13 13 13 13 13 13 13 13 13 13 13 13 13 13 13 13 | request_id
    ",
];

#[test]
fn commands_for_holds_are_as_ever() {
    let (campaign, hold_id) = (|| "c".to_owned(), || vec![0x11; 16]);
    let operations = [
        Operation::HoldCoupon(pb::HoldCouponCommand {
            campaign: campaign(),
            recipient: "ann".into(),
            request_id: hold_id(),
            ttl_micros: 5,
        }),
        Operation::ConfirmHold(pb::ConfirmHoldCommand {
            campaign: campaign(),
            hold_id: hold_id(),
            request_id: vec![0x12; 16],
            metadata: [("a".to_owned(), "1".to_owned())].into(),
        }),
        Operation::ReleaseHold(pb::ReleaseHoldCommand {
            campaign: campaign(),
            hold_id: hold_id(),
            request_id: vec![0x13; 16],
        }),
    ];
    for (operation, expected) in operations.into_iter().zip(COMMANDS) {
        let found = pb::Command { epoch: 1, operation: Some(operation) }.encode_to_vec();
        golden::check("commands", LAYOUT, &found, expected);
    }
}

/// The values of `H` rows.
const HOLDS: [&str; 3] = [
    "
    0a 03 61 6e 6e                   | recipient ann
    10 d0 0f                         | hold_micros 2,000
    18 b8 17                         | expire_micros 3,000
    ",
    "
    0a 03 61 6e 6e                   | recipient ann
    10 d0 0f                         | hold_micros 2,000
    18 b8 17                         | expire_micros 3,000
    22 17                            | confirmation
       08 c4 13                      |    time_micros 2,500
       12 10 12 12 12 12 12 12 12 12 12 12 12 12 12 12 12 12 | request_id
       18 07                         |    sequence 7
    ",
    "
    0a 03 61 6e 6e                   | recipient ann
    10 d0 0f                         | hold_micros 2,000
    18 b8 17                         | expire_micros 3,000
    2a 15                            | release
       08 c4 13                      |    time_micros 2,500
       12 10 13 13 13 13 13 13 13 13 13 13 13 13 13 13 13 13 | request_id
    ",
];

#[test]
fn holds_are_as_ever() {
    let request_id = |byte: u8| RequestId::from_bytes(&[byte; 16]).unwrap();
    let at = LogTime(2_500);
    let states = [
        HoldState::Open,
        HoldState::Confirmed { at, request_id: request_id(0x12), sequence: 7 },
        HoldState::Released { at, request_id: request_id(0x13) },
    ];
    for (state, expected) in states.into_iter().zip(HOLDS) {
        let (held_at, expires_at) = (LogTime(2_000), LogTime(3_000));
        let hold = Hold { recipient: "ann".into(), held_at, expires_at, state };
        let found = hold::to_pb(&hold).encode_to_vec();
        golden::check("holds", LAYOUT, &found, expected);
        let read = hold::from_pb(pb::HoldRecord::decode(&*found).unwrap());
        assert_eq!(read, Ok(hold));
    }
}

/// The values of `V` rows: a hold is made and released.
const EVENTS: [&str; 2] = [
    "
    08 09                            | log_index 9
    10 d0 0f                         | time_micros 2,000
    1a 10 11 11 11 11 11 11 11 11 11 11 11 11 11 11 11 11 | request_id
    20 07                            | issued 7
    f2 01 1f                         | hold_changed
       0a 10 11 11 11 11 11 11 11 11 11 11 11 11 11 11 11 11 | hold_id
       12 0b                         |    hold
          0a 03 61 6e 6e             |       recipient ann
          10 d0 0f  18 b8 17         |       hold_micros 2,000, expire_micros 3,000
    ",
    "
    08 09  10 c4 13                  | log_index 9, time_micros 2,500
    1a 10 13 13 13 13 13 13 13 13 13 13 13 13 13 13 13 13 | request_id
    20 07                            | issued 7
    f2 01 36                         | hold_changed
       0a 10 11 11 11 11 11 11 11 11 11 11 11 11 11 11 11 11 | hold_id
       12 22                         |    hold
          0a 03 61 6e 6e             |       recipient ann
          10 d0 0f  18 b8 17         |       hold_micros 2,000, expire_micros 3,000
          2a 15                      |       release
             08 c4 13                |          time_micros 2,500
             12 10 13 13 13 13 13 13 13 13 13 13 13 13 13 13 13 13 | request_id
    ",
];

#[test]
fn events_of_holds_are_as_ever() {
    let request_id = |byte: u8| RequestId::from_bytes(&[byte; 16]).unwrap();
    let hold_id = request_id(0x11);
    let at = LogTime(2_500);
    let released = HoldState::Released { at, request_id: request_id(0x13) };
    let events = [(HoldState::Open, LogTime(2_000), hold_id), (released, at, request_id(0x13))];
    for ((state, at, request_id), expected) in events.into_iter().zip(EVENTS) {
        let (held_at, expires_at) = (LogTime(2_000), LogTime(3_000));
        let hold = Hold { recipient: "ann".into(), held_at, expires_at, state };
        let kind = EventKind::HoldChanged { hold_id, hold };
        let found = event::to_pb(&Event { at, request_id, issued: 7, kind }, 9).encode_to_vec();
        golden::check("events", LAYOUT, &found, expected);
    }
}

const KEYS: [&str; 4] = [
    "
    00 00 01 02  00 00 00 03  48     | shard 258, generation 3, H
    00 00 00 05                      | number 5
    11 11 11 11 11 11 11 11 11 11 11 11 11 11 11 11 | hold
    ",
    "
    00 00 01 02  00 00 00 03  46     | F
    00 00 00 00 00 00 0b b8          | end 3,000
    00 00 00 05                      | number 5
    11 11 11 11 11 11 11 11 11 11 11 11 11 11 11 11 | hold
    ",
    "
    00 00 01 02  00 00 00 03  51     | Q
    00 00 00 05                      | number 5
    00 00 00 00 00 00 0b b8          | end 3,000
    11 11 11 11 11 11 11 11 11 11 11 11 11 11 11 11 | hold
    ",
    "
    00 00 01 02  00 00 00 03  4f     | O
    00 00 00 05                      | number 5
    00 00 00 03  61 6e 6e            | length, recipient
    00 00 00 00 00 00 0b b8          | end 3,000
    11 11 11 11 11 11 11 11 11 11 11 11 11 11 11 11 | hold
    ",
];

#[test]
fn keys_of_holds_are_as_ever() {
    let keys = StateKeys::new(ShardId::new(258).unwrap(), 3);
    let hold_id = RequestId::from_bytes(&[0x11; 16]).unwrap();
    let end = HoldEnd { at: LogTime(3_000), campaign_number: 5, hold_id };
    let found = [
        keys.hold(5, &hold_id),
        keys.hold_end(&end),
        keys.hold_end_of_campaign(&end),
        keys.hold_of_recipient("ann", &end),
    ];
    for (found, expected) in found.iter().zip(KEYS) {
        golden::check("keys", LAYOUT, found, expected);
    }
}
