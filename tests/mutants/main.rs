//! The checker finds what it says it finds: real processes with a deliberate fault in them, a
//! *mutant*, are given the load and the faults that bring it to light, and the verdict has to name
//! what is broken. The same without a mutant has to be fine.
//!
//! `coupon_ledger::mutants` lists them. They need a program built for them:
//! `cargo nextest run --workspace --release --features mutants --test mutants`.

mod clock;
mod demo;
mod etag;
mod events;
mod holding;
mod importing;
mod issued;
mod issuing;
mod lost_log;
mod redeeming;
mod repeated;
mod report;
mod selection;
mod stale_leader;
// Other tests use the rest of it.
#[allow(dead_code)]
#[path = "../support/mod.rs"]
mod support;
