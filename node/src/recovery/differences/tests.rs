//! What is lost by keeping one of two histories, by example.

use coupon_cluster::{NodeId, ReplicaId, ShardId};
use coupon_ledger::{Ledger, LogTime};
use coupon_proto::internal as pb;
use pb::command::Operation;
use prost::Message as _;
use rocksdb::WriteBatch;

use super::*;
use crate::codec::command;
use crate::recovery::{Directory, ReplicaFound};
use crate::storage::Storage;
use crate::storage::keys::{LogKeys, StateKeys};
use crate::storage::ledger::{LedgerBatch, running_digest};

const REPLICA: ReplicaId = ReplicaId(1);

fn shard() -> ShardId {
    ShardId::new(1).unwrap()
}

/// An entry that asks for one operation.
fn entry(operation: Operation) -> pb::CommandEntry {
    let command = pb::Command { epoch: 1, operation: Some(operation) };
    let commands = vec![command.encode_to_vec().into()];
    pb::CommandEntry { log_time_micros: 1, commands, ..Default::default() }
}

fn request_id(number: u8) -> Vec<u8> {
    vec![number; 16]
}

fn code() -> Option<pb::CodeNumber> {
    let tenant = "default".to_owned();
    Some(pb::CodeNumber { shard_id: 1, key_id: 1, counter: 0, tenant, code_scheme: None })
}

fn redeem(request: u8) -> Operation {
    let (code, request_id, order_ref) = (code(), request_id(request), "A-1".to_owned());
    Operation::RedeemCoupon(pb::RedeemCouponCommand {
        code,
        request_id,
        order_ref,
        campaign_code: None,
    })
}

fn reverse(request: u8) -> Operation {
    let (code, request_id) = (code(), request_id(request));
    Operation::ReverseRedemption(pb::ReverseRedemptionCommand {
        code,
        request_id,
        campaign_code: None,
    })
}

fn rename(request: u8) -> Operation {
    Operation::UpdateCampaign(Box::new(pb::UpdateCampaignCommand {
        campaign: "default/spring".to_owned(),
        request_id: request_id(request),
        display_name: Some("Spring again".to_owned()),
        ..Default::default()
    }))
}

fn hold(request: u8, ttl_micros: u64) -> Operation {
    let (campaign, request_id) = ("default/spring".to_owned(), request_id(request));
    let recipient = "ann".to_owned();
    Operation::HoldCoupon(pb::HoldCouponCommand { campaign, request_id, recipient, ttl_micros })
}

fn confirm(hold: u8, request: u8) -> Operation {
    let (campaign, hold_id) = ("default/spring".to_owned(), request_id(hold));
    Operation::ConfirmHold(pb::ConfirmHoldCommand {
        campaign,
        hold_id,
        request_id: request_id(request),
        ..Default::default()
    })
}

fn release(hold: u8, request: u8) -> Operation {
    let (campaign, hold_id) = ("default/spring".to_owned(), request_id(hold));
    let request_id = request_id(request);
    Operation::ReleaseHold(pb::ReleaseHoldCommand { campaign, hold_id, request_id })
}

/// Imports some codes, from a line on.
fn import(request: u8, first_line: u64, codes: &[&str]) -> Operation {
    Operation::ImportCodes(pb::ImportCodesCommand {
        campaign: "default/gifts".to_owned(),
        import_id: request_id(request),
        first_line,
        codes: codes.iter().map(|code| (*code).to_owned()).collect(),
    })
}

/// A campaign with two coupons.
fn base() -> Vec<pb::CommandEntry> {
    let adopt = pb::AdoptRingCommand { epoch: 1, ring_shards: vec![1] };
    let adopt = pb::command_entry::InternalCommand::AdoptRing(adopt);
    let create = pb::CreateCampaignCommand {
        name: "default/spring".to_owned(),
        quota: 9,
        request_id: request_id(1),
        code_key_id: 1,
        ..Default::default()
    };
    let issue = |request| {
        Operation::Issue(pb::IssueCommand {
            campaign: "default/spring".to_owned(),
            request_id: request_id(request),
            ..Default::default()
        })
    };
    let first = pb::CommandEntry {
        log_time_micros: 1,
        internal_command: Some(adopt),
        ..Default::default()
    };
    let operations = [Operation::CreateCampaign(create.into()), issue(2), issue(3)];
    std::iter::once(first).chain(operations.map(entry)).collect()
}

/// A directory whose replica has applied some entries and has others in its log.
fn directory(
    dir: &std::path::Path,
    applied: Vec<pb::CommandEntry>,
    logged: Vec<pb::CommandEntry>,
) -> (Directory, ReplicaFound) {
    let storage = Storage::open(dir).unwrap();
    let keys = StateKeys::new(shard(), 0);
    let applied_index = applied.len() as u64;
    for entry in applied {
        let digest = running_digest(&storage, &keys).unwrap();
        let mut rows = LedgerBatch::new(&storage, keys, digest).unwrap();
        let mut ledger = Ledger::open(shard(), &mut rows).unwrap();
        let log_time = LogTime(entry.log_time_micros);
        ledger.apply(&mut rows, log_time, command::read_entry(entry).unwrap()).unwrap();
        storage.write(rows.finish().0).unwrap();
    }
    let mut log = WriteBatch::default();
    for (index, entry) in (applied_index + 1..).zip(logged) {
        let log_id = Some(pb::LogId { term: 1, leader_replica_id: 1, index });
        let payload = pb::log_entry::Payload::Normal(entry.encode_to_vec().into());
        let row = pb::LogEntry { log_id, payload: Some(payload) }.encode_to_vec();
        log.put_cf(storage.log(), LogKeys::new(shard(), REPLICA).entry(index), row);
    }
    storage.write(log).unwrap();
    let found = ReplicaFound {
        shard: shard(),
        replica: REPLICA,
        term: 1,
        last_log_index: 0,
        applied_index,
        diverged_index: None,
        leader_differed_at: None,
    };
    (Directory::over(storage, NodeId::new(1).unwrap()), found)
}

/// What is lost by keeping one history instead of another, in words.
fn lost(
    (kept, kept_replica): &(Directory, ReplicaFound),
    (given_up, given_up_replica): &(Directory, ReplicaFound),
) -> Vec<String> {
    let kept = History::read(kept, kept_replica).unwrap();
    let given_up = History::read(given_up, given_up_replica).unwrap();
    let mut said = Vec::new();
    differences(&kept, &given_up, |lost| {
        said.push(match lost {
            Lost::Campaign(campaign) => format!("campaign {}", campaign.spec.name.id()),
            Lost::CampaignChange(campaign) => format!("change of {}", campaign.spec.name.id()),
            Lost::Coupon(_, coupon) => format!("coupon {}", coupon.sequence),
            Lost::CouponChange(_, coupon, change) => {
                format!("{} of coupon {}", change.kind.name(), coupon.sequence)
            }
            Lost::Hold(_, id, _) => format!("hold {}", id.as_bytes()[0]),
            Lost::HoldRelease(_, id, _) => format!("release of hold {}", id.as_bytes()[0]),
            Lost::Import(_, id, LostLines { first, last }) => {
                format!("lines {first} to {last} of import {}", id.as_bytes()[0])
            }
        });
        Ok::<_, StorageError>(())
    })
    .unwrap();
    said
}

/// They leave every coupon as it was, so that nothing but the changes differs.
#[test]
fn changes_are_lost_although_nothing_is_different_after_them() {
    let dir = tempfile::tempdir().unwrap();
    let changes = || vec![entry(redeem(4)), entry(reverse(5)), entry(rename(6))];
    let applied = [base(), changes()].concat();
    let histories = [
        directory(&dir.path().join("plain"), base(), Vec::new()),
        directory(&dir.path().join("applied"), applied, Vec::new()),
        directory(&dir.path().join("logged"), base(), changes()),
        directory(&dir.path().join("all logged"), Vec::new(), [base(), changes()].concat()),
    ];
    let [plain, changed @ ..] = &histories;
    for one in changed {
        let expected = ["change of spring", "REDEEM of coupon 1", "REVERSE of coupon 1"];
        assert_eq!(lost(plain, one), expected);
        assert!(lost(one, plain).is_empty());
        for other in changed {
            assert!(lost(one, other).is_empty());
        }
    }
}

#[test]
fn coupons_and_campaigns_are_lost() {
    let dir = tempfile::tempdir().unwrap();
    let whole = directory(&dir.path().join("whole"), base(), Vec::new());
    let mut shorter = base();
    shorter.pop();
    let shorter = directory(&dir.path().join("shorter"), Vec::new(), shorter);
    assert_eq!(lost(&shorter, &whole), ["coupon 2"]);
    let mut empty = base();
    empty.truncate(1);
    let empty = directory(&dir.path().join("empty"), empty, Vec::new());
    assert_eq!(lost(&empty, &whole), ["campaign spring", "coupon 1", "coupon 2"]);
    assert!(lost(&whole, &empty).is_empty());
}

#[test]
fn open_holds_and_releases_are_lost_and_a_confirmed_hold_is_lost_as_its_coupon() {
    let dir = tempfile::tempdir().unwrap();
    let holds = || [4, 5, 6].map(|request| entry(hold(request, 1_000))).to_vec();
    let ends = || vec![entry(confirm(5, 15)), entry(release(6, 16))];
    let held = [base(), holds()].concat();
    let ended = [held.clone(), ends()].concat();
    let none = directory(&dir.path().join("none"), base(), Vec::new());
    let open = directory(&dir.path().join("open"), held, Vec::new());
    let closed = [
        directory(&dir.path().join("applied"), ended.clone(), Vec::new()),
        directory(&dir.path().join("half"), base(), [holds(), ends()].concat()),
        directory(&dir.path().join("logged"), Vec::new(), ended),
    ];
    assert_eq!(lost(&none, &open), ["hold 4", "hold 5", "hold 6"]);
    assert!(lost(&open, &none).is_empty());
    for closed in &closed {
        assert_eq!(lost(&none, closed), ["coupon 3", "hold 4"]);
        assert_eq!(lost(&open, closed), ["coupon 3", "release of hold 6"]);
        assert!(lost(closed, &open).is_empty());
    }
}

/// The history that is kept may have had it, and forgotten it.
#[test]
fn a_hold_that_has_expired_is_not_lost() {
    let dir = tempfile::tempdir().unwrap();
    let held = [base(), vec![entry(hold(4, 1_000))]].concat();
    let held = directory(&dir.path().join("held"), held, Vec::new());
    for (name, log_time, expected) in [("before", 1_000, 1), ("after", 1_001, 0)] {
        let mut later = base();
        later.push(pb::CommandEntry { log_time_micros: log_time, ..entry(rename(6)) });
        let later = directory(&dir.path().join(name), later, Vec::new());
        assert_eq!(lost(&later, &held).len(), expected);
    }
}

#[test]
fn imports_are_lost_from_the_line_on_that_the_other_history_goes_on_with() {
    let dir = tempfile::tempdir().unwrap();
    let create = Operation::CreateCampaign(Box::new(pb::CreateCampaignCommand {
        name: "default/gifts".to_owned(),
        quota: 9,
        request_id: request_id(1),
        code_key_id: 1,
        imported_codes: true,
        ..Default::default()
    }));
    let begun = || [base(), vec![entry(create.clone()), entry(import(7, 1, &["A", "B"]))]].concat();
    let rest = || vec![entry(import(7, 3, &["C"])), entry(import(8, 1, &["D", "A"]))];
    let begun_only = directory(&dir.path().join("begun"), begun(), Vec::new());
    let whole = [
        directory(&dir.path().join("applied"), [begun(), rest()].concat(), Vec::new()),
        directory(&dir.path().join("logged"), begun(), rest()),
    ];
    for whole in &whole {
        let expected = ["lines 3 to 3 of import 7", "lines 1 to 2 of import 8"];
        assert_eq!(lost(&begun_only, whole), expected);
        assert!(lost(whole, &begun_only).is_empty());
    }
}

/// But for coupons that the history which is kept cannot have deleted, since it never had as many.
#[test]
fn what_the_history_that_is_kept_deleted_is_not_lost() {
    let dir = tempfile::tempdir().unwrap();
    let campaign = || "default/spring".to_owned();
    let end = pb::EndCampaignCommand { campaign: campaign(), request_id: request_id(4) };
    let archive = pb::ArchiveCampaignCommand { campaign: campaign(), request_id: request_id(5) };
    let delete = pb::DeleteCampaignCommand { campaign: campaign(), request_id: request_id(6) };
    let deletion = || {
        let operations = [
            Operation::EndCampaign(end.clone()),
            Operation::ArchiveCampaign(archive.clone()),
            Operation::DeleteCampaign(delete.clone()),
        ];
        operations.map(entry).to_vec()
    };
    let deleted = [
        directory(&dir.path().join("applied"), [base(), deletion()].concat(), Vec::new()),
        directory(&dir.path().join("logged"), base(), deletion()),
    ];
    let issue = Operation::Issue(pb::IssueCommand {
        campaign: campaign(),
        request_id: request_id(9),
        ..Default::default()
    });
    let plain = directory(&dir.path().join("plain"), base(), Vec::new());
    let changes = vec![entry(redeem(7)), entry(rename(8)), entry(issue)];
    let changed = directory(&dir.path().join("changed"), base(), changes);
    for deleted in &deleted {
        assert!(lost(deleted, &plain).is_empty());
        assert_eq!(lost(deleted, &changed), ["coupon 3"]);
        assert_eq!(lost(&plain, deleted), ["change of spring"]);
    }
}
