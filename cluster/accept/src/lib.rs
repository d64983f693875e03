//! Accepts connections, for nodes and routers alike, before anything is known of who is at the other end.
//!
//! Every connection takes a descriptor, and descriptors are few. So the connections are counted, and a client that has
//! said nothing yet makes room for one that comes later: whoever opens connections and is silent locks nobody out.
//!
//! Deliberately absent: protocols. [`HttpVersion`] looks at the first bytes, and leaves them unread.

mod acceptor;
mod version;

pub use acceptor::{Acceptor, Place, descriptors};
pub use version::HttpVersion;
