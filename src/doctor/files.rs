//! Reads files of the host without blocking.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

/// The largest file that a check reads, in bytes.
const MAX_FILE: u64 = 1 << 20;

/// Reads a regular file of at most 1 MiB. Anything else is refused without being opened: opening a FIFO blocks, and opening a device may
/// act on it. `O_NONBLOCK` covers a FIFO that replaces the file after it was looked at.
pub(super) fn read_file(path: &Path) -> io::Result<String> {
    let regular = |metadata: &fs::Metadata| {
        let error = || io::Error::new(io::ErrorKind::InvalidInput, "not a regular file");
        metadata.is_file().then_some(()).ok_or_else(error)
    };
    regular(&fs::metadata(path)?)?;
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    regular(&file.metadata()?)?;
    let mut bytes = Vec::new();
    file.take(MAX_FILE).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The absolute form of a path, without a look at the file system.
pub(super) fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{CWD, FileType, mknodat};

    #[test]
    fn only_regular_files_are_opened() {
        let root = tempfile::tempdir().expect("a directory");
        let file = root.path().join("file");
        fs::write(&file, "text").expect("written");
        assert_eq!(read_file(&file).expect("read"), "text");
        let fifo = root.path().join("fifo");
        mknodat(CWD, &fifo, FileType::Fifo, Mode::RUSR, 0).expect("created");
        let link = root.path().join("link");
        std::os::unix::fs::symlink(&fifo, &link).expect("linked");
        for path in [&*fifo, &*link, root.path(), Path::new("/dev/zero")] {
            let error = read_file(path).expect_err("refused");
            assert_eq!(
                error.kind(),
                io::ErrorKind::InvalidInput,
                "{}",
                path.display()
            );
        }
        let missing = read_file(&root.path().join("no")).expect_err("missing");
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
    }
}
