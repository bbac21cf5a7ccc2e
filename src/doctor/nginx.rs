//! nginx: its version, its configuration as `nginx -T` prints it, and its processes.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use super::access::Account;
use super::{Check, INSTALL, Installation, absolute, read_file, responder, workers};
use crate::render::nginx_files;

/// Where nginx is if it is not in `PATH`, which is short for accounts other than root.
const DIRECTORIES: &str = "/usr/sbin:/usr/local/sbin:/usr/local/nginx/sbin:/usr/local/openresty/nginx/sbin:/www/server/nginx/sbin";

type Version = (u32, u32, u32);

/// The first version with every directive of the rendered files (`keepalive_timeout` in an upstream).
const OLDEST: Version = (1, 15, 3);

/// The first version with `-e`, which keeps `nginx -T` from writing to a log.
const HAS_E: Version = (1, 19, 5);

/// The first versions, stable and mainline, without the vulnerabilities that <https://nginx.org/en/security_advisories.html> listed in
/// November 2026. Among them are CVE-2026-97205 and CVE-2026-56434 (SSI, which the viewer page uses) and CVE-2026-42533 (`map` with regular
/// expressions, which the rendered files use).
const FIXED: [Version; 2] = [(1, 30, 7), (1, 31, 9)];

/// The directives of the rendered files without which uploads or images fail.
const NEEDED: [&str; 4] = ["client_max_body_size", "location", "root", "server"];

/// Which nginx serves the site, if it is not the one of the host's package.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct NginxOptions {
    /// The main configuration file, `nginx -c`.
    pub(crate) conf: Option<PathBuf>,
    /// `nginx -p`.
    pub(crate) prefix: Option<PathBuf>,
}

impl NginxOptions {
    /// Without options, the site's own nginx if there is one: a demo keeps it beside its `config.toml`, an installation without root
    /// beside its docroot.
    ///
    /// It must belong to the account of this process: nginx loads the modules that its configuration names, so whoever writes the
    /// configuration runs code as the account that tests it.
    #[must_use]
    pub(crate) fn or_own(self, config_file: &Path, docroot: &Path) -> Self {
        if self != Self::default() {
            return self;
        }
        let beside = |path: &Path| absolute(path).parent().unwrap_or(Path::new("/")).to_owned();
        let uid = rustix::process::geteuid().as_raw();
        let is_ours = |path: &Path| fs::metadata(path).is_ok_and(|metadata| metadata.uid() == uid);
        [
            (beside(config_file), "rendered/nginx/nginx.conf"),
            (beside(docroot), "nginx/conf/nginx.conf"),
        ]
        .into_iter()
        .map(|(directory, conf)| (directory.join(conf), directory.join("nginx")))
        .find(|(conf, prefix)| {
            conf.is_file() && prefix.is_dir() && is_ours(conf) && is_ours(prefix)
        })
        .map_or(self, |(conf, prefix)| Self {
            conf: Some(conf),
            prefix: Some(prefix),
        })
    }
}

/// A build of nginx, or of a program derived from it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Build {
    /// Name and version: `nginx/1.22.1`.
    name: String,
    version: Version,
    arguments: String,
}

impl Build {
    fn installed() -> Result<Self, String> {
        let output = run(&["-V"])?;
        let text = String::from_utf8_lossy(&output.stderr);
        Self::parse(&text).ok_or_else(|| format!("`nginx -V` printed {:?}", text.trim()))
    }

    /// Parses the output of `nginx -V`.
    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let name = lines.find_map(|line| line.split_once("version: "))?.1;
        let name = name.split(' ').next()?;
        let numbers = name.split_once('/')?.1.split('.');
        let mut numbers = numbers.map(|number| number.parse().ok());
        let arguments = lines.find_map(|line| line.strip_prefix("configure arguments: "));
        Some(Self {
            name: name.to_owned(),
            version: (numbers.next()??, numbers.next()??, numbers.next()??),
            arguments: arguments.unwrap_or_default().to_owned(),
        })
    }

    /// The value of an argument of `./configure`, such as `conf-path`.
    fn argument(&self, name: &str) -> Option<&str> {
        let mut arguments = self.arguments.split(' ');
        arguments.find_map(|argument| {
            let value = argument.strip_prefix("--")?.strip_prefix(name)?;
            value.strip_prefix('=')
        })
    }

    fn check(&self) -> Check {
        let name = &self.name;
        let check = "nginx";
        if self.version < OLDEST {
            Check::fail(
                check,
                format!("{name} is too old for the rendered files, which need 1.15.3"),
                "install a newer nginx",
            )
        } else if self.version < FIXED[0] || ((1, 31, 0)..FIXED[1]).contains(&self.version) {
            Check::warn(
                check,
                format!(
                    "{name} is older than 1.30.7 and 1.31.9, which fix known vulnerabilities (CVE-2026-97205 in SSI and others)"
                ),
                "upgrade nginx; a distribution may have fixed them without changing the version: its package's changelog lists them, \
                 https://nginx.org/en/security_advisories.html has all",
            )
        } else {
            Check::ok(check, name)
        }
    }
}

/// The version of the installed nginx alone, for a configuration that cannot be read.
pub(crate) fn version_check() -> Check {
    Build::installed().map_or_else(missing, |build| build.check())
}

fn missing(why: String) -> Check {
    let advice = "install nginx with the host's package manager, or add its directory to PATH";
    Check::fail("nginx", why, advice)
}

fn run(arguments: &[&str]) -> Result<Output, String> {
    let path = std::env::var("PATH").unwrap_or_default();
    Command::new("nginx")
        .args(arguments)
        .env("PATH", format!("{path}:{DIRECTORIES}"))
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("nginx could not be run: {error}"))
}

pub(super) fn checks(installation: &Installation, options: &NginxOptions) -> Vec<Check> {
    let build = match Build::installed() {
        Ok(build) => build,
        Err(why) => return vec![missing(why), responder::check(installation)],
    };
    let (test, dump) = test(installation, &build, options);
    let dump = dump.as_deref().unwrap_or_default();
    let setting = |directive_name, argument, default: &str| {
        let set = directive(dump, directive_name).or_else(|| build.argument(argument));
        set.unwrap_or(default).to_owned()
    };
    let prefix = options.prefix.as_deref().map_or_else(
        || {
            build
                .argument("prefix")
                .unwrap_or("/usr/local/nginx")
                .into()
        },
        absolute,
    );
    let mut checks = vec![
        build.check(),
        running(&prefix.join(setting("pid", "pid-path", "logs/nginx.pid"))),
        test,
    ];
    checks.extend(if dump.is_empty() {
        let why = format!(
            "`nginx -T` does not print the configuration{}",
            installation.as_root()
        );
        vec![Check::skip("nginx files", why)]
    } else {
        included_files(dump, &nginx_files(&installation.config))
    });
    // Only root can start workers as another account.
    let account = if directive(dump, "user").is_none() && !installation.account.is_root() {
        Some(installation.account.clone())
    } else {
        Account::named(&setting("user", "user", "nobody"))
    };
    let temp = setting(
        "client_body_temp_path",
        "http-client-body-temp-path",
        "client_body_temp",
    );
    checks.extend(workers::checks(
        installation,
        account.as_ref(),
        &prefix.join(temp),
    ));
    checks
}

/// Has nginx test its configuration; gives the output of `nginx -T` if the test passed.
fn test(
    installation: &Installation,
    build: &Build,
    options: &NginxOptions,
) -> (Check, Option<String>) {
    let name = "nginx configuration";
    let conf = options.conf.as_deref().map(absolute);
    let prefix = options.prefix.as_deref().map(absolute);
    let mut arguments = vec!["-T"];
    if build.version >= HAS_E {
        arguments.extend(["-e", "stderr"]);
    }
    for (option, path) in [("-c", &conf), ("-p", &prefix)] {
        arguments.extend(
            path.iter()
                .filter_map(|path| path.to_str())
                .flat_map(|path| [option, path]),
        );
    }
    let output = match run(&arguments) {
        Ok(output) => output,
        Err(why) => return (Check::skip(name, why), None),
    };
    let messages = String::from_utf8_lossy(&output.stderr);
    let levels = ["[warn]", "[error]", "[crit]", "[alert]", "[emerg]"];
    let logged = |line: &str| {
        levels
            .iter()
            .find_map(|level| Some(line[line.find(level)?..].to_owned()))
    };
    let messages: Vec<_> = messages.lines().filter_map(logged).collect();
    if !output.status.success() {
        // Certificates' keys and logs are often root's alone, so another account's test of the host's nginx says nothing.
        let conf = conf.or_else(|| build.argument("conf-path").map(PathBuf::from));
        let owner = conf.and_then(|conf| Some(fs::metadata(conf).ok()?.uid()));
        let account = &installation.account;
        let check = if account.is_root() || owner == Some(account.uid) {
            Check::fail(
                name,
                format!("nginx refuses it: {}", messages.join("; ")),
                "correct it until `nginx -t` passes; until then nginx keeps running with the previous one and does not start again",
            )
        } else {
            let why = format!(
                "`nginx -t` fails for {}{}",
                account.name,
                installation.as_root()
            );
            Check::skip(name, why)
        };
        return (check, None);
    }
    let conflict = messages.iter().find(|line| line.contains("conflicting"));
    let check = conflict.map_or_else(
        || Check::ok(name, "`nginx -t` passes"),
        |line| {
            let advice = "two server blocks have this name, and nginx ignores it in one of them: remove it from the wrong one";
            Check::warn(name, line, advice)
        },
    );
    (
        check,
        Some(String::from_utf8_lossy(&output.stdout).into_owned()),
    )
}

/// The first argument of the first directive of this name in the output of `nginx -T`.
fn directive<'a>(dump: &'a str, name: &str) -> Option<&'a str> {
    let lines = dump
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'));
    let mut statements = lines.flat_map(|line| line.split([';', '{', '}']));
    statements.find_map(|statement| {
        let mut words = statement.split_whitespace();
        let value = (words.next() == Some(name))
            .then(|| words.next())
            .flatten()?;
        Some(value.trim_matches(['"', '\'']))
    })
}

/// Compares the rendered files that nginx includes with what is rendered from the configuration now. The first line identifies a file.
///
/// Lines that the administrator added are not reported.
fn included_files(dump: &str, rendered: &[String; 2]) -> Vec<Check> {
    let name = "nginx files";
    let mut checks = Vec::new();
    for rendered in rendered {
        let first = rendered.lines().next().unwrap_or_default();
        let before = checks.len();
        for included in dump.split("# configuration file ") {
            if let Some((path, text)) = included.split_once(":\n")
                && let Some(start) = text.find(first)
            {
                checks.push(difference(path, &text[start..], rendered));
            }
        }
        if checks.len() == before {
            let message = format!("no file that nginx reads begins with {first:?}");
            checks.push(Check::fail(name, message, INSTALL));
        }
    }
    checks
}

/// Compares the directives of a file with those of the rendered one, where every directive has a line of its own.
fn difference(path: &str, text: &str, rendered: &str) -> Check {
    let name = "nginx files";
    let is_directive = |line: &&str| !line.is_empty() && !line.starts_with('#');
    let found: BTreeSet<_> = text.lines().map(str::trim).collect();
    let lines = rendered.lines().map(str::trim).filter(is_directive);
    let lacking: Vec<_> = lines.filter(|line| !found.contains(line)).collect();
    if lacking.is_empty() {
        return Check::ok(name, format!("{path} is what config.toml renders"));
    }
    let message = format!(
        "{path} is not what config.toml renders now: it lacks `{}`",
        lacking.join("`, `")
    );
    let is_needed = |line: &&str| NEEDED.contains(&line.split(' ').next().unwrap_or_default());
    if lacking.iter().any(is_needed) {
        Check::fail(name, message, INSTALL)
    } else {
        let advice = format!("unless you changed it yourself, {INSTALL}");
        Check::warn(name, message, advice)
    }
}

/// Whether the master process of the pid file runs.
fn running(pid_file: &Path) -> Check {
    let name = "nginx running";
    let pid = match read_file(pid_file) {
        Ok(pid) => pid,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Check::skip(name, format!("{}: {error}", pid_file.display())),
    };
    let pid = pid.trim();
    // The process id of an nginx that was killed may belong to another program now.
    let program = pid
        .parse::<u32>()
        .ok()
        .and_then(|pid| read_file(Path::new(&format!("/proc/{pid}/comm"))).ok());
    match program.as_deref().map(str::trim_end) {
        Some("nginx" | "openresty" | "angie") => Check::ok(name, format!("process {pid}")),
        _ => Check::fail(
            name,
            "no nginx runs with this configuration",
            "start it: `systemctl start nginx`, `service nginx start`, or `nginx`",
        ),
    }
}

#[cfg(test)]
mod tests;
