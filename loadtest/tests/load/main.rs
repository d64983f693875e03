//! The load generator against a router that is made for it: correct, but with faults on demand. All
//! of it runs in the runtime's own time, which stands still while there is work.

mod fake_router;
mod faults;
mod patterns;
mod refusal;
mod verdicts;
