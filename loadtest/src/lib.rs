//! Loads routers, records what they answer, reads all of it back and has it judged.
//!
//! - **Open loop** ([`Pattern::Open`]): calls are sent at their times, whatever is answered, and
//!   latency counts from the intended time. So a system that stands still for a second shows a
//!   second, in as many calls as came meanwhile. Calls that are sent late are counted.
//! - **Closed loop** ([`Pattern::Closed`]): a call is sent when another one ends. It finds peaks; its
//!   latencies leave out callers that would have come while nothing was answered.
//! - **Stampede** ([`Pattern::Stampede`]): all callers wait for the start and call at once.
//!
//! A call is one operation from its first attempt to its final answer. Without an answer it is
//! repeated with the same request id until it is given up, and then its outcome is *unknown*. A router
//! that says that nothing was done is taken at its word: what is recorded begins with the attempt
//! after that one, so that a coupon which was issued all the same is out of order, or a phantom.
//!
//! Everything runs on the thread that awaits it. Memory: operations are kept until they are judged,
//! see [`RecordedCampaign`]; besides, a call under way takes some 10 KiB, and no more than
//! [`Options::in_flight_max`] are.
//!
//! Deliberately absent: retries that hide how long something took, averages, and the recipients and
//! codes anywhere but in the history file.

mod answer;
mod bottleneck;
mod campaigns;
mod client;
mod clock;
mod demand;
mod engine;
mod error;
mod file;
pub mod history_file;
mod judge;
mod load_test;
mod observer;
mod options;
mod pacer;
mod popularity;
mod progress;
mod readback;
mod recorder;
mod report;
mod schedule;
mod series;
mod summary;
mod thresholds;
mod unjudged;

pub use bottleneck::Bottleneck;
pub use clock::Clock;
pub use error::LoadError;
pub use file::FileError;
pub use judge::{Evidence, Judged, Scope};
pub use load_test::{LoadTest, Recording, judge_all};
pub use observer::{Observed, Observer};
pub use options::{BATCH_MAX, CAMPAIGNS_MAX, IN_FLIGHT_MAX, Options, Pattern, Target};
pub use pacer::Pacer;
pub use popularity::{NoPopularity, Popularity};
pub use progress::Show;
pub use recorder::{LATE_AFTER, RecordedCampaign, Terms};
pub use report::{Conditions, Latency, Report, Stampede};
pub use schedule::EARLY_LEAD;
pub use series::Slot;
pub use thresholds::Thresholds;
pub use unjudged::Unjudged;
