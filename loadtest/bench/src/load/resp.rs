//! The part of Redis' protocol that a benchmark needs: a command out, a short answer in.

use anyhow::{Context as _, bail};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Longest answer: that of an error, or the name of a script.
const ANSWER_BYTES_MAX: usize = 4_096;

/// A connection with one command in flight at a time.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    out: Vec<u8>,
    received: Vec<u8>,
}

impl Connection {
    /// Connects to `host:port`.
    pub(crate) async fn open(address: &str) -> anyhow::Result<Self> {
        let connect = TcpStream::connect(address).await;
        let stream = connect.with_context(|| format!("connect to {address}"))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, out: Vec::new(), received: Vec::new() })
    }

    /// Sends a command and waits for its answer: the first character is the kind, as Redis sends it, and a
    /// text (`$`) follows without its length.
    pub(crate) async fn call(&mut self, command: &[&str]) -> anyhow::Result<String> {
        encode(&mut self.out, command);
        self.stream.write_all(&self.out).await?;
        self.received.clear();
        loop {
            if self.stream.read_buf(&mut self.received).await? == 0 {
                bail!("Redis closed the connection");
            }
            if let Some(answer) = decode(&self.received)? {
                return Ok(answer);
            }
            if self.received.len() > ANSWER_BYTES_MAX {
                bail!("Redis sent more than {ANSWER_BYTES_MAX} bytes");
            }
        }
    }
}

fn encode(out: &mut Vec<u8>, command: &[&str]) {
    out.clear();
    out.extend_from_slice(format!("*{}\r\n", command.len()).as_bytes());
    for word in command {
        out.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        out.extend_from_slice(word.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
}

/// An answer, if it is complete.
fn decode(received: &[u8]) -> anyhow::Result<Option<String>> {
    let Some(end) = received.windows(2).position(|pair| pair == b"\r\n") else { return Ok(None) };
    let line = std::str::from_utf8(&received[..end])?;
    let Some(length) = line.strip_prefix('$') else { return Ok(Some(line.to_owned())) };
    let length: usize = length.parse().context("Redis sent a text without a length")?;
    let text = received.get(end + 2..end + 2 + length);
    Ok(match text {
        Some(text) => Some(format!("${}", std::str::from_utf8(text)?)),
        None => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_and_answers_have_their_lengths() {
        let mut out = Vec::new();
        encode(&mut out, &["GET", "누"]);
        assert_eq!(out, "*2\r\n$3\r\nGET\r\n$3\r\n누\r\n".as_bytes());
        let decoded = |received: &str| decode(received.as_bytes()).unwrap();
        assert_eq!(decoded(":12\r\n").as_deref(), Some(":12"));
        assert_eq!(decoded("-ERR no\r\n").as_deref(), Some("-ERR no"));
        assert_eq!(decoded("$3\r\nabc\r\n").as_deref(), Some("$abc"));
        assert_eq!(decoded("$3\r\nab"), None);
        assert_eq!(decoded(":1"), None);
        assert!(decode(b"$x\r\n").is_err());
    }
}
