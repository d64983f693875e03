//! The operations: check the shape, ask the shard, show what it says. No decisions. Each RPC has a file.

mod archive_campaign;
mod batch_issue_coupons;
mod campaign_fields;
mod campaign_filter;
mod campaigns;
mod change_campaign;
mod change_coupon;
mod change_hold;
mod check;
mod check_creation;
mod code;
mod confirm_hold;
mod couponpb;
mod coupons;
mod create_campaign;
mod delete_campaign;
mod end_campaign;
mod event_page;
mod events;
mod exports;
mod get_campaign;
mod get_coupon;
mod hold_coupon;
mod import_codes;
mod issue_coupon;
mod issue_stream;
pub(crate) mod limits;
mod list_campaigns;
mod list_coupons;
mod list_events;
mod listing;
mod lookup_coupon;
pub(crate) mod memory;
mod one_coupon;
mod page;
mod parts;
mod pause_campaign;
mod redeem_coupon;
mod release_hold;
mod resume_campaign;
mod reverse_redemption;
mod shares;
mod stream_coupons;
mod stream_events;
mod text;
mod token;
mod update_campaign;
mod update_mask;
mod validate_coupon;
mod void_coupon;
mod watch_campaign;

pub(crate) use campaigns::Campaigns;
pub(crate) use couponpb::OlderCoupons;
pub(crate) use coupons::Coupons;
pub(crate) use events::Events;
pub(crate) use issue_coupon::issue_coupon;

use std::net::IpAddr;
use std::time::Duration;

use tokio::time::Instant;
use tonic::{Request, Response, Status};

use self::limits::{Client, Deadline};
use self::memory::RequestMemory;
use crate::answer::error::Fault;

/// When a request must have been answered.
fn deadline<T>(request: &Request<T>) -> Instant {
    // Only a request that came past admission, as in a test of a service by itself, has none.
    let fallback = || Deadline(Instant::now() + Duration::from_secs(10));
    request.extensions().get::<Deadline>().copied().unwrap_or_else(fallback).0
}

/// Where a request comes from, as far as that is known.
fn client<T>(request: &Request<T>) -> Option<IpAddr> {
    request.extensions().get::<Client>().map(|client| client.0)
}

/// Counts what requests hold that come on the same connection.
fn memory<T>(request: &Request<T>) -> RequestMemory {
    request.extensions().get::<RequestMemory>().cloned().unwrap_or_default()
}

/// An answer, or a fault, as the framework takes it.
fn answered<T>(result: Result<T, Fault>) -> Result<Response<T>, Status> {
    result.map(Response::new).map_err(Fault::into_status)
}
