//! What the tests and the benchmark share: a running site, HTTP and FastCGI clients, web and name servers, generated images.

pub mod builder;
pub mod certificates;
pub mod clock;
pub mod cluster;
pub mod dns;
pub mod fastcgi;
pub mod form;
mod holdings;
pub mod http;
pub mod http_proxy;
pub mod machine;
pub mod origin;
pub mod pictures;
pub mod postgres;
pub mod seaweedfs;
pub mod site;
pub mod tcp_proxy;

use std::path::Path;
use std::sync::LazyLock;
use std::{env, thread};

/// The path of the program under test, which cargo builds before the tests and names in the environment.
pub fn program() -> &'static str {
    static PROGRAM: LazyLock<String> = LazyLock::new(|| {
        env::var("CARGO_BIN_EXE_corenexis-cdn").expect(
            "CARGO_BIN_EXE_corenexis-cdn is set by `cargo test`, which has to start the tests",
        )
    });
    &PROGRAM
}

/// The root of the repository.
pub fn repository() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// Prints `skip NAME: WHY` for the running test, which then returns early. `tests/run` counts the test as skipped, not as passed.
///
/// `cargo test` shows the line with `-- --show-output` only.
pub fn skip(why: &str) {
    let current = thread::current();
    eprintln!("skip {}: {why}", current.name().unwrap_or("a thread"));
}
