//! What every member of a cluster computes identically: ids, hash ring, shard map, campaign states and
//! entity tags, coupon codes.
//!
//! Routers, nodes and tools decide for themselves where a campaign lives, which replicas a node
//! hosts and what a code means. They agree without asking each other because they run the same
//! functions of the same inputs. Three things follow.
//!
//! - **What is here is a format.** The placement of campaigns ([`Ring`]) and the meaning of codes
//!   ([`CodeCipher`]) are pinned by golden tests: a release that changes one of their results
//!   would look for campaigns on the wrong shards and refuse coupons that people hold.
//! - **What is not here, on purpose:** async code, I/O, clocks, randomness, unordered maps. Random
//!   bytes (a cluster's id, the secret of its codes) are made elsewhere and come in as data.
//! - **Refusals are values.** [`ShardMap::apply`] is run by every replica of the meta shard. It
//!   never panics over a command, and a refused command leaves the map as it was.
//!
//! The types know nothing of the wire: `coupon-wire` converts them from and to protobuf.

mod campaign_etag;
mod campaign_state;
mod code;
mod identity;
mod ids;
mod map;
mod numeric_id;
mod ring;

pub use campaign_etag::campaign_etag;
pub use campaign_state::{CampaignLifecycle, CampaignState};
pub use code::{
    COUNTER_LIMIT, Code, CodeCipher, CodeError, CodeFormat, CodeKey, CodeOrigin, CodePrefix,
    CodePrefixError, CodeProfile, CodeScheme, EncodeError, PREFIX_LEN_MAX, PREFIX_SYMBOLS_MAX,
    SECRET_LEN,
};
pub use identity::NodeIdentity;
pub use ids::{
    CampaignName, Epoch, IdError, KeyId, NodeId, ReplicaId, RequestId, ShardId, TenantId,
};
pub use map::{
    GenesisError, GenesisSpec, MapFault, MetaCommand, MetaRefusal, Node, Origin, Replica,
    ReplicaRole, RestoreSpec, ShardMap, StateDigest,
};
pub use numeric_id::NumericId;
pub use ring::{POINTS_PER_SHARD, Ring};
