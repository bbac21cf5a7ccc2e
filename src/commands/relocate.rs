//! `move`: puts the docroot or the ledger into another directory.

use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown, fchown};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Spanned;

use super::{Failure, copy, read_config, recover};
use crate::cli::MoveCommand;
use crate::config::Config;
use crate::copy::Target;
use crate::copy::images::Comparison;
use crate::image_path::IMAGE_ROOT;
use crate::ledger::{self, FileTask};
use crate::owner::Owner;
use crate::site;
use crate::store::SPOOL;

pub(super) fn relocate(config_file: &Path, command: &MoveCommand) -> Result<(), Failure> {
    let config = read_config(config_file)?;
    ledger::require_file(&config, FileTask::Move)?;
    match command {
        MoveCommand::Docroot { to } => docroot(&config, config_file, to),
        MoveCommand::Ledger { to } => ledger(&config, config_file, to),
    }
}

/// Runs `work` as the owner of the ledger, or as the account that runs this if that is not root.
fn as_owner<T: Send>(config: &Config, work: impl FnOnce() -> T + Send) -> Result<T, Failure> {
    match Owner::of(config)? {
        Some(owner) => Ok(owner.run(work)?),
        None => Ok(work()),
    }
}

fn docroot(config: &Config, config_file: &Path, to: &Path) -> Result<(), Failure> {
    if config.storage.s3.is_some() {
        return Err(Failure::configuration(
            "`move docroot` moves images, and with [storage] kind = \"s3\" they are in the bucket: change [storage] docroot, and render \
             and place the pages again (install.sh)",
        ));
    }
    let from = &config.storage.docroot;
    require_apart(from, to)?;
    as_owner(config, || site::check(config))??;
    make_docroot(config, to)?;
    let mut new = config.clone();
    to.clone_into(&mut new.storage.docroot);
    let lock = as_owner(config, || -> Result<File, Failure> {
        let copy = copy::open(config, &new)?;
        if copy.target == Target::Complete {
            return Err(Failure::storage(format!(
                "nothing is copied to {}: it holds an older copy of this site's images: remove its directory p, or name another directory",
                to.display()
            )));
        }
        let lock = || ledger::lock_exclusively(config);
        let (lock, copied) = copy::run(config, &copy, Comparison::Listed, lock)?;
        eprintln!(
            "{} images are in {} ({} copied now).",
            copied.images,
            to.display(),
            copied.new
        );
        Ok(lock)
    })??;
    let switched = switch(config_file, "storage", "docroot", to)?;
    as_owner(config, || site::accept_moved(&switched, lock))??;
    eprintln!(
        "{} has docroot = {:?} now. Run install.sh, so that nginx serves it, and start the responder. {} is kept as it was: remove it when \
         everything works.",
        config_file.display(),
        to.display().to_string(),
        from.display()
    );
    Ok(())
}

fn ledger(config: &Config, config_file: &Path, to: &Path) -> Result<(), Failure> {
    let from = &config.ledger.path;
    require_apart(from, to)?;
    let directory = parent(to)?;
    make_ledger_directory(config, directory)?;
    let lock = as_owner(config, || -> Result<File, Failure> {
        // The log stays where it is, so its images have to be elsewhere.
        recover(config, &site::open_existing(config)?)?;
        ledger::lock_exclusively(config).map_err(|_| {
            Failure::busy(
                "the responder runs, so nothing was moved: stop it, and run the same command again",
            )
        })
    })??;
    let contents = as_owner(config, || ledger::back_up_locked(config, to))??;
    let switched = switch(config_file, "ledger", "path", to)?;
    as_owner(config, || site::accept_moved(&switched, lock))??;
    eprintln!(
        "{} has the {} clients and {} images, and {} has path = {:?} now. Run install.sh, so that the service may write there, and start the \
         responder. {} is kept as it was: remove it when everything works.",
        to.display(),
        contents.clients,
        contents.images,
        config_file.display(),
        to.display().to_string(),
        from.display()
    );
    Ok(())
}

fn require_apart(from: &Path, to: &Path) -> Result<(), Failure> {
    let refused = |why| {
        Err(Failure::usage(format!(
            "{} cannot be moved to {}: {why}",
            from.display(),
            to.display()
        )))
    };
    if !to.is_absolute() {
        refused("name the new place by an absolute path, starting with /")
    } else if from == to {
        refused("it is there already")
    } else if to.starts_with(from) || from.starts_with(to) {
        refused("one of them lies inside the other")
    } else {
        // Links, mounts and `..` give one directory several paths.
        let place = |path: &Path| {
            fs::metadata(path)
                .map(|found| (found.dev(), found.ino()))
                .ok()
        };
        let has = |ancestor: &Path, path: &Path| {
            let ancestor = place(ancestor);
            let path = path
                .ancestors()
                .find_map(|path| fs::canonicalize(path).ok());
            ancestor.is_some()
                && path.is_some_and(|path| path.ancestors().any(|path| place(path) == ancestor))
        };
        if place(from).is_some() && place(from) == place(to) {
            refused("it is the same place by another path")
        } else if has(from, to) || has(to, from) {
            refused("one of them lies inside the other")
        } else {
            Ok(())
        }
    }
}

fn parent(path: &Path) -> Result<&Path, Failure> {
    path.parent()
        .filter(|_| path.file_name().is_some())
        .ok_or_else(|| Failure::usage(format!("{} is not the path of a file", path.display())))
}

/// Makes the new docroot and what is in it. Root makes it as the installer does: its own, with `p` and `.spool` of the service account.
/// In a directory that another account may write, the service account makes them.
fn make_docroot(config: &Config, to: &Path) -> Result<(), Failure> {
    let failed =
        |error: io::Error| Failure::storage(format!("{} could not be made: {error}", to.display()));
    let owner = Owner::of(config)?;
    if owner.is_some() && !to.is_dir() {
        require_private(parent(to)?)?;
    }
    make_directory(to, 0o755, None).map_err(failed)?;
    let make = |owner| {
        [(IMAGE_ROOT, 0o755), (SPOOL, 0o700)]
            .iter()
            .try_for_each(|(name, mode)| make_directory(&to.join(name), *mode, owner))
    };
    match owner {
        Some(owner) if !is_private(to).map_err(failed)? => owner.run(|| make(None))?,
        owner => make(owner),
    }
    .map_err(failed)
}

fn make_ledger_directory(config: &Config, directory: &Path) -> Result<(), Failure> {
    let owner = Owner::of(config)?;
    if let (Some(_), Some(above)) = (owner, directory.parent())
        && !directory.is_dir()
    {
        require_private(above)?;
    }
    make_directory(directory, 0o750, owner).map_err(|error| {
        Failure::storage(format!(
            "{} could not be made: {error}",
            directory.display()
        ))
    })
}

fn make_directory(directory: &Path, mode: u32, owner: Option<Owner>) -> io::Result<()> {
    match fs::DirBuilder::new().mode(mode).create(directory) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => {
            made?;
            match owner {
                Some(Owner { uid, gid }) => chown(directory, Some(uid), Some(gid)),
                None => Ok(()),
            }
        }
    }
}

/// Root makes directories only where no other account may.
fn require_private(directory: &Path) -> Result<(), Failure> {
    let is_private = is_private(directory).map_err(|error| {
        Failure::storage(format!("{} cannot be used: {error}", directory.display()))
    })?;
    if is_private {
        return Ok(());
    }
    Err(Failure::storage(format!(
        "root makes nothing in {}, which another account may write or rename: make the new directory yourself, owned by the service's account",
        directory.display()
    )))
}

/// Whether only root may change which directory the path names, and what root has made in it.
fn is_private(directory: &Path) -> io::Result<bool> {
    for ancestor in directory.ancestors() {
        let metadata = fs::symlink_metadata(ancestor)?;
        let is_sticky = metadata.mode() & 0o1000 != 0;
        let is_link = metadata.is_symlink();
        if metadata.uid() != 0 || !is_link && metadata.mode() & 0o022 != 0 && !is_sticky {
            return Ok(false);
        }
        // The directories above the target of root's own link count, too.
        if is_link && !is_private(&fs::canonicalize(ancestor)?)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Writes a path into the configuration, which keeps its other lines, and returns the configuration as it is read again.
fn switch(config_file: &Path, table: &str, key: &str, to: &Path) -> Result<Config, Failure> {
    let failed = |error: io::Error| {
        Failure::configuration(format!(
            "{} could not be changed: {error}; set [{table}] {key} = {:?} yourself",
            config_file.display(),
            to.display().to_string()
        ))
    };
    let config_file = fs::canonicalize(config_file).map_err(failed)?;
    let text = fs::read_to_string(&config_file).map_err(failed)?;
    let text = with_path(&text, table, key, &to.display().to_string());
    let config = Config::from_toml(&text).map_err(|error| failed(io::Error::other(error)))?;
    let metadata = fs::metadata(&config_file).map_err(failed)?;
    let mut file = tempfile::Builder::new()
        .permissions(Permissions::from_mode(metadata.mode() & 0o777))
        .tempfile_in(config_file.parent().unwrap_or(Path::new("/")))
        .map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)?;
    fchown(file.as_file(), Some(metadata.uid()), Some(metadata.gid())).map_err(failed)?;
    file.as_file().sync_all().map_err(failed)?;
    file.persist(&config_file)
        .map_err(|error| failed(error.error))?;
    Ok(config)
}

/// The two values that `move` changes, with their places in the text.
#[derive(Deserialize, Default)]
struct Places {
    #[serde(default)]
    storage: Place,
    #[serde(default)]
    ledger: Place,
}

#[derive(Deserialize, Default)]
struct Place {
    docroot: Option<Spanned<PathBuf>>,
    path: Option<Spanned<PathBuf>>,
}

/// The text with `value` for the key of the table; a missing key or table is added.
fn with_path(text: &str, table: &str, key: &str, value: &str) -> String {
    let places: Places = toml::from_str(text).unwrap_or_default();
    let span = match table {
        "storage" => places.storage.docroot,
        _ => places.ledger.path,
    }
    .map(|value| value.span());
    let value = toml::Value::String(value.to_owned());
    let line = format!("{key} = {value}\n");
    if let Some(span) = span {
        return format!("{}{value}{}", &text[..span.start], &text[span.end..]);
    }
    let heading = format!("[{table}]");
    let mut before = 0;
    for existing in text.split_inclusive('\n') {
        before += existing.len();
        if existing.split('#').next().unwrap_or_default().trim() == heading {
            return format!("{}{line}{}", &text[..before], &text[before..]);
        }
    }
    let separator = if text.is_empty() || text.ends_with('\n') {
        ""
    } else {
        "\n"
    };
    format!("{text}{separator}\n{heading}\n{line}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_changed_in_its_place_or_added() {
        let new = |text: &str| with_path(text, "storage", "docroot", "/mnt/a \"b\"");
        for (text, expected) in [
            (
                "[storage] # where\ndocroot = \"/old\" # here\nmin_free = \"1GiB\"\n",
                "[storage] # where\ndocroot = '/mnt/a \"b\"' # here\nmin_free = \"1GiB\"\n",
            ),
            (
                "[storage] # where\nmin_free = \"1GiB\"\n",
                "[storage] # where\ndocroot = '/mnt/a \"b\"'\nmin_free = \"1GiB\"\n",
            ),
            (
                "[site]\npublic_url = \"http://x\"",
                "[site]\npublic_url = \"http://x\"\n\n[storage]\ndocroot = '/mnt/a \"b\"'\n",
            ),
            (
                "storage = { docroot = \"/old\" }\n",
                "storage = { docroot = '/mnt/a \"b\"' }\n",
            ),
        ] {
            assert_eq!(new(text), expected);
        }
    }
}
