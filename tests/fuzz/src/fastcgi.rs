//! Records and parameters.

use std::io::{self, Read, Write};

use corenexis_cdn::fastcgi::connection::Connection;
use corenexis_cdn::fastcgi::params::{MAX_BYTES, MAX_PAIRS, Params};

use crate::Split;

/// The web server's side: gives what it has, keeps what it is told.
struct Peer<R> {
    sends: R,
    received: Vec<u8>,
}

impl<R: Read> Read for Peer<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.sends.read(into)
    }
}

impl<R> Write for Peer<R> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.received.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// One request as a handler sees it.
#[derive(Debug, PartialEq)]
struct Seen {
    params: Params,
    body: Vec<u8>,
    /// Why the body could not be read to its end.
    broken: Option<String>,
    /// Whether another request may follow.
    reply: Result<bool, String>,
}

/// Serves one connection; every other handler reads no more than ten bytes of the body.
fn serve(sends: impl Read, piece: usize) -> (Vec<Seen>, Option<String>, Vec<u8>) {
    let mut peer = Peer {
        sends,
        received: Vec::new(),
    };
    let mut requests = Vec::new();
    let mut connection = Connection::new(&mut peer, 7);
    let ending = loop {
        let request = match connection.next_request() {
            Ok(Some(request)) => request,
            Ok(None) => break None,
            Err(error) => break Some(error.to_string()),
        };
        let announced = request.params.content_length();
        let limit = if requests.len() % 2 == 0 {
            u64::MAX
        } else {
            10
        };
        let mut body = Vec::new();
        let broken = read_in_pieces(&mut connection.body().take(limit), piece, &mut body)
            .err()
            .map(|error| error.to_string());
        match announced {
            Some(length) => {
                assert!(body.len() as u64 <= length, "more than CONTENT_LENGTH");
                if broken.is_none() {
                    assert_eq!(body.len() as u64, length.min(limit));
                }
            }
            None => assert!(body.is_empty() && broken.is_some()),
        }
        let reply = connection.reply(&request, b"Status: 200\r\n\r\nok");
        let goes_on = matches!(reply, Ok(true));
        requests.push(Seen {
            params: request.params,
            body,
            broken,
            reply: reply.map_err(|error| error.to_string()),
        });
        if !goes_on {
            break None;
        }
    };
    (requests, ending, peer.received)
}

fn read_in_pieces(body: &mut impl Read, piece: usize, into: &mut Vec<u8>) -> io::Result<()> {
    let mut buffer = vec![0; piece];
    loop {
        match body.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(length) => into.extend_from_slice(&buffer[..length]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// What nginx could send over one connection, and what it could not.
pub fn connection(data: &[u8]) {
    let at_once = serve(data, 4096);
    let mut split = Split::new(data, 0);
    let again = match split.below(3) {
        0 => serve(split, 4096),
        1 => serve(split, 3),
        _ => serve(data, 11),
    };
    assert_eq!(again, at_once);
}

/// The name-value pairs of a request.
pub fn params(data: &[u8]) {
    let Ok(params) = Params::parse(data.to_vec()) else {
        return;
    };
    assert!(data.len() <= MAX_BYTES);
    let pairs: Vec<_> = params.iter().collect();
    assert!(pairs.len() <= MAX_PAIRS);
    let bytes: usize = pairs
        .iter()
        .map(|(name, value)| name.len() + value.len())
        .sum();
    assert!(bytes + 2 * pairs.len() <= data.len());
    for (name, _) in &pairs {
        if let Ok(name) = str::from_utf8(name) {
            let first = pairs.iter().find(|(other, _)| *other == name.as_bytes());
            assert_eq!(params.get(name), first.map(|(_, value)| *value));
        }
    }
    if let Some(length) = params.content_length() {
        let text = params.get("CONTENT_LENGTH").unwrap_or_default();
        let text = str::from_utf8(text)
            .expect("digits")
            .trim_start_matches('0');
        assert!(text == length.to_string() || (text.is_empty() && length == 0));
    }
    // A length of less than 128 may be written in four bytes, so the same pairs take the same room or less.
    if let Ok(again) = Params::from_pairs(pairs.iter().copied()) {
        assert!(again.iter().eq(pairs));
    } else {
        panic!("pairs that were read cannot be written");
    }
}
