#[cfg(feature = "s3")]
mod bucket;
mod documentation;
mod server_block;
mod translations;

use super::*;
use crate::expiry::StoreDuration;
use crate::image_path::ImagePath;

pub(super) fn config(toml: &str) -> Config {
    let site = "[site]\npublic_url = \"https://cdn.example.com\"\n";
    let text = if toml.contains("[site]") {
        toml.to_owned()
    } else {
        format!("{site}{toml}")
    };
    Config::from_toml(&text).expect("a valid configuration")
}

pub(super) fn options() -> Options {
    Options {
        binary: "/usr/local/bin/corenexis-cdn".to_owned(),
        config_file: "/etc/corenexis-cdn/config.toml".to_owned(),
        user: "corenexis-cdn".to_owned(),
        nginx_group: "www-data".to_owned(),
        site: None,
        cgi: None,
        own_nginx: Some(OwnNginx {
            listen: "127.0.0.1:8080".parse().expect("an address"),
            worker_user: None,
        }),
        acme: false,
        demo_client: None,
    }
}

pub(super) fn file(config: &Config, options: &Options, path: &str) -> String {
    let files = render(config, options).expect("valid options");
    let file = files.into_iter().find(|file| file.path == path);
    let contents = file.expect(path).contents.into_owned();
    String::from_utf8(contents).expect("text")
}

fn http(toml: &str) -> String {
    file(&config(toml), &options(), "nginx/corenexis-cdn.http.conf")
}

fn server(toml: &str) -> String {
    file(&config(toml), &options(), "nginx/corenexis-cdn.server.conf")
}

fn page(toml: &str) -> String {
    file(&config(toml), &options(), "www/view/page.html")
}

fn docs(toml: &str) -> String {
    file(&config(toml), &options(), "www/image/docs/index.html")
}

/// The lines of `text` that say `directive`, without their indent.
fn directives<'a>(text: &'a str, directive: &str) -> Vec<&'a str> {
    text.lines()
        .map(str::trim)
        .filter(|line| line.split([' ', ';']).next() == Some(directive))
        .collect()
}

#[test]
fn every_file_is_there_once_and_no_placeholder_is_left() {
    let configurations = [
        "",
        "[limits]\nrequests_per_second = 0\n[site]\npublic_url = \"http://[::1]:8080\"\ncontact = \"abuse@example.com\"\n",
        "[storage]\ndocroot = \"/srv/a$b\"\n[site]\npublic_url = \"http://h\"\ncontact = \"at the desk\"\n",
    ];
    let mut demo = options();
    demo.demo_client = Some(DemoClient {
        id: "a client".to_owned(),
        token: "<t>".to_owned(),
    });
    if let Some(own) = &mut demo.own_nginx {
        own.worker_user = Some("www-data".to_owned());
    }
    for toml in configurations {
        for options in [options(), demo.clone()] {
            let files = render(&config(toml), &options).expect("valid options");
            let mut paths: Vec<_> = files.iter().map(|file| file.path).collect();
            paths.sort_unstable();
            assert_eq!(
                paths,
                [
                    "cron/corenexis-cdn",
                    "cron/corenexis-cdn.crontab",
                    "cron/corenexis-cdn.logrotate",
                    "cron/corenexis-cdn.periodic",
                    "nginx/corenexis-cdn.http.conf",
                    "nginx/corenexis-cdn.server.conf",
                    "nginx/nginx.conf",
                    "service/corenexis-cdn-backup.service",
                    "service/corenexis-cdn-backup.timer",
                    "service/corenexis-cdn-sweep.service",
                    "service/corenexis-cdn-sweep.timer",
                    "service/corenexis-cdn.cgi",
                    "service/corenexis-cdn.init",
                    "service/corenexis-cdn.openrc",
                    "service/corenexis-cdn.service",
                    "service/corenexis-cdn.socket",
                    "service/corenexis-cdn.user",
                    "www/image/docs/404.html",
                    "www/image/docs/corenexis-cdn.postman_collection.json",
                    "www/image/docs/corenexis-cdn.sxcu",
                    "www/image/docs/corenexis-upload",
                    "www/image/docs/docs.css",
                    "www/image/docs/docs.js",
                    "www/image/docs/index.html",
                    "www/image/docs/openapi.json",
                    "www/image/docs/picgo.json",
                    "www/image/docs/upic.json",
                    "www/image/upload/account.js",
                    "www/image/upload/api.js",
                    "www/image/upload/images.js",
                    "www/image/upload/index.html",
                    "www/image/upload/links.js",
                    "www/image/upload/page.js",
                    "www/image/upload/upload.css",
                    "www/image/upload/uploads.js",
                    "www/view/404.html",
                    "www/view/copy.js",
                    "www/view/de.json",
                    "www/view/es.json",
                    "www/view/icon.svg",
                    "www/view/page.html",
                    "www/view/text.js",
                    "www/view/view.css",
                    "www/view/view.js",
                    "www/view/zh.json",
                ]
            );
            for file in files {
                let mode = if !file.path.starts_with("www/") && file.contents.starts_with(b"#!") {
                    0o755
                } else {
                    0o644
                };
                assert_eq!(file.mode, mode, "{}", file.path);
                let text = String::from_utf8(file.contents.into_owned()).expect("text");
                for (position, _) in text.match_indices('@') {
                    let name: String = text[position + 1..]
                        .chars()
                        .take_while(|&character| character.is_ascii_uppercase() || character == '_')
                        .collect();
                    let next = text[position + 1 + name.len()..].chars().next();
                    assert!(
                        name.is_empty() || next != Some('@'),
                        "{}: @{name}@ is left",
                        file.path
                    );
                }
                for line in text.lines() {
                    let is_mark = line.trim().starts_with("@[");
                    assert!(!is_mark, "{}: a section mark is left", file.path);
                }
            }
        }
    }
}

#[test]
fn without_an_instance_of_its_own_there_is_no_nginx_conf() {
    let mut options = options();
    options.own_nginx = None;
    let files = render(&config(""), &options).expect("valid options");
    assert!(!files.iter().any(|file| file.path == "nginx/nginx.conf"));
}

#[test]
fn the_body_size_is_twice_the_largest_plans_file() {
    let sizes = |toml: &str| -> Vec<String> {
        directives(&server(toml), "client_max_body_size")
            .into_iter()
            .map(str::to_owned)
            .collect()
    };
    // The locations without a size of their own leave the judgement to the one of the API.
    let no_judgement = "client_max_body_size 0;";
    assert_eq!(
        sizes(""),
        [no_judgement, "client_max_body_size 21037056;", no_judgement]
    );
    let small = "[plans.free]\nmax_file_size = 100\n[plans.3m]\nmax_file_size = 1000\n";
    assert_eq!(sizes(small)[1], "client_max_body_size 67536;");
    assert!(
        http(small)
            .contains(r#"/image/.error/413 "{\"error\":\"File too large\",\"max_size\":1000}";"#)
    );
}

#[test]
fn nginx_waits_longer_than_a_download_may_take() {
    assert_eq!(
        directives(
            &server("[fetch]\ntimeout = \"2m\"\n"),
            "fastcgi_read_timeout"
        ),
        [
            "fastcgi_read_timeout 135s;",
            "fastcgi_read_timeout 2s;",
            "fastcgi_read_timeout 2s;"
        ],
        "the others are for the viewer, which downloads nothing"
    );
}

#[test]
fn a_limit_of_0_is_left_out() {
    let off = "[limits]\nrequests_per_second = 0\nconcurrent_requests = 0\n";
    for file in [http(off), server(off)] {
        for directive in ["limit_req", "limit_conn", "corenexis_client"] {
            assert!(!file.contains(directive), "{directive}");
        }
    }
    let without_rate = "[limits]\nrequests_per_second = 0\n";
    assert!(http(without_rate).contains("map $remote_addr $corenexis_client {"));
    assert!(server(without_rate).contains("limit_conn corenexis_concurrent 20;"));
    assert!(!server(without_rate).contains("limit_req "));
    assert!(!docs(off).contains("Too many requests"));
    assert!(docs("").contains("Too many requests"));
    assert_eq!(
        directives(&http(""), "limit_req_zone"),
        [
            "limit_req_zone $corenexis_client zone=corenexis_api:10m rate=10r/s;",
            "limit_req_zone $corenexis_viewer_client zone=corenexis_viewer:10m rate=10r/s;"
        ]
    );
    assert_eq!(
        directives(&server(""), "limit_req"),
        [
            "limit_req zone=corenexis_api burst=40 nodelay;",
            "limit_req zone=corenexis_viewer burst=40 nodelay;",
            "limit_req zone=corenexis_viewer burst=40 nodelay;"
        ]
    );
    assert_eq!(
        directives(&server("[limits]\nburst = 0\n"), "limit_req")[0],
        "limit_req zone=corenexis_api;",
        "nginx has no burst=0"
    );
}

#[test]
fn referers_are_the_own_names_and_those_of_the_configuration() {
    for file in [http(""), server("")] {
        assert!(!file.contains("referer") && !file.contains("hotlink"));
    }
    for (url, own) in [
        ("https://cdn.example.com", " cdn.example.com"),
        ("http://127.0.0.1:8080", " 127.0.0.1"),
        ("http://[::1]:8080", ""),
    ] {
        let referers = "referers = [\"example.org\", \"*.example.org\"]";
        let text = server(&format!("[site]\npublic_url = \"{url}\"\n{referers}\n"));
        let expected =
            format!("valid_referers none blocked server_names{own} example.org *.example.org;");
        assert_eq!(directives(&text, "valid_referers"), [&expected; 3]);
    }
}

#[test]
fn search_engines_list_nothing_unless_asked_to() {
    let header = "X-Robots-Tag noindex;";
    assert_eq!(server("").matches(header).count(), 2, "/p/ and /view/");
    assert!(page("").contains(r#"<meta name="robots" content="noindex">"#));
    let indexed = "[site]\npublic_url = \"http://h\"\nindex = true\n";
    assert!(!server(indexed).contains("X-Robots-Tag"));
    assert!(!page(indexed).contains("noindex"));
}

#[test]
fn the_responder_is_reached_where_it_listens() {
    for (listen, expected) in [
        ("unix:/run/a.sock", r#"server "unix:/run/a.sock";"#),
        (r"unix:/run/a\\b", r#"server "unix:/run/a\\b";"#),
        ("tcp:127.0.0.1:9000", r#"server "127.0.0.1:9000";"#),
        ("tcp:[::1]:9000", r#"server "[::1]:9000";"#),
    ] {
        let text = http(&format!("[server]\nlisten = \"{listen}\"\n"));
        assert_eq!(directives(&text, "server"), [expected]);
    }
}

#[test]
fn kept_connections_leave_room_for_others() {
    for (connections, expected) in [(256, 32), (65_536, 32), (64, 8), (1, 1)] {
        let text = http(&format!("[server]\nmax_connections = {connections}\n"));
        assert_eq!(
            directives(&text, "keepalive"),
            [format!("keepalive {expected};")]
        );
    }
}

#[test]
fn a_docroot_is_quoted_for_nginx() {
    for (docroot, expected) in [
        ("/srv/cdn", r#""/srv/cdn""#),
        ("/srv/a b;{}#c", r#""/srv/a b;{}#c""#),
        (r#"/a"b\c"#, r#""/a\"b\\c""#),
        ("/a$b", r#""/a${corenexis_dollar}b""#),
        ("/a\nb", r#""/a\nb""#),
    ] {
        let toml = format!("[storage]\ndocroot = {}\n", toml::Value::from(docroot));
        let text = server(&toml);
        let roots = directives(&text, "root");
        assert_eq!(roots.len(), 4);
        for root in roots {
            assert_eq!(root, format!("root {expected};"));
        }
        assert_eq!(
            http(&toml).contains("geo $corenexis_dollar"),
            docroot.contains('$')
        );
    }
}

#[test]
fn a_contact_is_escaped_and_only_harmless_kinds_become_links() {
    let pages = |contact: &str| {
        let toml = format!(
            "[site]\npublic_url = \"https://cdn.example.com\"\ncontact = {}\n",
            toml::Value::from(contact)
        );
        [page(&toml), docs(&toml)]
    };
    let [view, docs] = pages("abuse+cdn@example.com");
    assert!(view.contains(
        r#"<a href="mailto:abuse+cdn@example.com?subject=Report:%20<!--# echo var="corenexis_image" -->&amp;body=https%3A%2F%2F"#
    ));
    assert!(docs.contains(r#"<a href="mailto:abuse+cdn@example.com">abuse+cdn@example.com</a>"#));
    let [view, _] = pages("https://example.com/report?a=1&b=\"2\"");
    assert!(view.contains(
        r#"<a href="https://example.com/report?a=1&amp;b=&quot;2&quot;&amp;image=<!--# echo var="corenexis_image" -->""#
    ));
    let [view, _] = pages("https://example.com/report#form");
    assert!(view.contains(
        r#"<a href="https://example.com/report?image=<!--# echo var="corenexis_image" -->#form""#
    ));
    let hostile = "<!--# include virtual=\"/x\" --><script>'&";
    for text in pages(hostile) {
        assert!(!text.contains("virtual=\"/x\""));
        assert!(!text.contains("<script>"));
        assert!(
            text.contains("&lt;!--# include virtual=&quot;/x&quot; --&gt;&lt;script&gt;&#39;&amp;")
        );
    }
    for text in pages("javascript:alert(1)@x") {
        assert!(!text.contains("href=\"javascript"));
        assert!(!text.contains("mailto:javascript") && !text.contains("mailto:alert"));
    }
    let [view, _] = pages("a\"b?cc=x&d@example.com");
    assert!(view.contains("mailto:a%22b%3Fcc%3Dx%26d@example.com?"));
    let [view, docs] = pages(" ");
    assert!(!view.contains("Report") && docs.contains("ask the operator of this site"));
}

#[test]
fn pages_carry_no_inline_code_and_absolute_addresses_where_other_sites_read_them() {
    let files = render(&config(""), &options()).expect("valid options");
    for file in files
        .iter()
        .filter(|file| file.contents.starts_with(b"<!DOCTYPE html>"))
    {
        let text = std::str::from_utf8(&file.contents).expect("text");
        for forbidden in [
            "<style", "style=", "<script>", " onclick", " onload", " onerror",
        ] {
            assert!(!text.contains(forbidden), "{}: {forbidden}", file.path);
        }
    }
    let view = page("");
    for property in ["og:image\"", "og:url\"", "twitter:image\""] {
        let line = view
            .lines()
            .find(|line| line.contains(property))
            .expect(property);
        assert!(
            line.contains("content=\"https://cdn.example.com/"),
            "{line}"
        );
    }
}

#[test]
fn what_a_crontab_cannot_say_is_refused() {
    let refused = |change: &dyn Fn(&mut Options)| {
        let mut options = options();
        change(&mut options);
        render(&config(""), &options).is_err()
    };
    assert!(!refused(&|_| {}));
    assert!(refused(
        &|options| options.binary = "corenexis-cdn".to_owned()
    ));
    assert!(refused(&|options| options.config_file = "/a\nb".to_owned()));
    for user in ["", "-x", "a b", "root;", "a$"] {
        assert!(
            refused(&|options| user.clone_into(&mut options.user)),
            "{user:?}"
        );
        assert!(refused(&|options| {
            if let Some(own) = &mut options.own_nginx {
                own.worker_user = Some(user.to_owned());
            }
        }));
    }
}

#[test]
fn the_pattern_of_images_names_what_image_paths_are_made_of() {
    let pattern = r"/(?:ja|fe|ma|ap|ju|au|se|oc|no|de)(?:[1-9]|[12][0-9]|3[01])/[A-Za-z0-9]{6,32}\.(?:jpg|png|gif|webp)";
    assert!(http("").contains(&format!(r#""~^(?:d|m|mm|l){pattern}\z" $arg_img;"#)));
    let encoded = pattern.replace('/', "(?:/|%2[Ff])");
    assert!(http("").contains(&format!(r#""~^(?:d|m|mm|l){encoded}\z" $arg_img;"#)));
    let text = server("");
    assert!(text.contains(&format!(r#"location ~ "^/p/(?:d|m|mm){pattern}\z""#)));
    assert!(text.contains(&format!(r#"location ~ "^/p/(?:l){pattern}\z""#)));
    let example: ImagePath = "mm/de31/AbCdEf.webp".parse().expect("an image path");
    assert_eq!(example.duration(), StoreDuration::Months3);
}

#[test]
fn the_viewer_shares_the_page_by_its_absolute_address() {
    let view = page("");
    let image = r#"<!--# echo var="corenexis_image" -->"#;
    let encoded = format!("https%3A%2F%2Fcdn.example.com%2Fview%2F%3Fimg%3D{image}\"");
    assert_eq!(view.matches(&encoded).count(), 6);
    for value in [
        format!("https://cdn.example.com/view/?img={image}"),
        format!("https://cdn.example.com/p/{image}"),
        format!(
            "[![image](https://cdn.example.com/p/{image})](https://cdn.example.com/view/?img={image})"
        ),
        format!(
            "[url=https://cdn.example.com/view/?img={image}][img]https://cdn.example.com/p/{image}[/img][/url]"
        ),
    ] {
        assert!(
            view.contains(&format!("readonly value=\"{value}\"")),
            "{value}"
        );
    }
}
