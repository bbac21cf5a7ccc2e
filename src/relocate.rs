//! Copies the images of a docroot to another directory.
//!
//! The copy can be interrupted and repeated: an image that has the right size and modification time is not copied again. Modification
//! times are kept, because they are the expiry of the images.

use std::collections::HashSet;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;

use crate::config::Durability;
use crate::identity::Identity;
use crate::image_path::{Directory, ImagePath};
use crate::store::{Docroot, Quarantine, SPOOL, Store};

/// What a pass copied.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Copied {
    /// Images in the source.
    pub(crate) images: u64,
    /// Of these, how many were copied in this pass.
    pub(crate) new: u64,
    /// Bytes copied in this pass.
    pub(crate) bytes: u64,
    /// Images deleted in the target because the source no longer has them.
    pub(crate) deleted: u64,
}

/// Makes the target the same as the source. `progress` is called for each directory with what was copied so far.
pub(crate) fn copy(source: &Path, target: &Path, progress: &dyn Fn(&Copied)) -> io::Result<Copied> {
    // Opening makes `p` and `.spool`.
    let (from, to) = (
        Docroot::open(source, Durability::Full)?,
        Docroot::open(target, Durability::Full)?,
    );
    let mut copied = Copied::default();
    for directory in Directory::all() {
        let images: HashSet<ImagePath> = from.list(directory)?.into_iter().collect();
        let surplus: Vec<_> = to
            .list(directory)?
            .into_iter()
            .filter(|path| !images.contains(path))
            .collect();
        if !images.is_empty() {
            let day = directory.below(target);
            make_directory(day.parent().unwrap_or(target))?;
            make_directory(&day)?;
        }
        for path in &images {
            copied.images += 1;
            let outcome = copy_image(path, (source, &from), (target, &to));
            let named = |error: io::Error| io::Error::new(error.kind(), format!("{path}: {error}"));
            if let Some(bytes) = outcome.map_err(named)? {
                copied.new += 1;
                copied.bytes += bytes;
            }
        }
        for outcome in to.delete(&surplus) {
            outcome?;
            copied.deleted += 1;
        }
        if !images.is_empty() {
            File::open(directory.below(target))?.sync_all()?;
        }
        progress(&copied);
    }
    copy_quarantine(&from, &to, target, &mut copied)?;
    Ok(copied)
}

/// Makes the quarantine of the target the same as that of the source.
fn copy_quarantine(
    from: &Docroot,
    to: &Docroot,
    target: &Path,
    copied: &mut Copied,
) -> io::Result<()> {
    let images = from.quarantined()?;
    for path in to.quarantined()? {
        if !images.contains(&path) {
            to.delete_quarantined(&path)?;
            copied.deleted += 1;
        }
    }
    if images.is_empty() {
        return Ok(());
    }
    to.make_quarantine()?;
    for path in &images {
        copied.images += 1;
        let stored = |docroot: &Docroot| docroot.stat_quarantined(path);
        let Some(original) = stored(from)? else {
            continue;
        };
        let is_there = stored(to)?.is_some_and(|found| {
            (found.size, found.expires_at) == (original.size, original.expires_at)
        });
        if !is_there {
            let (from, to) = (from.quarantined_file(path), to.quarantined_file(path));
            copied.bytes += copy_file(&from, &to, target)?;
            copied.new += 1;
        }
    }
    let file = images.first().map(|path| to.quarantined_file(path));
    match file.as_deref().and_then(Path::parent) {
        Some(directory) => File::open(directory)?.sync_all(),
        None => Ok(()),
    }
}

/// Copies one image unless the target has it. Returns its bytes, or `None` if nothing was copied.
fn copy_image(
    path: &ImagePath,
    (source, from): (&Path, &Docroot),
    (target, to): (&Path, &Docroot),
) -> io::Result<Option<u64>> {
    // Deleted since it was listed.
    let Some(stored) = from.stat(path)? else {
        return Ok(None);
    };
    let is_there = to
        .stat(path)?
        .is_some_and(|found| (found.size, found.expires_at) == (stored.size, stored.expires_at));
    if is_there {
        return Ok(None);
    }
    copy_file(&path.below(source), &path.below(target), target).map(Some)
}

/// Copies a file with its permissions and its modification time, through the spool of `target`. Returns its bytes.
fn copy_file(from: &Path, to: &Path, target: &Path) -> io::Result<u64> {
    let original = OpenOptions::new()
        .read(true)
        // Neither a link nor a FIFO that came since is followed or waited for.
        .custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed())
        .open(from)?;
    let mut file = tempfile::Builder::new()
        .permissions(original.metadata()?.permissions())
        .tempfile_in(target.join(SPOOL))?;
    let bytes = io::copy(&mut &original, &mut file)?;
    file.as_file()
        .set_modified(original.metadata()?.modified()?)?;
    file.as_file().sync_all()?;
    file.persist(to)?;
    Ok(bytes)
}

fn make_directory(directory: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o755).create(directory) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => {
            made?;
            File::open(directory.parent().unwrap_or(directory))?.sync_all()
        }
    }
}

/// Gives the target the id of the site, with a mark that is behind every other until the copy is complete. Fails if it holds images of
/// another site, or an older copy of this one's, of which [`copy`] would delete what the site no longer has.
pub(crate) fn claim(target: &Path, id: u64) -> io::Result<()> {
    let docroot = Docroot::open(target, Durability::Full)?;
    let why_not = match docroot.identity()? {
        Some(found) if found.id != id => Some("it holds images of another site"),
        // An earlier run of the same move.
        Some(Identity { mark: 0, .. }) => None,
        Some(_) if docroot.has_images()? => Some(
            "it holds an older copy of this site's images: remove its directory p, or name another directory",
        ),
        None if docroot.has_images()? => Some("it holds images of another site"),
        Some(_) | None => None,
    };
    if let Some(why) = why_not {
        return Err(io::Error::other(why));
    }
    docroot.set_identity(Identity { id, mark: 0 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expiry::StoreDuration;
    use crate::image::ImageType;
    use std::fs;
    use time::macros::date;

    #[test]
    fn images_in_quarantine_are_copied_too() {
        let directory = tempfile::tempdir().expect("a directory");
        let [source, target] = ["source", "target"].map(|name| directory.path().join(name));
        for place in [&source, &target] {
            fs::create_dir(place).expect("made");
        }
        let [from, to] =
            [&source, &target].map(|place| Docroot::open(place, Durability::Full).expect("open"));
        let day = date!(2026 - 04 - 05);
        let path = ImagePath::random(StoreDuration::Lifetime, day, 10, ImageType::Png);
        let path = path.expect("random");
        let file = path.below(&source);
        fs::create_dir_all(file.parent().expect("a directory")).expect("made");
        fs::write(&file, b"bytes").expect("written");
        copy(&source, &target, &|_| {}).expect("copied");
        let moved = from.quarantine(std::slice::from_ref(&path)).remove(0);
        assert!(moved.expect("moved"));
        let copied = copy(&source, &target, &|_| {}).expect("copied");
        assert_eq!((copied.new, copied.deleted), (1, 1));
        assert!(!path.below(&target).exists(), "it is not served there");
        let stored = to.stat_quarantined(&path).expect("known");
        assert_eq!(stored.expect("there").size, 5);
        assert_eq!(copy(&source, &target, &|_| {}).expect("copied").new, 0);
    }

    #[test]
    fn a_repeated_copy_follows_the_source() {
        let directory = tempfile::tempdir().expect("a directory");
        let [source, target] = ["source", "target"].map(|name| directory.path().join(name));
        for place in [&source, &target] {
            fs::create_dir(place).expect("made");
        }
        let paths = StoreDuration::ALL.map(|duration| {
            ImagePath::random(duration, date!(2026 - 04 - 05), 10, ImageType::Png).expect("random")
        });
        let write = |path: &ImagePath, bytes: &[u8]| {
            let file = path.below(&source);
            fs::create_dir_all(file.parent().expect("a directory")).expect("made");
            fs::write(&file, bytes).expect("written");
            let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_900_000_000);
            File::options()
                .write(true)
                .open(&file)
                .and_then(|file| file.set_modified(time))
                .expect("marked");
        };
        for path in &paths[..3] {
            write(path, b"bytes");
        }
        let first = copy(&source, &target, &|_| {}).expect("copied");
        assert_eq!((first.images, first.new, first.bytes), (3, 3, 15));
        let second = copy(&source, &target, &|_| {}).expect("copied");
        assert_eq!((second.images, second.new, second.deleted), (3, 0, 0));

        write(&paths[3], b"more");
        write(&paths[0], b"other bytes");
        fs::remove_file(paths[1].below(&source)).expect("deleted");
        let third = copy(&source, &target, &|_| {}).expect("copied");
        assert_eq!((third.images, third.new, third.deleted), (3, 2, 1));
        for path in [&paths[0], &paths[2], &paths[3]] {
            let [from, to] = [&source, &target].map(|root| path.below(root));
            assert_eq!(fs::read(&from).expect("read"), fs::read(&to).expect("read"));
            let [from, to] = [from, to].map(|file| {
                fs::metadata(file)
                    .and_then(|metadata| metadata.modified())
                    .expect("known")
            });
            assert_eq!(from, to);
        }
        assert!(!paths[1].below(&target).exists());
        let spooled = fs::read_dir(target.join(SPOOL)).expect("readable").count();
        assert_eq!(spooled, 0);
    }
}
