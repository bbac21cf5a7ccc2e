//! A segment: one preallocated file of the log, written from its beginning and used again after a checkpoint.
//!
//! It is filled with real zeros once. Blocks that fallocate(2) reserves are converted at the first write, which makes fdatasync(2)
//! commit the file system's journal; a block that was written before is only overwritten.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use super::record::{BLOCK, MAX_RECORD, records};

/// Bytes of a segment.
pub(super) const SEGMENT: u64 = 4 << 20;

/// Where the records begin.
pub(super) const HEAD: u64 = BLOCK as u64;

const MAGIC: [u8; 4] = *b"CXS1";

/// Version of the format of segments and records.
const VERSION: u32 = 2;

/// The version before, whose records are read too.
const OLD_VERSION: u32 = 1;

/// Why a segment was not opened.
#[derive(Debug)]
pub(super) enum SegmentError {
    /// It cannot be read, is damaged, or has another version.
    Io(io::Error),
    /// It belongs to another ledger, with this id.
    OtherLedger(u64),
}

impl From<io::Error> for SegmentError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// One file of the log.
#[derive(Debug)]
pub(super) struct Segment {
    file: File,
    size: u64,
    /// The id of its ledger.
    ledger: u64,
    version: u32,
}

impl Segment {
    /// Makes a segment of `size` bytes for the ledger `ledger`. It gets its name when it is whole and on disk.
    pub(super) fn create(path: &Path, ledger: u64, size: u64) -> io::Result<Self> {
        let partial = path.with_extension("partial");
        let _ = fs::remove_file(&partial);
        let made = Self::write_new(&partial, ledger, size)
            .and_then(|file| {
                fs::rename(&partial, path)?;
                Ok(file)
            })
            .inspect_err(|_| {
                let _ = fs::remove_file(&partial);
            })?;
        File::open(path.parent().unwrap_or(path))?.sync_all()?;
        Ok(Self {
            file: made,
            size,
            ledger,
            version: VERSION,
        })
    }

    fn write_new(path: &Path, ledger: u64, size: u64) -> io::Result<File> {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)?;
        file.write_all(&head(ledger, VERSION))?;
        let zeros = vec![0; BLOCK * 64];
        let mut left = size - HEAD;
        while left > 0 {
            let piece = zeros.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            file.write_all(&zeros[..piece])?;
            left -= piece as u64;
        }
        file.sync_all()?;
        Ok(file)
    }

    /// Opens a segment of the ledger `ledger`.
    pub(super) fn open(path: &Path, ledger: u64) -> Result<Self, SegmentError> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        let mut found = [0; BLOCK];
        file.read_exact_at(&mut found, 0)?;
        let version = [VERSION, OLD_VERSION]
            .into_iter()
            .find(|&version| found == head(ledger, version))
            .ok_or_else(|| flaw(&found))?;
        let size = file.metadata()?.len();
        Ok(Self {
            file,
            size,
            ledger,
            version,
        })
    }

    /// Makes a segment of the version before, whose records are checkpointed, one of this version. An older program then refuses it
    /// instead of taking its records for none.
    pub(super) fn upgrade(&mut self) -> io::Result<()> {
        if self.version != VERSION {
            // What differs lies in the first sector, so a power cut leaves one version or the other.
            self.file.write_all_at(&head(self.ledger, VERSION), 0)?;
            self.file.sync_data()?;
            self.version = VERSION;
        }
        Ok(())
    }

    /// Bytes of the file.
    pub(super) const fn size(&self) -> u64 {
        self.size
    }

    /// Bytes for records.
    pub(super) const fn capacity(&self) -> u64 {
        self.size - HEAD
    }

    /// All that lies behind the head.
    pub(super) fn read(&self) -> io::Result<Vec<u8>> {
        self.read_first(self.capacity())
    }

    /// The LSN of the first record; `None` if there is no whole one.
    pub(super) fn first_lsn(&self) -> io::Result<Option<u64>> {
        let bytes = self.read_first(self.capacity().min(MAX_RECORD as u64))?;
        Ok(records(&bytes).next().map(|record| record.lsn))
    }

    fn read_first(&self, length: u64) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; usize::try_from(length).map_err(io::Error::other)?];
        self.file.read_exact_at(&mut bytes, HEAD)?;
        Ok(bytes)
    }

    /// Writes a batch `at` bytes behind the head, and puts it on disk.
    pub(super) fn write(&self, at: u64, batch: &[u8]) -> io::Result<()> {
        self.file.write_all_at(batch, HEAD + at)?;
        self.file.sync_data()
    }
}

/// The first block: magic number, version, the ledger's id, CRC-32 of these; zeros.
fn head(ledger: u64, version: u32) -> [u8; BLOCK] {
    let mut head = [0; BLOCK];
    head[..4].copy_from_slice(&MAGIC);
    head[4..8].copy_from_slice(&version.to_le_bytes());
    head[8..16].copy_from_slice(&ledger.to_le_bytes());
    let crc = crc32fast::hash(&head[..16]);
    head[16..20].copy_from_slice(&crc.to_le_bytes());
    head
}

/// What is wrong with the head of a segment.
fn flaw(found: &[u8; BLOCK]) -> SegmentError {
    let number = |at: usize| {
        let bytes = found[at..].first_chunk();
        u32::from_le_bytes(*bytes.unwrap_or(&[0; 4]))
    };
    if found[..4] != MAGIC || number(16) != crc32fast::hash(&found[..16]) {
        SegmentError::Io(io::Error::new(
            io::ErrorKind::InvalidData,
            "the head of a segment is damaged",
        ))
    } else if [VERSION, OLD_VERSION].contains(&number(4)) {
        SegmentError::OtherLedger((u64::from(number(12)) << 32) | u64::from(number(8)))
    } else {
        SegmentError::Io(io::Error::new(
            io::ErrorKind::InvalidData,
            format!(
                "a segment has version {}; this program knows {OLD_VERSION} and {VERSION}",
                number(4)
            ),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made() -> (tempfile::TempDir, std::path::PathBuf) {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("0001.segment");
        Segment::create(&path, 7, 16 * HEAD).expect("made");
        (directory, path)
    }

    #[test]
    fn a_segment_is_preallocated_and_reads_back() {
        let (directory, path) = made();
        let metadata = fs::metadata(&path).expect("there");
        assert_eq!(metadata.len(), 16 * HEAD);
        let segment = Segment::open(&path, 7).expect("open");
        assert_eq!(segment.capacity(), 15 * HEAD);
        assert!(segment.read().expect("read").iter().all(|&byte| byte == 0));
        segment.write(2 * HEAD, b"batch").expect("written");
        let bytes = Segment::open(&path, 7).expect("open").read().expect("read");
        let at = usize::try_from(2 * HEAD).expect("small");
        assert_eq!(&bytes[at..at + 5], b"batch");
        assert_eq!(fs::read_dir(directory.path()).expect("listed").count(), 1);
    }

    #[test]
    fn a_segment_of_another_ledger_or_version_or_with_a_damaged_head_is_refused() {
        let (_directory, path) = made();
        let refused = |ledger| match Segment::open(&path, ledger).expect_err("refused") {
            SegmentError::Io(error) => error.to_string(),
            SegmentError::OtherLedger(id) => format!("of the ledger {id}"),
        };
        assert_eq!(refused(8), "of the ledger 7");
        let file = OpenOptions::new().write(true).open(&path).expect("open");
        file.write_all_at(&[9], 10).expect("written");
        assert_eq!(refused(7), "the head of a segment is damaged");
        let mut newer = head(7, VERSION);
        newer[4] = 3;
        let crc = crc32fast::hash(&newer[..16]);
        newer[16..20].copy_from_slice(&crc.to_le_bytes());
        file.write_all_at(&newer, 0).expect("written");
        assert_eq!(
            refused(7),
            "a segment has version 3; this program knows 1 and 2"
        );
        file.set_len(100).expect("cut");
        Segment::open(&path, 7).expect_err("too short");
    }

    #[test]
    fn a_segment_of_version_1_is_read_and_upgraded() {
        let (_directory, path) = made();
        let file = OpenOptions::new().write(true).open(&path).expect("open");
        file.write_all_at(&head(7, OLD_VERSION), 0)
            .expect("written");
        let mut segment = Segment::open(&path, 7).expect("open");
        segment.write(0, b"batch").expect("written");
        assert_eq!(segment.version, OLD_VERSION);
        segment.upgrade().expect("upgraded");
        let again = Segment::open(&path, 7).expect("open");
        assert_eq!(again.version, VERSION);
        assert_eq!(&again.read().expect("read")[..5], b"batch");
        assert!(matches!(
            Segment::open(&path, 8),
            Err(SegmentError::OtherLedger(7))
        ));
    }

    #[test]
    fn a_segment_that_finds_no_space_leaves_nothing_behind() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("missing/0001.segment");
        Segment::create(&path, 7, 2 * HEAD).expect_err("no directory");
        assert_eq!(fs::read_dir(directory.path()).expect("listed").count(), 0);
    }
}
