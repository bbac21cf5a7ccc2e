//! Where a host name's images belong in a configuration: in the blocks that answer for the name, or in a block of their own.

use super::read::{Directive, Place};
use super::servers::{Answer, Listen, Server, answer, port_of};

/// The URLs of the images, as far as a site may have locations of its own there.
const PREFIXES: [&str; 7] = [
    "/p",
    "/view",
    "/image/v2",
    "/image/docs",
    "/image/upload",
    "/image/.error",
    "/.spool",
];

/// What is asked.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// The host name of the images, in lower case.
    pub host: &'a str,
    /// The port of a block of their own.
    pub port: u16,
    /// The file that a block includes to serve images.
    pub snippet: &'a str,
    /// Whether lines are put into the blocks; a panel's blocks include files instead.
    pub insert: bool,
}

/// A block of the site.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// The file and the line of the opening brace.
    pub brace: Place,
    /// Whether it includes the snippet already.
    pub included: bool,
    /// The block's own `root`.
    pub root: Option<String>,
}

/// How the site is reached on this host, for a test upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// Whether the socket speaks TLS.
    pub tls: bool,
    /// The address, `127.0.0.1` for all addresses; IPv6 in brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// Whether the socket expects the PROXY protocol.
    pub proxy_protocol: bool,
}

/// Where the images belong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Placement {
    /// Blocks answer for the name.
    Site {
        /// Those that the images belong into: the ones that do more than redirect to https.
        blocks: Vec<Block>,
        /// Addresses of these blocks, those with TLS first.
        addresses: Vec<Address>,
    },
    /// No block answers for the name.
    Own {
        /// The `listen` arguments of a block of their own; empty where no block listens on the port.
        listens: Vec<String>,
    },
}

/// Why the images cannot be placed: what was found, its line, and what helps.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refusal(String);

/// Finds the place of the images.
///
/// # Errors
/// When the configuration has something in the way, which the text names with its line.
pub fn place(servers: &[Server], wanted: Wanted<'_>) -> Result<Placement, Refusal> {
    let mut chosen: Vec<usize> = Vec::new();
    let mut unknown = None;
    for socket in sockets(servers) {
        match answer(servers, socket, wanted.host) {
            Answer::Block(index) if !chosen.contains(&index) => chosen.push(index),
            Answer::Block(_) | Answer::Default => {}
            Answer::Unknown(place) => unknown = Some(place),
        }
    }
    if chosen.is_empty() {
        return match unknown {
            Some(place) => Err(Refusal(format!(
                "{place}: this server_name is a regular expression that cannot be evaluated here and may match {host}: add {host} \
                 to the server_name of its site, or use --no-nginx",
                host = wanted.host
            ))),
            None => own(servers, wanted.port),
        };
    }
    chosen.sort_unstable();
    let site: Vec<&Server> = chosen.iter().map(|&index| &servers[index]).collect();
    into_site(servers, &site, wanted)
}

/// All sockets, each once.
fn sockets(servers: &[Server]) -> Vec<&str> {
    let mut sockets: Vec<&str> = Vec::new();
    for listen in servers.iter().flat_map(|server| &server.listens) {
        if !sockets.contains(&listen.socket.as_str()) {
            sockets.push(&listen.socket);
        }
    }
    sockets
}

fn into_site(
    servers: &[Server],
    site: &[&Server],
    wanted: Wanted<'_>,
) -> Result<Placement, Refusal> {
    let has_tls = |server: &Server| server.listens.iter().any(|listen| listen.tls);
    let site_has_tls = site.iter().any(|server| has_tls(server));
    let mut redirect = None;
    let mut serving = Vec::new();
    for server in site {
        let found = answers_everything(server).or_else(|| {
            let plain = !has_tls(server);
            plain
                .then(|| to_https(server, site_has_tls, wanted.host))
                .flatten()
        });
        match found {
            Some(found) => redirect = redirect.or(Some(found)),
            None => serving.push(*server),
        }
    }
    if let (true, Some(redirect)) = (serving.is_empty(), redirect) {
        return Err(Refusal(format!(
            "{}: `{}` answers every request of {host} before an image could be served; add the block of {host} that serves pages \
             to this nginx, or give the images a host name of their own with --domain",
            redirect.place,
            redirect.text(),
            host = wanted.host
        )));
    }
    let mut blocks = Vec::new();
    for server in &serving {
        let included = includes(server, wanted.snippet);
        if !included {
            check_locations(server, wanted.snippet)?;
            if wanted.insert && !server.brace_ends_line {
                return Err(Refusal(format!(
                    "{}: something follows the brace of this `server {{`, so no line can be put behind it: put `include {};` into \
                     the block, or begin a new line after the brace, and run this again",
                    brace(server),
                    wanted.snippet
                )));
            }
        }
        blocks.push(Block {
            brace: brace(server),
            included,
            root: server.root.clone(),
        });
    }
    Ok(Placement::Site {
        blocks,
        addresses: addresses(servers, &serving),
    })
}

fn brace(server: &Server) -> Place {
    Place {
        file: server.place.file.clone(),
        line: server.brace_line,
    }
}

fn includes(server: &Server, snippet: &str) -> bool {
    server
        .directives
        .iter()
        .any(|directive| directive.name == "include" && directive.arguments == [snippet])
}

/// A `return` or a redirecting `rewrite` outside any location, which nginx runs before it chooses a location.
fn answers_everything(server: &Server) -> Option<&Directive> {
    server
        .directives
        .iter()
        .find(|directive| match directive.name.as_str() {
            "return" => true,
            "rewrite" => {
                matches_everything(&directive.arguments) && redirects(&directive.arguments)
            }
            _ => false,
        })
}

/// What sends the visitors of a block without TLS to https: an upload there would send its token in clear text first. An `if` counts
/// only where the site has a block with TLS: behind a proxy that speaks TLS, the block without it is the one that serves.
fn to_https<'a>(server: &'a Server, site_has_tls: bool, host: &str) -> Option<&'a Directive> {
    let is_own = |name: &str| {
        name.is_empty() || name == host || server.names.iter().any(|(own, _)| own == name)
    };
    let is_https = |target: &String| {
        // `https://$host$request_uri` is one word: the name ends where a path, a port or a variable begins.
        let rest = target.strip_prefix("https://");
        let name = rest.and_then(|rest| rest.split(['/', ':', '$']).next());
        name.is_some_and(|name| site_has_tls || is_own(name))
    };
    server
        .directives
        .iter()
        .filter(|directive| match directive.name.as_str() {
            "if" => site_has_tls,
            "location" => location(directive).is_some_and(|(modifier, pattern)| {
                pattern == "/" && modifier != "="
                    || modifier.starts_with('~') && matches_all(pattern)
            }),
            _ => false,
        })
        .find_map(|block| {
            block.children().iter().find(|directive| {
                ["return", "rewrite"].contains(&directive.name.as_str())
                    && directive.arguments.iter().any(is_https)
            })
        })
}

fn redirects(arguments: &[String]) -> bool {
    let target = arguments.get(1).map_or("", String::as_str);
    let flag = arguments.get(2).map_or("", String::as_str);
    ["redirect", "permanent"].contains(&flag)
        || ["http://", "https://", "$scheme"]
            .iter()
            .any(|start| target.starts_with(start))
}

fn matches_everything(arguments: &[String]) -> bool {
    arguments
        .first()
        .is_some_and(|pattern| matches_all(pattern))
}

fn matches_all(expression: &str) -> bool {
    [
        "^", "^/", ".*", "(.*)", "^(.*)$", "^(.*)", "^/(.*)", "^/(.*)$", "^.*$", "^.*", "/",
    ]
    .contains(&expression)
}

/// Modifier and pattern of a `location`.
fn location(directive: &Directive) -> Option<(&str, &str)> {
    match directive.arguments.as_slice() {
        [pattern] => {
            // `location ~^/p/` and `location =/p` are legal without a space.
            let symbols = ["^~", "~*", "~", "="];
            let modifier = symbols
                .into_iter()
                .find(|modifier| pattern.starts_with(modifier));
            let modifier = modifier.unwrap_or_default();
            Some((modifier, &pattern[modifier.len()..]))
        }
        [modifier, pattern] => Some((modifier, pattern)),
        _ => None,
    }
}

/// A location of the site at the URLs of the images would be a duplicate to nginx, or lose its requests to ours.
fn check_locations(server: &Server, snippet: &str) -> Result<(), Refusal> {
    let taken = server.directives.iter().find(|directive| {
        directive.name == "location"
            && directive.place.file.as_ref() != snippet
            && location(directive).is_some_and(|(modifier, pattern)| {
                let path = if modifier.starts_with('~') {
                    pattern.trim_start_matches('^')
                } else {
                    pattern
                };
                is_ours(path)
            })
    });
    match taken {
        Some(taken) => Err(Refusal(format!(
            "{}: the site has a `{}` of its own, where the images would be served: give the images a host name of their own with \
             --domain, or move that location",
            taken.place,
            taken.text()
        ))),
        None => Ok(()),
    }
}

/// Whether a path is one of ours or below one.
fn is_ours(path: &str) -> bool {
    PREFIXES.iter().any(|prefix| {
        path.strip_prefix(prefix).is_some_and(|rest| {
            !rest.starts_with(|next: char| next.is_ascii_alphanumeric() || "-_.~%".contains(next))
        })
    })
}

/// A block of its own listens where others of the port do: on a socket for all addresses it would not see the requests that come to an
/// address which another block names.
fn own(servers: &[Server], port: u16) -> Result<Placement, Refusal> {
    let mut listens: Vec<String> = Vec::new();
    let mut tls_only = None;
    for socket in sockets(servers) {
        if port_of(socket) != Some(port) {
            continue;
        }
        let shared = shared(servers, socket);
        if shared.iter().all(|listen| listen.quic) {
            continue;
        }
        if let Some(listen) = shared.iter().find(|listen| listen.tls) {
            tls_only = Some(listen.place.clone());
            continue;
        }
        let mut text = socket.strip_prefix("*:").unwrap_or(socket).to_owned();
        if shared.iter().any(|listen| listen.proxy_protocol) {
            text.push_str(" proxy_protocol");
        }
        listens.push(text);
    }
    match tls_only {
        Some(place) if listens.is_empty() => Err(Refusal(format!(
            "{place}: port {port} is used with TLS: choose another port with --port, or add the host name to a site"
        ))),
        _ => Ok(Placement::Own { listens }),
    }
}

/// The `listen` directives of a socket. `ssl` and `proxy_protocol` of one of them hold for all.
fn shared<'a>(servers: &'a [Server], socket: &str) -> Vec<&'a Listen> {
    servers
        .iter()
        .flat_map(|server| &server.listens)
        .filter(|listen| listen.socket == socket)
        .collect()
}

fn addresses(servers: &[Server], serving: &[&Server]) -> Vec<Address> {
    let mut addresses: Vec<Address> = Vec::new();
    for listen in serving.iter().flat_map(|server| &server.listens) {
        let shared = shared(servers, &listen.socket);
        let Some(port) = port_of(&listen.socket).filter(|_| !listen.quic) else {
            continue;
        };
        let host = match listen.socket.rsplit_once(':').map_or("", |(host, _)| host) {
            "*" => "127.0.0.1",
            "[::]" => "[::1]",
            host => host,
        };
        let address = Address {
            tls: shared.iter().any(|listen| listen.tls && !listen.quic),
            host: host.to_owned(),
            port,
            proxy_protocol: shared.iter().any(|listen| listen.proxy_protocol),
        };
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    addresses.sort_by_key(|address| !address.tls);
    addresses
}
