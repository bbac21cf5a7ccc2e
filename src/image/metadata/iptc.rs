//! Image resources of Photoshop (Adobe Photoshop File Formats Specification), which hold IPTC metadata (IPTC-NAA IIM 4.2).

/// Number of the resource with IPTC datasets.
const IPTC: u16 = 0x0404;

/// Resources with Exif, XMP and thumbnails, which have metadata of their own.
const DROPPED: [u16; 5] = [0x0409, 0x040C, 0x0422, 0x0423, 0x0424];

/// Datasets of record 2 for places: content location code and name, city, sublocation, province, country code and name.
const LOCATION: [u8; 7] = [26, 27, 90, 92, 95, 100, 101];

/// Removes resources and datasets with places; whether any byte changed. `None` if the resources are not understood.
pub(super) fn remove_location(resources: &mut [u8]) -> Option<bool> {
    let mut kept = Vec::with_capacity(resources.len());
    let mut rest = &*resources;
    while !rest.is_empty() {
        // Behind the last resource there may be padding.
        if rest.iter().all(|&byte| byte == 0) {
            break;
        }
        let found = Resource::first_of(rest)?;
        if found.number == IPTC {
            let data = datasets(found.data)?;
            kept.extend(found.header);
            kept.extend(u32::try_from(data.len()).ok()?.to_be_bytes());
            kept.extend(&data);
            kept.resize(kept.len() + data.len() % 2, 0);
        } else if !DROPPED.contains(&found.number) {
            kept.extend(&rest[..rest.len() - found.after.len()]);
        }
        rest = found.after;
    }
    kept.resize(resources.len(), 0);
    let changed = kept != resources;
    resources.copy_from_slice(&kept);
    Some(changed)
}

struct Resource<'a> {
    number: u16,
    /// Its bytes before the length of the data.
    header: &'a [u8],
    data: &'a [u8],
    /// What follows it.
    after: &'a [u8],
}

impl<'a> Resource<'a> {
    fn first_of(bytes: &'a [u8]) -> Option<Self> {
        let rest = bytes.strip_prefix(b"8BIM")?;
        let number = u16::from_be_bytes(*rest.first_chunk()?);
        // The name has a length byte and is padded to an even length with it.
        let name = 1 + usize::from(*rest.get(2)?);
        let header = 4 + 2 + name.next_multiple_of(2);
        let length = u32::from_be_bytes(*bytes.get(header..)?.first_chunk()?);
        let length = usize::try_from(length).ok()?;
        let end = (header + 4).checked_add(length)?;
        Some(Self {
            number,
            header: &bytes[..header],
            data: bytes.get(header + 4..end)?,
            // The padding behind the last resource may be missing.
            after: bytes.get(end + length % 2..).unwrap_or_default(),
        })
    }
}

/// The datasets without those for places.
fn datasets(data: &[u8]) -> Option<Vec<u8>> {
    let mut kept = Vec::with_capacity(data.len());
    let mut rest = data;
    while let &[0x1C, record, number, high, low, ref behind @ ..] = rest {
        // The highest bit marks a length of more bytes, which no place needs.
        let length = usize::from(u16::from_be_bytes([high, low]));
        if length > 0x7FFF || length > behind.len() {
            return None;
        }
        if !(record == 2 && LOCATION.contains(&number)) {
            kept.extend(&rest[..5 + length]);
        }
        rest = &behind[length..];
    }
    rest.iter().all(|&byte| byte == 0).then_some(kept)
}
