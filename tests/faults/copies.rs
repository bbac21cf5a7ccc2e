//! Full disks under `storage copy` and `ledger copy`.

use std::fs;
use std::path::{Path, PathBuf};

use support::machine::{list_files, read};
use support::pictures::png_of;
use support::postgres::Server;
use support::seaweedfs::{Access, Bucket};
use support::site::Site;
use support::skip;

use crate::uploads::unlimited;
use crate::volume::Volume;

/// Images that are copied, and the bytes of each.
const IMAGES: u64 = 40;
const SIZE: usize = 20_000;

/// Writes a configuration with these lines in the place of the site's `docroot` and `path`.
fn config_with(site: &Site, name: &str, storage: &str, ledger: &str) -> PathBuf {
    let docroot = format!("docroot = \"{}\"\n", site.docroot().display());
    let path = format!("path = \"{}\"\n", site.ledger_file().display());
    let text = read(&site.config());
    assert!(text.contains(&docroot) && text.contains(&path), "{text}");
    let file = site.root.join(name);
    let text = text.replace(&docroot, storage).replace(&path, ledger);
    fs::write(&file, text).expect("written");
    file
}

/// Copies on a full disk, which the message names, then again when there is space.
#[track_caller]
fn copy_twice(site: &Site, what: &str, to: &Path, full: &Path, volume: &Volume, left: u64) {
    volume.leave(left);
    let to = to.display().to_string();
    let arguments = [what, "copy", "--to-config", &to];
    let refused = site.output(&arguments);
    let text = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(4), "{text}");
    for needle in [&*full.display().to_string(), "full", "free space there"] {
        let is_there = text.contains(needle) || needle == "full" && text.contains("No space left");
        assert!(is_there, "{needle}: {text}");
    }
    assert_eq!(text.lines().count(), 1, "{text}");
    volume.free_again();
    site.run(&arguments);
}

#[test]
fn a_copy_goes_on_when_a_full_disk_has_space_again() {
    let server = match Server::shared() {
        Ok(server) => server,
        Err(why) => return skip(why),
    };
    let (Some(bucket), Some(volume)) = (Bucket::new(Access::Private), Volume::make(32)) else {
        return;
    };
    let mut site = unlimited().start();
    for serial in 0..IMAGES {
        site.store("lifetime", "7D", &png_of(SIZE, serial));
    }
    site.stop();

    let database = server.database();
    let docroot = site.docroot();
    let spool = volume.directory("spool");
    let old_spool = format!("{}/spool\"", bucket.directory.path().display());
    let bucket = bucket.storage();
    assert!(bucket.contains(&old_spool), "{bucket}");
    let bucket = bucket.replace(&old_spool, &format!("{}\"", spool.display()));
    let in_docroot = |docroot: &Path| format!("docroot = \"{}\"\n", docroot.display());
    let new = config_with(
        &site,
        "new.toml",
        &(in_docroot(&docroot) + &bucket),
        &format!("url = \"{}\"\n", server.url(&database)),
    );
    let back = volume.directory("back");
    let ledger = volume.directory("ledger").join("ledger.db");
    let back_config = config_with(
        &site,
        "back.toml",
        &in_docroot(&back),
        &format!("path = \"{}\"\n", ledger.display()),
    );
    copy_twice(&site, "storage", &new, &spool, &volume, 0);
    site.run(&["ledger", "copy", "--to-config", &new.display().to_string()]);
    fs::copy(&new, site.config()).expect("switched");
    site.run(&["verify"]);

    copy_twice(&site, "storage", &back_config, &back, &volume, 300_000);
    copy_twice(&site, "ledger", &back_config, &ledger, &volume, 0);
    fs::copy(&back_config, site.config()).expect("switched");
    site.run(&["verify"]);
    let (mut files, root) = (Vec::new(), docroot.join("p"));
    list_files(&root, &root, &mut files);
    assert_eq!(files.len() as u64, IMAGES);
    for file in files {
        let [one, other] = [&docroot, &back].map(|place| fs::read(place.join("p").join(&file)));
        assert_eq!(one.expect("read"), other.expect("read"), "{file}");
    }
}
