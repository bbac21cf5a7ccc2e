//! `storage copy` and `ledger copy`: images and rows in a store or a ledger of another kind. `move docroot` copies images by the same steps.

use std::io;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{HumanBytes, ProgressBar, ProgressStyle};

use super::{Failure, as_owner, read_config, recover, spinner};
use crate::cli::CopyArguments;
use crate::config::Config;
use crate::copy::images::{Comparison, Copied, ImageCopy, Progress, Scope};
use crate::copy::{Target, rows};
use crate::identity::{Identity, LedgerState};
use crate::image_path::{Directory, IMAGE_ROOT};
use crate::ledger::{self, LedgerError, Table};
use crate::site;
use crate::store::{self, SPOOL, Store};

/// What the operator does after a copy.
const NEXT: &str = "Leave responder and sweep stopped, put the new configuration in the place of the old one, and run `install.sh`, which \
                    starts them; then run `corenexis-cdn verify`.";

/// Both configurations, read before root becomes the account of the service.
fn configs(path: &Path, arguments: &CopyArguments) -> Result<(Config, Config), Failure> {
    let target = read_config(&arguments.to_config)?;
    Ok((as_owner(path)?, target))
}

pub(super) fn storage(path: &Path, arguments: &CopyArguments) -> Result<(), Failure> {
    let (config, new) = configs(path, arguments)?;
    let (from, to) = (store::place(&config), store::place(&new));
    if from == to {
        return Err(same_place("[storage]", &from, arguments));
    }
    if config.storage.s3.is_none() && new.storage.s3.is_none() {
        return Err(Failure::configuration(
            "both configurations have a docroot: `corenexis-cdn move docroot` moves images to another one",
        ));
    }
    let copy = open(&config, &new)?;
    let source = || ledger::open_source(&config);
    let (_held, copied) = run(&config, &copy, Comparison::Contents, source)?;
    let identity = identity_of(&*copy.from)?;
    let named = copy.to.set_identity(identity);
    named.map_err(|error| unusable(&to, &error))?;
    eprintln!(
        "Complete: {} images in the {from} and in the {to} ({} copied now, {}), which has the identity of the site now. {NEXT} The {from} is \
         kept as it was: remove {} when everything works.",
        copied.images,
        copied.new,
        HumanBytes(copied.bytes),
        match config.storage.s3 {
            Some(_) => "its objects".to_owned(),
            // The pages lie beside them, and are still served.
            None => format!(
                "what is below {}/{IMAGE_ROOT}",
                config.storage.docroot.display()
            ),
        }
    );
    Ok(())
}

/// Opens the images of the site and the target, which is marked as an unfinished copy.
pub(super) fn open(config: &Config, new: &Config) -> Result<ImageCopy, Failure> {
    let site = site::open_existing(config)?;
    recover(config, &site)?;
    let (to, target) = open_target(new, identity_of(&*site.store)?)?;
    Ok(ImageCopy {
        from: site.store,
        to,
        target,
    })
}

/// Copies all images: while others come, all that are there, and under the lock of the ledger those that came meanwhile. Returns the lock.
pub(super) fn run<L>(
    config: &Config,
    copy: &ImageCopy,
    comparison: Comparison,
    lock: impl Fn() -> Result<L, LedgerError>,
) -> Result<(L, Copied), Failure> {
    let (from, to) = (copy.from.place(), copy.to.place());
    let failed = |error: io::Error| {
        let next = next(&error).unwrap_or("the same command again goes on");
        Failure::storage(format!("not all images were copied: {error}; {next}"))
    };
    let require_same = |copied: &Copied| match copied.left {
        0 => Ok(()),
        images => Err(Failure::storage(format!(
            "the {to} differs from the {from} in {images} images, which were left as they are, because it may have been in use: empty it, or \
             name another one, and run the same command again"
        ))),
    };
    let bar = directories();
    let progress = shown(&bar);
    let mut held = unless_busy(lock())?;
    if held.is_none() {
        let copied = copy.run(&Scope::all(), comparison, &progress);
        let copied = copied.map_err(failed)?;
        bar.suspend(|| {
            eprintln!(
                "{} images are in the {to} ({} copied now, {}).",
                copied.images,
                copied.new,
                HumanBytes(copied.bytes)
            );
        });
        require_same(&copied)?;
        bar.reset();
        held = unless_busy(lock())?;
    }
    let held = held.ok_or_else(|| {
        Failure::busy(
            "the responder runs, so the copy is not complete: stop it on every host and run the same command again, which copies only \
             what came since",
        )
    })?;
    site::check(config)?;
    let copied = complete(copy, &progress).map_err(failed)?;
    bar.finish_and_clear();
    require_same(&copied)?;
    Ok((held, copied))
}

/// Copies what is missing while nothing changes in the source. Afterwards the directories in which something changed are listed again, as
/// the proof that both sides have the same images.
fn complete(copy: &ImageCopy, progress: &(dyn Fn(Progress<'_>) + Sync)) -> io::Result<Copied> {
    let copied = copy.run(&Scope::all(), Comparison::Listed, progress)?;
    if !copied.changed.is_empty() {
        let proof = copy.run(&copied.changed, Comparison::Listed, &|news| {
            if let Progress::Waits(_) = news {
                progress(news);
            }
        })?;
        if !proof.changed.is_empty() || proof.left > copied.left {
            return Err(io::Error::other(
                "what was copied was not in the list of the target: does something else delete there, or does another copy run?",
            ));
        }
    }
    Ok(copied)
}

/// Reports the progress of a copy: by the bar, or by lines where there is no terminal.
fn shown(bar: &ProgressBar) -> impl Fn(Progress<'_>) + Sync {
    let told = Mutex::new(Instant::now());
    move |news| {
        let copied = match news {
            Progress::Done(copied) => copied,
            Progress::Waits(error) => {
                return bar.suspend(|| eprintln!("{error}; trying again for a minute"));
            }
        };
        let text = format!(
            "{} images, {} copied ({})",
            copied.images,
            copied.new,
            HumanBytes(copied.bytes)
        );
        if bar.is_hidden() {
            tell_each_minute(&told, &text);
        } else {
            bar.set_position(copied.directories);
            bar.set_message(text);
        }
    }
}

/// Prints a line each minute where there is no terminal for a bar.
fn tell_each_minute(last: &Mutex<Instant>, text: &str) {
    let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
    if last.elapsed() >= Duration::from_mins(1) {
        *last = Instant::now();
        eprintln!("{text}");
    }
}

/// Checks the target, then opens it and marks it as an unfinished copy.
fn open_target(new: &Config, source: Identity) -> Result<(Box<dyn Store>, Target), Failure> {
    let place = store::place(new);
    let failed = |error: io::Error| match &new.storage {
        // The docroot of the pages is root's.
        storage if storage.s3.is_none() && error.kind() == io::ErrorKind::PermissionDenied => {
            let docroot = storage.docroot.display();
            Failure::storage(format!(
                "the {place} cannot be used: {error}; make it for the account of the responder, as root: `install -d -o corenexis-cdn \
                 {docroot}/{IMAGE_ROOT} {docroot}/{SPOOL}`"
            ))
        }
        _ => unusable(&place, &error),
    };
    let unfinished = Identity { mark: 0, ..source };
    let view = store::view(new).map_err(failed)?;
    let found = view.identity().map_err(failed)?;
    let is_empty = found.is_some() || !view.has_images().map_err(failed)?;
    let target = Target::of(found, is_empty, source, unfinished).map_err(|why| {
        Failure::storage(format!(
            "nothing is copied to the {place}: {why}; name an empty one"
        ))
    })?;
    view.check_writable().map_err(failed)?;
    let store = store::open_target(new).map_err(failed)?;
    if target == Target::Unfinished {
        store.set_identity(unfinished).map_err(failed)?;
    }
    Ok((store, target))
}

fn unusable(place: &str, error: &io::Error) -> Failure {
    let next = next(error).map_or_else(String::new, |next| format!("; {next}"));
    Failure::storage(format!("the {place} cannot be used: {error}{next}"))
}

/// What to do about a store that failed; `None` where that depends on the error.
fn next(error: &io::Error) -> Option<&'static str> {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            Some("free space there, and run the same command again, which goes on")
        }
        io::ErrorKind::ResourceBusy => {
            Some("when the store works again, run the same command again, which goes on")
        }
        io::ErrorKind::PermissionDenied => {
            Some("correct that, and run the same command again, which goes on")
        }
        _ => None,
    }
}

fn no_identity() -> Failure {
    Failure::failed(
        "the site has no identity yet: start the responder once, then run the same command again",
    )
}

fn identity_of(store: &dyn Store) -> Result<Identity, Failure> {
    let identity = store.identity();
    let identity = identity.map_err(|error| unusable(&store.place(), &error))?;
    identity.ok_or_else(no_identity)
}

fn same_place(table: &str, place: &str, arguments: &CopyArguments) -> Failure {
    Failure::configuration(format!(
        "{}: {table} names the present one, {place}: name another one",
        arguments.to_config.display()
    ))
}

/// What was opened under a lock of the ledger; `None` while another process has the ledger open.
fn unless_busy<T>(opened: Result<T, LedgerError>) -> Result<Option<T>, Failure> {
    match opened {
        Err(LedgerError::Busy(_) | LedgerError::SweepRuns) => Ok(None),
        opened => Ok(Some(opened?)),
    }
}

pub(super) fn ledger(path: &Path, arguments: &CopyArguments) -> Result<(), Failure> {
    let (config, new) = configs(path, arguments)?;
    let (from, to) = (config.ledger.to_string(), new.ledger.to_string());
    if from == to {
        return Err(same_place("[ledger]", &from, arguments));
    }
    if config.ledger.postgres.is_none() && new.ledger.postgres.is_none() {
        return Err(Failure::configuration(
            "both configurations have a ledger in SQLite: `corenexis-cdn move ledger` moves it to another file",
        ));
    }
    // The state is read before anything is changed, so that a target that is refused stays as it was.
    let target = ledger::state(&new)?;
    recover(&config, &site::open_existing(&config)?)?;
    let source = unless_busy(ledger::open_source(&config))?.ok_or_else(|| {
        Failure::busy(
            "a responder, a sweep or another command has the ledger open, so nothing was copied: stop the responders on every host, and \
             run the same command again",
        )
    })?;
    let pair = site::check(&config);
    let LedgerState::Named(identity) = ledger::state(&config)? else {
        return Err(no_identity());
    };
    pair?;
    let (found, is_empty) = match target {
        LedgerState::Missing => (None, true),
        LedgerState::Unnamed { has_images } => (None, !has_images),
        LedgerState::Named(found) => (Some(found), false),
    };
    let target = Target::of(found, is_empty, identity, identity.unfinished()).map_err(|why| {
        Failure::storage(format!(
            "nothing is copied to the ledger {to}: {why}; name an empty one"
        ))
    })?;
    let again = |error: LedgerError| {
        Failure::storage(match error {
            // What is read needs no space.
            LedgerError::Full(why) => format!(
                "the file system of the ledger {to} is full: {why}; free space there, and run the same command again, which goes on"
            ),
            error => format!(
                "the ledger could not be copied from {from} to {to}: {error}; the same command again goes on"
            ),
        })
    };
    let copy = ledger::open_target(&new).map_err(|error| match error {
        LedgerError::Full(_) => again(error),
        error => error.into(),
    })?;
    if found.is_none() && !copy.rows(&ledger::CLIENTS, None, 1)?.is_empty() {
        return Err(Failure::storage(format!(
            "nothing is copied to the ledger {to}: it has clients of another site; name an empty one"
        )));
    }
    let bar = spinner();
    let told = |what: &'static str| {
        let bar = &bar;
        move |table: &Table, rows: u64| bar.set_message(format!("{what} {table}: {rows} rows"))
    };
    if target == Target::Unfinished {
        let unfinished = identity.unfinished();
        copy.update_identity(&mut |_| Ok(unfinished))
            .map_err(again)?;
        rows::copy(&*source, &*copy, &told("copying")).map_err(again)?;
    }
    let proof = rows::prove(&*source, &*copy, &told("comparing")).map_err(again)?;
    bar.finish_and_clear();
    if proof.differences > 0 {
        return Err(Failure::storage(match target {
            Target::Unfinished => format!(
                "the ledger {from} changed while it was copied ({} rows differ): stop the responders on every host, and run the same command \
                 again",
                proof.differences
            ),
            Target::Complete => format!(
                "the ledger {to} has an older copy ({} rows differ), which was left as it is, because it may have been in use: remove it{}, or \
                 name another one, and run the same command again",
                proof.differences,
                match new.ledger.postgres {
                    Some(_) => " (DROP SCHEMA corenexis CASCADE)",
                    None => "",
                }
            ),
        }));
    }
    copy.update_identity(&mut |_| Ok(identity)).map_err(again)?;
    eprintln!(
        "Complete: {} rows in {from} and in {to}, among them {} clients and {} images of {} bytes. {NEXT} {from} is kept as \
         it was: remove it when everything works.",
        proof.rows, proof.clients, proof.images, proof.bytes
    );
    Ok(())
}

fn directories() -> ProgressBar {
    let bar = spinner();
    bar.set_length(Directory::COUNT);
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} directories, {msg}") {
        bar.set_style(style);
    }
    bar
}
