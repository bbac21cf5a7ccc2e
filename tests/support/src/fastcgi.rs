//! FastCGI records (FastCGI Specification 1.0, section 3), for a client that ends a request where nginx would not.

const BEGIN_REQUEST: u8 = 1;
const PARAMS: u8 = 4;
const STDIN: u8 = 5;

/// The records of a POST with these CONTENT_TYPE and CONTENT_LENGTH, up to the end of the parameters.
pub fn opening(content_type: &str, length: usize) -> Vec<u8> {
    opening_from(None, content_type, length)
}

/// All records of a POST with this REMOTE_ADDR.
pub fn request_from(address: &str, content_type: &str, content: &[u8]) -> Vec<u8> {
    let opening = opening_from(Some(address), content_type, content.len());
    [opening, body(content), body(b"")].concat()
}

fn opening_from(address: Option<&str>, content_type: &str, length: usize) -> Vec<u8> {
    let length = length.to_string();
    let pairs = [
        ("REQUEST_METHOD", "POST"),
        ("DOCUMENT_URI", "/image/v2/"),
        ("CONTENT_TYPE", content_type),
        ("CONTENT_LENGTH", &length),
    ]
    .into_iter()
    .chain(address.map(|address| ("REMOTE_ADDR", address)));
    let mut params = Vec::new();
    for (name, value) in pairs {
        let short = |text: &str| u8::try_from(text.len()).expect("a short text");
        params.extend([short(name), short(value)]);
        params.extend(name.bytes().chain(value.bytes()));
    }
    [
        record(BEGIN_REQUEST, &[0, 1, 0, 0, 0, 0, 0, 0]),
        record(PARAMS, &params),
        record(PARAMS, b""),
    ]
    .concat()
}

/// STDIN records with a part of the body; an empty part ends it.
pub fn body(bytes: &[u8]) -> Vec<u8> {
    if bytes.is_empty() {
        return record(STDIN, b"");
    }
    let pieces = bytes.chunks(usize::from(u16::MAX));
    pieces.flat_map(|piece| record(STDIN, piece)).collect()
}

fn record(kind: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len())
        .expect("a small record")
        .to_be_bytes();
    [&[1, kind, 0, 1, length[0], length[1], 0, 0], content].concat()
}
