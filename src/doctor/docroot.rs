//! The docroot: whether the responder can store images there.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{StatVfsMountFlags, statvfs};

use super::access::Permission;
use super::{Check, Installation};
use crate::image_path::{IMAGE_ROOT, class_of};
use crate::plan::StoreDuration;
use crate::store::SPOOL;

pub(super) fn checks(installation: &Installation) -> Vec<Check> {
    let docroot = &installation.config.storage.docroot;
    let mut checks = vec![writable(installation, docroot)];
    checks.extend(one_file_system(docroot));
    checks
}

/// The directories that exist below the docroot's `p`, one of each retention class.
pub(super) fn class_directories(docroot: &Path) -> Vec<PathBuf> {
    StoreDuration::ALL
        .map(|duration| docroot.join(IMAGE_ROOT).join(class_of(duration)))
        .into_iter()
        .filter(|path| path.symlink_metadata().is_ok())
        .collect()
}

fn writable(installation: &Installation, docroot: &Path) -> Check {
    let name = "docroot";
    let shown = docroot.display();
    let owner = installation.service.as_ref();
    let owner = owner.map_or("corenexis-cdn", |service| &service.name);
    let mut directories = vec![
        docroot.to_owned(),
        docroot.join(SPOOL),
        docroot.join(IMAGE_ROOT),
    ];
    directories.extend(class_directories(docroot));
    for directory in &directories {
        match fs::metadata(directory) {
            Ok(metadata) if metadata.is_dir() => {}
            Ok(_) => {
                return Check::fail(
                    name,
                    format!("{} is not a directory", directory.display()),
                    "move it away: the responder creates the directory at its next start",
                );
            }
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                let why = format!("{}: {error}{}", directory.display(), installation.as_root());
                return Check::skip(name, why);
            }
            Err(error) => {
                return Check::fail(
                    name,
                    format!("{}: {error}", directory.display()),
                    format!(
                        "mount its disk if it has one of its own; a new docroot is created by `install -d -o {owner} {shown}` and the next \
                         start of the responder"
                    ),
                );
            }
        }
    }
    let Some(service) = &installation.service else {
        return Check::skip(name, "the account of the responder is not known");
    };
    for directory in &directories[1..] {
        if statvfs(directory).is_ok_and(|found| found.f_flag.contains(StatVfsMountFlags::RDONLY)) {
            return Check::fail(
                name,
                format!(
                    "{} is on a file system that is mounted read-only",
                    directory.display()
                ),
                "Linux remounts a disk with errors read-only: read `dmesg`, then `mount -o remount,rw`",
            );
        }
        let refusal = match service.refusal(directory, Permission::Create) {
            Ok(refusal) => refusal,
            Err(error) => {
                return Check::skip(name, format!("{}: {error}", directory.display()));
            }
        };
        if let Some(refusal) = refusal {
            return Check::fail(
                name,
                format!("the account of the responder, {refusal}"),
                format!(
                    "`chown -R {owner} {shown}/{SPOOL} {shown}/{IMAGE_ROOT}`, and `chmod u+rwx` on the directory"
                ),
            );
        }
    }
    Check::ok(name, format!("{} can write to {shown}", service.name))
}

/// rename(2) works within one file system only.
fn one_file_system(docroot: &Path) -> Option<Check> {
    let name = "one file system";
    let spool = docroot.join(SPOOL);
    let device = |path: &PathBuf| fs::metadata(path).ok().map(|metadata| metadata.dev());
    // A docroot that cannot be seen was reported before.
    let spool_device = device(&spool)?;
    let directories = [docroot.join(IMAGE_ROOT)]
        .into_iter()
        .chain(class_directories(docroot));
    let elsewhere: Vec<_> = directories
        .filter(|directory| device(directory).is_some_and(|device| device != spool_device))
        .map(|directory| directory.display().to_string())
        .collect();
    Some(if elsewhere.is_empty() {
        Check::ok(name, "uploads are renamed into place")
    } else {
        Check::fail(
            name,
            format!(
                "{} and {} are on different file systems: an upload cannot be renamed into place",
                elsewhere.join(", "),
                spool.display()
            ),
            "mount the disk at the docroot itself, with .spool/ and p/ on it",
        )
    })
}
