//! Who looks, and whether the responder takes connections.

use std::io::ErrorKind;
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::process::{getegid, geteuid, getgroups};

use super::places::place;
use crate::config::Listen;
use crate::doctor::access::{Account, Accounts};
use crate::doctor::facts::{Responder, Unconnected};

/// How long a connection to the responder may take.
const CONNECT: Duration = Duration::from_secs(3);

/// The account that runs this process, with the groups it has now.
pub(super) fn examiner(accounts: &Accounts) -> Account {
    let mut groups: Vec<_> = getgroups()
        .unwrap_or_default()
        .into_iter()
        .map(rustix::process::Gid::as_raw)
        .collect();
    groups.push(getegid().as_raw());
    Account {
        groups,
        ..accounts.of(geteuid().as_raw())
    }
}

pub(super) fn responder(listen: &Listen) -> Responder {
    let (outcome, socket) = match listen {
        Listen::Unix(path) => (UnixStream::connect(path).map(drop), Some(place(path))),
        Listen::Tcp(address) => (TcpStream::connect_timeout(address, CONNECT).map(drop), None),
    };
    let connected = outcome.map_err(|error| match error.kind() {
        ErrorKind::PermissionDenied => Unconnected::Denied(error.to_string()),
        _ => Unconnected::Nobody(error.to_string()),
    });
    Responder { connected, socket }
}
