//! Whether the process of a node is gone: whether nothing accepts connections at its address any more.
//!
//! When a node's connections break, replicas of all shards that it led want to know at the same moment. They share a
//! look, since the connections of a look for each of them would be a flood, which a node that is alive might not take.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use coupon_cluster::NodeId;
use futures::future::{BoxFuture, FutureExt as _, Shared};
use futures::stream::{FuturesUnordered, StreamExt as _};
use parking_lot::Mutex;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::Peers;

/// Number of connections that are tried at once. On a bad network one in five gets no answer in time.
const TRIES: usize = 4;
/// How many times it is looked whether a process is gone.
const LOOKS: usize = 5;
/// Time between two looks. A process that has begun to end needs less than all of them.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

type Look = Shared<BoxFuture<'static, bool>>;

/// What is being found out about addresses. Clones share it.
#[derive(Clone, Default)]
pub(super) struct Looks(Arc<Mutex<HashMap<String, Look>>>);

impl Peers {
    /// Whether nothing accepts connections at the address of a node, or soon nothing does: a process that is killed
    /// closes one after the other. `patience` is how long a machine that is there may take to answer.
    pub async fn is_gone(&self, node: NodeId, patience: Duration) -> bool {
        let Some(address) = self.address(node) else { return false };
        let (look, is_new) = self.looks.at(&address, patience);
        // One that was under way may have ended before the process did.
        look.await || (!is_new && self.looks.at(&address, patience).0.await)
    }
}

impl Looks {
    /// The look that is under way at an address, or a new one; and whether it is new.
    fn at(&self, address: &str, patience: Duration) -> (Look, bool) {
        let mut looks = self.0.lock();
        looks.retain(|_, look| look.peek().is_none());
        if let Some(look) = looks.get(address) {
            return (look.clone(), false);
        }
        let looking = tokio::spawn(is_gone(address.to_owned(), patience));
        let look = looking.map(|found| found.unwrap_or(false)).boxed().shared();
        looks.insert(address.to_owned(), look.clone());
        (look, true)
    }
}

async fn is_gone(address: String, patience: Duration) -> bool {
    for _ in 0..LOOKS {
        if refuses(&address, patience).await {
            return true;
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
    false
}

/// Whether nothing accepts connections at an address. False where only this machine is to blame.
async fn refuses(address: &str, patience: Duration) -> bool {
    let mut tries: FuturesUnordered<_> = (0..TRIES).map(|_| TcpStream::connect(address)).collect();
    match timeout(patience, tries.next()).await {
        Ok(Some(Err(error))) => {
            // An error without a number is of the resolver: the name of a container goes with it.
            let named = error.raw_os_error().is_some();
            let refused = [ErrorKind::ConnectionRefused, ErrorKind::HostUnreachable];
            !named || refused.contains(&error.kind())
        }
        Ok(Some(Ok(_)) | None) => false,
        Err(_nothing_heard) => true,
    }
}

#[cfg(test)]
mod tests {
    use coupon_cluster::{Node, ShardMap};
    use futures::future::join_all;
    use tokio::net::TcpListener;
    use tokio::sync::watch;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);
    /// How many replicas want to know at once.
    const REPLICAS: usize = 200;

    #[tokio::test]
    async fn an_address_is_gone_when_nothing_listens_there() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let node = NodeId::new(1).unwrap();
        let known = Node { address, store_id: "store".to_owned(), start_id: "start".to_owned() };
        let map = ShardMap { nodes: [(node, known)].into(), ..ShardMap::default() };
        let peers = Peers::new(watch::channel(Arc::new(map)).1);
        assert!(!peers.is_gone(NodeId::new(2).unwrap(), PATIENCE).await, "it has no address");

        let accepted = tokio::spawn(async move {
            let mut accepted = 0;
            // The kernel accepts, even for a paused process.
            tokio::time::sleep(LOOK_INTERVAL).await;
            while let Ok(Ok(_)) = timeout(LOOK_INTERVAL * 10, listener.accept()).await {
                accepted += 1;
            }
            (accepted, listener)
        });
        let looks = || join_all((0..REPLICAS).map(|_| peers.is_gone(node, PATIENCE)));
        assert_eq!(looks().await, [false; REPLICAS]);
        let (accepted, listener) = accepted.await.unwrap();
        assert!(accepted <= 2 * TRIES * LOOKS, "{accepted} connections");
        drop(listener);
        assert_eq!(looks().await, [true; REPLICAS]);
    }
}
