//! The file of the access key, `ACCESS:SECRET`.

use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use rustix::fs::OFlags;
use rusty_s3::Credentials;

/// What the owner and the group of the file may be allowed.
const MODE: u32 = 0o640;

/// The largest file that is read, in bytes.
const MAX_SIZE: u64 = 1024;

/// Reads the file. Fails if others than its owner and its group may read it, or if its content is not `ACCESS:SECRET`. No message has
/// a part of the key.
pub(crate) fn read(file: &Path) -> io::Result<Credentials> {
    let failed = |kind, cause: String| {
        let text = format!("[storage] key_file {}: {cause}", file.display());
        io::Error::new(kind, text)
    };
    let mut opened = OpenOptions::new()
        .read(true)
        // A FIFO in its place is not waited for.
        .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
        .open(file)
        .map_err(|error| {
            let place = file.display();
            let advice = match error.kind() {
                io::ErrorKind::NotFound => "; write the access key there, ACCESS:SECRET".to_owned(),
                io::ErrorKind::PermissionDenied => format!(
                    "; let the account of the responder read it: `chgrp corenexis-cdn {place} && chmod 0640 {place}`"
                ),
                _ => String::new(),
            };
            failed(error.kind(), format!("{error}{advice}"))
        })?;
    let metadata = opened.metadata()?;
    let invalid = |cause: String| Err(failed(io::ErrorKind::InvalidData, cause));
    if !metadata.is_file() {
        return invalid("it is not a regular file".to_owned());
    }
    let mode = metadata.permissions().mode() & 0o777;
    if mode & !MODE != 0 {
        return invalid(format!(
            "others may read the key (mode {mode:04o}): `chgrp corenexis-cdn {0} && chmod 0640 {0}`",
            file.display()
        ));
    }
    let mut text = String::new();
    Read::take(&mut opened, MAX_SIZE)
        .read_to_string(&mut text)
        .map_err(|error| failed(error.kind(), error.to_string()))?;
    let is_part = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_graphic());
    match text.trim().split_once(':') {
        Some((access, secret)) if is_part(access) && is_part(secret) => {
            Ok(Credentials::new(access, secret))
        }
        _ => invalid("expected one line, ACCESS:SECRET".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, Permissions};

    #[test]
    fn a_key_is_one_line_that_only_owner_and_group_read() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("s3.key");
        let write = |text: &str, mode| {
            fs::write(&file, text).expect("written");
            fs::set_permissions(&file, Permissions::from_mode(mode)).expect("its mode");
            read(&file)
        };
        for mode in [0o400, 0o440, 0o600, 0o640] {
            let key = write("AK/1:se:cr+et/=\n", mode).expect("a key");
            assert_eq!((key.key(), key.secret()), ("AK/1", "se:cr+et/="));
            assert!(!format!("{key:?}").contains("cr+et"), "{key:?}");
        }
        for mode in [0o644, 0o660, 0o604, 0o641, 0o700] {
            let error = write("AK:secret", mode).expect_err("others").to_string();
            assert!(error.contains("chmod 0640"), "{error}");
        }
        for text in [
            "",
            "AK",
            "AK:",
            ":secret",
            "AK:sec ret",
            "AK:secret\nmore",
            "AK:\u{e9}",
        ] {
            let error = write(text, 0o600).expect_err(text).to_string();
            assert!(error.contains("ACCESS:SECRET"), "{error}");
            assert!(!error.contains("sec"), "{error}");
        }
        let error = read(&directory.path().join("none")).expect_err("no file");
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert!(read(directory.path()).is_err(), "a directory");
    }
}
