//! What a takedown did, image by image: lines or one JSON document, and the exit code.

use std::fmt;

use serde_json::{Value, json};

use super::super::{Failure, print, print_json};
use crate::image_digest::ImageDigest;
use crate::image_path::ImagePath;
use crate::timestamp::Timestamp;

/// The outcomes so far. Those that are done go to standard output, the others to standard error.
#[derive(Debug)]
pub(super) struct Report {
    json: bool,
    dry_run: bool,
    images: Vec<Value>,
    done: usize,
    left: usize,
    /// Whether ledger or docroot failed for one of them.
    has_failed: bool,
    until: Option<Timestamp>,
}

impl Report {
    pub(super) const fn new(json: bool, dry_run: bool) -> Self {
        Self {
            json,
            dry_run,
            images: Vec::new(),
            done: 0,
            left: 0,
            has_failed: false,
            until: None,
        }
    }

    /// What was asked is done, or would be.
    pub(super) fn done(&mut self, path: &ImagePath, outcome: &str) {
        self.done += 1;
        self.images
            .push(json!({ "image": path.as_str(), "outcome": outcome }));
    }

    pub(super) fn blocked(&mut self, path: &ImagePath, digest: ImageDigest) {
        self.done += 1;
        self.images.push(json!({
            "image": path.as_str(),
            "outcome": "blocked",
            "sha256": digest.to_string(),
        }));
    }

    /// Nothing was done, for a reason that lies in the image or its name.
    pub(super) fn left(&mut self, image: &impl fmt::Display, outcome: &str, why: &str) {
        eprintln!("{image} {why}");
        self.left += 1;
        self.images.push(json!({
            "image": image.to_string(),
            "outcome": outcome,
            "cause": why,
        }));
    }

    /// Ledger or docroot failed.
    pub(super) fn broken(&mut self, path: &ImagePath, why: &str) {
        self.has_failed = true;
        self.left(path, "failed", why);
    }

    /// When images are deleted that were quarantined.
    pub(super) const fn until(&mut self, until: Option<Timestamp>) {
        self.until = until;
    }

    /// Prints everything; a failure if an image was left.
    pub(super) fn finish(self, verb: &str) -> Result<(), Failure> {
        if self.json {
            print_json(&json!({
                "dry_run": self.dry_run,
                "images": self.images,
                "done": self.done,
                "left": self.left,
                "deleted_after": self.until.map(|until| until.to_string()),
            }))?;
        } else {
            let lines = self.images.iter().filter(|image| image["cause"].is_null());
            let would = if self.dry_run { "would be " } else { "" };
            let line = |image: &Value| {
                let text = |key: &str| image[key].as_str().unwrap_or_default();
                let digest = match text("sha256") {
                    "" => String::new(),
                    digest => format!(" {digest}"),
                };
                format!("{would}{} {}{digest}\n", text("outcome"), text("image"))
            };
            print(&lines.map(line).collect::<String>())?;
        }
        if let (Some(until), false) = (self.until, self.dry_run) {
            eprintln!("The sweep deletes them after {until}.");
        }
        match (self.left, self.has_failed) {
            (0, _) => Ok(()),
            (left, false) => Err(Failure::failed(format!(
                "{left} of {} images were not {verb}",
                self.done + left
            ))),
            (left, true) => Err(Failure::storage(format!(
                "{left} of {} images were not {verb}; does the account that runs this own the docroot?",
                self.done + left
            ))),
        }
    }
}
