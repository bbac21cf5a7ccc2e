//! The shell blocks of the operator's handbook (nginx/README.md), run word for word on a site.

use std::fs;

use support::machine::{have, shell};
use support::pictures::png_of;
use support::site::Site;
use support::{program, repository};

/// The shell blocks of a section.
fn shell_blocks(section: &str) -> Vec<String> {
    let handbook = fs::read_to_string(repository().join("nginx/README.md")).expect("the handbook");
    let heading = format!("\n## {section}\n");
    let (_, text) = handbook.split_once(&heading).expect("the section");
    let text = text.split("\n## ").next().unwrap_or(text);
    let blocks = text.split("```sh\n").skip(1);
    blocks
        .filter_map(|block| Some(block.split_once("```")?.0.to_owned()))
        .collect()
}

/// Runs a block with the paths of an installation replaced by those of a site. `restore` gets `--yes`: no terminal can answer.
#[track_caller]
fn run(site: &Site, backup: &str, block: &str) {
    let docroot = site.docroot().display().to_string();
    let own = format!("{} --config {}", program(), site.config().display());
    let script: String = block
        .replace("/var/www/corenexis-cdn", &docroot)
        .replace("/backup/", &format!("{backup}/"))
        .replace(" restore ", " restore --yes ")
        .lines()
        .map(|line| match line.strip_prefix("corenexis-cdn ") {
            Some(arguments) => format!("{own} {arguments}\n"),
            None => format!("{line}\n"),
        })
        .collect();
    let output = shell(&format!("set -ex\n{script}"))
        .output()
        .expect("the shell runs");
    assert!(output.status.success(), "{script}\n{output:?}");
}

#[test]
fn the_documented_backup_restores_a_lost_ledger_and_docroot() {
    if !have(&["rsync"]) {
        return;
    }
    let [backup, restore] = <[_; 2]>::try_from(shell_blocks("Backup and restore"))
        .expect("one block to back up, one to restore");
    let directory = tempfile::tempdir().expect("a directory");
    let place = directory.path().display().to_string();
    for lost in [&["docroot"][..], &["ledger"], &["docroot", "ledger"]] {
        let mut site = Site::start();
        let image = png_of(2_000, 7);
        let path = site.store("3m", "7D", &image);
        let headers = site.get(&format!("/p/{path}")).headers;
        run(&site, &place, &backup);
        let later = site.store("3m", "7D", &png_of(2_000, 8));
        site.stop();
        for directory in lost {
            let directory = site.root.join(directory);
            fs::remove_dir_all(&directory).expect("removed");
            fs::create_dir(&directory).expect("an empty directory");
        }
        run(&site, &place, &restore);
        site.start_responder();

        let reply = site.get(&format!("/p/{path}"));
        assert_eq!(
            (reply.status, &reply.body),
            (200, &image),
            "without {lost:?}"
        );
        for name in ["Expires", "Content-Type"] {
            let before = headers.iter().find(|(header, _)| header == name);
            assert_eq!(reply.header(name), before.map(|(_, value)| value.as_str()));
        }
        let kept = site.file(&later).exists();
        assert_eq!(kept, !lost.contains(&"docroot"), "without {lost:?}");
        assert_eq!(site.holdings().rows, if kept { 2 } else { 1 });
        assert_eq!(site.get("/image/v2/health").status, 200);
        assert_eq!(site.upload("3m", "7D", &png_of(2_000, 9)).status, 200);
        site.run(&["verify"]);
        fs::remove_dir_all(&place).expect("removed");
        fs::create_dir(&place).expect("an empty directory");
    }
}

#[test]
fn the_arithmetic_of_growing_is_what_its_script_prints() {
    let page = fs::read_to_string(repository().join("nginx/growing.md")).expect("the page");
    let block = page.split("```console\n").nth(1).expect("a block");
    let (command, printed) = block.split_once('\n').expect("a command");
    let printed = printed.split("```").next().expect("an output");
    let run = |command: &str| {
        let mut command = shell(command);
        let output = command.current_dir(repository()).output();
        output.expect("the shell runs")
    };
    let command = command.strip_prefix("$ ").expect("a prompt");
    let output = run(command);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), printed);

    let output = run("nginx/capacity --uploads=100000000 --days=1 --cores=4");
    let text = String::from_utf8_lossy(&output.stdout);
    for figure in ["4,630/s", "18.5 Gbit/s", "8 for uploads", "30.0 GB"] {
        assert!(text.contains(figure), "{figure} is not in {text}");
    }
    for wrong in [
        "--upload=1",
        "--uploads",
        "--uploads=",
        "--uploads=1e6",
        "--use=0",
    ] {
        let output = run(&format!("nginx/capacity {wrong}"));
        assert_eq!(output.status.code(), Some(2), "{wrong}: {output:?}");
    }
}
