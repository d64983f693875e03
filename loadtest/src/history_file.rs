//! Histories on disk, in the format of [`coupon_checker`].
//!
//! A file is there completely or not at all. It holds recipients and codes, so that only its owner
//! can read it.

use std::fs::File;
use std::io::{BufRead as _, BufReader, BufWriter, Error, ErrorKind, Write as _};
use std::path::Path;

use coupon_checker::History;
use coupon_checker::file::{Assembler, ReadError, Record, records, records_of_calls};

use crate::clock::Clock;
use crate::file::{FileError, beside, replace};

/// How much is written and read at a time.
const BUFFER_BYTES: usize = 1 << 20;

/// Who may read a history.
const OWNER_ONLY: u32 = 0o600;

/// Writes a history, in the place of a file that was there before.
///
/// # Errors
/// When the file cannot be written.
pub fn write(path: &Path, history: &History, clock: &Clock) -> Result<(), FileError> {
    write_records(path, records(history, &began(clock)))
}

/// Writes the calls of a history whose coupons could not be read back. It is refused when it is read.
///
/// # Errors
/// When the file cannot be written.
pub fn write_calls(path: &Path, history: &History, clock: &Clock) -> Result<(), FileError> {
    write_records(path, records_of_calls(history, &began(clock)))
}

fn began(clock: &Clock) -> String {
    humantime::format_rfc3339_nanos(clock.began_at()).to_string()
}

fn write_records<'a>(
    path: &Path,
    records: impl Iterator<Item = Record<'a>>,
) -> Result<(), FileError> {
    replace(path, OWNER_ONLY, |file| {
        let mut file = BufWriter::with_capacity(BUFFER_BYTES, file);
        for record in records {
            file.write_all(record.to_line().as_bytes())?;
            file.write_all(b"\n")?;
        }
        file.flush()
    })
}

/// Reads a history.
///
/// # Errors
/// When the file cannot be read or is no history; the error names the line.
pub fn read(path: &Path) -> Result<History, FileError> {
    let failed = |source| FileError { what: "read the history", path: path.into(), source };
    let wrong = |error| failed(Error::new(ErrorKind::InvalidData, Chained(error)));
    let mut file = BufReader::with_capacity(BUFFER_BYTES, File::open(path).map_err(failed)?);
    let mut history = Assembler::new();
    let mut line = Vec::new();
    let mut number = 0;
    while file.read_until(b'\n', &mut line).map_err(failed)? > 0 {
        number += 1;
        let text = std::str::from_utf8(&line).map_err(|_| failed(no_text(number)))?;
        history.push(text).map_err(wrong)?;
        line.clear();
    }
    history.finish().map_err(wrong)
}

fn no_text(line: u64) -> Error {
    let text = format!("line {line} is not UTF-8: the file is damaged, or was cut off");
    Error::new(ErrorKind::InvalidData, text)
}

/// An error that says all there is to say, since an [`Error`] hides the sources of what it wraps.
#[derive(Debug, thiserror::Error)]
#[error("{0}: {error}", error = .0.error)]
struct Chained(ReadError);

/// Finds out whether a file can be written, before there is anything to write. Nothing is left of it.
///
/// # Errors
/// When it cannot.
pub fn probe(path: &Path) -> Result<(), FileError> {
    let is_directory = path.is_dir().then(|| Error::from(ErrorKind::IsADirectory));
    let tried = is_directory.map_or_else(|| beside(path, OWNER_ONLY).map(drop), Err);
    tried.map_err(|source| FileError { what: "write", path: path.into(), source })
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use coupon_checker::{Call, Campaign, Coupon, CouponState, Operation, Outcome};

    use super::*;

    fn history() -> History {
        let call = Call::Issue { request_id: 7, recipient: "ann".into() };
        let outcome = Outcome::Issued { sequence: 1, code: "x".into(), replayed: false };
        let row = Coupon {
            sequence: 1,
            code: "x".into(),
            recipient: "ann".into(),
            request_id: 7,
            state: CouponState::Issued,
        };
        let campaign = Campaign {
            id: "a".into(),
            quota: 5,
            rows: vec![row],
            operations: vec![Operation { invoked: 1, returned: 2, call, outcome }],
            is_complete: true,
            ..Campaign::default()
        };
        History { campaigns: vec![campaign], ..History::default() }
    }

    #[test]
    fn what_is_written_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("history.jsonl");
        for _ in 0..2 {
            write(&path, &history(), &Clock::start()).unwrap();
            assert_eq!(read(&path).unwrap(), history());
        }
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "nothing else is left");
    }

    #[test]
    fn what_cannot_be_written_is_found_before() {
        let dir = tempfile::tempdir().unwrap();
        probe(&dir.path().join("history.jsonl")).unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "nothing is left");
        assert!(probe(dir.path()).is_err());
        assert!(probe(&dir.path().join("no/where")).is_err());
    }

    #[test]
    fn calls_alone_are_kept_and_not_judged() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("history.jsonl");
        write_calls(&path, &history(), &Clock::start()).unwrap();
        let cause = read(&path).unwrap_err().source().unwrap().to_string();
        assert!(cause.contains("never read back"), "{cause}");
    }

    #[test]
    fn a_file_that_is_cut_within_a_letter_is_named_as_such() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("history.jsonl");
        let mut cut = history();
        cut.campaigns[0].id = "봄".to_owned();
        write(&path, &cut, &Clock::start()).unwrap();
        let whole = std::fs::read(&path).unwrap();
        let letter = whole.windows(3).position(|bytes| bytes == "봄".as_bytes()).unwrap();
        std::fs::write(&path, &whole[..letter + 1]).unwrap();
        let cause = read(&path).unwrap_err().source().unwrap().to_string();
        assert!(cause.ends_with("is not UTF-8: the file is damaged, or was cut off"), "{cause}");
    }

    #[test]
    fn a_wrong_line_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("history.jsonl");
        write(&path, &history(), &Clock::start()).unwrap();
        let mut text = std::fs::read_to_string(&path).unwrap();
        text.push_str("{\"opp\":1}\n");
        std::fs::write(&path, text).unwrap();
        let error = read(&path).unwrap_err();
        let cause = error.source().unwrap().to_string();
        assert!(cause.contains("line 6"), "{cause}");
        assert!(read(&dir.path().join("nothing")).is_err());
        assert!(write(&dir.path().join("no/where"), &history(), &Clock::start()).is_err());
    }
}
