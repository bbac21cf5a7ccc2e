//! A TCP proxy that cuts connections at a byte that the test chooses.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// Where bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the client to the server.
    ToServer,
    /// From the server to the client.
    ToClient,
}

/// When the next connection is cut.
#[derive(Debug, Clone, Copy)]
struct Cut {
    direction: Direction,
    /// Bytes that still pass before it.
    left: usize,
}

/// A proxy on 127.0.0.1, which runs until the process ends.
#[derive(Debug)]
pub struct TcpProxy {
    port: u16,
    connections: Arc<AtomicUsize>,
    cut: Arc<Mutex<Option<Cut>>>,
}

impl TcpProxy {
    /// A proxy in front of a port of this host.
    pub fn to(server: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("bound");
        let port = listener.local_addr().expect("an address").port();
        let cut = Arc::<Mutex<Option<Cut>>>::default();
        let connections = Arc::<AtomicUsize>::default();
        let (shared, counted) = (Arc::clone(&cut), Arc::clone(&connections));
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                counted.fetch_add(1, Ordering::SeqCst);
                if let Ok(server) = TcpStream::connect(("127.0.0.1", server)) {
                    forward(&client, &server, Direction::ToServer, &shared);
                    forward(&server, &client, Direction::ToClient, &shared);
                }
            }
        });
        Self {
            port,
            connections,
            cut,
        }
    }

    /// The port that it listens on.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The number of connections so far.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// Lets `bytes` more bytes pass in that direction, then cuts the connection that has the next one, once.
    pub fn cut_after(&self, direction: Direction, bytes: usize) {
        let left = bytes;
        *lock(&self.cut) = Some(Cut { direction, left });
    }

    /// Cuts no more; tells whether a cut was still to come.
    pub fn cut_no_more(&self) -> bool {
        lock(&self.cut).take().is_some()
    }
}

/// Copies bytes on a thread of its own until one side ends.
fn forward(from: &TcpStream, to: &TcpStream, direction: Direction, cut: &Arc<Mutex<Option<Cut>>>) {
    let (mut from, mut to) = (clone(from), clone(to));
    let cut = Arc::clone(cut);
    thread::spawn(move || {
        let mut buffer = [0; 8_192];
        loop {
            let read = from.read(&mut buffer).unwrap_or(0);
            let passing = passing(&cut, direction, read);
            if read == 0 || to.write_all(&buffer[..passing]).is_err() || passing < read {
                break;
            }
        }
        for side in [&from, &to] {
            let _ = side.shutdown(Shutdown::Both);
        }
    });
}

/// How many of these bytes pass.
fn passing(cut: &Mutex<Option<Cut>>, direction: Direction, bytes: usize) -> usize {
    let mut cut = lock(cut);
    match &mut *cut {
        Some(next) if next.direction == direction && next.left < bytes => {
            let passing = next.left;
            *cut = None;
            passing
        }
        Some(next) if next.direction == direction => {
            next.left -= bytes;
            bytes
        }
        _ => bytes,
    }
}

fn clone(stream: &TcpStream) -> TcpStream {
    stream.set_nodelay(true).expect("set");
    stream.try_clone().expect("cloned")
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
