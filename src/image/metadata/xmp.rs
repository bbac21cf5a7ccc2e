//! XMP (ISO 16684-1): properties as RDF/XML, each an element or an attribute.

/// Names of properties, without their prefix and in lower case, that say where an image was made or what place it shows: of the IPTC core
/// and extension, of Photoshop, of the W3C's geo vocabulary. Those of Exif and of drones are found by [`is_location`].
const LOCATION: [&str; 18] = [
    "city",
    "country",
    "countrycode",
    "countryname",
    "geotag",
    "lat",
    "location",
    "locationcreated",
    "locationid",
    "locationname",
    "locationshown",
    "lon",
    "long",
    "place",
    "provincestate",
    "state",
    "sublocation",
    "worldregion",
];

/// Parts of names and texts that stand for a position.
const POSITION: [&str; 3] = ["gps", "latitude", "longitude"];

fn is_location(name: &str) -> bool {
    let local = name.rsplit(':').next().unwrap_or_default();
    let local = local.to_ascii_lowercase();
    LOCATION.contains(&&*local)
        || local.contains("altitude")
        || POSITION.iter().any(|part| local.contains(part))
}

/// Replaces the properties for places by spaces; whether there were any. `None` if the packet is not understood, or mentions a position
/// in another way.
pub(super) fn remove_location(packet: &mut [u8]) -> Option<bool> {
    let text = str::from_utf8(packet).ok()?;
    // Entities could spell anything.
    if text.contains("<!DOCTYPE") || text.contains('\0') {
        return None;
    }
    let ranges = location_ranges(text)?;
    for range in &ranges {
        packet[range.clone()].fill(b' ');
    }
    let text = str::from_utf8(packet).ok()?.to_ascii_lowercase();
    if POSITION.iter().any(|part| text.contains(part)) {
        return None;
    }
    Some(!ranges.is_empty())
}

/// The elements and attributes to remove; `None` if the text is not well-formed.
fn location_ranges(text: &str) -> Option<Vec<std::ops::Range<usize>>> {
    let mut ranges = Vec::new();
    let mut depth = 0_usize;
    // Where the element begins that is being removed, and its depth.
    let mut removed: Option<(usize, usize)> = None;
    let mut at = 0;
    while let Some(found) = text[at..].find('<') {
        let start = at + found;
        let tag = &text[start..];
        let until = |end: &str| Some(start + tag.find(end)? + end.len());
        if tag.starts_with("<?") {
            at = until("?>")?;
        } else if tag.starts_with("<!--") {
            at = until("-->")?;
        } else if tag.starts_with("<![CDATA[") {
            at = until("]]>")?;
        } else if tag.starts_with("</") {
            at = until(">")?;
            depth = depth.checked_sub(1)?;
            if let Some((began, _)) = removed.filter(|&(_, level)| level == depth) {
                ranges.push(began..at);
                removed = None;
            }
        } else {
            let mut attributes = Vec::new();
            let (name, is_empty, end) = read_tag(text, start, &mut attributes)?;
            at = end;
            if removed.is_none() {
                if is_location(name) {
                    if is_empty {
                        ranges.push(start..end);
                    } else {
                        removed = Some((start, depth));
                    }
                } else {
                    ranges.extend(attributes);
                }
            }
            if !is_empty {
                depth += 1;
            }
        }
    }
    (depth == 0).then_some(ranges)
}

/// Reads the start tag at `start`: its name, whether it is the whole element, and its end. Attributes for places are added to `location`.
fn read_tag<'a>(
    text: &'a str,
    start: usize,
    location: &mut Vec<std::ops::Range<usize>>,
) -> Option<(&'a str, bool, usize)> {
    let is_space = |byte: u8| byte.is_ascii_whitespace();
    let bytes = text.as_bytes();
    let mut at = start + 1;
    let name_end = bytes[at..]
        .iter()
        .position(|&byte| is_space(byte) || byte == b'/' || byte == b'>')?;
    let name = &text[at..at + name_end];
    at += name_end;
    loop {
        match *bytes.get(at)? {
            b'>' => return Some((name, false, at + 1)),
            b'/' if bytes.get(at + 1) == Some(&b'>') => return Some((name, true, at + 2)),
            byte if is_space(byte) => at += 1,
            _ => {
                let begins = at;
                let equals = at + text[at..].find('=')?;
                let attribute = text[at..equals].trim_end();
                at = equals + 1;
                while is_space(*bytes.get(at)?) {
                    at += 1;
                }
                let quote = *bytes.get(at)?;
                if quote != b'"' && quote != b'\'' {
                    return None;
                }
                at += 2 + bytes[at + 1..].iter().position(|&byte| byte == quote)?;
                if is_location(attribute) {
                    location.push(begins..at);
                }
            }
        }
    }
}
