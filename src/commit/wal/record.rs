//! The record format of the write-ahead log. Nothing here does I/O.
//!
//! ```text
//! offset  bytes
//!      0      4  magic number, "CXR2"
//!      4      4  length of the record in bytes, padding included
//!      8      8  log sequence number (LSN)
//!     16      4  CRC-32 over all other bytes of the record
//!     20      4  bytes of the image
//!     24      8  key of the client
//!     32      8  time of the upload, Unix seconds
//!     40      4  width, pixels
//!     44      4  height, pixels
//!     48      1  bytes of the path
//!     49      2  bytes of the fields
//!     51         path, fields, image, padding of zeros
//! ```
//!
//! A field is its number and the length of its value, a byte each, then the value. One whose number is not known is skipped.
//!
//! ```text
//! field  bytes
//!     1     16  address that the upload came from; IPv4 is mapped to IPv6
//!     2     32  fingerprints of the upload's key and of what was uploaded
//! ```
//!
//! Records of version 1, "CXR1", have no fields: the path follows its length. They are read, and not written any more.
//!
//! Numbers are little-endian. The last record of a batch is padded to the next multiple of [`BLOCK`], so that no later write touches a
//! block that holds acknowledged records.

use std::net::Ipv6Addr;

use crc32fast::Hasher;

use crate::idempotency::{Fingerprint, UploadKey};
use crate::ledger::{ClientKey, LoggedImage};
use crate::timestamp::Timestamp;

/// The unit in which the log is written, in bytes: the page of the kernel's page cache and the largest common physical sector.
pub(crate) const BLOCK: usize = 4096;

/// The largest image that a record holds, in bytes.
pub(crate) const MAX_IMAGE: usize = 256 * 1024;

/// Bytes before the path.
const HEAD: usize = 51;

/// Bytes before the path in a record of version 1.
const HEAD_1: usize = 49;

/// The field with the address: its number, and its bytes with number and length.
const ADDRESS: u8 = 1;
const ADDRESS_BYTES: usize = 2 + 16;

/// The field with the upload's key: its number, and its bytes with number and length.
const KEY: u8 = 2;
const KEY_BYTES: usize = 2 + 32;

/// The most bytes of a record: the longest path is `mm/ju31/`, 32 characters and `.webp`.
pub(super) const MAX_RECORD: usize =
    (HEAD + u8::MAX as usize + ADDRESS_BYTES + KEY_BYTES + MAX_IMAGE).next_multiple_of(BLOCK);

const MAGIC: [u8; 4] = *b"CXR2";
const MAGIC_1: [u8; 4] = *b"CXR1";
const LENGTH: usize = 4;
const LSN: usize = 8;
const CRC: usize = 16;

/// A record that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record<'a> {
    /// Its log sequence number.
    pub lsn: u64,
    /// The row of the image.
    pub row: LoggedImage,
    /// The bytes of the image.
    pub image: &'a [u8],
}

/// Appends one record to a batch; the last one is padded.
///
/// # Panics
/// When the image is larger than [`MAX_IMAGE`].
pub(crate) fn encode(
    batch: &mut Vec<u8>,
    lsn: u64,
    row: &LoggedImage,
    image: &[u8],
    is_last: bool,
) {
    assert!(image.len() <= MAX_IMAGE, "{} bytes", image.len());
    let start = batch.len();
    let path = row.path.as_str().as_bytes();
    let field_bytes = row.address.map_or(0, |_| ADDRESS_BYTES) + row.key.map_or(0, |_| KEY_BYTES);
    let mut end = start + HEAD + path.len() + field_bytes + image.len();
    if is_last {
        end = end.next_multiple_of(BLOCK);
    }
    batch.extend_from_slice(&MAGIC);
    batch.extend_from_slice(&number(end - start).to_le_bytes());
    batch.extend_from_slice(&lsn.to_le_bytes());
    batch.extend_from_slice(&[0; 4]);
    batch.extend_from_slice(&number(image.len()).to_le_bytes());
    batch.extend_from_slice(&row.client.0.to_le_bytes());
    batch.extend_from_slice(&row.uploaded_at.0.to_le_bytes());
    batch.extend_from_slice(&row.width.to_le_bytes());
    batch.extend_from_slice(&row.height.to_le_bytes());
    batch.push(u8::try_from(path.len()).expect("an image path is short"));
    let field_bytes = u16::try_from(field_bytes).expect("two short fields");
    batch.extend_from_slice(&field_bytes.to_le_bytes());
    batch.extend_from_slice(path);
    if let Some(address) = row.address {
        batch.extend_from_slice(&[ADDRESS, 16]);
        batch.extend_from_slice(&address.octets());
    }
    if let Some(key) = row.key {
        batch.extend_from_slice(&[KEY, 32]);
        batch.extend_from_slice(&key.key.0);
        batch.extend_from_slice(&key.request.0);
    }
    batch.extend_from_slice(image);
    batch.resize(end, 0);
    let record = &mut batch[start..];
    let crc = crc(record);
    record[CRC..CRC + 4].copy_from_slice(&crc.to_le_bytes());
}

/// The records at the beginning of `bytes`, up to the first that is not whole or whose LSN is not above the one before. What a segment
/// held before it was used again has lower LSNs.
pub(crate) fn records(bytes: &[u8]) -> impl Iterator<Item = Record<'_>> {
    let mut rest = bytes;
    let mut before = None;
    std::iter::from_fn(move || {
        let (record, length) = decode(rest)?;
        if before.is_some_and(|before| record.lsn <= before) {
            return None;
        }
        before = Some(record.lsn);
        rest = &rest[length..];
        Some(record)
    })
}

/// The LSN of each record in `bytes`, and its encoding without padding. For the fuzz target.
pub fn encoded_again(bytes: &[u8]) -> impl Iterator<Item = (u64, Vec<u8>)> + '_ {
    records(bytes).map(|record| {
        let mut batch = Vec::new();
        encode(&mut batch, record.lsn, &record.row, record.image, false);
        (record.lsn, batch)
    })
}

/// The record at the beginning of `bytes` and its length; `None` if there is no whole one.
fn decode(bytes: &[u8]) -> Option<(Record<'_>, usize)> {
    let head = bytes.first_chunk::<HEAD>()?;
    let (head_bytes, field_bytes) = if head[..LENGTH] == MAGIC {
        (HEAD, u16::from_le_bytes(field(head, 49)))
    } else if head[..LENGTH] == MAGIC_1 {
        (HEAD_1, 0)
    } else {
        return None;
    };
    let length = usize::try_from(u32::from_le_bytes(field(head, LENGTH))).ok()?;
    let record = bytes.get(..length)?;
    if length < head_bytes || crc(record) != u32::from_le_bytes(field(head, CRC)) {
        return None;
    }
    let (path, rest) = record[head_bytes..].split_at_checked(usize::from(head[48]))?;
    let (fields, rest) = rest.split_at_checked(usize::from(field_bytes))?;
    let (address, key) = read_fields(fields)?;
    let size = usize::try_from(u32::from_le_bytes(field(head, 20))).ok()?;
    let image = rest.get(..size)?;
    let record = Record {
        lsn: u64::from_le_bytes(field(head, LSN)),
        row: LoggedImage {
            path: str::from_utf8(path).ok()?.parse().ok()?,
            client: ClientKey(i64::from_le_bytes(field(head, 24))),
            uploaded_at: Timestamp(i64::from_le_bytes(field(head, 32))),
            size: size as u64,
            width: u32::from_le_bytes(field(head, 40)),
            height: u32::from_le_bytes(field(head, 44)),
            address,
            key,
        },
        image,
    };
    Some((record, length))
}

/// The values of the fields that are known; `None` if they do not end where they should.
fn read_fields(mut rest: &[u8]) -> Option<(Option<Ipv6Addr>, Option<UploadKey>)> {
    let (mut address, mut key) = (None, None);
    while let [number, length, behind @ ..] = rest {
        let (value, behind) = behind.split_at_checked(usize::from(*length))?;
        match *number {
            ADDRESS => address = Some(<[u8; 16]>::try_from(value).ok()?.into()),
            KEY => {
                let (key_half, request_half) = value.split_first_chunk()?;
                key = Some(UploadKey {
                    key: Fingerprint(*key_half),
                    request: Fingerprint(request_half.try_into().ok()?),
                });
            }
            _ => {}
        }
        rest = behind;
    }
    rest.is_empty().then_some((address, key))
}

fn field<const N: usize>(head: &[u8; HEAD], at: usize) -> [u8; N] {
    let mut field = [0; N];
    field.copy_from_slice(&head[at..at + N]);
    field
}

fn crc(record: &[u8]) -> u32 {
    let mut hasher = Hasher::new();
    hasher.update(&record[..CRC]);
    hasher.update(&record[CRC + 4..]);
    hasher.finalize()
}

fn number(length: usize) -> u32 {
    u32::try_from(length).expect("a record is shorter than 4 GiB")
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// A row, its image, and whether a batch ends after it.
    type Logged = (LoggedImage, Vec<u8>, bool);

    fn logged() -> impl Strategy<Value = Logged> {
        let path = "(d|m|mm|l)/(ap|ju|de)[1-9]/[A-Za-z0-9]{6,32}\\.(jpg|png|gif|webp)";
        let numbers = (any::<i64>(), any::<i64>(), any::<u32>(), any::<u32>());
        let fields = (any::<Option<u128>>(), any::<Option<[[u8; 16]; 2]>>());
        (
            path,
            numbers,
            fields,
            vec(any::<u8>(), 0..9_000),
            any::<bool>(),
        )
            .prop_map(
                |(
                    path,
                    (client, uploaded_at, width, height),
                    (address, key),
                    image,
                    ends_batch,
                )| {
                    let row = LoggedImage {
                        path: path.parse().expect("a path"),
                        client: ClientKey(client),
                        uploaded_at: Timestamp(uploaded_at),
                        size: image.len() as u64,
                        width,
                        height,
                        address: address.map(Ipv6Addr::from_bits),
                        key: key.map(|[key, request]| UploadKey {
                            key: Fingerprint(key),
                            request: Fingerprint(request),
                        }),
                    };
                    (row, image, ends_batch)
                },
            )
    }

    fn images() -> impl Strategy<Value = Vec<Logged>> {
        vec(logged(), 1..8)
    }

    /// Batches one after the other, the first record with the LSN `first`; and where each record ends.
    fn encoded(images: &[Logged], first: u64) -> (Vec<u8>, Vec<usize>) {
        let (mut log, mut ends) = (Vec::new(), Vec::new());
        for (lsn, (row, image, ends_batch)) in (first..).zip(images) {
            encode(&mut log, lsn, row, image, *ends_batch);
            ends.push(log.len());
        }
        (log, ends)
    }

    fn assert_read(bytes: &[u8], images: &[Logged], first: u64) {
        let read: Vec<_> = records(bytes).collect();
        assert_eq!(read.len(), images.len());
        for ((lsn, (row, image, _)), record) in (first..).zip(images).zip(read) {
            assert_eq!(
                (record.lsn, &record.row, record.image),
                (lsn, row, &image[..])
            );
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn records_read_back(images in images(), first in 0..u64::MAX / 2) {
            let (log, ends) = encoded(&images, first);
            assert_read(&log, &images, first);
            // Without length and CRC, which padding changes.
            let mut start = 0;
            for ((_, again), end) in encoded_again(&log).zip(ends) {
                prop_assert_eq!(&again[20..], &log[start + 20..start + again.len()]);
                start = end;
            }
        }

        #[test]
        fn a_batch_ends_with_a_block(images in images()) {
            let (log, ends) = encoded(&images, 1);
            let first_batch = images.iter().position(|(.., ends_batch)| *ends_batch);
            if let Some(last) = first_batch {
                prop_assert_eq!(ends[last] % BLOCK, 0);
            }
            prop_assert!(log.len() <= images.len() * MAX_RECORD);
        }

        #[test]
        fn a_torn_log_is_read_up_to_its_last_whole_record(images in images(), cut in any::<prop::sample::Index>()) {
            let (log, ends) = encoded(&images, 7);
            let cut = cut.index(log.len());
            let whole = ends.iter().filter(|&&end| end <= cut).count();
            assert_read(&log[..cut], &images[..whole], 7);
            // Zeros of a new segment behind it.
            let mut zeros = log[..cut].to_vec();
            zeros.resize(log.len() + BLOCK, 0);
            let lost = log[cut..].iter().any(|&byte| byte != 0);
            if lost {
                let whole = ends.iter().filter(|&&end| zeros[..end] == log[..end]).count();
                assert_read(&zeros, &images[..whole], 7);
            }
        }

        #[test]
        fn a_flipped_bit_ends_the_log_before_its_record(images in images(), at in any::<prop::sample::Index>(), bit in 0..8) {
            let (mut log, ends) = encoded(&images, 7);
            let at = at.index(log.len());
            log[at] ^= 1_u8 << bit;
            let whole = ends.iter().filter(|&&end| end <= at).count();
            assert_read(&log, &images[..whole], 7);
        }

        #[test]
        fn records_of_an_earlier_use_of_the_segment_are_not_read(
            earlier in images(), later in images(), first in 1_000..u64::MAX / 2
        ) {
            let (mut segment, _) = encoded(&earlier, first - 900);
            let (log, _) = encoded(&later, first);
            // The earlier records begin exactly where the later ones end.
            segment.splice(..0, log);
            assert_read(&segment, &later, first);
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in vec(any::<u8>(), 0..300)) {
            prop_assert_eq!(records(&bytes).count(), 0);
            let mut with_magic = MAGIC.to_vec();
            with_magic.extend(bytes);
            let _ = records(&with_magic).count();
        }
    }

    fn row() -> LoggedImage {
        LoggedImage {
            path: "d/ap5/AbCdEf.png".parse().expect("a path"),
            client: ClientKey(3),
            uploaded_at: Timestamp(1_775_390_400),
            size: 5,
            width: 4,
            height: 2,
            address: None,
            key: None,
        }
    }

    /// Sets length and CRC of a single record anew.
    fn seal(record: &mut [u8]) {
        let length = number(record.len()).to_le_bytes();
        record[LENGTH..LENGTH + 4].copy_from_slice(&length);
        let crc = crc(record).to_le_bytes();
        record[CRC..CRC + 4].copy_from_slice(&crc);
    }

    #[test]
    fn records_of_version_1_are_read() {
        let mut record = Vec::new();
        encode(&mut record, 9, &row(), b"bytes", false);
        record.splice(..LENGTH, MAGIC_1);
        record.drain(HEAD_1..HEAD);
        seal(&mut record);
        let read: Vec<_> = records(&record).collect();
        assert_eq!(read.len(), 1);
        assert_eq!(
            (read[0].lsn, &read[0].row, read[0].image),
            (9, &row(), &b"bytes"[..])
        );
    }

    #[test]
    fn unknown_fields_are_skipped_and_broken_ones_end_the_log() {
        let path = row().path.as_str().len();
        let with_fields = |fields: &[u8]| {
            let mut record = Vec::new();
            encode(&mut record, 9, &row(), b"bytes", false);
            let at = HEAD + path;
            record.splice(at..at, fields.iter().copied());
            let bytes = u16::try_from(fields.len()).expect("few").to_le_bytes();
            record[49..HEAD].copy_from_slice(&bytes);
            seal(&mut record);
            let rows: Vec<_> = records(&record).map(|record| record.row).collect();
            rows
        };
        let mut fields = vec![200, 3, 1, 2, 3, ADDRESS, 16];
        fields.extend([7; 16]);
        fields.extend([255, 0]);
        let address = Some([7; 16].into());
        assert_eq!(with_fields(&fields), [LoggedImage { address, ..row() }]);
        for broken in [
            &[1][..],
            &[200, 3, 1, 2],
            &[ADDRESS, 2, 1, 2],
            &[KEY, 16, 0],
        ] {
            assert_eq!(with_fields(broken), [], "{broken:?}");
        }
    }

    #[test]
    fn the_largest_image_fits_a_record() {
        let row = LoggedImage {
            size: MAX_IMAGE as u64,
            path: format!("mm/ju31/{}.webp", "a".repeat(32))
                .parse()
                .expect("a path"),
            client: ClientKey(1),
            uploaded_at: Timestamp(0),
            width: 1,
            height: 1,
            address: Some(Ipv6Addr::LOCALHOST),
            key: Some(UploadKey {
                key: Fingerprint([1; 16]),
                request: Fingerprint([2; 16]),
            }),
        };
        let mut batch = Vec::new();
        encode(&mut batch, 1, &row, &vec![7; MAX_IMAGE], true);
        assert!(batch.len() <= MAX_RECORD);
        assert_eq!(records(&batch).count(), 1);
    }
}
