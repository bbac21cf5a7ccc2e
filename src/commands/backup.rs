//! `backup` and `restore`: the ledger as one file, and back.

use std::path::Path;

use serde_json::{Value, json};
use time::UtcDateTime;

use super::{Failure, confirm, instant, open_existing_ledger, print, print_json, spinner};
use crate::config::Config;
use crate::ledger::LedgerError;
use crate::ledger::sqlite::backup::{self, Contents};

pub(super) fn backup(config: &Config, file: &Path, force: bool, json: bool) -> Result<(), Failure> {
    let ledger = open_existing_ledger(config)?;
    let bar = spinner();
    bar.set_message(format!("writing {}", file.display()));
    let outcome = ledger.backup(file, force);
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

pub(super) fn restore(config: &Config, file: &Path, yes: bool, json: bool) -> Result<(), Failure> {
    let ledger = &config.ledger.path;
    let contents = backup::check(file)?;
    if !yes {
        confirm(
            &format!(
                "Put {}, which holds {}, in the place of the ledger {}?",
                file.display(),
                describe(&contents),
                ledger.display()
            ),
            "nothing was restored",
        )?;
    }
    let bar = spinner();
    bar.set_message(format!("restoring {}", ledger.display()));
    let outcome = backup::restore(file, ledger, UtcDateTime::now());
    bar.finish_and_clear();
    let restored = outcome.map_err(|error| match error {
        LedgerError::Busy(cause) => Failure::busy(format!("nothing was restored: {cause}")),
        error => error.into(),
    })?;
    if json {
        let mut report = machine_readable(ledger, &restored.contents);
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
            ledger.display(),
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
        "Start the responder again; `corenexis-cdn verify --rebuild` then gives rows to images that were uploaded after the backup."
    );
    Ok(())
}

/// The file is a ledger.
fn machine_readable(file: &Path, contents: &Contents) -> Value {
    json!({
        "file": file.display().to_string(),
        "clients": contents.clients,
        "images": contents.images,
        "newest": contents.newest.map(instant),
    })
}

fn describe(contents: &Contents) -> String {
    let Contents {
        clients,
        images,
        newest,
    } = contents;
    let newest = newest.map_or_else(String::new, |newest| {
        format!(", the newest of {}", instant(newest))
    });
    format!("{clients} clients and {images} images{newest}")
}

#[cfg(test)]
mod tests {
    use super::*;

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
            newest: Some(0),
            ..empty
        };
        assert_eq!(
            describe(&some),
            "2 clients and 7 images, the newest of 1970-01-01T00:00:00Z"
        );
    }
}
