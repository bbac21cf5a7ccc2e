//! Host names that lead a download astray: the answers of a hostile name server, and this machine's own public address.
//!
//! The server that may be reached and the canary that may not have the same port, which the configuration opens; only their
//! addresses differ. So what keeps the canary alone is the judgement of addresses.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use support::builder::Launch;
use support::dns::{Answer, NameServer};
use support::machine::{can_unshare, have, read, until};
use support::origin::{Canary, FAILED, Origin, by_url, redirect, whole};
use support::pictures::PNG;
use support::site::{NOTHING, Site};
use tempfile::TempDir;

/// Where the server listens that the configuration allows.
const ALLOWED: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// A site whose names come from a server of the test's, a server that it may reach and a canary that it may not.
struct Network {
    names: NameServer,
    origin: Origin,
    canary: Canary,
    site: Site,
    _files: TempDir,
}

impl Network {
    /// `None` where it cannot be had.
    fn start(answer: impl Fn(&str, usize) -> Option<Answer> + Send + 'static) -> Option<Self> {
        let names = NameServer::start(answer)?;
        let (origin, canary) = until("the same port on two addresses", || {
            let origin = Origin::start(ALLOWED, |target, stream| {
                stream.write_all(&match target.strip_prefix("/to/") {
                    Some(to) => redirect(302, &format!("http://{to}/x.png")),
                    None => whole("image/png", PNG),
                })
            });
            let canary = Canary::at(Ipv4Addr::LOCALHOST, origin.address.port()).ok()?;
            Some((origin, canary))
        });
        let files = tempfile::tempdir().expect("a temporary directory");
        names.write(files.path());
        let port = canary.port();
        let site = Site::builder()
            .set(
                "fetch",
                &format!(
                    "allow = [\"{}\"]\nports = [80, 443, {port}]\ntimeout = \"60s\"",
                    origin.address
                ),
            )
            .variable("NAMES", files.path().display().to_string())
            .launch(NameServer::launch())
            .start();
        Some(Self {
            names,
            origin,
            canary,
            site,
            _files: files,
        })
    }

    fn url(&self, host: &str) -> String {
        format!("http://{host}:{}/x.png", self.canary.port())
    }

    /// Uploads from this host.
    fn fetch(&self, host: &str) -> u16 {
        let reply = by_url(&self.site, "3m", &self.url(host));
        if reply.status != 200 {
            assert_eq!((reply.status, reply.text()), (400, FAILED), "{host}");
        }
        self.canary.saw_nobody(host);
        reply.status
    }
}

#[test]
fn one_denied_answer_among_others_denies_the_name() {
    let many: Vec<IpAddr> = (0..19)
        .map(|_| IpAddr::V4(ALLOWED))
        .chain([IpAddr::V4(Ipv4Addr::LOCALHOST)])
        .collect();
    let Some(network) = Network::start(move |name, _| {
        Some(match name {
            "allowed.test" | "redirects.test" => Answer::of(&["127.0.0.2"]),
            "alias-of-allowed.test" => Answer::Alias("x.test", vec![IpAddr::V4(ALLOWED)]),
            "loopback.test" => Answer::of(&["127.0.0.1"]),
            "mixed.test" => Answer::of(&["127.0.0.2", "127.0.0.1"]),
            "mixed-the-other-way.test" => Answer::of(&["127.0.0.1", "127.0.0.2"]),
            "mixed-with-ipv6.test" => Answer::of(&["127.0.0.2", "::1"]),
            "mixed-with-mapped.test" => Answer::of(&["127.0.0.2", "::ffff:127.0.0.1"]),
            "mixed-with-unique-local.test" => Answer::of(&["127.0.0.2", "fd00::1"]),
            "mixed-with-nat64.test" => Answer::of(&["127.0.0.2", "64:ff9b::7f00:1"]),
            "mixed-with-metadata.test" => Answer::of(&["127.0.0.2", "169.254.169.254"]),
            "mapped.test" => Answer::of(&["::ffff:127.0.0.1"]),
            "unspecified.test" => Answer::of(&["0.0.0.0"]),
            "many.test" => Answer::Addresses(many.clone()),
            "alias.test" => Answer::Alias("localhost", vec![IpAddr::V4(Ipv4Addr::LOCALHOST)]),
            _ => return None,
        })
    }) else {
        return;
    };
    // These two can be reached, so the others are refused for what they answer.
    assert_eq!(network.fetch("allowed.test"), 200);
    assert_eq!(network.fetch("alias-of-allowed.test"), 200);
    assert_eq!(network.origin.connections(), 2);
    let before = network.site.holdings();
    let denied = [
        "loopback.test",
        "mixed.test",
        "mixed-the-other-way.test",
        "mixed-with-ipv6.test",
        "mixed-with-mapped.test",
        "mixed-with-unique-local.test",
        "mixed-with-nat64.test",
        "mixed-with-metadata.test",
        "mapped.test",
        "unspecified.test",
        "many.test",
        "alias.test",
        "in-hosts.test",
        "unknown.test",
    ];
    for host in denied {
        assert_eq!(network.fetch(host), 400, "{host}");
    }
    assert_eq!(network.origin.connections(), 2, "a mixed name was followed");
    for host in denied {
        let url = network.url("allowed.test");
        let target = url.replace("/x.png", &format!("/to/{host}:{}", network.canary.port()));
        assert_eq!(
            by_url(&network.site, "3m", &target).text(),
            FAILED,
            "{target}"
        );
        network.canary.saw_nobody(&target);
    }
    assert_eq!(network.site.holdings(), before);
}

#[test]
fn a_name_that_changes_its_address_gains_nothing() {
    // What a name server with a lifetime of 0 does between a check and its use.
    let Some(network) = Network::start(|name, before| match name {
        "rebinding.test" | "rebinding-hop.test" if before > 0 => Some(Answer::of(&["127.0.0.1"])),
        "rebinding.test" | "rebinding-hop.test" => Some(Answer::of(&["127.0.0.2"])),
        _ => None,
    }) else {
        return;
    };
    assert_eq!(network.fetch("rebinding.test"), 200);
    assert_eq!(
        network.names.asked("rebinding.test"),
        1,
        "it was asked for again"
    );
    assert_eq!(network.fetch("rebinding.test"), 400);
    assert_eq!(network.names.asked("rebinding.test"), 2);
    // Between two hops of one download.
    let again = network.url("rebinding-hop.test").replace(
        "/x.png",
        &format!("/to/rebinding-hop.test:{}", network.canary.port()),
    );
    let reply = by_url(&network.site, "3m", &again);
    assert_eq!((reply.status, reply.text()), (400, FAILED));
    network.canary.saw_nobody(&again);
    assert_eq!(network.names.asked("rebinding-hop.test"), 2);
    assert_eq!(network.origin.connections(), 2);
    assert_eq!(network.site.holdings().files.len(), 1);
}

#[test]
fn a_name_server_that_is_silent_is_given_up() {
    let Some(network) = Network::start(|name, _| match name {
        "allowed.test" => Some(Answer::of(&["127.0.0.2"])),
        _ => Some(Answer::Silence),
    }) else {
        return;
    };
    let began = Instant::now();
    // Twice as many as one client may run at once.
    std::thread::scope(|scope| {
        for number in 0..4 {
            let network = &network;
            scope.spawn(move || assert_eq!(network.fetch(&format!("silent-{number}.test")), 400));
        }
    });
    // Three seconds for each of the two rounds; the system's resolver would take thirty for each.
    let took = began.elapsed();
    assert!(took < Duration::from_secs(30), "{took:?}");
    assert_eq!(network.fetch("allowed.test"), 200, "after the silence");
    assert_eq!(network.site.holdings().files.len(), 1);
}

/// A network of its own, in which this machine has a public address and a web server that notes each connection. It ends with
/// the responder, whose process is its parent.
const OWN_NETWORK: &str = r#"
ip link set lo up
ip address add "$PUBLIC/32" dev lo
python3 -c '
import os, socket, sys
parent = os.getppid()
server = socket.create_server(("0.0.0.0", 80))
server.settimeout(0.2)
open(sys.argv[1], "w").close()
while os.getppid() == parent:
    try:
        peer, address = server.accept()
    except TimeoutError:
        continue
    with open(sys.argv[1], "a") as seen:
        seen.write(peer.getsockname()[0] + "\n")
    peer.close()
' "$SEEN" </dev/null >/dev/null 2>&1 &
while [ ! -e "$SEEN" ]; do kill -0 $!; sleep 0.01; done"#;

#[test]
fn a_public_address_of_this_machine_is_not_public() {
    const PUBLIC: &str = "93.184.216.34";
    if !have(&["ip", "python3"]) || !can_unshare(&["--net", "--mount"]) {
        return;
    }
    for (allow, reached) in [("", false), ("\"93.184.216.34:80\"", true)] {
        let files = tempfile::tempdir().expect("a temporary directory");
        let seen = files.path().join("seen");
        let site = Site::builder()
            .set("fetch", &format!("allow = [{allow}]\ntimeout = \"30s\""))
            .variable("PUBLIC", PUBLIC)
            .variable("SEEN", seen.display().to_string())
            .launch(Launch::Unshared(&["--net", "--mount"], OWN_NETWORK))
            .start();
        for host in [PUBLIC, "1572395042", "0x5db8d822", "[::ffff:93.184.216.34]"] {
            let reply = by_url(&site, "3m", &format!("http://{host}/x.png"));
            assert_eq!((reply.status, reply.text()), (400, FAILED), "{host}");
        }
        assert_eq!(site.holdings(), NOTHING);
        let seen_by_server = read(&seen);
        assert_eq!(seen_by_server.is_empty(), !reached, "{seen_by_server}");
    }
}
