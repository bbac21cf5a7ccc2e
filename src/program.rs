//! Runs a program of the operator's: without a shell, with a time-out, and with bounded output.
//!
//! The program has a process group of its own, which is killed when the time is up and after the program has ended, so that nothing that
//! it started stays. Its environment has a search path and nothing else: a CGI host puts request headers there.

use std::fmt;
use std::io::{self, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

/// Bytes of output that are kept.
const MAX_OUTPUT: usize = 2048;

/// The longest pause between two looks at a program that runs.
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// How long the rest of the output is waited for after the end of a program whose output another process holds open.
const OUTPUT_PATIENCE: Duration = Duration::from_secs(1);

/// How a program ended.
#[derive(Debug)]
pub(crate) enum End {
    /// With this exit code.
    Code(i32),
    /// By this signal.
    Signal(i32),
    /// It was killed when its time was up.
    TimedOut,
    /// It could not be started.
    NotStarted(io::Error),
}

/// A program that was run.
#[derive(Debug)]
pub(crate) struct Run {
    /// How it ended.
    pub end: End,
    /// The beginning of what it wrote to standard output and standard error.
    pub output: String,
}

impl Run {
    /// Whether it exited with 0.
    pub(crate) const fn succeeded(&self) -> bool {
        matches!(self.end, End::Code(0))
    }
}

/// `exit code 22: curl: (22) The requested URL returned error: 403`
impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.end {
            End::Code(code) => write!(f, "exit code {code}")?,
            End::Signal(signal) => write!(f, "killed by signal {signal}")?,
            End::TimedOut => f.write_str("killed when its time was up")?,
            End::NotStarted(error) => write!(f, "could not be started: {error}")?,
        }
        match self.output.trim() {
            "" => Ok(()),
            output => write!(f, ": {output}"),
        }
    }
}

/// Runs `call`, a program and its arguments, and waits for its end at most for `timeout`. `input` is its standard input.
pub(crate) fn run(call: &[String], input: Stdio, timeout: Duration) -> Run {
    start(call, input, timeout).unwrap_or_else(|error| Run {
        end: End::NotStarted(error),
        output: String::new(),
    })
}

fn start(call: &[String], input: Stdio, timeout: Duration) -> io::Result<Run> {
    let (program, arguments) = call.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let (output, writer) = io::pipe()?;
    // The command holds the writing ends of the pipe; they are closed with it.
    let mut child = Command::new(program)
        .args(arguments)
        .env_clear()
        .env(
            "PATH",
            "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        )
        .env("LC_ALL", "C")
        .current_dir("/")
        .stdin(input)
        .stdout(writer.try_clone()?)
        .stderr(writer)
        .process_group(0)
        .spawn()?;
    let (sender, receiver) = mpsc::channel();
    let reader = thread::Builder::new()
        .name("output".to_owned())
        .spawn(move || {
            let _ = sender.send(beginning_of(output));
        });
    let ended = wait(&mut child, timeout);
    kill_group(&child);
    let end = match ended {
        Ok(Some(status)) => end_of(status),
        Ok(None) => {
            child.wait()?;
            End::TimedOut
        }
        Err(error) => return Err(error),
    };
    reader?;
    let output = receiver.recv_timeout(OUTPUT_PATIENCE).unwrap_or_default();
    Ok(Run { end, output })
}

/// Reads to the end, so that the program never waits for its output to be read, and keeps the beginning.
fn beginning_of(mut output: impl Read) -> String {
    let mut kept = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match output.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => {
                let room = MAX_OUTPUT - kept.len();
                kept.extend_from_slice(&buffer[..length.min(room)]);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    String::from_utf8_lossy(&kept).into_owned()
}

/// The status of a program that ends within `timeout`; `None` if it does not.
fn wait(child: &mut Child, timeout: Duration) -> io::Result<Option<ExitStatus>> {
    let began = Instant::now();
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        let left = timeout.saturating_sub(began.elapsed());
        if left.is_zero() {
            return Ok(None);
        }
        thread::sleep(pause.min(left));
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// The group outlives its first process while another one is in it; without any this fails, which is fine.
fn kill_group(child: &Child) {
    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    if let Some(group) = group {
        let _ = kill_process_group(group, Signal::KILL);
    }
}

fn end_of(status: ExitStatus) -> End {
    match (status.code(), status.signal()) {
        (Some(code), _) => End::Code(code),
        (None, signal) => End::Signal(signal.unwrap_or(0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(20);

    fn sh(script: &str, timeout: Duration) -> Run {
        let call = ["/bin/sh", "-c", script].map(str::to_owned);
        run(&call, Stdio::null(), timeout)
    }

    #[test]
    fn an_end_is_told_with_the_output() {
        assert!(sh("exit 0", TIMEOUT).succeeded());
        let failed = sh("echo out; echo err >&2; exit 22", TIMEOUT);
        assert_eq!(failed.to_string(), "exit code 22: out\nerr");
        let killed = sh("kill -9 $$", TIMEOUT);
        assert_eq!(killed.to_string(), "killed by signal 9");
        let call = ["/nowhere/purge".to_owned()];
        let missing = run(&call, Stdio::null(), TIMEOUT).to_string();
        assert!(
            missing.starts_with("could not be started: No such file"),
            "{missing}"
        );
    }

    #[test]
    fn a_program_that_hangs_is_killed_with_what_it_started() {
        let began = Instant::now();
        // A busy machine may take longer to start it.
        let mut hung = String::new();
        for milliseconds in [300, 3_000, 30_000] {
            let timeout = Duration::from_millis(milliseconds);
            hung = sh("sleep 300 & echo begun; wait", timeout).to_string();
            if hung.ends_with("begun") {
                break;
            }
        }
        assert_eq!(hung, "killed when its time was up: begun");
        assert!(began.elapsed() < Duration::from_mins(3));
    }

    #[test]
    fn what_a_program_leaves_running_does_not_hold_its_output() {
        let began = Instant::now();
        assert!(sh("sleep 300 & exit 0", TIMEOUT).succeeded());
        assert!(began.elapsed() < Duration::from_mins(3));
    }

    #[test]
    fn megabytes_of_output_are_read_and_not_kept() {
        let wordy = sh("head -c 8000000 /dev/zero | tr '\\0' x; exit 3", TIMEOUT);
        assert!(matches!(wordy.end, End::Code(3)), "{:?}", wordy.end);
        assert_eq!(wordy.output.len(), MAX_OUTPUT);
    }

    #[test]
    fn the_environment_has_nothing_of_a_request() {
        let shown = sh("env", TIMEOUT).output;
        assert!(!shown.contains("CARGO"), "{shown}");
        assert!(shown.contains("PATH=/usr/local/sbin:"), "{shown}");
    }
}
