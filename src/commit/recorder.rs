//! Group commit: all uploads that wait are recorded in one transaction, appended to the write-ahead log with one sync, then answered.
//!
//! A thread of its own does that while uploads come faster than they are committed. A lone upload is committed on its own thread, which
//! spares two hand-overs between threads. So is the first of many where nothing is synced: there a hand-over costs more than a batch
//! saves.

mod request;

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, TryLockError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::wal::{Appender, Gauge, Site, Status, Unavailable, Unpublished};
use super::{NAME_TRIES, Settings, Upload, names_taken, refund};
use crate::error::Fault;
use crate::ledger::Verdict;
use crate::log::{Line, panic_text};
pub(super) use request::{Pending, Recorded};
use request::{Request, Row, batch};

/// How long to wait before another try to open the log.
const LOG_RETRY: Duration = Duration::from_secs(1);

/// Records uploads from any number of threads. Dropping it records what is still queued, and checkpoints the log.
pub(super) struct Recorder {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// What the recorder's thread shares with those of requests.
struct Shared {
    queue: Mutex<Queue>,
    /// There is something in the queue for the recorder's thread.
    filled: Condvar,
    worker: Mutex<Worker>,
    gauge: OnceLock<Gauge>,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Request>,
    is_closing: bool,
}

impl Recorder {
    pub(super) fn start(settings: Settings) -> io::Result<Self> {
        let worker = Worker {
            site: Site {
                ledger: Arc::clone(&settings.ledger),
                store: Arc::clone(&settings.store),
                clock: settings.clock,
                observe: Arc::clone(&settings.observe_checkpoint),
            },
            settings,
            log: None,
            log_failure: None,
            next_try: Instant::now(),
            last_batch: 0,
        };
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            filled: Condvar::new(),
            worker: Mutex::new(worker),
            gauge: OnceLock::new(),
        });
        lock(&shared.worker).open_log(&shared.gauge);
        let thread = thread::Builder::new().name("recorder".to_owned()).spawn({
            let shared = Arc::clone(&shared);
            move || shared.run()
        })?;
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// Whether images may be given to the log.
    pub(super) fn has_log(&self) -> bool {
        self.shared.gauge.get().is_some()
    }

    pub(super) fn log_status(&self) -> Option<Status> {
        self.shared.gauge.get().map(Gauge::status)
    }

    /// Queues an upload for the recorder's thread, which records its row alone.
    pub(super) fn queue(&self, upload: &Upload) -> Pending {
        let (pending, _) = self.shared.push(upload, None);
        self.shared.filled.notify_one();
        pending
    }

    /// Records an upload, with its bytes if they are to be logged.
    pub(super) fn record(
        &self,
        upload: &Upload,
        image: Option<Vec<u8>>,
    ) -> Result<Recorded, Fault> {
        let (pending, is_first) = self.shared.push(upload, image);
        self.shared.commit_or_wake(is_first);
        pending.wait()
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        lock(&self.shared.queue).is_closing = true;
        self.shared.filled.notify_one();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for Recorder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Recorder").finish_non_exhaustive()
    }
}

impl Shared {
    /// Queues an upload; also tells whether none was waiting before it.
    fn push(&self, upload: &Upload, image: Option<Vec<u8>>) -> (Pending, bool) {
        let (request, pending) = Request::new(upload, image);
        let mut queue = lock(&self.queue);
        let is_first = queue.waiting.is_empty();
        queue.waiting.push_back(request);
        (pending, is_first)
    }

    /// Commits what waits, unless another thread is committing: then that one sees to the rest.
    fn commit_or_wake(&self, is_first: bool) {
        if !is_first {
            return;
        }
        let mut worker = match self.worker.try_lock() {
            Ok(worker) => worker,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        if worker.gathers() {
            drop(worker);
            self.filled.notify_one();
            return;
        }
        self.commit_batch(&mut worker);
        drop(worker);
        // What came meanwhile found the worker locked.
        if !lock(&self.queue).waiting.is_empty() {
            self.filled.notify_one();
        }
    }

    /// The recorder's thread: commits until nothing waits, then sleeps.
    fn run(&self) {
        loop {
            let mut queue = lock(&self.queue);
            while queue.waiting.is_empty() {
                if queue.is_closing {
                    return;
                }
                queue = self
                    .filled
                    .wait(queue)
                    .unwrap_or_else(PoisonError::into_inner);
            }
            drop(queue);
            self.commit_batch(&mut lock(&self.worker));
        }
    }

    /// Commits what waits, up to the limits of a batch.
    fn commit_batch(&self, worker: &mut Worker) {
        let batch = batch(&mut lock(&self.queue).waiting);
        if batch.is_empty() {
            return;
        }
        if worker.log.is_none() && worker.next_try <= Instant::now() {
            worker.open_log(&self.gauge);
        }
        worker.last_batch = batch.len();
        (worker.settings.observe_batch)(batch.len());
        // A panic must not end the recorder's thread, since no upload could be recorded after it. The requests of the batch are dropped,
        // which answers them with an error.
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| worker.commit(batch))) {
            worker
                .line("panic")
                .field("thread", "recorder")
                .field("cause", panic_text(&*panic))
                .write();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Worker {
    settings: Settings,
    site: Site,
    log: Option<Appender>,
    /// Why the log could not be opened; `None` if that was not said yet.
    log_failure: Option<String>,
    next_try: Instant,
    /// Uploads of the last batch.
    last_batch: usize,
}

impl Worker {
    /// Whether a batch had better wait for more uploads: until the recorder's thread wakes, others come, and share its sync.
    const fn gathers(&self) -> bool {
        self.log.is_some() && self.last_batch > 1
    }

    /// Opens the log, if there is to be one. Another process may hold it: the one that this one is about to replace.
    fn open_log(&mut self, gauge_of_log: &OnceLock<Gauge>) {
        let Some(directory) = &self.settings.log else {
            return;
        };
        self.next_try = Instant::now() + LOG_RETRY;
        match Appender::open(directory, &self.site) {
            Ok(Some((log, gauge))) => {
                let recovered = gauge.status().recovered;
                self.line("log_opened")
                    .field("directory", directory.display())
                    .field("recovered_records", recovered.records)
                    .field("inserted_rows", recovered.rows)
                    .field("rewritten_files", recovered.files)
                    .write();
                let _ = gauge_of_log.set(gauge);
                self.log = Some(log);
            }
            Ok(None) | Err(Unavailable::Held) => {}
            Err(error) => {
                let failure = error.to_string();
                if self.log_failure.as_ref() != Some(&failure) {
                    self.line("log_unavailable")
                        .field("directory", directory.display())
                        .field("cause", &failure)
                        .write();
                    self.log_failure = Some(failure);
                }
            }
        }
    }

    fn commit(&mut self, batch: Vec<Request>) {
        let (logged, synced): (Vec<_>, Vec<_>) = batch
            .into_iter()
            .partition(|request| request.image.is_some() && self.log.is_some());
        if !logged.is_empty() {
            let rows = self.record(logged, true);
            self.append(rows);
        }
        if !synced.is_empty() {
            for row in self.record(synced, false) {
                row.answer(None);
            }
        }
    }

    /// Makes rows durable by their records, and answers them.
    fn append(&mut self, rows: Vec<Row>) {
        let Some(log) = self.log.as_mut().filter(|_| !rows.is_empty()) else {
            return;
        };
        match log.append(rows.iter().map(Row::logged)) {
            Ok(unpublished) => {
                for row in rows {
                    row.answer(Some(unpublished.clone()));
                }
            }
            Err(error) => {
                let paths: Vec<_> = rows.iter().map(|row| row.image.path.clone()).collect();
                refund(&*self.settings.ledger, self.settings.clock, &paths);
                for row in rows {
                    let error = io::Error::new(error.kind(), error.to_string());
                    row.request.answer(Err(Fault::saving(error)));
                }
            }
        }
    }

    /// Records a batch and returns what has a row now; answers the rest. Uploads whose random name is taken get another name in another
    /// transaction.
    fn record(&mut self, mut batch: Vec<Request>, is_logged: bool) -> Vec<Row> {
        let mut rows = Vec::with_capacity(batch.len());
        for _ in 0..NAME_TRIES {
            if batch.is_empty() {
                return rows;
            }
            batch = self.record_once(batch, is_logged, &mut rows);
        }
        for request in batch {
            request.answer(Err(names_taken()));
        }
        rows
    }

    /// Records a batch in one transaction. Gives back the uploads whose names are taken.
    fn record_once(
        &mut self,
        batch: Vec<Request>,
        is_logged: bool,
        rows: &mut Vec<Row>,
    ) -> Vec<Request> {
        let now = (self.settings.clock)();
        let count = batch.len() as u64;
        let log = self.log.as_mut().filter(|_| is_logged);
        let first_lsn = log.map(|log| log.reserve(count));
        let images = batch
            .iter()
            .map(|request| request.image(self.settings.name_length, now));
        let recorded = images.collect::<Result<Vec<_>, _>>().and_then(|images| {
            let ledger = &self.settings.ledger;
            let verdicts = match first_lsn {
                Some(first) => ledger.record_unsynced(&images, now, first + count - 1)?,
                None => ledger.record(&images, now)?,
            };
            Ok((images, verdicts))
        });
        let (images, verdicts) = match recorded {
            Ok(recorded) => recorded,
            Err(error) => {
                for request in batch {
                    request.answer(Err(error.clone().into()));
                }
                return Vec::new();
            }
        };
        let mut taken = Vec::new();
        let lsns = first_lsn.unwrap_or(0)..;
        for (((request, image), verdict), lsn) in
            batch.into_iter().zip(images).zip(verdicts).zip(lsns)
        {
            match verdict {
                Verdict::Recorded { used } => rows.push(Row {
                    request,
                    image,
                    lsn,
                    used,
                    at: now,
                }),
                Verdict::QuotaExceeded { used } => {
                    request.answer(Ok(Recorded::QuotaExceeded { used, at: now }));
                }
                Verdict::StorageExceeded { used } => {
                    request.answer(Ok(Recorded::StorageExceeded { used, at: now }));
                }
                Verdict::Repeated => request.answer(Ok(Recorded::Repeated)),
                Verdict::NameTaken => taken.push(request),
            }
        }
        taken
    }

    fn line(&self, event: &str) -> Line {
        Line::new((self.settings.clock)(), event)
    }
}
