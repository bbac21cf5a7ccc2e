//! Servers as child processes: started, measured, ended.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use support::machine::{end, free_port};

/// The deadline for a server to listen.
const PATIENCE: Duration = Duration::from_secs(10);

/// A server process; Drop ends it.
pub struct Server {
    child: Child,
    log: PathBuf,
}

impl Server {
    /// Starts `command` with its output in the file `log`.
    pub fn start(command: &mut Command, log: &Path) -> io::Result<Self> {
        let file = File::create(log)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .map_err(|error| {
                let program = command.get_program().display();
                io::Error::new(error.kind(), format!("{program}: {error}"))
            })?;
        Ok(Self {
            child,
            log: log.to_owned(),
        })
    }

    /// Waits until `listens` says so.
    pub fn wait_until(&mut self, listens: impl Fn() -> bool) -> io::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while !listens() {
            if self.child.try_wait()?.is_some() || Instant::now() > deadline {
                return Err(io::Error::other(format!(
                    "a server does not start:\n{}",
                    self.last_lines()
                )));
            }
            thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// Its status, if it has ended.
    pub fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The last lines of its log.
    pub fn last_lines(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = text.lines().rev().take(5).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

/// A loopback address whose port was free a moment ago.
pub fn free_address() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, free_port()).into()
}

pub fn takes_tcp(address: SocketAddr) -> impl Fn() -> bool {
    move || TcpStream::connect(address).is_ok()
}

pub fn takes_unix(path: &Path) -> impl Fn() -> bool + use<> {
    let path = path.to_owned();
    move || UnixStream::connect(&path).is_ok()
}

/// Runs a command to its end and returns its standard output.
pub fn output(command: &mut Command) -> io::Result<String> {
    let program = command.get_program().display().to_string();
    let output = command
        .output()
        .map_err(|error| io::Error::new(error.kind(), format!("{program}: {error}")))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        Err(io::Error::other(format!("{program}: {words}")))
    }
}

/// Finds a program in PATH and in the sbin directories.
pub fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var("PATH").unwrap_or_default();
    path.split(':')
        .chain(["/usr/sbin", "/sbin", "/usr/local/sbin"])
        .map(|directory| Path::new(directory).join(name))
        .find(|file| file.is_file())
}

/// CPU time that these processes and all their descendants have used, in user and kernel mode (proc(5), `stat`).
///
/// Work of kernel threads, such as writing the journal, is not included.
pub fn cpu_time(roots: &[u32]) -> Duration {
    Processes::now().cpu_time(roots)
}

/// All processes of this machine at one instant.
pub struct Processes(HashMap<u32, Stat>);

impl Processes {
    pub fn now() -> Self {
        let mut processes = HashMap::new();
        let directories = fs::read_dir("/proc").into_iter().flatten().flatten();
        for pid in directories.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()) {
            if let Some(stat) = fs::read_to_string(format!("/proc/{pid}/stat"))
                .ok()
                .and_then(|text| Stat::parse(&text))
            {
                processes.insert(pid, stat);
            }
        }
        Self(processes)
    }

    /// As [`cpu_time`].
    pub fn cpu_time(&self, roots: &[u32]) -> Duration {
        let in_tree = |pid: &u32| {
            let mut at = *pid;
            while let Some(stat) = self.0.get(&at) {
                if roots.contains(&at) {
                    return true;
                }
                at = stat.parent;
            }
            false
        };
        let ticks: u64 = self
            .0
            .iter()
            .filter(|(pid, _)| in_tree(pid))
            .map(|(_, stat)| stat.ticks)
            .sum();
        seconds(ticks)
    }
}

/// CPU time of this process without its children.
pub fn own_cpu_time() -> Duration {
    let stat = fs::read_to_string("/proc/self/stat").ok();
    let ticks = stat
        .and_then(|text| Stat::parse(&text))
        .map(|stat| stat.own);
    seconds(ticks.unwrap_or(0))
}

/// CPU time of the whole machine (proc(5), `stat`).
#[derive(Debug, Clone, Copy, Default)]
pub struct MachineTime {
    busy: Duration,
    all: Duration,
}

impl MachineTime {
    pub fn since(self, before: Self) -> Self {
        Self {
            busy: self.busy.saturating_sub(before.busy),
            all: self.all.saturating_sub(before.all),
        }
    }

    /// The share of all time that was busy with something other than `known`.
    pub fn share_without(self, known: Duration) -> f64 {
        let others = self.busy.saturating_sub(known);
        others.as_secs_f64() / self.all.as_secs_f64().max(0.01)
    }
}

pub fn machine_cpu_time() -> MachineTime {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    let fields = text.split_whitespace().skip(1).take(8);
    let ticks: Vec<u64> = fields.filter_map(|field| field.parse().ok()).collect();
    let all = ticks.iter().sum();
    // The fourth and fifth are idle time, with and without waiting for a disk.
    let idle: u64 = ticks.iter().skip(3).take(2).sum();
    MachineTime {
        busy: seconds(all - idle),
        all: seconds(all),
    }
}

fn seconds(ticks: u64) -> Duration {
    Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// Resident bytes of a process, shared pages included (proc(5), `status`).
pub fn resident(pid: u32) -> io::Result<u64> {
    status_line(pid, "VmRSS").ok_or_else(|| io::Error::other("no VmRSS in /proc"))
}

/// The peak of [`resident`] since the start, or since [`forget_peak`].
pub fn peak_resident(pid: u32) -> io::Result<u64> {
    status_line(pid, "VmHWM").ok_or_else(|| io::Error::other("no VmHWM in /proc"))
}

/// Resets the peak (proc(5), `clear_refs`).
pub fn forget_peak(pid: u32) -> io::Result<()> {
    fs::write(format!("/proc/{pid}/clear_refs"), "5")
}

fn status_line(pid: u32, line: &str) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let value = text.lines().find_map(|found| found.strip_prefix(line))?;
    let kibibytes: u64 = value
        .trim_matches([':', '\t', ' '])
        .split(' ')
        .next()?
        .parse()
        .ok()?;
    Some(kibibytes << 10)
}

struct Stat {
    parent: u32,
    /// Of the process itself.
    own: u64,
    /// Of the process and of its children that have ended.
    ticks: u64,
}

impl Stat {
    fn parse(text: &str) -> Option<Self> {
        // The name of the program may hold anything, but nothing after it holds a parenthesis.
        let fields: Vec<_> = text.rsplit_once(')')?.1.split_whitespace().collect();
        let sum = |fields: &[&str]| {
            let ticks = fields.iter().map(|field| field.parse::<u64>());
            ticks.sum::<Result<u64, _>>().ok()
        };
        Some(Self {
            parent: fields.get(1)?.parse().ok()?,
            own: sum(fields.get(11..13)?)?,
            ticks: sum(fields.get(11..15)?)?,
        })
    }
}
