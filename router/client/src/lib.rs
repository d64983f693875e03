//! The client of Coupon's routers: it connects, makes request ids, repeats what is safe to repeat and says
//! what an error means.
//!
//! ```no_run
//! use coupon_client::{Client, Reason, RetryPolicy, v1};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let routers = ["router-1.example:7000", "router-2.example:7000"];
//! let client = Client::connect(routers, RetryPolicy::default()).await?;
//! let request = v1::IssueCouponRequest {
//!     campaign_id: "spring".into(),
//!     recipient: "ann".into(),
//!     ..Default::default()
//! };
//! match client.issue_coupon(request).await {
//!     Ok(answer) => println!("{:?}", answer.coupon),
//!     Err(error) if error.reason() == Some(Reason::SoldOut) => println!("too late"),
//!     // Keep the id: a request with this id and the same fields never issues a second coupon.
//!     Err(error) if error.may_have_happened() => println!("unknown: {:?}", error.request_id()),
//!     Err(error) => return Err(error.into()),
//! }
//! # Ok(())
//! # }
//! ```
//!
//! - [`Client`] makes whole calls. All attempts of a call have one request id, and together they take no
//!   longer than [`RetryPolicy::give_up_after`].
//! - [`CouponParts`] is a stream of all coupons of a campaign, which goes on over another connection when one breaks.
//! - [`CodeImport`] is an import of codes, whose messages are repeated likewise.
//! - Below it are the parts for callers that look at each attempt: [`Channels`] are connections in turn,
//!   [`CallError`] classifies an error by its [`Meaning`], and [`Backoff`] says how long to pause. The last
//!   two read no clock and draw no random numbers.
//!
//! **What is repeated.** Errors that may pass: a router or a connection that is gone, a shard without a
//! leader, a deadline of one attempt, too much load. Each attempt goes to the next router. A pause is twice
//! as long as the one before, and at least as long as the server says. Refusals are not repeated, neither is
//! `NOT_STARTED`: [`Meaning::NotStarted`] says how long to wait.
//!
//! **What is unknown.** An attempt without an answer may have had an effect, unless no connection was made for it. When the call ends without
//! settling that, its error [may have happened](CallError::may_have_happened). It is never reported as
//! failed.
//!
//! **What is resumed.** A [`CampaignWatch`] or an [`EventStream`] that breaks goes on after its last message, at the next router.
//! [`RetryPolicy::give_up_after`] is the maximum time that it is out of reach.
//!
//! Deliberately absent: TLS and authentication, which routers do not have yet; limits of the rate at which
//! a program calls.

mod batch;
mod call_error;
mod call_state;
mod channels;
mod client;
mod code_import;
mod coupon_parts;
mod coupons;
mod endpoint;
mod events;
mod follow;
mod holds;
mod issue_stream;
mod meaning;
mod retry;
mod shared_issue_stream;
mod watch;

pub use batch::{ItemAnswer, item_answers};
pub use call_error::{CallError, code_name};
pub use channels::Channels;
pub use client::{Client, ConnectError, new_request_id};
pub use code_import::CodeImport;
pub use coupon_parts::CouponParts;
pub use coupon_proto::reason::Reason;
pub use coupon_proto::v1;
pub use endpoint::{AddressError, endpoint};
pub use events::EventStream;
pub use issue_stream::Issued;
pub use meaning::{Meaning, is_transient};
pub use retry::{Backoff, RetryPolicy};
pub use shared_issue_stream::{SharedIssueStream, SharedIssueStreams};
pub use watch::CampaignWatch;
