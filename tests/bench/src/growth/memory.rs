//! Memory of the responder: with a thousand idle connections, and with many large uploads at once.

use std::io;

use crate::fastcgi::Peer;
use crate::load;
use crate::picture::Picture;
use crate::process::{forget_peak, peak_resident, resident};
use crate::targets::own::Site;
use crate::targets::{CONTENT_TYPE, Target, Workshop};

/// Connections that did an upload and stay open.
pub const IDLE: usize = 1_000;

/// Connections that upload.
pub const ACTIVE: usize = 64;

/// `max_connections` for both, nginx's kept connections included.
const MAX_CONNECTIONS: usize = 1_100;

const SMALL: usize = 20 * 1024;
const LARGE: usize = 10 << 20;

/// Resident bytes of the responder.
#[derive(Debug, Default, Clone, Copy)]
pub struct Memory {
    pub at_start: u64,
    /// With idle connections only.
    pub idle: u64,
    /// Peak with uploads of 20 KiB over the active connections.
    pub active: u64,
    /// Peak with uploads of 10 MiB.
    pub large: u64,
}

/// Measures a site of its own, named `key`.
pub fn measure(workshop: &Workshop<'_>, key: &'static str, seconds: f64) -> io::Result<Memory> {
    let site = workshop.site(key, "full", MAX_CONNECTIONS)?;
    let (responder, _) = site.start_responder()?;
    let pid = responder.pid();
    let at_start = resident(pid)?;
    let target = site.behind_nginx(responder)?;
    let small = Picture::of_size(SMALL);
    let peers = idle_connections(&site, &target, &small)?;
    let idle = resident(pid)?;
    target.empty()?;
    forget_peak(pid)?;
    load::upload(&target, &small, ACTIVE, seconds)?;
    let active = peak_resident(pid)?;
    forget_peak(pid)?;
    load::upload(&target, &Picture::of_size(LARGE), ACTIVE, seconds)?;
    let large = peak_resident(pid)?;
    drop(peers);
    Ok(Memory {
        at_start,
        idle,
        active,
        large,
    })
}

/// Connections straight to the responder's socket, which is harder on it than idle browsers that nginx keeps to itself. Each has
/// been used once, so that its thread has touched whatever an upload touches.
fn idle_connections(site: &Site, target: &Target, picture: &Picture) -> io::Result<Vec<Peer>> {
    let mut picture = picture.clone();
    let form = Target::form();
    let mut peers = Vec::new();
    for serial in 0..IDLE as u64 {
        picture.number(serial);
        let mut body = form.before.clone();
        body.extend_from_slice(picture.bytes());
        body.extend_from_slice(&form.after);
        let mut peer = Peer::connect(&site.socket)?;
        let length = body.len().to_string();
        let params = [
            ("REQUEST_METHOD", "POST"),
            ("DOCUMENT_URI", "/image/v2/"),
            ("REMOTE_ADDR", "127.0.0.1"),
            ("CONTENT_TYPE", CONTENT_TYPE),
            ("CONTENT_LENGTH", &length),
        ];
        let reply = peer.exchange(&params, &body)?;
        let text = String::from_utf8_lossy(&reply);
        let stored = text
            .split_once("\r\n\r\n")
            .and_then(|(_, json)| target.stored(200, json.as_bytes(), serial));
        if stored.is_none() {
            return Err(io::Error::other(format!("an unexpected reply: {text}")));
        }
        peers.push(peer);
    }
    Ok(peers)
}
