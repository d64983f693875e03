//! Ports for processes that must come back under the same address.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};

/// The ports that are given. They lie below those that Linux gives to outgoing connections
/// (from 32,768 on): while a node is dead, its peers' attempts to reach it must not be given its own
/// port, where they would meet themselves.
const FIRST: u16 = 10_000;
const COUNT: u16 = 22_000;

/// How far apart the processes of a test run begin to look, so that they rarely look at the same port.
const STRIDE: u32 = 61;

static TAKEN: AtomicU16 = AtomicU16::new(0);

/// A port of 127.0.0.1 that nobody listens on.
pub(crate) fn free() -> u16 {
    let start = std::process::id().wrapping_mul(STRIDE);
    loop {
        let next = u32::from(TAKEN.fetch_add(1, Ordering::Relaxed));
        let offset = start.wrapping_add(next) % u32::from(COUNT);
        let port = FIRST + u16::try_from(offset).expect("it is smaller than COUNT");
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
