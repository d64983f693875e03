//! `coupon loadtest`: load for any router, with figures and a verdict.

mod args;

use anyhow::bail;
use coupon_checker::History;
use coupon_loadtest::{
    Clock, Conditions, LoadError, LoadTest, Recording, Report, Scope, Show, Unjudged, history_file,
};

pub(crate) use self::args::{LoadtestArgs, unique_prefix};
use crate::check::kept;
use crate::failure::{CallError, UsageError, of_router};
use crate::{output, runtime};

/// Runs the command.
pub(crate) fn run(args: &LoadtestArgs) -> anyhow::Result<()> {
    runtime::raise_descriptor_limit();
    let options = args.options()?;
    for path in [&args.json, &args.history].into_iter().flatten() {
        let writable = history_file::probe(path);
        writable.map_err(|error| UsageError(format!("{:#}", anyhow::Error::from(error))))?;
    }
    runtime::block_on(async {
        let mut signals = runtime::StopSignals::catch()?;
        let test = tokio::select! {
            test = LoadTest::prepare(options, Show::Progress) => test.map_err(explained)?,
            () = signals.next() => bail!("stopped before the load began"),
        };
        let recording = test.run(signals.next()).await.map_err(explained)?;
        signals.unless_impatient(judge(args, recording)).await
    })
}

async fn judge(args: &LoadtestArgs, recording: Recording) -> anyhow::Result<()> {
    eprintln!("reading the campaigns back");
    let clock = recording.clock();
    let conditions = conditions();
    let (judged, mut report) = match recording.judge(Scope::Recorded, conditions).await {
        Ok(judged) => judged,
        Err(unjudged) => {
            let Unjudged { history, report, source } = *unjudged;
            keep(args, &history, report, &clock)?;
            return Err(explained(source).context("nothing was judged"));
        }
    };
    report.missed = args.thresholds().missed(&report);
    // First the files: whatever else fails, they are there to be looked at.
    if let Some(path) = &args.history {
        history_file::write(path, &judged.history, &clock)?;
    }
    if let Some(path) = &args.json {
        report.write(path)?;
    }
    output::line(report.summary())?;
    output::line(format!("\n{}", judged.verdict.to_string().trim_end()))?;
    let early = judged.issued_before_start;
    if early > 0 {
        bail!("{early} coupons were issued before the start of their campaign");
    }
    if !judged.changed.is_empty() {
        bail!("{}", judged.changed.join("; "));
    }
    kept(&judged.verdict)?;
    if !report.missed.is_empty() {
        bail!("{}", report.missed.join("; "));
    }
    if report.served == 0 {
        bail!("nothing was served");
    }
    Ok(())
}

/// Writes and prints what there is when the campaigns could not be read back.
fn keep(
    args: &LoadtestArgs,
    history: &History,
    mut report: Report,
    clock: &Clock,
) -> anyhow::Result<()> {
    report.missed = args.thresholds().missed(&report);
    if let Some(path) = &args.history {
        history_file::write_calls(path, history, clock)?;
    }
    if let Some(path) = &args.json {
        report.write(path)?;
    }
    output::line(report.summary())?;
    output::line("\nverdict: none, for the campaigns could not be read back")
}

/// This program and how it was called.
pub(crate) fn conditions() -> Conditions {
    let arguments = std::env::args_os().skip(1);
    Conditions {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        arguments: arguments.map(|one| one.to_string_lossy().into_owned()).collect(),
    }
}

/// An error of the library with everything that an answer says, and with the right exit code.
pub(crate) fn explained(error: LoadError) -> anyhow::Error {
    match error {
        LoadError::Call { what, error } => anyhow::Error::new(CallError::from(error)).context(what),
        LoadError::Connect(error) => of_router(error),
        LoadError::Unreachable(_) | LoadError::BrokenAnswer(_) | LoadError::Timer(_) => {
            error.into()
        }
    }
}
