//! What clients are told: the ledger's records as messages, refusals and faults as errors. Pure.

pub(crate) mod convert;
pub(crate) mod error;
pub(crate) mod event;
