//! What a report says about the machine and the program.

use coupon_loadtest::Conditions;

/// The number of processors.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// The load average of the machine over a minute.
pub(crate) fn load_average() -> Option<f64> {
    std::fs::read_to_string("/proc/loadavg").ok()?.split(' ').next()?.parse().ok()
}

/// The version of the program, and how it was called.
pub(crate) fn conditions() -> Conditions {
    let arguments = std::env::args_os().skip(1);
    Conditions {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        arguments: arguments.map(|one| one.to_string_lossy().into_owned()).collect(),
    }
}
