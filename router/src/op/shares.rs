//! How many streams of a kind are under way, and whose they are: one client has its share, and leaves the rest to
//! others.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::answer::error::Fault;

/// Bounds of the streams of a kind.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Number of streams at a time.
    pub(super) all: usize,
    /// Number of streams at a time of one client address.
    pub(super) of_client: usize,
}

/// The streams of a kind that are under way. A cheap clone.
#[derive(Debug, Clone)]
pub(super) struct Shares {
    bounds: Bounds,
    of_clients: Arc<Mutex<HashMap<Option<IpAddr>, usize>>>,
}

/// A stream under way. It counts until it is dropped.
#[derive(Debug)]
pub(super) struct Share {
    shares: Shares,
    client: Option<IpAddr>,
}

impl Shares {
    /// No stream yet.
    pub(super) fn new(bounds: Bounds) -> Self {
        Self { bounds, of_clients: Arc::default() }
    }

    /// Begins a stream of a client.
    ///
    /// # Errors
    /// [`Fault::Overloaded`] when there are as many as there may be, of all clients or of this one.
    pub(super) fn begin(&self, client: Option<IpAddr>) -> Result<Share, Fault> {
        let mut of_clients = self.of_clients.lock();
        let all: usize = of_clients.values().sum();
        let of_client = of_clients.get(&client).copied().unwrap_or(0);
        if all >= self.bounds.all || of_client >= self.bounds.of_client {
            return Err(Fault::Overloaded);
        }
        of_clients.insert(client, of_client + 1);
        Ok(Share { shares: self.clone(), client })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut of_clients = self.shares.of_clients.lock();
        if let Some(of_client) = of_clients.get_mut(&self.client) {
            *of_client -= 1;
            if *of_client == 0 {
                of_clients.remove(&self.client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn client(number: u8) -> Option<IpAddr> {
        Some(Ipv4Addr::new(192, 0, 2, number).into())
    }

    #[test]
    fn a_client_has_its_share_and_leaves_the_rest_to_others() {
        let shares = Shares::new(Bounds { all: 8, of_client: 2 });
        let mut under_way = Vec::new();
        for number in 1..=4 {
            for _ in 0..2 {
                under_way.push(shares.begin(client(number)).unwrap());
            }
            assert!(matches!(shares.begin(client(number)), Err(Fault::Overloaded)));
        }
        assert!(matches!(shares.begin(client(5)), Err(Fault::Overloaded)), "all are taken");
        drop(under_way.pop());
        let other = shares.begin(client(5)).unwrap();
        assert!(shares.begin(client(4)).is_err(), "all are taken again");
        drop((under_way, other));
        assert!(shares.of_clients.lock().is_empty());
    }
}
