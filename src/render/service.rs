//! The systemd units, init scripts, crontabs and the logrotate file of responder and sweep.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::{Options, Rendered, filled};
use crate::config::{Config, Listen};
use crate::template::{Escaped, Template};

/// The default directory of the responder's log.
const LOGS: &str = "/var/log/corenexis-cdn";

/// Directories that `ProtectHome=yes` hides (systemd.exec(5)).
const HOMES: [&str; 3] = ["/home", "/root", "/run/user"];

const SCRIPT: u32 = 0o755;

pub(super) fn files(config: &Config, options: &Options) -> Vec<Rendered> {
    let script = |path, contents| Rendered {
        mode: SCRIPT,
        ..filled(path, contents)
    };
    vec![
        filled("service/corenexis-cdn.socket", socket(config, options)),
        filled(
            "service/corenexis-cdn.service",
            unit(
                include_str!("../../nginx/service/corenexis-cdn.service"),
                &[
                    ("NO_SCAN", config.scan.command.is_empty()),
                    ("REMOTE", is_remote(config)),
                ],
                config,
                options,
            ),
        ),
        filled(
            "service/corenexis-cdn-sweep.service",
            unit(
                include_str!("../../cron/corenexis-cdn-sweep.service"),
                &network(is_remote(config) || config.site.purge_command.is_some()),
                config,
                options,
            ),
        ),
        filled(
            "service/corenexis-cdn-sweep.timer",
            include_str!("../../cron/corenexis-cdn-sweep.timer").to_owned(),
        ),
        filled(
            "service/corenexis-cdn-backup.service",
            unit(
                include_str!("../../cron/corenexis-cdn-backup.service"),
                &network(is_remote(config)),
                config,
                options,
            ),
        ),
        filled(
            "service/corenexis-cdn-backup.timer",
            include_str!("../../cron/corenexis-cdn-backup.timer").to_owned(),
        ),
        script(
            "service/corenexis-cdn.init",
            init_script(
                include_str!("../../nginx/service/corenexis-cdn.init"),
                config,
                options,
            ),
        ),
        script(
            "service/corenexis-cdn.openrc",
            init_script(
                include_str!("../../nginx/service/corenexis-cdn.openrc"),
                config,
                options,
            ),
        ),
        script("service/corenexis-cdn.user", supervisor(config, options)),
        script("service/corenexis-cdn.cgi", cgi(options)),
        filled("cron/corenexis-cdn", crontab(options)),
        filled("cron/corenexis-cdn.crontab", users_crontab(options)),
        script("cron/corenexis-cdn.periodic", periodic(options)),
        filled("cron/corenexis-cdn.logrotate", logrotate(config, options)),
    ]
}

fn socket(config: &Config, options: &Options) -> String {
    let address = match &config.server.listen {
        Listen::Unix(path) => Escaped::unit_text(&path.to_string_lossy()),
        Listen::Tcp(address) => Escaped::written(address.to_string()),
    };
    Template {
        text: include_str!("../../nginx/service/corenexis-cdn.socket"),
        values: &[
            ("DOCUMENTATION", documentation(config)),
            ("ADDRESS", address),
            ("USER", Escaped::written(&*options.user)),
            ("GROUP", Escaped::written(&*options.nginx_group)),
        ],
        sections: &[("UNIX", is_unix(config))],
    }
    .fill()
}

fn unit(text: &str, sections: &[(&str, bool)], config: &Config, options: &Options) -> String {
    let writable = writable(config);
    let words: Vec<_> = writable
        .iter()
        .map(|path| Escaped::unit_word(&path.to_string_lossy()).to_string())
        .collect();
    let used = [&options.binary, &options.config_file].map(Path::new);
    let hidden = writable
        .iter()
        .map(PathBuf::as_path)
        .chain(used)
        .any(|path| HOMES.iter().any(|home| path.starts_with(home)));
    Template {
        text,
        values: &[
            ("DOCUMENTATION", documentation(config)),
            ("USER", Escaped::written(&*options.user)),
            ("BINARY", Escaped::unit_word(&options.binary)),
            ("CONFIG_FILE", Escaped::unit_word(&options.config_file)),
            ("WRITABLE", Escaped::written(words.join(" "))),
        ],
        sections: &[&[("OUTSIDE_HOME", !hidden)], sections].concat(),
    }
    .fill()
}

/// Whether the ledger or the images may be on another host.
const fn is_remote(config: &Config) -> bool {
    config.ledger.postgres.is_some() || config.storage.s3.is_some()
}

/// The sections of a unit that reaches the network, or has none.
const fn network(is_needed: bool) -> [(&'static str, bool); 2] {
    [("NETWORK", is_needed), ("LOCAL", !is_needed)]
}

/// The directories that responder and sweep write to.
fn writable(config: &Config) -> Vec<PathBuf> {
    let parent = |path: &Path| path.parent().unwrap_or(path).to_owned();
    let mut directories = vec![match &config.storage.s3 {
        Some(s3) => s3.spool.clone(),
        None => config.storage.docroot.clone(),
    }];
    directories.extend(config.ledger.directory().map(Path::to_owned));
    // systemd creates the default one (LogsDirectory=).
    directories.extend(
        config
            .server
            .log
            .as_deref()
            .map(parent)
            .filter(|directory| !directory.starts_with(LOGS)),
    );
    directories
}

fn init_script(text: &str, config: &Config, options: &Options) -> String {
    let listen = &config.server.listen;
    let (path, address) = match listen {
        Listen::Unix(path) => (path.to_string_lossy().into_owned(), None),
        Listen::Tcp(address) => (String::new(), Some(address)),
    };
    let functions = Template {
        text: include_str!("../../nginx/service/spawn.sh"),
        values: &[
            ("BINARY", Escaped::shell_word(&options.binary)),
            ("CONFIG_FILE", Escaped::shell_word(&options.config_file)),
            ("USER", Escaped::written(&*options.user)),
            ("GROUP", Escaped::written(&*options.nginx_group)),
            ("SOCKET", Escaped::shell_word(&path)),
            ("REMOVE_SOCKET", remove_socket(config)),
            (
                "HOST",
                Escaped::written(address.map_or_else(String::new, |a| a.ip().to_string())),
            ),
            ("PORT", Escaped::number(address.map_or(0, SocketAddr::port))),
        ],
        sections: &[("UNIX", is_unix(config)), ("TCP", !is_unix(config))],
    };
    Template {
        text,
        values: &[("FUNCTIONS", Escaped::written(functions.fill()))],
        sections: &[],
    }
    .fill()
}

/// The argument of `rm` for the socket, which the script has renamed, so that the responder does not remove it.
fn remove_socket(config: &Config) -> Escaped {
    Escaped::written(if is_unix(config) { " \"$SOCKET\"" } else { "" })
}

fn supervisor(config: &Config, options: &Options) -> String {
    let socket = match &config.server.listen {
        Listen::Unix(path) => path.to_string_lossy().into_owned(),
        Listen::Tcp(_) => String::new(),
    };
    Template {
        text: include_str!("../../nginx/service/corenexis-cdn.user"),
        values: &[
            ("BINARY", Escaped::shell_word(&options.binary)),
            ("CONFIG_FILE", Escaped::shell_word(&options.config_file)),
            ("SOCKET", Escaped::shell_word(&socket)),
            ("REMOVE_SOCKET", remove_socket(config)),
            // A log of the configuration's is the operator's to rotate.
            (
                "LOG_FILE",
                Escaped::written(match config.server.log {
                    Some(_) => "",
                    None => " --log-file \"$here/logs/responder.log\"",
                }),
            ),
        ],
        sections: &[("UNIX", is_unix(config)), ("TCP", !is_unix(config))],
    }
    .fill()
}

fn cgi(options: &Options) -> String {
    Template {
        text: include_str!("../../nginx/service/corenexis-cdn.cgi"),
        values: &[
            ("BINARY", Escaped::shell_word(&options.binary)),
            ("CONFIG_FILE", Escaped::shell_word(&options.config_file)),
        ],
        sections: &[],
    }
    .fill()
}

fn crontab(options: &Options) -> String {
    Template {
        text: include_str!("../../cron/corenexis-cdn"),
        values: &[
            ("USER", Escaped::written(&*options.user)),
            ("BINARY", Escaped::cron_word(&options.binary)),
            ("CONFIG_FILE", Escaped::cron_word(&options.config_file)),
        ],
        sections: &[],
    }
    .fill()
}

/// A line for a user crontab, which has no user field.
fn users_crontab(options: &Options) -> String {
    Template {
        text: include_str!("../../cron/corenexis-cdn.crontab"),
        values: &[
            ("BINARY", Escaped::cron_word(&options.binary)),
            ("CONFIG_FILE", Escaped::cron_word(&options.config_file)),
        ],
        sections: &[],
    }
    .fill()
}

fn periodic(options: &Options) -> String {
    Template {
        text: include_str!("../../cron/corenexis-cdn.periodic"),
        values: &[
            ("USER", Escaped::written(&*options.user)),
            ("BINARY", Escaped::shell_word(&options.binary)),
            ("CONFIG_FILE", Escaped::shell_word(&options.config_file)),
        ],
        sections: &[],
    }
    .fill()
}

fn logrotate(config: &Config, options: &Options) -> String {
    let log = match &config.server.log {
        Some(log) => log.to_string_lossy().into_owned(),
        None => format!("{LOGS}/responder.log"),
    };
    Template {
        text: include_str!("../../cron/corenexis-cdn.logrotate"),
        values: &[
            ("USER", Escaped::written(&*options.user)),
            ("LOG", Escaped::quoted(&log)),
        ],
        sections: &[],
    }
    .fill()
}

fn documentation(config: &Config) -> Escaped {
    Escaped::unit_text(&format!("{}/image/docs/", config.site.public_url()))
}

const fn is_unix(config: &Config) -> bool {
    matches!(config.server.listen, Listen::Unix(_))
}

#[cfg(test)]
mod tests;
