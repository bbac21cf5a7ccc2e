//! Processes, ports, clocks and files of the machine that the tests run on.

use std::fs::{self, File, OpenOptions};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::site::PROGRAM;

/// How long anything may take that is waited for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Ends a process in good order, or at last by force.
pub(crate) fn end(process: &mut Child) {
    if matches!(process.try_wait(), Ok(Some(_))) {
        return;
    }
    let _ = kill_process(pid_of(process), Signal::TERM);
    let deadline = Instant::now() + Duration::from_secs(15);
    while Instant::now() < deadline {
        if matches!(process.try_wait(), Ok(Some(_))) {
            return;
        }
        thread::sleep(Duration::from_millis(2));
    }
    let _ = process.kill();
    let _ = process.wait();
}

pub(crate) fn pid_of(process: &Child) -> Pid {
    Pid::from_child(process)
}

pub(crate) fn shell(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script, PROGRAM]);
    command
}

/// A command that runs another in namespaces of its own. Who is not root is given the looks of it.
pub(crate) fn unshared(options: &[&str]) -> Command {
    let mut command = Command::new("unshare");
    command.args(options);
    if !rustix::process::geteuid().is_root() {
        command.arg("--map-root-user");
    }
    command
}

/// Whether these commands are installed.
pub(crate) fn have(commands: &[&str]) -> bool {
    commands.iter().all(|command| {
        let found = shell(&format!("command -v {command}")).output();
        let found = found.is_ok_and(|output| output.status.success());
        if !found {
            eprintln!("skipped: {command} is not installed");
        }
        found
    })
}

/// Whether such namespaces can be made here, and their files replaced.
pub(crate) fn can_unshare(options: &[&str]) -> bool {
    let tried = unshared(options)
        .args(["mount", "--bind", "/etc", "/etc"])
        .stderr(Stdio::null())
        .status();
    let can = tried.is_ok_and(|status| status.success());
    if !can {
        eprintln!("skipped: no namespaces can be made here (unshare {options:?})");
    }
    can
}

/// Asks again and again until there is an answer.
pub(crate) fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("an address").port()
}

/// The path in a direct or a viewer URL.
pub(crate) fn path_of(url: &str) -> &str {
    url.split_once("?img=")
        .or_else(|| url.split_once("/p/"))
        .unwrap_or_else(|| panic!("no image URL: {url}"))
        .1
}

/// The library that shifts a process's clock, where it is installed.
pub(crate) fn faketime() -> Option<PathBuf> {
    find_faketime("libfaketime.so.1")
}

/// The same for processes with threads.
pub(crate) fn faketime_multithreaded() -> Option<PathBuf> {
    find_faketime("libfaketimeMT.so.1")
}

pub(crate) fn find_faketime(library: &str) -> Option<PathBuf> {
    let found = fs::read_dir("/usr/lib")
        .ok()?
        .flatten()
        .map(|entry| entry.path().join("faketime").join(library))
        .find(|path| path.exists());
    if found.is_none() {
        eprintln!("skipped: {library} is not installed (package libfaketime)");
    }
    found
}

/// Makes a command believe that it starts at this instant, UTC. The times of files stay true.
pub(crate) fn fake(command: &mut Command, library: &Path, instant: &str) {
    command
        .env("LD_PRELOAD", library)
        .env("FAKETIME", format!("@{instant}"))
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        .env("NO_FAKE_STAT", "1")
        .env("TZ", "UTC");
}

pub(crate) fn read(path: &Path) -> String {
    let bytes = fs::read(path).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

pub(crate) fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a directory");
    for entry in fs::read_dir(from).expect("a directory").flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_tree(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("a copy");
        }
    }
}

pub(crate) fn list_files(directory: &Path, root: &Path, files: &mut Vec<String>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if entry.file_type().expect("a type").is_dir() {
            list_files(&path, root, files);
        } else {
            let below = path.strip_prefix(root).expect("a path below");
            files.push(below.display().to_string());
        }
    }
}

/// Holds a file's lock as a process that runs would.
pub(crate) fn hold_lock(path: &Path) -> File {
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .expect("a lock file");
    file.lock().expect("the lock");
    file
}
