//! The file system of a run, and its effect on the figures.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::{output, program};

/// The disk space of a run.
#[derive(Debug, Clone, Copy)]
pub struct Space {
    /// Size of the file system that is made for it.
    pub bytes: u64,
    pub bytes_per_file: u64,
}

impl Space {
    /// Enough for what one round stores, and small enough to be written in a few seconds.
    pub const ROUND: Self = Self {
        bytes: 4 << 30,
        bytes_per_file: 16 << 10,
    };

    /// The same with PostgreSQL's log and what a store keeps of deleted objects.
    pub const SCALE: Self = Self {
        bytes: 8 << 30,
        bytes_per_file: 16 << 10,
    };

    /// Enough for half a second, or for a hundred uploads of 10 MiB.
    pub const SMOKE: Self = Self {
        bytes: 2 << 30,
        bytes_per_file: 16 << 10,
    };
}

/// Bytes that stay free on the host's file system.
const SPARE: u64 = 2 << 30;

const LOOP_IMAGE: &str = "ext4 with a journal, in a loop-mounted image with direct I/O";

const MIB: usize = 1 << 20;

/// Magic numbers of statfs(2).
const FILE_SYSTEMS: [(u64, &str); 7] = [
    (0xEF53, "ext"),
    (0x5846_5342, "xfs"),
    (0x9123_683E, "btrfs"),
    (0x2FC1_2FC1, "zfs"),
    (0xF2F5_2010, "f2fs"),
    (0x794C_7630, "overlayfs"),
    (0x0102_1994, "tmpfs"),
];

/// A directory for one run, removed with this value.
pub struct Disk {
    root: PathBuf,
    work: PathBuf,
    mounted: Option<String>,
    /// Its description in the report.
    pub description: String,
    /// Reasons why its figures are not comparable.
    pub warnings: Vec<String>,
}

impl Disk {
    /// A directory below `chosen`, on the file system that is there. Without a choice: on a journaled ext4 of its own below
    /// `fallback` where this process may mount one, else below `fallback` itself.
    pub fn prepare(chosen: Option<&Path>, fallback: &Path, space: Space) -> io::Result<Self> {
        let base = chosen.unwrap_or(fallback);
        fs::create_dir_all(base)?;
        let root = base
            .canonicalize()?
            .join(format!("run-{}", std::process::id()));
        fs::create_dir(&root)?;
        let mut disk = Self {
            work: root.clone(),
            root,
            mounted: None,
            description: String::new(),
            warnings: Vec::new(),
        };
        if chosen.is_none() {
            match disk.mount_image(space) {
                Ok(()) => return Ok(disk),
                Err(error) => disk
                    .warnings
                    .push(format!("no journaled ext4 image of its own: {error}")),
            }
        }
        disk.describe()?;
        Ok(disk)
    }

    pub fn path(&self) -> &Path {
        &self.work
    }

    /// Makes an ext4 in a file and mounts it with direct I/O, which bypasses the host's page cache.
    fn mount_image(&mut self, space: Space) -> io::Result<()> {
        if !rustix::process::geteuid().is_root() {
            return Err(io::Error::other("only root may mount one"));
        }
        let tool = |name: &str| {
            program(name).ok_or_else(|| io::Error::other(format!("{name} is missing")))
        };
        let (mkfs, losetup, mount) = (tool("mkfs.ext4")?, tool("losetup")?, tool("mount")?);
        let usage = rustix::fs::statvfs(&self.root)?;
        if usage.f_bavail * usage.f_frsize < space.bytes + SPARE {
            return Err(io::Error::other(format!(
                "it takes {} GiB, and {} GiB have to stay free",
                space.bytes >> 30,
                SPARE >> 30
            )));
        }
        let image = self.root.join("ext4.img");
        // Written in full, so that the host's file system allocates no block during a measurement.
        let mut file = File::create(&image)?;
        let zeros = vec![0; MIB];
        for _ in 0..space.bytes / MIB as u64 {
            file.write_all(&zeros)?;
        }
        file.sync_all()?;
        drop(file);
        let now = "lazy_itable_init=0,lazy_journal_init=0,nodiscard";
        let files = space.bytes_per_file.to_string();
        output(
            Command::new(mkfs)
                .args(["-q", "-E", now, "-i", &files])
                .arg(&image),
        )?;
        let device = output(
            Command::new(&losetup)
                .args(["--find", "--show", "--direct-io=on"])
                .arg(&image),
        )?;
        let device = device.trim().to_owned();
        let point = self.root.join("ext4");
        fs::create_dir(&point)?;
        if let Err(error) = output(Command::new(mount).arg(&device).arg(&point)) {
            let _ = output(Command::new(&losetup).args(["--detach", &device]));
            return Err(error);
        }
        self.work = point;
        self.description = String::from(LOOP_IMAGE);
        // Where the file system below cannot do it, the kernel goes on without (Linux, drivers/block/loop.c).
        let direct = device
            .rsplit('/')
            .next()
            .and_then(|name| fs::read_to_string(format!("/sys/block/{name}/loop/dio")).ok());
        if direct.is_none_or(|direct| direct.trim() != "1") {
            self.warnings.push("the image is not read and written with direct I/O: the host's page cache takes part".to_owned());
        }
        self.mounted = Some(device);
        Ok(())
    }

    fn describe(&mut self) -> io::Result<()> {
        let magic = rustix::fs::statfs(&self.work)?.f_type as u64;
        let kind = FILE_SYSTEMS.iter().find(|(known, _)| *known == magic);
        let kind = kind.map_or("unknown", |(_, name)| name);
        let device = device_of(&self.work);
        self.description = match (kind, device.as_deref().and_then(journal)) {
            ("ext", Some(true)) => "ext4 with a journal".to_owned(),
            ("ext", Some(false)) => {
                self.warnings.push(
                    "ext4 without a journal: a sync is cheaper than on other hosts, but making files after many were deleted is \
                     about ten times slower"
                        .to_owned(),
                );
                "ext4 without a journal".to_owned()
            }
            ("ext", None) => "ext4, with a journal or not".to_owned(),
            ("unknown", _) => format!("a file system of type {magic:#x}"),
            _ => kind.to_owned(),
        };
        match kind {
            "tmpfs" => self.warnings.push(
                "tmpfs: nothing reaches a disk, so the durable figures say nothing".to_owned(),
            ),
            "overlayfs" => self.warnings.push(
                "overlayfs: each new file and each sync costs more than on a disk".to_owned(),
            ),
            _ => {}
        }
        Ok(())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if let Some(device) = &self.mounted {
            let unmounted = output(Command::new("umount").arg(&self.work));
            let detached = output(Command::new("losetup").args(["--detach", device]));
            if let Some(error) = unmounted.and(detached).err() {
                eprintln!("{} could not be unmounted: {error}", self.work.display());
                return;
            }
        }
        if let Err(error) = fs::remove_dir_all(&self.root) {
            eprintln!("{} could not be removed: {error}", self.root.display());
        }
    }
}

/// The block device that holds a directory (proc(5), `mountinfo`).
fn device_of(path: &Path) -> Option<PathBuf> {
    let device = fs::metadata(path).ok()?.dev();
    let number = format!(
        "{}:{}",
        rustix::fs::major(device),
        rustix::fs::minor(device)
    );
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let line = mounts
        .lines()
        .find(|line| line.split(' ').nth(2) == Some(&number))?;
    let source = line.split_once(" - ")?.1.split(' ').nth(1)?;
    Some(PathBuf::from(source))
}

/// Whether an ext4 has a journal; `None` where this process cannot find out.
fn journal(device: &Path) -> Option<bool> {
    // The superblock is 1024 bytes into the device; s_feature_compat is 0x5C into it, and 0x4 of that is has_journal
    // (Linux, Documentation/filesystems/ext4/super.rst).
    let mut features = [0; 4];
    if let Ok(device) = File::open(device)
        && device.read_exact_at(&mut features, 1024 + 0x5C).is_ok()
    {
        return Some(u32::from_le_bytes(features) & 0x4 != 0);
    }
    let name = device.file_name()?.to_str()?;
    let mut journals = fs::read_dir("/proc/fs/jbd2").ok()?.flatten();
    Some(journals.any(|entry| {
        entry
            .file_name()
            .to_str()
            .and_then(|journal| journal.rsplit_once('-'))
            .is_some_and(|(device, _)| device == name)
    }))
}

/// All files below a directory, except hidden ones.
pub fn files(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut open = vec![directory.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                open.push(entry.path());
            } else if !entry.file_name().as_encoded_bytes().starts_with(b".") {
                found.push(entry.path());
            }
        }
    }
    Ok(found)
}

/// Writes back all dirty pages, so that they do not slow down the next measurement.
pub fn settle(directory: &Path) -> io::Result<()> {
    Ok(rustix::fs::syncfs(File::open(directory)?)?)
}
