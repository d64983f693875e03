//! What travels with every call inside a cluster: whom the call means, and who answers.
//!
//! An address says where a node was, not which node listens there now. So every call names the
//! cluster, the node and the store that it means, in three headers, and every answer names the node
//! that gives it, in three others. A node refuses calls that mean another one; a caller takes no
//! answer of another one for data. Streams are named once, when they are opened: a stream never
//! outlives its connection, nor a connection the process that accepted it.
//!
//! ```text
//! caller → AddressedChannel ──── coupon-to-cluster, -node, -store ────► AnswererLayer → services
//!        ◄── checks the names ──────── coupon-cluster, -node, -store ◄──
//! ```
//!
//! Caveat: names are no proof. They find mistakes, such as a port or a directory that went to another
//! cluster, not attackers.

mod addressed;
mod answerer;
mod identity;
mod mismatch;

pub use addressed::{Addressed, AddressedChannel};
pub use answerer::{Answerer, AnswererLayer, Answering};
pub use identity::{Addressee, IdentityError, NodeIdentity};
pub use mismatch::{Mismatch, Reason};
