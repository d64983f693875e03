//! Questions to one node.

use std::time::Duration;

use coupon_client::{AddressError, code_name, endpoint};
use coupon_cluster::ShardMap;
use coupon_proto::internal::cluster_service_client::ClusterServiceClient;
use coupon_proto::internal::{IdentifyRequest, WatchShardMapRequest};
use coupon_transport::{Addressed, AddressedChannel, Addressee, IdentityError, Mismatch};
use coupon_wire::map::map_from_pb;
use coupon_wire::{Malformed, node};
use tokio::time::timeout;
use tonic::Status;
use tonic::transport::Channel;

/// Timeout for a node to identify itself, and for it to send a map.
const MAP_TIMEOUT: Duration = Duration::from_secs(3);

/// Why a node did not say what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// The text is no address.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// Nothing listens there.
    #[error("connect to {address}")]
    Connect {
        /// The address.
        address: String,
        /// Why not.
        #[source]
        source: tonic::transport::Error,
    },
    /// It does not answer in time.
    #[error("the node at {0} does not answer")]
    Silent(String),
    /// It is in no cluster.
    #[error("node {node_id} at {address} is in no cluster yet: run coupon cluster init")]
    NoCluster {
        /// The node.
        node_id: u64,
        /// The address.
        address: String,
    },
    /// It belongs to a cluster that has not registered this start of it.
    #[error("the node at {0} is not registered with its cluster yet: its log says why")]
    NotRegistered(String),
    /// It answers with an error.
    #[error("{} ({})", .0.message(), code_name(.0.code()))]
    Refused(Status),
    /// It sends no map.
    #[error("the node at {0} sent no shard map")]
    NoMap(String),
    /// Its answer is malformed.
    #[error("the answer of the node at {address}")]
    Malformed {
        /// The address.
        address: String,
        /// What is wrong with it.
        #[source]
        source: Malformed,
    },
    /// No call can name the node.
    #[error(transparent)]
    Identity(#[from] IdentityError),
}

/// Connects to `host:port` at once, so that a silent peer is told from one that answers wrongly.
///
/// # Errors
/// [`AskError::Address`] and [`AskError::Connect`].
pub async fn connect(address: &str) -> Result<Channel, AskError> {
    let connected = endpoint(address)?.connect().await;
    connected.map_err(|source| AskError::Connect { address: address.to_owned(), source })
}

/// A client of the node at an address, addressed as a member of its cluster.
///
/// # Errors
/// When the node does not answer or is in no cluster.
pub async fn member_at(address: &str) -> Result<ClusterServiceClient<AddressedChannel>, AskError> {
    let channel = connect(address).await?;
    let mut client = ClusterServiceClient::new(channel.clone());
    let answer = timeout(MAP_TIMEOUT, client.identify(IdentifyRequest {})).await;
    let answer = answer.map_err(|_| AskError::Silent(address.to_owned()))?;
    let answer = answer.map_err(AskError::Refused)?.into_inner();
    if answer.cluster_id.is_empty() {
        let (node_id, address) = (answer.node_id, address.to_owned());
        return Err(AskError::NoCluster { node_id, address });
    }
    let identity = node::identity_from_pb(&answer)
        .map_err(|source| AskError::Malformed { address: address.to_owned(), source })?;
    let to = Addressee::who_answered(&identity)?;
    Ok(ClusterServiceClient::new(Addressed::new(channel, to)))
}

/// The shard map that a node knows.
///
/// # Errors
/// As [`member_at`], and when it sends no map.
pub async fn map_of(address: &str) -> Result<ShardMap, AskError> {
    let mut client = member_at(address).await?;
    let first = async {
        let answer = client.watch_shard_map(WatchShardMapRequest {}).await?;
        answer.into_inner().message().await
    };
    let first = timeout(MAP_TIMEOUT, first).await;
    let map = match first.map_err(|_| AskError::Silent(address.to_owned()))? {
        Ok(message) => message.and_then(|message| message.map),
        Err(status) if Mismatch::of(&status).is_some() => {
            return Err(AskError::NotRegistered(address.to_owned()));
        }
        Err(status) => return Err(AskError::Refused(status)),
    };
    let map = map.ok_or_else(|| AskError::NoMap(address.to_owned()))?;
    map_from_pb(map).map_err(|source| AskError::Malformed { address: address.to_owned(), source })
}
