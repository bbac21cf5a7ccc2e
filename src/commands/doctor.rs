//! `doctor`: runs the checks of [`crate::doctor`] and prints them.

use std::fmt::Write as _;
use std::fs::File;
use std::io;
use std::path::Path;

use anstyle::{AnsiColor, Style};
use rustix::termios::tcgetwinsize;
use serde_json::{Value, json};

use super::{Failure, print, print_json, printed, read_config, setup, spinner};
use crate::cli::DoctorArguments;
use crate::doctor::{Check, NginxOptions, Verdict, check, nginx_version, worst};

pub(super) fn doctor(config_file: &Path, arguments: DoctorArguments) -> Result<(), Failure> {
    let json = arguments.json;
    let nagios = arguments.nagios;
    let mut checks = run(config_file, arguments);
    if setup::script().is_some() {
        name_setup(&mut checks);
    }
    if json {
        print_json(&as_json(&checks))?;
    } else if nagios {
        print(&as_plugin_output(&checks))?;
    } else {
        print_styled(&checks)?;
    }
    if nagios {
        return match worst(&checks) {
            Verdict::Fail => Err(Failure {
                code: 2,
                message: "a check failed".to_owned(),
            }),
            Verdict::Warn => Err(Failure::failed("there are warnings")),
            Verdict::Ok | Verdict::Skip => Ok(()),
        };
    }
    match count(&checks, Verdict::Fail) {
        0 => Ok(()),
        1 => Err(Failure::failed("one check failed")),
        number => Err(Failure::failed(format!("{number} checks failed"))),
    }
}

fn run(config_file: &Path, arguments: DoctorArguments) -> Vec<Check> {
    let config = match read_config(config_file) {
        Ok(config) => config,
        Err(failure) => {
            let opened = File::open(config_file);
            let denied = opened.is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied);
            let advice = if denied {
                "run doctor as root, or as the account of the responder"
            } else {
                "correct it first: the other checks depend on it"
            };
            let invalid = Check::fail("configuration", failure.message, advice);
            return vec![invalid, nginx_version()];
        }
    };
    let nginx = NginxOptions {
        conf: arguments.nginx_conf,
        prefix: arguments.nginx_prefix,
    }
    .or_own(config_file, &config.storage.docroot);
    let bar = spinner();
    let checks = check(config, config_file, &nginx, |subject| {
        bar.set_message(format!("checking: {subject}"));
    });
    bar.finish_and_clear();
    checks
}

/// A package has install.sh under the name `corenexis-cdn setup`.
fn name_setup(checks: &mut [Check]) {
    for advice in checks.iter_mut().filter_map(|check| check.advice.as_mut()) {
        *advice = advice.replace("install.sh", "corenexis-cdn setup");
    }
}

fn count(checks: &[Check], verdict: Verdict) -> usize {
    let matching = checks.iter().filter(|check| check.verdict == verdict);
    matching.count()
}

fn as_json(checks: &[Check]) -> Value {
    let findings: Vec<_> = checks
        .iter()
        .map(|check| {
            json!({
                "check": check.name,
                "verdict": check.verdict.name(),
                "message": check.message,
                "advice": check.advice,
            })
        })
        .collect();
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "verdict": worst(checks).name(),
        "findings": findings,
    })
}

/// The verdict in one line, and the checks that are not well in the lines after it
/// (<https://nagios-plugins.org/doc/guidelines.html#PLUGOUTPUT>). A pipe would begin performance data.
fn as_plugin_output(checks: &[Check]) -> String {
    let unwell = |verdict| checks.iter().filter(move |check| check.verdict == verdict);
    let first = unwell(Verdict::Fail)
        .chain(unwell(Verdict::Warn))
        .map(|check| format!("{}: {}", check.name, check.message))
        .collect::<Vec<_>>();
    let word = match worst(checks) {
        Verdict::Fail => "CRITICAL",
        Verdict::Warn => "WARNING",
        Verdict::Ok | Verdict::Skip => "OK",
    };
    let summary = match first.first() {
        Some(message) => message.clone(),
        None => format!("{} checks passed", count(checks, Verdict::Ok)),
    };
    let mut lines = vec![format!("CDN {word} - {summary}")];
    lines.extend(first.into_iter().skip(1));
    lines.join("\n").replace('|', "/") + "\n"
}

/// Prints colours to a terminal only, and not if `NO_COLOR` is set (<https://no-color.org>). A closed pipe is not a failure.
fn print_styled(checks: &[Check]) -> Result<(), Failure> {
    let width = tcgetwinsize(io::stdout()).map_or(usize::MAX, |size| size.ws_col.max(60).into());
    let text = as_text(checks, width);
    printed(io::Write::write_all(
        &mut anstream::stdout(),
        text.as_bytes(),
    ))
}

/// A line for each check with its advice below, and the totals. Lines are wrapped at the width of the terminal.
fn as_text(checks: &[Check], columns: usize) -> String {
    let width = checks
        .iter()
        .map(|check| check.name.len())
        .max()
        .unwrap_or(0);
    let indent = " ".repeat(6 + width + 2);
    let room = columns.saturating_sub(indent.len()).max(30);
    let mut text = String::new();
    for check in checks {
        let style = style(check.verdict);
        let word = match check.verdict {
            Verdict::Fail => "FAIL",
            other => other.name(),
        };
        let advice = check.advice.as_ref();
        let lines = wrapped(&check.message, room).into_iter().chain(
            advice
                .into_iter()
                .flat_map(|advice| wrapped(&format!("-> {advice}"), room)),
        );
        // Writing to a string does not fail.
        let _ = write!(text, "{style}{word:<4}{style:#}  {:<width$}  ", check.name);
        text.push_str(&lines.collect::<Vec<_>>().join(&format!("\n{indent}")));
        text.push('\n');
    }
    let [ok, skip, warn, fail] = [Verdict::Ok, Verdict::Skip, Verdict::Warn, Verdict::Fail]
        .map(|verdict| count(checks, verdict));
    let _ = write!(text, "\n{ok} ok, {warn} warn, {fail} fail");
    if skip > 0 {
        let _ = write!(text, ", {skip} not checked");
    }
    text.push('\n');
    text
}

/// Wraps a text at spaces into lines of at most `room` characters; a longer word has a line of its own.
fn wrapped(text: &str, room: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let line = lines.last_mut().expect("there is a first line");
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > room {
            lines.push(word.to_owned());
        } else {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}

fn style(verdict: Verdict) -> Style {
    match verdict {
        Verdict::Ok => AnsiColor::Green.on_default(),
        Verdict::Skip => Style::new().dimmed(),
        Verdict::Warn => AnsiColor::Yellow.on_default().bold(),
        Verdict::Fail => AnsiColor::Red.on_default().bold(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_has_install_sh_as_setup() {
        let mut checks = [Check::warn("https", "no", "run `install.sh --https`")];
        name_setup(&mut checks);
        assert_eq!(
            checks[0].advice.as_deref(),
            Some("run `corenexis-cdn setup --https`")
        );
    }

    #[test]
    fn checks_are_printed_with_advice_below() {
        let found = [
            Check::ok("a", "fine"),
            Check::warn("longer", "soon", "do this"),
            Check::skip("b", "unseen"),
        ];
        let plain = anstream::adapter::strip_str(&as_text(&found, 80)).to_string();
        assert_eq!(
            plain,
            "ok    a       fine\nwarn  longer  soon\n              -> do this\nskip  b       unseen\n\n\
             1 ok, 1 warn, 0 fail, 1 not checked\n"
        );
        assert_eq!(as_plugin_output(&found), "CDN WARNING - longer: soon\n");
        assert_eq!(as_plugin_output(&found[..1]), "CDN OK - 1 checks passed\n");
        let failed = [
            Check::warn("a", "soon", "do"),
            Check::fail("b", "x | y", "do"),
        ];
        assert_eq!(
            as_plugin_output(&failed),
            "CDN CRITICAL - b: x / y\na: soon\n"
        );
        let json = as_json(&found);
        assert_eq!(json["verdict"], "warn");
        assert_eq!(json["findings"][1]["advice"], "do this");
        assert_eq!(json["findings"][0]["advice"], Value::Null);
    }
}
