//! Every pair of a ledger (SQLite, PostgreSQL) and a store (docroot, bucket): what `verify` finds and repairs, and the way from one pair to
//! the next by `ledger copy` and `storage copy`.

use std::fs::{self, File};
use std::path::Path;

use serde_json::Value;
use support::pictures::{PNG, png_of};
use support::postgres::Server;
use support::seaweedfs::{Access, Bucket};
use support::site::Site;

use super::copying::{config_with, copy, message, servers};

/// A site and what its ledger and its store are, where they are not SQLite and a docroot.
struct Pair {
    site: Site,
    database: Option<(&'static Server, String)>,
    bucket: Option<Bucket>,
}

impl Pair {
    fn start(database: Option<(&'static Server, String)>, bucket: Option<Bucket>) -> Self {
        let mut settings = Site::builder();
        if let Some((server, database)) = &database {
            settings = settings.set("ledger", &format!("url = \"{}\"", server.url(database)));
        }
        if let Some(bucket) = &bucket {
            settings = settings.set("storage", &bucket.storage());
        }
        Self {
            site: settings.start(),
            database,
            bucket,
        }
    }

    /// Changes rows, `image` for the table of images.
    fn change(&self, sql: &str) {
        match &self.database {
            Some((server, database)) => {
                server.run(database, &format!("SET search_path = corenexis; {sql}"));
            }
            None => {
                self.site.ledger().execute(sql, []).expect("changed");
            }
        }
    }

    fn delete(&self, path: &str) {
        match &self.bucket {
            Some(bucket) => assert!(bucket.delete_object(path).status < 300),
            None => fs::remove_file(self.site.file(path)).expect("removed"),
        }
    }

    /// Writes an image behind the back of the site. A file keeps its modification time.
    fn write(&self, path: &str, bytes: &[u8]) {
        if let Some(bucket) = &self.bucket {
            assert!(bucket.put_object(path, bytes).status < 300);
            return;
        }
        let file = self.site.file(path);
        fs::create_dir_all(file.parent().expect("a directory")).expect("made");
        let time = fs::metadata(&file).and_then(|metadata| metadata.modified());
        fs::write(&file, bytes).expect("written");
        if let Ok(time) = time {
            let file = File::options().write(true).open(&file).expect("open");
            file.set_modified(time).expect("set");
        }
    }

    fn verify(&self, options: &[&str]) -> (Option<i32>, Value) {
        let output = self.site.output(&[&["verify", "--json"], options].concat());
        let json = serde_json::from_slice(&output.stdout);
        let json = json.unwrap_or_else(|error| panic!("{error}: {output:?}"));
        (output.status.code(), json)
    }

    fn verify_finds_and_repairs(&self) {
        let store = |duration, serial| self.site.store("3m", duration, &png_of(5_000, serial));
        let paths: Vec<_> = (0..6).map(|serial| store("7D", serial)).collect();
        let [missing, cut, emptied, late, turned, kept] = &paths[..] else {
            panic!("six images");
        };
        let quarantined = store("1M", 6);
        self.site.run(&["image", "quarantine", &quarantined]);
        assert_eq!(self.verify(&[]).0, Some(0));
        self.change("UPDATE image SET uploaded_at = uploaded_at - 3600");
        self.change(&format!(
            "UPDATE image SET expires_at = expires_at + 86400 WHERE path = '{late}'"
        ));
        self.change(&format!(
            "UPDATE image SET width = width + 1 WHERE path = '{turned}'"
        ));
        self.delete(missing);
        self.write(cut, &png_of(5_000, 1)[..3_000]);
        self.write(emptied, b"");
        let extra = format!("l/{}", kept.split_once('/').expect("a class").1);
        self.write(&extra, PNG);

        let (status, found) = self.verify(&[]);
        let mut lines: Vec<_> = found["differences"]
            .as_array()
            .expect("differences")
            .iter()
            .map(|found| (found["difference"].as_str(), found["path"].as_str()))
            .collect();
        let mut expected = vec![
            (Some("dimensions"), Some(turned.as_str())),
            (Some("missing"), Some(missing)),
            (Some("size"), Some(cut)),
            (Some("size"), Some(emptied)),
            (Some("time"), Some(late)),
            (Some("unknown"), Some(&extra)),
        ];
        if self.bucket.is_some() {
            // What wrote them did not write their metadata.
            expected.extend([cut, emptied].map(|path| (Some("time"), Some(path.as_str()))));
        }
        lines.sort_unstable();
        expected.sort_unstable();
        assert_eq!(lines, expected);
        assert_eq!((status, &found["repaired"]), (Some(1), &Value::from(0)));

        let (status, found) = self.verify(&["--repair", "--rebuild"]);
        assert_eq!((status, &found["remaining"]), (Some(1), &Value::from(2)));
        let (status, found) = self.verify(&[]);
        assert_eq!((status, &found["sizes"]), (Some(1), &Value::from(2)));
        assert_eq!(found["remaining"], 2, "{found}");
        self.site.run(&["image", "delete", cut]);
        self.site.run(&["image", "delete", emptied]);
        let (status, found) = self.verify(&[]);
        assert_eq!((status, &found["images"]), (Some(0), &Value::from(5)));
    }
}

#[test]
fn verify_finds_missing_extra_and_damaged_images_in_every_pair() {
    let Some((server, database, bucket)) = servers() else {
        return;
    };
    for (ledger, store) in [
        (None, None),
        (Some((server, database)), None),
        (None, Some(bucket)),
        (
            Some((server, server.database())),
            Bucket::new(Access::Private),
        ),
    ] {
        Pair::start(ledger, store).verify_finds_and_repairs();
    }
}

#[test]
fn a_site_goes_through_every_pair_and_comes_back() {
    let Some((server, database, bucket)) = servers() else {
        return;
    };
    let mut site = Site::start();
    for (serial, duration) in ["7D", "1M", "3M", "LTF"].into_iter().enumerate() {
        let plan = if duration == "LTF" { "lifetime" } else { "3m" };
        site.store(plan, duration, &png_of(5_000, serial as u64));
    }
    site.stop();
    let listed = site.run(&["image", "list"]);
    let [docroot, ledger] = ["other", "other-ledger"].map(|name| site.root.join(name));
    for directory in [&docroot, &ledger] {
        fs::create_dir(directory).expect("made");
    }
    let in_docroot = |docroot: &Path| format!("docroot = \"{}\"\n", docroot.display());
    let in_bucket = in_docroot(&site.docroot()) + &bucket.storage();
    let steps = [
        ("ledger", format!("url = \"{}\"\n", server.url(&database))),
        ("storage", in_bucket),
        (
            "ledger",
            format!("path = \"{}\"\n", ledger.join("ledger.db").display()),
        ),
        ("storage", in_docroot(&docroot)),
    ];
    for (number, (what, lines)) in steps.iter().enumerate() {
        let new = config_with(&site, &format!("{number}.toml"), &[(what, lines)]);
        let copied = copy(&site, what, &new);
        assert!(copied.status.success(), "{lines}: {}", message(&copied));
        fs::copy(&new, site.config()).expect("switched");
        let verified = site.output(&["verify"]);
        assert!(verified.status.success(), "{lines}: {verified:?}");
        assert_eq!(site.run(&["image", "list"]), listed, "{lines}");
        site.run(&["serve", "--check"]);
    }
}
