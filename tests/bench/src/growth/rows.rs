//! Millions of rows and files, as uploads make them.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use rusqlite::{Connection, params};

use super::Scale;
use crate::load::STOP;

/// Files of one directory: a busy day.
pub const PER_DAY: u64 = 100_000;

/// The content of a file, which takes one block.
pub const CONTENT: &[u8] = &[b'.'; 512];

const DAY: i64 = 86_400;

/// Images of one class and day.
pub struct Day {
    /// Class and day, as in `d/au3`.
    pub directory: String,
    pub images: u64,
    /// `None` for images that never expire.
    pub expires_at: Option<i64>,
}

/// Days with `files` images of seven days, all of them expired.
pub fn expired(files: u64, now: i64) -> Vec<Day> {
    let days = files.div_ceil(PER_DAY);
    let day = |number: u64| Day {
        directory: format!("d/au{}", number + 1),
        images: PER_DAY.min(files - number * PER_DAY),
        expires_at: Some(now - (days - number).cast_signed() * DAY),
    };
    (0..days).map(day).collect()
}

/// The days of a ledger of that scale.
pub fn of(scale: Scale, now: i64) -> Vec<Day> {
    let mut days = living(scale.rows.saturating_sub(scale.files), now);
    days.extend(expired(scale.files, now));
    days
}

/// Days with `rows` images that do not expire meanwhile: half of them lifetime, half for months.
fn living(rows: u64, now: i64) -> Vec<Day> {
    let mut days = Vec::new();
    for (class, expires) in [("l", false), ("mm", true)] {
        for month in ["ap", "au", "de", "fe", "ja", "ju", "ma", "no", "oc", "se"] {
            for number in 1..=28 {
                let age = i64::from(number);
                days.push(Day {
                    directory: format!("{class}/{month}{number}"),
                    images: 0,
                    expires_at: expires.then_some(now + (age + 10) * DAY),
                });
            }
        }
    }
    let count = days.len() as u64;
    for (number, day) in (0_u64..).zip(&mut days) {
        day.images = rows / count + u64::from(number < rows % count);
    }
    days
}

impl Day {
    /// When its images were uploaded.
    pub fn uploaded_at(&self, now: i64) -> i64 {
        self.expires_at.unwrap_or(now) - 100 * DAY
    }

    /// The names of its images, as random as those of uploads, in order.
    pub fn names(&self) -> Vec<String> {
        // splitmix64 (Steele, Lea and Flood, 2014).
        let mut state = u64::from(crc32fast::hash(self.directory.as_bytes())) << 32;
        let mut random = || {
            state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mut value = state;
            value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            value ^ (value >> 31)
        };
        let mut names: Vec<_> = (0..self.images).map(|_| name(random())).collect();
        names.sort_unstable();
        names
    }
}

/// Ten characters.
fn name(mut number: u64) -> String {
    const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut name = String::with_capacity(14);
    for _ in 0..10 {
        name.push(char::from(ALPHABET[(number % 62) as usize]));
        number /= 62;
    }
    name + ".png"
}

/// Inserts rows into a ledger made by the program and closed.
pub fn insert(ledger: &Path, days: &[Day], now: i64) -> rusqlite::Result<()> {
    let mut ledger = Connection::open(ledger)?;
    // Without durability; the responder switches back to WAL.
    ledger.pragma_update(None, "journal_mode", "off")?;
    ledger.pragma_update(None, "synchronous", "off")?;
    ledger.pragma_update(None, "foreign_keys", false)?;
    ledger.pragma_update(None, "cache_size", -262_144)?;
    let client: i64 = ledger.query_row("SELECT key FROM client", (), |row| row.get(0))?;
    let transaction = ledger.transaction()?;
    {
        let mut insert = transaction.prepare(
            "INSERT INTO image (path, client, size, width, height, uploaded_at, expires_at) VALUES (?1, ?2, ?3, 640, 480, ?4, ?5)",
        )?;
        let mut in_order: Vec<_> = days.iter().collect();
        in_order.sort_by(|one, other| one.directory.cmp(&other.directory));
        for day in in_order {
            let uploaded_at = day.uploaded_at(now);
            for name in day.names() {
                let path = format!("{}/{name}", day.directory);
                insert.execute(params![
                    path,
                    client,
                    CONTENT.len(),
                    uploaded_at,
                    day.expires_at
                ])?;
            }
            if STOP.load(Ordering::Relaxed) {
                break;
            }
        }
    }
    transaction.commit()?;
    ledger.pragma_update(None, "journal_mode", "wal")
}

/// Makes the files of these days below `root`; gives their paths in the order of the ledger.
pub fn make_files(root: &Path, days: &[Day]) -> io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for day in days {
        let directory = root.join(&day.directory);
        fs::create_dir_all(&directory)?;
        for name in day.names() {
            let path = directory.join(name);
            File::create_new(&path)?.write_all(CONTENT)?;
            paths.push(path);
        }
        if STOP.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::Interrupted.into());
        }
    }
    Ok(paths)
}
