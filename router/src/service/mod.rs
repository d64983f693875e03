//! The RPCs: check the shape, ask the shard, show what it says. No decisions.

mod campaigns;
mod coupons;
mod export;
mod listing;

pub(crate) use campaigns::Campaigns;
pub(crate) use coupons::Coupons;
pub(crate) use export::EXPORTS_MAX;

use std::time::Duration;

use tokio::time::Instant;
use tonic::Request;

use crate::admission::Deadline;

/// When a request must have been answered.
fn deadline<T>(request: &Request<T>) -> Instant {
    // Only a request that came past admission, as in a test of a service by itself, has none.
    let fallback = || Deadline(Instant::now() + Duration::from_secs(10));
    request.extensions().get::<Deadline>().copied().unwrap_or_else(fallback).0
}
