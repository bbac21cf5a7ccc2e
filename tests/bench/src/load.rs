//! Closed-loop load: each connection sends its next request after the reply to the last one.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::http::{Client, Reply};
use crate::picture::{Picture, SERIAL};
use crate::process::{Processes, machine_cpu_time, own_cpu_time};
use crate::targets::Target;

/// One of this many stored files is compared with what was sent.
const SAMPLE: u64 = 64;

/// The most bytes that one round stores.
const MAX_BYTES: u64 = 1 << 30;

/// Set to end the run early.
pub static STOP: AtomicBool = AtomicBool::new(false);

/// The number of the next picture of this run.
static SERIALS: AtomicU64 = AtomicU64::new(1);

/// The figures of a round.
#[derive(Debug, Clone)]
pub struct Round {
    pub rate: f64,
    /// CPU time of the servers, in milliseconds per request.
    pub cpu: f64,
    /// The same of PostgreSQL.
    pub database_cpu: f64,
    /// The same of the object store.
    pub store_cpu: f64,
    /// CPU time of this program, on the same cores.
    pub load_cpu: f64,
    /// The share of CPU time of neither, kernel threads included.
    pub others: f64,
    pub p50: f64,
    pub p99: f64,
}

#[derive(Default)]
struct Tally {
    latencies: Vec<Duration>,
    samples: Vec<(u64, String)>,
}

/// Rounds of `count` targets that take turns, so that a disturbance of the machine affects them alike; each round begins with another one.
pub fn in_turn(
    count: usize,
    rounds: usize,
    measure: impl Fn(usize) -> io::Result<Round>,
) -> io::Result<Vec<Vec<Round>>> {
    let mut measured = vec![Vec::new(); count];
    for round in 0..rounds {
        for at in (0..count).map(|at| (at + round) % count) {
            measured[at].push(measure(at)?);
        }
    }
    Ok(measured)
}

/// Uploads to `target` for `seconds`, checks what it stored, and removes it.
pub fn upload(
    target: &Target,
    picture: &Picture,
    connections: usize,
    seconds: f64,
) -> io::Result<Round> {
    let size = picture.bytes().len();
    let left = AtomicU64::new(MAX_BYTES / size as u64);
    let more = || {
        let taken = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
            left.checked_sub(1)
        });
        taken.is_ok()
    };
    let (round, tally) = drive(target, connections, seconds, &|client, tally, within| {
        let mut picture = picture.clone();
        let mut envelope = target.envelope(size);
        while within() && more() {
            let serial = SERIALS.fetch_add(1, Ordering::Relaxed);
            picture.number(serial);
            if let Some(at) = envelope.serial {
                let digits = format!("{serial:0SERIAL$x}");
                envelope.before[at..at + SERIAL].copy_from_slice(digits.as_bytes());
            }
            let began = Instant::now();
            let reply = client.exchange(&[&envelope.before, picture.bytes(), &envelope.after])?;
            tally.latencies.push(began.elapsed());
            let path = target
                .stored(reply.status, reply.body, serial)
                .ok_or_else(|| unexpected(reply))?;
            if serial.is_multiple_of(SAMPLE) || tally.latencies.len() == 1 {
                tally.samples.push((serial, path));
            }
        }
        Ok(())
    })?;
    verify(target, picture, &tally)?;
    Ok(round)
}

/// Gets `paths` from `target` in turn for `seconds`; each has to be `size` bytes.
pub fn download(
    target: &Target,
    paths: &[String],
    size: usize,
    connections: usize,
    seconds: f64,
) -> io::Result<Round> {
    let request =
        |path: &String| format!("GET /{path} HTTP/1.1\r\nHost: {}\r\n\r\n", target.address);
    let requests: Vec<_> = paths.iter().map(request).collect();
    let (round, _) = drive(target, connections, seconds, &|client, tally, within| {
        for request in requests.iter().cycle() {
            if !within() {
                break;
            }
            let began = Instant::now();
            let reply = client.exchange(&[request.as_bytes()])?;
            tally.latencies.push(began.elapsed());
            if reply.status != 200 || reply.body.len() != size {
                return Err(unexpected(reply));
            }
        }
        Ok(())
    })?;
    Ok(round)
}

/// Gets the first page of the client's list from `target` for `seconds`.
pub fn list(target: &Target, connections: usize, seconds: f64) -> io::Result<Round> {
    let request = target.list_request();
    let (round, _) = drive(target, connections, seconds, &|client, tally, within| {
        while within() {
            let began = Instant::now();
            let reply = client.exchange(&[request.as_bytes()])?;
            tally.latencies.push(began.elapsed());
            if reply.status != 200 || !reply.body.starts_with(b"{\"images\":[{") {
                return Err(unexpected(reply));
            }
        }
        Ok(())
    })?;
    Ok(round)
}

/// Sends requests over one connection until the closure returns false.
type Worker<'a> = dyn Fn(&mut Client, &mut Tally, &dyn Fn() -> bool) -> io::Result<()> + Sync + 'a;

/// Runs one worker for each connection until the time is over.
fn drive(
    target: &Target,
    connections: usize,
    seconds: f64,
    worker: &Worker<'_>,
) -> io::Result<(Round, Tally)> {
    let groups = [
        target.pids(),
        target.shared.database.into_iter().collect(),
        target.shared.store.into_iter().collect(),
    ];
    let cpu_times = || {
        let processes = Processes::now();
        groups.each_ref().map(|pids| processes.cpu_time(pids))
    };
    let (before, own_before) = (cpu_times(), own_cpu_time());
    let machine_before = machine_cpu_time();
    let began = Instant::now();
    let end = began + Duration::from_secs_f64(seconds);
    let within = || Instant::now() < end && !STOP.load(Ordering::Relaxed);
    let tallies = thread::scope(|scope| {
        let (worker, within) = (&worker, &within);
        let run = |number: usize| {
            let mut tally = Tally::default();
            let mut client = Client::new(target.address_of(number));
            worker(&mut client, &mut tally, within).map(|()| tally)
        };
        let threads: Vec<_> = (0..connections)
            .map(|number| scope.spawn(move || run(number)))
            .collect();
        let joined = threads.into_iter().map(|thread| {
            thread
                .join()
                .unwrap_or_else(|_| Err(io::Error::other("a panic")))
        });
        joined.collect::<io::Result<Vec<_>>>()
    });
    let elapsed = began.elapsed();
    let after = cpu_times();
    let [cpu, database, store] = [0, 1, 2].map(|at| after[at].saturating_sub(before[at]));
    let own = own_cpu_time().saturating_sub(own_before);
    let machine = machine_cpu_time().since(machine_before);
    let tallies = tallies.map_err(|error| {
        let words = target.last_lines();
        io::Error::new(error.kind(), format!("{}: {error}\n{words}", target.label))
    })?;
    if STOP.load(Ordering::Relaxed) {
        return Err(io::ErrorKind::Interrupted.into());
    }
    let mut tally = Tally::default();
    for other in tallies {
        tally.latencies.extend(other.latencies);
        tally.samples.extend(other.samples);
    }
    tally.latencies.sort_unstable();
    let requests = tally.latencies.len();
    let quantile = |share: f64| {
        let at = (requests as f64 * share) as usize;
        let latency = tally.latencies.get(at.min(requests.saturating_sub(1)));
        latency.copied().unwrap_or_default().as_secs_f64() * 1e3
    };
    let each = |time: Duration| time.as_secs_f64() * 1e3 / requests as f64;
    let round = Round {
        rate: requests as f64 / elapsed.as_secs_f64(),
        cpu: each(cpu),
        database_cpu: each(database),
        store_cpu: each(store),
        others: machine.share_without(cpu + database + store + own),
        load_cpu: each(own),
        p50: quantile(0.5),
        p99: quantile(0.99),
    };
    Ok((round, tally))
}

/// Compares the sampled files with what was sent, and the number of files with the number of good replies. Removes them all.
fn verify(target: &Target, picture: &Picture, tally: &Tally) -> io::Result<()> {
    let mut picture = picture.clone();
    for (serial, path) in &tally.samples {
        picture.number(*serial);
        if target.read(path)? != picture.bytes() {
            return Err(io::Error::other(format!(
                "{}: {path} is not what was sent",
                target.label
            )));
        }
    }
    let stored = target.count()?;
    if stored != tally.latencies.len() {
        return Err(io::Error::other(format!(
            "{}: {stored} images after {} uploads",
            target.label,
            tally.latencies.len()
        )));
    }
    target.empty()
}

/// Uploads `count` pictures and leaves them there; gives their paths.
pub fn deposit(target: &Target, picture: &Picture, count: u64) -> io::Result<Vec<String>> {
    let mut client = Client::new(target.address);
    let mut picture = picture.clone();
    let envelope = target.envelope(picture.bytes().len());
    let mut upload = |serial| {
        picture.number(serial);
        let reply = client.exchange(&[&envelope.before, picture.bytes(), &envelope.after])?;
        target
            .stored(reply.status, reply.body, serial)
            .ok_or_else(|| unexpected(reply))
    };
    (0..count).map(&mut upload).collect()
}

fn unexpected(reply: Reply<'_>) -> io::Error {
    let body = &reply.body[..reply.body.len().min(200)];
    let text = String::from_utf8_lossy(body).into_owned();
    io::Error::other(format!("an unexpected reply: {} {text}", reply.status))
}
