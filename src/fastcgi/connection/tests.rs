use super::*;
use proptest::prelude::*;

/// A peer that has sent `input` already, and hands it out in pieces of at most `step` bytes.
struct Peer {
    input: Vec<u8>,
    at: usize,
    step: usize,
    output: Vec<u8>,
}

impl Peer {
    fn new(input: Vec<u8>, step: usize) -> Self {
        Self {
            input,
            at: 0,
            step,
            output: Vec::new(),
        }
    }
}

impl Read for Peer {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let taken = out.len().min(self.step).min(self.input.len() - self.at);
        out[..taken].copy_from_slice(&self.input[self.at..self.at + taken]);
        self.at += taken;
        Ok(taken)
    }

    fn read_vectored(&mut self, slices: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let mut left = self.step;
        let mut total = 0;
        for slice in slices {
            let wanted = slice.len().min(left);
            let taken = self.read(&mut slice[..wanted])?;
            total += taken;
            left -= taken;
            if left == 0 || taken < wanted {
                break;
            }
        }
        Ok(total)
    }
}

impl Write for Peer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.output.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn begin(out: &mut Vec<u8>, id: u16, role: u8, flags: u8) {
    push_record(
        out,
        RecordType::BeginRequest,
        id,
        &[0, role, flags, 0, 0, 0, 0, 0],
    );
}

fn params(length: usize) -> Vec<u8> {
    let mut pairs = Vec::new();
    push_pair(&mut pairs, b"CONTENT_LENGTH", length.to_string().as_bytes());
    pairs
}

/// A request as nginx sends it, its body cut into records of `piece` bytes.
fn request(body: &[u8], piece: usize) -> Vec<u8> {
    let mut out = Vec::new();
    begin(&mut out, 1, 1, 1);
    push_stream(&mut out, RecordType::Params, 1, &params(body.len()));
    for content in body.chunks(piece) {
        push_record(&mut out, RecordType::Stdin, 1, content);
    }
    push_record(&mut out, RecordType::Stdin, 1, &[]);
    out
}

fn next_request<S: Read + Write>(connection: &mut Connection<S>) -> Request {
    let request = connection.next_request().expect("readable");
    request.expect("a request")
}

fn read_body<S: Read + Write>(connection: &mut Connection<S>) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    connection.body().read_to_end(&mut body)?;
    Ok(body)
}

fn sample_body(length: usize) -> Vec<u8> {
    (0..=250).cycle().take(length).collect()
}

/// The records that were sent back, as type, id and content.
fn replies(output: &[u8]) -> Vec<(RecordType, u16, Vec<u8>)> {
    let mut records = Vec::new();
    let mut rest = output;
    while let Some((head, behind)) = rest.split_first_chunk() {
        let header = Header::parse(*head).expect("version 1");
        let content = behind[..usize::from(header.content_length)].to_vec();
        records.push((header.record_type, header.request_id, content));
        rest = &behind[usize::from(header.content_length) + usize::from(header.padding_length)..];
    }
    records
}

#[test]
fn requests_follow_one_another_however_the_bytes_arrive() {
    for step in [1, 2, 7, 8, 9, 100, 4_096, 16_383, 16_384, 16_385, 1 << 20] {
        let body = sample_body(70_000);
        let mut input = request(&body, 32_768);
        input.extend(request(b"", 1));
        input.extend(request(&body[..17], 3));
        let mut connection = Connection::new(Peer::new(input, step), 256);
        for expected in [&body[..], b"", &body[..17]] {
            let request = next_request(&mut connection);
            assert_eq!(
                read_body(&mut connection).expect("a body"),
                expected,
                "pieces of {step} bytes"
            );
            assert!(
                connection
                    .reply(&request, b"Status: 200\r\n\r\n")
                    .expect("written")
            );
        }
        assert!(connection.next_request().expect("readable").is_none());
    }
}

#[test]
fn an_unread_body_is_dropped_before_the_next_request() {
    let mut input = request(&sample_body(200_000), 32_768);
    input.extend(request(b"next", 4));
    let mut connection = Connection::new(Peer::new(input, 5_000), 256);
    let first = next_request(&mut connection);
    connection
        .reply(&first, b"Status: 403\r\n\r\n")
        .expect("written");
    next_request(&mut connection);
    assert_eq!(read_body(&mut connection).expect("a body"), b"next");
}

#[test]
fn a_body_must_be_as_long_as_announced() {
    for announced in [0, 9, 11, 10_000] {
        let mut input = Vec::new();
        begin(&mut input, 1, 1, 1);
        push_stream(&mut input, RecordType::Params, 1, &params(announced));
        push_stream(&mut input, RecordType::Stdin, 1, b"ten bytes!");
        let mut connection = Connection::new(Peer::new(input, 100), 256);
        let request = next_request(&mut connection);
        let error = read_body(&mut connection).expect_err("another length");
        assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{announced}");
        assert!(
            connection
                .reply(&request, b"Status: 400\r\n\r\n")
                .expect("written"),
            "the connection goes on"
        );
    }
}

#[test]
fn an_aborted_request_is_an_error_and_the_connection_goes_on() {
    let mut input = Vec::new();
    begin(&mut input, 1, 1, 1);
    push_stream(&mut input, RecordType::Params, 1, &params(100));
    push_record(&mut input, RecordType::Stdin, 1, b"some");
    push_record(&mut input, RecordType::AbortRequest, 1, &[]);
    // Aborted before the end of its parameters.
    begin(&mut input, 1, 1, 1);
    push_record(&mut input, RecordType::AbortRequest, 1, &[]);
    input.extend(request(b"next", 4));
    let mut connection = Connection::new(Peer::new(input, 100), 256);
    let first = next_request(&mut connection);
    assert_eq!(
        read_body(&mut connection).expect_err("aborted").kind(),
        io::ErrorKind::ConnectionAborted
    );
    connection.reply(&first, b"").expect("written");
    next_request(&mut connection);
    assert_eq!(read_body(&mut connection).expect("a body"), b"next");
}

#[test]
fn management_records_are_answered_wherever_they_come() {
    let mut asked = Vec::new();
    for name in [
        &b"FCGI_MAX_CONNS"[..],
        b"FCGI_MPXS_CONNS",
        b"FCGI_UNHEARD_OF",
    ] {
        push_pair(&mut asked, name, b"");
    }
    let mut input = Vec::new();
    push_record(&mut input, RecordType::GetValues, 0, &asked);
    push_record(&mut input, RecordType::Other(99), 0, b"?");
    begin(&mut input, 1, 1, 0);
    push_record(&mut input, RecordType::GetValues, 0, &asked);
    push_stream(&mut input, RecordType::Params, 1, &params(4));
    begin(&mut input, 2, 1, 1);
    push_record(&mut input, RecordType::Stdin, 1, b"bo");
    push_record(&mut input, RecordType::Other(77), 0, b"?");
    push_stream(&mut input, RecordType::Stdin, 1, b"dy");
    let mut connection = Connection::new(Peer::new(input, 3), 12);
    let request = next_request(&mut connection);
    assert_eq!(read_body(&mut connection).expect("a body"), b"body");
    assert!(
        !connection.reply(&request, b"x").expect("written"),
        "FCGI_KEEP_CONN was not asked for"
    );

    let mut values = Vec::new();
    push_pair(&mut values, b"FCGI_MAX_CONNS", b"12");
    push_pair(&mut values, b"FCGI_MPXS_CONNS", b"0");
    let unknown = |number| {
        (
            RecordType::UnknownType,
            0,
            vec![number, 0, 0, 0, 0, 0, 0, 0],
        )
    };
    let end = |id, status| {
        (
            RecordType::EndRequest,
            id,
            vec![0, 0, 0, 0, status, 0, 0, 0],
        )
    };
    assert_eq!(
        replies(&connection.stream.output),
        [
            (RecordType::GetValuesResult, 0, values.clone()),
            unknown(99),
            (RecordType::GetValuesResult, 0, values),
            end(2, 1),
            unknown(77),
            (RecordType::Stdout, 1, b"x".to_vec()),
            (RecordType::Stdout, 1, Vec::new()),
            end(1, 0),
        ]
    );
}

#[test]
fn another_role_is_refused_and_the_connection_goes_on() {
    let mut input = Vec::new();
    begin(&mut input, 1, 2, 1);
    push_stream(&mut input, RecordType::Params, 1, &params(0));
    push_record(&mut input, RecordType::Stdin, 1, &[]);
    input.extend(request(b"next", 4));
    let mut connection = Connection::new(Peer::new(input, 100), 256);
    next_request(&mut connection);
    assert_eq!(read_body(&mut connection).expect("a body"), b"next");
    assert_eq!(
        replies(&connection.stream.output),
        [(RecordType::EndRequest, 1, vec![0, 0, 0, 0, 3, 0, 0, 0])]
    );
}

#[test]
fn a_peer_that_leaves_inside_a_request_is_an_error() {
    let whole = request(b"some body", 4);
    for length in 1..whole.len() {
        let mut connection = Connection::new(Peer::new(whole[..length].to_vec(), 5), 256);
        match connection.next_request() {
            Err(ConnectionError::Io(_)) => {}
            Ok(Some(_)) => {
                // The padding behind the last header may be missing; nothing is lost with it.
                if read_body(&mut connection).is_ok() {
                    assert!(
                        whole.len() - length < HEADER_LENGTH,
                        "{length} of {} bytes",
                        whole.len()
                    );
                }
            }
            other => panic!("{length} of {} bytes gave {other:?}", whole.len()),
        }
    }
}

#[test]
fn endless_params_are_cut_off() {
    let mut input = Vec::new();
    begin(&mut input, 1, 1, 1);
    for _ in 0..3 {
        push_record(&mut input, RecordType::Params, 1, &vec![0; 30_000]);
    }
    let mut connection = Connection::new(Peer::new(input, 10_000), 256);
    let error = connection.next_request().expect_err("too long");
    assert!(
        matches!(error, ConnectionError::Params(InvalidParams::TooLong)),
        "{error}"
    );
}

proptest! {
    #[test]
    fn any_bytes_end_in_a_request_or_an_error(input in prop::collection::vec(any::<u8>(), 0..400), step in 1usize..50) {
        let mut connection = Connection::new(Peer::new(input, step), 256);
        while let Ok(Some(request)) = connection.next_request() {
            let _ = read_body(&mut connection);
            if connection.reply(&request, b"").is_err() {
                break;
            }
        }
    }

    #[test]
    fn mutated_requests_end_in_a_request_or_an_error(at in 0usize..300, byte: u8, step in 1usize..50) {
        let mut input = request(&sample_body(200), 50);
        let at = at % input.len();
        input[at] = byte;
        let mut connection = Connection::new(Peer::new(input, step), 256);
        while let Ok(Some(request)) = connection.next_request() {
            let _ = read_body(&mut connection);
            if connection.reply(&request, b"").is_err() {
                break;
            }
        }
    }
}
