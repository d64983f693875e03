//! Names the node that every call inside a cluster is for, and the node that answers.
//!
//! An address says where a node was, not which node listens there now. So every call names the
//! cluster, the node and the store that it is for, in three headers, and every answer names the
//! node that gives it, in three others. A node refuses calls for another node; a caller accepts no
//! data from another node. Streams are named once, when they are opened: a stream never outlives
//! its connection, and a connection never outlives the process that accepted it.
//!
//! ```text
//! caller → AddressedChannel ──── coupon-to-cluster, -node, -store ────► AnswererLayer → services
//!        ◄── checks the names ──────── coupon-cluster, -node, -store ◄──
//! ```
//!
//! Caveat: names are no proof. They catch mistakes, such as a port or a directory that went to another
//! cluster, but not attackers.

mod addressed;
mod answerer;
mod mismatch;
mod names;

pub use addressed::{Addressed, AddressedChannel};
pub use answerer::{Answerer, AnswererLayer, Answering};
pub use mismatch::{Mismatch, Reason};
pub use names::{Addressee, IdentityError};
