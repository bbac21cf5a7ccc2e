//! `nginx-sites`: the sites of an nginx configuration, as the installer reads it.

use std::fs;
use std::io::{self, Read};
use std::path::Path;

use super::{Failure, print};
use crate::cli::NginxSitesArguments;
use crate::nginx_conf::placement::{Placement, Wanted, place};
use crate::nginx_conf::servers::{Server, servers};
use crate::nginx_conf::{Directive, Dump};

/// The directories of a docroot that the images' locations answer for.
const SERVED: [&str; 5] = ["p", "view", "image/v2", "image/docs", "image/upload"];

/// Reads the output of `nginx -T` and prints what was found, a line each.
pub(super) fn nginx_sites(arguments: &NginxSitesArguments) -> Result<(), Failure> {
    let output = output_of_nginx(arguments.file.as_deref())?;
    let dump = Dump::read(&output).ok_or_else(|| {
        Failure::failed(
            "this is no output of `nginx -T`: it has no line \"# configuration file PATH:\"",
        )
    })?;
    let directives = dump.directives();
    let mut servers = servers(&directives);
    servers.retain(|server| {
        let file = Path::new(server.place.file.as_ref());
        !arguments.ignore.iter().any(|ignored| ignored == file)
    });
    match &arguments.name {
        None => print_lines(&overview(&dump, &directives, &servers)),
        Some(name) => {
            let name = name.to_ascii_lowercase();
            let snippet = arguments.snippet.to_string_lossy();
            let wanted = Wanted {
                host: &name,
                port: arguments.port,
                snippet: &snippet,
                insert: !arguments.no_insert,
            };
            let placement = place(&servers, wanted).map_err(Failure::failed)?;
            check_roots(&placement, arguments.docroot.as_deref())?;
            print_lines(&lines(&placement))
        }
    }
}

fn output_of_nginx(file: Option<&Path>) -> Result<String, Failure> {
    let mut bytes = Vec::new();
    match file {
        Some(file) => {
            bytes = fs::read(file).map_err(|error| {
                Failure::failed(format!("{} could not be read: {error}", file.display()))
            })?;
        }
        None => {
            io::stdin().lock().read_to_end(&mut bytes)?;
        }
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn print_lines(lines: &[String]) -> Result<(), Failure> {
    let ended: Vec<_> = lines.iter().flat_map(|line| [line, "\n"]).collect();
    print(&ended.concat())
}

fn overview(dump: &Dump, directives: &[Directive], servers: &[Server]) -> Vec<String> {
    let mut lines = Vec::new();
    for directive in directives {
        if ["user", "pid"].contains(&directive.name.as_str()) {
            lines.push(format!(
                "{}\t{}",
                directive.name,
                directive.arguments.join("\t")
            ));
        }
    }
    let http = directives
        .iter()
        .filter(|directive| directive.name == "http");
    for include in http
        .flat_map(Directive::children)
        .filter(|d| d.name == "include")
    {
        let patterns = include.arguments.iter();
        lines.extend(
            patterns.map(|pattern| format!("http-include\t{}", dump.include_pattern(pattern))),
        );
    }
    for server in servers {
        let names: Vec<_> = server.names.iter().map(|(name, _)| name.as_str()).collect();
        let sockets: Vec<_> = server
            .listens
            .iter()
            .map(|listen| listen.socket.as_str())
            .collect();
        lines.push(format!(
            "server\t{}\t{}\t{}",
            server.place,
            names.join(" "),
            sockets.join(" ")
        ));
    }
    lines
}

fn lines(placement: &Placement) -> Vec<String> {
    match placement {
        Placement::Own { listens } => listens
            .iter()
            .map(|listen| format!("listen\t{listen}"))
            .collect(),
        Placement::Site { blocks, addresses } => {
            let blocks = blocks.iter().map(|block| {
                let state = if block.included { "included" } else { "insert" };
                format!("site\t{}\t{}\t{state}", block.brace.file, block.brace.line)
            });
            let addresses = addresses.iter().map(|address| {
                let scheme = if address.tls { "https" } else { "http" };
                let proxy = if address.proxy_protocol {
                    "proxy_protocol"
                } else {
                    "-"
                };
                format!(
                    "address\t{scheme}\t{}\t{}\t{proxy}",
                    address.host, address.port
                )
            });
            blocks.chain(addresses).collect()
        }
    }
}

/// Files of the site at the URLs of the images would not be served any more.
fn check_roots(placement: &Placement, docroot: Option<&Path>) -> Result<(), Failure> {
    let Placement::Site { blocks, .. } = placement else {
        return Ok(());
    };
    for block in blocks.iter().filter(|block| !block.included) {
        let Some(root) = block.root.as_deref().map(Path::new) else {
            continue;
        };
        let hidden = SERVED
            .iter()
            .map(|name| root.join(name))
            .find(|path| path.exists());
        if let Some(hidden) = hidden.filter(|_| Some(root) != docroot) {
            return Err(Failure::failed(format!(
                "{}: the site has {} below its `root`, where the images would be served instead: give the images a host name of their \
                 own with --domain, or move that directory",
                block.brace,
                hidden.display()
            )));
        }
    }
    Ok(())
}
