//! The file `p/.identity` of a docroot. nginx serves only images below `/p/`, and copies of the images take the file along.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use rustix::fs::OFlags;

use crate::identity::Identity;
use crate::store::identity_document;

const NAME: &str = ".identity";

/// The largest file that is read, in bytes.
const MAX_SIZE: u64 = 4096;

/// Reads the file in `directory`; `None` if there is none.
pub(super) fn read(directory: &Path) -> io::Result<Option<Identity>> {
    let path = directory.join(NAME);
    let opened = OpenOptions::new()
        .read(true)
        // Neither a link nor a FIFO in its place is followed or waited for.
        .custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed())
        .open(&path);
    let file = match opened {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    let invalid = |cause: &dyn std::fmt::Display| {
        let text = format!("{} is not an identity: {cause}", path.display());
        io::Error::new(io::ErrorKind::InvalidData, text)
    };
    if !file.metadata()?.is_file() {
        return Err(invalid(&"it is not a regular file"));
    }
    let mut text = String::new();
    file.take(MAX_SIZE).read_to_string(&mut text)?;
    let identity = identity_document::parse(&text).map_err(|error| invalid(&error))?;
    Ok(Some(identity))
}

/// Replaces the file in `directory`: written beside it, synced, renamed, and the directory synced.
pub(super) fn write(directory: &Path, identity: Identity) -> io::Result<()> {
    let mut file = tempfile::Builder::new()
        .prefix(".identity-")
        .permissions(Permissions::from_mode(0o644))
        .tempfile_in(directory)?;
    file.write_all(identity_document::text(identity).as_bytes())?;
    file.as_file().sync_all()?;
    file.persist(directory.join(NAME))?;
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let directory = tempfile::tempdir().expect("a directory");
        assert_eq!(read(directory.path()).expect("readable"), None);
        for mark in [0, 7] {
            let identity = Identity { id: 0xfe, mark };
            write(directory.path(), identity).expect("written");
            assert_eq!(read(directory.path()).expect("readable"), Some(identity));
        }
        let files = std::fs::read_dir(directory.path())
            .expect("readable")
            .count();
        assert_eq!(files, 1, "no temporary file is left");
    }

    #[test]
    fn links_devices_and_other_text_are_refused() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join(NAME);
        for text in [
            "",
            "id = 7",
            "id = \"xyz\"\nmark = 1",
            "id = \"12\"\nmark = -1",
        ] {
            std::fs::write(&path, text).expect("written");
            read(directory.path()).expect_err(text);
        }
        std::fs::remove_file(&path).expect("removed");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &path,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR,
            0,
        )
        .expect("a FIFO");
        read(directory.path()).expect_err("a FIFO");
        std::fs::remove_file(&path).expect("removed");
        std::os::unix::fs::symlink("/etc/hostname", &path).expect("a link");
        read(directory.path()).expect_err("a link");
    }
}
