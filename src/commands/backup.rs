//! `backup` and `restore` of the ledger.

use std::path::Path;

use serde_json::{Value, json};
use time::UtcDateTime;

use super::{Failure, confirm, print, print_json, spinner};
use crate::config::Config;
use crate::ledger::{self, Contents, LedgerError};
use crate::site;

pub(super) fn backup(config: &Config, file: &Path, force: bool, json: bool) -> Result<(), Failure> {
    site::check(config)?;
    let bar = spinner();
    bar.set_message(format!("writing {}", file.display()));
    let outcome = ledger::back_up(config, file, force);
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
    let path = &config.ledger.path;
    let contents = ledger::check_backup(file)?;
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
    let bar = spinner();
    bar.set_message(format!("restoring {}", path.display()));
    let outcome = ledger::restore(config, file, UtcDateTime::now());
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
        "Start the responder again; `corenexis-cdn verify --rebuild` then gives rows to images that were uploaded after the backup."
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
