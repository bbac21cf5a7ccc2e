//! `doctor`: what works, what does not, and what to do next.

use std::fmt::Write as _;
use std::io;
use std::path::Path;

use anstyle::{AnsiColor, Style};
use rustix::termios::tcgetwinsize;
use serde_json::{Value, json};

use super::{Failure, print_json, printed, read_config, spinner};
use crate::cli::DoctorArguments;
use crate::doctor::findings::{findings, nginx_version};
use crate::doctor::gather::{Options, gather, nginx_build};
use crate::doctor::{Finding, Verdict, worst};

pub(super) fn doctor(config_file: &Path, arguments: DoctorArguments) -> Result<(), Failure> {
    let json = arguments.json;
    let found = examine(config_file, arguments);
    if json {
        print_json(&machine_readable(&found))?;
    } else {
        print_styled(&found)?;
    }
    let failures = count(&found, Verdict::Fail);
    match (worst(&found), failures) {
        (Verdict::Fail, 1) => Err(Failure::failed("one check failed")),
        (Verdict::Fail, number) => Err(Failure::failed(format!("{number} checks failed"))),
        _ => Ok(()),
    }
}

fn examine(config_file: &Path, arguments: DoctorArguments) -> Vec<Finding> {
    let config = match read_config(config_file) {
        Ok(config) => config,
        // Everything else follows from it.
        Err(failure) => {
            let advice = if failure.message.contains("Permission denied") {
                "run doctor as root, or as the account of the responder"
            } else {
                "mend it first; whatever else is looked at follows from it"
            };
            let invalid = Finding::fail("configuration", failure.message, advice);
            let nginx = nginx_build().map_or_else(
                |why| Finding::skip("nginx", why),
                |build| nginx_version(&build),
            );
            return vec![invalid, nginx];
        }
    };
    let options = Options {
        nginx_conf: arguments.nginx_conf,
        nginx_prefix: arguments.nginx_prefix,
    }
    .or_own(config_file, &config.storage.docroot);
    let bar = spinner();
    let facts = gather(config, config_file, &options, &|what| {
        bar.set_message(format!("looking at: {what}"));
    });
    bar.finish_and_clear();
    findings(&facts)
}

fn count(found: &[Finding], verdict: Verdict) -> usize {
    found
        .iter()
        .filter(|finding| finding.verdict == verdict)
        .count()
}

fn machine_readable(found: &[Finding]) -> Value {
    let findings: Vec<_> = found
        .iter()
        .map(|finding| {
            json!({
                "check": finding.check,
                "verdict": finding.verdict.name(),
                "message": finding.message,
                "advice": finding.advice,
            })
        })
        .collect();
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "verdict": worst(found).name(),
        "findings": findings,
    })
}

/// Colours go to a terminal alone, and not there if `NO_COLOR` is set (<https://no-color.org>). A reader that has left is no failure.
fn print_styled(found: &[Finding]) -> Result<(), Failure> {
    let width = tcgetwinsize(io::stdout()).map_or(usize::MAX, |size| size.ws_col.max(60).into());
    let text = in_words(found, width);
    printed(io::Write::write_all(
        &mut anstream::stdout(),
        text.as_bytes(),
    ))
}

/// One line for each finding, what to do below it, and the sum. Lines of a terminal that are longer than it is wide go on below.
fn in_words(found: &[Finding], columns: usize) -> String {
    let width = found
        .iter()
        .map(|finding| finding.check.len())
        .max()
        .unwrap_or(0);
    let indent = " ".repeat(6 + width + 2);
    let room = columns.saturating_sub(indent.len()).max(30);
    let mut text = String::new();
    for finding in found {
        let style = style(finding.verdict);
        let word = match finding.verdict {
            Verdict::Fail => "FAIL",
            other => other.name(),
        };
        let advice = finding.advice.as_ref();
        let lines = wrapped(&finding.message, room).into_iter().chain(
            advice
                .into_iter()
                .flat_map(|advice| wrapped(&format!("-> {advice}"), room)),
        );
        // Writing to a string does not fail.
        let _ = write!(
            text,
            "{style}{word:<4}{style:#}  {:<width$}  ",
            finding.check
        );
        text.push_str(&lines.collect::<Vec<_>>().join(&format!("\n{indent}")));
        text.push('\n');
    }
    let [ok, skip, warn, fail] = [Verdict::Ok, Verdict::Skip, Verdict::Warn, Verdict::Fail]
        .map(|verdict| count(found, verdict));
    let _ = write!(text, "\n{ok} ok, {warn} warn, {fail} fail");
    if skip > 0 {
        let _ = write!(text, ", {skip} not looked at");
    }
    text.push('\n');
    text
}

/// Lines of at most `room` characters, unless a word is longer.
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
    fn findings_are_lines_with_advice_below() {
        let found = [
            Finding::ok("a", "fine"),
            Finding::warn("longer", "soon", "do this"),
            Finding::skip("b", "unseen"),
        ];
        let plain = anstream::adapter::strip_str(&in_words(&found, 80)).to_string();
        assert_eq!(
            plain,
            "ok    a       fine\nwarn  longer  soon\n              -> do this\nskip  b       unseen\n\n\
             1 ok, 1 warn, 0 fail, 1 not looked at\n"
        );
        let json = machine_readable(&found);
        assert_eq!(json["verdict"], "warn");
        assert_eq!(json["findings"][1]["advice"], "do this");
        assert_eq!(json["findings"][0]["advice"], Value::Null);
    }
}
