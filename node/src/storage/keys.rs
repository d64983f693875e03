//! The whole keyspace, on one page. All numbers are big-endian, so that keys sort as numbers do.
//!
//! | family | key | value |
//! |---|---|---|
//! | `log` | shard `u32`, replica `u64`, index `u64` | `LogEntry` |
//! | `meta` | shard `u32`, replica `u64`, `V` | `Vote` |
//! | `meta` | shard `u32`, replica `u64`, `P` | `LogId` of the last purged entry |
//! | `meta` | shard `u32`, replica `u64`, `G` | generation of the state, `u32` |
//! | `meta` | shard `u32`, replica `u64`, `D` | `DivergedRecord`: the replica was stopped for good |
//! | `meta` | `MAP` | the newest `ShardMap` the node knows |
//! | `meta` | `STORE` | the store id of the directory, a UUID as text |
//! | `state` | *prefix* `A` | `AppliedRecord` |
//! | `state` | *prefix* `B` block `u64` | `BlockRecord` |
//! | `state` | *prefix* `C` name of the campaign, tenant/id | `CampaignRecord` without counters |
//! | `state` | *prefix* `E` number `u32`, sequence `u64` | `CouponHistory` (of coupons that were changed) |
//! | `state` | *prefix* `F` end `u64`, number `u32`, hold 16 bytes | empty (holds that became no coupon) |
//! | `state` | *prefix* `H` number `u32`, hold 16 bytes | `HoldRecord` |
//! | `coupons` | *prefix* `I` number `u32`, sequence of the first `u64` | `CouponRow` (issued coupons) |
//! | `state` | *prefix* `J` number `u32`, import 16 bytes | `CodeImportRecord` |
//! | `state` | *prefix* `K` number `u32` | `CampaignNumberRecord` |
//! | `state` | *prefix* `L` number `u32`, code | `ImportedCodeRecord` |
//! | `state` | *prefix* `M` | `ShardMap` (meta shard only) |
//! | `state` | *prefix* `N` number `u32` | `CampaignCounters` |
//! | `state` | *prefix* `O` number `u32`, length `u32`, recipient, end `u64`, hold 16 bytes | empty (holds neither confirmed nor released, with a recipient) |
//! | `state` | *prefix* `P` number `u32`, place `u64` | an imported code that no coupon has |
//! | `state` | *prefix* `Q` number `u32`, end `u64`, hold 16 bytes | empty (holds neither confirmed nor released) |
//! | `state` | *prefix* `S` | `ShardRecord` |
//! | `state` | *prefix* `T` | `TermStarts` |
//! | `state` | *prefix* `V` number `u32`, revision `u64` | `EventRecord` |
//!
//! *prefix* is shard `u32`, generation `u32`: a snapshot is installed under a new generation, which
//! becomes the replica's state in one write. Tags are stable for ever; a new table takes a new tag.
//!
//! `node/FORMATS.md` says what stands in the values, and has all other formats.

mod codes;

use coupon_cluster::{CampaignName, ReplicaId, RequestId, ShardId, TenantId};
use coupon_ledger::{HoldEnd, LogTime};

/// Which state of a shard: grows with every installed snapshot.
pub type Generation = u32;

/// The key of the newest shard map the node knows. Shorter than the keys of replicas.
pub const KNOWN_MAP: &[u8] = b"MAP";

/// The key of the id of the store that the database is part of. Shorter than the keys of replicas.
pub const STORE_ID: &[u8] = b"STORE";

const VOTE: u8 = b'V';
const PURGED: u8 = b'P';
const GENERATION: u8 = b'G';
const DIVERGED: u8 = b'D';

pub(super) const APPLIED: u8 = b'A';
const BLOCK: u8 = b'B';
const CAMPAIGN: u8 = b'C';
const COUPON_HISTORY: u8 = b'E';
const HOLD_END: u8 = b'F';
const HOLD: u8 = b'H';
const COUPON: u8 = b'I';
const CAMPAIGN_NUMBER: u8 = b'K';
const SHARD_MAP: u8 = b'M';
pub(super) const COUNTERS: u8 = b'N';
const HOLD_OF_RECIPIENT: u8 = b'O';
const HOLD_END_OF_CAMPAIGN: u8 = b'Q';
pub(super) const SHARD: u8 = b'S';
pub(super) const TERMS: u8 = b'T';
const EVENT: u8 = b'V';

/// How many bytes of a state key are prefix.
pub const PREFIX_LEN: usize = 8;

/// The keys of one replica in the families `log` and `meta`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogKeys([u8; 12]);

impl LogKeys {
    /// The keys of `replica` of `shard`.
    pub fn new(shard: ShardId, replica: ReplicaId) -> Self {
        let mut bytes = [0; 12];
        bytes[..4].copy_from_slice(&shard.get().to_be_bytes());
        bytes[4..].copy_from_slice(&replica.0.to_be_bytes());
        Self(bytes)
    }

    /// The shard.
    pub fn shard_id(&self) -> ShardId {
        let [a, b, c, d, ..] = self.0;
        ShardId::new(u32::from_be_bytes([a, b, c, d])).expect("it was made of one")
    }

    /// The replica.
    pub fn replica_id(&self) -> ReplicaId {
        let [_, _, _, _, a, b, c, d, e, f, g, h] = self.0;
        ReplicaId(u64::from_be_bytes([a, b, c, d, e, f, g, h]))
    }

    /// The key of the log entry at `index`.
    pub fn entry(&self, index: u64) -> [u8; 20] {
        let mut key = [0; 20];
        key[..12].copy_from_slice(&self.0);
        key[12..].copy_from_slice(&index.to_be_bytes());
        key
    }

    /// The index in a key that [`LogKeys::entry`] made; `None` for any other key.
    pub fn index_of(&self, key: &[u8]) -> Option<u64> {
        let index = key.strip_prefix(&self.0[..])?;
        Some(u64::from_be_bytes(index.try_into().ok()?))
    }

    fn meta(&self, tag: u8) -> [u8; 13] {
        let mut key = [0; 13];
        key[..12].copy_from_slice(&self.0);
        key[12] = tag;
        key
    }

    /// The key of the vote.
    pub fn vote(&self) -> [u8; 13] {
        self.meta(VOTE)
    }

    /// The key of the last purged log id.
    pub fn purged(&self) -> [u8; 13] {
        self.meta(PURGED)
    }

    /// The key of the record of why the replica was stopped for good.
    pub fn diverged(&self) -> [u8; 13] {
        self.meta(DIVERGED)
    }

    /// The key of the generation of the state.
    pub fn generation(&self) -> [u8; 13] {
        self.meta(GENERATION)
    }
}

/// The keys of one generation of a shard's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StateKeys([u8; PREFIX_LEN]);

impl StateKeys {
    /// The keys of `generation` of `shard`.
    pub fn new(shard: ShardId, generation: Generation) -> Self {
        let mut bytes = [0; PREFIX_LEN];
        bytes[..4].copy_from_slice(&shard.get().to_be_bytes());
        bytes[4..].copy_from_slice(&generation.to_be_bytes());
        Self(bytes)
    }

    /// The shard.
    pub fn shard_id(&self) -> ShardId {
        let [a, b, c, d, ..] = self.0;
        ShardId::new(u32::from_be_bytes([a, b, c, d])).expect("it was made of one")
    }

    /// The generation.
    pub fn generation(&self) -> Generation {
        let [_, _, _, _, a, b, c, d] = self.0;
        Generation::from_be_bytes([a, b, c, d])
    }

    /// The prefix of all keys of this generation.
    pub fn prefix(&self) -> &[u8; PREFIX_LEN] {
        &self.0
    }

    /// The first key after all keys of this generation.
    pub fn end(&self) -> [u8; PREFIX_LEN] {
        u64::from_be_bytes(self.0).saturating_add(1).to_be_bytes()
    }

    /// The key whose part after the prefix is `suffix`.
    pub fn with_suffix(&self, suffix: &[u8]) -> Vec<u8> {
        let mut key = Vec::with_capacity(PREFIX_LEN + suffix.len());
        key.extend_from_slice(&self.0);
        key.extend_from_slice(suffix);
        key
    }

    fn table(&self, tag: u8, room: usize) -> Vec<u8> {
        let mut key = Vec::with_capacity(PREFIX_LEN + 1 + room);
        key.extend_from_slice(&self.0);
        key.push(tag);
        key
    }

    /// The key of the applied record.
    pub fn applied(&self) -> Vec<u8> {
        self.table(APPLIED, 0)
    }

    /// The key of the record of which leaders wrote the history.
    pub fn terms(&self) -> Vec<u8> {
        self.table(TERMS, 0)
    }

    /// The key of the shard map.
    pub fn shard_map(&self) -> Vec<u8> {
        self.table(SHARD_MAP, 0)
    }

    /// The key of the shard record.
    pub fn shard(&self) -> Vec<u8> {
        self.table(SHARD, 0)
    }

    /// The key of a block of code counters.
    pub fn block(&self, block: u64) -> Vec<u8> {
        let mut key = self.table(BLOCK, 8);
        key.extend_from_slice(&block.to_be_bytes());
        key
    }

    /// The key of a campaign.
    pub fn campaign(&self, name: &CampaignName) -> Vec<u8> {
        let mut key = self.campaigns();
        key.extend_from_slice(name.as_str().as_bytes());
        key
    }

    /// The prefix of all campaigns.
    pub fn campaigns(&self) -> Vec<u8> {
        self.table(CAMPAIGN, 128)
    }

    /// The prefix of the campaigns of a tenant.
    pub fn campaigns_of(&self, tenant: &TenantId) -> Vec<u8> {
        let mut key = self.campaigns();
        key.extend_from_slice(tenant.as_str().as_bytes());
        key.push(b'/');
        key
    }

    /// The key of the row that leads from a campaign's number to its name.
    pub fn campaign_number(&self, number: u32) -> Vec<u8> {
        let mut key = self.table(CAMPAIGN_NUMBER, 4);
        key.extend_from_slice(&number.to_be_bytes());
        key
    }

    /// The key of a campaign's counters.
    pub fn counters(&self, number: u32) -> Vec<u8> {
        let mut key = self.table(COUNTERS, 4);
        key.extend_from_slice(&number.to_be_bytes());
        key
    }

    /// The prefix of all coupons of a campaign.
    pub fn coupons(&self, number: u32) -> Vec<u8> {
        let mut key = self.table(COUPON, 12);
        key.extend_from_slice(&number.to_be_bytes());
        key
    }

    /// The key of a run of coupons, by the sequence number of the first.
    pub fn coupon(&self, number: u32, sequence: u64) -> Vec<u8> {
        let mut key = self.coupons(number);
        key.extend_from_slice(&sequence.to_be_bytes());
        key
    }

    /// The prefix of the histories of all coupons of a campaign.
    pub fn coupon_histories(&self, number: u32) -> Vec<u8> {
        let mut key = self.table(COUPON_HISTORY, 12);
        key.extend_from_slice(&number.to_be_bytes());
        key
    }

    /// The key of what was done with a coupon.
    pub fn coupon_history(&self, number: u32, sequence: u64) -> Vec<u8> {
        let mut key = self.coupon_histories(number);
        key.extend_from_slice(&sequence.to_be_bytes());
        key
    }

    /// The prefix of all events of a campaign.
    pub fn events(&self, number: u32) -> Vec<u8> {
        let mut key = self.table(EVENT, 12);
        key.extend_from_slice(&number.to_be_bytes());
        key
    }

    /// The key of the event that made a revision of a campaign.
    pub fn event(&self, number: u32, revision: u64) -> Vec<u8> {
        let mut key = self.events(number);
        key.extend_from_slice(&revision.to_be_bytes());
        key
    }

    /// The prefix of the holds of a campaign.
    pub fn holds(&self, number: u32) -> Vec<u8> {
        let mut key = self.table(HOLD, 20);
        key.extend_from_slice(&number.to_be_bytes());
        key
    }

    /// The key of a hold.
    pub fn hold(&self, number: u32, hold_id: &RequestId) -> Vec<u8> {
        let mut key = self.holds(number);
        key.extend_from_slice(hold_id.as_bytes());
        key
    }

    /// The key by which the holds of a shard are ordered by their ends.
    pub fn hold_end(&self, end: &HoldEnd) -> Vec<u8> {
        let mut key = self.hold_ends_from(end.at);
        key.extend_from_slice(&end.campaign_number.to_be_bytes());
        key.extend_from_slice(end.hold_id.as_bytes());
        key
    }

    /// The first key that [`hold_end`](Self::hold_end) can make of a hold that ends at `at` or later.
    pub fn hold_ends_from(&self, at: LogTime) -> Vec<u8> {
        let mut key = self.hold_ends();
        key.extend_from_slice(&at.0.to_be_bytes());
        key
    }

    /// The prefix of the keys that [`hold_end`](Self::hold_end) makes.
    pub fn hold_ends(&self) -> Vec<u8> {
        self.table(HOLD_END, 28)
    }

    /// The hold whose key [`hold_end`](Self::hold_end) made; `None` for any other key.
    pub fn hold_end_of(&self, key: &[u8]) -> Option<HoldEnd> {
        let (at, rest) = key.strip_prefix(self.hold_ends().as_slice())?.split_first_chunk()?;
        let (number, hold_id) = rest.split_first_chunk()?;
        let at = LogTime(u64::from_be_bytes(*at));
        let campaign_number = u32::from_be_bytes(*number);
        Some(HoldEnd { at, campaign_number, hold_id: RequestId::from_bytes(hold_id).ok()? })
    }

    /// The key by which the holds of a campaign are ordered by their ends.
    pub fn hold_end_of_campaign(&self, end: &HoldEnd) -> Vec<u8> {
        let mut key = self.hold_ends_of_campaign_from(end.campaign_number, end.at);
        key.extend_from_slice(end.hold_id.as_bytes());
        key
    }

    /// The first key that [`hold_end_of_campaign`](Self::hold_end_of_campaign) can make of a hold that ends at `at` or
    /// later.
    pub fn hold_ends_of_campaign_from(&self, number: u32, at: LogTime) -> Vec<u8> {
        let mut key = self.hold_ends_of_campaign(number);
        key.extend_from_slice(&at.0.to_be_bytes());
        key
    }

    /// The prefix of the keys that [`hold_end_of_campaign`](Self::hold_end_of_campaign) makes.
    pub fn hold_ends_of_campaign(&self, number: u32) -> Vec<u8> {
        let mut key = self.table(HOLD_END_OF_CAMPAIGN, 28);
        key.extend_from_slice(&number.to_be_bytes());
        key
    }

    /// The key by which the holds of a recipient in a campaign are ordered by their ends.
    pub fn hold_of_recipient(&self, recipient: &str, end: &HoldEnd) -> Vec<u8> {
        let mut key = self.holds_of_recipient_from(end.campaign_number, recipient, end.at);
        key.extend_from_slice(end.hold_id.as_bytes());
        key
    }

    /// The first key that [`hold_of_recipient`](Self::hold_of_recipient) can make of a hold that ends at `at` or later.
    pub fn holds_of_recipient_from(&self, number: u32, recipient: &str, at: LogTime) -> Vec<u8> {
        let mut key = self.holds_of_recipient(number, recipient);
        key.extend_from_slice(&at.0.to_be_bytes());
        key
    }

    /// The prefix of the keys that [`hold_of_recipient`](Self::hold_of_recipient) makes for a recipient.
    pub fn holds_of_recipient(&self, number: u32, recipient: &str) -> Vec<u8> {
        let mut key = self.holds_of_recipients(number);
        let length = u32::try_from(recipient.len()).unwrap_or(u32::MAX);
        key.extend_from_slice(&length.to_be_bytes());
        key.extend_from_slice(recipient.as_bytes());
        key
    }

    /// The prefix of the keys that [`hold_of_recipient`](Self::hold_of_recipient) makes for a campaign.
    pub fn holds_of_recipients(&self, number: u32) -> Vec<u8> {
        let mut key = self.table(HOLD_OF_RECIPIENT, 64);
        key.extend_from_slice(&number.to_be_bytes());
        key
    }

    /// The prefix of all coupons.
    pub fn all_coupons(&self) -> Vec<u8> {
        self.table(COUPON, 0)
    }

    /// Whether a key is that of a run of coupons.
    pub(super) fn is_coupon_row(key: &[u8]) -> bool {
        key.get(PREFIX_LEN) == Some(&COUPON)
    }

    /// The prefix of the counters of all campaigns.
    pub fn all_counters(&self) -> Vec<u8> {
        self.table(COUNTERS, 0)
    }
}

/// The number in the last eight bytes of a key.
pub fn trailing_u64(key: &[u8]) -> Option<u64> {
    let start = key.len().checked_sub(8)?;
    Some(u64::from_be_bytes(key[start..].try_into().ok()?))
}

/// The end of a hold in a key of an index of holds: the time and the id in its last 24 bytes.
pub fn trailing_hold(key: &[u8]) -> Option<(LogTime, RequestId)> {
    let (rest, hold_id) = key.split_last_chunk::<16>()?;
    let at = LogTime(trailing_u64(rest)?);
    Some((at, RequestId::from_bytes(hold_id).ok()?))
}

/// The key after all keys that begin with `prefix`; `None` when there is none.
pub fn after_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return Some(end);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn log_keys_round_trip_and_sort_by_index(a: u64, b: u64, shard in 0..=1023u32, replica: u64) {
            let keys = LogKeys::new(ShardId::new(shard).unwrap(), ReplicaId(replica));
            prop_assert_eq!(keys.index_of(&keys.entry(a)), Some(a));
            prop_assert_eq!(keys.entry(a).cmp(&keys.entry(b)), a.cmp(&b));
        }

        #[test]
        fn state_keys_stay_inside_their_generation(
            shard in 0..=1023u32, generation: u32, number: u32, sequence: u64,
        ) {
            let keys = StateKeys::new(ShardId::new(shard).unwrap(), generation);
            let hold_id = RequestId::from_bytes(&[7; 16]).unwrap();
            let end = HoldEnd { at: LogTime(sequence), campaign_number: number, hold_id };
            prop_assert_eq!(keys.hold_end_of(&keys.hold_end(&end)), Some(end));
            for key in [keys.hold_end_of_campaign(&end), keys.hold_of_recipient("ann", &end)] {
                prop_assert_eq!(trailing_hold(&key), Some((end.at, hold_id)));
            }
            for key in [
                keys.applied(), keys.shard(), keys.shard_map(), keys.terms(), keys.block(sequence),
                keys.campaign_number(number), keys.counters(number), keys.coupon(number, sequence),
                keys.coupon_history(number, sequence), keys.event(number, sequence),
                keys.all_counters(),
                keys.hold(number, &end.hold_id), keys.hold_end(&end), keys.hold_end_of_campaign(&end),
                keys.hold_of_recipient("ann", &end), keys.code_import(number, &hold_id),
                keys.imported_code(number, "GIFT-1"), keys.pending_code(number, sequence),
            ] {
                prop_assert!(key.starts_with(keys.prefix()));
                prop_assert!(key.as_slice() < keys.end().as_slice());
            }
            prop_assert_eq!(trailing_u64(&keys.coupon(number, sequence)), Some(sequence));
        }
    }

    #[test]
    fn the_key_after_a_prefix_is_the_smallest_one_outside() {
        assert_eq!(after_prefix(&[1, 2]), Some(vec![1, 3]));
        assert_eq!(after_prefix(&[1, 255]), Some(vec![2]));
        assert_eq!(after_prefix(&[255, 255]), None);
    }
}
