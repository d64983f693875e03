//! `coupon export`.

use std::fs::Permissions;
use std::io::{self, BufWriter, IntoInnerError, IsTerminal as _, Stdout, Write, stdout};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use coupon_client::v1;
use indicatif::{ProgressBar, ProgressStyle};
use tempfile::NamedTempFile;

use crate::client::RouterArg;
use crate::failure::CallError;
use crate::show;

/// Writes all coupons of a campaign as they are at one revision, in the order of issuance.
///
/// A stream that breaks goes on where it broke. A file is there when all coupons are in it, and not before.
/// --timeout is for each part of the stream.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  coupon export spring --file spring.csv
  coupon export spring -o json | jq '.[].code'")]
pub(crate) struct ExportArgs {
    /// The campaign
    campaign: String,
    /// The file to write; one that exists is replaced [default: standard output]
    #[arg(short, long, value_name = "PATH")]
    file: Option<PathBuf>,
    #[command(flatten)]
    router: RouterArg,
    /// Output format
    #[arg(short, long, value_enum, default_value_t)]
    output: ExportFormat,
}

/// How an export is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum ExportFormat {
    /// Comma-separated values (RFC 4180), with a header
    #[default]
    Csv,
    /// An array, with an object a line
    Json,
}

/// Runs the command.
pub(super) async fn export(args: ExportArgs) -> anyhow::Result<()> {
    let router = args.router.connect().await?;
    let campaign_id = args.campaign;
    let request = v1::StreamCouponsRequest { campaign_id, ..v1::StreamCouponsRequest::default() };
    let mut parts = router.client_for_stream().stream_coupons(request);
    let first = parts.next().await.map_err(CallError::from)?;
    // Otherwise the coupons show how far it is.
    let has_progress = args.file.is_some() || !stdout().is_terminal();
    let mut sink = Sink::open(args.file, args.output)?;
    let coupons = first.as_ref().map_or(0, |part| part.coupon_count);
    let progress = if has_progress { progress_bar(coupons) } else { ProgressBar::hidden() };
    let mut next = first;
    while let Some(part) = next {
        progress.inc(part.coupons.len() as u64);
        for coupon in part.coupons {
            sink.write(&show::Coupon::new(coupon, None))?;
        }
        next = parts.next().await.map_err(CallError::from)?;
    }
    sink.finish()?;
    progress.finish_and_clear();
    Ok(())
}

/// Progress on standard error, if that is a terminal.
fn progress_bar(coupons: i64) -> ProgressBar {
    let bar = ProgressBar::new(u64::try_from(coupons).unwrap_or(0));
    let style = "{wide_bar} {human_pos} of {human_len} coupons, {eta} left";
    let style = ProgressStyle::with_template(style);
    bar.with_style(style.expect("the template names fields that there are"))
}

/// Where coupons are written.
enum Target {
    Stdout(Stdout),
    /// Beside the file until it is complete.
    File {
        temporary: NamedTempFile,
        path: PathBuf,
    },
}

impl Write for Target {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Stdout(stdout) => stdout.write(bytes),
            Self::File { temporary, .. } => temporary.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Stdout(stdout) => stdout.flush(),
            Self::File { temporary, .. } => temporary.flush(),
        }
    }
}

impl Target {
    fn open(path: Option<PathBuf>) -> anyhow::Result<Self> {
        let Some(path) = path else { return Ok(Self::Stdout(stdout())) };
        let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty());
        let dir = dir.unwrap_or(Path::new("."));
        let permissions = Permissions::from_mode(0o666);
        let temporary = tempfile::Builder::new().permissions(permissions).tempfile_in(dir);
        let create = || format!("create a file in {}", dir.display());
        let temporary = temporary.with_context(create)?;
        Ok(Self::File { temporary, path })
    }
}

/// Coupons on their way out.
struct Sink {
    out: BufWriter<Target>,
    format: ExportFormat,
    written: u64,
}

impl Sink {
    /// Opens a file, or standard output, and begins it.
    fn open(path: Option<PathBuf>, format: ExportFormat) -> anyhow::Result<Self> {
        let mut sink = Self { out: BufWriter::new(Target::open(path)?), format, written: 0 };
        if format == ExportFormat::Csv {
            sink.text(&csv_line(&show::Coupon::CSV_HEADER.map(str::to_owned)))?;
        }
        Ok(sink)
    }

    /// Writes a coupon.
    fn write(&mut self, coupon: &show::Coupon) -> anyhow::Result<()> {
        let text = match self.format {
            ExportFormat::Csv => csv_line(&coupon.csv()?),
            ExportFormat::Json => {
                let begin = if self.written == 0 { "[" } else { ",\n" };
                format!("{begin}{}", serde_json::to_string(coupon)?)
            }
        };
        self.written += 1;
        self.text(&text)
    }

    /// Ends the output. A file is complete then.
    fn finish(mut self) -> anyhow::Result<()> {
        if self.format == ExportFormat::Json {
            self.text(if self.written == 0 { "[]\n" } else { "]\n" })?;
        }
        self.out.flush().context("write the coupons")?;
        let target = self.out.into_inner().map_err(IntoInnerError::into_error)?;
        if let Target::File { temporary, path } = target {
            temporary.as_file().sync_all().context("write the coupons")?;
            let named = || format!("write {}", path.display());
            temporary.persist(&path).with_context(named)?;
        }
        Ok(())
    }

    fn text(&mut self, text: &str) -> anyhow::Result<()> {
        self.out.write_all(text.as_bytes()).context("write the coupons")
    }
}

/// A line of CSV (RFC 4180).
fn csv_line(fields: &[String]) -> String {
    let quoted = |field: &String| {
        if field.contains([',', '"', '\r', '\n']) {
            format!("\"{}\"", field.replace('"', "\"\""))
        } else {
            field.clone()
        }
    };
    let fields: Vec<String> = fields.iter().map(quoted).collect();
    fields.join(",") + "\r\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn coupon(sequence: i64) -> show::Coupon {
        let coupon = v1::Coupon {
            campaign_id: "spring".into(),
            code: "가나다".into(),
            sequence,
            recipient: "Kim, \"J\"".into(),
            state: v1::CouponState::Issued.into(),
            metadata: [("order".into(), "7".into())].into(),
            ..v1::Coupon::default()
        };
        show::Coupon::new(coupon, None)
    }

    fn written(coupons: i64, format: ExportFormat) -> String {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("export");
        let mut sink = Sink::open(Some(path.clone()), format).unwrap();
        (1..=coupons).for_each(|sequence| sink.write(&coupon(sequence)).unwrap());
        assert!(!path.exists(), "it is not complete");
        sink.finish().unwrap();
        std::fs::read_to_string(&path).unwrap()
    }

    #[test]
    fn csv_is_quoted_where_it_must_be() {
        assert_eq!(csv_line(&["a".into(), String::new(), "b\nc".into()]), "a,,\"b\nc\"\r\n");
        let text = written(1, ExportFormat::Csv);
        let (header, row) = text.split_once("\r\n").unwrap();
        assert!(header.starts_with("code,campaign_id,sequence,recipient,state,"), "{header}");
        let start = "가나다,spring,1,\"Kim, \"\"J\"\"\",ISSUED,";
        assert!(row.starts_with(start), "{row}");
        assert!(row.trim_end().ends_with("\"{\"\"order\"\":\"\"7\"\"}\""), "{row}");
    }

    #[test]
    fn json_is_an_array_of_any_length() {
        for coupons in 0..3 {
            let text = written(coupons, ExportFormat::Json);
            let read: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
            let sequences: Vec<_> = read.iter().map(|one| one["sequence"].as_i64()).collect();
            assert_eq!(sequences, (1..=coupons).map(Some).collect::<Vec<_>>());
        }
    }
}
