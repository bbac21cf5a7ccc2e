//! The file systems of docroot and ledger: mounted, suitable, with free space.

use std::fs;
use std::path::{Path, PathBuf};

use indicatif::BinaryBytes;
use rustix::fs::statvfs;

use super::{Check, Installation, read_file};
use crate::image_path::IMAGE_ROOT;

/// Free inodes below which doctor warns; on small file systems a twentieth of all.
const FEW_INODES: u64 = 10_000;

/// Free bytes that the ledger's file system should have.
const LEDGER_SPACE: u64 = 128 << 20;

/// The types of network and cluster file systems.
const NETWORK: [&str; 18] = [
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "smbfs",
    "ceph",
    "afs",
    "9p",
    "glusterfs",
    "lustre",
    "ocfs2",
    "gfs2",
    "fuse.sshfs",
    "fuse.glusterfs",
    "fuse.s3fs",
    "fuse.rclone",
    "fuse.ceph",
    "virtiofs",
];

/// The directory of an administrator's own mount units (systemd.mount(5)).
const MOUNT_UNITS: &str = "/etc/systemd/system";

/// A mounted file system.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Mount {
    point: PathBuf,
    /// The type: `ext4`, `nfs4`, `tmpfs`.
    kind: String,
}

/// The mounted file systems of this process, from `/proc/self/mountinfo` (proc_pid_mountinfo(5)).
pub(super) struct Mounts(Vec<Mount>);

impl Mounts {
    pub(super) fn read() -> Self {
        // /proc gives it in one piece only to whoever reads it whole, which read_file does.
        Self::parse(&read_file(Path::new("/proc/self/mountinfo")).unwrap_or_default())
    }

    fn parse(mountinfo: &str) -> Self {
        Self(mountinfo.lines().filter_map(parse_mount).collect())
    }

    /// The file system of an existing path.
    fn of(&self, path: &Path) -> Option<&Mount> {
        let path = path.canonicalize().ok()?;
        let above = self.0.iter().filter(|mount| path.starts_with(&mount.point));
        // Of two mounts at one point the later one is visible.
        above.max_by_key(|mount| mount.point.as_os_str().len())
    }
}

/// `36 35 98:0 /root /point rw,noatime master:1 - ext3 /dev/root rw,errors=continue`
fn parse_mount(line: &str) -> Option<Mount> {
    let (first, second) = line.split_once(" - ")?;
    Some(Mount {
        point: unescape(first.split(' ').nth(4)?).into(),
        kind: second.split(' ').next()?.to_owned(),
    })
}

/// mountinfo and fstab(5) write spaces, tabs, line feeds and backslashes as three octal digits.
fn unescape(text: &str) -> String {
    let escapes = [
        ("\\040", " "),
        ("\\011", "\t"),
        ("\\012", "\n"),
        ("\\134", "\\"),
    ];
    let replace = |text: String, (from, to)| text.replace(from, to);
    escapes.into_iter().fold(text.to_owned(), replace)
}

pub(super) fn checks(installation: &Installation) -> Vec<Check> {
    let config = &installation.config;
    let docroot = &config.storage.docroot;
    let ledger_directory = config.ledger.path.parent().unwrap_or(Path::new("/"));
    let mut checks = Vec::new();
    for (what, path) in [
        ("docroot", docroot.join(IMAGE_ROOT)),
        ("ledger", ledger_directory.to_owned()),
    ] {
        let mounts = &installation.mounts;
        checks.extend(unmounted(
            what,
            &path,
            &configured_mount_points(Path::new("/")),
            mounts,
        ));
        checks.push(match mounts.of(&path) {
            Some(mount) => suitability(what, mount),
            None => Check::skip("file systems", format!("{} is not visible", path.display())),
        });
    }
    checks.extend(match statvfs(docroot) {
        Ok(found) => {
            let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
            let (free, total) = (bytes(found.f_bavail), bytes(found.f_blocks));
            vec![
                free_bytes(free, total, config.storage.min_free()),
                free_inodes(found.f_favail, found.f_files),
            ]
        }
        Err(error) => vec![Check::skip(
            "free space",
            format!("{}: {error}", docroot.display()),
        )],
    });
    if let Ok(found) = statvfs(ledger_directory)
        && let free = found.f_bavail.saturating_mul(found.f_frsize)
        && free < LEDGER_SPACE
    {
        let message = format!(
            "{} has only {} free",
            ledger_directory.display(),
            BinaryBytes(free)
        );
        let advice = "free some space there: without it no upload can be recorded";
        checks.push(Check::warn("ledger space", message, advice));
    }
    checks
}

/// The mount points that fstab and the administrator's mount units below `root` name, each with the file that names it.
fn configured_mount_points(root: &Path) -> Vec<(PathBuf, PathBuf)> {
    let fstab = root.join("etc/fstab");
    let text = read_file(&fstab).unwrap_or_default();
    let lines = text
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'));
    let points = lines.filter_map(|line| line.split_whitespace().nth(1));
    let mut found: Vec<_> = points
        .map(|point| (PathBuf::from(unescape(point)), fstab.clone()))
        .collect();
    let units = fs::read_dir(root.join(&MOUNT_UNITS[1..]));
    for unit in units.into_iter().flatten().flatten() {
        let unit = unit.path();
        if unit
            .extension()
            .is_some_and(|extension| extension == "mount")
        {
            let text = read_file(&unit).unwrap_or_default();
            let point = text.lines().find_map(|line| line.strip_prefix("Where="));
            found.extend(point.map(|point| (PathBuf::from(point.trim()), unit)));
        }
    }
    found
}

/// A configured mount point at or above `path` that is not mounted: `path` is then another directory, below the mount point, and may hold an
/// older copy of the data.
fn unmounted(
    what: &str,
    path: &Path,
    configured: &[(PathBuf, PathBuf)],
    mounts: &Mounts,
) -> Option<Check> {
    let real = path.canonicalize();
    let is_above = |point: &Path| {
        path.starts_with(point) || real.as_ref().is_ok_and(|real| real.starts_with(point))
    };
    let (point, file) = configured.iter().find(|(point, _)| {
        let point = point.canonicalize().unwrap_or_else(|_| point.clone());
        is_above(&point) && !mounts.0.iter().any(|mount| mount.point == point)
    })?;
    let point = point.display();
    Some(Check::fail(
        "mounts",
        format!(
            "{} mounts a file system at {point}, which is not mounted: the {what} {} is a directory of another file system",
            file.display(),
            path.display()
        ),
        format!(
            "stop the responder and the sweep, run `mount {point}`, then start them and run doctor again; if {point} is no longer used, \
             remove it from {}",
            file.display()
        ),
    ))
}

/// Whether a type of file system keeps images, or a ledger, safe.
fn suitability(what: &'static str, mount: &Mount) -> Check {
    let name = "file systems";
    let place = format!(
        "the {what} is on {} ({})",
        mount.kind,
        mount.point.display()
    );
    match mount.kind.as_str() {
        kind if NETWORK.contains(&kind) && what == "ledger" => Check::fail(
            name,
            format!("{place}, a network file system: SQLite's write-ahead log does not work there"),
            "set [ledger] path to a local disk, and move the ledger there while the responder is stopped",
        ),
        kind if NETWORK.contains(&kind) => Check::warn(
            name,
            format!("{place}, a network file system: its server decides when an image is durable"),
            "use a local disk, or a server that writes before it acknowledges (NFS: export option `sync`)",
        ),
        "tmpfs" | "ramfs" => Check::warn(
            name,
            format!("{place}, which is in memory: a restart loses it"),
            "use a disk, unless this is a trial",
        ),
        "vfat" | "msdos" | "exfat" | "ext2" => Check::warn(
            name,
            format!("{place}, which has no journal: a power cut may damage it"),
            "use ext4, XFS or Btrfs",
        ),
        "overlay" | "aufs" => Check::warn(
            name,
            format!("{place}, the writable layer of a container: it is deleted with the container"),
            "mount a volume there, unless this is a trial",
        ),
        _ => Check::ok(name, place),
    }
}

/// Below `minimum` free bytes (`min_free`) the responder refuses uploads.
fn free_bytes(free: u64, total: u64, minimum: u64) -> Check {
    let name = "free space";
    let found = format!("{} of {} are free", BinaryBytes(free), BinaryBytes(total));
    let needed = BinaryBytes(minimum);
    let advice = "free some space, or lower [storage] min_free; `corenexis-cdn sweep` deletes expired images";
    if free < minimum {
        Check::fail(
            name,
            format!("{found}, less than min_free ({needed}): uploads are refused"),
            advice,
        )
    } else if free < minimum.saturating_mul(2) {
        Check::warn(
            name,
            format!("{found}; below {needed} (min_free) uploads are refused"),
            advice,
        )
    } else {
        Check::ok(name, found)
    }
}

/// `total` is 0 on a file system without a fixed number of inodes.
fn free_inodes(free: u64, total: u64) -> Check {
    let name = "free inodes";
    let found = format!("{free} of {total} are free");
    let advice = "each image needs one: delete files, or use a file system without a fixed number (XFS, Btrfs)";
    if total == 0 {
        Check::ok(name, "the file system has no fixed number of inodes")
    } else if free == 0 {
        Check::fail(name, format!("{found}: no file can be created"), advice)
    } else if free < FEW_INODES.min(total / 20) {
        Check::warn(name, found, advice)
    } else {
        Check::ok(name, found)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict::{self, Fail, Ok, Warn};
    use super::*;

    const MOUNTS: &str = r"27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda1 rw
31 27 0:41 / /proc ro,relatime - xfs /dev/vdb rw
32 27 0:42 / /tmp rw,nosuid - tmpfs tmpfs rw
33 32 0:43 / /tmp rw,nosuid - ext2 /dev/loop0 ro
34 27 0:40 / /srv/a\040b rw,relatime - nfs4 server:/export rw,vers=4.2
a line that is none
";

    #[test]
    fn the_longest_mount_point_above_a_path_counts() {
        let mounts = Mounts::parse(MOUNTS);
        let of = |path: &str| mounts.of(Path::new(path)).expect("a mount");
        assert_eq!(of("/usr").kind, "ext4");
        assert_eq!(of("/proc/self").kind, "xfs");
        assert_eq!(of("/tmp").kind, "ext2", "the later of two");
        assert_eq!(mounts.0[4].point, Path::new("/srv/a b"));
        assert!(Mounts::parse("").of(Path::new("/")).is_none());
        assert!(Mounts::read().of(Path::new("/")).is_some());
    }

    #[test]
    fn a_configured_mount_point_that_is_not_mounted_is_reported() {
        let root = tempfile::tempdir().expect("a directory");
        let units = root.path().join("etc/systemd/system");
        fs::create_dir_all(&units).expect("created");
        let docroot = root.path().join("srv/cdn images");
        fs::create_dir_all(docroot.join("p")).expect("created");
        let real = docroot.canonicalize().expect("there");
        let shown = real.display().to_string().replace(' ', "\\040");
        let fstab = format!(
            "# {shown} is a comment\n/dev/vdb1 {shown} ext4 defaults 0 2\n/swap none swap sw 0 0\n"
        );
        fs::write(root.path().join("etc/fstab"), fstab).expect("written");
        let report = |mountinfo: &str| {
            let mounts = Mounts::parse(mountinfo);
            let configured = configured_mount_points(root.path());
            unmounted("docroot", &docroot.join("p"), &configured, &mounts)
        };
        let absent = report(MOUNTS).expect("reported");
        assert_eq!(absent.verdict, Fail);
        assert!(absent.message.contains("/etc/fstab mounts"), "{absent:?}");
        let mounted = format!("{MOUNTS}40 27 8:1 / {shown} rw - ext4 /dev/vdb1 rw\n");
        assert_eq!(report(&mounted), None);

        fs::remove_file(root.path().join("etc/fstab")).expect("removed");
        assert_eq!(report(MOUNTS), None);
        let unit = format!("[Mount]\nWhat=/dev/vdb1\nWhere={}\n", real.display());
        fs::write(units.join("srv.mount"), unit).expect("written");
        let absent = report(MOUNTS).expect("reported");
        assert!(absent.message.contains("srv.mount mounts"), "{absent:?}");
        assert_eq!(report(&mounted), None);
    }

    #[test]
    fn types_of_file_systems_are_judged_for_images_and_ledger() {
        for (kind, images, ledger) in [
            ("ext4", Ok, Ok),
            ("nfs4", Warn, Fail),
            ("tmpfs", Warn, Warn),
            ("vfat", Warn, Warn),
            ("overlay", Warn, Warn),
        ] {
            let mount = Mount {
                point: "/srv".into(),
                kind: kind.to_owned(),
            };
            assert_eq!(suitability("docroot", &mount).verdict, images, "{kind}");
            assert_eq!(suitability("ledger", &mount).verdict, ledger, "{kind}");
        }
    }

    #[test]
    fn free_space_is_judged_against_min_free() {
        let bytes = |free: u64| free_bytes(free << 20, 100 << 30, 1 << 30);
        let verdicts = |check: Check| -> Verdict { check.verdict };
        assert_eq!(verdicts(bytes(1)), Fail);
        assert!(bytes(1).message.contains("less than min_free (1.00 GiB)"));
        assert_eq!(verdicts(bytes(1536)), Warn);
        assert_eq!(verdicts(bytes(51_200)), Ok);
        assert_eq!(verdicts(free_inodes(0, 1_000_000)), Fail);
        assert_eq!(verdicts(free_inodes(9_000, 1_000_000)), Warn);
        assert_eq!(verdicts(free_inodes(900_000, 1_000_000)), Ok);
        assert_eq!(verdicts(free_inodes(0, 0)), Ok);
    }
}
