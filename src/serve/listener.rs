//! Listening sockets: Unix or TCP, opened here or inherited from the parent process.

use std::fs;
use std::io::{self, IoSliceMut, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use listenfd::ListenFd;
use rustix::net::AddressFamily;
use rustix::net::sockopt::{socket_acceptconn, socket_domain};

use crate::config::Listen;

/// A listening socket.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: Socket,
    /// The socket file that this process created, removed on drop.
    made: Option<SocketFile>,
}

#[derive(Debug)]
enum Socket {
    Unix(UnixListener),
    Tcp(TcpListener),
}

#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl Listener {
    /// Opens the socket that the configuration names. A socket file without a listener is replaced; one with a listener is an error.
    pub(crate) fn bind(listen: &Listen) -> io::Result<Self> {
        match listen {
            Listen::Tcp(address) => Ok(Self {
                socket: Socket::Tcp(TcpListener::bind(address)?),
                made: None,
            }),
            Listen::Unix(path) => {
                remove_abandoned(path)?;
                let socket = UnixListener::bind(path)?;
                fs::set_permissions(path, fs::Permissions::from_mode(0o660))?;
                let metadata = fs::symlink_metadata(path)?;
                let made = SocketFile {
                    path: path.clone(),
                    device: metadata.dev(),
                    inode: metadata.ino(),
                };
                Ok(Self {
                    socket: Socket::Unix(socket),
                    made: Some(made),
                })
            }
        }
    }

    /// The socket that systemd's socket activation passes (`LISTEN_FDS`, `sd_listen_fds(3)`); `None` without one.
    pub(crate) fn from_systemd() -> io::Result<Option<Self>> {
        let mut passed = ListenFd::from_env();
        if passed.len() == 0 {
            return Ok(None);
        }
        if let Ok(Some(socket)) = passed.take_unix_listener(0) {
            return Ok(Some(Self {
                socket: Socket::Unix(socket),
                made: None,
            }));
        }
        let socket = passed.take_tcp_listener(0)?;
        Ok(socket.map(|socket| Self {
            socket: Socket::Tcp(socket),
            made: None,
        }))
    }

    /// Descriptor 0, where spawn-fcgi and the like put the listening socket (FastCGI Specification 1.0, section 2.2); `None` if it is no
    /// listening socket.
    pub(crate) fn from_standard_input() -> io::Result<Option<Self>> {
        let descriptor = rustix::stdio::stdin();
        if !matches!(socket_acceptconn(descriptor), Ok(true)) {
            return Ok(None);
        }
        let owned: OwnedFd = descriptor.try_clone_to_owned()?;
        let socket = match socket_domain(descriptor)? {
            AddressFamily::UNIX => Socket::Unix(owned.into()),
            _ => Socket::Tcp(owned.into()),
        };
        Ok(Some(Self { socket, made: None }))
    }

    /// The socket's address, for messages.
    pub(crate) fn describe(&self) -> String {
        match &self.socket {
            Socket::Unix(socket) => match socket
                .local_addr()
                .ok()
                .and_then(|a| a.as_pathname().map(Path::to_owned))
            {
                Some(path) => format!("unix:{}", path.display()),
                None => "a Unix socket".to_owned(),
            },
            Socket::Tcp(socket) => match socket.local_addr() {
                Ok(address) => format!("tcp:{address}"),
                Err(_) => "a TCP socket".to_owned(),
            },
        }
    }

    /// Makes [`Self::accept`] return `WouldBlock` instead of waiting.
    pub(super) fn set_nonblocking(&self) -> io::Result<()> {
        match &self.socket {
            Socket::Unix(socket) => socket.set_nonblocking(true),
            Socket::Tcp(socket) => socket.set_nonblocking(true),
        }
    }

    /// Accepts the next waiting connection.
    pub(super) fn accept(&self) -> io::Result<Stream> {
        match &self.socket {
            Socket::Unix(socket) => {
                let (stream, _) = socket.accept()?;
                stream.set_nonblocking(false)?;
                Ok(Stream::Unix(Arc::new(stream)))
            }
            Socket::Tcp(socket) => {
                let (stream, _) = socket.accept()?;
                stream.set_nonblocking(false)?;
                stream.set_nodelay(true)?;
                Ok(Stream::Tcp(Arc::new(stream)))
            }
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.socket {
            Socket::Unix(socket) => socket.as_fd(),
            Socket::Tcp(socket) => socket.as_fd(),
        }
    }
}

impl Drop for Listener {
    /// Removes the socket file, unless a successor has put its own there.
    fn drop(&mut self) {
        if let Some(SocketFile {
            path,
            device,
            inode,
        }) = &self.made
            && fs::symlink_metadata(path)
                .is_ok_and(|found| found.dev() == *device && found.ino() == *inode)
        {
            let _ = fs::remove_file(path);
        }
    }
}

fn remove_abandoned(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
        Ok(metadata) if !metadata.file_type().is_socket() => {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                "a file with this name exists and is not a socket",
            ));
        }
        Ok(_) => {}
    }
    match UnixStream::connect(path) {
        Ok(_) => Err(io::Error::new(
            io::ErrorKind::AddrInUse,
            "another responder listens there",
        )),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(error) => Err(error),
    }
}

/// An accepted connection. Clones are the same connection.
#[derive(Debug, Clone)]
pub(crate) enum Stream {
    /// From a Unix socket.
    Unix(Arc<UnixStream>),
    /// From a TCP port.
    Tcp(Arc<TcpStream>),
}

impl Stream {
    pub(super) fn set_timeouts(&self, read: Duration, write: Duration) -> io::Result<()> {
        match self {
            Self::Unix(stream) => stream
                .set_read_timeout(Some(read))
                .and_then(|()| stream.set_write_timeout(Some(write))),
            Self::Tcp(stream) => stream
                .set_read_timeout(Some(read))
                .and_then(|()| stream.set_write_timeout(Some(write))),
        }
    }

    pub(super) fn shut_down_reading(&self) {
        // Fails only if the peer has closed the connection already.
        let _ = match self {
            Self::Unix(stream) => stream.shutdown(Shutdown::Read),
            Self::Tcp(stream) => stream.shutdown(Shutdown::Read),
        };
    }
}

impl Read for Stream {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Unix(stream) => (&**stream).read(out),
            Self::Tcp(stream) => (&**stream).read(out),
        }
    }

    fn read_vectored(&mut self, slices: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        match self {
            Self::Unix(stream) => (&**stream).read_vectored(slices),
            Self::Tcp(stream) => (&**stream).read_vectored(slices),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Unix(stream) => (&**stream).write(bytes),
            Self::Tcp(stream) => (&**stream).write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
