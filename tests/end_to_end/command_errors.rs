//! Commands with wrong input: their messages and exit codes, and that they change nothing.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output, Stdio};
use support::builder::Launch;
use support::site::Site;
use support::{program, skip};

#[track_caller]
fn says(output: &Output, code: i32, texts: &[&str]) {
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    let message = String::from_utf8_lossy(&output.stderr);
    for text in texts {
        assert!(message.contains(text), "{text:?} is not in {message}");
    }
    assert!(!message.contains("panicked"), "{message}");
}

fn site() -> Site {
    Site::builder().launch(Launch::Absent).start()
}

#[test]
fn an_unknown_client_is_an_error_not_an_empty_list() {
    let site = site();
    for arguments in [
        &["image", "list", "--client", "nobody"][..],
        &["image", "list", "--client", "nobody", "--json"],
        &["usage", "--client", "nobody"],
    ] {
        let output = site.output(arguments);
        says(&output, 1, &["nobody", "client list"]);
        assert_eq!(output.stdout, b"");
    }
    site.run(&["image", "list", "--client", "client-3m"]);
    site.run(&["usage", "--client", "client-3m"]);
}

#[test]
fn commands_that_read_make_no_ledger() {
    let plan = Site::builder().launch(Launch::Absent);
    // doctor fails here: no responder answers at the public URL.
    let site = plan.expect("connect() to unix:").start();
    site.edit_config(|text| text.replace("ledger/ledger.db", "ledger/other.db"));
    for arguments in [
        &["client", "list"][..],
        &["client", "rotate", "x"],
        &["image", "list"],
        &["usage"],
        &["verify"],
        &["doctor"],
    ] {
        let output = site.output(arguments);
        assert!(!output.status.success(), "{output:?}");
        assert!(!site.root.join("ledger/other.db").exists(), "{arguments:?}");
    }
    let output = site.output(&["client", "list"]);
    says(&output, 4, &["there is no ledger", "client add", "restore"]);
    site.run(&["client", "add", "first", "--plan", "3m"]);
    assert!(site.root.join("ledger/other.db").exists());
}

#[test]
fn a_failed_write_to_standard_output_is_an_error() {
    let site = Site::start();
    for arguments in [
        &["client", "list"][..],
        &["usage", "--json"],
        &["verify"],
        &["verify", "--json"],
        &["doctor"],
        &["completions", "bash"],
    ] {
        let full = File::options()
            .write(true)
            .open("/dev/full")
            .expect("there");
        let output = site
            .command(arguments)
            .stdout(full)
            .output()
            .expect("it runs");
        says(
            &output,
            1,
            &["standard output could not be written", "No space left"],
        );
    }
}

#[test]
fn a_token_that_could_not_be_printed_is_an_error() {
    let site = site();
    let full = File::options()
        .write(true)
        .open("/dev/full")
        .expect("there");
    let output = site
        .command(&["client", "add", "shop", "--plan", "3m"])
        .stdout(full)
        .output()
        .expect("it runs");
    says(&output, 1, &["is lost", "client rotate shop"]);
    let mut child = site
        .command(&["client", "rotate", "shop"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("its end");
    says(&output, 1, &["is lost", "client rotate shop"]);
    site.run(&["client", "rotate", "shop"]);
}

#[test]
fn backup_refuses_a_target_that_is_not_a_regular_file() {
    let site = site();
    let root = site.root.display().to_string();
    let device = site.root.join("device");
    std::os::unix::fs::symlink("/dev/full", &device).expect("linked");
    for target in [root.as_str(), &device.display().to_string()] {
        for force in [&[][..], &["--force"]] {
            let output = site.output(&[&["backup", target][..], force].concat());
            says(&output, 4, &[target, "not a regular file"]);
        }
    }
    assert!(device.is_symlink(), "what was there is still there");
    let lost = site.root.join("lost.db").display().to_string();
    let output = site.output(&["restore", &lost, "--yes"]);
    says(&output, 4, &[&lost, "No such file or directory"]);
}

#[test]
fn a_ledger_without_read_permission_is_not_called_damaged() {
    if !rustix::process::geteuid().is_root() {
        skip("root alone can become somebody else");
        return;
    }
    let site = site();
    let copy = site.root.join("program");
    fs::copy(program(), &copy).expect("a copy");
    Command::new("chmod")
        .args(["-R", "a+rX,go-w"])
        .arg(&site.root)
        .status()
        .expect("chmod runs");
    for mode in [0o644, 0o600] {
        let mode = fs::Permissions::from_mode(mode);
        fs::set_permissions(site.ledger_file(), mode).expect("the mode is set");
        let output = Command::new("setpriv")
            .args(["--reuid", "1234", "--regid", "1234", "--clear-groups"])
            .arg(&copy)
            .arg("--config")
            .arg(site.config())
            .args(["client", "list"])
            .current_dir("/")
            .output();
        match output {
            Ok(output) => says(&output, 4, &["as the account that owns it"]),
            Err(_) => skip("setpriv(1) is not installed"),
        }
    }
}

#[test]
fn regression_usage_errors_show_no_config_option_that_was_not_given() {
    for (arguments, usage) in [
        (
            &["image", "show"][..],
            "Usage: corenexis-cdn image show <IMAGE>",
        ),
        (
            &["verify", "--yes"],
            "Usage: corenexis-cdn verify --accept --yes",
        ),
    ] {
        let output = Command::new(program())
            .args(arguments)
            .env("CORENEXIS_CDN_CONFIG", "/nowhere/config.toml")
            .output()
            .expect("the program runs");
        says(&output, 2, &[usage]);
    }
}

#[test]
fn the_configuration_is_that_of_the_option_then_of_the_environment() {
    let run = |option: &[&str], variable: &str| {
        let mut command = Command::new(program());
        command.args(option).arg("client").arg("list");
        let output = command.env("CORENEXIS_CDN_CONFIG", variable).output();
        output.expect("the program runs")
    };
    let option = ["--config", "/nowhere/option.toml"];
    says(&run(&option, "/nowhere/variable.toml"), 3, &["option.toml"]);
    says(&run(&[], "/nowhere/variable.toml"), 3, &["variable.toml"]);
    says(&run(&[], ""), 3, &["/etc/corenexis-cdn/config.toml"]);
}
