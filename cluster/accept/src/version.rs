//! Which HTTP a client speaks, by its first bytes.

use std::io;
use std::time::Duration;

use rustix::net::{RecvFlags, recv};
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// What a client of HTTP/2 begins with (RFC 9113, section 3.4). All of it is waited for, since hyper would wait for the
/// rest without end.
const HTTP2: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A version of HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HttpVersion {
    /// HTTP/1.0 or HTTP/1.1.
    Http1,
    /// HTTP/2, without an upgrade.
    Http2,
}

impl HttpVersion {
    /// The version that a client speaks. What it has sent stays unread. `None` when it says nothing for `patience`, or
    /// is gone.
    pub async fn of(stream: &TcpStream, patience: Duration) -> Option<Self> {
        let seen = stream.async_io(Interest::READABLE, || {
            let mut first = [0; HTTP2.len()];
            let (_, seen) = recv(stream, &mut first, RecvFlags::PEEK)?;
            let first = &first[..seen];
            if first.is_empty() {
                return Ok(None);
            }
            if !HTTP2.starts_with(first) {
                return Ok(Some(Self::Http1));
            }
            // Too few to tell wait for more.
            (seen == HTTP2.len())
                .then_some(Some(Self::Http2))
                .ok_or(io::ErrorKind::WouldBlock.into())
        });
        timeout(patience, seen).await.ok()?.ok()?
    }
}
