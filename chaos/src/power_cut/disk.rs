//! A disk that can lose its power: an ext4 image, mounted over a loop device that lives as long as the
//! mount. Dropping it unmounts it.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use super::error::PowerCutError;
use crate::nemesis::{NemesisError, run};

/// Size of an image. It is sparse: a run of a hundred cuts takes some hundred megabytes of it.
const BYTES: u64 = 4 << 30;

/// Maximum time of a command: a mount replays a journal of 64 MiB at most.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Maximum time for which a file system may stay busy after its process has ended.
const BUSY_MAX: Duration = Duration::from_secs(10);

/// Pause before it is unmounted once more.
const PAUSE: Duration = Duration::from_millis(10);

/// A mounted disk.
pub(super) struct Disk {
    image: PathBuf,
    mount_point: PathBuf,
    is_mounted: bool,
}

impl Disk {
    /// Makes a new one of the name `name` in the directory `dir`.
    ///
    /// # Errors
    /// When it cannot be made or mounted.
    pub(super) fn make(dir: &Path, name: &str) -> Result<Self, PowerCutError> {
        let image = dir.join(format!("{name}.ext4"));
        let mount_point = dir.join(name);
        let what = || format!("make {}", image.display());
        let file = File::create_new(&image).and_then(|file| file.set_len(BYTES));
        file.map_err(PowerCutError::system(what()))?;
        std::fs::create_dir(&mount_point).map_err(PowerCutError::system(what()))?;
        let made = command("mkfs.ext4", [Path::new("-q"), &image]);
        made.map_err(PowerCutError::command(what()))?;
        let mut disk = Self { image, mount_point, is_mounted: false };
        disk.mount()?;
        Ok(disk)
    }

    /// Where it is mounted.
    pub(super) fn mount_point(&self) -> &Path {
        &self.mount_point
    }

    /// Mounts it again after a cut, which replays its journal. Its process must have ended.
    ///
    /// # Errors
    /// When the file system stays busy, or is broken.
    pub(super) fn power_on(&mut self) -> Result<(), PowerCutError> {
        let unmounted = self.unmount();
        let what = || format!("unmount {}", self.mount_point.display());
        unmounted.map_err(PowerCutError::command(what()))?;
        self.mount()
    }

    fn mount(&mut self) -> Result<(), PowerCutError> {
        let args = [Path::new("-o"), Path::new("loop"), &self.image, &self.mount_point];
        let what = || format!("mount {}", self.image.display());
        command("mount", args).map_err(PowerCutError::command(what()))?;
        self.is_mounted = true;
        Ok(())
    }

    fn unmount(&mut self) -> Result<(), NemesisError> {
        let deadline = Instant::now() + BUSY_MAX;
        while self.is_mounted {
            match command("umount", [&self.mount_point]) {
                Ok(()) => self.is_mounted = false,
                Err(error) if Instant::now() >= deadline => return Err(error),
                Err(_) => std::thread::sleep(PAUSE),
            }
        }
        Ok(())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if let Err(error) = self.unmount() {
            eprintln!("{} is still mounted: {error}", self.mount_point.display());
        }
    }
}

/// Whether images can be used as disks here.
///
/// # Errors
/// When not: why.
pub(super) fn check() -> Result<(), PowerCutError> {
    if !rustix::process::geteuid().is_root() {
        return Err(PowerCutError::NotRoot);
    }
    command("losetup", ["--find"]).map_err(PowerCutError::NoLoopDevice)
}

fn command(
    name: &str,
    args: impl IntoIterator<Item = impl AsRef<std::ffi::OsStr>>,
) -> Result<(), NemesisError> {
    run(Command::new(name).args(args), TIMEOUT)?.success().map(drop)
}
