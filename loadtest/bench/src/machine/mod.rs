//! What the operating system offers and tells: processes, ports, CPU time, disks.

pub(crate) mod conditions;
pub(crate) mod ports;
pub(crate) mod process;
pub(crate) mod usage;
