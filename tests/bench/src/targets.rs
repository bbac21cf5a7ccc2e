//! What is measured: servers, each behind an nginx of its own with the same settings.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest, Sha256};

use crate::picture::SERIAL;
use crate::process::{Server, free_address, output, program, takes_tcp, takes_unix};

const CLIENT: &str = "bench";
const TOKEN: &str = "00112233445566778899aabbccddeeff";
const BOUNDARY: &str = "----corenexisbench7f3a9c";

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
    /// Whether a reply means that the upload is on disk.
    pub durable: bool,
    pub address: SocketAddr,
    pub protocol: Protocol,
    /// What the paths of the replies are below.
    pub root: PathBuf,
    /// Where nothing but stored files is.
    pub store: PathBuf,
    servers: Vec<Server>,
    /// Processes that serve this target and belong to another one.
    borrowed: Vec<u32>,
}

/// The bytes around a picture.
#[derive(Clone)]
pub struct Envelope {
    pub before: Vec<u8>,
    pub after: Vec<u8>,
    /// Where the serial number stands in `before`, if it does.
    pub serial: Option<usize>,
}

/// What all targets are made with.
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
}

impl Target {
    pub fn pids(&self) -> Vec<u32> {
        let own = self.servers.iter().map(Server::pid);
        own.chain(self.borrowed.iter().copied()).collect()
    }

    pub fn last_words(&self) -> String {
        let words = self.servers.iter().map(Server::last_words);
        words.collect::<Vec<_>>().join("\n")
    }

    /// The request for a picture of `size` bytes.
    pub fn envelope(&self, size: usize) -> Envelope {
        let host = self.address;
        match self.protocol {
            Protocol::Contract => {
                let mut form = String::new();
                for (name, value) in [
                    ("client_id", CLIENT),
                    ("client_token", TOKEN),
                    ("store_duration", "1M"),
                ] {
                    form += &format!(
                        "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"
                    );
                }
                form += &format!(
                    "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"image\"; filename=\"photo.png\"\r\n\
                     Content-Type: image/png\r\n\r\n"
                );
                let after = format!("\r\n--{BOUNDARY}--\r\n");
                let length = form.len() + size + after.len();
                let head = format!(
                    "POST /image/v2/ HTTP/1.1\r\nHost: {host}\r\nContent-Type: multipart/form-data; boundary={BOUNDARY}\r\n\
                     Content-Length: {length}\r\n\r\n"
                );
                Envelope {
                    before: (head + &form).into_bytes(),
                    after: after.into_bytes(),
                    serial: None,
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

    /// The path of the stored file that a reply names; `None` for a reply that is not the right one.
    pub fn stored(&self, status: u16, body: &[u8], serial: u64) -> Option<String> {
        let body = str::from_utf8(body).ok()?;
        match self.protocol {
            Protocol::Contract => {
                let start = format!(r#"{{"status":"success","url":"http://{}/p/"#, self.address);
                let (path, rest) = body.strip_prefix(&start)?.split_once('"')?;
                let good = status == 200
                    && path.ends_with(".png")
                    && rest.starts_with(r#","expires_at":""#)
                    && rest.ends_with("\"}");
                good.then(|| format!("p/{path}"))
            }
            Protocol::Put => (status == 201).then(|| format!("{serial:0SERIAL$x}.png")),
            Protocol::Raw => (status == 200 && body.ends_with(".png")).then(|| body.to_owned()),
        }
    }
}

impl Workshop<'_> {
    /// This project. With `bare`, nginx sends none of our headers.
    pub fn cdn(&self, key: &'static str, durability: &str) -> io::Result<Target> {
        let home = self.home(key)?;
        for directory in ["docroot", "ledger", "nginx/logs", "nginx/run"] {
            fs::create_dir_all(home.join(directory))?;
        }
        let address = free_address()?;
        let socket = self.sockets.join(key);
        let config = home.join("config.toml");
        fs::write(
            &config,
            format!(
                "[site]\npublic_url = \"http://{address}\"\n\
                 [server]\nlisten = \"unix:{}\"\n\
                 [storage]\ndocroot = \"{home}/docroot\"\nmin_free = \"64MiB\"\ndurability = \"{durability}\"\n\
                 [ledger]\npath = \"{home}/ledger/ledger.db\"\n\
                 [limits]\nrequests_per_second = 0\nfailed_attempts_per_minute = 0\n\
                 [plans.bench]\ndaily_uploads = 1000000000\nmax_file_size = \"10MiB\"\ndurations = [\"7D\", \"1M\", \"3M\"]\nurl = \"direct\"\n",
                socket.display(),
                home = home.display(),
            ),
        )?;
        let token = home.join("token");
        fs::write(&token, TOKEN)?;
        let command = || {
            let mut command = Command::new(self.binary);
            command.arg("--config").arg(&config);
            command
        };
        output(
            command()
                .args(["client", "add", CLIENT, "--plan", "bench", "--token-file"])
                .arg(&token),
        )?;
        let rendered = home.join("rendered");
        let mut render = command();
        render
            .arg("render")
            .arg(&rendered)
            .args(["--nginx-listen", &address.to_string()]);
        if rustix::process::geteuid().is_root() {
            render.args(["--nginx-worker-user", "root"]);
        }
        output(&mut render)?;
        let mut responder = Server::start(command().arg("serve"), &home.join("responder.log"))?;
        responder.wait_until(takes_unix(&socket))?;
        let nginx = self.nginx(&home, &rendered.join("nginx/nginx.conf"), address)?;
        Ok(Target {
            key,
            label: match durability {
                "full" => "this project, durable",
                _ => "this project, relaxed",
            },
            durable: durability == "full",
            address,
            protocol: Protocol::Contract,
            root: home.join("docroot"),
            store: home.join("docroot/p"),
            servers: vec![responder, nginx],
            borrowed: Vec::new(),
        })
    }

    /// nginx by itself: the body goes to a file, which is renamed.
    pub fn put(&self) -> io::Result<Target> {
        let home = self.home("put")?;
        fs::create_dir_all(home.join("put"))?;
        let location = format!(
            "location /put/ {{ root {}; dav_methods PUT; client_max_body_size 20m; client_body_buffer_size 1m; }}",
            home.display()
        );
        let (address, nginx) = self.plain_nginx(&home, "", &location)?;
        Ok(Target {
            key: "put",
            label: "nginx dav_methods PUT",
            durable: false,
            address,
            protocol: Protocol::Put,
            root: home.join("put"),
            store: home.join("put"),
            servers: vec![nginx],
            borrowed: Vec::new(),
        })
    }

    /// A responder that only stores the body.
    pub fn bare(&self, key: &'static str, sync: bool) -> io::Result<Target> {
        let home = self.home(key)?;
        let store = home.join("store");
        fs::create_dir_all(&store)?;
        let socket = self.sockets.join(key);
        let mut command = Command::new(self.own);
        command.arg("responder").arg(&socket).arg(&store);
        if sync {
            command.arg("--sync");
        }
        let mut responder = Server::start(&mut command, &home.join("responder.log"))?;
        responder.wait_until(takes_unix(&socket))?;
        let upstream = format!(
            "upstream responder {{ server unix:{}; keepalive 64; }}",
            socket.display()
        );
        let location = "location = /store { client_max_body_size 20m; client_body_buffer_size 1m;
            fastcgi_pass responder; fastcgi_keep_conn on; fastcgi_pass_request_headers off;
            fastcgi_param REQUEST_METHOD $request_method; fastcgi_param CONTENT_LENGTH $content_length; }";
        let (address, nginx) = self.plain_nginx(&home, &upstream, location)?;
        Ok(Target {
            key,
            label: if sync {
                "bare responder, sync per file"
            } else {
                "bare responder, no sync"
            },
            durable: sync,
            address,
            protocol: Protocol::Raw,
            root: store.clone(),
            store,
            servers: vec![responder, nginx],
            borrowed: Vec::new(),
        })
    }

    /// The contract in PHP-FPM and SQLite, without durability.
    pub fn php(&self, workers: usize) -> io::Result<Target> {
        let fpm = php_fpm().ok_or_else(|| {
            io::Error::other("php-fpm is missing (Debian: apt-get install -y php-fpm php-sqlite3)")
        })?;
        if !output(Command::new(&fpm).arg("-m"))?.contains("pdo_sqlite") {
            return Err(io::Error::other(
                "pdo_sqlite is missing (Debian: apt-get install -y php-sqlite3)",
            ));
        }
        let home = self.home("php")?;
        for directory in ["docroot/p", "tmp"] {
            fs::create_dir_all(home.join(directory))?;
        }
        let ledger = home.join("ledger.db");
        php_ledger(&ledger).map_err(io::Error::other)?;
        let socket = self.sockets.join("php");
        let pool = home.join("fpm.conf");
        fs::write(
            &pool,
            format!(
                "[global]\ndaemonize = no\nerror_log = {}/fpm-error.log\n[bench]\nlisten = {}\npm = static\npm.max_children = {workers}\n{}",
                home.display(),
                socket.display(),
                if rustix::process::geteuid().is_root() {
                    "user = root\ngroup = root\n"
                } else {
                    ""
                },
            ),
        )?;
        let mut command = Command::new(&fpm);
        command.arg("--nodaemonize").arg("--fpm-config").arg(&pool);
        if rustix::process::geteuid().is_root() {
            command.arg("--allow-to-run-as-root");
        }
        for setting in [
            "upload_max_filesize=20M",
            "post_max_size=24M",
            "opcache.enable=1",
            "opcache.validate_timestamps=0",
            "realpath_cache_ttl=600",
        ] {
            command.args(["-d", setting]);
        }
        let temporary = home.join("tmp");
        command.args(["-d", &format!("upload_tmp_dir={}", temporary.display())]);
        let mut responder = Server::start(&mut command, &home.join("fpm.log"))?;
        responder.wait_until(takes_unix(&socket))?;
        let (address, nginx) = {
            let address = free_address()?;
            let location = format!(
                "location = /image/v2/ {{ client_max_body_size 20m; client_body_buffer_size 1m; fastcgi_pass unix:{};
                fastcgi_param SCRIPT_FILENAME {}; fastcgi_param REQUEST_METHOD $request_method;
                fastcgi_param CONTENT_TYPE $content_type; fastcgi_param CONTENT_LENGTH $content_length;
                fastcgi_param BENCH_DOCROOT {home}/docroot; fastcgi_param BENCH_LEDGER {home}/ledger.db;
                fastcgi_param BENCH_URL http://{address}; }}",
                socket.display(),
                self.php.display(),
                home = home.display(),
            );
            self.plain_nginx_at(address, &home, "", &location)?
        };
        Ok(Target {
            key: "php",
            label: "PHP-FPM and SQLite, not durable",
            durable: false,
            address,
            protocol: Protocol::Contract,
            root: home.join("docroot"),
            store: home.join("docroot/p"),
            servers: vec![responder, nginx],
            borrowed: Vec::new(),
        })
    }

    /// An nginx that serves `docroot`: as this project renders it for `cdn`, the same without its headers, and with no settings at
    /// all.
    pub fn deliveries(&self, cdn: &Target) -> io::Result<Vec<Target>> {
        let home = self.home("delivery")?;
        let rendered = self.disk.join(cdn.key).join("rendered/nginx");
        fs::create_dir_all(home.join("nginx/logs"))?;
        fs::create_dir_all(home.join("nginx/run"))?;
        let address = free_address()?;
        for name in [
            "nginx.conf",
            "corenexis-cdn.http.conf",
            "corenexis-cdn.server.conf",
        ] {
            let text = fs::read_to_string(rendered.join(name))?;
            let kept = text.lines().filter(|line| {
                let line = line.trim_start();
                !line.starts_with("add_header") && !line.starts_with("expires ")
            });
            let text = kept.collect::<Vec<_>>().join("\n") + "\n";
            let text = text.replace(&cdn.address.to_string(), &address.to_string());
            fs::write(home.join(name), text)?;
        }
        let headless = self.nginx(&home, &home.join("nginx.conf"), address)?;
        let plain_home = self.home("plain")?;
        let location = format!("location /p/ {{ root {}; }}", cdn.root.display());
        let (plain_address, plain) = self.plain_nginx(&plain_home, "", &location)?;
        let delivery = |key, label, address, servers, borrowed| Target {
            key,
            label,
            durable: false,
            address,
            protocol: Protocol::Raw,
            root: cdn.root.clone(),
            store: cdn.store.clone(),
            servers,
            borrowed,
        };
        Ok(vec![
            delivery(
                "p",
                "GET /p/ as rendered",
                cdn.address,
                Vec::new(),
                cdn.pids(),
            ),
            delivery(
                "p-headless",
                "GET /p/ without our headers",
                address,
                vec![headless],
                Vec::new(),
            ),
            delivery(
                "p-plain",
                "GET /p/ of a plain location",
                plain_address,
                vec![plain],
                Vec::new(),
            ),
        ])
    }

    fn home(&self, key: &str) -> io::Result<PathBuf> {
        let home = self.disk.join(key);
        fs::create_dir(&home)?;
        Ok(home)
    }

    fn plain_nginx(
        &self,
        home: &Path,
        http: &str,
        location: &str,
    ) -> io::Result<(SocketAddr, Server)> {
        self.plain_nginx_at(free_address()?, home, http, location)
    }

    /// An nginx with the settings that this project's own has, and one location.
    fn plain_nginx_at(
        &self,
        address: SocketAddr,
        home: &Path,
        http: &str,
        location: &str,
    ) -> io::Result<(SocketAddr, Server)> {
        for directory in ["nginx/logs", "nginx/run"] {
            fs::create_dir_all(home.join(directory))?;
        }
        let user = if rustix::process::geteuid().is_root() {
            "user root;"
        } else {
            ""
        };
        let config = home.join("nginx.conf");
        fs::write(
            &config,
            format!(
                "{user}
worker_processes 2;
pid run/nginx.pid;
error_log logs/error.log warn;
events {{ worker_connections 512; }}
http {{
    client_body_temp_path run/body;
    proxy_temp_path run/proxy;
    fastcgi_temp_path run/fastcgi;
    uwsgi_temp_path run/uwsgi;
    scgi_temp_path run/scgi;
    access_log logs/access.log;
    server_tokens off;
    sendfile on;
    tcp_nopush on;
    types {{ image/png png; }}
    {http}
    server {{
        listen {address};
        {location}
    }}
}}
"
            ),
        )?;
        let server = self.nginx(home, &config, address)?;
        Ok((address, server))
    }

    fn nginx(&self, home: &Path, config: &Path, address: SocketAddr) -> io::Result<Server> {
        let nginx = program("nginx").ok_or_else(|| io::Error::other("nginx is missing"))?;
        let mut prefix = home.join("nginx").into_os_string();
        prefix.push("/");
        let mut command = Command::new(nginx);
        command.arg("-p").arg(prefix).args(["-e", "logs/error.log"]);
        command.arg("-c").arg(config).args(["-g", "daemon off;"]);
        let mut server = Server::start(&mut command, &home.join("nginx.log"))?;
        server.wait_until(takes_tcp(address))?;
        Ok(server)
    }
}

/// Debian puts the version into the name.
fn php_fpm() -> Option<PathBuf> {
    let named = ["php-fpm".to_owned()].into_iter();
    let versioned = (0..10).rev().map(|minor| format!("php-fpm8.{minor}"));
    named.chain(versioned).find_map(|name| program(&name))
}

fn php_ledger(path: &Path) -> rusqlite::Result<()> {
    let ledger = rusqlite::Connection::open(path)?;
    ledger.pragma_update(None, "journal_mode", "wal")?;
    ledger.execute_batch(
        "CREATE TABLE client (key INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, token TEXT NOT NULL, daily_limit INTEGER NOT NULL,
             max_size INTEGER NOT NULL);
         CREATE TABLE usage (client INTEGER NOT NULL, day INTEGER NOT NULL, uploads INTEGER NOT NULL, bytes INTEGER NOT NULL,
             PRIMARY KEY (client, day)) WITHOUT ROWID;
         CREATE TABLE image (path TEXT PRIMARY KEY, client INTEGER NOT NULL, size INTEGER NOT NULL, width INTEGER NOT NULL,
             height INTEGER NOT NULL, uploaded_at INTEGER NOT NULL, expires_at INTEGER) WITHOUT ROWID;
         CREATE INDEX image_by_expiry ON image (expires_at) WHERE expires_at IS NOT NULL;",
    )?;
    let digest = Sha256::digest(TOKEN)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect::<String>();
    ledger.execute(
        "INSERT INTO client (id, token, daily_limit, max_size) VALUES (?1, ?2, 1000000000, 10485760)",
        (CLIENT, digest),
    )?;
    Ok(())
}
