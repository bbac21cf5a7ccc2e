//! Files and directories: the way to each, and the file system it lies on.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access, statvfs};

use crate::config::Config;
use crate::doctor::access::{Step, Way};
use crate::doctor::facts::{Place, Places, Room, Seen};
use crate::doctor::mounts::mount_of;
use crate::image_path::{IMAGE_ROOT, class_of};
use crate::plan::StoreDuration;
use crate::store::SPOOL;

pub(super) fn look(config: &Config) -> Places {
    let docroot = &config.storage.docroot;
    let images = docroot.join(IMAGE_ROOT);
    let classes = StoreDuration::ALL.map(|duration| images.join(class_of(duration)));
    let ledger = &config.ledger.path;
    let beside = ["", "-wal", "-shm", ".sweep-lock"].map(|suffix| {
        let mut name = ledger.clone().into_os_string();
        name.push(suffix);
        PathBuf::from(name)
    });
    let there = |path: &PathBuf| path.symlink_metadata().is_ok();
    Places {
        docroot: place(docroot),
        spool: directory(&docroot.join(SPOOL)),
        images: directory(&images),
        classes: classes
            .iter()
            .filter(|path| there(path))
            .map(|path| directory(path))
            .collect(),
        pages: ["view/page.html", "image/docs/index.html"]
            .iter()
            .map(|page| place(&docroot.join(page)))
            .collect(),
        // The ledger itself is looked at even if it is missing.
        ledger_files: std::iter::once(ledger)
            .chain(beside[1..].iter().filter(|path| there(path)))
            .map(|path| place(path))
            .collect(),
        ledger_directory: directory(ledger.parent().unwrap_or(Path::new("/"))),
    }
}

/// A directory that files are to be made in.
fn directory(path: &Path) -> Place {
    let writable = access(path, Access::WRITE_OK | Access::EXEC_OK);
    Place {
        writable: Some(writable.map_err(|error| error.to_string())),
        ..place(path)
    }
}

pub(super) fn place(path: &Path) -> Place {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let real = fs::canonicalize(path).ok();
    Place {
        path: path.to_owned(),
        way: way(path),
        is_link: path
            .symlink_metadata()
            .is_ok_and(|metadata| metadata.is_symlink()),
        device: fs::metadata(path).ok().map(|metadata| metadata.dev()),
        mount: real.and_then(|real| mount_of(&real, &mounts)),
        room: room(path),
        writable: None,
    }
}

fn way(path: &Path) -> Seen<Way> {
    let seen = |path: &Path, error: &std::io::Error| format!("{}: {error}", path.display());
    let real = fs::canonicalize(path).map_err(|error| seen(path, &error))?;
    let mut steps = real
        .ancestors()
        .map(|step| {
            let metadata = fs::metadata(step).map_err(|error| seen(step, &error))?;
            Ok(Step {
                path: step.to_owned(),
                uid: metadata.uid(),
                gid: metadata.gid(),
                mode: metadata.mode(),
            })
        })
        .collect::<Seen<Vec<_>>>()?;
    steps.reverse();
    Ok(Way(steps))
}

fn room(path: &Path) -> Option<Room> {
    let found = statvfs(path).ok()?;
    Some(Room {
        bytes: found.f_blocks.saturating_mul(found.f_frsize),
        free_bytes: found.f_bavail.saturating_mul(found.f_frsize),
        files: found.f_files,
        free_files: found.f_favail,
    })
}
