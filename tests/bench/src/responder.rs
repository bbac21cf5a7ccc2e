//! A FastCGI responder that only stores the body of a request in a file: the least that any responder costs.
//!
//! `corenexis-bench responder SOCKET DIRECTORY [--sync | --steps]`. With `--sync` it replies when the file and its directory entry are on
//! disk, with `--steps` when this project's disk steps are done, including a row.

mod steps;

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use support::fastcgi::{BEGIN_REQUEST, END_REQUEST, STDIN, STDOUT, record};

use self::steps::Steps;
use crate::fastcgi::{Header, skip};

/// Larger than a request of 20 KiB.
const BUFFER: usize = 64 * 1024;

/// What is on disk when a reply is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durable {
    Nothing,
    /// The file, written under its final name.
    File,
    /// The file and a row, by this project's disk steps.
    Steps,
}

impl Durable {
    const OPTIONS: [(Self, &str); 2] = [(Self::File, "--sync"), (Self::Steps, "--steps")];

    /// Parses the option.
    pub fn asked(arguments: &[String]) -> Self {
        let asked = Self::OPTIONS
            .into_iter()
            .find(|(_, option)| arguments.iter().any(|argument| argument == option));
        asked.map_or(Self::Nothing, |(durable, _)| durable)
    }

    /// The option.
    pub fn option(self) -> Option<&'static str> {
        let (_, option) = Self::OPTIONS
            .into_iter()
            .find(|&(durable, _)| durable == self)?;
        Some(option)
    }
}

struct Store {
    directory: PathBuf,
    way: Way,
    stored: AtomicU64,
}

enum Way {
    Unsynced,
    /// The directory, open for its syncs.
    Synced(File),
    Steps(Steps),
}

impl Store {
    fn open(directory: &Path, durable: Durable) -> io::Result<Self> {
        Ok(Self {
            directory: directory.to_owned(),
            way: match durable {
                Durable::Nothing => Way::Unsynced,
                Durable::File => Way::Synced(File::open(directory)?),
                Durable::Steps => Way::Steps(Steps::into(directory)?),
            },
            stored: AtomicU64::new(0),
        })
    }
}

pub fn serve(socket: &Path, directory: &Path, durable: Durable) -> io::Result<()> {
    let store = Arc::new(Store::open(directory, durable)?);
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
    /// Stores a body in a new file.
    fn take(&self, source: &mut BufReader<&UnixStream>) -> io::Result<String> {
        let number = self.stored.fetch_add(1, Ordering::Relaxed);
        let name = format!("{number:08}.png");
        let path = match &self.way {
            Way::Steps(steps) => steps.spooled(&name),
            Way::Unsynced | Way::Synced(_) => self.directory.join(&name),
        };
        let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
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
        match &self.way {
            Way::Unsynced => {}
            Way::Synced(directory) => {
                file.sync_data()?;
                directory.sync_all()?;
            }
            Way::Steps(steps) => steps.take(&file, &name, number)?,
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
