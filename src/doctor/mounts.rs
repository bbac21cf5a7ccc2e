//! Which file system a path lies on, from `/proc/self/mountinfo` (proc(5)).

use std::path::{Path, PathBuf};

/// A mounted file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Where it is mounted.
    pub point: PathBuf,
    /// Its type: `ext4`, `nfs4`, `tmpfs`.
    pub kind: String,
    /// Whether nothing can be written to it.
    pub read_only: bool,
}

/// What a type of file system does to images or a ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trait {
    /// It lies on another machine.
    Network,
    /// It lies in memory and is gone after a restart.
    Volatile,
    /// A power cut may leave it damaged: it has no journal.
    NoJournal,
    /// The upper layer of a container, which goes with the container.
    Layer,
}

impl Mount {
    /// What there is to know about its type; nothing for a common one of a disk.
    pub fn nature(&self) -> Option<Trait> {
        match self.kind.as_str() {
            "nfs" | "nfs4" | "cifs" | "smb3" | "smbfs" | "ceph" | "afs" | "9p" | "glusterfs"
            | "lustre" | "ocfs2" | "gfs2" | "fuse.sshfs" | "fuse.glusterfs" | "fuse.s3fs"
            | "fuse.rclone" | "fuse.ceph" | "virtiofs" => Some(Trait::Network),
            "tmpfs" | "ramfs" => Some(Trait::Volatile),
            "vfat" | "msdos" | "exfat" | "ext2" => Some(Trait::NoJournal),
            "overlay" | "aufs" => Some(Trait::Layer),
            _ => None,
        }
    }
}

/// The file system that `path`, absolute and without symbolic links, lies on.
pub fn mount_of(path: &Path, mountinfo: &str) -> Option<Mount> {
    mountinfo
        .lines()
        .filter_map(mount)
        .filter(|mount| path.starts_with(&mount.point))
        // Of two mounts on one point the later one is seen.
        .max_by_key(|mount| mount.point.as_os_str().len())
}

/// `36 35 98:0 /root /point rw,noatime master:1 - ext3 /dev/root rw,errors=continue`
fn mount(line: &str) -> Option<Mount> {
    let (first, second) = line.split_once(" - ")?;
    let mut fields = first.split(' ').skip(4);
    let (point, options) = (fields.next()?, fields.next()?);
    let mut fields = second.split(' ');
    let kind = fields.next()?.to_owned();
    let super_options = fields.nth(1).unwrap_or_default();
    let read_only = |options: &str| options.split(',').any(|option| option == "ro");
    Some(Mount {
        point: unescape(point).into(),
        kind,
        read_only: read_only(options) || read_only(super_options),
    })
}

/// Spaces, tabs, line feeds and backslashes are written as three octal digits.
fn unescape(text: &str) -> String {
    [
        ("\\040", " "),
        ("\\011", "\t"),
        ("\\012", "\n"),
        ("\\134", "\\"),
    ]
    .into_iter()
    .fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = r"27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda1 rw
30 27 0:40 / /srv/a\040b rw,relatime - nfs4 server:/export rw,vers=4.2
31 27 0:41 / /srv ro,relatime - xfs /dev/vdb rw
32 27 0:42 / /tmp rw,nosuid - tmpfs tmpfs rw
33 32 0:43 / /tmp rw,nosuid - ext2 /dev/loop0 ro
a line that is none
";

    #[test]
    fn the_longest_mount_point_counts() {
        let found = |path: &str| mount_of(Path::new(path), MOUNTS).expect("a mount");
        assert_eq!(found("/var/www").kind, "ext4");
        assert_eq!(found("/srvx").kind, "ext4");
        assert_eq!(found("/srv/a b/c").nature(), Some(Trait::Network));
        assert!(found("/srv/x").read_only);
        assert_eq!(found("/srv/x").nature(), None);
        let tmp = found("/tmp/x");
        assert_eq!(
            (tmp.nature(), tmp.read_only),
            (Some(Trait::NoJournal), true),
            "the later of two mounts"
        );
        assert_eq!(mount_of(Path::new("/"), ""), None);
    }
}
