//! What `-V` and `--version` print: the release, the commit it was built from, and what it was built with.

use std::env::consts::ARCH;
use std::sync::LazyLock;

use crate::ledger;

/// The commit, which install.sh and tests/package/build pass to the compiler; a plain `cargo build` does not know it.
const COMMIT: Option<&str> = option_env!("CORENEXIS_CDN_COMMIT");

/// The C library that the program is linked with.
const LIBC: &str = if cfg!(target_env = "musl") {
    "musl"
} else {
    "gnu"
};

/// The features of Cargo.toml that were compiled in.
const FEATURES: &[&str] = &[
    #[cfg(feature = "postgres")]
    "postgres",
    #[cfg(feature = "s3")]
    "s3",
];

/// The version and the commit, in one line.
pub(super) static SHORT: LazyLock<String> = LazyLock::new(|| {
    let commit = COMMIT.filter(|commit| !commit.is_empty());
    match commit {
        Some(commit) => format!("{} (commit {commit})", env!("CARGO_PKG_VERSION")),
        None => env!("CARGO_PKG_VERSION").to_owned(),
    }
});

/// The version of the schema in PostgreSQL, for the line `ledger:`; empty without the feature `postgres`.
#[cfg(feature = "postgres")]
fn postgresql() -> String {
    format!("; schema {}, PostgreSQL", ledger::newest_postgres_schema())
}

#[cfg(not(feature = "postgres"))]
const fn postgresql() -> &'static str {
    ""
}

/// [`SHORT`], and lines with the target and the parts that decide what the program can read and reach.
pub(super) static LONG: LazyLock<String> = LazyLock::new(|| {
    format!(
        "{}\ntarget:   {ARCH}-linux-{LIBC}\nfeatures: {}\nledger:   schema {}, SQLite {}{}\nlistens:  FastCGI on a socket, socket activation, spawn-fcgi, CGI\n\
         images:   JPEG, PNG, GIF, WebP\nfetches:  HTTP/1.1, TLS 1.2 and 1.3 (rustls)",
        *SHORT,
        if FEATURES.is_empty() {
            "none".to_owned()
        } else {
            FEATURES.join(", ")
        },
        ledger::newest_schema(),
        rusqlite::version(),
        postgresql(),
    )
});
