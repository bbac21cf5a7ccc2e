//! `image …`: shows and deletes images.

use serde_json::{Value, json};

use super::image_list::list;
use super::{Failure, print_fields, recover, takedown};
use crate::cli::ImageCommand;
use crate::config::Config;
use crate::expiry::expires_at;
use crate::image_path::ImagePath;
use crate::ledger::ImageRow;
use crate::site::{self, Site};

pub(super) fn image(config: &Config, command: ImageCommand) -> Result<(), Failure> {
    match command {
        ImageCommand::Delete(arguments) => takedown::delete(config, &arguments),
        ImageCommand::Quarantine(arguments) => takedown::quarantine(config, &arguments, false),
        ImageCommand::Block(arguments) => takedown::quarantine(config, &arguments, true),
        ImageCommand::Release(arguments) => takedown::release(config, &arguments),
        ImageCommand::Show { image, json } => {
            let Site { ledger, .. } = open(config)?;
            let path = path_of(config, &image)?;
            let row = ledger.image(&path)?.ok_or_else(|| {
                Failure::failed(format!(
                    "the ledger has no image {path}: it has expired, was deleted, or never existed"
                ))
            })?;
            print_fields(describe(config, &row), json)
        }
        ImageCommand::List(arguments) => {
            let Site { ledger, .. } = open(config)?;
            list(config, &*ledger, *arguments)
        }
    }
}

/// Opens ledger and docroot, after what a killed responder left in the write-ahead log is recovered.
pub(super) fn open(config: &Config) -> Result<Site, Failure> {
    let site = site::open_existing(config)?;
    recover(config, &site)?;
    Ok(site)
}

pub(super) fn path_of(config: &Config, reference: &str) -> Result<ImagePath, Failure> {
    ImagePath::from_reference(reference, config.site.public_url())
        .map_err(|error| Failure::usage(format!("{reference:?} is {error}")))
}

pub(super) fn describe(config: &Config, row: &ImageRow) -> Value {
    let public_url = config.site.public_url();
    json!({
        "path": row.path.as_str(),
        "url": row.path.direct_url(public_url),
        "viewer": row.path.viewer_url(public_url),
        "client": row.client,
        "client_removed_at": row.client_removed_at.map(|at| at.to_string()),
        "bytes": row.size,
        "width": row.width,
        "height": row.height,
        "uploaded_at": row.uploaded_at.to_string(),
        "expires_at": expires_at(row.expires_at),
        "address": row.address.map(|address| address.to_canonical()),
        "quarantine": row.quarantine.as_ref().map(|quarantine| json!({
            "since": quarantine.at.to_string(),
            "until": quarantine.until.map(|until| until.to_string()),
            "reason": quarantine.reason,
        })),
    })
}

pub(super) const fn state(row: &ImageRow) -> &'static str {
    if row.quarantine.is_some() {
        "quarantined"
    } else {
        "served"
    }
}
