//! What the operating system offers and tells: processes and their limits, ports, CPU time, disks.

pub(crate) mod conditions;
pub(crate) mod cpu_limit;
pub(crate) mod idle;
pub(crate) mod ports;
pub(crate) mod process;
pub(crate) mod usage;
