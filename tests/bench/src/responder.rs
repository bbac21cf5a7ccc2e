//! A FastCGI responder that does nothing but store the body of a request in a file: what any responder costs at least.
//!
//! `corenexis-bench responder SOCKET DIRECTORY [--sync]`. With `--sync` a reply is sent when file and directory entry are on disk.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use crate::fastcgi::{BEGIN_REQUEST, END_REQUEST, Header, STDIN, STDOUT, record, skip};

/// Holds a request of 20 KiB whole.
const BUFFER: usize = 64 * 1024;

struct Store {
    directory: PathBuf,
    /// Open for its syncs; none where nothing is synced.
    synced: Option<File>,
    stored: AtomicU64,
}

pub fn serve(socket: &Path, directory: &Path, sync: bool) -> io::Result<()> {
    let store = Arc::new(Store {
        directory: directory.to_owned(),
        synced: sync.then(|| File::open(directory)).transpose()?,
        stored: AtomicU64::new(0),
    });
    for stream in UnixListener::bind(socket)?.incoming() {
        let stream = stream?;
        let store = Arc::clone(&store);
        thread::spawn(move || {
            if let Err(error) = serve_connection(&stream, &store) {
                eprintln!("connection: {error}");
            }
        });
    }
    Ok(())
}

fn serve_connection(mut stream: &UnixStream, store: &Store) -> io::Result<()> {
    let mut source = BufReader::with_capacity(BUFFER, stream);
    loop {
        if source.fill_buf()?.is_empty() {
            return Ok(());
        }
        let id = skip_to_body(&mut source)?;
        let name = store.take(&mut source)?;
        let text = format!(
            "Content-Type: text/plain\r\nContent-Length: {}\r\n\r\n{name}",
            name.len()
        );
        let mut reply = record(STDOUT, id, text.as_bytes());
        reply.extend(record(STDOUT, id, b""));
        reply.extend(record(END_REQUEST, id, &[0; 8]));
        stream.write_all(&reply)?;
    }
}

impl Store {
    /// Stores a body under a name of its own.
    fn take(&self, source: &mut BufReader<&UnixStream>) -> io::Result<String> {
        let name = format!("{:08}.png", self.stored.fetch_add(1, Ordering::Relaxed));
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(self.directory.join(&name))?;
        loop {
            let header = Header::read(source)?;
            if header.kind != STDIN {
                return Err(io::ErrorKind::InvalidData.into());
            }
            if header.content == 0 {
                break;
            }
            copy(source, header.content, &mut file)?;
            skip(source, header.padding)?;
        }
        if let Some(directory) = &self.synced {
            file.sync_data()?;
            directory.sync_all()?;
        }
        Ok(name)
    }
}

fn copy(source: &mut BufReader<&UnixStream>, mut left: usize, file: &mut File) -> io::Result<()> {
    while left > 0 {
        let piece = source.fill_buf()?;
        let length = piece.len().min(left);
        if length == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        file.write_all(&piece[..length])?;
        source.consume(length);
        left -= length;
    }
    Ok(())
}

/// Reads everything up to the body and gives the id of the request.
fn skip_to_body(source: &mut BufReader<&UnixStream>) -> io::Result<u16> {
    let begin = Header::read(source)?;
    if begin.kind != BEGIN_REQUEST {
        return Err(io::ErrorKind::InvalidData.into());
    }
    skip(source, begin.content + begin.padding)?;
    loop {
        let params = Header::read(source)?;
        skip(source, params.content + params.padding)?;
        if params.content == 0 {
            return Ok(begin.id);
        }
    }
}
