//! Processes, ports, clocks and files of the machine that the tests run on.

use std::fs::{self, File, OpenOptions};
use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::{program, skip};

/// The deadline of everything a test waits for: a machine may be busy with other tests, and its disk slow.
pub const PATIENCE: Duration = Duration::from_mins(2);

/// The ports of servers that cannot choose one themselves.
const FIXED_PORTS: Range<u16> = 20_000..32_768;

/// Ends a process by SIGTERM, or by SIGKILL after [`PATIENCE`].
pub fn end(process: &mut Child) {
    if matches!(process.try_wait(), Ok(Some(_))) {
        return;
    }
    let _ = kill_process(pid_of(process), Signal::TERM);
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        if matches!(process.try_wait(), Ok(Some(_))) {
            return;
        }
        thread::sleep(Duration::from_millis(2));
    }
    let _ = process.kill();
    let _ = process.wait();
}

/// The process id of a child.
pub fn pid_of(process: &Child) -> Pid {
    Pid::from_child(process)
}

/// A shell script whose `$0` is the program under test.
pub fn shell(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script, program()]);
    command
}

/// unshare(1) with these options, as root of a user namespace where the tests do not run as root.
pub fn unshared(options: &[&str]) -> Command {
    let mut command = Command::new("unshare");
    command.args(options);
    if !rustix::process::geteuid().is_root() {
        command.arg("--map-root-user");
    }
    command
}

/// Whether these commands are installed; if not, the test is skipped.
pub fn have(commands: &[&str]) -> bool {
    commands.iter().all(|command| {
        let found = shell(&format!("command -v {command}")).output();
        let found = found.is_ok_and(|output| output.status.success());
        if !found {
            skip(&format!("{command} is not installed"));
        }
        found
    })
}

/// Whether these namespaces can be made and files bind-mounted in them; if not, the test is skipped.
pub fn can_unshare(options: &[&str]) -> bool {
    let tried = unshared(options)
        .args(["mount", "--bind", "/etc", "/etc"])
        .stderr(Stdio::null())
        .status();
    let can = tried.is_ok_and(|status| status.success());
    if !can {
        skip(&format!(
            "no namespaces can be made here (unshare {options:?})"
        ));
    }
    can
}

/// Polls until `ask` gives a value.
pub fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// Polls until a number that grows is at least `enough`. The deadline begins anew with each change: a slow machine takes longer, but goes on.
pub fn until_at_least(what: &str, enough: usize, mut count: impl FnMut() -> usize) {
    let mut seen = count();
    while seen < enough {
        seen = until(what, || Some(count()).filter(|&now| now != seen));
    }
}

/// A loopback port that was free a moment ago, and that this process gives nobody else. It is below those that the kernel gives to
/// connections and to listeners on port 0 (ip(7)), one of which might have it by the time it is used.
pub fn free_port() -> u16 {
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    let ports = FIXED_PORTS.end - FIXED_PORTS.start;
    // Processes that run at the same time begin in different places.
    let first = std::process::id().wrapping_mul(997);
    for _ in 0..ports {
        let number = first.wrapping_add(GIVEN.fetch_add(1, Ordering::Relaxed));
        let port = FIXED_PORTS.start + u16::try_from(number % u32::from(ports)).expect("a port");
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
    panic!("no port of {FIXED_PORTS:?} is free");
}

/// The image path in a direct or viewer URL.
pub fn path_of(url: &str) -> &str {
    url.split_once("?img=")
        .or_else(|| url.split_once("/p/"))
        .unwrap_or_else(|| panic!("no image URL: {url}"))
        .1
}

/// The path of libfaketime; without it, the test is skipped.
pub fn faketime() -> Option<PathBuf> {
    find_faketime("libfaketime.so.1")
}

/// The path of libfaketime for programs with threads; without it, the test is skipped.
pub fn faketime_multithreaded() -> Option<PathBuf> {
    find_faketime("libfaketimeMT.so.1")
}

fn find_faketime(library: &str) -> Option<PathBuf> {
    let found = fs::read_dir("/usr/lib")
        .ok()?
        .flatten()
        .map(|entry| entry.path().join("faketime").join(library))
        .find(|path| path.exists());
    if found.is_none() {
        skip(&format!("{library} is not installed (package libfaketime)"));
    }
    found
}

/// Sets the clock of a command to start at this instant, UTC. File times are not faked.
pub fn fake(command: &mut Command, library: &Path, instant: &str) {
    command
        .env("LD_PRELOAD", library)
        .env("FAKETIME", format!("@{instant}"))
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        .env("NO_FAKE_STAT", "1")
        .env("TZ", "UTC");
}

/// The text of a file; empty if there is none.
pub fn read(path: &Path) -> String {
    let bytes = fs::read(path).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Copies a directory and everything in it.
pub fn copy_tree(from: &Path, to: &Path) {
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

/// Adds the paths, relative to `root`, of all files in `directory`.
pub fn list_files(directory: &Path, root: &Path, files: &mut Vec<String>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if entry.file_name() == ".identity" {
            continue;
        }
        if entry.file_type().expect("a type").is_dir() {
            list_files(&path, root, files);
        } else {
            let below = path.strip_prefix(root).expect("a path below");
            files.push(below.display().to_string());
        }
    }
}

/// Locks a file, as a running process would.
pub fn hold_lock(path: &Path) -> File {
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .expect("a lock file");
    file.lock().expect("the lock");
    file
}
