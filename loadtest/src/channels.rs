//! The connections to the routers. Any router serves any call, so that who gets no answer from one
//! asks the next.

use std::sync::Arc;

use tonic::transport::Channel;

/// All connections, at least one, and the one whose turn it is. Those that follow one another lead
/// to different routers, if there are several.
#[derive(Clone, Debug)]
pub(crate) struct Channels {
    all: Arc<[Channel]>,
    turn: usize,
}

impl Channels {
    /// Begins with the first one.
    pub(crate) fn new(all: Vec<Channel>) -> Self {
        assert!(!all.is_empty(), "there is a router");
        Self { all: all.into(), turn: 0 }
    }

    /// The connection whose turn it is.
    pub(crate) fn current(&self) -> Channel {
        self.all[self.turn].clone()
    }

    /// Its number.
    pub(crate) fn turn(&self) -> usize {
        self.turn
    }

    /// Goes on to the next one.
    pub(crate) fn advance(&mut self) {
        self.turn = (self.turn + 1) % self.all.len();
    }
}
