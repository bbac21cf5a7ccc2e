//! Encodes and decodes FastCGI records (FastCGI Specification 1.0, sections 3.3, 4, 5 and 8).

/// Bytes of a record header.
pub const HEADER_LENGTH: usize = 8;

/// The largest content of one record that keeps the record a multiple of eight bytes long.
pub const MAX_ALIGNED_CONTENT: usize = 65_528;

/// The request id of management records.
pub const NULL_REQUEST_ID: u16 = 0;

const VERSION_1: u8 = 1;

/// The `type` of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordType {
    /// Begins a request.
    BeginRequest,
    /// The web server aborts a request.
    AbortRequest,
    /// Ends a request.
    EndRequest,
    /// Name-value pairs, a stream.
    Params,
    /// The request's body, a stream.
    Stdin,
    /// The reply, a stream.
    Stdout,
    /// Messages for the web server's log, a stream.
    Stderr,
    /// A second body, for filters only.
    Data,
    /// Asks for variables of the application.
    GetValues,
    /// The reply to [`RecordType::GetValues`].
    GetValuesResult,
    /// The reply to a management record of unknown type.
    UnknownType,
    /// Anything else.
    Other(u8),
}

impl From<u8> for RecordType {
    fn from(number: u8) -> Self {
        match number {
            1 => Self::BeginRequest,
            2 => Self::AbortRequest,
            3 => Self::EndRequest,
            4 => Self::Params,
            5 => Self::Stdin,
            6 => Self::Stdout,
            7 => Self::Stderr,
            8 => Self::Data,
            9 => Self::GetValues,
            10 => Self::GetValuesResult,
            11 => Self::UnknownType,
            other => Self::Other(other),
        }
    }
}

impl From<RecordType> for u8 {
    fn from(record_type: RecordType) -> Self {
        match record_type {
            RecordType::BeginRequest => 1,
            RecordType::AbortRequest => 2,
            RecordType::EndRequest => 3,
            RecordType::Params => 4,
            RecordType::Stdin => 5,
            RecordType::Stdout => 6,
            RecordType::Stderr => 7,
            RecordType::Data => 8,
            RecordType::GetValues => 9,
            RecordType::GetValuesResult => 10,
            RecordType::UnknownType => 11,
            RecordType::Other(other) => other,
        }
    }
}

/// The first eight bytes of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The type of the content.
    pub record_type: RecordType,
    /// The request it belongs to; 0 for management records.
    pub request_id: u16,
    /// Bytes of content that follow.
    pub content_length: u16,
    /// Bytes of padding that follow the content.
    pub padding_length: u8,
}

/// A header of a protocol version other than 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownVersion(pub u8);

impl Header {
    /// Reads a header.
    pub fn parse(bytes: [u8; HEADER_LENGTH]) -> Result<Self, UnknownVersion> {
        let [
            version,
            record_type,
            id_high,
            id_low,
            length_high,
            length_low,
            padding_length,
            _reserved,
        ] = bytes;
        if version != VERSION_1 {
            return Err(UnknownVersion(version));
        }
        Ok(Self {
            record_type: record_type.into(),
            request_id: u16::from_be_bytes([id_high, id_low]),
            content_length: u16::from_be_bytes([length_high, length_low]),
            padding_length,
        })
    }

    /// Writes a header.
    pub fn to_bytes(self) -> [u8; HEADER_LENGTH] {
        let [id_high, id_low] = self.request_id.to_be_bytes();
        let [length_high, length_low] = self.content_length.to_be_bytes();
        [
            VERSION_1,
            self.record_type.into(),
            id_high,
            id_low,
            length_high,
            length_low,
            self.padding_length,
            0,
        ]
    }
}

/// The content of [`RecordType::BeginRequest`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BeginRequest {
    /// The role that the application is asked to play; 1 is [`BeginRequest::RESPONDER`].
    pub role: u16,
    /// Whether the connection stays open after the reply (`FCGI_KEEP_CONN`).
    pub keep_connection: bool,
}

impl BeginRequest {
    /// The role of an application that answers HTTP requests.
    pub const RESPONDER: u16 = 1;

    /// Reads the eight bytes of content.
    pub fn parse(content: [u8; 8]) -> Self {
        let [role_high, role_low, flags, ..] = content;
        Self {
            role: u16::from_be_bytes([role_high, role_low]),
            keep_connection: flags & 1 != 0,
        }
    }
}

/// The `protocolStatus` of [`RecordType::EndRequest`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProtocolStatus {
    /// The request was answered.
    RequestComplete = 0,
    /// One connection carries one request at a time here.
    CantMultiplex = 1,
    /// Not a role of this application.
    UnknownRole = 3,
}

/// Appends an [`RecordType::EndRequest`] record with application status 0.
pub fn push_end_request(out: &mut Vec<u8>, request_id: u16, status: ProtocolStatus) {
    let header = Header {
        record_type: RecordType::EndRequest,
        request_id,
        content_length: 8,
        padding_length: 0,
    };
    out.extend_from_slice(&header.to_bytes());
    out.extend_from_slice(&[0, 0, 0, 0, status as u8, 0, 0, 0]);
}

/// Appends `content` as a whole stream: records of at most [`MAX_ALIGNED_CONTENT`] bytes, padded to eight, and the empty record
/// that ends it.
pub fn push_stream(out: &mut Vec<u8>, record_type: RecordType, request_id: u16, content: &[u8]) {
    for piece in content.chunks(MAX_ALIGNED_CONTENT) {
        push_record(out, record_type, request_id, piece);
    }
    push_record(out, record_type, request_id, &[]);
}

/// Appends one record, padded to a multiple of eight bytes.
///
/// # Panics
/// When `content` is longer than 65,535 bytes.
pub fn push_record(out: &mut Vec<u8>, record_type: RecordType, request_id: u16, content: &[u8]) {
    let content_length =
        u16::try_from(content.len()).expect("the content of a record is at most 65,535 bytes");
    let [_, low_byte] = content_length.wrapping_neg().to_be_bytes();
    let padding_length = low_byte & 7;
    let header = Header {
        record_type,
        request_id,
        content_length,
        padding_length,
    };
    out.extend_from_slice(&header.to_bytes());
    out.extend_from_slice(content);
    out.resize(out.len() + usize::from(padding_length), 0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_record_is_padded_to_eight_bytes() {
        let mut out = Vec::new();
        push_record(&mut out, RecordType::Stdout, 1, b"hello");
        assert_eq!(out, b"\x01\x06\x00\x01\x00\x05\x03\x00hello\0\0\0");
    }

    #[test]
    fn a_stream_is_cut_and_ended() {
        let mut out = Vec::new();
        push_stream(
            &mut out,
            RecordType::Stdout,
            7,
            &vec![b'x'; MAX_ALIGNED_CONTENT + 1],
        );
        let lengths: Vec<_> = records(&out).map(|header| header.content_length).collect();
        assert_eq!(lengths, [65_528, 1, 0]);
    }

    #[test]
    fn another_version_is_refused() {
        assert_eq!(
            Header::parse([2, 1, 0, 1, 0, 0, 0, 0]),
            Err(UnknownVersion(2))
        );
    }

    fn records(mut bytes: &[u8]) -> impl Iterator<Item = Header> {
        std::iter::from_fn(move || {
            let (head, rest) = bytes.split_first_chunk()?;
            let header = Header::parse(*head).expect("version 1");
            bytes =
                &rest[usize::from(header.content_length) + usize::from(header.padding_length)..];
            Some(header)
        })
    }

    proptest! {
        #[test]
        fn headers_read_back(record_type: u8, request_id: u16, content_length: u16, padding_length: u8) {
            let header = Header { record_type: record_type.into(), request_id, content_length, padding_length };
            prop_assert_eq!(Header::parse(header.to_bytes()), Ok(header));
        }
    }
}
