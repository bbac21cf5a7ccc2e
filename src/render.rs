//! Renders the files of nginx, cron and the service manager, and the pages, from the configuration.
//!
//! The templates, in `nginx/`, `www/` and `cron/` of the source tree, are part of the binary. [`render`] fills them; the caller writes the
//! files.

mod bucket_rules;
mod docs;
mod highlight;
mod nginx;
mod pages;
mod service;

use std::borrow::Cow;
use std::net::SocketAddr;

use crate::config::{Config, Listen};
use crate::export::{Credentials, clients, host, openapi, postman, shortest_duration};
use crate::template::{Escaped, Template};

/// A rendered file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    /// The path below the target directory.
    pub path: &'static str,
    /// The contents.
    pub contents: Cow<'static, [u8]>,
    /// The permission bits.
    pub mode: u32,
}

/// The properties of an installation that are not in the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The absolute path of this program.
    pub binary: String,
    /// The absolute path of `config.toml`.
    pub config_file: String,
    /// The account that owns docroot and ledger, and runs the sweep.
    pub user: String,
    /// The group of the nginx workers, which may connect to the responder's socket.
    pub nginx_group: String,
    /// The server block for the images, if the site of the host has none for them.
    pub site: Option<Site>,
    /// The CGI host, if one starts the responder for each request.
    pub cgi: Option<Cgi>,
    /// The nginx instance of this installation, if it does not use the host's.
    pub own_nginx: Option<OwnNginx>,
    /// Whether nginx answers ACME challenges from the docroot.
    pub acme: bool,
    /// The credentials in the documentation, which are public: for demonstrations only. `None` gives placeholders.
    pub demo_client: Option<DemoClient>,
}

/// An instance of nginx for this site alone. It writes below its prefix (`nginx -p`) only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnNginx {
    /// The address it listens on.
    pub listen: SocketAddr,
    /// The account of its worker processes if root starts it.
    pub worker_user: Option<String>,
}

/// A server block in the host's nginx, for a name that no site of the host has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site {
    /// Its `server_name`.
    pub name: String,
    /// Its `listen` directives: ports and addresses.
    pub listen: Vec<String>,
    /// The path of the file for the server context.
    pub snippet: String,
    /// https, if there is a certificate.
    pub tls: Option<Tls>,
}

/// The certificate of a [`Site`], and where it is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// The path of the certificate and its chain.
    pub certificate: String,
    /// The path of its key.
    pub key: String,
    /// Its `listen` directives, without `ssl`.
    pub listen: Vec<String>,
    /// Whether a site of the host has the name on http: then http is left to it. Otherwise http redirects to https.
    pub beside: bool,
}

/// A CGI host: fcgiwrap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cgi {
    /// The address of fcgiwrap.
    pub wrapper: Listen,
    /// The path of the script that it starts.
    pub script: String,
}

/// A client with a public token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DemoClient {
    /// Its `client_id`.
    pub id: String,
    /// Its `client_token`.
    pub token: String,
}

/// An option with a value that cannot be written to the files.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name} {value:?}: {expected}")]
pub struct InvalidOption {
    name: &'static str,
    value: String,
    expected: &'static str,
}

/// Renders all files.
///
/// # Errors
/// If crontab or nginx have no notation for the value of an option.
pub fn render(config: &Config, options: &Options) -> Result<Vec<Rendered>, InvalidOption> {
    options.check()?;
    let mut files = vec![
        filled(
            "nginx/corenexis-cdn.http.conf",
            nginx::http_conf(config, options.cgi.as_ref(), options.own_nginx.is_some()),
        ),
        filled(
            "nginx/corenexis-cdn.server.conf",
            nginx::server_conf(config, options.cgi.as_ref())
                + &if options.acme {
                    nginx::acme_conf(config)
                } else {
                    String::new()
                },
        ),
        filled("www/view/page.html", pages::viewer(config)),
        filled("www/view/404.html", pages::missing_image(config)),
        filled("www/image/docs/404.html", pages::missing_document(config)),
        filled(
            "www/image/upload/index.html",
            pages::upload(config, options.demo_client.as_ref()),
        ),
        filled(
            "www/image/docs/index.html",
            docs::documentation(config, options.demo_client.as_ref()),
        ),
    ];
    let credentials = options.demo_client.as_ref().map_or_else(
        || Credentials::placeholders(config),
        |demo| Credentials::of_demo(config, &demo.id, &demo.token),
    );
    for (path, contents) in [
        (
            "www/image/docs/openapi.json",
            openapi::document(config, credentials),
        ),
        (
            "www/image/docs/corenexis-cdn.postman_collection.json",
            postman::collection(config, credentials),
        ),
    ] {
        files.push(filled(path, contents));
    }
    for (path, export) in [
        (
            "www/image/docs/corenexis-cdn.sxcu",
            clients::sharex(config, credentials),
        ),
        (
            "www/image/docs/picgo.json",
            clients::picgo(config, credentials),
        ),
        (
            "www/image/docs/upic.json",
            clients::upic(config, credentials),
        ),
    ] {
        files.push(filled(path, format!("{export:#}\n")));
    }
    files.push(filled("www/image/docs/corenexis-upload", uploader(config)));
    let translations = pages::LANGUAGES.map(|(_, path, text)| (path, text));
    let unchanged = pages::STATIC.into_iter().chain(translations);
    files.extend(unchanged.map(|(path, text)| Rendered {
        path,
        contents: Cow::Borrowed(text.as_bytes()),
        mode: 0o644,
    }));
    files.extend(service::files(config, options));
    files.extend(
        config
            .storage
            .s3
            .as_ref()
            .map(bucket_rules::files)
            .unwrap_or_default(),
    );
    if let Some(site) = &options.site {
        files.push(filled(
            "nginx/corenexis-cdn.site.conf",
            nginx::site_conf(config, site),
        ));
    }
    if let Some(own) = &options.own_nginx {
        files.push(filled("nginx/nginx.conf", nginx::own_conf(own)));
    }
    Ok(files)
}

/// The nginx files for the http and the server context. They depend on the configuration, and on whether nginx is an instance for this
/// site alone.
pub fn nginx_files(config: &Config, has_own_nginx: bool) -> [String; 2] {
    [
        nginx::http_conf(config, None, has_own_nginx),
        nginx::server_conf(config, None),
    ]
}

fn filled(path: &'static str, contents: String) -> Rendered {
    Rendered {
        path,
        contents: Cow::Owned(contents.into_bytes()),
        mode: 0o644,
    }
}

/// The shell script for uploads. It reads the credentials from a file or the environment.
fn uploader(config: &Config) -> String {
    Template {
        text: include_str!("../www/image/docs/corenexis-upload"),
        values: &[
            ("PUBLIC_URL", Escaped::shell_word(config.site.public_url())),
            ("HOST", Escaped::written(host(config))),
            (
                "DURATION",
                Escaped::written(shortest_duration(config).code()),
            ),
        ],
        sections: &[],
    }
    .fill()
}

impl Options {
    fn check(&self) -> Result<(), InvalidOption> {
        for (name, value) in [
            ("path of the program", &self.binary),
            ("path of config.toml", &self.config_file),
        ]
        .into_iter()
        .chain(self.site.iter().flat_map(|site| {
            let tls = site.tls.iter();
            let files = tls.flat_map(|tls| [&tls.certificate, &tls.key]);
            files
                .map(|file| ("path of the certificate", file))
                .chain([("path of the snippet", &site.snippet)])
        }))
        .chain(
            self.cgi
                .iter()
                .map(|cgi| ("path of the CGI script", &cgi.script)),
        ) {
            ensure(
                value.starts_with('/') && !value.contains(char::is_control),
                name,
                value,
                "expected an absolute path without control characters",
            )?;
        }
        let worker_user = self
            .own_nginx
            .as_ref()
            .and_then(|own| own.worker_user.as_ref());
        for (name, value) in [
            ("user", Some(&self.user)),
            ("group of the nginx workers", Some(&self.nginx_group)),
            ("user of the nginx workers", worker_user),
        ] {
            let Some(value) = value else { continue };
            ensure(
                is_account(value),
                name,
                value,
                "expected a name of letters, digits, - _ and .",
            )?;
        }
        let Some(site) = &self.site else {
            return Ok(());
        };
        ensure(
            is_made_of(&site.name, b".-_"),
            "name of the site",
            &site.name,
            "expected a host name such as cdn.example.com",
        )?;
        let tls = site.tls.iter().flat_map(|tls| &tls.listen);
        for listen in site.listen.iter().chain(tls) {
            // The one parameter that a socket has for all who listen on it and that a block without TLS needs.
            let address = listen.strip_suffix(" proxy_protocol").unwrap_or(listen);
            ensure(
                is_made_of(address, b".:[]*"),
                "listen of the site",
                listen,
                "expected a port, or an address and a port, as nginx writes them",
            )?;
        }
        Ok(())
    }
}

/// Whether the text needs no quotes in an nginx directive: letters, digits and `also`, not empty.
fn is_made_of(text: &str, also: &[u8]) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || also.contains(&byte);
    !text.is_empty() && text.bytes().all(legal)
}

/// Whether the name is portable (POSIX.1-2017, section 3.437): crontabs and nginx have no quoting for account names.
fn is_account(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with('-')
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

fn ensure(
    holds: bool,
    name: &'static str,
    value: &str,
    expected: &'static str,
) -> Result<(), InvalidOption> {
    if holds {
        Ok(())
    } else {
        Err(InvalidOption {
            name,
            value: value.to_owned(),
            expected,
        })
    }
}

#[cfg(test)]
mod tests;
