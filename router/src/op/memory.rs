//! The bytes that requests hold although the router cannot work on them yet, or their answers wait for their callers: a
//! caller holds them up for as long as it likes, so they are bounded, for each connection and in all.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Maximum number of such bytes of one connection: eight of the largest batches.
const CONNECTION_BYTES_MAX: usize = 16 << 20;

/// Maximum number of such bytes of all connections.
const ALL_BYTES_MAX: usize = 128 << 20;

/// Counts the bytes of one connection, and of all. A cheap clone. Found in the extensions of requests.
#[derive(Debug, Clone, Default)]
pub(crate) struct RequestMemory {
    all: Arc<AtomicUsize>,
    connection: Arc<AtomicUsize>,
}

/// What one request holds, until it is dropped.
#[derive(Debug)]
pub(crate) struct Occupied {
    bytes: usize,
    of: RequestMemory,
}

impl RequestMemory {
    /// The same for another connection.
    pub(crate) fn of_connection(&self) -> Self {
        Self { all: Arc::clone(&self.all), connection: Arc::default() }
    }

    /// For a request that holds nothing yet.
    pub(crate) fn occupy(&self) -> Occupied {
        Occupied { bytes: 0, of: self.clone() }
    }
}

impl Occupied {
    /// How many bytes the request holds.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Changes how many bytes the request holds. False if it holds more than before and that is beyond a bound: it is to
    /// be refused.
    pub(crate) fn set(&mut self, bytes: usize) -> bool {
        let Some(more) = bytes.checked_sub(self.bytes) else {
            self.release(self.bytes - bytes);
            return true;
        };
        if more == 0 {
            return true;
        }
        self.bytes = bytes;
        let all = self.of.all.fetch_add(more, Ordering::Relaxed) + more;
        let connection = self.of.connection.fetch_add(more, Ordering::Relaxed) + more;
        all <= ALL_BYTES_MAX && connection <= CONNECTION_BYTES_MAX
    }

    fn release(&mut self, bytes: usize) {
        self.bytes -= bytes;
        self.of.all.fetch_sub(bytes, Ordering::Relaxed);
        self.of.connection.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Drop for Occupied {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.release(self.bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_of_a_connection_and_of_all_are_bounded() {
        let first = RequestMemory::default();
        let mut full = first.occupy();
        assert!(full.set(CONNECTION_BYTES_MAX));
        assert!(!first.occupy().set(1));
        let others: Vec<RequestMemory> =
            (1..ALL_BYTES_MAX / CONNECTION_BYTES_MAX).map(|_| first.of_connection()).collect();
        let mut shares: Vec<Occupied> = others.iter().map(RequestMemory::occupy).collect();
        assert!(shares.iter_mut().all(|share| share.set(CONNECTION_BYTES_MAX)));
        let late = first.of_connection();
        assert!(!late.occupy().set(1), "there is room in the connection, and none in all");
        assert!(full.set(CONNECTION_BYTES_MAX - 1));
        assert!(late.occupy().set(1));
        drop((full, shares));
        let mut again = others[0].occupy();
        assert!(again.set(CONNECTION_BYTES_MAX), "what is dropped holds nothing");
    }
}
