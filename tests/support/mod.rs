//! Real processes of the program, and clients that record what they were answered.

pub(crate) mod campaign;
pub(crate) mod cluster;
pub(crate) mod holds;
pub(crate) mod load;
pub(crate) mod ports;
pub(crate) mod process;
pub(crate) mod redemption;
pub(crate) mod stale_reads;
pub(crate) mod status;
pub(crate) mod store;
pub(crate) mod wait;
