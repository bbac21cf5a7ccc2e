//! Small ext4 file systems in files, mounted by loop devices.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{FallocateFlags, fallocate, statvfs};
use support::machine::{PATIENCE, until};
use support::skip;
use tempfile::TempDir;

/// A mounted file system. Drop unmounts and deletes it.
#[derive(Debug)]
pub(crate) struct Volume {
    image: PathBuf,
    mounted: PathBuf,
    _directory: TempDir,
}

impl Volume {
    /// An empty file system of this size; `None` after a [`skip`] where mounting is not permitted.
    ///
    /// `commit=86400`: the journal is written only when a program syncs, so a power cut takes everything that was not synced.
    pub(crate) fn make(mebibytes: u64) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            skip("only root may mount file systems");
            return None;
        }
        let directory = tempfile::tempdir().expect("a directory");
        let image = directory.path().join("image");
        File::create(&image)
            .and_then(|file| file.set_len(mebibytes << 20))
            .expect("an image");
        // No blocks for root alone: the responder of a test is root.
        let made = quiet(
            Command::new("mkfs.ext4")
                .args(["-q", "-F", "-m", "0"])
                .arg(&image),
        );
        if let Err(error) = made {
            skip(&format!("mkfs.ext4: {error}"));
            return None;
        }
        match Self::mount(directory, image) {
            Ok(volume) => Some(volume),
            Err(error) => {
                skip(&format!("mounting is not permitted here: {error}"));
                None
            }
        }
    }

    fn mount(directory: TempDir, image: PathBuf) -> Result<Self, String> {
        let mounted = directory.path().join("mounted");
        fs::create_dir(&mounted).expect("a directory");
        quiet(
            Command::new("mount")
                .args(["-t", "ext4", "-o", "loop,commit=86400"])
                .args([&image, &mounted]),
        )?;
        Ok(Self {
            image,
            mounted,
            _directory: directory,
        })
    }

    /// A copy of the disk as it is now, mounted with its journal replayed, as after a power cut.
    pub(crate) fn after_a_power_cut(&self) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let copy = directory.path().join("image");
        // Written meanwhile, as by a sync(2) of another test, it would be no state that the disk ever had.
        until("a moment without writes", || {
            let before = self.written();
            let mut cp = Command::new("cp");
            quiet(cp.arg("--sparse=always").args([&self.image, &copy])).expect("a copy");
            (self.written() == before).then_some(())
        });
        Self::mount(directory, copy).expect("the copy is mounted")
    }

    /// What changes with every write to the disk: sectors written, and writes that are under way (Documentation/block/stat.rst).
    fn written(&self) -> Vec<String> {
        let device = fs::metadata(&self.mounted).expect("the volume").dev();
        let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
        let stat = fs::read_to_string(format!("/sys/dev/block/{major}:{minor}/stat"));
        let stat = stat.unwrap_or_default();
        let figures = stat.split_whitespace().map(str::to_owned);
        figures.skip(4).take(5).collect()
    }

    /// A directory of the file system; it is made if it is missing.
    pub(crate) fn directory(&self, name: &str) -> PathBuf {
        let directory = self.mounted.join(name);
        fs::create_dir_all(&directory).expect("a directory");
        directory
    }

    /// Remounts it, `ro` or `rw`.
    pub(crate) fn remount(&self, mode: &str) {
        let options = format!("remount,{mode}");
        // It is busy while a thread has a file open for writing, which may be about to close.
        until(&options, || {
            let mut mount = Command::new("mount");
            quiet(mount.args(["-o", &options]).arg(&self.mounted)).ok()
        });
    }

    /// Fills the disk up to this many free bytes, give or take a block.
    pub(crate) fn leave(&self, bytes: u64) {
        let ballast = self.mounted.join("ballast");
        let _ = fs::remove_file(&ballast);
        let file = File::create(&ballast).expect("a file");
        // ext4 frees the blocks of a deleted file at the next commit of its journal.
        rustix::fs::syncfs(&file).expect("synced");
        let mut size = 0;
        for _ in 0..8 {
            let more = self.free().saturating_sub(bytes);
            if more == 0 || fallocate(&file, FallocateFlags::empty(), size, more).is_err() {
                break;
            }
            size += more;
        }
    }

    /// Deletes the file of [`Self::leave`].
    pub(crate) fn free_again(&self) {
        fs::remove_file(self.mounted.join("ballast")).expect("removed");
        let directory = File::open(&self.mounted).expect("the volume");
        rustix::fs::syncfs(&directory).expect("synced");
    }

    /// Free bytes for programs (`f_bavail`).
    pub(crate) fn free(&self) -> u64 {
        let usage = statvfs(&self.mounted).expect("its usage");
        usage.f_bavail * usage.f_frsize
    }

    /// A path of another volume, moved to this one.
    pub(crate) fn place_of(&self, path: &Path, other: &Self) -> PathBuf {
        let below = path.strip_prefix(&other.mounted);
        self.mounted.join(below.expect("a path of the volume"))
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        while let Err(error) = quiet(Command::new("umount").arg(&self.mounted)) {
            if Instant::now() > deadline {
                eprintln!("{} stays mounted: {error}", self.mounted.display());
                return;
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Runs a command; the error is its standard error.
fn quiet(command: &mut Command) -> Result<(), String> {
    match command.output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(error) => Err(error.to_string()),
    }
}
