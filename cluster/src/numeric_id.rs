//! Ids of campaigns as numbers.

use crate::ShardId;

/// A campaign's id as a number, for callers that know no other ids.
///
/// As an integer it is the shard times 2^32, plus the number. So it is positive, leads to the campaign, and is unique in
/// the cluster for ever: a shard never gives a number twice. Below 2^42 it is exact in JavaScript too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NumericId {
    /// The shard that created the campaign.
    pub shard: ShardId,
    /// The campaign's number in it.
    pub number: u32,
}

impl NumericId {
    /// The id that an integer is; `None` of one that no campaign has.
    pub fn from_i64(id: i64) -> Option<Self> {
        let shard = ShardId::new(u32::try_from(id >> 32).ok()?).ok()?;
        let number = u32::try_from(id & i64::from(u32::MAX)).ok()?;
        (shard != ShardId::META).then_some(Self { shard, number })
    }

    /// The id as an integer.
    pub fn to_i64(self) -> i64 {
        i64::from(self.shard.get()) << 32 | i64::from(self.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_its_shard_and_its_number() {
        for (shard, number, id) in [
            (1, 0, 4_294_967_296),
            (1, u32::MAX, 8_589_934_591),
            (2, 0, 8_589_934_592),
            (1_023, u32::MAX, (1 << 42) - 1),
        ] {
            let parts = NumericId { shard: ShardId::new(shard).unwrap(), number };
            assert_eq!(parts.to_i64(), id);
            assert_eq!(NumericId::from_i64(id), Some(parts));
        }
        for none in [i64::MIN, -1, 0, 1, 4_294_967_295, 1 << 42, i64::MAX] {
            assert_eq!(NumericId::from_i64(none), None, "{none}");
        }
    }
}
