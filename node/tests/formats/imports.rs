//! Golden bytes of imported codes: the commands, the rows, and the keys.

use coupon_cluster::{RequestId, ShardId};
use coupon_ledger::{CodeImport, Coupon, ImportedCode, LogTime};
use coupon_node::codec::{imported_code, row};
use coupon_node::storage::keys::StateKeys;
use coupon_proto::internal as pb;
use pb::command::Operation;
use prost::Message as _;

use crate::{LAYOUT, golden};

const COMMANDS: [&str; 2] = [
    "
    08 01                            | epoch 1
    82 01 1d                         | import_codes
       0a 01 63                      |    campaign c
       12 10 11 11 11 11 11 11 11 11 11 11 11 11 11 11 11 11 | import_id
       18 05                         |    first_line 5
       22 02 41 31                   |    codes: A1
       22 00                         |           a line without a code
    ",
    "
    08 01                            | epoch 1
    52 21                            | redeem_coupon
       12 10 12 12 12 12 12 12 12 12 12 12 12 12 12 12 12 12 | request_id
       22 0d                         |    campaign_code
          0a 01 63                   |       campaign c
          12 02 41 31                |       text A1
          1a 04  08 01  18 07        |       number: shard_id 1, counter 7
    ",
];

#[test]
fn commands_for_imported_codes_are_as_ever() {
    let campaign = || "c".to_owned();
    let number = pb::CodeNumber { shard_id: 1, counter: 7, ..Default::default() };
    let operations = [
        Operation::ImportCodes(pb::ImportCodesCommand {
            campaign: campaign(),
            import_id: vec![0x11; 16],
            first_line: 5,
            codes: vec!["A1".into(), String::new()],
        }),
        Operation::RedeemCoupon(pb::RedeemCouponCommand {
            request_id: vec![0x12; 16],
            campaign_code: Some(Box::new(pb::CampaignCode {
                campaign: campaign(),
                text: "A1".into(),
                number: Some(number),
            })),
            ..Default::default()
        }),
    ];
    for (operation, expected) in operations.into_iter().zip(COMMANDS) {
        let found = pb::Command { epoch: 1, operation: Some(operation) }.encode_to_vec();
        golden::check("commands", LAYOUT, &found, expected);
    }
}

/// The value of an `L` row.
const CODE: &str = "
    08 07                            | sequence 7
    10 02                            | import_number 2
    18 ac 02                         | line 300
";

/// The value of a `J` row.
const IMPORT: &str = "
    08 02                            | number 2
    10 ad 02                         | next_line 301
    18 05                            | imported 5
";

#[test]
fn imported_codes_are_as_ever() {
    let code = ImportedCode { sequence: 7, import: 2, line: 300 };
    let found = imported_code::to_pb(&code);
    golden::check("imported codes", LAYOUT, &found.encode_to_vec(), CODE);
    assert_eq!(imported_code::from_pb(&found), code);
    let import = CodeImport { number: 2, next_line: 301, imported: 5 };
    let found = imported_code::import_to_pb(&import);
    golden::check("imports", LAYOUT, &found.encode_to_vec(), IMPORT);
    assert_eq!(imported_code::import_from_pb(&found), import);
}

/// A coupon with an imported code, in its row.
const COUPON: &str = "
    08 09                            | counter 9
    1a 10 11 11 11 11 11 11 11 11 11 11 11 11 11 11 11 11 | request_id
    20 d0 0f                         | issue_micros 2,000
    3a 02 41 31                      | imported_code A1
";

#[test]
fn coupons_with_imported_codes_are_as_ever() {
    let coupon = Coupon {
        counter: 9,
        recipient: String::new(),
        request_id: RequestId::from_bytes(&[0x11; 16]).unwrap(),
        issued_at: LogTime(2_000),
        expires_at: None,
        metadata: std::collections::BTreeMap::new(),
        imported_code: Some("A1".into()),
    };
    let found = row::coupon_to_pb(coupon.clone());
    golden::check("coupons", LAYOUT, &found.encode_to_vec(), COUPON);
    assert_eq!(row::coupon_from_pb(found), Ok(coupon));
}

const KEYS: [&str; 3] = [
    "
    00 00 01 02  00 00 00 03  4a     | shard 258, generation 3, J
    00 00 00 05                      | number 5
    11 11 11 11 11 11 11 11 11 11 11 11 11 11 11 11 | import
    ",
    "
    00 00 01 02  00 00 00 03  4c     | L
    00 00 00 05                      | number 5
    41 31                            | code
    ",
    "
    00 00 01 02  00 00 00 03  50     | P
    00 00 00 05                      | number 5
    00 00 00 00 00 00 00 07          | place 7
    ",
];

#[test]
fn keys_of_imported_codes_are_as_ever() {
    let keys = StateKeys::new(ShardId::new(258).unwrap(), 3);
    let import_id = RequestId::from_bytes(&[0x11; 16]).unwrap();
    let found =
        [keys.code_import(5, &import_id), keys.imported_code(5, "A1"), keys.pending_code(5, 7)];
    for (found, expected) in found.iter().zip(KEYS) {
        golden::check("keys", LAYOUT, found, expected);
    }
}
