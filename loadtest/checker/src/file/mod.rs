//! A recording as a file of lines.
//!
//! UTF-8, one JSON object a line, each with exactly one key, which says what the line is:
//!
//! ```text
//! {"history":{"version":4,"began":"2026-11-22T18:00:00.123456789Z"}}
//! {"campaign":{"id":"a","quota":100,"per_recipient_limit":1,"complete":true}}
//! {"op":{"campaign":"a","t":[1200,1900],"call":{"issue":{"request":"0192…","recipient":"r"}},"outcome":{"issued":{"seq":7,"code":"…","replayed":true}}}}
//! {"row":{"campaign":"a","seq":7,"code":"…","recipient":"r","request":"0192…","state":"issued"}}
//! {"hold":{"campaign":"a","id":"0192…","recipient":"r","from":7,"expires":9,"end":{"confirmed":[8,null]},"confirmations":1,"releases":0}}
//! {"claim":{"campaign":"a","recipient":"r","from":7,"until":null}}
//! {"balance":{"campaign":"a","issued":7,"returned":0,"held":1,"remaining":92,"revision":9,"from":7,"until":9}}
//! {"replica":{"shard":1,"replica":2,"applied_index":4711,"digest":"…"}}
//! {"fault":{"name":"kill leader of shard 3","began":1000,"ended":9000,"in_force":true}}
//! {"end":{"campaigns":1,"calls":1,"rows":1,"holds":1,"claims":1,"balances":1,"replicas":1,"faults":1}}
//! ```
//!
//! | key | what it holds |
//! |---|---|
//! | `began` of `history` | the wall clock when the monotonic clock was 0; for people, nothing is computed with it |
//! | `complete` | [`Campaign::is_complete`](crate::Campaign::is_complete) |
//! | `t` | invoked and returned, in nanoseconds; returned is `null` if and only if the outcome is unknown |
//! | `call` | `{"issue":{"request":…,"recipient":…}}`, `"get"`, `{"redeem":CODE}`, `{"reverse":CODE}`, `{"void":CODE}` or `{"set_quota":QUOTA}` |
//! | `outcome` | `{"issued":{"seq":…,"code":…,"replayed":…}}`, `{"limit_reached":[CODE,…]}`, `{"counted":…}`, or one of `"sold_out"`, `"not_started"`, `"ended"`, `"done"`, `"refused"`, `"unknown"` |
//! | `request` | a UUID, as 36 characters in lower or upper case |
//! | `end` | how many lines of each kind there are before it; `rows` is `null` if the coupons could not be read back, and then there is nothing to judge |
//! | `from`, `expires`, `until` | log time in microseconds; `until` of a claim is `null` if it did not end |
//! | `end` of `hold` | `"expired"`, `{"confirmed":[AT,UNTIL]}` or `{"released":AT}` |
//! | `state` | `"issued"`, `"redeemed"`, `"voided"` or `"returned"` |
//!
//! The line `history` is the first one, that of a campaign comes before all that is in it, and the line
//! `end` after all of them: a file that was cut off is no history, nor is one without a campaign. Apart
//! from that, lines come in any order, and other programs may add replicas and faults after the end.
//! Unknown keys and versions are errors: a judge that skips what it does not know judges something else.
//!
//! Files hold recipients and codes in full; they are no less secret than the coupons.

mod assembler;
mod held;
mod line;
mod record;
mod request_id;

pub use assembler::{Assembler, LineError, ReadError};
pub use record::{Record, records, records_of_calls};

/// The version of the format that is written, and the only one that is read.
const VERSION: u32 = 4;
