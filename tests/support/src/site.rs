//! A site for one test: nginx, responder, ledger and docroot in a temporary directory, on a free port.
//!
//! Drop ends both processes and reads their logs: the test fails on a panic, or on an error of nginx that it did not
//! [`expect`](SiteBuilder::expect).

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::net::{Ipv4Addr, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::thread;

use rusqlite::Connection;
use rustix::process::{Signal, kill_process};
use tempfile::TempDir;

use crate::builder::{Client, Launch, SiteBuilder};
use crate::dns;
use crate::form::{Form, MULTIPART};
pub use crate::holdings::{Holdings, NOTHING};
use crate::http::{self, Reply};
use crate::machine::{
    PATIENCE, copy_tree, end, fake, faketime_multithreaded, free_port, path_of, pid_of, read,
    shell, unshared, until,
};
use crate::program;

/// The plans of the default configuration; a site has one client of each.
const PLANS: [&str; 3] = ["free", "3m", "lifetime"];

/// A running site.
#[derive(Debug)]
pub struct Site {
    /// The port of nginx.
    pub port: u16,
    /// The temporary directory.
    pub root: PathBuf,
    clients: BTreeMap<&'static str, Client>,
    nginx: Option<Child>,
    responder: Option<Child>,
    /// The listening socket that the responder inherits; kept open for the next responder.
    passed: Option<OwnedFd>,
    settings: SiteBuilder,
    _directory: TempDir,
}

impl Site {
    /// A site with the default plans, a client of each, and no limits for addresses.
    pub fn start() -> Self {
        Self::builder().start()
    }

    /// The settings of [`Self::start`].
    pub fn builder() -> SiteBuilder {
        SiteBuilder {
            sections: BTreeMap::new(),
            nginx: String::new(),
            launch: Launch::Plain,
            tcp: false,
            log_file: false,
            clock: None,
            environment: Vec::new(),
            names: None,
            docroot: None,
            ledger: None,
            clients: BTreeMap::new(),
            expected: Vec::new(),
        }
    }

    /// Starts a site with these settings.
    pub fn start_as(settings: SiteBuilder) -> Self {
        let directory = tempfile::Builder::new()
            .prefix("corenexis-cdn-")
            .tempdir()
            .expect("a temporary directory");
        let root = directory.path().to_owned();
        for name in ["run", "ledger", "docroot", "nginx/logs", "nginx/run"] {
            fs::create_dir_all(root.join(name)).expect("a directory");
        }
        let mut site = Self {
            port: 0,
            root,
            clients: settings.clients.clone(),
            nginx: None,
            responder: None,
            passed: None,
            settings,
            _directory: directory,
        };
        let responder_port = free_port();
        until("a port for nginx", || {
            site.port = free_port();
            site.configure(responder_port);
            site.start_nginx()
        });
        for plan in PLANS {
            if site.has_plan(plan) && !site.clients.contains_key(plan) {
                let id = format!("client-{plan}");
                let added = site.run(&["client", "add", &id, "--plan", plan]);
                site.clients.insert(plan, Client::printed(&added));
            }
        }
        site.start_responder();
        site
    }

    fn has_plan(&self, plan: &str) -> bool {
        let sections = &self.settings.sections;
        let names_plans = sections.keys().any(|section| section.starts_with("plans."));
        !names_plans || sections.contains_key(&format!("plans.{plan}"))
    }

    /// Writes config.toml.
    fn configure(&self, responder_port: u16) {
        let listen = if self.settings.tcp {
            format!("tcp:127.0.0.1:{responder_port}")
        } else {
            format!("unix:{}", self.socket().display())
        };
        let mut sections = BTreeMap::from([
            (
                "site".to_owned(),
                format!("public_url = \"http://127.0.0.1:{}\"\n", self.port),
            ),
            ("server".to_owned(), format!("listen = \"{listen}\"\n")),
            (
                "storage".to_owned(),
                format!("docroot = \"{}\"\n", self.docroot().display()),
            ),
            (
                "ledger".to_owned(),
                format!("path = \"{}\"\n", self.ledger_file().display()),
            ),
        ]);
        let ledger = self.settings.sections.get("ledger");
        if ledger.is_some_and(|lines| lines.contains("url = ")) {
            sections.remove("ledger");
        }
        if !self.settings.sections.contains_key("limits") {
            let off = "requests_per_second = 0\nconcurrent_requests = 0\nfailed_attempts_per_minute = 0\n";
            sections.insert("limits".to_owned(), off.to_owned());
        }
        for (name, lines) in &self.settings.sections {
            sections.entry(name.clone()).or_default().push_str(lines);
        }
        if !sections["storage"].contains("min_free") {
            sections
                .entry("storage".to_owned())
                .or_default()
                .push_str("min_free = \"10MiB\"\n");
        }
        let mut text = String::new();
        for (name, lines) in &sections {
            text.push_str(&["[", name, "]\n", lines].concat());
        }
        fs::write(self.config(), text).expect("config.toml is written");
    }

    /// Changes config.toml, without rendering the nginx files again.
    pub fn edit_config(&self, edit: impl FnOnce(String) -> String) {
        let text = fs::read_to_string(self.config()).expect("config.toml is read");
        fs::write(self.config(), edit(text)).expect("config.toml is written");
    }

    /// Renders the files and starts nginx; `None` if the port was taken meanwhile.
    fn start_nginx(&mut self) -> Option<()> {
        let rendered = self.root.join("rendered");
        let listen = format!("127.0.0.1:{}", self.port);
        let target = rendered.display().to_string();
        let mut arguments = vec!["render", &target, "--nginx-listen", &listen];
        if rustix::process::geteuid().is_root() {
            // Its workers have to reach a temporary directory that is root's alone.
            arguments.extend(["--nginx-worker-user", "root"]);
        }
        self.run(&arguments);
        copy_tree(&rendered.join("www"), &self.docroot());
        let conf = rendered.join("nginx/nginx.conf");
        let text = fs::read_to_string(&conf).expect("nginx.conf is read");
        let extended = text.replacen("http {", &format!("http {{\n{}\n", self.settings.nginx), 1);
        fs::write(&conf, extended).expect("nginx.conf is written");
        let _ = fs::remove_file(self.nginx_log());
        let mut nginx = self
            .program("nginx")
            .arg("-p")
            .arg(self.root.join("nginx/"))
            .args(["-e", "logs/error.log", "-c"])
            .arg(&conf)
            .args(["-g", "daemon off;"])
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("nginx has to be installed");
        let answers = until("nginx", || {
            if nginx.try_wait().expect("nginx's state").is_some() {
                return Some(false);
            }
            // The file comes after the socket was bound: another server on the port is not taken for this one.
            let started = self.root.join("nginx/run/nginx.pid").exists();
            (started && TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_ok())
                .then_some(true)
        });
        let log = read(&self.nginx_log());
        assert!(
            answers || log.contains("Address already in use"),
            "nginx did not start: {log}"
        );
        self.nginx = answers.then_some(nginx);
        answers.then_some(())
    }

    /// Starts the responder and waits until it listens.
    pub fn start_responder(&mut self) {
        let mut command = match self.settings.launch {
            Launch::Absent => return,
            Launch::Plain | Launch::StandardInput => self.program(program()),
            Launch::Descriptors(limit) => shell(&format!("ulimit -n {limit}; exec \"$0\" \"$@\"")),
            Launch::Unshared(options, script) => {
                let mut command = unshared(options);
                let script = format!("set -e\n{script}\nexec \"$0\" \"$@\"");
                command.args(["sh", "-c", &script, program()]);
                command
            }
            Launch::SocketActivation => {
                shell("LISTEN_PID=$$ LISTEN_FDS=1 exec \"$0\" \"$@\" 3<&0 0</dev/null")
            }
        };
        command.arg("--config").arg(self.config()).arg("serve");
        let log = self.root.join("responder.log");
        let messages = if self.settings.log_file {
            command.arg("--log-file").arg(&log);
            self.root.join("responder.err")
        } else {
            log
        };
        command.envs(self.settings.environment.iter().cloned());
        command.stdin(match self.settings.launch {
            Launch::StandardInput | Launch::SocketActivation => {
                let socket = self.passed.get_or_insert_with(|| {
                    let path = self.root.join("run/cdn.sock");
                    UnixListener::bind(path).expect("a socket").into()
                });
                Stdio::from(socket.try_clone().expect("a descriptor"))
            }
            _ => Stdio::null(),
        });
        if let Some(instant) = &self.settings.clock {
            let library = faketime_multithreaded().expect("faketime is installed");
            fake(&mut command, &library, instant);
        }
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(messages)
            .expect("a log");
        let started = self.responder_log().matches("event=listening").count();
        let mut responder = command.stderr(log).spawn().expect("the responder starts");
        until("the responder", || {
            let ended = responder.try_wait().expect("the responder's state");
            assert_eq!(ended, None, "{}", self.responder_log());
            (self.responder_log().matches("event=listening").count() > started).then_some(())
        });
        self.responder = Some(responder);
    }

    /// Stops nginx.
    pub fn stop_nginx(&mut self) {
        end(&mut self.nginx.take().expect("nginx"));
    }

    /// Sends the responder a signal.
    pub fn signal(&self, signal: Signal) {
        let responder = self.responder.as_ref().expect("a responder");
        kill_process(pid_of(responder), signal).expect("the responder is there");
    }

    /// Waits for the responder to exit.
    pub fn wait_for_end(&mut self) -> ExitStatus {
        let mut responder = self.responder.take().expect("a responder");
        until("the responder's end", || {
            responder.try_wait().expect("the responder's state")
        })
    }

    /// Ends the responder as a service manager does; it must exit without an error.
    pub fn stop(&mut self) {
        self.signal(Signal::TERM);
        assert!(self.wait_for_end().success());
    }

    /// The process id of the responder, which may have exited.
    pub fn responder_id(&self) -> u32 {
        self.responder.as_ref().expect("a responder").id()
    }

    /// The process id of the responder, which must be running.
    pub fn pid(&mut self) -> u32 {
        let responder = self.responder.as_mut().expect("a responder");
        let ended = responder.try_wait().expect("the responder's state");
        assert_eq!(ended, None, "the responder has ended");
        self.responder_id()
    }

    /// The path of config.toml.
    pub fn config(&self) -> PathBuf {
        self.root.join("config.toml")
    }

    /// The path of the docroot.
    pub fn docroot(&self) -> PathBuf {
        let default = || self.root.join("docroot");
        self.settings.docroot.clone().unwrap_or_else(default)
    }

    /// The path of the ledger.
    pub fn ledger_file(&self) -> PathBuf {
        let default = || self.root.join("ledger");
        let directory = self.settings.ledger.clone().unwrap_or_else(default);
        directory.join("ledger.db")
    }

    /// The path of the responder's socket.
    pub fn socket(&self) -> PathBuf {
        self.root.join("run/cdn.sock")
    }

    fn nginx_log(&self) -> PathBuf {
        self.root.join("nginx/logs/error.log")
    }

    /// The text of the responder's log.
    pub fn responder_log(&self) -> String {
        read(&self.root.join("responder.log"))
    }

    /// Waits until the responder has logged this text.
    pub fn wait_for_log(&self, text: &str) {
        until(text, || self.responder_log().contains(text).then_some(()));
    }

    /// A FastCGI connection to the responder.
    pub fn connect_responder(&self) -> UnixStream {
        let stream = UnixStream::connect(self.socket()).expect("the responder accepts");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream
    }

    /// The client of a plan.
    pub fn client(&self, plan: &str) -> &Client {
        &self.clients[plan]
    }

    /// The clients by their plans.
    pub fn clients(&self) -> &BTreeMap<&'static str, Client> {
        &self.clients
    }

    /// The program under test with this site's configuration.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.program(program());
        command
            .arg("--config")
            .arg(self.config())
            .args(arguments)
            .stdin(Stdio::null());
        command
    }

    /// A program of the site, which finds names as [`SiteBuilder::names`] says.
    fn program(&self, name: &str) -> Command {
        let Some(names) = &self.settings.names else {
            return Command::new(name);
        };
        let script = format!("set -e\n{}\nexec \"$0\" \"$@\"", dns::SCRIPT);
        let mut command = unshared(dns::OPTIONS);
        command
            .args(["sh", "-c", &script, name])
            .env("NAMES", names);
        command
    }

    /// Runs the program to its end.
    pub fn output(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("the program runs")
    }

    /// Runs the program, which must succeed; returns its standard output.
    #[track_caller]
    pub fn run(&self, arguments: &[&str]) -> String {
        let output = self.output(arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    /// Sends a GET request.
    pub fn get(&self, target: &str) -> Reply {
        http::get(self.port, target)
    }

    /// Posts a multipart form.
    pub fn post(&self, form: &Form) -> Reply {
        self.post_as(MULTIPART, &form.body())
    }

    /// Posts a body of this content type to the upload call.
    pub fn post_as(&self, content_type: &str, body: &[u8]) -> Reply {
        let headers = [("Content-Type", content_type)];
        http::request(self.port, "POST", "/image/v2/", &headers, body)
    }

    /// Uploads as the client of a plan.
    pub fn upload(&self, plan: &str, duration: &str, image: &[u8]) -> Reply {
        self.post(&Form::upload(self.client(plan), duration, image))
    }

    /// Uploads an image, which must succeed; returns its path.
    #[track_caller]
    pub fn store(&self, plan: &str, duration: &str, image: &[u8]) -> String {
        path_of(&self.upload(plan, duration, image).url()).to_owned()
    }

    /// A new connection to the ledger.
    pub fn ledger(&self) -> Connection {
        let ledger = Connection::open(self.ledger_file()).expect("the ledger opens");
        ledger.busy_timeout(PATIENCE).expect("a timeout");
        ledger
    }

    /// The number that a query returns.
    pub fn count(&self, query: &str) -> usize {
        self.ledger()
            .query_row(query, [], |row| row.get(0))
            .expect("a number")
    }

    /// The file of an image.
    pub fn file(&self, path: &str) -> PathBuf {
        self.docroot().join("p").join(path)
    }

    /// Unexpected errors in nginx's log, and panics in the responder's.
    fn complaints(&self) -> Vec<String> {
        let expected = |line: &&str| {
            !self
                .settings
                .expected
                .iter()
                .any(|text| line.contains(text))
        };
        read(&self.nginx_log())
            .lines()
            .filter(|line| {
                let level = ["[error]", "[crit]", "[alert]", "[emerg]"];
                level.iter().any(|level| line.contains(level))
            })
            .filter(expected)
            .chain(
                self.responder_log()
                    .lines()
                    .filter(|line| line.contains("event=panic")),
            )
            .map(str::to_owned)
            .collect()
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        for mut process in [self.nginx.take(), self.responder.take()]
            .into_iter()
            .flatten()
        {
            end(&mut process);
        }
        if thread::panicking() {
            let log = self.responder_log();
            let lines: Vec<_> = log.lines().rev().take(20).collect();
            eprintln!("nginx: {:?}", self.complaints());
            eprintln!("responder, last line first:\n{}", lines.join("\n"));
        } else {
            assert_eq!(self.complaints(), [""; 0], "in the logs");
        }
    }
}
