//! The measured servers, each behind an nginx with the same settings.

mod alternatives;
pub mod backends;
mod delivery;
mod nginx;
pub mod own;
mod php;

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use support::seaweedfs::Bucket;

use crate::disk::{files, settle};
use crate::http::Client;
use crate::picture::SERIAL;
use crate::process::{Server, output};
use backends::Backends;

pub const CLIENT: &str = "bench";
const TOKEN: &str = "00112233445566778899aabbccddeeff";
const BOUNDARY: &str = "----corenexisbench7f3a9c";
pub const CONTENT_TYPE: &str = "multipart/form-data; boundary=----corenexisbench7f3a9c";

/// The extension of every stored picture.
const EXTENSION: &str = ".png";

/// Request and reply of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// The documented upload: a multipart form, answered with the URL.
    Contract,
    /// `PUT` of the bytes.
    Put,
    /// `POST` of the bytes, answered with the name of the file.
    Raw,
}

pub struct Target {
    pub key: &'static str,
    pub label: &'static str,
    pub address: SocketAddr,
    pub protocol: Protocol,
    /// The directory that the paths of replies are relative to.
    pub root: PathBuf,
    /// The directory of stored files.
    pub store: PathBuf,
    servers: Vec<Server>,
    /// Processes that serve this target and belong to another one.
    borrowed: Vec<u32>,
    pub shared: Shared,
}

/// What a target has beyond one host with a file system.
#[derive(Default)]
pub struct Shared {
    /// Hosts beside the first one, which serve the same images.
    pub hosts: Vec<SocketAddr>,
    /// A process above PostgreSQL's.
    pub database: Option<u32>,
    /// A process above the object store's.
    pub store: Option<u32>,
    /// Where the images are; `None` for files.
    pub bucket: Option<Arc<Bucket>>,
}

/// The bytes around a picture.
#[derive(Clone)]
pub struct Envelope {
    pub before: Vec<u8>,
    pub after: Vec<u8>,
    /// Where the serial number stands in `before`, if it does.
    pub serial: Option<usize>,
}

/// Paths that all targets need.
#[derive(Clone, Copy)]
pub struct Workshop<'a> {
    /// A directory on the disk that is measured.
    pub disk: &'a Path,
    /// A directory with a path short enough for sockets.
    pub sockets: &'a Path,
    /// The release binary.
    pub binary: &'a Path,
    pub php: &'a Path,
    /// This program.
    pub own: &'a Path,
    /// Makes every sync of the servers take longer.
    pub slow_syncs: Option<&'a SlowSyncs>,
    pub backends: &'a Backends<'a>,
}

impl Target {
    pub fn pids(&self) -> Vec<u32> {
        let own = self.servers.iter().map(Server::pid);
        own.chain(self.borrowed.iter().copied()).collect()
    }

    /// The host of a connection: they take turns.
    pub fn address_of(&self, connection: usize) -> SocketAddr {
        let others = &self.shared.hosts;
        match connection % (others.len() + 1) {
            0 => self.address,
            number => others[number - 1],
        }
    }

    /// Adds another host with the same images.
    pub fn and(mut self, other: Self) -> Self {
        self.servers.extend(other.servers);
        self.shared.hosts.push(other.address);
        self
    }

    /// A request for the first page of the client's list.
    pub fn list_request(&self) -> String {
        format!(
            "GET /image/v2/images HTTP/1.1\r\nHost: {}\r\nX-Client-Id: {CLIENT}\r\nX-Client-Token: {TOKEN}\r\n\r\n",
            self.address
        )
    }

    pub fn last_lines(&self) -> String {
        let words = self.servers.iter().map(Server::last_lines);
        words.collect::<Vec<_>>().join("\n")
    }

    /// The request for a picture of `size` bytes.
    pub fn envelope(&self, size: usize) -> Envelope {
        let host = self.address;
        match self.protocol {
            Protocol::Contract => {
                let form = Self::form();
                let length = form.before.len() + size + form.after.len();
                let head = format!(
                    "POST /image/v2/ HTTP/1.1\r\nHost: {host}\r\nContent-Type: {CONTENT_TYPE}\r\nContent-Length: {length}\r\n\r\n"
                );
                Envelope {
                    before: [head.into_bytes(), form.before].concat(),
                    ..form
                }
            }
            Protocol::Put | Protocol::Raw => {
                let put = "PUT /put/";
                let (line, serial) = if self.protocol == Protocol::Put {
                    (format!("{put}{:0SERIAL$}.png", 0), Some(put.len()))
                } else {
                    ("POST /store".to_owned(), None)
                };
                let before = format!(
                    "{line} HTTP/1.1\r\nHost: {host}\r\nContent-Type: image/png\r\nContent-Length: {size}\r\n\r\n"
                );
                Envelope {
                    before: before.into_bytes(),
                    after: Vec::new(),
                    serial,
                }
            }
        }
    }

    /// The fields of the form around a picture, without a request around them.
    pub fn form() -> Envelope {
        let mut form = String::new();
        for (name, value) in [
            ("client_id", CLIENT),
            ("client_token", TOKEN),
            ("store_duration", "1M"),
        ] {
            let _ = write!(
                form,
                "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"
            );
        }
        let _ = write!(
            form,
            "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"image\"; filename=\"photo.png\"\r\n\
             Content-Type: image/png\r\n\r\n"
        );
        Envelope {
            before: form.into_bytes(),
            after: format!("\r\n--{BOUNDARY}--\r\n").into_bytes(),
            serial: None,
        }
    }

    /// The bytes of a stored image, from the file, or from the bucket by way of nginx.
    pub fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        if self.shared.bucket.is_none() {
            return fs::read(self.root.join(path));
        }
        let request = format!("GET /{path} HTTP/1.1\r\nHost: {}\r\n\r\n", self.address);
        let mut client = Client::new(self.address);
        Ok(client.exchange(&[request.as_bytes()])?.body.to_vec())
    }

    /// How many images are stored.
    pub fn count(&self) -> io::Result<usize> {
        Ok(match &self.shared.bucket {
            Some(bucket) => bucket.objects().len(),
            None => files(&self.store)?.len(),
        })
    }

    /// Deletes what is stored.
    pub fn empty(&self) -> io::Result<()> {
        if let Some(bucket) = &self.shared.bucket {
            bucket.clear();
            return settle(&self.root);
        }
        let stored = files(&self.store)?;
        stored.iter().try_for_each(fs::remove_file)?;
        settle(&self.store)
    }

    /// The path of the stored file that a reply names; `None` for a reply that is not the right one.
    pub fn stored(&self, status: u16, body: &[u8], serial: u64) -> Option<String> {
        let body = str::from_utf8(body).ok()?;
        match self.protocol {
            Protocol::Contract => {
                let start = format!(r#"{{"status":"success","url":"http://{}/p/"#, self.address);
                let (path, rest) = body.strip_prefix(&start)?.split_once('"')?;
                let good = status == 200
                    && path.ends_with(EXTENSION)
                    && rest.starts_with(r#","expires_at":""#)
                    && rest.ends_with("\"}");
                good.then(|| format!("p/{path}"))
            }
            Protocol::Put => (status == 201).then(|| format!("{serial:0SERIAL$x}.png")),
            Protocol::Raw => (status == 200 && body.ends_with(EXTENSION)).then(|| body.to_owned()),
        }
    }
}

/// A library that makes every sync of a program take longer.
#[derive(Clone)]
pub struct SlowSyncs {
    library: PathBuf,
    milliseconds: String,
}

impl SlowSyncs {
    /// Builds the library from the C file `source`.
    pub fn build(source: &Path, directory: &Path, milliseconds: usize) -> io::Result<Self> {
        let library = directory.join("slow_sync.so");
        let mut compiler = Command::new("cc");
        compiler.args([
            "-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", "-o",
        ]);
        output(compiler.arg(&library).arg(source).arg("-ldl"))?;
        Ok(Self {
            library,
            milliseconds: milliseconds.to_string(),
        })
    }

    fn preload(&self, command: &mut Command) {
        command
            .env("LD_PRELOAD", &self.library)
            .env("SYNC_DELAY_MS", &self.milliseconds);
    }
}

impl Workshop<'_> {
    fn home(&self, key: &str) -> io::Result<PathBuf> {
        let home = self.disk.join(key);
        fs::create_dir(&home)?;
        Ok(home)
    }
}
