//! HTTP/1.1 as it is written, for clients that have no library, and for those that misbehave.

use coupon_router::RouterHandle;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A connection to a router.
pub struct Http1 {
    stream: TcpStream,
    unread: Vec<u8>,
}

/// An answer as a whole.
#[derive(Debug)]
pub struct Answered {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Http1 {
    pub async fn connect(router: &RouterHandle) -> Self {
        let stream = TcpStream::connect(router.local_addr()).await.expect("the router listens");
        Self { stream, unread: Vec::new() }
    }

    pub async fn send(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).await.expect("the connection is open");
    }

    /// Calls a method of `coupon.v1` in the JSON of Connect, with more lines of header.
    pub async fn call(&mut self, method: &str, headers: &str, json: &str) -> Answered {
        self.post(&format!("coupon.v1.{method}"), headers, json).await
    }

    /// Calls a method of any package in the same way.
    pub async fn post(&mut self, method: &str, headers: &str, json: &str) -> Answered {
        let bytes = json.len();
        let request = format!(
            "POST /{method} HTTP/1.1\r\nHost: router\r\nContent-Type: application/json\r\n\
             Content-Length: {bytes}\r\n{headers}\r\n{json}"
        );
        self.send(&request).await;
        self.answer().await.expect("there is an answer")
    }

    pub async fn get(&mut self, path: &str) -> Answered {
        self.send(&format!("GET {path} HTTP/1.1\r\nHost: router\r\n\r\n")).await;
        self.answer().await.expect("there is an answer")
    }

    /// The next answer; `None` when the router closes the connection instead.
    pub async fn answer(&mut self) -> Option<Answered> {
        let head = loop {
            if let Some(end) = find(&self.unread, b"\r\n\r\n") {
                let head = self.unread.drain(..end + 4).collect();
                break String::from_utf8(head).expect("a head is text");
            }
            self.more().await?;
        };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.unwrap_or("0").parse().expect("a length is a number");
        while self.unread.len() < length {
            self.more().await?;
        }
        let body = self.unread.drain(..length).collect();
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        let body = String::from_utf8(body).expect("the body is text");
        Some(Answered { status: status.expect("a head begins with a status"), head, body })
    }

    async fn more(&mut self) -> Option<()> {
        let read = self.stream.read_buf(&mut self.unread).await.ok()?;
        (read > 0).then_some(())
    }
}

fn find(bytes: &[u8], pattern: &[u8]) -> Option<usize> {
    bytes.windows(pattern.len()).position(|window| window == pattern)
}
