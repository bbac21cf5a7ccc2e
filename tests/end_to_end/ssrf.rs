//! Uploads by URL as a way into this network: no address of it is reached, whatever it is called.

mod slow_servers;

use std::io::Write;
use std::net::Ipv4Addr;

use support::origin::{Canary, FAILED, Origin, by_url, redirect, whole};
use support::pictures::PNG;
use support::site::{NOTHING, Site};

/// A site that may reach the origin, and every address by its rules at the canary's port too.
fn site(origin: &Origin, canary: &Canary, timeout: &str) -> Site {
    Site::builder()
        .set("fetch", &settings(origin, canary, timeout))
        .start()
}

fn settings(origin: &Origin, canary: &Canary, timeout: &str) -> String {
    let port = canary.port();
    let address = origin.address;
    format!("allow = [\"{address}\"]\nports = [80, 443, {port}]\ntimeout = \"{timeout}\"")
}

/// The ways to write an address of this machine or of its neighbourhood, and some that only look like it.
const HOSTS: [&str; 58] = [
    "127.0.0.1",
    "127.1",
    "127.0.1",
    "127.0.0.2",
    "127.255.255.254",
    "127.0.0.1.",
    "127.000.000.001",
    "2130706433",
    "02130706433",
    "0x7f000001",
    "0X7F000001",
    "0x7f.1",
    "0x7f.0x0.0x0.0x1",
    "0177.0.0.1",
    "0177.1",
    "00000177.0.0.1",
    "017700000001",
    "127.0x1",
    "0",
    "00",
    "0x0",
    "0.0.0.0",
    "0.1",
    "localhost",
    "LOCALHOST.",
    "localhost.localdomain",
    "ip6-localhost",
    "[::1]",
    "[0:0:0:0:0:0:0:1]",
    "[::]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[0:0:0:0:0:ffff:127.0.0.1]",
    "[::ffff:0.0.0.0]",
    "[::ffff:0:127.0.0.1]",
    "[::127.0.0.1]",
    "[64:ff9b::7f00:1]",
    "[2002:7f00:1::]",
    "[fe80::1]",
    "[fe80::1%25lo]",
    "[::1%25lo]",
    "169.254.169.254",
    "10.0.0.1",
    "192.168.0.1",
    "%31%32%37.0.0.1",
    "127%2e0%2e0%2e1",
    "127。0。0。1",
    "①②⑦.⓪.⓪.①",
    "%e2%91%a0%e2%91%a1%e2%91%a6.1",
    "１２７．１",
    "0%787f000001",
    "0x７f.1",
    "ⓁⓄⒸⒶⓁⒽⓄⓈⓉ",
    "ｌｏｃａｌｈｏｓｔ",
    "%6Cocalhost",
    "lo\u{ad}cal\u{200b}host",
    "[::ﬀff:127.0.0.1]",
    "①⑥⑨.②⑤④.①⑥⑨.②⑤④",
];

/// Decodes the percent-encoded characters beyond ASCII, as a server does that puts a name into `Location` as it is.
fn in_raw_utf_8(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let decoded = rest
            .get(..3)
            .filter(|code| code.starts_with('%'))
            .and_then(|code| u8::from_str_radix(&code[1..], 16).ok())
            .filter(|byte| !byte.is_ascii());
        let length = decoded.map_or(first.len_utf8(), |_| 3);
        match decoded {
            Some(byte) => bytes.push(byte),
            None => bytes.extend_from_slice(&rest.as_bytes()[..length]),
        }
        rest = &rest[length..];
    }
    String::from_utf8(bytes).expect("UTF-8")
}

#[test]
fn no_spelling_of_this_machine_reaches_it() {
    let canary = Canary::on_all_addresses();
    let origin = Origin::start(Ipv4Addr::LOCALHOST, |target, stream| {
        let (status, to) = target[1..].split_once('/').unwrap_or_default();
        stream.write_all(&redirect(status.parse().unwrap_or(302), &in_raw_utf_8(to)))
    });
    let site = site(&origin, &canary, "30s");
    let refused = |url: &str| {
        let reply = by_url(&site, "3m", url);
        assert_eq!((reply.status, reply.text()), (400, FAILED), "{url}");
        canary.saw_nobody(url);
    };
    for host in HOSTS {
        for scheme in ["http", "https"] {
            refused(&format!("{scheme}://{host}:{}/x.png", canary.port()));
        }
    }
    // At ports that are open to everybody; what listens there is not to be found out.
    for url in [
        "http://127.0.0.1/x.png",
        "https://localhost/x.png",
        "http://127.0.0.1:22/",
    ] {
        refused(url);
    }
    assert_eq!(origin.connections(), 0);
    // The same as the target of a redirect, in every way to redirect.
    let mut statuses = [301, 302, 303, 307, 308].into_iter().cycle();
    for host in HOSTS {
        for scheme in ["http:", "https:", ""] {
            let status = statuses.next().expect("a status");
            refused(&origin.url(&format!(
                "/{status}/{scheme}//{host}:{}/x.png",
                canary.port()
            )));
        }
    }
    assert!(
        origin.connections() > 100,
        "the redirects were not asked for"
    );
    assert_eq!(site.holdings(), NOTHING);
}

#[test]
fn no_other_scheme_leads_anywhere() {
    let canary = Canary::on_all_addresses();
    let origin = Origin::start(Ipv4Addr::LOCALHOST, |target, stream| {
        stream.write_all(&redirect(302, &target[1..]))
    });
    let site = site(&origin, &canary, "30s");
    let at = format!("127.0.0.1:{}", canary.port());
    let urls = [
        "ftp",
        "ftps",
        "sftp",
        "scp",
        "gopher",
        "dict",
        "ldap",
        "ldaps",
        "tftp",
        "telnet",
        "smb",
        "ws",
        "wss",
        "socks",
        "socks4",
        "socks4a",
        "socks5",
        "socks5h",
        "rtsp",
        "jar",
        "unix",
        "http+unix",
        "httpx",
        "view-source",
        "HTTP:http",
    ]
    .map(|scheme| format!("{scheme}://{at}/x.png"));
    let others = [
        "file:///etc/passwd".to_owned(),
        "file:/etc/passwd".to_owned(),
        "/etc/passwd".to_owned(),
        "data:image/png;base64,iVBORw0KGgo=".to_owned(),
        "javascript:alert(1)".to_owned(),
        "php://filter/resource=/etc/passwd".to_owned(),
        format!("//{at}/x.png"),
        format!("http:{at}/x.png"),
        format!("http:/{at}/x.png"),
        format!("http:\\\\{at}\\x.png"),
        format!("http://{at}%40{at}/x.png"),
        format!("http://{at}\u{ff20}{at}/x.png"),
        format!("http://example.org%2f@{at}/x.png"),
        format!("http://example.org%5c%40{at}/x.png"),
        format!("http://{at}%2f.example.org/x.png"),
        format!("http://{at}\u{2044}.example.org/x.png"),
        format!("http://{at}\u{ff0f}.example.org/x.png"),
        format!("http://{at}%23.example.org/x.png"),
        format!("http://{at}%00.example.org/x.png"),
        format!("http%3a//{at}/x.png"),
        format!("http:%2f%2f{at}/x.png"),
        format!("\u{ff48}ttp://{at}/x.png"),
        format!("ht\ttp://{at}/x.png"),
        format!("http:/\n/{at}/x.png"),
        format!("http:///{at}/x.png"),
        format!("http://{at}@{at}/x.png"),
        format!("http://example.org@{at}/x.png"),
        format!("http://example.org\\@{at}/x.png"),
        format!("http://{at}#@example.org/x.png"),
        format!("http://{at}\r\nHost: example.org/x.png"),
        format!("\u{0}http://{at}/x.png"),
    ];
    for url in urls.iter().chain(&others) {
        let reply = by_url(&site, "3m", url);
        assert_eq!((reply.status, reply.text()), (400, FAILED), "{url:?}");
        canary.saw_nobody(url);
    }
    let direct = origin.connections();
    assert_eq!(direct, 0);
    for url in &urls {
        let reply = by_url(&site, "3m", &origin.url(&format!("/{url}")));
        assert_eq!(reply.text(), FAILED, "a redirect to {url}");
        canary.saw_nobody(url);
    }
    assert_eq!(origin.connections(), urls.len());
    assert_eq!(site.holdings(), NOTHING);
}

#[test]
fn no_proxy_is_taken_from_the_environment() {
    let canary = Canary::on_all_addresses();
    let origin = Origin::start(Ipv4Addr::LOCALHOST, |_, stream| {
        stream.write_all(&whole("image/png", PNG))
    });
    let mut plan = Site::builder().set("fetch", &settings(&origin, &canary, "30s"));
    let proxy = format!("http://127.0.0.1:{}", canary.port());
    for name in [
        "http_proxy",
        "HTTP_PROXY",
        "https_proxy",
        "HTTPS_PROXY",
        "all_proxy",
        "ALL_PROXY",
        "ftp_proxy",
    ] {
        plan = plan.variable(name, proxy.as_str());
    }
    let site = plan
        .variable("no_proxy", "")
        .variable("NO_PROXY", "")
        .start();
    // The reply comes from the origin itself.
    assert_eq!(by_url(&site, "3m", &origin.url("/x.png")).status, 200);
    canary.saw_nobody("a download over http");
    // Nothing is resolved at a proxy either, and nothing refused is asked of it.
    for url in [
        "http://nowhere.invalid/x.png".to_owned(),
        "https://nowhere.invalid/x.png".to_owned(),
        format!("https://{}/x.png", origin.address),
        "http://10.0.0.1/x.png".to_owned(),
    ] {
        assert_eq!(by_url(&site, "3m", &url).text(), FAILED, "{url}");
        canary.saw_nobody(&url);
    }
}
