//! Tokens: none is written anywhere, failed attempts are limited, and rotation takes effect at once.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use crate::refusals::{INVALID_ID, INVALID_TOKEN};
use support::builder::Client;
use support::form::{Form, MULTIPART, URLENCODED, urlencoded};
use support::machine::{list_files, until};
use support::pictures::{PNG, png_of};
use support::site::Site;
use support::{fastcgi, http};

const LIMITED: &str = r#"{"error":"Too many failed attempts"}"#;

/// Encodings in which a token could be stored: as it is, in upper case, and decoded from hexadecimal.
fn spellings(token: &str) -> Vec<Vec<u8>> {
    let digits: Option<Vec<u8>> = (0..token.len() / 2)
        .map(|at| u8::from_str_radix(&token[2 * at..2 * at + 2], 16).ok())
        .collect();
    let texts = [token.to_owned(), token.to_uppercase()].map(String::into_bytes);
    texts.into_iter().chain(digits).collect()
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    memchr::memmem::find(haystack, needle).is_some()
}

/// Every file below a directory with its content.
fn contents(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut names = Vec::new();
    list_files(root, root, &mut names);
    let paths = names.into_iter().map(|name| root.join(name));
    paths
        .filter_map(|path| Some((path.clone(), fs::read(&path).ok()?)))
        .collect()
}

/// The command lines and environments of all other processes that can be read.
fn processes() -> Vec<(String, Vec<u8>)> {
    let own = std::process::id().to_string();
    let entries = fs::read_dir("/proc").expect("the processes").flatten();
    entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()) && *name != own)
        .flat_map(|pid| ["cmdline", "environ"].map(|file| format!("/proc/{pid}/{file}")))
        .filter_map(|path| Some((path.clone(), fs::read(path).ok()?)))
        .collect()
}

/// Sends these credentials in every valid way, and in some invalid ones.
fn send(site: &Site, client: &Client) {
    let form = Form::upload(client, "7D", PNG);
    site.post(&form);
    // Large enough for a temporary file of nginx.
    site.post(&Form::upload(client, "7D", &png_of(3 << 20, 1)));
    let fields = [
        ("client_id", client.id.as_str()),
        ("client_token", &client.token),
        ("store_duration", "7D"),
        ("image_url", "http://127.0.0.1/x.png"),
    ];
    site.post_as(URLENCODED, &urlencoded(&fields));
    // Client errors: swapped fields, a truncated body, a wrong content type.
    let swapped = Client {
        id: client.token.clone(),
        token: client.id.clone(),
    };
    site.post(&Form::upload(&swapped, "7D", PNG));
    site.post(&Form::of(client, &client.token).image(PNG));
    site.post(&Form::new().text(&client.token, &client.token));
    site.post(&Form::of(client, "7D").file("image", &client.token, b"no image"));
    site.post(&Form::of(client, "7D").text("image_url", &client.token));
    let body = form.body();
    site.post_as(MULTIPART, &body[..body.len() - 10]);
    site.post_as(&client.token, &body);
    site.post_as("application/json", client.token.as_bytes());
    let boundary = format!("multipart/form-data; boundary={}", client.token);
    site.post_as(&boundary, client.token.as_bytes());
    for header in ["Authorization", "X-Client-Token", "Cookie"] {
        let headers = [(header, client.token.as_str()), ("Content-Type", MULTIPART)];
        http::request(site.port, "POST", "/image/v2/", &headers, &body);
    }
}

#[test]
fn no_token_is_written_to_ledger_logs_or_command_lines() {
    let site = Site::start();
    let first = site.client("3m").clone();
    let second = Client::printed(&site.run(&["client", "rotate", &first.id, "--overlap", "1h"]));
    let elsewhere = tempfile::tempdir().expect("a directory");
    let file = elsewhere.path().join("token");
    let imported = Client {
        id: "imported".to_owned(),
        token: "c0ffee5d24c7e3af9d87156a40b1c3e9".to_owned(),
    };
    fs::write(&file, &imported.token).expect("a token");
    let wrong = Client {
        id: first.id.clone(),
        token: "badbad5d24c7e3af9d87156a40b1c3e9".to_owned(),
    };
    let clients = [&first, &second, &imported, &wrong];
    let wanted: Vec<_> = clients
        .iter()
        .flat_map(|client| spellings(&client.token))
        .collect();
    let found = |place: &dyn std::fmt::Display, bytes: &[u8]| {
        for needle in &wanted {
            assert!(!contains(bytes, needle), "a token is in {place}");
        }
    };

    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let mut looks = 0;
            while !done.load(Ordering::Relaxed) || looks == 0 {
                for (place, bytes) in processes() {
                    found(&place, &bytes);
                }
                looks += 1;
                thread::sleep(Duration::from_millis(5));
            }
        });
        let path = file.display().to_string();
        site.run(&[
            "client",
            "add",
            &imported.id,
            "--plan",
            "free",
            "--token-file",
            &path,
        ]);
        for client in clients {
            send(&site, client);
        }
        let copy = site.root.join("backup.db").display().to_string();
        site.run(&["backup", &copy]);
        site.run(&["client", "show", &first.id]);
        site.run(&["client", "list", "--json"]);
        site.run(&["verify"]);
        site.run(&["sweep"]);
        done.store(true, Ordering::Relaxed);
        watch.join().expect("no token among the processes");
    });

    let files = contents(&site.root);
    for (path, bytes) in &files {
        found(&path.display(), bytes);
    }
    // The digest is found, so the search does read the ledger.
    for client in [&first, &second, &imported] {
        let digest = Sha256::digest(client.token.as_bytes());
        let kept: Vec<_> = files
            .iter()
            .filter(|(_, bytes)| contains(bytes, &digest))
            .map(|(path, _)| path)
            .collect();
        assert!(
            kept.iter().any(|path| path.ends_with("backup.db")),
            "{kept:?}"
        );
        assert!(kept.len() >= 2, "{kept:?}");
    }
    let read = |name: &str| files.get(&site.root.join(name)).map_or(0, Vec::len);
    assert!(read("responder.log") > 1_000 && read("nginx/logs/access.log") > 1_000);
}

fn status(site: &Site, client: &Client) -> u16 {
    let reply = site.post(&Form::upload(client, "7D", PNG));
    assert!(
        reply.status == 200 || reply.text() == INVALID_TOKEN,
        "{reply:?}"
    );
    reply.status
}

#[test]
fn a_rotated_token_is_valid_at_once_and_the_old_one_for_its_overlap() {
    let mut site = Site::start();
    let responder = site.pid();
    let mut old = site.client("3m").clone();
    assert_eq!(status(&site, &old), 200);
    let (turned, new, known) = until("two uploads within the overlap", || {
        let turned = Instant::now();
        let new = Client::printed(&site.run(&["client", "rotate", &old.id, "--overlap", "3s"]));
        let known = Instant::now();
        // Without waiting.
        let both = [&new, &old].map(|client| status(&site, client));
        if both != [200, 200] && turned.elapsed() >= Duration::from_secs(2) {
            // On a slow machine; once more with a new pair of tokens.
            old = new;
            return None;
        }
        assert_eq!(both, [200, 200]);
        Some((turned, new, known))
    });
    let mut accepted = known;
    let refused = until("the old token's end", || {
        let sent = Instant::now();
        if status(&site, &old) == 200 {
            accepted = sent;
            return None;
        }
        Some(Instant::now())
    });
    // The end of an overlap is stored in whole seconds.
    assert!(
        refused - turned >= Duration::from_secs(2),
        "{:?}",
        refused - turned
    );
    assert!(
        accepted - known < Duration::from_secs(4),
        "{:?}",
        accepted - known
    );
    assert_eq!(status(&site, &new), 200);
    // Without an overlap the old token ends at once.
    let newest = Client::printed(&site.run(&["client", "rotate", &old.id]));
    let all = [&old, &new, &newest].map(|client| status(&site, client));
    assert_eq!(all, [403, 403, 200]);
    assert_eq!(site.pid(), responder, "it was started anew");
}

/// Uploads with this REMOTE_ADDR; returns the reply.
fn from(site: &Site, address: &str, client: &Client) -> String {
    let body = Form::upload(client, "7D", &PNG[..100]).body();
    let mut stream = site.connect_responder();
    let request = fastcgi::request_from(address, MULTIPART, &body);
    stream.write_all(&request).expect("it is sent");
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).expect("a reply");
    String::from_utf8_lossy(&reply).into_owned()
}

#[test]
fn failed_attempts_are_limited_per_client_and_ipv4_address_or_ipv6_network() {
    let site = Site::builder()
        .set("limits", "failed_attempts_per_minute = 3")
        .start();
    let right = site.client("3m").clone();
    let wrong = |client: &Client| Client {
        token: "0123456789abcdef0123456789abcdef".to_owned(),
        ..client.clone()
    };
    let wrong_token = wrong(&right);
    // The IPv6 addresses are in one /64; an IPv4-mapped IPv6 address counts as IPv4; requests without an address count together.
    for [first, second, third, fourth, other] in [
        [
            "192.0.2.1",
            "192.0.2.1",
            "::ffff:192.0.2.1",
            "192.0.2.1",
            "192.0.2.2",
        ],
        [
            "2001:db8:1:2::1",
            "2001:db8:1:2::2",
            "2001:db8:1:2:ffff:ffff:ffff:ffff",
            "2001:db8:1:2:3:4:5:6",
            "2001:db8:1:3::1",
        ],
        ["unix:", "unix:", "", "unix:", "192.0.2.3"],
    ] {
        for address in [first, second, third] {
            assert!(from(&site, address, &wrong_token).contains(INVALID_TOKEN));
        }
        let reply = from(&site, fourth, &wrong_token);
        assert!(
            reply.contains(LIMITED) && reply.contains("Retry-After"),
            "{fourth}: {reply}"
        );
        assert!(
            from(&site, other, &wrong_token).contains(INVALID_TOKEN),
            "{other}"
        );
        // Neither another client nor the right token pays for it. Not an image: an authenticated request is refused for that.
        let another = wrong(site.client("free"));
        assert!(from(&site, fourth, &another).contains(INVALID_TOKEN));
        assert!(
            from(&site, fourth, &right).contains("Invalid file type"),
            "{fourth}"
        );
    }
}

#[test]
fn an_address_that_tries_many_ids_does_not_learn_which_exist() {
    let site = Site::builder()
        .set("limits", "failed_attempts_per_minute = 1")
        .start();
    let right = site.client("3m").clone();
    let wrong_id = |number| Client {
        id: format!("nobody{number}"),
        ..right.clone()
    };
    let (guesser, other) = ("192.0.2.1", "192.0.2.2");
    for number in 0..10 {
        assert!(from(&site, guesser, &wrong_id(number)).contains(INVALID_ID));
    }
    let wrong_token = Client {
        token: "0123456789abcdef0123456789abcdef".to_owned(),
        ..right.clone()
    };
    for client in [&wrong_id(10), &wrong_token] {
        assert!(from(&site, guesser, client).contains(LIMITED));
    }
    assert!(from(&site, guesser, &right).contains("Invalid file type"));
    assert!(from(&site, other, &wrong_id(0)).contains(INVALID_ID));
}

#[test]
fn regression_concurrent_failed_attempts_were_not_limited() {
    let site = Site::builder()
        .set(
            "limits",
            "requests_per_second = 0\nconcurrent_requests = 0\nfailed_attempts_per_minute = 3",
        )
        .start();
    let wrong = Client {
        token: "0123456789abcdef0123456789abcdef".to_owned(),
        ..site.client("3m").clone()
    };
    let body = Form::upload(&wrong, "7D", PNG).body();
    let replies: Vec<_> = thread::scope(|scope| {
        let guesses: Vec<_> = (0..64)
            .map(|_| scope.spawn(|| site.post_as(MULTIPART, &body)))
            .collect();
        guesses
            .into_iter()
            .map(|guess| guess.join().expect("a reply").text().to_owned())
            .collect()
    });
    let told = replies
        .iter()
        .filter(|reply| *reply == INVALID_TOKEN)
        .count();
    let limited = replies.iter().filter(|reply| *reply == LIMITED).count();
    assert_eq!((told, limited), (3, 61), "{replies:?}");
}
