//! Calls that are over, as they are reported while the load goes on.

use coupon_checker::Operation;

/// A call that is over, as an [`Observer`] is told of it.
#[derive(Clone, Copy, Debug)]
pub struct Observed<'a> {
    /// The id of its campaign.
    pub campaign_id: &'a str,
    /// The number of the router that was asked, from 0 in the order of [`Options::routers`](crate::Options::routers).
    pub router: usize,
    /// How often it was sent.
    pub attempts: u32,
    /// When it was sent for the first time, on the clock of the recording. What is recorded begins
    /// later if attempts before it were answered that nothing was done.
    pub sent: u64,
    /// The call.
    pub operation: &'a Operation,
}

/// Is told of every call that is over. It must not take long, for the load waits meanwhile.
pub type Observer = Box<dyn FnMut(Observed<'_>) + Send>;
