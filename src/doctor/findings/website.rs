//! nginx, and the way from it to the responder.

use super::super::Finding;
use super::super::access::Want;
use super::super::facts::{Facts, Nginx, Unconnected};
use super::super::nginx::Build;
use super::super::web::Server;
use super::visitors::host_of;
use super::{RENDER, bytes};

/// The first version that knows every directive of the rendered files (`keepalive_timeout` in an upstream).
const OLDEST: (u32, u32, u32) = (1, 15, 3);

/// The first version without CVE-2021-23017, after which no older branch was mended upstream.
const NOT_VERY_OLD: (u32, u32, u32) = (1, 20, 1);

/// The first versions without CVE-2026-56434 (SSI, which the viewer uses) and CVE-2026-42533 (map with regular expressions).
const MENDED: [(u32, u32, u32); 2] = [(1, 30, 4), (1, 31, 3)];

/// What whoever is not root can do to have it looked at.
fn as_root(facts: &Facts) -> &'static str {
    match facts.examiner.uid {
        0 => "",
        _ => "; run doctor as root to have it looked at",
    }
}

pub(super) fn findings(facts: &Facts) -> Vec<Finding> {
    let nginx = &facts.nginx;
    let mut findings = vec![match &nginx.build {
        Ok(build) => version(build),
        Err(why) => Finding::fail(
            "nginx",
            format!("there is no nginx: {why}"),
            "install nginx with the host's package manager, or put its directory into PATH",
        ),
    }];
    findings.push(running(nginx));
    findings.push(test(facts));
    findings.extend(site(facts));
    // That there is no docroot is said with the docroot.
    if facts.places.docroot.way.is_ok() {
        findings.push(worker(facts));
    }
    findings.push(responder(facts));
    findings.extend(socket(facts));
    findings.push(body_temp(facts));
    findings
}

/// Judges a version of nginx.
pub fn version(build: &Build) -> Finding {
    let name = &build.name;
    let check = "nginx";
    if build.version < OLDEST {
        Finding::fail(
            check,
            format!("{name} is too old for the rendered files, which need 1.15.3"),
            "install a newer nginx",
        )
    } else if build.version < NOT_VERY_OLD {
        Finding::warn(
            check,
            format!(
                "{name} is very old: CVE-2021-23017 and what came after were mended in newer branches only"
            ),
            "upgrade nginx, unless your distribution still mends this version",
        )
    } else if build.version < MENDED[0] || ((1, 31, 0)..MENDED[1]).contains(&build.version) {
        Finding::ok(check, name).noting(
            "nginx.org mended CVE-2026-56434 (SSI) and CVE-2026-42533 (map) in 1.30.4 and 1.31.3; distributions do so without changing \
             the number, so keep the package up to date",
        )
    } else {
        Finding::ok(check, name)
    }
}

fn running(nginx: &Nginx) -> Finding {
    let check = "nginx running";
    match &nginx.master {
        Ok(Some(pid)) => Finding::ok(check, format!("process {pid}")),
        Ok(None) => Finding::fail(
            check,
            "no nginx runs with this configuration",
            "start it: `systemctl start nginx`, `service nginx start`, or `nginx`",
        ),
        Err(why) => Finding::skip(check, why),
    }
}

fn test(facts: &Facts) -> Finding {
    let check = "nginx configuration";
    match &facts.nginx.test {
        Err(why) => Finding::skip(check, format!("{why}{}", as_root(facts))),
        Ok(test) if !test.passed => Finding::fail(
            check,
            format!(
                "nginx refuses its configuration: {}",
                test.complaints.join("; ")
            ),
            "mend it until `nginx -t` passes; the nginx that runs goes on with what it read before",
        ),
        Ok(test) => match test
            .complaints
            .iter()
            .find(|line| line.contains("conflicting"))
        {
            Some(line) => Finding::warn(
                check,
                line,
                "two servers have one name, and nginx ignores one of them: take the name out of the wrong one",
            ),
            None => Finding::ok(check, "nginx takes it"),
        },
    }
}

/// What the configuration says of this site, against what it should say.
fn site(facts: &Facts) -> Vec<Finding> {
    let check = "locations";
    let web = match &facts.nginx.web {
        Ok(web) => web,
        Err(why) => return vec![Finding::skip(check, format!("{why}{}", as_root(facts)))],
    };
    let (wanted_web, wanted) = &facts.nginx.wanted;
    let host = host_of(facts.config.site.public_url());
    if web.servers.is_empty() {
        return vec![Finding::fail(
            check,
            "no server of nginx has the locations of this site",
            format!("include corenexis-cdn.server.conf in the server block of {host}; {RENDER}"),
        )];
    }
    let named = web.servers.iter().find(|server| server.is_named(host));
    let default = || web.servers.iter().find(|server| server.is_default());
    let Some(server) = named.or_else(default) else {
        return vec![Finding::fail(
            check,
            format!("nginx has them, but in no server that is named {host}"),
            format!(
                "include corenexis-cdn.server.conf in the server block of {host}, or set public_url to the name of the other"
            ),
        )];
    };
    let mut findings = vec![locations(server, wanted, host)];
    findings.push(body_size(server, wanted, facts.config.largest_file()));
    if server.docroot != wanted.docroot {
        findings.push(Finding::fail(
            "docroot in nginx",
            format!(
                "nginx serves images from {}, and they are stored in {}",
                server.docroot.as_deref().unwrap_or("nowhere"),
                facts.config.storage.docroot.display()
            ),
            RENDER,
        ));
    }
    if web.responders != wanted_web.responders {
        let found = match web.responders.join(", ") {
            none if none.is_empty() => "has no upstream corenexis_responder".to_owned(),
            found => format!("looks for the responder at {found}"),
        };
        findings.push(Finding::fail(
            "responder in nginx",
            format!(
                "nginx {found}, and [server] listen is {}",
                facts.config.server.listen
            ),
            format!("include corenexis-cdn.http.conf once inside http {{ }}; {RENDER}"),
        ));
    }
    for file in &facts.nginx.outdated {
        findings.push(Finding::warn(
            "nginx files",
            format!("{} is not what the configuration says now", file.display()),
            format!("if you did not change it yourself: {RENDER}"),
        ));
    }
    findings
}

fn locations(server: &Server, wanted: &Server, host: &str) -> Finding {
    let check = "locations";
    let missing = server.missing(wanted);
    if !missing.is_empty() {
        return Finding::fail(
            check,
            format!("the server of {host} lacks {}", missing.join(", ")),
            RENDER,
        );
    }
    Finding::ok(check, format!("all of them in the server of {host}"))
}

fn body_size(server: &Server, wanted: &Server, largest: u64) -> Finding {
    let check = "body size";
    let wanted = wanted.max_body.unwrap_or_default();
    match server.max_body {
        None => Finding::fail(check, "the location ^~ /image/v2/ is missing", RENDER),
        Some(0) => Finding::warn(
            check,
            "client_max_body_size is 0: nginx takes in whatever is sent before the responder can refuse it",
            RENDER,
        ),
        Some(found) if found < wanted => Finding::fail(
            check,
            format!(
                "nginx refuses uploads over {} (client_max_body_size), and the largest plan takes images of {}",
                bytes(found),
                bytes(largest)
            ),
            format!("it has to be {wanted} bytes, 64 KiB more than the image: {RENDER}"),
        ),
        Some(found) if found > wanted => Finding::warn(
            check,
            format!(
                "nginx takes in {} before the responder can refuse it, and no plan takes more than {}",
                bytes(found),
                bytes(largest)
            ),
            RENDER,
        ),
        Some(_) => Finding::ok(check, format!("images of {} fit", bytes(largest))),
    }
}

fn worker(facts: &Facts) -> Finding {
    let check = "nginx workers";
    let account = match &facts.worker.account {
        Ok(account) => account,
        Err(why) => return Finding::skip(check, why),
    };
    let name = &account.name;
    let places = &facts.places;
    let advice = format!(
        "let {name} pass: `chmod o+x` on each directory above, 0755 on those below the docroot, 0644 on pages"
    );
    if let Some(link) = [&places.images]
        .into_iter()
        .chain(&places.classes)
        .find(|place| place.is_link)
    {
        return Finding::fail(
            check,
            format!(
                "{} is a symbolic link, and nginx follows none below the docroot",
                link.path.display()
            ),
            "mount the other disk there, or make the docroot itself the link",
        );
    }
    let directories = [&places.docroot, &places.images]
        .into_iter()
        .chain(&places.classes)
        .map(|place| (place, Want::Enter));
    let pages = places.pages.iter().map(|place| (place, Want::Read));
    for (place, want) in directories.chain(pages) {
        match &place.way {
            Ok(way) => {
                if let Some(obstacle) = way.obstacle(account, want) {
                    return Finding::fail(check, format!("{name} {obstacle}"), advice);
                }
            }
            Err(why) if want == Want::Read => {
                return Finding::warn(
                    check,
                    format!("a page is missing: {why}"),
                    "run `corenexis-cdn render DIR` and copy DIR/www/ into the docroot",
                );
            }
            Err(why) => return Finding::skip(check, why),
        }
    }
    Finding::ok(check, format!("{name} can read images and pages"))
}

fn responder(facts: &Facts) -> Finding {
    let check = "responder";
    let listen = &facts.config.server.listen;
    match &facts.responder.connected {
        Ok(()) => Finding::ok(check, format!("it listens on {listen}")),
        Err(Unconnected::Denied(why)) => {
            Finding::skip(check, format!("{listen}: {why}{}", as_root(facts)))
        }
        Err(Unconnected::Nobody(why)) => Finding::fail(
            check,
            format!("nobody listens on {listen}: {why}"),
            "start it: `systemctl start corenexis-cdn`, or `corenexis-cdn serve`; its log says why it ended",
        ),
    }
}

fn socket(facts: &Facts) -> Option<Finding> {
    let check = "socket";
    let place = facts.responder.socket.as_ref()?;
    let account = facts.worker.account.as_ref().ok()?;
    Some(match &place.way {
        // That there is none was said already.
        Err(_) if matches!(facts.responder.connected, Err(Unconnected::Nobody(_))) => return None,
        Err(why) => Finding::skip(check, why),
        Ok(way) => match way.obstacle(account, Want::Write) {
            None => Finding::ok(check, format!("{} may connect", account.name)),
            Some(obstacle) => Finding::fail(
                check,
                format!(
                    "{} {obstacle}, so nginx answers uploads with 502",
                    account.name
                ),
                format!(
                    "give the socket the workers' group (SocketGroup= in the systemd socket unit), or put {} into the socket's group and \
                     restart nginx",
                    account.name
                ),
            ),
        },
    })
}

fn body_temp(facts: &Facts) -> Finding {
    let check = "client_body_temp";
    let (place, account) = match (&facts.worker.body_temp, &facts.worker.account) {
        (Ok(place), Ok(account)) => (place, account),
        (Err(why), _) | (_, Err(why)) => return Finding::skip(check, why),
    };
    let path = place.path.display();
    let way = match &place.way {
        Ok(way) => way,
        Err(why) => return Finding::skip(check, why),
    };
    if let Some(obstacle) = way.obstacle(account, Want::Fill) {
        return Finding::fail(
            check,
            format!(
                "{} {obstacle}, so nginx answers larger uploads with 500",
                account.name
            ),
            format!(
                "`chown {} {path}`, or set client_body_temp_path to a directory of its own",
                account.name
            ),
        );
    }
    match place.room {
        Some(room) if room.free_bytes < facts.config.largest_file() * 4 => Finding::warn(
            check,
            format!(
                "{path} has only {} left, and nginx keeps uploads there while they come in",
                bytes(room.free_bytes)
            ),
            "make room there, or set client_body_temp_path to a larger disk",
        ),
        _ => Finding::ok(check, format!("{} can write to {path}", account.name)),
    }
}
