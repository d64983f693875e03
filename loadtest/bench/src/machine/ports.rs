//! Ports for nodes, which must be known before they start.

use std::net::TcpListener;

use anyhow::Context as _;

/// First port that is tried. All lie below those that Linux gives to outgoing connections.
const FIRST: u16 = 10_000;

/// Number of ports that are tried.
const COUNT: u16 = 22_000;

/// Distance between the first ports of two runs with neighbouring process ids.
const STRIDE: u32 = 61;

/// Ports of 127.0.0.1 that are not in use.
pub(crate) fn free(count: usize) -> anyhow::Result<Vec<u16>> {
    let start = std::process::id().wrapping_mul(STRIDE) % u32::from(COUNT);
    let all = (FIRST..FIRST + COUNT).cycle().skip(usize::try_from(start)?);
    let unused = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    let found: Vec<u16> = all.take(usize::from(COUNT)).filter(unused).take(count).collect();
    (found.len() == count).then_some(found).context("there are not enough free ports")
}
