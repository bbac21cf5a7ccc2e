//! The connections of one process.
//!
//! At most `limit` connections are in use or idle. As many more threads may still wait for an answer that nobody needs any more: while the
//! server is stopped they keep nobody from trying another one, and they do not grow without end.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use postgres::Row;

use super::connection::Connection;
use super::failure::{Failure, Remedy};
use super::server::Server;
use super::statement::{Parameter, Statement};
use crate::ledger::LedgerError;

/// The first pause before a new connection; each next one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(20);

/// The longest pause before a new connection.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// The connections of one process.
#[derive(Debug)]
pub(super) struct Pool {
    server: Arc<Server>,
    limit: usize,
    /// How long a verb may take, attempts and the wait for a connection included.
    deadline: Duration,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// A connection came back, or a thread has ended.
    returned: Condvar,
}

#[derive(Debug, Default)]
struct State {
    idle: Vec<Connection>,
    /// Connections in use, and those being opened.
    taken: usize,
    /// Threads of connections, those that nobody waits for among them.
    threads: usize,
    /// Increments when a connection was lost: idle ones of an earlier number are not used.
    generation: u64,
}

impl Pool {
    /// A pool without a connection.
    pub(super) fn new(server: Server, limit: usize, deadline: Duration) -> Self {
        Self {
            server: Arc::new(server),
            limit,
            deadline,
            shared: Arc::default(),
        }
    }

    /// The server's URL, for messages.
    pub(super) fn url(&self) -> &str {
        &self.server.url
    }

    /// How long a verb may take.
    pub(super) const fn deadline(&self) -> Duration {
        self.deadline
    }

    /// Carries out one statement within the deadline, if need be more than once: it must do no harm the second time. `parameters` is told
    /// whether an earlier attempt may have been carried out.
    pub(super) fn query(
        &self,
        sql: &'static str,
        parameters: impl Fn(bool) -> Vec<Parameter>,
    ) -> Result<Vec<Row>, LedgerError> {
        self.query_within(self.deadline, sql, parameters)
    }

    /// As [`Self::query`], with another deadline.
    pub(super) fn query_within(
        &self,
        deadline: Duration,
        sql: &'static str,
        parameters: impl Fn(bool) -> Vec<Parameter>,
    ) -> Result<Vec<Row>, LedgerError> {
        self.repeat(deadline, |until, is_again| {
            let statement = Arc::new(Statement::new(sql, parameters(is_again)));
            self.take(until)?.query(&statement, until)
        })
    }

    /// Calls `attempt` with the end of the deadline, and with whether an earlier attempt may have been carried out, until it succeeds, fails
    /// for good, or the deadline ends.
    pub(super) fn repeat<T>(
        &self,
        deadline: Duration,
        mut attempt: impl FnMut(Instant, bool) -> Result<T, Failure>,
    ) -> Result<T, LedgerError> {
        let until = Instant::now() + deadline;
        let mut pause = FIRST_PAUSE;
        let mut is_first = true;
        let mut is_again = false;
        loop {
            let failure = match attempt(until, is_again) {
                Ok(done) => return Ok(done),
                Err(failure) => failure,
            };
            let left = until.saturating_duration_since(Instant::now());
            is_again |= failure.may_have_happened();
            match failure.remedy() {
                Remedy::Nothing => return Err(failure.into_error(self.url())),
                Remedy::Again if left.is_zero() => return Err(failure.into_error(self.url())),
                Remedy::Again => {}
                // The connection may have ended long ago, while it was idle.
                Remedy::Reconnect if is_first && matches!(failure, Failure::Lost) => {}
                Remedy::Reconnect if left <= pause => {
                    return Err(failure.into_error(self.url()));
                }
                Remedy::Reconnect => {
                    thread::sleep(pause);
                    pause = LONGEST_PAUSE.min(pause * 2);
                }
            }
            is_first = false;
        }
    }

    /// Takes an idle connection, or opens one; waits until `until` while all are in use.
    pub(super) fn take(&self, until: Instant) -> Result<Lease, Failure> {
        let mut state = lock(&self.shared.state);
        loop {
            if let Some(connection) = state.idle.pop() {
                state.taken += 1;
                return Ok(self.lease(Some(connection), state.generation));
            }
            if state.taken < self.limit && state.threads < 2 * self.limit {
                break;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Failure::Late);
            }
            (state, _) = self
                .shared
                .returned
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner);
        }
        state.taken += 1;
        let generation = state.generation;
        let mut first = Some(Thread::new(&self.shared, &mut state));
        drop(state);
        let thread = || {
            let first = first.take();
            first.unwrap_or_else(|| Thread::new(&self.shared, &mut lock(&self.shared.state)))
        };
        // Gives the place back if no connection can be opened.
        let mut lease = self.lease(None, generation);
        lease.connection = Some(Connection::open(&self.server, until, thread)?);
        Ok(lease)
    }

    /// Opens a connection outside the pool.
    pub(super) fn open_another(&self, until: Instant) -> Result<Connection, Failure> {
        Connection::open(&self.server, until, || ())
    }

    fn lease(&self, connection: Option<Connection>, generation: u64) -> Lease {
        Lease {
            shared: Arc::clone(&self.shared),
            connection,
            generation,
        }
    }
}

impl Drop for Pool {
    /// Closes the connections: their threads hold what is shared, and would keep it and each other for good.
    fn drop(&mut self) {
        let mut state = lock(&self.shared.state);
        state.generation += 1;
        state.idle.clear();
    }
}

/// A connection that is in use. It goes back to the pool when this is dropped, unless it is broken.
#[derive(Debug)]
pub(super) struct Lease {
    shared: Arc<Shared>,
    connection: Option<Connection>,
    generation: u64,
}

impl Lease {
    /// Carries out one statement.
    pub(super) fn query(
        &mut self,
        statement: &Arc<Statement>,
        until: Instant,
    ) -> Result<Vec<Row>, Failure> {
        let Some(connection) = &self.connection else {
            return Err(Failure::Lost);
        };
        let outcome = connection.query(statement, until);
        if let Err(failure) = &outcome
            && !failure.keeps_connection()
        {
            self.close();
        }
        outcome
    }

    /// Carries out a statement of a transaction. If it fails, the connection is closed, which rolls the transaction back.
    pub(super) fn query_or_close(
        &mut self,
        statement: Statement,
        until: Instant,
    ) -> Result<Vec<Row>, Failure> {
        let outcome = self.query(&Arc::new(statement), until);
        if outcome.is_err() {
            self.connection = None;
        }
        outcome
    }

    /// Closes the connection, and the idle ones: what broke this one has broken them, too.
    fn close(&mut self) {
        self.connection = None;
        let mut state = lock(&self.shared.state);
        if state.generation == self.generation {
            state.generation += 1;
            state.idle.clear();
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut state = lock(&self.shared.state);
        state.taken -= 1;
        if state.generation == self.generation {
            state.idle.extend(self.connection.take());
        }
        drop(state);
        self.shared.returned.notify_one();
    }
}

/// Counts a thread of a connection while it lives.
struct Thread(Arc<Shared>);

impl Thread {
    fn new(shared: &Arc<Shared>, state: &mut State) -> Self {
        state.threads += 1;
        Self(Arc::clone(shared))
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        lock(&self.0.state).threads -= 1;
        self.0.returned.notify_one();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
