//! `backup` and `restore` of the ledger.

mod retention;

use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use rustix::fs::{Access, AtFlags, CWD, OFlags, accessat};
use serde_json::{Value, json};
use tempfile::TempPath;
use time::UtcDateTime;

use super::{Failure, confirm, print, print_json, recover, spinner};
use crate::config::Config;
use crate::ledger::{self, Contents, FileTask, LedgerError};
use crate::owner::Owner;
use crate::site;

/// `backup DIRECTORY --keep N`: a file with the time in its name, and then the newest `keep` of them.
pub(super) fn backup_and_keep(
    config: &Config,
    directory: &Path,
    keep: u16,
    json: bool,
) -> Result<(), Failure> {
    if !directory.is_dir() {
        return Err(Failure::storage(format!(
            "{} is no directory, which --keep needs: make it first, for the account that writes the backups",
            directory.display()
        )));
    }
    let file = retention::file_in(directory, UtcDateTime::now());
    backup(config, &file, false, json)?;
    let delete = || retention::delete_older(directory, keep.into());
    let deleted = match Owner::of(config)? {
        Some(owner) if owner.run(|| may_write(directory))? => owner.run(delete)?,
        _ => delete(),
    };
    let deleted = deleted.map_err(|error| {
        Failure::storage(format!(
            "older backups in {} could not be deleted: {error}",
            directory.display()
        ))
    })?;
    for file in deleted {
        eprintln!("{} is deleted: the newest {keep} are kept", file.display());
    }
    Ok(())
}

pub(super) fn backup(config: &Config, file: &Path, force: bool, json: bool) -> Result<(), Failure> {
    ledger::require_file(config, FileTask::BackUp)?;
    let bar = spinner();
    bar.set_message(format!("writing {}", file.display()));
    let outcome = write(config, file, force);
    bar.finish_and_clear();
    let contents = outcome?;
    if json {
        return print_json(&machine_readable(file, &contents));
    }
    print(&format!(
        "{} holds {}\n",
        file.display(),
        describe(&contents)
    ))
}

/// Writes the backup. Root works as the owner of the ledger; only a file in a directory that the owner may not write is root's.
fn write(config: &Config, file: &Path, force: bool) -> Result<Contents, Failure> {
    let as_owner = || -> Result<Contents, Failure> {
        recover(config, &site::open_existing(config)?)?;
        Ok(ledger::back_up(config, file, force)?)
    };
    let directory = directory_of(file);
    match Owner::of(config)? {
        None => as_owner(),
        Some(owner) if owner.run(|| may_write(directory))? => owner.run(as_owner)?,
        Some(owner) => {
            require_private(directory)?;
            let (mut copy, contents) = owner.run(|| -> Result<_, Failure> {
                recover(config, &site::open_existing(config)?)?;
                Ok(ledger::back_up_unnamed(config)?)
            })??;
            place(&mut copy, file, force).map_err(|error| {
                Failure::storage(format!(
                    "no backup at {}: {error}{}",
                    file.display(),
                    if error.kind() == io::ErrorKind::AlreadyExists {
                        "; --force replaces it"
                    } else {
                        ""
                    }
                ))
            })?;
            Ok(contents)
        }
    }
}

fn directory_of(file: &Path) -> &Path {
    match file.parent() {
        Some(directory) if !directory.as_os_str().is_empty() => directory,
        Some(_) => Path::new("."),
        None => Path::new("/"),
    }
}

fn may_write(directory: &Path) -> bool {
    let access = Access::WRITE_OK | Access::EXEC_OK;
    accessat(CWD, directory, access, AtFlags::EACCESS).is_ok()
}

/// Root writes only where no other account may.
fn require_private(directory: &Path) -> Result<(), Failure> {
    let metadata = fs::metadata(directory).map_err(|error| {
        Failure::storage(format!("no backup in {}: {error}", directory.display()))
    })?;
    if metadata.uid() == 0 && metadata.mode() & 0o022 == 0 {
        return Ok(());
    }
    Err(Failure::storage(format!(
        "root does not write a backup to {}, which another account may write: name a directory of root's, or run \
         `sudo -u ACCOUNT corenexis-cdn backup FILE` as the account that owns it",
        directory.display()
    )))
}

/// Copies a backup to a file of root's: under a temporary name, synced, renamed, and the directory synced.
fn place(copy: &mut File, file: &Path, force: bool) -> io::Result<()> {
    let mut target = tempfile::Builder::new()
        .permissions(Permissions::from_mode(0o640))
        .tempfile_in(directory_of(file))?;
    io::copy(copy, &mut target)?;
    target.as_file().sync_all()?;
    if force {
        target.persist(file)?;
    } else {
        target.persist_noclobber(file)?;
    }
    File::open(directory_of(file))?.sync_all()
}

/// The backup as a file that the owner of the ledger may read: itself, or a copy beside the ledger of one that only root may read.
fn readable(config: &Config, file: &Path) -> Result<Option<TempPath>, Failure> {
    let Some(owner) = Owner::of(config)? else {
        return Ok(None);
    };
    let open = || {
        // Does not wait for the writer of a FIFO.
        let flags = OFlags::NONBLOCK.bits().cast_signed();
        OpenOptions::new().read(true).custom_flags(flags).open(file)
    };
    let staged = if owner.run(|| open().is_ok())? {
        None
    } else {
        let unreadable =
            |error| Failure::storage(format!("{} cannot be read: {error}", file.display()));
        let mut backup = open().map_err(unreadable)?;
        if !backup.metadata().map_err(unreadable)?.is_file() {
            return Err(unreadable(io::Error::other("it is not a regular file")));
        }
        Some(owner.run(|| ledger::stage_backup(config, &mut backup))??)
    };
    owner.become_owner()?;
    Ok(staged)
}

pub(super) fn restore(config: &Config, file: &Path, yes: bool, json: bool) -> Result<(), Failure> {
    let path = ledger::require_file(config, FileTask::Restore)?;
    let staged = readable(config, file)?;
    let backup = staged.as_deref().unwrap_or(file);
    let contents = ledger::check_backup(backup)?;
    if !yes {
        confirm(
            &format!(
                "Put {}, which holds {}, in the place of the ledger {}?",
                file.display(),
                describe(&contents),
                path.display()
            ),
            "nothing was restored",
        )?;
    }
    // Images whose files only the log has. A ledger that is broken cannot say which ones they are.
    if let Ok(site) = site::open_existing(config)
        && let Err(failure) = recover(config, &site)
    {
        eprintln!("{}", failure.message);
    }
    let bar = spinner();
    bar.set_message(format!("restoring {}", path.display()));
    let outcome = ledger::restore(config, backup, UtcDateTime::now());
    bar.finish_and_clear();
    let restored = outcome.map_err(|error| match error {
        LedgerError::Busy(cause) => Failure::busy(format!("nothing was restored: {cause}")),
        error => error.into(),
    })?;
    if json {
        let mut report = machine_readable(path, &restored.contents);
        report["replaced"] = json!(
            restored
                .replaced
                .as_ref()
                .map(|path| path.display().to_string())
        );
        print_json(&report)?;
    } else {
        print(&format!(
            "{} holds {}\n",
            path.display(),
            describe(&restored.contents)
        ))?;
    }
    if let Some(replaced) = restored.replaced {
        eprintln!(
            "The ledger that was there is kept as {}.",
            replaced.display()
        );
    }
    eprintln!(
        "Now `corenexis-cdn verify --rebuild` adds rows for the images that were uploaded after the backup; then start the responder."
    );
    Ok(())
}

fn machine_readable(file: &Path, contents: &Contents) -> Value {
    json!({
        "file": file.display().to_string(),
        "clients": contents.clients,
        "images": contents.images,
        "newest": contents.newest.map(|at| at.to_string()),
    })
}

fn describe(contents: &Contents) -> String {
    let Contents {
        clients,
        images,
        newest,
    } = contents;
    let newest = newest.map_or_else(String::new, |newest| format!(", the newest of {newest}"));
    format!("{clients} clients and {images} images{newest}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timestamp::Timestamp;

    #[test]
    fn contents_say_how_new_they_are() {
        let empty = Contents {
            clients: 2,
            images: 0,
            newest: None,
        };
        assert_eq!(describe(&empty), "2 clients and 0 images");
        let some = Contents {
            images: 7,
            newest: Some(Timestamp(0)),
            ..empty
        };
        assert_eq!(
            describe(&some),
            "2 clients and 7 images, the newest of 1970-01-01T00:00:00Z"
        );
    }
}
