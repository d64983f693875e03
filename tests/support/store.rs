//! Faults in data directories while no node runs on them.

use std::fs::File;
use std::path::{Path, PathBuf};

/// Cuts bytes off the end of a directory's write-ahead log: as many as asked for, or half of it if it has
/// not twice as many.
pub(crate) fn cut_wal(data: &Path, bytes: u64) {
    let newest = wals(data).into_iter().max().expect("there is a log");
    let file = File::options().write(true).open(&newest).expect("open the log");
    let length = file.metadata().expect("it is open").len();
    assert!(length > 0, "there is nothing to cut");
    file.set_len(length - bytes.min(length / 2)).expect("cut the log");
}

/// Deletes a directory's write-ahead log.
pub(crate) fn delete_wal(data: &Path) {
    for wal in wals(data) {
        std::fs::remove_file(wal).expect("delete the log");
    }
}

fn wals(data: &Path) -> Vec<PathBuf> {
    let files = std::fs::read_dir(data.join("db")).expect("there is a database");
    let paths = files.map(|file| file.expect("it can be listed").path());
    paths.filter(|path| path.extension().is_some_and(|end| end == "log")).collect()
}

/// Copies a data directory. Its node may run, if it has nothing to write.
pub(crate) fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("make a directory");
    for item in std::fs::read_dir(from).expect("list a directory") {
        let item = item.expect("it can be listed");
        let target = to.join(item.file_name());
        if item.file_type().expect("it can be looked at").is_dir() {
            copy(&item.path(), &target);
        } else {
            std::fs::copy(item.path(), target).expect("copy a file");
        }
    }
}
