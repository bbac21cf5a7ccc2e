//! Each fault is put into the facts of a host that works, and must be the one finding that is not well.

mod host;
mod website;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use time::macros::utc_datetime;

use super::super::access::{Account, Step, Way};
use super::super::facts::{
    Answer, Nginx, Place, Places, Public, Responder, Room, Test, Unconnected, Worker,
};
use super::super::mounts::Mount;
use super::super::nginx::{Build, Configuration};
use super::super::web::Web;
use super::super::{Verdict, worst};
use super::*;
use crate::config::Config;
use crate::ledger::{Inspection, QuickCheck, newest_schema};
use crate::plan::DAY_SECONDS;
use crate::render::nginx_files;
use crate::timestamp::Timestamp;

const NOW: time::UtcDateTime = utc_datetime!(2026-04-05 12:00);

fn account(name: &str, uid: u32) -> Account {
    Account {
        name: name.to_owned(),
        uid,
        groups: vec![uid],
    }
}

/// A place whose parents everybody may enter.
fn place(path: &str, uid: u32, gid: u32, mode: u32) -> Place {
    let mut steps: Vec<_> = Path::new(path)
        .ancestors()
        .map(|step| Step {
            path: step.to_owned(),
            uid: 0,
            gid: 0,
            mode: 0o755,
        })
        .collect();
    steps.reverse();
    let last = steps.last_mut().expect("a step");
    (last.uid, last.gid, last.mode) = (uid, gid, mode);
    Place {
        path: path.into(),
        way: Ok(Way(steps)),
        is_link: false,
        device: Some(1),
        mount: Some(Mount {
            point: "/".into(),
            kind: "ext4".to_owned(),
            read_only: false,
        }),
        room: Some(Room {
            bytes: 100 << 30,
            free_bytes: 50 << 30,
            files: 1_000_000,
            free_files: 900_000,
        }),
        writable: Some(Ok(())),
    }
}

fn config(more: &str) -> Config {
    config_of("https://cdn.example.com", more)
}

fn config_of(url: &str, more: &str) -> Config {
    let text = format!("[site]\npublic_url = \"{url}\"\n{more}");
    Config::from_toml(&text).expect("a valid configuration")
}

fn web(config: &Config, edit: impl FnOnce(String) -> String) -> Web {
    let [http, server] = nginx_files(config);
    let main = format!(
        "user www-data; pid /run/nginx.pid; http {{ include h.conf; server {{ server_name cdn.example.com; {} }} }}",
        edit(server)
    );
    let files = BTreeMap::from([
        (PathBuf::from("/n/nginx.conf"), main),
        (PathBuf::from("/n/h.conf"), http),
    ]);
    let configuration = Configuration {
        main: "/n/nginx.conf".into(),
        files,
    };
    let [http, server] = nginx_files(config);
    let (_, wanted) = Web::of_rendered(&http, &server);
    Web::read(&configuration.directives(), &wanted.locations)
}

fn build(version: &str) -> Build {
    Build::parse(&format!("nginx version: nginx/{version}")).expect("a build")
}

fn answer(status: u16, body: &str) -> Answer {
    Answer {
        status,
        location: None,
        body: body.to_owned(),
    }
}

fn healthy() -> Facts {
    let config = config("");
    let [http, server] = nginx_files(&config);
    let now = NOW.unix_timestamp();
    let docroot = "/var/www/corenexis-cdn";
    Facts {
        now: NOW,
        config_file: "/etc/corenexis-cdn/config.toml".into(),
        examiner: account("root", 0),
        service: Ok(account("corenexis-cdn", 900)),
        nginx: Nginx {
            build: Ok(build("1.31.9")),
            test: Ok(Test {
                passed: true,
                complaints: Vec::new(),
            }),
            web: Ok(web(&config, |server| server)),
            wanted: Web::of_rendered(&http, &server),
            outdated: Vec::new(),
            master: Ok(Some(7)),
        },
        worker: Worker {
            account: Ok(account("www-data", 33)),
            body_temp: Ok(place("/var/lib/nginx/body", 33, 0, 0o700)),
        },
        responder: Responder {
            connected: Ok(()),
            socket: Some(place("/run/corenexis-cdn.sock", 900, 33, 0o660)),
        },
        places: Places {
            docroot: place(docroot, 900, 900, 0o755),
            spool: place("/var/www/corenexis-cdn/.spool", 900, 900, 0o700),
            images: place("/var/www/corenexis-cdn/p", 900, 900, 0o755),
            classes: vec![place("/var/www/corenexis-cdn/p/d", 900, 900, 0o755)],
            pages: vec![place("/var/www/corenexis-cdn/view/page.html", 0, 0, 0o644)],
            ledger_files: vec![
                place("/var/lib/corenexis-cdn/ledger.db", 900, 900, 0o640),
                place("/var/lib/corenexis-cdn/ledger.db-wal", 900, 900, 0o640),
            ],
            ledger_directory: place("/var/lib/corenexis-cdn", 900, 900, 0o750),
        },
        ledger: Ok(Inspection {
            schema: newest_schema(),
            journal: "wal".to_owned(),
            check: QuickCheck::Sound,
            clients: vec![("shop".to_owned(), "3m".to_owned())],
            created: Some(Timestamp(now - 30 * DAY_SECONDS)),
            swept: Some(Timestamp(now - 300)),
            newest_day: Some(now / DAY_SECONDS),
        }),
        schedules: vec!["/etc/cron.d/corenexis-cdn".to_owned()],
        unseen_schedules: Vec::new(),
        public: Public {
            health: Ok(answer(200, r#"{"status":"ok"}"#)),
            missing_image: Ok(answer(404, "There is no such image: it has expired.\n")),
        },
        config,
    }
}

/// The findings of a host with a fault that are not well.
fn with(fault: impl FnOnce(&mut Facts)) -> Vec<Finding> {
    let mut facts = healthy();
    fault(&mut facts);
    let mut found = findings(&facts);
    found.retain(|finding| finding.verdict != Verdict::Ok);
    found
}

#[track_caller]
fn is_told(fault: impl FnOnce(&mut Facts), check: &str, verdict: Verdict, text: &str) {
    let found = with(fault);
    let told = found.iter().map(|finding| (finding.check, finding.verdict));
    assert_eq!(told.collect::<Vec<_>>(), [(check, verdict)], "{found:#?}");
    assert!(found[0].message.contains(text), "{found:#?}");
    assert!(
        verdict == Verdict::Skip || found[0].advice.is_some(),
        "{found:#?}"
    );
}

#[test]
fn a_host_that_works_has_no_complaint() {
    assert_eq!(with(|_| {}), []);
    assert_eq!(worst(&findings(&healthy())), Verdict::Ok);
    assert_eq!(worst(&[]), Verdict::Ok);
}

#[test]
fn settings_worth_a_second_thought() {
    is_told(
        |facts| facts.config = config("[storage]\ndurability = \"relaxed\""),
        "durability",
        Verdict::Warn,
        "power cut",
    );
    is_told(
        |facts| facts.config = config("[fetch]\nallow = [\"10.0.0.1:80\"]"),
        "fetch",
        Verdict::Warn,
        "10.0.0.1:80",
    );
    let found = with(|facts| facts.config = config_of("http://cdn.example.com", ""));
    assert_eq!((found[0].check, found.len()), ("https", 1), "{found:#?}");
}

#[test]
fn numbers_are_for_people() {
    for (number, text) in [
        (0, "0 bytes"),
        (1_023, "1023 bytes"),
        (1_536, "1.5 KiB"),
        (10 << 20, "10 MiB"),
        (64_800 << 20, "63.2 GiB"),
    ] {
        assert_eq!(bytes(number), text);
    }
    for (seconds, text) in [
        (5, "5 seconds"),
        (300, "5 minutes"),
        (7_200, "2 hours"),
        (200_000, "2 days"),
    ] {
        assert_eq!(age(seconds), text);
    }
}
