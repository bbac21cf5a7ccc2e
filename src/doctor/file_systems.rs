//! The file systems of docroot and ledger: mounted, suitable, with free space.

use std::fs;
use std::path::{Path, PathBuf};

use indicatif::BinaryBytes;
use rustix::fs::{StatVfs, statvfs};

use super::check::Check;
use super::files::read_file;
use crate::config::Config;
use crate::image_path::IMAGE_ROOT;

/// Free inodes below which doctor warns; on small file systems a twentieth of all.
const FEW_INODES: u64 = 10_000;

/// Free bytes that the ledger's file system should have.
const LEDGER_SPACE: u64 = 128 << 20;

/// The types of network and cluster file systems.
const NETWORK: &str = "nfs nfs4 cifs smb3 smbfs ceph afs 9p glusterfs lustre ocfs2 gfs2 fuse.sshfs fuse.glusterfs fuse.s3fs fuse.rclone \
                       fuse.ceph virtiofs";

/// Types of file systems that may lose data, why, and what to do.
const RISKS: [(&str, &str, &str); 4] = [
    (
        NETWORK,
        "a network file system: its server decides when an image is durable",
        "use a local disk, or a server that writes before it acknowledges (NFS: export option `sync`)",
    ),
    (
        "tmpfs ramfs",
        "which is in memory: a restart loses it",
        "use a disk, unless this is a trial",
    ),
    (
        "vfat msdos exfat ext2",
        "which has no journal: a power cut may damage it",
        "use ext4, XFS or Btrfs",
    ),
    (
        "overlay aufs",
        "the writable layer of a container: it is deleted with the container",
        "mount a volume there, unless this is a trial",
    ),
];

/// The directory of an administrator's own mount units (systemd.mount(5)).
const MOUNT_UNITS: &str = "/etc/systemd/system";

/// A mounted file system.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Mount {
    /// Where it is mounted.
    point: PathBuf,
    /// The type: `ext4`, `nfs4`, `tmpfs`.
    kind: String,
}

/// The file system of a path, or of the nearest directory above it that exists.
fn mount_of<'a>(path: &Path, mounts: &'a [Mount]) -> Option<&'a Mount> {
    let mut existing = path.ancestors().map(Path::canonicalize);
    let path = existing.find_map(Result::ok)?;
    let above = mounts.iter().filter(|mount| path.starts_with(&mount.point));
    // Of two mounts at one point the later one is visible.
    above.max_by_key(|mount| mount.point.as_os_str().len())
}

/// A line of `/proc/self/mountinfo` (proc_pid_mountinfo(5)):
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

pub(super) fn checks(config: &Config) -> Vec<Check> {
    let docroot = &config.storage.docroot;
    let ledger = config.ledger.directory();
    let mountinfo = read_file(Path::new("/proc/self/mountinfo")).unwrap_or_default();
    let mounts: Vec<_> = mountinfo.lines().filter_map(parse_mount).collect();
    let configured = configured_mount_points(Path::new("/"));
    let mut checks = Vec::new();
    let images = match &config.storage.s3 {
        Some(bucket) => ("spool", bucket.spool.clone()),
        None => ("docroot", docroot.join(IMAGE_ROOT)),
    };
    // The first start makes the spool.
    let written: &Path = match &config.storage.s3 {
        Some(bucket) if bucket.spool.exists() => &bucket.spool,
        Some(bucket) => bucket.spool.parent().unwrap_or(docroot),
        None => docroot,
    };
    let places = [(images.0, Some(&*images.1)), ("ledger", ledger)];
    for (what, path) in places {
        let Some(path) = path else {
            continue;
        };
        checks.extend(unmounted(what, path, &configured, &mounts));
        checks.extend(mount_of(path, &mounts).map(|mount| suitability(what, mount)));
    }
    checks.push(match statvfs(written) {
        Ok(found) => free_space(&found, config.storage.min_free()),
        Err(error) => Check::skip("free space", format!("{}: {error}", written.display())),
    });
    let advice = "free some space there: without it no upload can be recorded";
    checks.extend(
        ledger.and_then(|ledger| little_space("ledger space", ledger, LEDGER_SPACE, advice)),
    );
    checks
}

/// Warns if the file system of `path` has less than `minimum` free bytes.
pub(super) fn little_space(
    name: &'static str,
    path: &Path,
    minimum: u64,
    advice: &str,
) -> Option<Check> {
    let found = statvfs(path).ok()?;
    let free = found.f_bavail.saturating_mul(found.f_frsize);
    let message = format!("{} has only {} free", path.display(), BinaryBytes(free));
    (free < minimum).then(|| Check::warn(name, message, advice))
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

/// A configured mount point at or above `path` that is not mounted: `path` is then a directory below the mount point, and may hold an older
/// copy of the data.
fn unmounted(
    what: &str,
    path: &Path,
    configured: &[(PathBuf, PathBuf)],
    mounts: &[Mount],
) -> Option<Check> {
    let mounted = &mount_of(path, mounts)?.point;
    let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let (point, file) = configured.iter().find(|(point, _)| {
        let point = point.canonicalize().unwrap_or_else(|_| point.clone());
        real.starts_with(&point) && !mounted.starts_with(&point)
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
    let is_kind = |kinds: &str| kinds.split(' ').any(|kind| kind == mount.kind);
    let risk = RISKS.iter().find(|(kinds, ..)| is_kind(kinds));
    match risk {
        Some((NETWORK, ..)) if what == "ledger" => Check::fail(
            name,
            format!("{place}, a network file system: SQLite's write-ahead log does not work there"),
            "set [ledger] path to a local disk, and move the ledger there while the responder is stopped",
        ),
        Some((_, risk, advice)) => Check::warn(name, format!("{place}, {risk}"), *advice),
        None => Check::ok(name, place),
    }
}

/// Free bytes and inodes for accounts other than root. Below `min_free` bytes the responder refuses uploads.
fn free_space(found: &StatVfs, min_free: u64) -> Check {
    let name = "free space";
    let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
    let (free, total) = (bytes(found.f_bavail), bytes(found.f_blocks));
    let minimum = BinaryBytes(min_free);
    let mut message = format!("{} of {}", BinaryBytes(free), BinaryBytes(total));
    // A file system without a fixed number of inodes has 0 of them.
    if found.f_files > 0 {
        message = format!(
            "{message} and {} of {} inodes",
            found.f_favail, found.f_files
        );
    }
    message.push_str(" are free");
    let advice = "free some space, or lower [storage] min_free; `corenexis-cdn sweep` deletes expired images";
    if free < min_free {
        let message = format!("{message}: less than min_free ({minimum}), so uploads are refused");
        Check::fail(name, message, advice)
    } else if found.f_files > 0 && found.f_favail < FEW_INODES.min(found.f_files / 20) {
        let advice = "each image needs an inode: delete files, or use a file system without a fixed number (XFS, Btrfs)";
        Check::warn(name, message, advice)
    } else if free < min_free.saturating_mul(2) {
        let message = format!("{message}: below {minimum} (min_free) uploads are refused");
        Check::warn(name, message, advice)
    } else {
        Check::ok(name, message)
    }
}

#[cfg(test)]
mod tests {
    use super::super::check::Verdict::{Fail, Ok, Warn};
    use super::*;

    const MOUNTS: &str = r"27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda1 rw
31 27 0:41 / /proc ro,relatime - xfs /dev/vdb rw
32 27 0:42 / /tmp rw,nosuid - tmpfs tmpfs rw
33 32 0:43 / /tmp rw,nosuid - ext2 /dev/loop0 ro
34 27 0:40 / /srv/a\040b rw,relatime - nfs4 server:/export rw,vers=4.2
a line that is none
";

    fn mounts(mountinfo: &str) -> Vec<Mount> {
        mountinfo.lines().filter_map(parse_mount).collect()
    }

    #[test]
    fn the_longest_mount_point_above_a_path_counts() {
        let all = mounts(MOUNTS);
        let kind = |path: &str| mount_of(Path::new(path), &all).map(|mount| &*mount.kind);
        assert_eq!(kind("/usr"), Some("ext4"));
        assert_eq!(kind("/proc/self"), Some("xfs"));
        assert_eq!(kind("/tmp"), Some("ext2"), "the later of two");
        assert_eq!(all[4].point, Path::new("/srv/a b"));
        assert_eq!(mount_of(Path::new("/"), &[]), None);
        let own = fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
        assert!(mount_of(Path::new("/"), &mounts(&own)).is_some());
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
            let configured = configured_mount_points(root.path());
            unmounted(
                "docroot",
                &docroot.join("p"),
                &configured,
                &mounts(mountinfo),
            )
        };
        let absent = report(MOUNTS).expect("reported");
        assert_eq!(absent.verdict, Fail);
        assert!(absent.message.contains("/etc/fstab mounts"), "{absent:?}");
        let mounted = format!("{MOUNTS}40 27 8:1 / {shown} rw - ext4 /dev/vdb1 rw\n");
        assert_eq!(report(&mounted), None);
        let below = format!("{MOUNTS}41 27 8:1 / {shown}/p rw - ext4 /dev/vdc1 rw\n");
        assert_eq!(report(&below), None, "p is a mount point itself");

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
        let check = |free_mib: u64, free_inodes: u64, inodes: u64| {
            let mut found = statvfs("/").expect("statvfs");
            (found.f_frsize, found.f_bavail, found.f_blocks) = (1 << 20, free_mib, 100 << 10);
            (found.f_favail, found.f_files) = (free_inodes, inodes);
            free_space(&found, 1 << 30)
        };
        assert_eq!(check(1, 0, 0).verdict, Fail);
        assert!(
            check(1, 0, 0)
                .message
                .contains("less than min_free (1.00 GiB)")
        );
        assert_eq!(check(1_536, 900_000, 1_000_000).verdict, Warn);
        assert_eq!(check(51_200, 9_000, 1_000_000).verdict, Warn);
        assert_eq!(check(51_200, 900_000, 1_000_000).verdict, Ok);
        assert_eq!(check(51_200, 0, 0).verdict, Ok);
    }
}
