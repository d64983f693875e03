//! Where a call goes and whether it goes again: events and time in, decisions out. Pure.

pub(crate) mod leader;
pub(crate) mod retry;
pub(crate) mod silence;
pub(crate) mod topology;
