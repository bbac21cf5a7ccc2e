//! One connection: a thread that owns the driver's client.
//!
//! The driver has no time limits: a server that is stopped, or whose disk hangs, would hold its caller for good. So the caller waits for
//! the thread, and only as long as it likes. A thread that is waited for no longer ends by itself, when the server answers or the
//! connection breaks.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::thread;
use std::time::Instant;

use postgres::{Client, Row};

use super::failure::Failure;
use super::server::{Server, Unconnected};
use super::statement::Statement;

/// Stack of a connection's thread, in bytes. TLS handshakes need the most.
const STACK_SIZE: usize = 1 << 20;

/// The rows that a statement returned, or why it failed.
type Outcome = Result<Vec<Row>, Failure>;

/// A statement to be sent, and where its result goes.
struct Job {
    statement: Arc<Statement>,
    reply: SyncSender<Outcome>,
}

/// A connection to the server.
#[derive(Debug)]
pub(super) struct Connection {
    jobs: Sender<Job>,
}

impl Connection {
    /// Connects to the first host that lets it in; gives up at `until`. `token` is called for each thread, and what it returns is dropped
    /// when the thread has ended.
    pub(super) fn open<T: Send + 'static>(
        server: &Arc<Server>,
        until: Instant,
        mut token: impl FnMut() -> T,
    ) -> Result<Self, Failure> {
        let mut reasons = Vec::new();
        let hosts = server.candidates();
        for (position, &host) in hosts.iter().enumerate() {
            let limit = if position + 1 == hosts.len() {
                until
            } else {
                until.min(Instant::now() + server.patience())
            };
            match Self::open_at(server, host, limit, token())? {
                Ok(connection) => return Ok(connection),
                Err(reason) => reasons.push((host, reason)),
            }
        }
        Err(server.failure(&reasons))
    }

    /// Connects to one host.
    fn open_at(
        server: &Arc<Server>,
        host: usize,
        until: Instant,
        token: impl Send + 'static,
    ) -> Result<Result<Self, Unconnected>, Failure> {
        let (jobs, incoming) = channel();
        // Without a buffer: what is sent has been received, or the attempt was given up.
        let (reply, ready) = sync_channel(0);
        let connecting = Arc::clone(server);
        let serve = move || {
            let _token = token;
            let (client, outcome) = match connecting.connect(host) {
                Ok(client) => (Some(client), Ok(())),
                Err(reason) => (None, Err(reason)),
            };
            if reply.send(outcome).is_err() {
                connecting.has_ended(host);
                return;
            }
            drop(connecting);
            if let Some(client) = client {
                serve(client, &incoming);
            }
        };
        thread::Builder::new()
            .name("ledger".to_owned())
            .stack_size(STACK_SIZE)
            .spawn(serve)
            .map_err(|error| Failure::Unconnected {
                why: format!("no thread for another connection to the ledger: {error}"),
                is_passing: true,
            })?;
        match wait(&ready, until) {
            Ok(outcome) => Ok(outcome.map(|()| Self { jobs })),
            Err(Failure::Late) => {
                server.give_up(host);
                Ok(Err(Unconnected::silent()))
            }
            Err(failure) => Err(failure),
        }
    }

    /// Sends a statement and waits for its rows until `until`. After [`Failure::Late`] the connection must be dropped.
    pub(super) fn query(&self, statement: &Arc<Statement>, until: Instant) -> Outcome {
        let (reply, answer) = sync_channel(1);
        let job = Job {
            statement: Arc::clone(statement),
            reply,
        };
        self.jobs.send(job).map_err(|_| Failure::Lost)?;
        wait(&answer, until)?
    }
}

fn wait<T>(answer: &Receiver<T>, until: Instant) -> Result<T, Failure> {
    let left = until.saturating_duration_since(Instant::now());
    answer.recv_timeout(left).map_err(|error| match error {
        RecvTimeoutError::Timeout => Failure::Late,
        RecvTimeoutError::Disconnected => Failure::Lost,
    })
}

/// Carries statements out until the connection is dropped, or nobody waits for a result any more.
fn serve(mut client: Client, jobs: &Receiver<Job>) {
    for Job { statement, reply } in jobs {
        let outcome = match &statement.parameters {
            Some(parameters) => {
                let typed = parameters.iter();
                let typed = typed.map(|(value, kind)| (&**value as _, kind.clone()));
                client.query_typed(&statement.sql, &typed.collect::<Vec<_>>())
            }
            None => client.batch_execute(&statement.sql).map(|()| Vec::new()),
        };
        let outcome = outcome.map_err(Failure::of_statement);
        if reply.send(outcome).is_err() {
            return;
        }
    }
}
