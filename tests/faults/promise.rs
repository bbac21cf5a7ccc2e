//! What a site promises, checked from outside: in its files and in its ledger.

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

/// After this time whatever a fault left behind is old enough for the sweep: files on their way after an hour, rows without files
/// after ten minutes.
const LATER: i64 = 2 * 3_600;

/// Where the files, the ledger and the configuration of a site are: of one that runs, or of what a power cut left of it.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) docroot: PathBuf,
    pub(crate) ledger: PathBuf,
    pub(crate) config: PathBuf,
    /// Files that were found whole before.
    whole: BTreeSet<String>,
}

/// What the ledger says of an image.
struct Row {
    size: u64,
    expires_at: Option<i64>,
}

impl Place {
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

    /// The promises that are broken, one line each. Among them are those about `acknowledged`, the uploads that were answered with 200.
    pub(crate) fn broken_promises(&mut self, acknowledged: &[Image]) -> Vec<String> {
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

    /// What is wrong with a file below `/p/`, whether its upload was acknowledged or not.
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

    /// The rows, of a ledger that is sound and whose quota is that of its rows.
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

    /// What a query counts.
    pub(crate) fn count(&self, query: &str) -> u64 {
        let ledger = self.open().expect("the ledger opens");
        ledger
            .query_row(query, [], |row| row.get(0))
            .expect("a number")
    }

    /// Uploads that count against a quota, and rows. They are the same as long as nothing was swept away.
    pub(crate) fn quota_and_rows(&self) -> (u64, u64) {
        (
            self.count("SELECT coalesce(sum(uploads), 0) FROM usage"),
            self.count("SELECT count(*) FROM image"),
        )
    }

    /// The images below `/p/`, by path.
    pub(crate) fn files(&self) -> Vec<String> {
        let images = self.docroot.join("p");
        let mut files = Vec::new();
        list_files(&images, &images, &mut files);
        files
    }

    fn file(&self, path: &str) -> PathBuf {
        self.docroot.join("p").join(path)
    }

    /// Files of uploads on their way.
    pub(crate) fn spooled(&self) -> usize {
        fs::read_dir(self.docroot.join(".spool")).map_or(0, Iterator::count)
    }

    /// Runs the program with this place's configuration.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("the program runs")
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program());
        command.arg("--config").arg(&self.config).args(arguments);
        command
    }

    /// A sweep that takes it to be this instant, in Unix seconds; `None` where faketime is not installed.
    pub(crate) fn sweep_at(&self, instant: i64) -> Option<Value> {
        let library = faketime()?;
        let mut command = self.command(&["sweep", "--json"]);
        let at = UtcDateTime::from_unix_timestamp(instant).expect("an instant");
        let format = format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");
        fake(&mut command, &library, &at.format(&format).expect("a text"));
        let output = command.output().expect("the program runs");
        assert!(output.status.success(), "{output:?}");
        Some(serde_json::from_slice(&output.stdout).expect("JSON"))
    }

    /// Sweeps two hours from now, while nobody uploads, and finds that nothing is left of uploads that were broken off: each image has
    /// a row and each row has an image, which `verify` confirms. Gives what the sweep reports.
    #[track_caller]
    pub(crate) fn sweep_clears_what_was_left(&self) -> Value {
        let now = UtcDateTime::now().unix_timestamp();
        let Some(report) = self.sweep_at(now + LATER) else {
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

/// Asserts that no promise is broken, and that quota and rows are the same.
#[track_caller]
pub(crate) fn holds(place: &mut Place, acknowledged: &[Image]) {
    let broken = place.broken_promises(acknowledged);
    assert!(broken.is_empty(), "{}", broken.join("\n"));
    let (counted, rows) = place.quota_and_rows();
    assert_eq!(counted, rows, "quota and rows");
}
