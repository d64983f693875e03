//! The hash ring: which shard owns a campaign.
//!
//! Each shard has [`POINTS_PER_SHARD`] points on a circle of 2^64 places. A campaign hashes to a
//! place and belongs to the shard of the next point at or after it. A shard that is added takes
//! over the campaigns just before its points and moves no other.
//!
//! Placement is a format, pinned by a golden test. A place is SipHash-2-4 (Aumasson and Bernstein,
//! 2012; the hasher of crate `hashring`, with its fixed key of zeros) of these bytes:
//!
//! ```text
//! point     0x00  shard id, 4 bytes big-endian  number of the point, 4 bytes big-endian
//! campaign  0x01  name of the campaign, tenant/id, as ASCII
//! ```
//!
//! They are written by hand because `Hash` of the standard types is no format: it adds lengths in
//! the width and byte order of the machine.
//!
//! Caveats. The key of the hash is public, so a caller that names campaigns at will can put many on
//! one shard; campaigns are made by operators. The ring spreads campaigns, not load: one hot
//! campaign is one shard's load whatever the ring does.

use std::collections::BTreeSet;
use std::fmt;
use std::hash::{Hash, Hasher};

use hashring::{DefaultHashBuilder, HashRing};

use crate::ids::{CampaignName, Epoch, ShardId};

/// How many points a shard has. The share of a shard varies by about 1/√points, 9 %; a ring of
/// all 1,023 shards takes 2 MB and 17 steps to search.
pub const POINTS_PER_SHARD: u32 = 128;

/// The shards that own campaigns at one epoch.
///
/// Building one hashes and sorts all points: keep it as long as the epoch lasts.
#[derive(Clone)]
pub struct Ring {
    epoch: Epoch,
    shards: BTreeSet<ShardId>,
    points: HashRing<Point, DefaultHashBuilder>,
}

impl Ring {
    /// The ring of `shards` at `epoch`; `None` if there are no shards. Order and repetitions do
    /// not matter.
    pub fn new(epoch: Epoch, shards: impl IntoIterator<Item = ShardId>) -> Option<Self> {
        let shards: BTreeSet<ShardId> = shards.into_iter().collect();
        if shards.is_empty() {
            return None;
        }
        let mut points = HashRing::new();
        // One call: HashRing sorts all it has at the end of each.
        points.batch_add(shards.iter().flat_map(|&shard| points_of(shard)).collect());
        Some(Self { epoch, shards, points })
    }

    /// The shard that owns `campaign` at this ring's epoch.
    pub fn owner(&self, campaign: &CampaignName) -> ShardId {
        let point = self.points.get(&Place(campaign)).expect("a ring has at least one shard");
        point.shard
    }

    /// The epoch of the shard map that this ring belongs to.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The shards on the ring; at least one.
    pub fn shards(&self) -> &BTreeSet<ShardId> {
        &self.shards
    }
}

/// Leaves out the points: there are up to 130,944.
impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ring")
            .field("epoch", &self.epoch)
            .field("shards", &self.shards)
            .finish_non_exhaustive()
    }
}

/// A point of a shard on the ring.
#[derive(Clone, Copy)]
struct Point {
    shard: ShardId,
    number: u32,
}

fn points_of(shard: ShardId) -> impl Iterator<Item = Point> {
    (0..POINTS_PER_SHARD).map(move |number| Point { shard, number })
}

impl Hash for Point {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let mut bytes = [0; 9];
        bytes[1..5].copy_from_slice(&self.shard.get().to_be_bytes());
        bytes[5..9].copy_from_slice(&self.number.to_be_bytes());
        state.write(&bytes);
    }
}

/// The place of a campaign on the ring.
struct Place<'a>(&'a CampaignName);

impl Hash for Place<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(&[1]);
        state.write(self.0.as_str().as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use std::hash::BuildHasher;

    use super::*;

    /// Points that coincide would be told apart only by the order of a binary search.
    #[test]
    fn no_two_points_of_any_ring_coincide() {
        let mut places: Vec<u64> = (1..=ShardId::MAX)
            .flat_map(|shard| points_of(ShardId::new(shard).unwrap()))
            .map(|point| DefaultHashBuilder.hash_one(point))
            .collect();
        places.sort_unstable();
        assert!(places.windows(2).all(|pair| pair[0] != pair[1]));
    }

    /// The values come from an independent implementation of SipHash-2-4.
    #[test]
    fn places_are_siphash_of_the_documented_bytes() {
        let point = Point { shard: ShardId::new(258).unwrap(), number: 3 };
        assert_eq!(DefaultHashBuilder.hash_one(point), POINT_258_3);
        let campaign = CampaignName::parse("default/spring-2026").unwrap();
        assert_eq!(DefaultHashBuilder.hash_one(Place(&campaign)), CAMPAIGN_SPRING_2026);
    }

    const POINT_258_3: u64 = 0x91b0_0442_1d44_7a74;
    const CAMPAIGN_SPRING_2026: u64 = 0x5bcd_16cc_a7c8_bd55;
}
