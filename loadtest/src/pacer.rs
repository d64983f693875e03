//! Waking up at the right time.
//!
//! The runtime's timers and its poll for events count in milliseconds and round up, which would
//! make every call of an open loop late by one on average. A timer of the kernel is as precise as
//! its scheduler, some 60 µs, and is waited for like a socket.

use std::io;
use std::os::fd::OwnedFd;

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use tokio::io::unix::AsyncFd;
use tokio::time::Instant;

/// Wakes at a given time.
#[derive(Debug)]
pub enum Pacer {
    /// By a timer of the kernel.
    Kernel {
        /// The timer.
        timer: AsyncFd<OwnedFd>,
        /// What it is set to.
        armed: Option<Instant>,
    },
    /// By the runtime: for tests, which hold the runtime's clock.
    Runtime,
}

impl Pacer {
    /// By a timer of the kernel.
    ///
    /// # Errors
    /// When the kernel gives no timer.
    pub fn kernel() -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        #[expect(
            deprecated,
            reason = "its successor is unsafe, for the sake of descriptors that \
                                       others may close; this one is owned"
        )]
        let timer = AsyncFd::new(timer)?;
        Ok(Self::Kernel { timer, armed: None })
    }

    /// Waits until `due`, at once if that has passed; for ever if there is nothing due. It may be
    /// dropped and called again; after that it may wake early, so that the caller looks at the
    /// clock.
    ///
    /// # Errors
    /// When the timer of the kernel cannot be set.
    pub async fn until(&mut self, due: Option<Instant>) -> io::Result<()> {
        let Some(due) = due else { return std::future::pending().await };
        match self {
            Self::Runtime => tokio::time::sleep_until(due).await,
            Self::Kernel { timer, armed } => {
                let left = due.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    // A loop that is always late must let other tasks run nevertheless.
                    tokio::task::yield_now().await;
                    return Ok(());
                }
                if *armed != Some(due) {
                    let value = Timespec::try_from(left).map_err(io::Error::other)?;
                    let once = Timespec { tv_sec: 0, tv_nsec: 0 };
                    let setting = Itimerspec { it_interval: once, it_value: value };
                    timerfd_settime(timer.get_ref(), TimerfdTimerFlags::empty(), &setting)?;
                    *armed = Some(due);
                }
                let mut ready = timer.readable().await?;
                // Setting it anew makes it unreadable, so that it need not be read.
                ready.clear_ready();
                *armed = None;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_wait_that_is_given_up_does_not_spoil_the_next_one() {
        let mut pacer = Pacer::kernel().unwrap();
        for micros in [0, 1, 300, 2_500] {
            let due = Instant::now() + Duration::from_micros(micros);
            let later = due + Duration::from_secs(60);
            let _ = tokio::time::timeout(Duration::from_micros(1), pacer.until(Some(later))).await;
            while Instant::now() < due {
                pacer.until(Some(due)).await.unwrap();
            }
        }
    }
}
