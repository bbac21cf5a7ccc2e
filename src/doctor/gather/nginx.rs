//! nginx: the program, its configuration, its processes.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use super::Options;
use super::places::place;
use crate::config::Config;
use crate::doctor::access::{Account, Accounts};
use crate::doctor::facts::{Nginx, Place, Seen, Test, Worker};
use crate::doctor::nginx::{Build, Configuration, matches, parse};
use crate::doctor::web::{Server, Web};
use crate::render::nginx_files;

/// Where nginx lies when it is not in `PATH`, which is short for those who are not root.
const DIRECTORIES: [&str; 5] = [
    "/usr/sbin",
    "/usr/local/sbin",
    "/usr/local/nginx/sbin",
    "/usr/local/openresty/nginx/sbin",
    "/www/server/nginx/sbin",
];

/// The first version with `-e`, which keeps nginx from writing to the log of another.
const KNOWS_E: (u32, u32, u32) = (1, 19, 5);

/// The most files that one configuration is read from.
const MAX_FILES: usize = 1_000;

pub(super) fn build() -> Seen<Build> {
    let output = run(Command::new(program()?).arg("-V"))?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    Build::parse(&text).ok_or_else(|| format!("`nginx -V` says {:?}", text.trim()))
}

pub(super) fn look(
    config: &Config,
    options: &Options,
    accounts: &Accounts,
    examiner: &Account,
) -> (Nginx, Worker) {
    let build = build();
    let [http_conf, server_conf] = nginx_files(config);
    let wanted = Web::of_rendered(&http_conf, &server_conf);
    let (test, configuration) = match &build {
        Ok(build) => test(build, options, examiner),
        Err(why) => (Err(why.clone()), Err(why.clone())),
    };
    let web = configuration
        .as_ref()
        .map(|configuration| Web::read(&configuration.directives(), &wanted.1.locations))
        .map_err(Clone::clone);
    let prefix = prefix(&build, options);
    let master = match &web {
        Ok(web) => master(&build, web, &prefix),
        Err(why) => Err(why.clone()),
    };
    let worker = Worker {
        account: worker(
            &build,
            web.as_ref().ok(),
            master.as_ref().ok().copied().flatten(),
            accounts,
            examiner,
        ),
        body_temp: body_temp(&build, web.as_ref().ok(), &prefix),
    };
    let outdated = configuration.map_or_else(
        |_| Vec::new(),
        |configuration| outdated(&configuration, [&http_conf, &server_conf]),
    );
    let nginx = Nginx {
        build,
        test,
        web,
        wanted,
        outdated,
        master,
    };
    (nginx, worker)
}

fn program() -> Seen<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(DIRECTORIES.map(PathBuf::from))
        .map(|directory| directory.join("nginx"))
        .find(|program| program.is_file())
        .ok_or_else(|| "no program of that name in PATH or where packages put it".to_owned())
}

fn run(command: &mut Command) -> Seen<Output> {
    command
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("nginx could not be run: {error}"))
}

/// Asks nginx itself. It needs root to read keys and to write its own log; for others the files are read here.
fn test(build: &Build, options: &Options, examiner: &Account) -> (Seen<Test>, Seen<Configuration>) {
    let output = program().and_then(|program| {
        let mut command = Command::new(program);
        command.arg("-T");
        if build.version >= KNOWS_E {
            command.args(["-e", "stderr"]);
        }
        if let Some(conf) = &options.nginx_conf {
            command.arg("-c").arg(absolute(conf));
        }
        if let Some(prefix) = &options.nginx_prefix {
            command.arg("-p").arg(absolute(prefix));
        }
        run(&mut command)
    });
    let output = match output {
        Ok(output) => output,
        Err(why) => return (Err(why.clone()), Err(why)),
    };
    let passed = output.status.success();
    let text = String::from_utf8_lossy(&output.stderr);
    let complaints: Vec<_> = text
        .lines()
        .filter(|line| {
            ["[warn]", "[error]", "[crit]", "[alert]", "[emerg]"]
                .iter()
                .any(|level| line.contains(level))
        })
        .map(|line| line[line.find('[').unwrap_or(0)..].to_owned())
        .collect();
    let dump = Configuration::from_dump(&String::from_utf8_lossy(&output.stdout));
    if let (true, Some(configuration)) = (passed, dump) {
        return (Ok(Test { passed, complaints }), Ok(configuration));
    }
    let configuration = read_files(build, options);
    let denied = |line: &String| line.contains("Permission denied");
    if examiner.uid != 0 && complaints.iter().any(denied) {
        let who = &examiner.name;
        return (
            Err(format!("`nginx -t` does not work for {who}")),
            configuration,
        );
    }
    (
        Ok(Test {
            passed: false,
            complaints,
        }),
        configuration,
    )
}

/// The files of the configuration, read as nginx would.
fn read_files(build: &Build, options: &Options) -> Seen<Configuration> {
    let main = options
        .nginx_conf
        .as_deref()
        .map(absolute)
        .or_else(|| build.argument("conf-path").map(PathBuf::from))
        .ok_or("nginx does not say where its configuration lies")?;
    let mut configuration = Configuration {
        main: main.clone(),
        files: BTreeMap::new(),
    };
    let mut waiting = vec![main];
    while let Some(path) = waiting.pop() {
        if configuration.files.contains_key(&path) || configuration.files.len() >= MAX_FILES {
            continue;
        }
        let text =
            fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let mut patterns = Vec::new();
        includes(&parse(&text), &mut patterns);
        for pattern in patterns {
            waiting.extend(fitting(&configuration.include_pattern(&pattern)));
        }
        configuration.files.insert(path, text);
    }
    Ok(configuration)
}

fn includes(directives: &[crate::doctor::nginx::Directive], patterns: &mut Vec<String>) {
    for directive in directives {
        if directive.name == "include" {
            patterns.extend(directive.arguments.iter().cloned());
        }
        includes(&directive.block, patterns);
    }
}

/// The files that fit a pattern, in the order of their names.
fn fitting(pattern: &Path) -> Vec<PathBuf> {
    let mut found = vec![PathBuf::from("/")];
    for component in pattern.components().skip(1) {
        let is_pattern = component
            .as_os_str()
            .as_encoded_bytes()
            .iter()
            .any(|byte| b"*?".contains(byte));
        found = found
            .into_iter()
            .flat_map(|directory| {
                let step = directory.join(component);
                if !is_pattern {
                    return vec![step];
                }
                let entries = fs::read_dir(&directory).into_iter().flatten().flatten();
                entries
                    .map(|entry| entry.path())
                    .filter(|path| matches(&step, path))
                    .collect()
            })
            .collect();
    }
    found.retain(|path| path.is_file());
    found.sort();
    found
}

/// Rendered files that say something else than they would if they were rendered now. The first line of a template tells them apart.
fn outdated(configuration: &Configuration, rendered: [&String; 2]) -> Vec<PathBuf> {
    let is_outdated = |text: &String| {
        rendered.iter().any(|rendered| {
            let first = rendered.lines().next();
            text.lines().next() == first && text.trim_end() != rendered.trim_end()
        })
    };
    configuration
        .files
        .iter()
        .filter(|(_, text)| is_outdated(text))
        .map(|(path, _)| path.clone())
        .collect()
}

fn prefix(build: &Seen<Build>, options: &Options) -> PathBuf {
    let built_in = || build.as_ref().ok()?.argument("prefix").map(PathBuf::from);
    options
        .nginx_prefix
        .as_deref()
        .map(absolute)
        .or_else(built_in)
        .unwrap_or_else(|| "/usr/local/nginx".into())
}

/// The master process, by the file that it writes its number to.
fn master(build: &Seen<Build>, web: &Web, prefix: &Path) -> Seen<Option<u32>> {
    let built_in = || build.as_ref().ok()?.argument("pid-path").map(str::to_owned);
    let file = web
        .pid
        .clone()
        .or_else(built_in)
        .unwrap_or_else(|| "logs/nginx.pid".to_owned());
    let file = prefix.join(file);
    let text = match fs::read_to_string(&file) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("{}: {error}", file.display())),
    };
    let pid = text.trim().parse().ok();
    // The number of an nginx that was killed may belong to somebody else by now.
    Ok(pid.filter(|pid| {
        status(*pid, "Name")
            .is_some_and(|name| name == "nginx" || name == "openresty" || name == "angie")
    }))
}

/// A line of `/proc/PID/status` (proc(5)).
fn status(pid: u32, key: &str) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    Some(line.trim().to_owned())
}

/// Those that run know best; else it is who the configuration names. Only root can change to another account.
fn worker(
    build: &Seen<Build>,
    web: Option<&Web>,
    master: Option<u32>,
    accounts: &Accounts,
    examiner: &Account,
) -> Seen<Account> {
    if let Some(running) = master.and_then(|master| running_worker(master, accounts)) {
        return Ok(running);
    }
    if web.is_none() {
        return Err("nginx's configuration could not be read".to_owned());
    }
    if examiner.uid != 0 && web.is_some_and(|web| web.user.is_none()) && master.is_none() {
        return Ok(examiner.clone());
    }
    let built_in = || build.as_ref().ok()?.argument("user").map(str::to_owned);
    let name = web
        .and_then(|web| web.user.clone())
        .or_else(built_in)
        .unwrap_or_else(|| "nobody".to_owned());
    accounts
        .named(&name)
        .ok_or_else(|| format!("the account {name} of nginx's workers is not in /etc/passwd"))
}

/// With the groups that it has, which are those of the time when nginx started.
fn running_worker(master: u32, accounts: &Accounts) -> Option<Account> {
    let number =
        |pid, key| -> Option<u32> { status(pid, key)?.split_whitespace().next()?.parse().ok() };
    let worker = fs::read_dir("/proc")
        .ok()?
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .find(|pid| number(*pid, "PPid") == Some(master))?;
    let mut groups: Vec<u32> = status(worker, "Groups")?
        .split_whitespace()
        .filter_map(|group| group.parse().ok())
        .collect();
    groups.extend(number(worker, "Gid"));
    Some(Account {
        groups,
        ..accounts.of(number(worker, "Uid")?)
    })
}

fn body_temp(build: &Seen<Build>, web: Option<&Web>, prefix: &Path) -> Seen<Place> {
    let web = web.ok_or("nginx's configuration could not be read")?;
    let set = web
        .servers
        .iter()
        .find_map(|server: &Server| server.body_temp.clone());
    let built_in = || {
        build
            .as_ref()
            .ok()?
            .argument("http-client-body-temp-path")
            .map(str::to_owned)
    };
    let path = set
        .or_else(built_in)
        .unwrap_or_else(|| "client_body_temp".to_owned());
    Ok(place(&prefix.join(path)))
}

/// nginx would take a relative path for one below its prefix.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}
