//! The docroot: whether the responder can store images in it.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{StatVfsMountFlags, statvfs};

use super::access::Permission;
use super::check::Check;
use super::installation::Installation;
use crate::expiry::StoreDuration;
use crate::image_path::{IMAGE_ROOT, class_of};
use crate::store::SPOOL;

/// The directories that exist below the docroot's `p`, one of each retention class.
pub(super) fn class_directories(docroot: &Path) -> Vec<PathBuf> {
    StoreDuration::ALL
        .map(|duration| docroot.join(IMAGE_ROOT).join(class_of(duration)))
        .into_iter()
        .filter(|path| path.symlink_metadata().is_ok())
        .collect()
}

/// Whether the account of the responder can create files in the docroot, and rename them into place.
pub(super) fn check(installation: &Installation) -> Check {
    if let Some(bucket) = &installation.config.storage.s3 {
        return check_spool(installation, &bucket.spool);
    }
    let name = "docroot";
    let docroot = &installation.config.storage.docroot;
    let shown = docroot.display();
    let service = installation.service.as_ref();
    let owner = service.map_or("corenexis-cdn", |service| &service.name);
    let mut directories = vec![docroot.join(SPOOL), docroot.join(IMAGE_ROOT)];
    directories.extend(class_directories(docroot));
    let mut spool_device = None;
    for directory in [docroot].into_iter().chain(&directories) {
        let found = directory.display();
        match fs::metadata(directory) {
            Ok(metadata) if !metadata.is_dir() => {
                let advice = "move it away: the responder creates the directory at its next start";
                return Check::fail(name, format!("{found} is not a directory"), advice);
            }
            Ok(metadata) if directory != docroot => {
                if *spool_device.get_or_insert(metadata.dev()) != metadata.dev() {
                    return Check::fail(
                        name,
                        format!(
                            "{found} and {shown}/{SPOOL} are on different file systems: no upload can be renamed into place"
                        ),
                        "mount the disk at the docroot itself, with .spool/ and p/ on it",
                    );
                }
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                return Check::skip(name, format!("{found}: {error}{}", installation.as_root()));
            }
            Err(error) => {
                let advice = format!(
                    "mount its disk if it has one of its own; a new docroot is created by `install -d -o {owner} {shown}` and the next start \
                     of the responder"
                );
                return Check::fail(name, format!("{found}: {error}"), advice);
            }
        }
    }
    let Some(service) = service else {
        return Check::skip(name, "the account of the responder is not known");
    };
    for directory in &directories {
        let found = directory.display();
        if statvfs(directory).is_ok_and(|found| found.f_flag.contains(StatVfsMountFlags::RDONLY)) {
            let advice = "Linux remounts a disk with errors read-only: read `dmesg`, then `mount -o remount,rw`";
            return Check::fail(name, format!("{found} is mounted read-only"), advice);
        }
        match service.refusal(directory, Permission::Create) {
            Ok(None) => {}
            Ok(Some(refusal)) => {
                let message = format!("the account of the responder, {refusal}");
                let advice = format!(
                    "`chown -R {owner} {shown}/{SPOOL} {shown}/{IMAGE_ROOT}`, and `chmod u+rwx` on the directory"
                );
                return Check::fail(name, message, advice);
            }
            Err(error) => return Check::skip(name, format!("{found}: {error}")),
        }
    }
    Check::ok(name, format!("{owner} can write to {shown}"))
}

/// Whether the account of the responder can write uploads to the spool of a bucket, which its start makes.
fn check_spool(installation: &Installation, spool: &Path) -> Check {
    let name = "spool";
    let shown = spool.display();
    let Some(service) = installation.service.as_ref() else {
        return Check::skip(name, "the account of the responder is not known");
    };
    let owner = &service.name;
    let place = match spool.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => spool.parent().unwrap_or(spool),
        _ => spool,
    };
    match service.refusal(place, Permission::Create) {
        Ok(None) => Check::ok(name, format!("{owner} can write to {shown}")),
        Ok(Some(refusal)) => Check::fail(
            name,
            format!("the account of the responder, {refusal}"),
            format!("`install -d -m 0700 -o {owner} {shown}`"),
        ),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Check::fail(
            name,
            format!("{}: {error}", place.display()),
            format!("`install -d -m 0700 -o {owner} {shown}`"),
        ),
        Err(error) => Check::skip(name, format!("{}: {error}", place.display())),
    }
}
