//! Records of the write-ahead log: what a power cut or a damaged disk left of a segment.

use corenexis_cdn::commit::wal::record::{MAX_IMAGE, encode, records};

/// A segment of any content, whose records have a right CRC. What is read encodes to the bytes that it was read from, and LSNs ascend.
pub fn segment(data: &[u8]) {
    let mut segment = data.to_vec();
    seal(&mut segment);
    let mut rest = &segment[..];
    let mut before = None;
    for record in records(&segment) {
        assert!(before.is_none_or(|before| before < record.lsn));
        before = Some(record.lsn);
        assert!(record.image.len() <= MAX_IMAGE);
        assert_eq!(record.row.size, record.image.len() as u64);
        // The last one of a batch is padded.
        let encodings = [false, true].map(|is_last| {
            let mut bytes = Vec::new();
            encode(&mut bytes, record.lsn, &record.row, record.image, is_last);
            bytes
        });
        let length = encodings
            .iter()
            .find(|bytes| rest.starts_with(bytes))
            .map(Vec::len);
        let Some(length) = length else {
            // Padding that this program does not write.
            return;
        };
        rest = &rest[length..];
    }
}

/// Sets the CRC of each record, the four bytes from offset 16, by the length in the four bytes from offset 4.
fn seal(mut rest: &mut [u8]) {
    while let Some(head) = rest.first_chunk::<49>() {
        let length = u32::from_le_bytes([head[4], head[5], head[6], head[7]]) as usize;
        if length < head.len() || length > rest.len() {
            return;
        }
        let (record, behind) = rest.split_at_mut(length);
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&record[..16]);
        hasher.update(&record[20..]);
        record[16..20].copy_from_slice(&hasher.finalize().to_le_bytes());
        rest = behind;
    }
}
