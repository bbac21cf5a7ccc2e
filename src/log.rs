//! Writes the log: one logfmt line per event, to standard error or to a file.
//!
//! Values are quoted and escaped, so that no request can forge a line.

use std::any::Any;
use std::fmt::{self, Write as _};
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use time::UtcDateTime;

/// The log file of this process; without one, lines go to standard error.
static FILE: OnceLock<LogFile> = OnceLock::new();

/// Appends the lines of this process to the file at `path` from now on, and creates it if it is missing. Only the first call counts.
pub(crate) fn to_file(path: &Path) -> io::Result<()> {
    let file = LogFile::open(path)?;
    let _ = FILE.set(file);
    Ok(())
}

/// Opens the log file again by its name, after a rotation. If that fails, the old file stays in use. Does nothing if the log goes to
/// standard error.
pub(crate) fn reopen(now: UtcDateTime) {
    if let Some(file) = FILE.get()
        && let Err(error) = file.reopen()
    {
        Line::new(now, "log_not_reopened")
            .field("cause", error)
            .write();
    }
}

/// A log file, which may be renamed while it is written.
#[derive(Debug)]
struct LogFile {
    path: PathBuf,
    file: RwLock<Arc<File>>,
}

impl LogFile {
    fn open(path: &Path) -> io::Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            file: RwLock::new(Arc::new(append_to(path)?)),
        })
    }

    fn reopen(&self) -> io::Result<()> {
        let file = append_to(&self.path)?;
        *self.file.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(file);
        Ok(())
    }

    /// Appends a line by one write(2), which the kernel does not mix with that of another thread. No lock is held during the write, so
    /// a slow disk delays only threads that write.
    fn write(&self, line: &[u8]) -> io::Result<()> {
        let file = Arc::clone(&self.file.read().unwrap_or_else(PoisonError::into_inner));
        (&*file).write_all(line)
    }
}

fn append_to(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o640)
        .open(path);
    file.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
}

/// A log line under construction.
#[derive(Debug)]
pub(crate) struct Line(String);

impl Line {
    /// A line of time and event name.
    pub(crate) fn new(now: UtcDateTime, event: &str) -> Self {
        let mut line = Self(String::with_capacity(256));
        let (year, month, day) = (now.year(), u8::from(now.month()), now.day());
        let (hour, minute, second) = now.time().as_hms();
        let millisecond = now.millisecond();
        // Writing to a string does not fail.
        let _ = write!(
            line.0,
            "time={year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millisecond:03}Z event={event}"
        );
        line
    }

    /// Adds a field, quoted if needed.
    #[must_use]
    pub(crate) fn field(mut self, key: &str, value: impl fmt::Display) -> Self {
        let _ = write!(self.0, " {key}=");
        let begin = self.0.len();
        let _ = write!(self.0, "{value}");
        if !is_plain(&self.0[begin..]) {
            let value = self.0.split_off(begin);
            let _ = write!(self.0, "{value:?}");
        }
        self
    }

    /// Adds a field if there is a value.
    #[must_use]
    pub(crate) fn optional(self, key: &str, value: Option<impl fmt::Display>) -> Self {
        match value {
            Some(value) => self.field(key, value),
            None => self,
        }
    }

    /// Writes the line. A failure is ignored: the log must not stop the service.
    pub(crate) fn write(mut self) {
        self.0.push('\n');
        let line = self.0.as_bytes();
        let _ = match FILE.get() {
            Some(file) => file.write(line),
            None => write_whole(line),
        };
    }
}

/// Whether a value needs no quotes.
fn is_plain(value: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\' | b'=');
    !value.is_empty() && value.bytes().all(plain)
}

/// Writes to standard error without the standard library's lock: a slow reader of the log would make all threads wait for it.
fn write_whole(mut line: &[u8]) -> io::Result<()> {
    while !line.is_empty() {
        match rustix::io::write(rustix::stdio::stderr(), line) {
            Ok(written) => line = &line[written..],
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// The message of a panic.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("a panic without a message")
}

/// A duration in the log: milliseconds with one decimal.
pub(crate) struct Milliseconds(pub(crate) Duration);

impl fmt::Display for Milliseconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1}", self.0.as_secs_f64() * 1e3)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::utc_datetime;

    #[test]
    fn a_rotated_file_is_left_and_a_new_one_made() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("cdn.log");
        std::fs::write(&path, "old\n").expect("written");
        let log = LogFile::open(&path).expect("open");
        log.write(b"first\n").expect("written");
        let rotated = directory.path().join("cdn.log.1");
        std::fs::rename(&path, &rotated).expect("renamed");
        log.write(b"second\n").expect("written");
        log.reopen().expect("reopened");
        log.write(b"third\n").expect("written");
        let read = |path| std::fs::read_to_string(path).expect("there");
        assert_eq!(read(&rotated), "old\nfirst\nsecond\n");
        assert_eq!(read(&path), "third\n");
        std::fs::remove_dir_all(directory.path()).expect("removed");
        let error = log.reopen().expect_err("no directory").to_string();
        assert!(error.contains("cdn.log"), "{error}");
        log.write(b"fourth\n")
            .expect("the old file is still in use");
    }

    #[test]
    fn values_from_outside_cannot_forge_a_line() {
        let line = Line::new(utc_datetime!(2026-04-05 12:00:00.120456), "request")
            .field("status", 200)
            .field("cause", "a \"b\"\nevent=forged")
            .field("empty", "")
            .optional("path", None::<&str>);
        assert_eq!(
            line.0,
            "time=2026-04-05T12:00:00.120Z event=request status=200 cause=\"a \\\"b\\\"\\nevent=forged\" empty=\"\""
        );
    }
}
