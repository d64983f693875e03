//! The lines of a file of codes, and the messages they are sent in.

use std::io::{self, BufRead, BufReader, Read};

/// How many bytes of a line are kept: more than the longest code and the end of its line have, so that a longer line is no
/// code, however much of it is missing.
const LINE_KEPT: usize = 80;

/// Maximum number of lines of a message.
const MESSAGE_LINES_MAX: usize = 1_000;

/// Size of the codes of a message beyond which it takes no more. With what else is in it, and one more line, it has less
/// than 64 KiB.
const MESSAGE_BYTES_MAX: usize = 60_000;

/// What a file may begin with that says it is UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The lines of a file, one after the other, however long they are.
struct Lines<R> {
    reader: BufReader<R>,
    lines_read: i64,
    bytes_read: u64,
}

impl<R: Read> Lines<R> {
    fn new(file: R) -> Self {
        Self { reader: BufReader::with_capacity(64 << 10, file), lines_read: 0, bytes_read: 0 }
    }

    /// The next line without its end; `None` after the last one.
    fn next(&mut self) -> io::Result<Option<String>> {
        let mut kept = Vec::new();
        let mut has_begun = false;
        loop {
            let buffer = self.reader.fill_buf()?;
            if buffer.is_empty() {
                break;
            }
            has_begun = true;
            let end = buffer.iter().position(|byte| *byte == b'\n');
            let part = &buffer[..end.unwrap_or(buffer.len())];
            kept.extend_from_slice(&part[..part.len().min(LINE_KEPT - kept.len())]);
            let consumed = part.len() + usize::from(end.is_some());
            self.reader.consume(consumed);
            self.bytes_read += consumed as u64;
            if end.is_some() {
                break;
            }
        }
        if !has_begun {
            return Ok(None);
        }
        let line = match kept.strip_prefix(BYTE_ORDER_MARK) {
            Some(rest) if self.lines_read == 0 => rest,
            Some(_) | None => &kept,
        };
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        self.lines_read += 1;
        Ok(Some(String::from_utf8_lossy(line).into_owned()))
    }
}

/// Some lines that are sent together.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) first_line: i64,
    pub(super) codes: Vec<String>,
}

/// The lines of a file in messages.
pub(super) struct Messages<R> {
    lines: Lines<R>,
}

impl<R: Read> Messages<R> {
    pub(super) fn new(file: R) -> Self {
        Self { lines: Lines::new(file) }
    }

    /// The next message; `None` after the last line.
    pub(super) fn next(&mut self) -> io::Result<Option<Message>> {
        let first_line = self.lines.lines_read + 1;
        let (mut codes, mut bytes) = (Vec::new(), 0);
        while codes.len() < MESSAGE_LINES_MAX && bytes < MESSAGE_BYTES_MAX {
            let Some(line) = self.lines.next()? else { break };
            // Its key and its length as well.
            bytes += line.len() + 3;
            codes.push(line);
        }
        Ok((!codes.is_empty()).then_some(Message { first_line, codes }))
    }

    /// How many lines were read.
    pub(super) fn lines_read(&self) -> i64 {
        self.lines.lines_read
    }

    /// How many bytes were read.
    pub(super) fn bytes_read(&self) -> u64 {
        self.lines.bytes_read
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(file: &[u8]) -> (Vec<Message>, i64) {
        let mut messages = Messages::new(file);
        let mut all = Vec::new();
        while let Some(message) = messages.next().unwrap() {
            all.push(message);
        }
        (all, messages.lines_read())
    }

    fn codes(file: &[u8]) -> Vec<String> {
        all(file).0.into_iter().flat_map(|message| message.codes).collect()
    }

    #[test]
    fn ends_of_lines_are_no_part_of_codes() {
        assert_eq!(codes(b"\xef\xbb\xbfAAAA\r\nBBBB\n\nCCCC"), ["AAAA", "BBBB", "", "CCCC"]);
        assert_eq!(codes(b"AAAA\n"), ["AAAA"]);
        assert_eq!(codes(b"\n"), [""]);
        assert_eq!(codes(b""), [""; 0]);
        assert_eq!(codes(b"AAAA \n\xff\n"), ["AAAA ", "\u{fffd}"]);
    }

    #[test]
    fn a_long_line_stays_too_long_and_takes_no_memory() {
        let file = [&[b'x'; 300_000][..], b"\nBBBB\n"].concat();
        let codes = codes(&file);
        assert_eq!((codes[0].len(), codes[1].as_str()), (LINE_KEPT, "BBBB"));
    }

    #[test]
    fn messages_have_room_for_a_thousand_lines() {
        let file: String = (1..=2_500).map(|line| format!("CODE-{line}\n")).collect();
        let (messages, lines) = all(file.as_bytes());
        let firsts: Vec<_> = messages.iter().map(|message| message.first_line).collect();
        assert_eq!((firsts, lines), (vec![1, 1_001, 2_001], 2_500));
        assert_eq!(messages[2].codes[0], "CODE-2001");
        let wide: String = (1..=1_000).map(|line| format!("{line:064}\n")).collect();
        let (messages, _) = all(wide.as_bytes());
        assert_eq!(messages.len(), 2, "they are less than 64 KiB");
    }
}
