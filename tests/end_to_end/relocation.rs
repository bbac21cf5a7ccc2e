//! `move`: the docroot and the ledger in other directories.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use support::pictures::png_of;
use support::site::Site;

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_docroot_is_moved_with_expiry_and_identity() {
    let mut site = Site::start();
    let first = site.store("3m", "7D", &png_of(2_000, 1));
    let expiry = fs::metadata(site.file(&first)).and_then(|file| file.modified());
    let to = site.root.join("new docroot");
    let new = to.display().to_string();

    let early = site.output(&["move", "docroot", &new]);
    assert_eq!(early.status.code(), Some(75), "{early:?}");
    assert!(
        text(&early.stderr).contains("the responder runs"),
        "{early:?}"
    );
    assert!(
        to.join("p").join(&first).exists(),
        "images are copied meanwhile"
    );
    let second = site.store("lifetime", "LTF", &png_of(2_000, 2));
    site.run(&["image", "delete", &first]);
    let third = site.store("3m", "7D", &png_of(2_000, 3));
    site.stop();
    let old = site.docroot();
    let before = site.config();
    let old_config = fs::read_to_string(&before).expect("readable");

    let moved = site.output(&["move", "docroot", &new]);
    assert!(moved.status.success(), "{moved:?}");
    assert!(text(&moved.stderr).contains("install.sh"), "{moved:?}");
    let config = fs::read_to_string(site.config()).expect("readable");
    assert!(config.contains(&new), "{config}");
    for path in [&second, &third] {
        let [from, to] = [&old, &to].map(|root| root.join("p").join(path));
        assert_eq!(
            fs::read(&from).expect("kept"),
            fs::read(&to).expect("copied")
        );
    }
    assert!(!to.join("p").join(&first).exists(), "it was deleted");
    let mark = fs::metadata(to.join("p").join(&third)).and_then(|file| file.modified());
    assert_eq!(mark.expect("known"), expiry.expect("known"));
    site.run(&["verify"]);
    site.run(&["sweep"]);

    fs::write(site.config(), old_config).expect("written");
    let refused = site.output(&["sweep"]);
    assert_eq!(refused.status.code(), Some(4), "{refused:?}");
    assert!(text(&refused.stderr).contains("older copy"), "{refused:?}");
}

#[test]
fn a_ledger_is_moved_and_the_old_one_is_refused() {
    let mut site = Site::start();
    let path = site.store("3m", "7D", &png_of(2_000, 1));
    let to = site.root.join("moved").join("ledger.db");
    let new = to.display().to_string();
    let early = site.output(&["move", "ledger", &new]);
    assert_eq!(early.status.code(), Some(75), "{early:?}");
    assert!(!to.exists());
    site.stop();
    let old_config = fs::read_to_string(site.config()).expect("readable");
    site.run(&["move", "ledger", &new]);
    assert!(site.run(&["image", "list"]).contains(&path));
    assert!(site.run(&["client", "list"]).contains("client-3m"));
    site.run(&["serve", "--check"]);
    site.run(&["sweep"]);

    fs::write(site.config(), old_config).expect("written");
    let refused = site.output(&["serve", "--check"]);
    assert_eq!(refused.status.code(), Some(4), "{refused:?}");
    assert!(text(&refused.stderr).contains("older copy"), "{refused:?}");
}

#[test]
fn places_that_cannot_be_moved_to_are_refused() {
    let mut site = Site::start();
    site.store("3m", "7D", &png_of(2_000, 1));
    site.stop();
    let before = fs::read_to_string(site.config()).expect("readable");
    let inside = site.docroot().join("inside").display().to_string();
    let same = site.docroot().display().to_string();
    for (to, code, why) in [
        ("relative", 2, "absolute path"),
        (inside.as_str(), 2, "inside the other"),
        (same.as_str(), 2, "there already"),
        ("/proc/nowhere", 4, "/proc/nowhere"),
    ] {
        let output = site.output(&["move", "docroot", to]);
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        assert!(text(&output.stderr).contains(why), "{output:?}");
    }
    let other = Site::start();
    other.store("3m", "7D", &png_of(2_000, 2));
    let foreign = other.docroot().display().to_string();
    let output = site.output(&["move", "docroot", &foreign]);
    assert_eq!(output.status.code(), Some(4), "{output:?}");
    assert!(
        text(&output.stderr).contains("belongs to another site"),
        "{output:?}"
    );
    assert_eq!(fs::read_to_string(site.config()).expect("readable"), before);
}

#[test]
fn regression_a_move_into_an_older_copy_deleted_what_only_the_copy_had() {
    let mut site = Site::start();
    let path = site.store("3m", "7D", &png_of(2_000, 1));
    let copy = site.root.join("copy");
    let status = Command::new("cp")
        .arg("-a")
        .args([&site.docroot(), &copy])
        .status();
    assert!(status.expect("cp runs").success());
    site.run(&["image", "delete", &path]);
    site.stop();
    let before = fs::read_to_string(site.config()).expect("readable");
    let move_there = ["move", "docroot", &copy.display().to_string()];
    let refused = site.output(&move_there);
    assert_eq!(refused.status.code(), Some(4), "{refused:?}");
    assert!(
        text(&refused.stderr).contains("an older copy of this site"),
        "{refused:?}"
    );
    assert!(copy.join("p").join(&path).exists());
    assert_eq!(fs::read_to_string(site.config()).expect("readable"), before);
    fs::remove_dir_all(copy.join("p")).expect("removed");
    site.run(&move_there);
    site.run(&["verify"]);
}

#[test]
fn serve_check_names_what_a_start_would_refuse() {
    let mut site = Site::start();
    site.stop();
    let good = site.output(&["serve", "--check"]);
    assert!(good.status.success(), "{good:?}");
    site.edit_config(|text| {
        format!("{text}\n[plans.renamed]\ndaily_uploads = 1\nmax_file_size = \"1MiB\"\ndurations = [\"7D\"]\nurl = \"direct\"\n")
    });
    let dropped = site.output(&["serve", "--check"]);
    assert_eq!(dropped.status.code(), Some(3), "{dropped:?}");
    let message = text(&dropped.stderr);
    assert!(
        message.contains("client-3m (plan \"3m\")") && message.contains("client set"),
        "{message}"
    );
    for plan in ["free", "3m", "lifetime"] {
        site.run(&[
            "client",
            "set",
            &format!("client-{plan}"),
            "--plan",
            "renamed",
        ]);
    }
    site.run(&["serve", "--check"]);
}

#[test]
fn regression_a_move_to_another_path_of_the_same_docroot_made_it_an_older_copy() {
    let site = Site::start();
    site.store("3m", "7D", &png_of(2_000, 1));
    let link = site.root.join("link");
    symlink(site.docroot(), &link).expect("linked");
    let identity = site.docroot().join("p/.identity");
    let before = fs::read(&identity).expect("readable");
    for (to, why) in [
        (link.clone(), "same place"),
        (link.join("inside"), "inside the other"),
    ] {
        let output = site.output(&["move", "docroot", &to.display().to_string()]);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        assert!(text(&output.stderr).contains(why), "{output:?}");
    }
    assert_eq!(fs::read(&identity).expect("readable"), before);
    site.run(&["sweep"]);
}

#[test]
fn regression_a_docroot_left_after_an_interrupted_renewal_was_still_accepted() {
    let mut site = Site::start();
    site.store("3m", "7D", &png_of(2_000, 1));
    site.stop();
    let identity = site.docroot().join("p/.identity");
    let mark = site.count("SELECT value FROM meta WHERE name = 'mark'");
    let ahead = fs::read_to_string(&identity)
        .expect("readable")
        .replace(&format!("mark = {mark}"), &format!("mark = {}", mark + 1));
    fs::write(&identity, ahead).expect("written");
    let old_config = fs::read_to_string(site.config()).expect("readable");
    let to = site.root.join("new").display().to_string();
    site.run(&["move", "docroot", &to]);
    fs::write(site.config(), old_config).expect("written");
    let refused = site.output(&["serve", "--check"]);
    assert_eq!(refused.status.code(), Some(4), "{refused:?}");
    assert!(text(&refused.stderr).contains("older copy"), "{refused:?}");
}
