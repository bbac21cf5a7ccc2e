//! This project: the release binary behind the nginx configuration that it renders.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use super::{CLIENT, Protocol, SlowSyncs, TOKEN, Target, Workshop, nginx};
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
    pub address: SocketAddr,
}

impl Site {
    /// A command of the binary with this site's configuration.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("--config").arg(&self.config);
        command
    }

    pub fn docroot(&self) -> PathBuf {
        self.home.join("docroot")
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
        })
    }
}

impl Workshop<'_> {
    /// This project, ready to be measured.
    pub fn cdn(&self, key: &'static str, durability: &str) -> io::Result<Target> {
        let site = self.site(key, durability, MAX_CONNECTIONS)?;
        let (responder, _) = site.start_responder()?;
        site.behind_nginx(responder)
    }

    /// Configuration, ledger with one client, empty docroot, and what `render` makes of it.
    pub fn site(
        &self,
        key: &'static str,
        durability: &str,
        max_connections: usize,
    ) -> io::Result<Site> {
        let home = self.home(key)?;
        for directory in ["docroot", "ledger", "nginx/logs", "nginx/run"] {
            fs::create_dir_all(home.join(directory))?;
        }
        let address = free_address();
        let site = Site {
            key,
            label: match durability {
                "full" => "this project, durable",
                _ => "this project, relaxed",
            },
            program: self.binary.to_owned(),
            slow_syncs: self.slow_syncs.cloned(),
            config: home.join("config.toml"),
            socket: self.sockets.join(key),
            address,
            home,
        };
        // Without limits per address, because the whole load has one.
        fs::write(
            &site.config,
            format!(
                "[site]\npublic_url = \"http://{address}\"\n\
                 [server]\nlisten = \"unix:{}\"\nmax_connections = {max_connections}\n\
                 [storage]\ndocroot = \"{home}/docroot\"\nmin_free = \"64MiB\"\ndurability = \"{durability}\"\n\
                 [ledger]\npath = \"{home}/ledger/ledger.db\"\n\
                 [limits]\nrequests_per_second = 0\nconcurrent_requests = 0\nfailed_attempts_per_minute = 0\n\
                 [plans.bench]\ndaily_uploads = 1000000000\nmax_file_size = \"10MiB\"\ndurations = [\"7D\", \"1M\", \"3M\"]\nurl = \"direct\"\n",
                site.socket.display(),
                home = site.home.display(),
            ),
        )?;
        let token = site.home.join("token");
        fs::write(&token, TOKEN)?;
        output(
            site.command()
                .args(["client", "add", CLIENT, "--plan", "bench", "--token-file"])
                .arg(&token),
        )?;
        let mut render = site.command();
        render
            .arg("render")
            .arg(site.home.join("rendered"))
            .args(["--nginx-listen", &address.to_string()]);
        if rustix::process::geteuid().is_root() {
            render.args(["--nginx-worker-user", "root"]);
        }
        output(&mut render)?;
        Ok(site)
    }
}
