//! This project: the release binary behind the nginx configuration that it renders.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use super::backends::{Database, Images};
use super::{CLIENT, Protocol, Shared, SlowSyncs, TOKEN, Target, Workshop, nginx};
use crate::process::{Server, free_address, output, takes_unix};

/// `max_connections` by default.
pub const MAX_CONNECTIONS: usize = 256;

/// The files of a site, before a process runs.
pub struct Site {
    key: &'static str,
    label: &'static str,
    program: PathBuf,
    slow_syncs: Option<SlowSyncs>,
    pub home: PathBuf,
    pub config: PathBuf,
    pub socket: PathBuf,
    /// Where its nginx listens.
    pub address: SocketAddr,
    /// The address in its URLs, which hosts share.
    public: SocketAddr,
    docroot: PathBuf,
    pub database: Option<Database>,
    images: Option<Images>,
}

/// What a site is to be.
#[derive(Clone)]
pub struct Design {
    pub key: &'static str,
    pub label: &'static str,
    pub durability: &'static str,
    pub max_connections: usize,
    /// `None` for a ledger in SQLite.
    pub database: Option<Database>,
    /// `None` for a docroot.
    pub images: Option<Images>,
}

impl Design {
    /// One durable host: SQLite and docroot.
    pub const fn new(key: &'static str, label: &'static str) -> Self {
        Self {
            key,
            label,
            durability: "full",
            max_connections: MAX_CONNECTIONS,
            database: None,
            images: None,
        }
    }
}

impl Site {
    /// A command of the binary with this site's configuration.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("--config").arg(&self.config);
        command
    }

    pub fn docroot(&self) -> PathBuf {
        self.docroot.clone()
    }

    pub fn ledger(&self) -> PathBuf {
        self.home.join("ledger/ledger.db")
    }

    /// Starts the responder; also returns the time until it listened.
    pub fn start_responder(&self) -> io::Result<(Server, Duration)> {
        let began = Instant::now();
        let log = self.home.join("responder.log");
        let mut command = self.command();
        if let Some(slow_syncs) = &self.slow_syncs {
            slow_syncs.preload(&mut command);
        }
        let mut responder = Server::start(command.arg("serve"), &log)?;
        responder.wait_until(takes_unix(&self.socket))?;
        Ok((responder, began.elapsed()))
    }

    /// The target of a site whose responder runs.
    pub fn behind_nginx(&self, responder: Server) -> io::Result<Target> {
        let config = self.home.join("rendered/nginx/nginx.conf");
        let nginx = nginx::start(&self.home, &config, self.address)?;
        Ok(Target {
            key: self.key,
            label: self.label,
            address: self.address,
            protocol: Protocol::Contract,
            root: self.docroot(),
            store: self.docroot().join("p"),
            servers: vec![responder, nginx],
            borrowed: Vec::new(),
            shared: Shared {
                hosts: Vec::new(),
                database: self.database.as_ref().map(|database| database.process),
                store: self.images.as_ref().map(|images| images.process),
                bucket: self.images.as_ref().map(|images| images.bucket.clone()),
            },
        })
    }

    /// Starts the responder and its nginx.
    pub fn start(&self) -> io::Result<Target> {
        let (responder, _) = self.start_responder()?;
        self.behind_nginx(responder)
    }

    /// Writes the configuration: without limits per address, because the whole load has one.
    fn configure(&self, design: &Design) -> io::Result<()> {
        let home = self.home.display();
        let mut text = format!(
            "[site]\npublic_url = \"http://{}\"\n\
             [server]\nlisten = \"unix:{}\"\nmax_connections = {}\n\
             [storage]\ndocroot = \"{}\"\nmin_free = \"64MiB\"\ndurability = \"{}\"\n",
            self.public,
            self.socket.display(),
            design.max_connections,
            self.docroot.display(),
            design.durability,
        );
        if let Some(Images { bucket, .. }) = &self.images {
            let _ = write!(
                text,
                "kind = \"s3\"\nendpoint = \"{}\"\nbucket = \"{}\"\nkey_file = \"{}\"\nspool = \"{home}/spool\"\n",
                bucket.endpoint,
                bucket.name,
                bucket.key_file("responder").display(),
            );
        }
        let _ = match &self.database {
            Some(database) => write!(
                text,
                "[ledger]\nurl = \"{}\"\npassword_file = \"{}\"\n",
                database.url,
                database.password_file.display()
            ),
            None => write!(text, "[ledger]\npath = \"{}\"\n", self.ledger().display()),
        };
        text.push_str(
            "[limits]\nrequests_per_second = 0\nconcurrent_requests = 0\nfailed_attempts_per_minute = 0\n\
             [plans.bench]\ndaily_uploads = 1000000000\nmax_file_size = \"10MiB\"\ndurations = [\"7D\", \"1M\", \"3M\"]\nurl = \"direct\"\n",
        );
        fs::write(&self.config, text)
    }

    fn add_client(&self) -> io::Result<()> {
        let token = self.home.join("token");
        fs::write(&token, TOKEN)?;
        let mut add = self.command();
        add.args(["client", "add", CLIENT, "--plan", "bench", "--token-file"]);
        output(add.arg(&token)).map(drop)
    }

    fn render(&self) -> io::Result<()> {
        let mut render = self.command();
        render
            .arg("render")
            .arg(self.home.join("rendered"))
            .args(["--nginx-listen", &self.address.to_string()]);
        if rustix::process::geteuid().is_root() {
            render.args(["--nginx-worker-user", "root"]);
        }
        output(&mut render).map(drop)
    }
}

impl Workshop<'_> {
    /// This project, ready to be measured.
    pub fn cdn(&self, key: &'static str, durability: &'static str) -> io::Result<Target> {
        self.site(key, durability, MAX_CONNECTIONS)?.start()
    }

    /// One host with SQLite and a docroot.
    pub fn site(
        &self,
        key: &'static str,
        durability: &'static str,
        max_connections: usize,
    ) -> io::Result<Site> {
        let label = match durability {
            "full" => "this project, durable",
            _ => "this project, relaxed",
        };
        self.build(&Design {
            durability,
            max_connections,
            ..Design::new(key, label)
        })
    }

    /// Configuration, ledger with one client, empty store, and what `render` makes of it.
    pub fn build(&self, design: &Design) -> io::Result<Site> {
        let site = self.unbuilt(design, None)?;
        site.configure(design)?;
        site.add_client()?;
        site.render()?;
        Ok(site)
    }

    /// Sets up another host, over the ledger and store of a site.
    pub fn build_beside(&self, first: &Site, key: &'static str) -> io::Result<Site> {
        let design = Design {
            database: first.database.clone(),
            images: first.images.clone(),
            ..Design::new(key, first.label)
        };
        let site = self.unbuilt(&design, Some(first))?;
        site.configure(&design)?;
        site.render()?;
        Ok(site)
    }

    fn unbuilt(&self, design: &Design, first: Option<&Site>) -> io::Result<Site> {
        let home = self.home(design.key)?;
        for directory in ["docroot", "ledger", "nginx/logs", "nginx/run"] {
            fs::create_dir_all(home.join(directory))?;
        }
        let address = free_address();
        Ok(Site {
            key: design.key,
            label: design.label,
            program: self.binary.to_owned(),
            slow_syncs: self.slow_syncs.cloned(),
            config: home.join("config.toml"),
            socket: self.sockets.join(design.key),
            address,
            public: first.map_or(address, |first| first.public),
            docroot: first.map_or_else(|| home.join("docroot"), Site::docroot),
            database: design.database.clone(),
            images: design.images.clone(),
            home,
        })
    }
}
