//! A listener with a bound on its connections.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustix::process::{Resource, getrlimit};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

/// The pause after a connection could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Interval between log lines about clients that are turned away.
const LOG_INTERVAL: Duration = Duration::from_secs(10);
/// What counts as the limit of descriptors where there is none.
const UNLIMITED: usize = 1 << 20;

/// How many files and connections this process may have open.
#[must_use]
pub fn descriptors() -> usize {
    let limit = getrlimit(Resource::Nofile).current;
    limit.map_or(UNLIMITED, |limit| usize::try_from(limit).unwrap_or(UNLIMITED))
}

/// Accepts connections, up to a number.
#[derive(Debug)]
pub struct Acceptor {
    listener: TcpListener,
    connections_max: usize,
    places: Arc<Mutex<Places>>,
}

#[derive(Debug, Default)]
struct Places {
    /// How many connections there are.
    open: usize,
    /// Those whose clients have said nothing yet, the oldest first.
    silent: BTreeMap<u64, Arc<Notify>>,
    accepted: u64,
    turned_away: u64,
    logged: Option<Instant>,
}

/// The place of a connection among those that there may be. Dropping it makes room.
#[derive(Debug)]
pub struct Place {
    number: u64,
    places: Arc<Mutex<Places>>,
    revoked: Arc<Notify>,
    has_spoken: AtomicBool,
}

impl Acceptor {
    /// Accepts at most `connections_max` connections at a time.
    #[must_use]
    pub fn new(listener: TcpListener, connections_max: usize) -> Self {
        Self { listener, connections_max, places: Arc::default() }
    }

    /// The next connection, and its place. Clients beyond the bound are turned away, unless one that is silent makes
    /// room. May be cancelled.
    pub async fn accept(&self) -> (TcpStream, Place) {
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    // It fails only when the client is gone already, which the protocol finds out.
                    let _ = stream.set_nodelay(true);
                    if let Some(place) = self.take_place() {
                        return (stream, place);
                    }
                }
                // Most likely for lack of descriptors: the connection stays in the queue, and retrying at once would
                // keep the thread busy.
                Err(error) => {
                    if !self.places.lock().make_room() {
                        tracing::warn!(%error, "a connection was not accepted");
                    }
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn take_place(&self) -> Option<Place> {
        let mut places = self.places.lock();
        if places.open >= self.connections_max && !places.make_room() {
            places.turn_away(self.connections_max);
            return None;
        }
        let (number, revoked) = (places.accepted, Arc::new(Notify::new()));
        places.accepted += 1;
        places.open += 1;
        places.silent.insert(number, Arc::clone(&revoked));
        let places = Arc::clone(&self.places);
        Some(Place { number, places, revoked, has_spoken: AtomicBool::new(false) })
    }
}

impl Places {
    /// Has the connection closed that has been silent for longest. False if none is silent.
    fn make_room(&mut self) -> bool {
        let oldest = self.silent.pop_first();
        oldest.map(|(_, revoked)| revoked.notify_one()).is_some()
    }

    fn turn_away(&mut self, connections_max: usize) {
        self.turned_away += 1;
        if self.logged.is_none_or(|logged| logged.elapsed() >= LOG_INTERVAL) {
            self.logged = Some(Instant::now());
            let turned_away = self.turned_away;
            tracing::warn!(
                connections_max,
                turned_away,
                "too many connections: clients are turned away"
            );
        }
    }
}

impl Place {
    /// Counts the connections from the first one.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Notes that the client has said something that makes sense: its connection makes room for no other one.
    pub fn note_spoken(&self) {
        if !self.has_spoken.swap(true, Ordering::Relaxed) {
            self.places.lock().silent.remove(&self.number);
        }
    }

    /// Waits until the connection is to be closed, since it is silent and another one needs its place.
    pub async fn revoked(&self) {
        self.revoked.notified().await;
        if self.has_spoken.load(Ordering::Relaxed) {
            // It spoke at the last moment.
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut places = self.places.lock();
        places.open -= 1;
        places.silent.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn acceptor(connections_max: usize) -> (Acceptor, std::net::SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        (Acceptor::new(listener, connections_max), address)
    }

    #[tokio::test]
    async fn the_client_that_has_been_silent_for_longest_makes_room() {
        let (acceptor, address) = acceptor(2).await;
        let mut clients = Vec::new();
        let mut places = Vec::new();
        for _ in 0..2 {
            clients.push(TcpStream::connect(address).await.unwrap());
            places.push(acceptor.accept().await);
        }
        places[0].1.note_spoken();
        clients.push(TcpStream::connect(address).await.unwrap());
        let (_stream, third) = acceptor.accept().await;
        places[1].1.revoked().await;
        third.note_spoken();
        drop(places.pop());
        // Both have spoken: the next one is turned away, until one of them leaves.
        clients.push(TcpStream::connect(address).await.unwrap());
        let waiting = acceptor.accept();
        tokio::select! {
            _ = waiting => panic!("there is no room"),
            read = clients[3].readable() => read.unwrap(),
        }
        assert_eq!(clients[3].try_read(&mut [0]).unwrap(), 0, "it was turned away");
        drop(third);
        clients.push(TcpStream::connect(address).await.unwrap());
        acceptor.accept().await;
    }
}
