//! A PostgreSQL server of the test process's own, with a database for each test.
//!
//! It runs below a shell that waits for the end of its standard input, a pipe from this process: however this process ends, the shell
//! then ends the server and removes its files.

use std::ffi::OsString;
use std::fs::{self, Permissions};
use std::io::{self, BufRead, BufReader};
use std::net::TcpStream;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use std::{env, thread};

use rustix::process::{Pid, Signal, kill_process};

use crate::certificates::Certificate;
use crate::machine::{PATIENCE, free_port, until};

/// The account `nobody` of every system: PostgreSQL does not run as root.
const NOBODY: u32 = 65_534;

/// The password of [`Server::USER`].
const PASSWORD: &str = "a password";

/// An open transaction.
#[derive(Debug)]
pub struct Transaction(Child);

impl Drop for Transaction {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

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
        let directory = new_directory(place.files).map_err(|error| error.to_string())?;
        let sockets = place.sockets.unwrap_or(&directory).to_owned();
        let password = directory.join("password");
        fs::write(&password, PASSWORD).expect("written");
        for path in [&directory, &sockets, &password] {
            give_away(path);
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
        Self::launch(&directory, sockets, free_port(), place.settings)
    }

    /// Starts a replica of this server, which follows it by streaming replication.
    #[must_use]
    pub fn replica(&self) -> Self {
        self.replica_at(free_port())
    }

    /// Starts this server, which was killed, at its port as a replica of another one.
    pub fn follow(&mut self, primary: &Self) {
        *self = primary.replica_at(self.port);
    }

    fn replica_at(&self, port: u16) -> Self {
        let directory = new_directory(&env::temp_dir()).expect("a directory");
        give_away(&directory);
        self.copy_to(&directory);
        Self::launch(&directory, directory.clone(), port, &SETTINGS).expect("the replica starts")
    }

    /// Copies the data into `directory`, with the settings of a replica.
    fn copy_to(&self, directory: &Path) {
        let mut copy = command(&programs().expect("PostgreSQL").join("pg_basebackup"));
        copy.args(["--no-sync", "--checkpoint=fast", "--write-recovery-conf"])
            .arg(with("--pgdata=", &directory.join("data")))
            .arg(with("--host=", &self.sockets))
            .arg(format!("--port={}", self.port))
            .arg(format!("--username={}", Self::USER));
        let copied = copy.output().expect("pg_basebackup runs");
        assert!(copied.status.success(), "{copied:?}");
    }

    /// Has every commit of this server wait until a replica has it on disk.
    pub fn replicate_synchronously(&self) {
        self.run(
            "postgres",
            "ALTER SYSTEM SET synchronous_standby_names = '*'",
        );
        self.run("postgres", "SELECT pg_reload_conf()");
        until("a synchronous replica", || {
            let state = self.run("postgres", "SELECT sync_state FROM pg_stat_replication");
            (state == "sync").then_some(())
        });
    }

    /// Kills every process of the server, as a power cut would.
    pub fn kill(&self) {
        let processes = self.run("postgres", "SELECT pid FROM pg_stat_activity");
        let children = processes
            .lines()
            .map(|line| line.parse().expect("a number"));
        let postmaster = self.process();
        for process in std::iter::once(postmaster).chain(children) {
            let id = Pid::from_raw(process.cast_signed()).expect("a process id");
            // It may have ended.
            let _ = kill_process(id, Signal::KILL);
        }
        until("the end of the server", || {
            TcpStream::connect(("127.0.0.1", self.port)).err()
        });
    }

    /// Makes a replica take writes.
    pub fn promote(&self) {
        assert_eq!(self.run("postgres", "SELECT pg_promote()"), "t");
    }

    /// Starts the server whose data is in `directory`.
    fn launch(
        directory: &Path,
        sockets: PathBuf,
        port: u16,
        settings: &[&str],
    ) -> Result<Self, String> {
        let programs = programs().ok_or("PostgreSQL is not installed")?;
        let data = directory.join("data");
        // SIGQUIT ends a server at once, and SIGKILL one that is stopped.
        let script = "trap '' INT TERM; \"$@\" & server=$!; read -r _; kill -CONT $server; pkill -CONT -P $server; kill -QUIT $server; \
                      for _ in 1 2 3 4 5; do kill -0 $server 2>/dev/null || break; sleep 0.2; done; kill -KILL $server 2>/dev/null; \
                      wait; rm -rf -- \"$0\"";
        let log = fs::File::create(directory.join("log")).expect("made");
        let mut shell = command(Path::new("/bin/sh"));
        shell
            .args(["-c", script])
            .arg(directory)
            .arg(programs.join("postgres"))
            .arg("-D")
            .arg(&data)
            .arg("-k")
            .arg(&sockets)
            .args(["-h", "127.0.0.1", "-p", &port.to_string()])
            .args(["-c", "log_min_messages=fatal"])
            .args(settings.iter().flat_map(|setting| ["-c", setting]))
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
        let deadline = Instant::now() + PATIENCE;
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
        Self::tcp_url_of(&[port], database)
    }

    /// The URL of a database at several ports of this host, of which the first that takes writes is used.
    pub fn tcp_url_of(ports: &[u16], database: &str) -> String {
        let hosts: Vec<_> = ports
            .iter()
            .map(|port| format!("127.0.0.1:{port}"))
            .collect();
        format!("postgresql://{}@{}/{database}", Self::USER, hosts.join(","))
    }

    /// The process id of the postmaster.
    pub fn process(&self) -> u32 {
        let file = self.data.join("postmaster.pid");
        let text = fs::read_to_string(file).expect("it runs");
        let line = text.lines().next().unwrap_or_default();
        line.trim().parse().expect("a process id")
    }

    /// Lets it speak TLS with a certificate, soon.
    pub fn use_tls(&self, certificate: &Certificate) {
        for (from, to) in [
            (&certificate.file, "server.crt"),
            (&certificate.key, "server.key"),
        ] {
            let file = self.data.join(to);
            fs::copy(from, &file).expect("copied");
            fs::set_permissions(&file, Permissions::from_mode(0o600)).expect("protected");
            give_away(&file);
            let setting = to
                .replace("server.crt", "ssl_cert_file")
                .replace("server.key", "ssl_key_file");
            let sql = format!("ALTER SYSTEM SET {setting} = '{}'", file.display());
            self.run("postgres", &sql);
        }
        self.run("postgres", "ALTER SYSTEM SET ssl = on");
        self.run("postgres", "SELECT pg_reload_conf()");
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
            .env("PGCONNECT_TIMEOUT", "60");
        psql
    }

    /// Runs SQL in a transaction, which is rolled back when the value is dropped.
    pub fn transaction(&self, database: &str, sql: &str) -> Transaction {
        let mut psql = self.psql(database, "BEGIN");
        // It waits for more from its standard input.
        psql.args(["-c", sql, "-c", "\\echo done", "-f", "-"]);
        psql.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut psql = psql.spawn().expect("psql runs");
        let mut line = String::new();
        let stdout = psql.stdout.as_mut().expect("a pipe");
        BufReader::new(stdout).read_line(&mut line).expect("read");
        assert_eq!(line, "done\n", "{sql}");
        Transaction(psql)
    }

    /// Whether a backend of the database waits for a lock.
    pub fn waits(&self, database: &str) -> bool {
        let sql = format!(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = '{database}' AND wait_event_type = 'Lock'"
        );
        self.run("postgres", &sql) != "0"
    }

    /// The process ids of the backends that serve a database.
    pub fn backends(&self, database: &str) -> Vec<u32> {
        let sql = format!(
            "SELECT pid FROM pg_stat_activity WHERE datname = '{database}' AND pid <> pg_backend_pid()"
        );
        // It refuses connections while it recovers from a crash, and breaks them off when it notices one.
        let answer = until("PostgreSQL", || {
            let answer = self.query("postgres", &sql);
            answer.status.success().then_some(answer.stdout)
        });
        String::from_utf8_lossy(&answer)
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
    let deadline = Instant::now() + PATIENCE;
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
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

/// A directory of a server's own.
fn new_directory(parent: &Path) -> io::Result<PathBuf> {
    let directory = tempfile::Builder::new()
        .prefix("postgresql-")
        .permissions(Permissions::from_mode(0o755))
        .tempdir_in(parent)?;
    Ok(directory.keep())
}

/// Gives a file to the account of the server if this process is root's.
fn give_away(path: &Path) {
    if is_root() {
        chown(path, Some(NOBODY), Some(NOBODY)).expect("given away");
    }
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
