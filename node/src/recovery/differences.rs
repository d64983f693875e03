//! The losses of keeping one history instead of another.

use coupon_cluster::{CampaignName, RequestId};
use coupon_ledger::{Campaign, CampaignSpec, CouponChange, Hold, HoldState, IssuedCoupon};

use super::History;
use crate::storage::StorageError;

/// Something that one history holds and the other does not.
#[derive(Debug)]
pub enum Lost<'a> {
    /// A campaign, with all of its coupons, which follow.
    Campaign(&'a Campaign),
    /// What was changed about a campaign that both have; this is how one history leaves it.
    CampaignChange(&'a Campaign),
    /// A coupon. The other history has none under its sequence number, or another one.
    Coupon(&'a CampaignName, &'a IssuedCoupon),
    /// A change of a coupon that both have.
    CouponChange(&'a CampaignName, &'a IssuedCoupon, &'a CouponChange),
    /// An open hold. One that was confirmed is lost as its coupon.
    Hold(&'a CampaignName, RequestId, &'a Hold),
    /// That a hold was released which both have.
    HoldRelease(&'a CampaignName, RequestId, &'a Hold),
}

/// Calls `lost` for everything that `given_up` holds and `kept` does not. Both are of one shard. Memory stays
/// flat, whatever the number of coupons.
///
/// # Errors
///
/// When the disk fails, or `lost` does.
pub fn differences<E: From<StorageError>>(
    kept: &History<'_>,
    given_up: &History<'_>,
    mut lost: impl FnMut(Lost<'_>) -> Result<(), E>,
) -> Result<(), E> {
    // A hold that has expired by then has given its quota back, and the other history may have forgotten it.
    let now = kept.log_time().max(given_up.log_time());
    for (id, campaign) in given_up.campaigns() {
        let same = kept.campaigns().get(id).filter(|same| is_same(&same.spec, &campaign.spec));
        match same {
            None => lost(Lost::Campaign(campaign))?,
            Some(same) if !has_changes_of(&same.spec, &campaign.spec) => {
                lost(Lost::CampaignChange(campaign))?;
            }
            Some(_) => {}
        }
        // Sequence numbers begin at 1 and have no gaps, so both can be walked side by side.
        let mut others = same.map(|same| kept.coupons(same)).into_iter().flatten();
        for found in given_up.coupons(campaign) {
            let (coupon, history) = found?;
            let other = others.next().transpose()?;
            let Some((_, kept)) = other.filter(|(other, _)| is_same_coupon(other, &coupon)) else {
                lost(Lost::Coupon(id, &coupon))?;
                continue;
            };
            for change in history.changes.iter().filter(|change| !kept.changes.contains(change)) {
                lost(Lost::CouponChange(id, &coupon, change))?;
            }
        }
        for found in given_up.holds(campaign) {
            let (hold_id, hold) = found?;
            let other = same.map_or(Ok(None), |same| kept.hold(same, &hold_id))?;
            let other = other.filter(|other| is_same_hold(other, &hold));
            match (hold.state, other) {
                (HoldState::Open, None) if now < hold.expires_at => {
                    lost(Lost::Hold(id, hold_id, &hold))?;
                }
                (HoldState::Released { .. }, Some(other)) if other.state != hold.state => {
                    lost(Lost::HoldRelease(id, hold_id, &hold))?;
                }
                (HoldState::Open | HoldState::Released { .. } | HoldState::Confirmed { .. }, _) => {
                }
            }
        }
    }
    Ok(())
}

/// Whether two campaigns with the same id were created by the same entry of the log.
fn is_same(one: &CampaignSpec, other: &CampaignSpec) -> bool {
    let creation = |spec: &CampaignSpec| (spec.number, spec.created, spec.request_id);
    creation(one) == creation(other)
}

/// Whether a campaign that is kept is as one that is given up, or was so before it was changed further.
fn has_changes_of(kept: &CampaignSpec, given_up: &CampaignSpec) -> bool {
    let is_earlier = given_up.changes.len() < kept.changes.len();
    kept == given_up || (is_earlier && kept.changes.starts_with(&given_up.changes))
}

fn is_same_coupon(one: &IssuedCoupon, other: &IssuedCoupon) -> bool {
    IssuedCoupon { state: one.state.clone(), ..other.clone() } == *one
}

fn is_same_hold(one: &Hold, other: &Hold) -> bool {
    Hold { state: one.state, ..other.clone() } == *one
}

#[cfg(test)]
mod tests {
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
}
