//! A PostgreSQL server of the test process's own, with a database for each test.
//!
//! It runs below a shell that waits for the end of its standard input, a pipe from this process: however this process ends, the shell
//! then ends the server and removes its files.

use std::ffi::OsString;
use std::fs::{self, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use std::{env, thread};

use crate::machine::until;

/// The account `nobody` of every system: PostgreSQL does not run as root.
const NOBODY: u32 = 65_534;

/// The password of [`Server::USER`].
const PASSWORD: &str = "a password";

/// Where a server keeps its files, and its settings.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// The directory in which its own is made.
    pub files: &'a Path,
    /// The directory of its Unix socket, whose path has to be short (unix(7): 107 bytes); `None` for its own.
    pub sockets: Option<&'a Path>,
    /// Settings as `NAME=VALUE`.
    pub settings: &'a [&'a str],
}

/// The settings of a server that keeps nothing.
const SETTINGS: [&str; 3] = ["fsync=off", "shared_buffers=32MB", "max_connections=400"];

/// A running server. Drop ends it.
#[derive(Debug)]
pub struct Server {
    sockets: PathBuf,
    data: PathBuf,
    port: u16,
    /// Its standard input is the pipe whose end ends the server.
    shell: Child,
}

impl Server {
    /// The account that owns the databases. It has a password over TCP, and needs none over the Unix socket.
    pub const USER: &'static str = "corenexis";

    /// The server of this process, started when it is first asked for; `Err` says why there is none here.
    pub fn shared() -> Result<&'static Self, &'static str> {
        static SERVER: LazyLock<Result<Server, String>> = LazyLock::new(Server::start);
        SERVER.as_ref().map_err(String::as_str)
    }

    /// Starts another server.
    ///
    /// # Errors
    /// If PostgreSQL is not installed.
    pub fn start() -> Result<Self, String> {
        Self::start_in(Place {
            files: &env::temp_dir(),
            sockets: None,
            settings: &SETTINGS,
        })
    }

    /// Starts another server in a place of the caller's choice.
    ///
    /// # Errors
    /// If PostgreSQL is not installed, or does not start there.
    pub fn start_in(place: Place<'_>) -> Result<Self, String> {
        let programs =
            programs().ok_or("PostgreSQL is not installed: apt-get install postgresql")?;
        let directory = tempfile::Builder::new()
            .prefix("postgresql-")
            .permissions(Permissions::from_mode(0o755))
            .tempdir_in(place.files)
            .map_err(|error| error.to_string())?
            .keep();
        let sockets = place.sockets.unwrap_or(&directory).to_owned();
        let password = directory.join("password");
        fs::write(&password, PASSWORD).expect("written");
        if is_root() {
            for directory in [&directory, &sockets] {
                chown(directory, Some(NOBODY), Some(NOBODY)).expect("given away");
            }
            chown(&password, Some(NOBODY), Some(NOBODY)).expect("given away");
        }
        let data = directory.join("data");
        let mut initdb = command(&programs.join("initdb"));
        initdb
            .args(["--no-sync", "--encoding=UTF8", "--locale=C.UTF-8"])
            .args(["--auth-local=trust", "--auth-host=scram-sha-256"])
            .arg(format!("--username={}", Self::USER))
            .arg(with("--pwfile=", &password))
            .arg(with("--pgdata=", &data));
        let made = initdb.output().map_err(|error| error.to_string())?;
        if !made.status.success() {
            return Err(format!("initdb: {}", String::from_utf8_lossy(&made.stderr)));
        }
        let port = free_port();
        // SIGQUIT ends a server at once, and SIGKILL one that is stopped.
        let script = "trap '' INT TERM; \"$@\" & server=$!; read -r _; kill -CONT $server; pkill -CONT -P $server; kill -QUIT $server; \
                      for _ in 1 2 3 4 5; do kill -0 $server 2>/dev/null || break; sleep 0.2; done; kill -KILL $server 2>/dev/null; \
                      wait; rm -rf -- \"$0\"";
        let log = fs::File::create(directory.join("log")).expect("made");
        let mut shell = command(Path::new("/bin/sh"));
        shell
            .args(["-c", script])
            .arg(&directory)
            .arg(programs.join("postgres"))
            .arg("-D")
            .arg(&data)
            .arg("-k")
            .arg(&sockets)
            .args(["-h", "127.0.0.1", "-p", &port.to_string()])
            .args(["-c", "log_min_messages=fatal"])
            .args(place.settings.iter().flat_map(|setting| ["-c", setting]))
            .stdin(Stdio::piped())
            .stdout(log.try_clone().expect("cloned"))
            .stderr(log)
            .process_group(0);
        let shell = shell.spawn().map_err(|error| error.to_string())?;
        let server = Self {
            sockets,
            data,
            port,
            shell,
        };
        let deadline = Instant::now() + Duration::from_mins(1);
        while !server.answers() {
            if Instant::now() > deadline {
                let log = fs::read_to_string(directory.join("log")).unwrap_or_default();
                return Err(format!("PostgreSQL did not start: {log}"));
            }
            thread::sleep(Duration::from_millis(50));
        }
        Ok(server)
    }

    /// Makes a new database and returns its name.
    pub fn database(&self) -> String {
        static NUMBER: AtomicU32 = AtomicU32::new(1);
        let name = format!("test_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        self.run("postgres", &format!("CREATE DATABASE {name}"));
        name
    }

    /// The URL of a database over the Unix socket, which asks for no password.
    pub fn url(&self, database: &str) -> String {
        let socket = self.sockets.to_string_lossy().replace('/', "%2F");
        let (user, port) = (Self::USER, self.port);
        format!("postgresql://{user}@{socket}:{port}/{database}")
    }

    /// The URL of a database over TCP at a port of this host, the server's or that of something in front of it.
    pub fn tcp_url(port: u16, database: &str) -> String {
        format!("postgresql://{}@127.0.0.1:{port}/{database}", Self::USER)
    }

    /// The process id of the postmaster.
    pub fn process(&self) -> u32 {
        let file = self.data.join("postmaster.pid");
        let text = fs::read_to_string(file).expect("it runs");
        let line = text.lines().next().unwrap_or_default();
        line.trim().parse().expect("a process id")
    }

    /// Lets it speak TLS, with a new certificate for `localhost` that is its own authority; `None` without openssl(1). Returns the file
    /// of the certificate.
    pub fn use_tls(&self) -> Option<PathBuf> {
        let certificate = self.data.join("server.crt");
        let key = self.data.join("server.key");
        let made = command(Path::new("openssl"))
            .args([
                "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30",
            ])
            .args([
                "-subj",
                "/CN=localhost",
                "-addext",
                "subjectAltName=DNS:localhost",
            ])
            .args(["-addext", "basicConstraints=critical,CA:FALSE", "-keyout"])
            .arg(&key)
            .arg("-out")
            .arg(&certificate)
            .output()
            .ok()?;
        assert!(made.status.success(), "{made:?}");
        fs::set_permissions(&key, Permissions::from_mode(0o600)).expect("protected");
        for setting in [
            format!("ssl_cert_file = '{}'", certificate.display()),
            format!("ssl_key_file = '{}'", key.display()),
            "ssl = on".to_owned(),
        ] {
            self.run("postgres", &format!("ALTER SYSTEM SET {setting}"));
        }
        self.run("postgres", "SELECT pg_reload_conf()");
        let deadline = Instant::now() + Duration::from_secs(20);
        while self.run("postgres", "SHOW ssl") != "on" {
            assert!(Instant::now() < deadline, "the server does not speak TLS");
            thread::sleep(Duration::from_millis(20));
        }
        Some(certificate)
    }

    /// Its port on 127.0.0.1.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The directory of its Unix socket.
    pub fn directory(&self) -> &Path {
        &self.sockets
    }

    /// Writes the password into `file`, readable by its owner alone.
    pub fn write_password(file: &Path) {
        fs::write(file, PASSWORD).expect("written");
        fs::set_permissions(file, Permissions::from_mode(0o600)).expect("protected");
    }

    /// Runs SQL and returns what it prints: a line for each row, with `|` between the columns.
    pub fn run(&self, database: &str, sql: &str) -> String {
        let output = self.query(database, sql);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{sql}: {errors}");
        String::from_utf8_lossy(&output.stdout)
            .trim_end()
            .to_owned()
    }

    /// Whether it answers; it does not for moments after one of its processes was killed.
    pub fn answers(&self) -> bool {
        self.query("postgres", "SELECT 1").status.success()
    }

    fn query(&self, database: &str, sql: &str) -> Output {
        self.psql(database, sql).output().expect("psql runs")
    }

    /// psql(1) with SQL, or with a `COPY` that reads its standard input.
    pub fn psql(&self, database: &str, sql: &str) -> Command {
        let mut psql = Command::new("psql");
        psql.args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-U", Self::USER])
            .arg("-h")
            .arg(&self.sockets)
            .args(["-p", &self.port.to_string(), "-d", database, "-c", sql])
            .env("PGCONNECT_TIMEOUT", "5");
        psql
    }

    /// The process ids of the backends that serve a database.
    pub fn backends(&self, database: &str) -> Vec<u32> {
        let sql = format!(
            "SELECT pid FROM pg_stat_activity WHERE datname = '{database}' AND pid <> pg_backend_pid()"
        );
        // It refuses connections while it recovers from a crash.
        until("PostgreSQL", || {
            let asked = self.query("postgres", "SELECT 1");
            asked.status.success().then_some(())
        });
        let lines = self.run("postgres", &sql);
        lines
            .lines()
            .map(|line| line.parse().expect("a process id"))
            .collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        let _ = self.shell.wait();
    }
}

/// Starts pgbouncer in transaction mode in front of a server; `Err` says why there is none here. It ends with the guard, or with this
/// process.
pub fn pgbouncer(server: &Server) -> Result<(Child, u16), String> {
    let program = ["/usr/sbin/pgbouncer", "/usr/bin/pgbouncer"]
        .into_iter()
        .find(|path| Path::new(path).exists())
        .ok_or("pgbouncer is not installed: apt-get install pgbouncer")?;
    let port = free_port();
    let directory = server.directory();
    let (socket, user) = (directory.display(), Server::USER);
    let settings = directory.join(format!("pgbouncer-{port}.ini"));
    let text = format!(
        "[databases]\n* = host={socket} port={} user={user}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
         unix_socket_dir =\nauth_type = any\npool_mode = transaction\ndefault_pool_size = 4\nmax_client_conn = 200\nserver_idle_timeout = 1\n",
        server.port()
    );
    fs::write(&settings, text).expect("written");
    let mut shell = command(Path::new("/bin/sh"));
    shell
        .args([
            "-c",
            "\"$@\" & read -r _; kill -INT $!; wait",
            "sh",
            program,
        ])
        .arg("-q")
        .arg(&settings)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let shell = shell.spawn().map_err(|error| error.to_string())?;
    let deadline = Instant::now() + Duration::from_secs(20);
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        if Instant::now() > deadline {
            return Err("pgbouncer did not start".to_owned());
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok((shell, port))
}

/// A command, run by `nobody` if this process is root's.
fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    if is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    command.env("LC_ALL", "C.UTF-8").current_dir("/");
    command
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn with(option: &str, path: &Path) -> OsString {
    let mut text = OsString::from(option);
    text.push(path);
    text
}

/// The directory of PostgreSQL's programs, of the newest version that is installed.
fn programs() -> Option<PathBuf> {
    let below = |root: &str| {
        let versions = fs::read_dir(root).ok()?;
        let directories = versions.flatten().map(|entry| entry.path().join("bin"));
        directories.filter(|bin| bin.join("initdb").exists()).max()
    };
    let on_path = || {
        let path = env::var_os("PATH")?;
        env::split_paths(&path).find(|bin| bin.join("initdb").exists())
    };
    below("/usr/lib/postgresql").or_else(on_path)
}

/// A port that nothing listens on now.
fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("bound");
    listener.local_addr().expect("an address").port()
}
