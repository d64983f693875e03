//! Connections to routers, used in turn. Any router serves any call, so a call without an answer goes to the
//! next one.

use std::sync::Arc;

use tonic::transport::Channel;

/// Connections, at least one, and the one whose turn it is. Connections that follow one another should lead
/// to different routers. A cheap clone; each clone has a turn of its own.
#[derive(Clone, Debug)]
pub struct Channels {
    all: Arc<[Channel]>,
    turn: usize,
}

impl Channels {
    /// Begins with the first connection.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn new(all: Vec<Channel>) -> Self {
        assert!(!all.is_empty(), "there is a router");
        Self { all: all.into(), turn: 0 }
    }

    /// The same connections, beginning with one of them. Any number will do; it counts around.
    #[must_use]
    pub fn starting_at(&self, turn: usize) -> Self {
        Self { all: Arc::clone(&self.all), turn: turn % self.all.len() }
    }

    /// The connection whose turn it is.
    #[must_use]
    pub fn current(&self) -> Channel {
        self.all[self.turn].clone()
    }

    /// The number of that connection, from 0.
    #[must_use]
    pub fn turn(&self) -> usize {
        self.turn
    }

    /// Gives the turn to the next connection.
    pub fn advance(&mut self) {
        self.turn = (self.turn + 1) % self.all.len();
    }
}
