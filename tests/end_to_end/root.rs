//! Commands that root runs over directories of the service account, where that account may have planted anything.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use support::machine::shell;
use support::pictures::png_of;
use support::site::Site;
use support::{program, skip};

/// The service account: `nobody` on Debian.
const ACCOUNT: u32 = 65534;

/// A stopped site with an image, whose ledger and docroot belong to the service account; `None` after a skip without root.
fn site() -> Option<(Site, String)> {
    if !rustix::process::geteuid().is_root() {
        skip("only root becomes another account");
        return None;
    }
    // doctor asks nginx for the responder, which does not run.
    let mut site = Site::builder().expect("connect() to unix:").start();
    let path = site.store("3m", "7D", &png_of(2_000, 1));
    site.stop();
    fs::set_permissions(&site.root, fs::Permissions::from_mode(0o755)).expect("opened");
    let docroot = site.docroot();
    // As the installer leaves them: root owns the docroot, the account what is in it.
    for directory in [
        site.root.join("ledger"),
        docroot.join("p"),
        docroot.join(".spool"),
    ] {
        let script = format!("chown -R {ACCOUNT}:{ACCOUNT} '{}'", directory.display());
        assert!(shell(&script).status().expect("chown runs").success());
    }
    fs::set_permissions(site.root.join("ledger"), fs::Permissions::from_mode(0o750))
        .expect("closed");
    Some((site, path))
}

/// Runs a command of root's that must end by itself.
#[track_caller]
fn run(site: &Site, arguments: &str) -> (i32, String) {
    let script = format!(
        "timeout 60 {} --config '{}' {arguments} </dev/null",
        program(),
        site.config().display()
    );
    let output = shell(&script).output().expect("the shell runs");
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    let code = output.status.code().expect("an exit code");
    assert_ne!(code, 124, "{arguments} hangs: {text}");
    (code, text)
}

#[test]
fn what_roots_commands_create_belongs_to_the_service_account() {
    let Some((site, path)) = site() else { return };
    let backup = site.root.join("backup");
    fs::create_dir(&backup).expect("made");
    fs::set_permissions(&backup, fs::Permissions::from_mode(0o700)).expect("closed");
    let file = backup.join("ledger.db");
    for arguments in [
        "sweep".to_owned(),
        "verify --repair".to_owned(),
        format!("backup '{}'", file.display()),
        "client add another --plan 3m".to_owned(),
        format!("restore '{}' --yes", file.display()),
        "verify --rebuild".to_owned(),
        "sweep".to_owned(),
        format!("image delete {path}"),
        "serve --check".to_owned(),
    ] {
        let (code, text) = run(&site, &arguments);
        assert_eq!(code, 0, "{arguments}: {text}");
    }
    let metadata = fs::metadata(&file).expect("the backup");
    assert_eq!((metadata.uid(), metadata.mode() & 0o777), (0, 0o640));
    for entry in fs::read_dir(site.root.join("ledger")).expect("readable") {
        let entry = entry.expect("an entry");
        let owner = entry.metadata().expect("readable").uid();
        assert_eq!(owner, ACCOUNT, "{}", entry.path().display());
    }
    let (code, text) = run(&site, &format!("backup '{}/x.db'", site.root.display()));
    assert_eq!(
        code, 0,
        "a directory of root's that others may read: {text}"
    );
    chown(&backup, Some(1), None).expect("given away");
    let (code, text) = run(&site, &format!("backup '{}' --force", file.display()));
    assert_eq!(code, 4, "{text}");
    assert!(text.contains("another account may write"), "{text}");
}

/// Creates something by the second name, perhaps a link to the first.
type Plant = fn(&Path, &Path);

/// Everything about a file that root could change by following a link.
fn state(file: &Path) -> (u32, u32, u32, Vec<u8>) {
    let metadata = fs::metadata(file).expect("readable");
    let content = fs::read(file).expect("readable");
    (metadata.uid(), metadata.gid(), metadata.mode(), content)
}

#[test]
fn planted_links_fifos_and_devices_lead_root_nowhere() {
    let Some((site, _)) = site() else { return };
    let victim = site.root.join("victim");
    fs::write(&victim, "root's own").expect("written");
    fs::set_permissions(&victim, fs::Permissions::from_mode(0o600)).expect("closed");
    let before = state(&victim);
    let outside = fs::metadata(&site.root).expect("readable").mode();
    let docroot = site.docroot();
    let ledger = site.ledger_file();
    let beside = |suffix: &str| {
        let mut name = ledger.clone().into_os_string();
        name.push(suffix);
        PathBuf::from(name)
    };
    let names = [
        ledger.clone(),
        beside("-wal"),
        beside("-shm"),
        beside("-journal"),
        beside(".sweep-lock"),
        beside(".release-lock"),
        docroot.join("p/.identity"),
        docroot.join("p/d"),
        docroot.join("p/l"),
        docroot.join(".spool/planted"),
    ];
    let plant: [(&str, Plant); 5] = [
        ("link", |victim, name| {
            symlink(victim, name).expect("linked");
        }),
        ("hard link", |victim, name| {
            fs::hard_link(victim, name).expect("linked");
        }),
        ("FIFO", |_, name| {
            mknodat(CWD, name, FileType::Fifo, Mode::from_raw_mode(0o666), 0).expect("made");
        }),
        ("directory", |_, name| fs::create_dir(name).expect("made")),
        ("device", |_, name| {
            let zero = rustix::fs::makedev(1, 5);
            mknodat(
                CWD,
                name,
                FileType::CharacterDevice,
                Mode::from_raw_mode(0o666),
                zero,
            )
            .expect("made");
        }),
    ];
    let saved = site.root.join("saved");
    let copies = format!(
        "mkdir '{0}' && cp -a '{1}/ledger' '{1}/docroot' '{0}/'",
        saved.display(),
        site.root.display()
    );
    assert!(shell(&copies).status().expect("cp runs").success());
    for name in &names {
        for (kind, plant) in plant {
            let planted = format!("{kind} at {}", name.display());
            if name.is_dir() {
                fs::remove_dir_all(name).expect("removed");
            } else {
                let _ = fs::remove_file(name);
            }
            plant(&victim, name);
            for arguments in [
                "sweep --dry-run",
                "sweep",
                "verify --repair",
                "image list",
                "doctor",
            ] {
                run(&site, arguments);
                assert_eq!(state(&victim), before, "{planted}: {arguments}");
            }
            let back = format!(
                "rm -rf '{1}/ledger' '{1}/docroot' && cp -a '{0}/ledger' '{0}/docroot' '{1}/'",
                saved.display(),
                site.root.display()
            );
            assert!(shell(&back).status().expect("cp runs").success());
        }
    }
    assert_eq!(fs::metadata(&site.root).expect("readable").mode(), outside);
    let (code, text) = run(&site, "sweep");
    assert_eq!(code, 0, "{text}");
}

#[test]
fn regression_root_moved_a_docroot_below_a_directory_that_the_account_may_rename() {
    let Some((site, _)) = site() else { return };
    let within = site.root.join("ledger/of-root");
    fs::create_dir(&within).expect("made");
    let (code, text) = run(&site, &format!("move docroot '{}/new'", within.display()));
    assert_eq!(code, 4, "{text}");
    assert!(text.contains("may write or rename"), "{text}");
    assert_eq!(fs::read_dir(&within).expect("readable").count(), 0);

    // What the refusal advises.
    let of_account = site.root.join("of-account");
    let new = of_account.join("new");
    fs::create_dir_all(&new).expect("made");
    for directory in [&of_account, &new] {
        chown(directory, Some(ACCOUNT), Some(ACCOUNT)).expect("given");
    }
    let (code, text) = run(&site, &format!("move docroot '{}'", new.display()));
    assert_eq!(code, 0, "{text}");
    for name in ["p", ".spool"] {
        let owner = fs::metadata(new.join(name)).expect("made").uid();
        assert_eq!(owner, ACCOUNT, "{name}");
    }
    let (code, text) = run(&site, "sweep");
    assert_eq!(code, 0, "{text}");
}

#[test]
fn regression_a_fifo_hung_roots_restore() {
    let Some((site, _)) = site() else { return };
    let fifo = site.root.join("ledger/backup.db");
    mknodat(CWD, &fifo, FileType::Fifo, Mode::from_raw_mode(0o666), 0).expect("made");
    chown(&fifo, Some(ACCOUNT), Some(ACCOUNT)).expect("given");
    let (code, text) = run(&site, &format!("restore '{}' --yes", fifo.display()));
    assert_eq!(code, 4, "{text}");
    assert!(text.contains("not a regular file"), "{text}");
}
