//! The guarantees of an installation, checked in its files and its ledger.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::{Command, Output};

use rusqlite::{Connection, OpenFlags};
use serde_json::Value;
use time::UtcDateTime;
use time::macros::format_description;

use crate::uploads::Image;
use support::machine::{PATIENCE, fake, faketime, list_files};
use support::pictures::serial_of;
use support::program;
use support::site::Site;

/// Seconds after which the sweep may remove what a fault left: spool files after an hour, rows without files after ten minutes.
const LATER: i64 = 2 * 3_600;

/// The paths of a site, or of the copy of one after a power cut or a restore.
#[derive(Debug, Clone)]
pub(crate) struct Installation {
    pub(crate) docroot: PathBuf,
    pub(crate) ledger: PathBuf,
    pub(crate) config: PathBuf,
    /// Files found intact by an earlier check.
    whole: BTreeSet<String>,
}

/// The row of an image.
struct Row {
    size: u64,
    expires_at: Option<i64>,
}

impl Installation {
    pub(crate) fn new(docroot: PathBuf, ledger: PathBuf, config: PathBuf) -> Self {
        Self {
            docroot,
            ledger,
            config,
            whole: BTreeSet::new(),
        }
    }

    pub(crate) fn of(site: &Site) -> Self {
        Self::new(site.docroot(), site.ledger_file(), site.config())
    }

    /// Violated guarantees, a line each: a lost or altered image of `acknowledged`, a partial file, a file without a row, a damaged ledger.
    pub(crate) fn violations(&mut self, acknowledged: &[Image]) -> Vec<String> {
        let mut broken = Vec::new();
        let rows = self.rows().unwrap_or_else(|error| {
            broken.push(format!("ledger: {error}"));
            HashMap::new()
        });
        for image in acknowledged {
            let path = &image.path;
            match fs::read(self.file(path)) {
                Err(error) => broken.push(format!("lost {path}: {error}")),
                Ok(bytes) if serial_of(&bytes) != Some(image.serial) => {
                    broken.push(format!("altered {path}: {} bytes", bytes.len()));
                }
                Ok(_) => {}
            }
            if !rows.contains_key(path) {
                broken.push(format!("lost {path}: it has no row"));
            }
        }
        for path in self.files() {
            let Some(row) = rows.get(&path) else {
                broken.push(format!("uncounted {path}: a file without a row"));
                continue;
            };
            if !self.whole.contains(&path) {
                match self.flaw(&path, row) {
                    Some(flaw) => broken.push(format!("partial {path}: {flaw}")),
                    None => {
                        self.whole.insert(path);
                    }
                }
            }
        }
        broken
    }

    /// The defect of a file below `/p/`, acknowledged or not.
    fn flaw(&self, path: &str, row: &Row) -> Option<String> {
        let file = self.file(path);
        let bytes = match fs::read(&file) {
            Ok(bytes) => bytes,
            Err(error) => return Some(error.to_string()),
        };
        if serial_of(&bytes).is_none() || bytes.len() as u64 != row.size {
            return Some(format!("{} bytes, {} by its row", bytes.len(), row.size));
        }
        let modified = fs::metadata(&file).map_or(0, |metadata| metadata.mtime());
        let expected = row.expires_at?;
        (modified + 1 != expected).then(|| format!("modified {modified}, expires {expected}"))
    }

    /// The rows, after SQLite's integrity check.
    fn rows(&self) -> Result<HashMap<String, Row>, String> {
        let failed = |error: rusqlite::Error| error.to_string();
        let ledger = self.open().map_err(failed)?;
        let sound: String = ledger
            .query_row("PRAGMA integrity_check", [], |row| row.get(0))
            .map_err(failed)?;
        if sound != "ok" {
            return Err(sound);
        }
        let mut query = ledger
            .prepare("SELECT path, size, expires_at FROM image")
            .map_err(failed)?;
        let rows = query
            .query_map([], |row| {
                let (size, expires_at) = (row.get(1)?, row.get(2)?);
                Ok((row.get(0)?, Row { size, expires_at }))
            })
            .map_err(failed)?;
        rows.collect::<Result<_, _>>().map_err(failed)
    }

    fn open(&self) -> rusqlite::Result<Connection> {
        let ledger = Connection::open_with_flags(&self.ledger, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        ledger.busy_timeout(PATIENCE)?;
        Ok(ledger)
    }

    /// The number that a query returns.
    pub(crate) fn count(&self, query: &str) -> u64 {
        let ledger = self.open().expect("the ledger opens");
        ledger
            .query_row(query, [], |row| row.get(0))
            .expect("a number")
    }

    /// Counted uploads and rows at one moment; equal until the sweep deletes images.
    pub(crate) fn quota_and_rows(&self) -> (u64, u64) {
        let query =
            "SELECT (SELECT coalesce(sum(uploads), 0) FROM usage), (SELECT count(*) FROM image)";
        let ledger = self.open().expect("the ledger opens");
        let numbers = ledger.query_row(query, [], |row| Ok((row.get(0)?, row.get(1)?)));
        numbers.expect("two numbers")
    }

    /// The images below `/p/`, by path.
    pub(crate) fn files(&self) -> Vec<String> {
        let images = self.docroot.join("p");
        let mut files = Vec::new();
        list_files(&images, &images, &mut files);
        files
    }

    pub(crate) fn file(&self, path: &str) -> PathBuf {
        self.docroot.join("p").join(path)
    }

    /// The number of spool files.
    pub(crate) fn spooled(&self) -> usize {
        fs::read_dir(self.docroot.join(".spool")).map_or(0, Iterator::count)
    }

    /// Runs the program with this configuration.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("the program runs")
    }

    /// Recovers the write-ahead log, as every command that reads images does.
    pub(crate) fn recover(&self) -> Output {
        self.run(&["image", "list", "--limit", "1"])
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program());
        command.arg("--config").arg(&self.config).args(arguments);
        command
    }

    /// Runs the sweep with its clock standing at this instant, in Unix seconds; `None` after a skip where libfaketime is missing.
    pub(crate) fn sweep_at(&self, instant: i64) -> Option<Value> {
        self.sweep_with(instant, &["sweep", "--json"])
    }

    fn sweep_with(&self, instant: i64, arguments: &[&str]) -> Option<Value> {
        let library = faketime()?;
        let mut command = self.command(arguments);
        let at = UtcDateTime::from_unix_timestamp(instant).expect("an instant");
        let format = format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");
        let at = at.format(&format).expect("a text");
        fake(&mut command, &library, &at);
        // Without the `@` of a clock that goes on.
        command.env("FAKETIME", at);
        let output = command.output().expect("the program runs");
        assert!(output.status.success(), "{output:?}");
        Some(serde_json::from_slice(&output.stdout).expect("JSON"))
    }

    /// Sweeps with the clock two hours ahead, then asserts that no spool file is left, that files and rows agree, and that `verify`
    /// finds nothing. Returns the report of the sweep. No upload may run meanwhile.
    #[track_caller]
    pub(crate) fn sweep_removes_leftovers(&self) -> Value {
        let now = UtcDateTime::now().unix_timestamp();
        // A fault may leave a day with rows and hardly a file, which only an operator's --yes lets the sweep delete.
        let arguments = ["sweep", "--json", "--yes"];
        let Some(report) = self.sweep_with(now + LATER, &arguments) else {
            return Value::Null;
        };
        assert_eq!((&report["failed"], self.spooled()), (&0.into(), 0));
        let (counted, rows) = self.quota_and_rows();
        assert_eq!(
            (counted, rows),
            (rows, self.files().len() as u64),
            "{report}"
        );
        let verified = self.run(&["verify"]);
        assert_eq!(verified.status.code(), Some(0), "{verified:?}");
        report
    }
}

/// Asserts that no guarantee is violated, and that counted uploads and rows are equal.
#[track_caller]
pub(crate) fn assert_invariants(installation: &mut Installation, acknowledged: &[Image]) {
    let broken = installation.violations(acknowledged);
    assert!(broken.is_empty(), "{}", broken.join("\n"));
    let (counted, rows) = installation.quota_and_rows();
    assert_eq!(counted, rows, "quota and rows");
}
