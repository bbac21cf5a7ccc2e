//! The commands of the operator on a running site: their output, their effect, their exit codes.

use std::fs;
use std::io::Write;
use std::process::{Output, Stdio};

use serde_json::{Value, json};
use support::builder::Client;
use support::form::Form;
use support::pictures::{PNG, png};
use support::site::Site;
use support::{program, skip};
use time::UtcDateTime;

/// The status of an upload with these credentials.
pub(crate) fn status(site: &Site, client: &Client) -> u16 {
    site.post(&Form::upload(client, "7D", PNG)).status
}

pub(crate) fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("no JSON ({error}): {text}"))
}

#[track_caller]
pub(crate) fn failed(output: &Output, code: i32) -> String {
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        !message.is_empty() && !message.contains("panicked"),
        "{message}"
    );
    message
}

#[test]
fn a_client_is_added_listed_and_shown() {
    let site = Site::start();
    let output = site.output(&["client", "add", "shop.example", "--plan", "3m"]);
    assert!(output.status.success(), "{output:?}");
    let printed = String::from_utf8(output.stdout).expect("UTF-8");
    let shop = Client::printed(&printed);
    assert_eq!(
        printed,
        format!("client_id=shop.example\nclient_token={}\n", shop.token)
    );
    assert!(
        shop.token.len() == 32 && shop.token.bytes().all(|byte| byte.is_ascii_hexdigit()),
        "{}",
        shop.token
    );
    assert_eq!(status(&site, &shop), 200);

    let shown = parsed(&site.run(&["client", "show", "shop.example", "--json"]));
    for (key, expected) in [
        ("id", json!("shop.example")),
        ("plan", json!("3m")),
        ("state", json!("enabled")),
        ("valid_tokens", json!(1)),
        ("uploads_today", json!(1)),
        ("daily_uploads", json!(1_000)),
        ("uploads", json!(1)),
        ("bytes", json!(PNG.len())),
    ] {
        assert_eq!(shown[key], expected, "{key} of {shown}");
    }
    let listed = parsed(&site.run(&["client", "list", "--json"]));
    let ids: Vec<_> = listed
        .as_array()
        .expect("a list")
        .iter()
        .map(|row| &row["id"])
        .collect();
    assert_eq!(
        ids,
        [
            "client-3m",
            "client-free",
            "client-lifetime",
            "shop.example"
        ]
    );
    let table = site.run(&["client", "list"]);
    assert!(table.starts_with("ID "), "{table}");
    assert_eq!(table.lines().count(), 5, "{table}");
    let text = site.run(&["client", "show", "shop.example"]);
    assert!(text.contains("plan: 3m\n"), "{text}");

    // The ledger has no token.
    for file in ["ledger/ledger.db", "ledger/ledger.db-wal", "responder.log"] {
        let bytes = fs::read(site.root.join(file)).unwrap_or_default();
        let token = shop.token.as_bytes();
        assert!(!bytes.windows(32).any(|window| window == token), "{file}");
    }
}

#[test]
fn a_client_with_a_wrong_id_or_plan_is_not_added() {
    let site = Site::start();
    let message = failed(
        &site.output(&["client", "add", "client-3m", "--plan", "3m"]),
        1,
    );
    assert!(message.contains("client-3m"), "{message}");
    let message = failed(&site.output(&["client", "add", "x", "--plan", "gold"]), 2);
    assert!(
        message.contains("gold") && message.contains("lifetime"),
        "{message}"
    );
    for id in ["", "a b", "a/b", "é", &"x".repeat(65)] {
        failed(&site.output(&["client", "add", id, "--plan", "3m"]), 2);
    }
    failed(&site.output(&["client", "add", "x"]), 2);
    failed(&site.output(&["client", "add"]), 2);
    failed(&site.output(&["client", "show", "nobody"]), 1);
    failed(&site.output(&["client", "rotate", "nobody"]), 1);
    failed(&site.output(&["client", "disable", "nobody"]), 1);
    failed(&site.output(&["client", "enable", "nobody"]), 1);
    failed(&site.output(&["client", "remove", "nobody", "--yes"]), 1);
    failed(&site.output(&["client", "frobnicate"]), 2);
    failed(&site.output(&["frobnicate"]), 2);
    assert_eq!(site.count("SELECT count(*) FROM client"), 3);
}

#[test]
fn a_token_is_imported() {
    let site = Site::start();
    let token = "0123456789abcdef-imported";
    let file = site.root.join("token");
    fs::write(&file, format!("{token}\n")).expect("written");
    let name = file.display().to_string();
    let added = site.run(&[
        "client",
        "add",
        "old",
        "--plan",
        "free",
        "--token-file",
        &name,
    ]);
    let old = Client::printed(&added);
    assert_eq!(old.token, token);
    assert_eq!(status(&site, &old), 200);

    let mut child = site
        .command(&["client", "rotate", "old", "--token-file", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut input = child.stdin.take().expect("its input");
    input.write_all(b"another-token-of-old\n").expect("written");
    drop(input);
    let output = child.wait_with_output().expect("its end");
    let new = Client::printed(&String::from_utf8_lossy(&output.stdout));
    assert_eq!(new.token, "another-token-of-old");
    assert_eq!((status(&site, &old), status(&site, &new)), (403, 200));

    for unfit in ["short", "0123456789 abcdef", "", "0123456789abcdefé"] {
        fs::write(&file, unfit).expect("written");
        let arguments = [
            "client",
            "add",
            "x",
            "--plan",
            "free",
            "--token-file",
            &name,
        ];
        let message = failed(&site.output(&arguments), 1);
        assert!(unfit.is_empty() || !message.contains(unfit), "{message}");
    }
    failed(
        &site.output(&[
            "client",
            "add",
            "x",
            "--plan",
            "free",
            "--token-file",
            "/nonexistent",
        ]),
        1,
    );
    failed(&site.output(&["client", "show", "x"]), 1);
}

#[test]
fn a_token_is_rotated() {
    let site = Site::start();
    let old = site.client("3m").clone();
    let new = Client::printed(&site.run(&["client", "rotate", &old.id]));
    assert_eq!(new.id, old.id);
    assert_ne!(new.token, old.token);
    assert_eq!((status(&site, &old), status(&site, &new)), (403, 200));

    let newer = Client::printed(&site.run(&["client", "rotate", &old.id, "--overlap", "1h"]));
    assert_eq!(
        [&old, &new, &newer].map(|client| status(&site, client)),
        [403, 200, 200]
    );
    let shown = parsed(&site.run(&["client", "show", &old.id, "--json"]));
    assert_eq!(shown["valid_tokens"], 2);
    // A rotation without an overlap ends all older tokens.
    let newest = Client::printed(&site.run(&["client", "rotate", &old.id]));
    assert_eq!(
        [&new, &newer, &newest].map(|client| status(&site, client)),
        [403, 403, 200]
    );
    for overlap in ["0s", "1", "x", "-1h", "1y"] {
        let overlap = format!("--overlap={overlap}");
        failed(&site.output(&["client", "rotate", &old.id, &overlap]), 2);
    }
    assert_eq!(status(&site, &newest), 200);
}

#[test]
fn a_client_is_disabled_enabled_and_removed() {
    let site = Site::start();
    let client = site.client("3m").clone();
    let path = site.store("3m", "7D", PNG);
    for _ in 0..2 {
        site.run(&["client", "disable", &client.id]);
        assert_eq!(status(&site, &client), 403);
    }
    let shown = parsed(&site.run(&["client", "show", &client.id, "--json"]));
    assert_eq!(shown["state"], "disabled");
    assert!(shown["disabled_at"].is_string(), "{shown}");
    site.run(&["client", "enable", &client.id]);
    assert_eq!(status(&site, &client), 200);

    // Without a terminal no question can be answered.
    let output = site.output(&["client", "remove", &client.id]);
    assert_ne!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(status(&site, &client), 200);
    site.run(&["client", "remove", &client.id, "--yes"]);
    assert_eq!(status(&site, &client), 403);
    failed(&site.output(&["client", "show", &client.id]), 1);
    assert_eq!(site.get(&format!("/p/{path}")).status, 200);
    // Its usage is kept.
    let usage = parsed(&site.run(&["usage", "--json"]));
    assert_eq!(usage[0]["uploads"], 3, "{usage}");
}

#[test]
fn usage_is_counted_by_day_and_client() {
    let site = Site::start();
    let before = UtcDateTime::now().date();
    for _ in 0..2 {
        site.store("free", "7D", PNG);
    }
    site.store("3m", "7D", &png(3, 3));
    if UtcDateTime::now().date() != before {
        skip("midnight came during the test");
        return;
    }
    let day = before.to_string();
    let free = json!({
        "day": day, "client": "client-free", "client_removed_at": null, "uploads": 2, "bytes": 2 * PNG.len()
    });
    let three = json!({
        "day": day, "client": "client-3m", "client_removed_at": null, "uploads": 1, "bytes": png(3, 3).len()
    });
    let all = parsed(&site.run(&["usage", "--json"]));
    let rows = all.as_array().expect("rows");
    assert!(
        rows.len() == 2 && rows.contains(&free) && rows.contains(&three),
        "{all}"
    );
    let one = parsed(&site.run(&["usage", "--json", "--client", "client-free"]));
    assert_eq!(one, json!([free]));
    let since = parsed(&site.run(&["usage", "--json", "--since", &day]));
    assert_eq!(since, all);
    let tomorrow = before.next_day().expect("a day").to_string();
    let none = parsed(&site.run(&["usage", "--json", "--since", &tomorrow]));
    assert_eq!(none, json!([]));
    let table = site.run(&["usage"]);
    assert_eq!(table.lines().count(), 4, "{table}");
    let by_client = parsed(&site.run(&["usage", "--by", "client", "--json"]));
    assert_eq!(
        by_client[1],
        json!({
            "client": "client-free", "client_removed_at": null, "uploads": 2, "bytes": 2 * PNG.len(),
            "stored_bytes": 2 * PNG.len(), "max_storage": null
        })
    );
    let csv = site.run(&["usage", "--csv", "--client", "client-free"]);
    let line = format!("{day},client-free,2,{}\r\n", 2 * PNG.len());
    assert_eq!(csv, format!("day,client,uploads,bytes\r\n{line}"));
    failed(&site.output(&["usage", "--csv", "--json"]), 2);
    failed(&site.output(&["usage", "--since", "yesterday"]), 2);
}

#[test]
fn images_are_shown_listed_and_deleted_by_path_and_url() {
    let site = Site::start();
    let base = format!("http://127.0.0.1:{}", site.port);
    let image = png(30, 20);
    let mut paths: Vec<_> = (0..3).map(|_| site.store("free", "7D", &image)).collect();
    paths.sort();
    // Newest first is the order of the paths.
    for (path, age) in paths.iter().zip(0..) {
        let update = format!(
            "UPDATE image SET uploaded_at = uploaded_at - {age} * 100 WHERE path = '{path}'"
        );
        site.ledger().execute_batch(&update).expect("changed");
    }
    let viewer = format!("{base}/view/?img={}", paths[0]);
    let direct = format!("{base}/p/{}", paths[0]);
    for reference in [&paths[0], &viewer, &direct] {
        let shown = parsed(&site.run(&["image", "show", reference, "--json"]));
        for (key, expected) in [
            ("path", json!(paths[0])),
            ("url", json!(direct)),
            ("viewer", json!(viewer)),
            ("client", json!("client-free")),
            ("bytes", json!(image.len())),
            ("width", json!(30)),
            ("height", json!(20)),
        ] {
            assert_eq!(shown[key], expected, "{key} of {shown}");
        }
    }
    let listed = |arguments: &[&str]| -> Vec<String> {
        let rows = parsed(&site.run(&[&["image", "list", "--json"], arguments].concat()));
        let rows = rows.as_array().expect("rows");
        rows.iter()
            .map(|row| row["path"].as_str().expect("a path").to_owned())
            .collect()
    };
    assert_eq!(listed(&[]), paths);
    assert_eq!(listed(&["--limit", "1"]), paths[..1]);
    assert_eq!(listed(&["--after", &paths[0]]), paths[1..]);
    assert_eq!(listed(&["--client", "client-free"]), paths);
    assert_eq!(listed(&["--client", "client-3m"]), [""; 0]);
    assert_eq!(listed(&["--before", &direct]), [""; 0]);
    assert_eq!(
        listed(&["--before", &paths[2], "--limit", "1"]),
        paths[1..2]
    );
    let all = [
        "--type", "png", "--size", "1..1MiB", "--width", "30..", "--height", "..20",
    ];
    assert_eq!(listed(&all), paths);
    assert_eq!(listed(&["--type", "jpg"]), [""; 0]);
    assert_eq!(
        listed(&["--since", "2020-01-01", "--until", "2020-01-02"]),
        [""; 0]
    );
    let page = site.output(&["image", "list", "--limit", "2"]);
    let more = String::from_utf8_lossy(&page.stderr).into_owned();
    let position = more
        .trim()
        .strip_prefix("There are older ones: add --after ");
    let position = position.unwrap_or_else(|| panic!("{more}"));
    assert_eq!(String::from_utf8_lossy(&page.stdout).lines().count(), 3);
    site.run(&["image", "delete", &paths[1]]);
    assert_eq!(
        listed(&["--after", position]),
        paths[2..],
        "its image is deleted"
    );
    failed(&site.output(&["image", "list", "--after", &paths[1]]), 1);
    failed(&site.output(&["image", "list", "--size", "5"]), 2);

    site.run(&["image", "delete", &viewer]);
    assert_eq!(listed(&[]), paths[2..]);
    for path in &paths[..2] {
        assert_eq!(site.get(&format!("/p/{path}")).status, 404, "{path}");
        failed(&site.output(&["image", "show", path]), 1);
    }
    failed(&site.output(&["image", "delete", &paths[0]]), 1);
    assert_eq!(site.get(&format!("/p/{}", paths[2])).status, 200);
    for wrong in [
        "",
        "x",
        "../../../etc/passwd",
        "d/ap5/AbCdEf.php",
        "/etc/passwd",
        "d/ap99/AbCdEf.png",
    ] {
        failed(&site.output(&["image", "delete", wrong]), 1);
        failed(&site.output(&["image", "show", wrong]), 2);
    }
    failed(&site.output(&["image", "delete"]), 2);
    assert_eq!(site.holdings().files, paths[2..]);
}

#[test]
fn an_unusable_ledger_exits_with_4() {
    let site = Site::builder()
        .launch(support::builder::Launch::Absent)
        .start();
    let ledger = site.ledger_file();
    let aside = site.root.join("aside");
    for name in ["ledger.db-wal", "ledger.db-shm"] {
        let _ = fs::remove_file(site.root.join("ledger").join(name));
    }
    fs::rename(&ledger, &aside).expect("moved");
    fs::write(
        &ledger,
        b"this is no database at all, but long enough to be looked at",
    )
    .expect("written");
    for command in [
        &["client", "list"][..],
        &["sweep"],
        &["usage"],
        &["image", "list"],
        &["serve"],
    ] {
        let message = failed(&site.output(command), 4);
        assert!(message.contains("ledger"), "{command:?}: {message}");
    }
    fs::rename(&aside, &ledger).expect("moved back");
    site.run(&["client", "show", "client-3m"]);
    fs::rename(site.root.join("ledger"), site.root.join("elsewhere")).expect("moved");
    failed(&site.output(&["client", "list"]), 4);
    fs::rename(site.root.join("elsewhere"), site.root.join("ledger")).expect("moved back");
}

#[test]
fn dated_backups_are_kept_by_number() {
    let site = Site::start();
    let directory = site.root.join("backups");
    fs::create_dir(&directory).expect("a directory");
    for old in ["ledger-20200101-000000.db", "ledger-20200102-000000.db"] {
        fs::write(directory.join(old), "").expect("an old backup");
    }
    fs::write(directory.join("mine.db"), "").expect("another file");
    let path = directory.to_str().expect("UTF-8");
    site.run(&["backup", path, "--keep", "2"]);
    let mut names: Vec<_> = directory
        .read_dir()
        .expect("the directory")
        .map(|entry| entry.expect("an entry").file_name())
        .collect();
    names.sort();
    assert_eq!(names.len(), 3, "{names:?}");
    assert_eq!(names[0], "ledger-20200102-000000.db");
    assert_eq!(names[2], "mine.db");
    let newest = directory.join(&names[1]);
    assert!(
        fs::read(newest)
            .expect("a ledger")
            .starts_with(b"SQLite format 3\0")
    );
    failed(&site.output(&["backup", "/nonexistent", "--keep", "2"]), 4);
    failed(&site.output(&["backup", path, "--keep", "0"]), 2);
}

#[test]
fn help_version_and_completions_are_printed() {
    let site = Site::builder()
        .launch(support::builder::Launch::Absent)
        .start();
    for arguments in [
        &["--help"][..],
        &["client", "add", "--help"],
        &["--version"],
    ] {
        let text = site.run(arguments);
        assert!(text.contains("corenexis-cdn"), "{text}");
    }
    assert_eq!(site.run(&["-V"]).lines().count(), 1);
    let version = site.run(&["--version"]);
    assert!(version.contains("schema"), "{version}");
    assert!(version.contains("\nfeatures: "), "{version}");
    let pages = site.root.join("man");
    site.run(&["man", pages.to_str().expect("UTF-8")]);
    for page in [
        "corenexis-cdn.1",
        "corenexis-cdn-client-add.1",
        "corenexis-cdn.toml.5",
    ] {
        let text = fs::read_to_string(pages.join(page)).expect("a manual page");
        assert!(text.contains(".TH corenexis"), "{page}: {text}");
    }
    for shell in ["bash", "zsh", "fish"] {
        let script = site.run(&["completions", shell]);
        assert!(script.contains("corenexis-cdn"), "{shell}: {script}");
    }
}

#[test]
fn regression_completions_into_a_closed_pipe_panicked() {
    let output = std::process::Command::new("sh")
        .args(["-c", "\"$0\" completions bash | :"])
        .arg(program())
        .output()
        .expect("a shell");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}
