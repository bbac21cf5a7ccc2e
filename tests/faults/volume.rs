//! Small ext4 file systems in files, mounted through loop devices.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{FallocateFlags, fallocate, statvfs};
use support::skip;
use tempfile::TempDir;

/// A mounted file system. Dropped, it is unmounted and gone.
#[derive(Debug)]
pub(crate) struct Volume {
    image: PathBuf,
    mounted: PathBuf,
    _directory: TempDir,
}

impl Volume {
    /// An empty file system of so many MiB; `None`, with a line that says so, where mounting is not permitted.
    ///
    /// Metadata is committed when a program syncs, and otherwise hardly ever: what a power cut may take away is taken away.
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

    /// What is on the disk now, as it would be found after a power cut: mounted, its journal replayed.
    pub(crate) fn after_a_power_cut(&self) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let copy = directory.path().join("image");
        quiet(
            Command::new("cp")
                .arg("--sparse=always")
                .args([&self.image, &copy]),
        )
        .expect("a copy");
        Self::mount(directory, copy).expect("the copy is mounted")
    }

    /// A directory of the file system, made if it is not there.
    pub(crate) fn directory(&self, name: &str) -> PathBuf {
        let directory = self.mounted.join(name);
        fs::create_dir_all(&directory).expect("a directory");
        directory
    }

    /// Mounts it again, `ro` or `rw`.
    pub(crate) fn remount(&self, mode: &str) {
        let options = format!("remount,{mode}");
        quiet(
            Command::new("mount")
                .args(["-o", &options])
                .arg(&self.mounted),
        )
        .expect("mounted again");
    }

    /// Leaves so many bytes of free space, more or less a block.
    pub(crate) fn leave(&self, bytes: u64) {
        let ballast = self.mounted.join("ballast");
        let _ = fs::remove_file(&ballast);
        let file = File::create(&ballast).expect("a file");
        // Blocks that were freed a moment ago are free only after a commit.
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

    /// Frees what [`Self::leave`] took.
    pub(crate) fn free_again(&self) {
        fs::remove_file(self.mounted.join("ballast")).expect("removed");
        let directory = File::open(&self.mounted).expect("the volume");
        rustix::fs::syncfs(&directory).expect("synced");
    }

    /// Bytes that a program may still take; the file system keeps some for itself.
    pub(crate) fn free(&self) -> u64 {
        let usage = statvfs(&self.mounted).expect("its usage");
        usage.f_bavail * usage.f_frsize
    }

    /// This volume's place of a path of another one.
    pub(crate) fn place_of(&self, path: &Path, other: &Self) -> PathBuf {
        let below = path.strip_prefix(&other.mounted);
        self.mounted.join(below.expect("a path of the volume"))
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while let Err(error) = quiet(Command::new("umount").arg(&self.mounted)) {
            if Instant::now() > deadline {
                eprintln!("{} stays mounted: {error}", self.mounted.display());
                return;
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Runs a command; its complaint if it fails.
fn quiet(command: &mut Command) -> Result<(), String> {
    match command.output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(error) => Err(error.to_string()),
    }
}
