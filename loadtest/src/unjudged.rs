//! Why there is no verdict, and what there is all the same.

use coupon_checker::History;

use crate::error::LoadError;
use crate::report::Report;

/// The load was sent, and the campaigns could not be read back, so that nothing was judged.
#[derive(Debug, thiserror::Error)]
#[error("read the campaigns back")]
pub struct Unjudged {
    /// The calls. There are no coupons to judge them by: it is to be written with
    /// [`history_file::write_calls`](crate::history_file::write_calls).
    pub history: History,
    /// The figures, without a verdict.
    pub report: Report,
    /// Why the campaigns could not be read.
    pub source: LoadError,
}
