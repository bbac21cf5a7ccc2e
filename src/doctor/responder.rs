//! Whether the responder accepts connections.

use std::io;
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};

use super::check::Check;
use super::installation::Installation;
use crate::config::Listen;

/// How long connecting over TCP may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

pub(super) fn check(installation: &Installation) -> Check {
    let name = "responder";
    let listen = &installation.config.server.listen;
    let connected = match listen {
        Listen::Unix(path) => connect_at_once(path),
        Listen::Tcp(address) => TcpStream::connect_timeout(address, CONNECT_TIMEOUT).map(drop),
    };
    match connected {
        Ok(()) => Check::ok(name, format!("listens on {listen}")),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            Check::skip(name, format!("{listen}: {error}{}", installation.as_root()))
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Check::fail(
            name,
            format!("{listen} has a full queue of connections that are not accepted"),
            "the responder hangs or has too much to do: read its log, then restart it",
        ),
        Err(error) => Check::fail(
            name,
            format!("nothing listens on {listen}: {error}"),
            "start it: `systemctl start corenexis-cdn`, or `corenexis-cdn serve`; its log says why it ended",
        ),
    }
}

/// Connects without waiting: a blocking connect(2) would wait for as long as the queue of the socket is full.
fn connect_at_once(path: &Path) -> io::Result<()> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    Ok(connect(&socket, &SocketAddrUnix::new(path)?)?)
}
