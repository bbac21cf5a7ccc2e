//! nginx: its version, its configuration as `nginx -T` prints it, and its processes.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use super::access::Account;
use super::check::{Check, INSTALL};
use super::files::{absolute, read_file};
use super::installation::Installation;
use super::{responder, workers};
use crate::render::nginx_files;

/// Where nginx is if it is not in `PATH`, which is short for accounts other than root.
const DIRECTORIES: &str = "/usr/sbin:/usr/local/sbin:/usr/local/nginx/sbin:/usr/local/openresty/nginx/sbin:/www/server/nginx/sbin";

type Version = (u32, u32, u32);

/// The first version with everything that the rendered files use (the variable `$limit_req_status`).
const OLDEST: Version = (1, 17, 6);

/// The same for images in a bucket (`min_free` of `proxy_cache_path`). Everything else that is used of ngx_http_proxy_module is older, the
/// youngest of it `keepalive_timeout` of an upstream (1.15.3).
const OLDEST_WITH_BUCKET: Version = (1, 19, 1);

/// The first version with `-e`, which keeps `nginx -T` from writing to a log.
const HAS_E: Version = (1, 19, 5);

/// The first versions, stable and mainline, without the vulnerabilities that <https://nginx.org/en/security_advisories.html> listed in
/// November 2026. Among them are CVE-2026-97205 and CVE-2026-56434 (SSI, which the viewer page uses) and CVE-2026-42533 (`map` with regular
/// expressions, which the rendered files use).
const FIXED: [Version; 2] = [(1, 30, 7), (1, 31, 9)];

/// The rendered files that nginx includes, in its http context and in the server block of the site.
const FILES: [&str; 2] = ["corenexis-cdn.http.conf", "corenexis-cdn.server.conf"];

/// The directives of the rendered files without which uploads or images fail.
const NEEDED: [&str; 4] = ["client_max_body_size", "location", "root", "server"];

/// How many lines that a file lacks are shown.
const SHOWN: usize = 4;

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
    #[must_use]
    pub(crate) fn or_own(self, config_file: &Path, docroot: &Path) -> Self {
        if self != Self::default() {
            return self;
        }
        let beside = |path: &Path| absolute(path).parent().unwrap_or(Path::new("/")).to_owned();
        [
            (beside(config_file), "rendered/nginx/nginx.conf"),
            (beside(docroot), "nginx/conf/nginx.conf"),
        ]
        .into_iter()
        .map(|(directory, conf)| (directory.join(conf), directory.join("nginx")))
        .find(|(conf, prefix)| conf.is_file() && prefix.is_dir())
        .map_or(self, |(conf, prefix)| Self {
            conf: Some(conf),
            prefix: Some(prefix),
        })
    }

    /// The first of these files that belongs neither to root nor to `account`, and its owner. nginx loads the modules that its configuration
    /// names, so the owner of the configuration runs code as the account that tests it.
    fn untrusted(&self, account: &Account) -> Option<(&Path, Account)> {
        [&self.conf, &self.prefix]
            .into_iter()
            .flatten()
            .find_map(|path| {
                let owner = Account::of_uid(fs::metadata(path).ok()?.uid());
                (!owner.is_root() && owner.uid != account.uid).then_some((path.as_path(), owner))
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
        let output = run(&["-V".into()])?;
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

    /// `has_bucket` if the rendered files are those for images in a bucket.
    fn check(&self, has_bucket: bool) -> Check {
        let (check, name) = ("nginx", &self.name);
        let oldest = if has_bucket {
            OLDEST_WITH_BUCKET
        } else {
            OLDEST
        };
        if self.version < oldest {
            let (major, minor, patch) = oldest;
            let reason = if has_bucket {
                " for [storage] kind = \"s3\""
            } else {
                ""
            };
            let message = format!(
                "{name} is too old for the rendered files, which need {major}.{minor}.{patch}{reason}"
            );
            Check::fail(check, message, "install a newer nginx")
        } else if self.version < FIXED[0] || ((1, 31, 0)..FIXED[1]).contains(&self.version) {
            let message = "is older than 1.30.7 and 1.31.9, which fix known vulnerabilities (CVE-2026-97205 in SSI and others)";
            let advice = "upgrade nginx; a distribution may have fixed them without changing the version: its package's changelog lists them, \
                          https://nginx.org/en/security_advisories.html has all";
            Check::warn(check, format!("{name} {message}"), advice)
        } else {
            Check::ok(check, name)
        }
    }
}

/// The version of the installed nginx alone, for a configuration that cannot be read.
pub(crate) fn version_check() -> Check {
    Build::installed().map_or_else(missing, |build| build.check(false))
}

fn missing(why: String) -> Check {
    let advice = "install nginx with the host's package manager, or add its directory to PATH";
    Check::fail("nginx", why, advice)
}

fn run(arguments: &[OsString]) -> Result<Output, String> {
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
    let has_bucket = installation.config.storage.s3.is_some();
    let mut checks = vec![build.check(has_bucket), test];
    let Some(dump) = dump else {
        let why = "`nginx -T` does not print the configuration";
        checks.extend(
            ["nginx running", "nginx files", "nginx workers"].map(|name| Check::skip(name, why)),
        );
        checks.push(responder::check(installation));
        return checks;
    };
    let setting = |name, argument, default: &str| {
        let set = directive(&dump, name).or_else(|| build.argument(argument));
        set.unwrap_or(default).to_owned()
    };
    let built_in = || {
        build
            .argument("prefix")
            .unwrap_or("/usr/local/nginx")
            .into()
    };
    let prefix = options.prefix.as_deref().map_or_else(built_in, absolute);
    let pid_file = prefix.join(setting("pid", "pid-path", "logs/nginx.pid"));
    checks.push(running(&pid_file));
    for (file, rendered) in FILES
        .iter()
        .zip(nginx_files(&installation.config, options.prefix.is_some()))
    {
        checks.extend(included_files(&dump, file, &rendered));
    }
    // Only root can start workers as another account.
    let account = if directive(&dump, "user").is_none() && !installation.account.is_root() {
        Some(installation.account.clone())
    } else {
        Account::named(&setting("user", "user", "nobody"))
    };
    let body_temp = [
        "client_body_temp_path",
        "http-client-body-temp-path",
        "client_body_temp",
    ];
    let body_temp = prefix.join(setting(body_temp[0], body_temp[1], body_temp[2]));
    checks.extend(workers::checks(installation, account.as_ref(), &body_temp));
    checks
}

/// Has nginx test its configuration; gives the output of `nginx -T` if the test passed.
fn test(
    installation: &Installation,
    build: &Build,
    options: &NginxOptions,
) -> (Check, Option<String>) {
    let name = "nginx configuration";
    let account = &installation.account;
    if let Some((path, owner)) = options.untrusted(account) {
        let why = format!(
            "{} belongs to {}; run doctor as that account",
            path.display(),
            owner.name
        );
        return (Check::skip(name, why), None);
    }
    let mut arguments = vec![OsString::from("-T")];
    if build.version >= HAS_E {
        arguments.extend(["-e".into(), "stderr".into()]);
    }
    for (option, path) in [("-c", &options.conf), ("-p", &options.prefix)] {
        let path = path.as_deref().map(absolute);
        arguments.extend(
            path.into_iter()
                .flat_map(|path| [option.into(), path.into()]),
        );
    }
    let output = match run(&arguments) {
        Ok(output) => output,
        Err(why) => return (Check::skip(name, why), None),
    };
    let logged = String::from_utf8_lossy(&output.stderr);
    let is_message = |line: &&str| !line.contains("[notice]") && line.contains("] ");
    let messages: Vec<_> = logged.lines().filter(is_message).collect();
    if !output.status.success() {
        let built_in = || build.argument("conf-path").map(PathBuf::from);
        let conf = options.conf.clone().or_else(built_in);
        let owner = conf.and_then(|conf| Some(fs::metadata(conf).ok()?.uid()));
        // Keys of certificates and logs are often root's alone, so another account's test of the host's nginx shows nothing.
        if !account.is_root() && owner != Some(account.uid) {
            let why = format!(
                "`nginx -t` fails for {}{}",
                account.name,
                installation.as_root()
            );
            return (Check::skip(name, why), None);
        }
        let message = format!("nginx refuses it: {}", messages.join("; "));
        let advice = "correct it until `nginx -t` passes; until then nginx keeps the previous one and does not start again";
        return (Check::fail(name, message, advice), None);
    }
    let check = match messages.iter().find(|line| line.contains("conflicting")) {
        Some(line) => {
            let advice = "two server blocks have this name, and nginx ignores it in one of them: remove it from the wrong one";
            Check::warn(name, *line, advice)
        }
        None => Check::ok(name, "`nginx -t` passes"),
    };
    let dump = String::from_utf8_lossy(&output.stdout).into_owned();
    (check, Some(dump))
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

/// Compares the files that nginx includes with `rendered`, which is rendered from the configuration now. The first line identifies a file.
///
/// Lines that the administrator added are not reported.
fn included_files(dump: &str, file: &str, rendered: &str) -> Vec<Check> {
    let first = rendered.lines().next().unwrap_or_default();
    let files = dump
        .split("# configuration file ")
        .filter_map(|file| file.split_once(":\n"));
    let copies = files.filter_map(|(path, text)| Some((path, &text[text.find(first)?..])));
    let checks: Vec<_> = copies
        .map(|(path, text)| difference(path, text, rendered))
        .collect();
    if checks.is_empty() {
        let message = format!("nginx includes no {file}, or one that begins otherwise");
        return vec![Check::fail("nginx files", message, INSTALL)];
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
    let is_needed = |line: &&str| NEEDED.contains(&line.split(' ').next().unwrap_or_default());
    let (needed, other): (Vec<_>, Vec<_>) = lacking.iter().copied().partition(is_needed);
    let shown: Vec<_> = needed.iter().chain(&other).copied().take(SHOWN).collect();
    let mut message = format!(
        "{path} is not what config.toml renders now: it lacks `{}`",
        shown.join("`, `")
    );
    if lacking.len() > SHOWN {
        message = format!("{message} and {} other lines", lacking.len() - SHOWN);
    }
    if needed.is_empty() {
        let advice = format!("unless you changed it yourself, {INSTALL}");
        return Check::warn(name, message, advice);
    }
    Check::fail(name, message, INSTALL)
}

/// Whether the master process of the pid file runs.
fn running(pid_file: &Path) -> Check {
    let name = "nginx running";
    let pid = match read_file(pid_file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Check::skip(name, format!("{}: {error}", pid_file.display()));
        }
        pid => pid.unwrap_or_default(),
    };
    let pid = pid.trim();
    // The process id of an nginx that was killed may belong to another program now.
    let program = read_file(&Path::new("/proc").join(pid).join("comm")).unwrap_or_default();
    if ["nginx", "openresty", "angie"].contains(&program.trim_end()) {
        return Check::ok(name, format!("process {pid}"));
    }
    let advice = "start it: `systemctl start nginx`, `service nginx start`, or `nginx`";
    Check::fail(name, "no nginx runs with this configuration", advice)
}

#[cfg(test)]
mod tests;
