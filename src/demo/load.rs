//! Load and verdict of the demo: a closed loop over one campaign, then the next one when it is sold
//! out. At the end every campaign of the cluster is judged, also those that others made.

use std::net::SocketAddr;

use anyhow::bail;
use coupon_loadtest::{LoadTest, Options, Pattern, Recording, Scope, Show, Target, judge_all};

use crate::loadtest::{conditions, explained, unique_prefix};
use crate::output;

/// How much load.
#[derive(Clone, Copy, Debug)]
pub(super) struct LoadOptions {
    /// How many coupons a campaign has.
    pub(super) quota: u32,
    /// How many requests are under way at a time.
    pub(super) concurrency: u16,
}

/// Sends load until `stop`, and waits for the requests under way.
pub(super) async fn give(
    router: SocketAddr,
    load: LoadOptions,
    stop: impl Future<Output = ()>,
) -> anyhow::Result<Recording> {
    let options = Options {
        routers: vec![router.to_string()],
        pattern: Pattern::Closed { concurrency: load.concurrency.into() },
        duration: None,
        target: Target::New {
            prefix: unique_prefix("demo"),
            count: 1,
            quota: load.quota,
            per_recipient_limit: 1,
            is_renewed: true,
        },
        ..Options::default()
    };
    let test = LoadTest::prepare(options, Show::Progress).await.map_err(explained)?;
    test.run(stop).await.map_err(explained)
}

/// Judges all campaigns of the cluster and prints the verdict.
///
/// # Errors
/// When a check fails, when load was sent and nothing was issued, or when the campaigns cannot be
/// read.
pub(super) async fn judge(router: SocketAddr, recording: Option<Recording>) -> anyhow::Result<()> {
    eprintln!("reading all campaigns back");
    let nothing_issued = recording.as_ref().is_some_and(|recording| recording.issued() == 0);
    let judged = match recording {
        None => judge_all(&router.to_string()).await.map_err(explained)?,
        Some(recording) => {
            let judged = recording.judge(Scope::All, conditions()).await;
            let (judged, report) = judged.map_err(|unjudged| explained(unjudged.source))?;
            output::line(format!("\n{}", report.summary()))?;
            judged
        }
    };
    output::line(format!("\n{}", judged.verdict.to_string().trim_end()))?;
    if !judged.changed.is_empty() {
        bail!("{}", judged.changed.join("; "));
    }
    if !judged.is_ok() {
        bail!("the cluster broke a promise");
    }
    if nothing_issued {
        bail!("nothing was issued");
    }
    Ok(())
}
