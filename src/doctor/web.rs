//! What an nginx configuration says of this site: pure, from directives to the few values that matter here.

use super::nginx::{Directive, parse};

/// The upstream of the responder, as the rendered files name it.
const UPSTREAM: &str = "corenexis_responder";

/// nginx's `client_max_body_size` where none is set, in bytes.
const DEFAULT_BODY: u64 = 1 << 20;

const UPLOADS: &str = "^~ /image/v2/";
const IMAGES: &str = "^~ /p/";

/// A `server` that has locations of ours.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Server {
    /// Its `server_name`s.
    pub names: Vec<String>,
    /// Where it listens.
    pub listens: Vec<String>,
    /// All its locations.
    pub locations: Vec<String>,
    /// The largest body of an upload, in bytes; 0 is no limit.
    pub max_body: Option<u64>,
    /// The directory of bodies that do not fit into memory, where one is set.
    pub body_temp: Option<String>,
    /// Where the images are served from.
    pub docroot: Option<String>,
}

/// The parts of a configuration that concern this site.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Web {
    /// The account of the worker processes, where one is set.
    pub user: Option<String>,
    /// The file with the process id of the master, where one is set.
    pub pid: Option<String>,
    /// Where the responder is expected: the address of `server` in our `upstream`. Empty without that upstream.
    pub responders: Vec<String>,
    /// The servers that have any of our locations.
    pub servers: Vec<Server>,
}

#[derive(Debug, Clone, Default)]
struct Inherited {
    max_body: Option<u64>,
    body_temp: Option<String>,
    root: Option<String>,
}

impl Inherited {
    fn with(&self, block: &[Directive]) -> Self {
        let size = first(block, "client_max_body_size").and_then(size_of);
        Self {
            max_body: size.or(self.max_body),
            body_temp: first(block, "client_body_temp_path")
                .map(str::to_owned)
                .or_else(|| self.body_temp.clone()),
            root: first(block, "root")
                .map(str::to_owned)
                .or_else(|| self.root.clone()),
        }
    }
}

impl Web {
    /// Reads a whole configuration. `ours` are the locations that a server of this site has.
    pub fn read(directives: &[Directive], ours: &[String]) -> Self {
        let mut web = Self {
            user: first(directives, "user").map(str::to_owned),
            pid: first(directives, "pid").map(str::to_owned),
            ..Self::default()
        };
        for http in blocks(directives, "http") {
            let inherited = Inherited::default().with(http);
            web.responders.extend(responders(http));
            let servers = blocks(http, "server").map(|block| server(block, &inherited));
            web.servers.extend(
                servers.filter(|server| server.locations.iter().any(|found| ours.contains(found))),
            );
        }
        web
    }

    /// Reads the two rendered files of a site: what its configuration should say.
    pub fn of_rendered(http_conf: &str, server_conf: &str) -> (Self, Server) {
        let http = parse(http_conf);
        let server = server(&parse(server_conf), &Inherited::default());
        let web = Self {
            responders: responders(&http).collect(),
            ..Self::default()
        };
        (web, server)
    }
}

impl Server {
    /// Whether requests for this host come here by its name.
    pub fn is_named(&self, host: &str) -> bool {
        self.names.iter().any(|name| {
            name.eq_ignore_ascii_case(host)
                || name
                    .strip_prefix('*')
                    .is_some_and(|end| end.starts_with('.') && host.ends_with(end))
                || name.strip_prefix('.').is_some_and(|end| {
                    host == end
                        || host
                            .strip_suffix(end)
                            .is_some_and(|start| start.ends_with('.'))
                })
                || name.starts_with('~')
        })
    }

    /// Whether it takes requests for names that no server has.
    pub fn is_default(&self) -> bool {
        self.listens
            .iter()
            .any(|listen| listen.split(' ').any(|word| word == "default_server"))
    }

    /// Those of `wanted` that it does not have.
    pub fn missing<'a>(&self, wanted: &'a Self) -> Vec<&'a str> {
        wanted
            .locations
            .iter()
            .filter(|location| !self.locations.contains(location))
            .map(String::as_str)
            .collect()
    }
}

fn server(block: &[Directive], inherited: &Inherited) -> Server {
    let inherited = inherited.with(block);
    let within = |location: &str| {
        let found = block.iter().find(|directive| {
            directive.name == "location" && directive.arguments.join(" ") == location
        });
        found.map(|directive| inherited.with(&directive.block))
    };
    let uploads = within(UPLOADS);
    Server {
        names: all(block, "server_name").flatten().cloned().collect(),
        listens: all(block, "listen").map(|words| words.join(" ")).collect(),
        locations: all(block, "location")
            .map(|words| words.join(" "))
            .collect(),
        max_body: uploads
            .as_ref()
            .map(|uploads| uploads.max_body.unwrap_or(DEFAULT_BODY)),
        body_temp: uploads.and_then(|uploads| uploads.body_temp),
        docroot: within(IMAGES).and_then(|images| images.root),
    }
}

fn responders(http: &[Directive]) -> impl Iterator<Item = String> {
    http.iter()
        .filter(|directive| directive.name == "upstream" && directive.arguments == [UPSTREAM])
        .flat_map(|upstream| all(&upstream.block, "server"))
        .filter_map(|words| words.first().cloned())
}

fn blocks<'a>(directives: &'a [Directive], name: &'a str) -> impl Iterator<Item = &'a [Directive]> {
    directives
        .iter()
        .filter(move |directive| directive.name == name)
        .map(|directive| directive.block.as_slice())
}

fn all<'a>(directives: &'a [Directive], name: &'a str) -> impl Iterator<Item = &'a Vec<String>> {
    directives
        .iter()
        .filter(move |directive| directive.name == name)
        .map(|directive| &directive.arguments)
}

fn first<'a>(directives: &'a [Directive], name: &'a str) -> Option<&'a str> {
    all(directives, name).next()?.first().map(String::as_str)
}

/// Bytes, or a number followed by k, m or g.
fn size_of(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|character: char| character.is_ascii_alphabetic());
    let shift = match &text[digits.len()..] {
        "" => 0,
        "k" | "K" => 10,
        "m" | "M" => 20,
        "g" | "G" => 30,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn rendered() -> (Web, Server) {
        let config = Config::from_toml("[site]\npublic_url = \"https://cdn.example.com\"");
        let [http, server] = crate::render::nginx_files(&config.expect("valid"));
        Web::of_rendered(&http, &server)
    }

    #[test]
    fn the_rendered_files_say_what_is_wanted() {
        let (web, server) = rendered();
        assert_eq!(web.responders, ["unix:/run/corenexis-cdn.sock"]);
        assert_eq!(server.max_body, Some((10 << 20) + (64 << 10)));
        assert_eq!(server.docroot.as_deref(), Some("/var/www/corenexis-cdn"));
        for location in [
            UPLOADS,
            IMAGES,
            "= /image/v2",
            "^~ /view/",
            "^~ /image/docs/",
        ] {
            assert!(
                server.locations.iter().any(|found| found == location),
                "{location}"
            );
        }
    }

    #[test]
    fn values_come_from_the_nearest_block() {
        let (_, wanted) = rendered();
        let text = "user www-data www-data; pid /run/nginx.pid;
            http {
              client_body_temp_path /tmp/body 1 2;
              client_max_body_size 8m;
              upstream corenexis_responder { server unix:/run/x.sock; keepalive 4; }
              server { server_name other; location / { } }
              server {
                listen 80 default_server; server_name cdn.example.com *.img.example .net.example;
                location ^~ /image/v2/ { }
                location ^~ /p/ { root /srv; }
              }
              server { server_name ~^x; client_max_body_size 512k; location ^~ /image/v2/ { client_max_body_size 0; } }
            }";
        let web = Web::read(&parse(text), &wanted.locations);
        assert_eq!(web.user.as_deref(), Some("www-data"));
        assert_eq!(web.pid.as_deref(), Some("/run/nginx.pid"));
        assert_eq!(web.responders, ["unix:/run/x.sock"]);
        assert_eq!(web.servers.len(), 2);
        let server = &web.servers[0];
        assert_eq!(server.max_body, Some(8 << 20));
        assert_eq!(server.body_temp.as_deref(), Some("/tmp/body"));
        assert_eq!(server.docroot.as_deref(), Some("/srv"));
        assert!(server.is_default());
        assert!(server.missing(&wanted).contains(&"= /image/v2"));
        assert!(!server.missing(&wanted).contains(&IMAGES));
        for (host, named) in [
            ("CDN.example.com", true),
            ("a.img.example", true),
            ("img.example", false),
            ("net.example", true),
            ("a.net.example", true),
            ("anet.example", false),
            ("", false),
        ] {
            assert_eq!(server.is_named(host), named, "{host:?}");
        }
        assert_eq!(web.servers[1].max_body, Some(0));
        assert!(web.servers[1].is_named("anything"), "a pattern may fit");
        assert_eq!(web.servers[1].docroot, None);
    }

    #[test]
    fn without_any_setting_nginx_takes_a_mebibyte() {
        let (_, wanted) = rendered();
        let text = "http { server { location ^~ /image/v2/ { } } }";
        let web = Web::read(&parse(text), &wanted.locations);
        assert_eq!(web.servers[0].max_body, Some(1 << 20));
        let elsewhere = "http { server { location / { } } }";
        assert_eq!(
            Web::read(&parse(elsewhere), &wanted.locations),
            Web::default()
        );
    }

    #[test]
    fn sizes_have_units() {
        for (text, size) in [
            ("1m", Some(1 << 20)),
            ("8K", Some(8 << 10)),
            ("2g", Some(2 << 30)),
            ("17", Some(17)),
            ("1x", None),
            ("", None),
            ("99999999999999g", None),
        ] {
            assert_eq!(size_of(text), size, "{text}");
        }
    }
}
