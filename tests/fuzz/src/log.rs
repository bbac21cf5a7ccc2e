//! Records of the write-ahead log: what a power cut or a damaged disk left of a segment.

use corenexis_cdn::commit::wal::record::encoded_again;

/// A segment of any content, whose records have a right CRC. LSNs ascend, and what is read is the same when it is written and read again.
pub fn segment(data: &[u8]) {
    let mut segment = data.to_vec();
    seal(&mut segment);
    let mut before = None;
    for (lsn, again) in encoded_again(&segment) {
        assert!(before.is_none_or(|before| before < lsn));
        before = Some(lsn);
        // Not compared with what was read: that may be of version 1, be padded, or have unknown fields.
        let read_again: Vec<_> = encoded_again(&again).collect();
        assert_eq!(read_again, [(lsn, again)]);
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
