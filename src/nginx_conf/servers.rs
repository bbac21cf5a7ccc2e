//! The `server` blocks of `http`, and the sockets that they listen on.
//!
//! Source: <https://nginx.org/en/docs/http/ngx_http_core_module.html#listen>,
//! <https://nginx.org/en/docs/http/request_processing.html>.

use super::names::{Fit, fit};
use super::read::{Directive, Place};

/// A `listen` directive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    /// The socket: `*:80`, `192.0.2.1:443`, `[::]:80` or `unix:/path`.
    pub socket: String,
    /// TLS: the parameter `ssl` or `quic`, or the old directive `ssl on`.
    pub tls: bool,
    /// The parameter `proxy_protocol`.
    pub proxy_protocol: bool,
    /// UDP: the parameter `quic`.
    pub quic: bool,
    /// The line of the directive.
    pub place: Place,
}

/// A `server` block of `http`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// The line of the word `server`.
    pub place: Place,
    /// The line of the opening brace.
    pub brace_line: u32,
    /// Whether nothing but white space or a comment follows the opening brace on its line.
    pub brace_ends_line: bool,
    /// The arguments of `server_name`, each with its line.
    pub names: Vec<(String, Place)>,
    /// Where it listens; `*:80` where it has no `listen`.
    pub listens: Vec<Listen>,
    /// Its own `root`.
    pub root: Option<String>,
    /// Its directives, those of included files in place.
    pub directives: Vec<Directive>,
}

/// All `server` blocks of a configuration, in its order.
pub fn servers(directives: &[Directive]) -> Vec<Server> {
    directives
        .iter()
        .filter(|directive| directive.name == "http")
        .flat_map(Directive::children)
        .filter(|directive| directive.name == "server")
        .filter_map(server)
        .collect()
}

fn server(directive: &Directive) -> Option<Server> {
    let block = directive.block.as_ref()?;
    let named = |name: &'static str| block.directives.iter().filter(move |d| d.name == name);
    let ssl_on = named("ssl").any(|ssl| ssl.arguments == ["on"]);
    let mut listens: Vec<Listen> = named("listen").filter_map(|d| listen(d, ssl_on)).collect();
    if named("listen").next().is_none() {
        listens.push(Listen {
            socket: "*:80".to_owned(),
            tls: ssl_on,
            proxy_protocol: false,
            quic: false,
            place: directive.place.clone(),
        });
    }
    let names = named("server_name")
        .flat_map(|d| {
            d.arguments
                .iter()
                .map(|name| (name.clone(), d.place.clone()))
        })
        .collect();
    Some(Server {
        place: directive.place.clone(),
        brace_line: block.line,
        brace_ends_line: block.brace_ends_line,
        names,
        listens,
        root: named("root").find_map(|root| root.arguments.first().cloned()),
        directives: block.directives.clone(),
    })
}

fn listen(directive: &Directive, ssl_on: bool) -> Option<Listen> {
    let (address, parameters) = directive.arguments.split_first()?;
    let has = |name: &str| parameters.iter().any(|parameter| parameter == name);
    Some(Listen {
        socket: socket(address),
        tls: ssl_on || has("ssl") || has("quic"),
        proxy_protocol: has("proxy_protocol"),
        quic: has("quic"),
        place: directive.place.clone(),
    })
}

/// One notation for the ways to write an address: `80`, `*`, `*:80` and `0.0.0.0:80` are the same socket.
fn socket(address: &str) -> String {
    if address.starts_with("unix:") {
        return address.to_owned();
    }
    if address.bytes().all(|byte| byte.is_ascii_digit()) {
        return format!("*:{address}");
    }
    let (host, port) = match address.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port),
        _ => (address, "80"),
    };
    let host = if host == "0.0.0.0" { "*" } else { host };
    format!("{}:{port}", host.to_ascii_lowercase())
}

/// The port of a socket; `None` for a Unix socket.
pub fn port_of(socket: &str) -> Option<u16> {
    match socket.strip_prefix("unix:") {
        Some(_) => None,
        None => socket.rsplit_once(':')?.1.parse().ok(),
    }
}

/// The block that answers for a host name on a socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// The index of the block.
    Block(usize),
    /// A regular expression that cannot be evaluated decides, at this line.
    Unknown(Place),
    /// No block has the name: the default one answers.
    Default,
}

/// Which block nginx chooses for `host` (in lower case) on `socket`.
pub(super) fn answer(servers: &[Server], socket: &str, host: &str) -> Answer {
    let mut best: Option<(Fit, usize)> = None;
    let mut unknown = None;
    for (index, server) in servers.iter().enumerate() {
        if !server.listens.iter().any(|listen| listen.socket == socket) {
            continue;
        }
        for (name, place) in &server.names {
            match fit(name, host) {
                Ok(Some(fit)) if best.is_none_or(|(greatest, _)| fit > greatest) => {
                    best = Some((fit, index));
                }
                Ok(_) => {}
                Err(_) => unknown = unknown.or_else(|| Some(place.clone())),
            }
        }
    }
    match (best, unknown) {
        (Some((Fit::Expression, _)) | None, Some(place)) => Answer::Unknown(place),
        (Some((_, index)), _) => Answer::Block(index),
        (None, None) => Answer::Default,
    }
}
