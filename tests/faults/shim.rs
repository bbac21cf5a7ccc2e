//! Failing system calls: builds `shim.c`, an LD_PRELOAD library, and sets its rule.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use support::builder::SiteBuilder;
use support::{repository, skip};
use tempfile::TempDir;

/// The library and its rule file.
#[derive(Debug)]
pub(crate) struct Shim {
    library: PathBuf,
    rule: PathBuf,
    _directory: TempDir,
}

impl Shim {
    /// Builds the library; `None` after a [`skip`] where there is no C compiler.
    pub(crate) fn build() -> Option<Self> {
        let directory = tempfile::tempdir().expect("a directory");
        let library = directory.path().join("shim.so");
        let source = repository().join("tests/faults/shim.c");
        let built = Command::new("cc")
            .args([
                "-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", "-o",
            ])
            .arg(&library)
            .arg(source)
            .arg("-ldl")
            .output();
        match built {
            Err(error) => {
                skip(&format!("there is no C compiler: {error}"));
                return None;
            }
            Ok(output) => assert!(output.status.success(), "{output:?}"),
        }
        let rule = directory.path().join("rule");
        fs::write(&rule, "").expect("written");
        Some(Self {
            library,
            rule,
            _directory: directory,
        })
    }

    /// Preloads the library into the responder.
    pub(crate) fn preload(&self, site: SiteBuilder) -> SiteBuilder {
        site.variable("LD_PRELOAD", &self.library)
            .variable("FAULTS_RULE", &self.rule)
    }

    /// Makes the next `times` calls (`sync`, `write`, `rewrite`, `open` or `mark`) on a path that contains `part` fail.
    pub(crate) fn fail(&self, call: &str, part: &str, errno: i32, times: u32) {
        self.heal();
        fs::write(&self.rule, format!("{call} {part} {errno} {times}")).expect("written");
    }

    /// Stops the program (SIGSTOP) before the next call on a path that contains `part`.
    pub(crate) fn stop_before(&self, call: &str, part: &str) {
        self.fail(call, part, 0, 1);
    }

    /// Preloads the library into a command.
    pub(crate) fn preload_into<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command
            .env("LD_PRELOAD", &self.library)
            .env("FAULTS_RULE", &self.rule)
    }

    /// Removes the rule; returns how many calls failed.
    pub(crate) fn heal(&self) -> u64 {
        fs::write(&self.rule, "").expect("written");
        let hits = self.rule.with_file_name("rule.hits");
        let met = fs::metadata(&hits).map_or(0, |metadata| metadata.len());
        let _ = fs::remove_file(hits);
        met
    }
}
