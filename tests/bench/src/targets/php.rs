//! PHP-FPM with SQLite: this project's API without durability.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest, Sha256};

use super::nginx::{self, BODY};
use super::{CLIENT, Protocol, Shared, TOKEN, Target, Workshop};
use crate::process::{Server, free_address, output, program, takes_unix};

impl Workshop<'_> {
    /// The API in PHP-FPM and SQLite, without durability.
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
            let address = free_address();
            let location = format!(
                "location = /image/v2/ {{ {BODY} fastcgi_pass unix:{}; fastcgi_pass_request_headers off;
                fastcgi_param SCRIPT_FILENAME {}; fastcgi_param REQUEST_METHOD $request_method;
                fastcgi_param CONTENT_TYPE $content_type; fastcgi_param CONTENT_LENGTH $content_length;
                fastcgi_param BENCH_DOCROOT {home}/docroot; fastcgi_param BENCH_LEDGER {home}/ledger.db;
                fastcgi_param BENCH_URL http://{address}; }}",
                socket.display(),
                self.php.display(),
                home = home.display(),
            );
            nginx::plain_at(address, &home, "", &location)?
        };
        Ok(Target {
            key: "php",
            label: "PHP-FPM and SQLite, not durable",
            address,
            protocol: Protocol::Contract,
            root: home.join("docroot"),
            store: home.join("docroot/p"),
            servers: vec![responder, nginx],
            borrowed: Vec::new(),
            shared: Shared::default(),
        })
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
    let mut digest = String::new();
    for byte in Sha256::digest(TOKEN) {
        let _ = write!(digest, "{byte:02x}");
    }
    ledger.execute(
        "INSERT INTO client (id, token, daily_limit, max_size) VALUES (?1, ?2, 1000000000, 10485760)",
        (CLIENT, digest),
    )?;
    Ok(())
}
