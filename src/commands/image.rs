//! `image …`: shows and deletes images.

use serde_json::{Value, json};

use super::image_list::list;
use super::{Failure, print_fields, print_json, recover};
use crate::cli::ImageCommand;
use crate::config::Config;
use crate::expiry::{Expiry, NEVER_EXPIRES};
use crate::image_path::ImagePath;
use crate::ledger::{ImageRow, Ledger};
use crate::site::{self, Site};
use crate::store::Store;

pub(super) fn image(config: &Config, command: ImageCommand) -> Result<(), Failure> {
    let site = site::open_existing(config)?;
    recover(config, &site)?;
    let Site { ledger, store } = site;
    match command {
        ImageCommand::Show { image, json } => {
            let path = path_of(config, &image)?;
            let row = ledger.image(&path)?.ok_or_else(|| {
                Failure::failed(format!(
                    "the ledger has no image {path}: it has expired, was deleted, or never existed"
                ))
            })?;
            show(config, &row, json)
        }
        ImageCommand::Delete { images } => {
            let paths = images
                .iter()
                .map(|image| path_of(config, image))
                .collect::<Result<Vec<_>, _>>()?;
            delete(&*ledger, &*store, &paths)
        }
        ImageCommand::List(arguments) => list(config, &*ledger, *arguments),
    }
}

pub(super) fn path_of(config: &Config, reference: &str) -> Result<ImagePath, Failure> {
    ImagePath::from_reference(reference, config.site.public_url()).map_err(|error| Failure {
        code: 2,
        message: format!("{reference:?} is {error}"),
    })
}

/// Deletes files before rows: the sweep finds a row without a file.
fn delete(ledger: &dyn Ledger, store: &dyn Store, paths: &[ImagePath]) -> Result<(), Failure> {
    let mut gone = Vec::new();
    let mut failures = Vec::new();
    for (path, outcome) in paths.iter().zip(store.delete(paths)) {
        match outcome {
            Ok(()) => gone.push(path.clone()),
            Err(error) => failures.push(format!("{path} could not be deleted: {error}")),
        }
    }
    let known = ledger.delete_rows(&gone)?.rows;
    eprintln!(
        "{known} deleted, {} not in the ledger, {} failed.",
        gone.len() - known,
        failures.len()
    );
    if failures.is_empty() && known == paths.len() {
        Ok(())
    } else if failures.is_empty() {
        Err(Failure::failed("some of the images did not exist"))
    } else {
        Err(Failure::storage(failures.join("\n")))
    }
}

pub(super) fn describe(config: &Config, row: &ImageRow) -> Value {
    let public_url = config.site.public_url();
    json!({
        "path": row.path.as_str(),
        "url": row.path.direct_url(public_url),
        "viewer": row.path.viewer_url(public_url),
        "client": row.client,
        "bytes": row.size,
        "width": row.width,
        "height": row.height,
        "uploaded_at": row.uploaded_at.to_string(),
        "expires_at": expires_at(row),
        "address": row.address.map(|address| address.to_canonical()),
    })
}

/// The expiry as the API writes it: the last day. A file whose modification time was lost may expire at another time than midnight.
pub(super) fn expires_at(row: &ImageRow) -> String {
    match row.expires_at {
        None => NEVER_EXPIRES.to_owned(),
        Some(at) => Expiry::from_instant(at).map_or_else(|| at.to_string(), |day| day.to_string()),
    }
}

fn show(config: &Config, row: &ImageRow, json: bool) -> Result<(), Failure> {
    let description = describe(config, row);
    if json {
        print_json(&description)
    } else {
        print_fields(description)
    }
}
