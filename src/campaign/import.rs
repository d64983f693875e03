//! `coupon campaign import`.

mod lines;

use std::fs::File;
use std::io::{Read, Seek as _, stdin};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use coupon_client::{CodeImport, v1};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use self::lines::Messages;
use crate::client::RouterArg;
use crate::failure::{CallError, RefusedLinesError};
use crate::output;
use crate::output::Format;

/// Maximum number of refused lines that are shown; all are counted.
const REFUSED_SHOWN_MAX: usize = 10_000;

/// What the first line of a file says that is no list of codes but a table.
const HEADERS: [&str; 4] = ["code", "codes", "coupon", "coupon_code"];

/// Imports codes into a campaign that was created with --imported-codes: a text file with one code a line.
///
/// Empty lines are skipped. Lines whose codes the campaign has already, or that are no codes, are listed on standard
/// error, and the command exits with 1 if there are any; all other codes are imported. A code is 4 to 64 printable
/// ASCII characters without spaces, commas and quotes.
///
/// If the command is interrupted, run it again with the same file: lines that were imported are recognized. --timeout is
/// for each message of the import.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  coupon campaign import gifts codes.txt
  coupon campaign import gifts - --import-id 6d3e9a10-58c2-4b7f-9d04-1f2e3c4b5a69")]
pub(crate) struct ImportArgs {
    /// Its id
    campaign: String,
    /// The file, or - for standard input, such as the output of cut -d, -f2 partner.csv
    file: PathBuf,
    /// A UUID that names the import [default: made of the campaign and the file, so that the same file is the same
    /// import]
    #[arg(long, value_name = "UUID")]
    import_id: Option<String>,
    #[command(flatten)]
    router: RouterArg,
    /// Output format
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

/// What came of an import.
#[derive(Debug, Serialize)]
struct Imported {
    campaign_id: String,
    import_id: String,
    /// How many lines the file has.
    lines: i64,
    /// How many codes the import has added, earlier runs included.
    imported: i64,
    /// How many lines were refused.
    refused: usize,
    /// The first of these.
    refused_lines: Vec<RefusedLine>,
}

/// A line whose code was not added.
#[derive(Debug, Serialize)]
struct RefusedLine {
    line: i64,
    reason: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    duplicate_of_sequence: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    duplicate_of_line: Option<i64>,
}

/// Runs the command.
pub(super) async fn import(args: ImportArgs) -> anyhow::Result<()> {
    let file = open(&args.file)?;
    let (size, hash) = hashed(&file).context("read the codes")?;
    let import_id = args.import_id.unwrap_or_else(|| derived_id(&args.campaign, &hash));
    let again = || format!("--import-id {import_id}");
    let router = args.router.connect().await?;
    let client = router.client_for_stream();
    let import = client.import_codes(args.campaign.clone(), import_id.clone());
    let progress = progress_bar(size);
    let mut imported = Imported {
        campaign_id: args.campaign,
        import_id: import_id.clone(),
        lines: 0,
        imported: 0,
        refused: 0,
        refused_lines: Vec::new(),
    };
    let sent = imported.send(&import, &file, &progress, args.output).await;
    progress.finish_and_clear();
    match sent {
        Ok(()) => {}
        Err(Failure::Call(error)) => return Err(CallError::of_change(error, again).into()),
        Err(Failure::Read(error)) => return Err(error).context("read the codes"),
        Err(Failure::Header(line)) => {
            anyhow::bail!(
                "line 1 is `{line}`, the header of a table: remove it, so that nobody gets it as a code"
            )
        }
    }
    imported.print(args.output)?;
    match imported.refused {
        0 => Ok(()),
        refused => Err(RefusedLinesError(refused).into()),
    }
}

/// Why an import has ended before the file.
enum Failure {
    Call(coupon_client::CallError),
    Read(std::io::Error),
    Header(String),
}

impl From<coupon_client::CallError> for Failure {
    fn from(error: coupon_client::CallError) -> Self {
        Self::Call(error)
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::Read(error)
    }
}

/// The file, which can be read more than once: standard input is copied to one that has no name.
fn open(path: &Path) -> anyhow::Result<File> {
    if path.as_os_str() == "-" {
        let mut copy = tempfile::tempfile().context("create a temporary file")?;
        std::io::copy(&mut stdin().lock(), &mut copy).context("read standard input")?;
        return Ok(copy);
    }
    File::open(path).with_context(|| format!("open {}", path.display()))
}

/// The size of a file and its SHA-256. It is at its beginning afterwards.
fn hashed(mut file: &File) -> std::io::Result<(u64, [u8; 32])> {
    file.rewind()?;
    let (mut hasher, mut size) = (Sha256::new(), 0);
    let mut buffer = vec![0; 64 << 10];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            file.rewind()?;
            return Ok((size, hasher.finalize().into()));
        }
        hasher.update(&buffer[..read]);
        size += read as u64;
    }
}

/// The id of the import of a file into a campaign, the same each time: a UUID of version 8.
fn derived_id(campaign: &str, hash: &[u8; 32]) -> String {
    let both = Sha256::new().chain_update(hash).chain_update(campaign).finalize();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&both[..16]);
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    uuid::Uuid::from_bytes(bytes).to_string()
}

/// Progress on standard error, if that is a terminal.
fn progress_bar(size: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{wide_bar} {bytes} of {total_bytes}, {eta} left");
    ProgressBar::new(size).with_style(style.expect("the template names fields that there are"))
}

impl RefusedLine {
    fn new(refused: &v1::RefusedLine) -> Self {
        let reason = refused.reason().as_str_name().trim_start_matches("LINE_REFUSAL_REASON_");
        let known = |number: i64| (number > 0).then_some(number);
        Self {
            line: refused.line,
            reason: reason.to_owned(),
            duplicate_of_sequence: known(refused.duplicate_of_sequence),
            duplicate_of_line: known(refused.duplicate_of_line),
        }
    }

    /// For people.
    fn text(&self) -> String {
        let of = match (self.duplicate_of_line, self.duplicate_of_sequence) {
            (Some(line), _) => format!(" of line {line}"),
            (None, Some(sequence)) => format!(" of code {sequence} of the campaign"),
            (None, None) => String::new(),
        };
        format!("line {}: {}{of}", self.line, self.reason)
    }
}

impl Imported {
    /// Sends the lines of a file. For people, lines that are refused are shown as soon as they are.
    async fn send(
        &mut self,
        import: &CodeImport,
        file: &File,
        progress: &ProgressBar,
        format: Format,
    ) -> Result<(), Failure> {
        let mut messages = Messages::new(file);
        while let Some(message) = messages.next()? {
            let first = message.codes.first().filter(|_| message.first_line == 1);
            if let Some(header) = first.filter(|line| is_header(line)) {
                return Err(Failure::Header(header.clone()));
            }
            let answer = import.send(message.first_line, message.codes).await?;
            for refused in answer.refused_lines.iter().map(RefusedLine::new) {
                self.refused += 1;
                match self.refused {
                    1..=REFUSED_SHOWN_MAX if format == Format::Json => {
                        self.refused_lines.push(refused)
                    }
                    1..=REFUSED_SHOWN_MAX => progress.suspend(|| eprintln!("{}", refused.text())),
                    _ => {}
                }
            }
            (self.lines, self.imported) = (messages.lines_read(), answer.imported);
            progress.set_position(messages.bytes_read());
        }
        Ok(())
    }

    fn print(&self, format: Format) -> anyhow::Result<()> {
        if format == Format::Json {
            return output::json(self);
        }
        let others = self.refused.saturating_sub(REFUSED_SHOWN_MAX);
        if others > 0 {
            eprintln!("and {others} other lines");
        }
        let Self { campaign_id, lines, imported, .. } = self;
        output::line(format!("{campaign_id}: {imported} codes of {lines} lines imported"))
    }
}

/// Whether a first line is no code but says what the lines are.
fn is_header(line: &str) -> bool {
    HEADERS.iter().any(|header| line.trim().eq_ignore_ascii_case(header))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn the_same_file_for_the_same_campaign_is_the_same_import() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"GIFT-1\n").unwrap();
        let (size, hash) = hashed(&file).unwrap();
        assert_eq!((size, hashed(&file).unwrap()), (7, (7, hash)));
        let id = derived_id("gifts", &hash);
        assert_eq!(id, derived_id("gifts", &hash));
        assert_ne!(id, derived_id("other", &hash));
        assert_ne!(id, derived_id("gifts", &[0; 32]));
        assert_eq!(uuid::Uuid::parse_str(&id).unwrap().get_version_num(), 8);
    }

    #[test]
    fn a_refused_line_says_what_is_wrong_with_it() {
        let duplicate = |sequence, line| v1::RefusedLine {
            line: 7,
            reason: v1::LineRefusalReason::Duplicate.into(),
            duplicate_of_sequence: sequence,
            duplicate_of_line: line,
        };
        let text = |refused: &v1::RefusedLine| RefusedLine::new(refused).text();
        assert_eq!(text(&duplicate(3, 2)), "line 7: DUPLICATE of line 2");
        assert_eq!(text(&duplicate(3, 0)), "line 7: DUPLICATE of code 3 of the campaign");
        let reason = v1::LineRefusalReason::Malformed.into();
        let malformed = v1::RefusedLine { line: 9, reason, ..v1::RefusedLine::default() };
        assert_eq!(text(&malformed), "line 9: MALFORMED");
    }
}
