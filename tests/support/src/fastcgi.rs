//! FastCGI records (FastCGI Specification 1.0, section 3), for a client that ends a request where nginx would not.

/// Begins a request.
pub const BEGIN_REQUEST: u8 = 1;
/// Ends a request.
pub const END_REQUEST: u8 = 3;
/// Parameters, as name-value pairs.
pub const PARAMS: u8 = 4;
/// A part of the request's body.
pub const STDIN: u8 = 5;
/// A part of the reply.
pub const STDOUT: u8 = 6;

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
    let params = encode_params(pairs);
    [
        record(BEGIN_REQUEST, 1, &[0, 1, 0, 0, 0, 0, 0, 0]),
        record(PARAMS, 1, &params),
        record(PARAMS, 1, b""),
    ]
    .concat()
}

/// STDIN records with a part of the body; an empty part ends it.
pub fn body(bytes: &[u8]) -> Vec<u8> {
    if bytes.is_empty() {
        return record(STDIN, 1, b"");
    }
    let pieces = bytes.chunks(usize::from(u16::MAX));
    pieces.flat_map(|piece| record(STDIN, 1, piece)).collect()
}

/// Name-value pairs (section 3.4), each name and value shorter than 128 bytes.
pub fn encode_params<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Vec<u8> {
    let length = |text: &str| u8::try_from(text.len()).expect("a short text");
    let mut params = Vec::new();
    for (name, value) in pairs {
        params.extend([length(name), length(value)]);
        params.extend(name.bytes().chain(value.bytes()));
    }
    params
}

/// A record of at most 65,535 bytes.
pub fn record(kind: u8, id: u16, content: &[u8]) -> Vec<u8> {
    let [id_high, id_low] = id.to_be_bytes();
    let [high, low] = u16::try_from(content.len())
        .expect("at most 65,535 bytes")
        .to_be_bytes();
    [&[1, kind, id_high, id_low, high, low, 0, 0], content].concat()
}
