//! The headers that name the node a call is for, and the node that answers.
//!
//! Header values are made once for each node, and shared by every call.

use std::sync::Arc;

use coupon_cluster::{NodeId, NodeIdentity};
use http::header::{HeaderMap, HeaderName, HeaderValue};

use crate::mismatch::{Mismatch, Reason};

const TO_CLUSTER: HeaderName = HeaderName::from_static("coupon-to-cluster");
const TO_NODE: HeaderName = HeaderName::from_static("coupon-to-node");
const TO_STORE: HeaderName = HeaderName::from_static("coupon-to-store");
const CLUSTER: HeaderName = HeaderName::from_static("coupon-cluster");
const NODE: HeaderName = HeaderName::from_static("coupon-node");
const STORE: HeaderName = HeaderName::from_static("coupon-store");

/// An id that cannot be a header value: it has characters other than printable ASCII.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the {0} id has characters that a header cannot carry")]
pub struct IdentityError(&'static str);

/// The node that a call is for. A cheap clone.
#[derive(Clone, Debug)]
pub struct Addressee(Arc<Meant>);

#[derive(Debug)]
struct Meant {
    /// `None` if the call names the store but no cluster.
    cluster: Option<HeaderValue>,
    node_id: NodeId,
    node: HeaderValue,
    store: HeaderValue,
}

impl Addressee {
    /// A node of a cluster, with the store that the cluster knows it by.
    ///
    /// # Errors
    /// When an id has characters that no header can carry.
    pub fn new(cluster_id: &str, node_id: NodeId, store_id: &str) -> Result<Self, IdentityError> {
        Self::of(Some(cluster_id), node_id, store_id)
    }

    /// A node that answered, as it named itself.
    ///
    /// # Errors
    /// As [`Addressee::new`].
    pub fn who_answered(identity: &NodeIdentity) -> Result<Self, IdentityError> {
        Self::new(&identity.cluster_id, identity.node_id, &identity.store_id)
    }

    /// A node that may not have joined its cluster yet. Its store id alone identifies it. For calls
    /// that nodes outside of a cluster answer, such as `Identify`.
    ///
    /// # Errors
    /// As [`Addressee::new`].
    pub fn before_joining(node_id: NodeId, store_id: &str) -> Result<Self, IdentityError> {
        Self::of(None, node_id, store_id)
    }

    fn of(
        cluster_id: Option<&str>,
        node_id: NodeId,
        store_id: &str,
    ) -> Result<Self, IdentityError> {
        let cluster = cluster_id.map(|id| value(id, "cluster")).transpose()?;
        let (node, store) = (node_value(node_id), value(store_id, "store")?);
        Ok(Self(Arc::new(Meant { cluster, node_id, node, store })))
    }

    /// Whether this is that store of that node of that cluster.
    pub fn is(&self, cluster_id: &str, node_id: NodeId, store_id: &str) -> bool {
        let meant = &*self.0;
        meant.cluster.as_ref().is_some_and(|cluster| cluster == cluster_id)
            && meant.node_id == node_id
            && meant.store == store_id
    }

    /// Writes it into the headers of a request.
    pub(crate) fn write(&self, headers: &mut HeaderMap) {
        let Meant { cluster, node, store, .. } = &*self.0;
        if let Some(cluster) = cluster {
            headers.insert(TO_CLUSTER, cluster.clone());
        }
        headers.insert(TO_NODE, node.clone());
        headers.insert(TO_STORE, store.clone());
    }

    /// Checks that the headers of an answer name it.
    ///
    /// # Errors
    /// The mismatch, when they name another node or none.
    pub(crate) fn check(&self, headers: &HeaderMap) -> Result<(), Mismatch> {
        let Meant { cluster, node, store, .. } = &*self.0;
        let differs = |name: HeaderName, meant: &HeaderValue| headers.get(name) != Some(meant);
        let reason = if cluster.as_ref().is_some_and(|cluster| differs(CLUSTER, cluster)) {
            Reason::WrongCluster
        } else if differs(NODE, node) {
            Reason::WrongNode
        } else if differs(STORE, store) {
            Reason::WrongStore
        } else {
            return Ok(());
        };
        Err(match named(headers) {
            Some(answerer) => Mismatch { reason, answerer: Some(answerer) },
            None => Mismatch { reason: Reason::Unnamed, answerer: None },
        })
    }
}

/// A node's identity with the headers that name it.
#[derive(Debug)]
pub(crate) struct Named {
    pub(crate) identity: NodeIdentity,
    cluster: HeaderValue,
    node: HeaderValue,
    store: HeaderValue,
}

impl Named {
    /// # Errors
    /// When an id has characters that no header can carry.
    pub(crate) fn new(identity: NodeIdentity) -> Result<Self, IdentityError> {
        let cluster = value(&identity.cluster_id, "cluster")?;
        let node = node_value(identity.node_id);
        let store = value(&identity.store_id, "store")?;
        Ok(Self { identity, cluster, node, store })
    }

    /// Writes it into the headers of an answer.
    pub(crate) fn write(&self, headers: &mut HeaderMap) {
        headers.insert(CLUSTER, self.cluster.clone());
        headers.insert(NODE, self.node.clone());
        headers.insert(STORE, self.store.clone());
    }

    /// Why a request is not for this node; `None` if it is. `complete`: whether the request must
    /// name all three.
    pub(crate) fn refuses(&self, headers: &HeaderMap, complete: bool) -> Option<Reason> {
        let parts = [
            (TO_CLUSTER, &self.cluster, Reason::WrongCluster),
            (TO_NODE, &self.node, Reason::WrongNode),
            (TO_STORE, &self.store, Reason::WrongStore),
        ];
        let mut missing = false;
        for (name, mine, reason) in parts {
            match headers.get(name) {
                Some(meant) if meant == mine => {}
                Some(_) => return Some(reason),
                None => missing = true,
            }
        }
        (missing && complete).then_some(Reason::Unaddressed)
    }
}

/// The node that the headers of an answer name; `None` unless they name it completely.
fn named(headers: &HeaderMap) -> Option<NodeIdentity> {
    let text = |name: HeaderName| headers.get(name)?.to_str().ok();
    Some(NodeIdentity {
        cluster_id: text(CLUSTER)?.to_owned(),
        node_id: NodeId::new(text(NODE)?.parse().ok()?).ok()?,
        store_id: text(STORE)?.to_owned(),
    })
}

fn value(id: &str, what: &'static str) -> Result<HeaderValue, IdentityError> {
    HeaderValue::from_str(id).map_err(|_| IdentityError(what))
}

fn node_value(id: NodeId) -> HeaderValue {
    HeaderValue::from(id.get())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(id: u64) -> NodeId {
        NodeId::new(id).unwrap()
    }

    fn identity(cluster_id: &str, node_id: u64, store_id: &str) -> NodeIdentity {
        let (cluster_id, store_id) = (cluster_id.to_owned(), store_id.to_owned());
        NodeIdentity { cluster_id, node_id: node(node_id), store_id }
    }

    fn request(to: &Addressee) -> HeaderMap {
        let mut headers = HeaderMap::new();
        to.write(&mut headers);
        headers
    }

    fn answer(by: NodeIdentity) -> HeaderMap {
        let mut headers = HeaderMap::new();
        Named::new(by).unwrap().write(&mut headers);
        headers
    }

    #[test]
    fn the_first_difference_is_named_cluster_before_node_before_store() {
        let me = Named::new(identity("c", 1, "s")).unwrap();
        let refused = |cluster, id, store| {
            let to = Addressee::new(cluster, node(id), store).unwrap();
            let answered = answer(me.identity.clone());
            let reason = me.refuses(&request(&to), true);
            assert_eq!(to.check(&answered).err().map(|mismatch| mismatch.reason), reason);
            reason
        };
        assert_eq!(refused("c", 1, "s"), None);
        assert_eq!(refused("d", 2, "t"), Some(Reason::WrongCluster));
        assert_eq!(refused("c", 2, "t"), Some(Reason::WrongNode));
        assert_eq!(refused("c", 1, "t"), Some(Reason::WrongStore));
    }

    #[test]
    fn missing_names_are_refused_unless_optional_and_present_ones_are_always_checked() {
        let me = Named::new(identity("", 1, "s")).unwrap();
        assert_eq!(me.refuses(&HeaderMap::new(), true), Some(Reason::Unaddressed));
        assert_eq!(me.refuses(&HeaderMap::new(), false), None);
        let by_store = |store| request(&Addressee::before_joining(node(1), store).unwrap());
        assert_eq!(me.refuses(&by_store("s"), true), Some(Reason::Unaddressed));
        assert_eq!(me.refuses(&by_store("s"), false), None);
        assert_eq!(me.refuses(&by_store("t"), false), Some(Reason::WrongStore));
    }

    #[test]
    fn an_answer_without_a_complete_name_is_unnamed() {
        let to = Addressee::new("c", node(1), "s").unwrap();
        assert_eq!(to.check(&HeaderMap::new()).unwrap_err().reason, Reason::Unnamed);
        let mut headers = answer(identity("c", 1, "s"));
        assert!(to.check(&headers).is_ok());
        headers.remove(STORE);
        assert_eq!(to.check(&headers).unwrap_err().reason, Reason::Unnamed);
        let stranger = identity("d", 1, "s");
        let mismatch = to.check(&answer(stranger.clone())).unwrap_err();
        assert_eq!(mismatch.answerer, Some(stranger));
    }

    #[test]
    fn ids_that_no_header_can_carry_are_refused() {
        assert!(Addressee::new("a\nb", node(1), "s").is_err());
        assert!(Named::new(identity("c", 1, "쿠\u{7f}")).is_err());
    }
}
