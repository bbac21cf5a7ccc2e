use super::dump::matches;
use super::placement::{Address, Placement, Refusal, Wanted, place};
use super::servers::servers;
use super::*;

const SNIPPET: &str = "/etc/nginx/snippets/corenexis-cdn.conf";

fn words(directive: &Directive) -> Vec<&str> {
    let words = std::iter::once(&directive.name).chain(&directive.arguments);
    words.map(String::as_str).collect()
}

/// The text of sites-enabled/shop, in a configuration as Debian has it.
fn dump(site: &str) -> Dump {
    let output = format!(
        "# configuration file /etc/nginx/nginx.conf:\nuser www-data;\nhttp {{\n include sites-enabled/*;\n}}\n\n\
         # configuration file /etc/nginx/sites-enabled/shop:\n{site}\n"
    );
    Dump::read(&output).expect("a dump")
}

fn placed(site: &str, host: &str) -> Result<Placement, Refusal> {
    let wanted = Wanted {
        host,
        port: 80,
        snippet: SNIPPET,
        insert: true,
    };
    place(&servers(&dump(site).directives()), wanted)
}

/// The lines of the braces that an include line is put behind, and the number of the blocks that have it already.
fn lines(site: &str, host: &str) -> (Vec<u32>, usize) {
    match placed(site, host) {
        Ok(Placement::Site { blocks, .. }) => {
            let (included, new): (Vec<_>, Vec<_>) = blocks.iter().partition(|block| block.included);
            (
                new.iter().map(|block| block.brace.line).collect(),
                included.len(),
            )
        }
        other => panic!("{site} gave {other:?}"),
    }
}

fn refusal(site: &str, host: &str) -> String {
    placed(site, host).expect_err(site).to_string()
}

fn listens(site: &str, host: &str) -> Vec<String> {
    match placed(site, host) {
        Ok(Placement::Own { listens }) => listens,
        other => panic!("{site} gave {other:?}"),
    }
}

fn addresses(site: &str, host: &str) -> Vec<Address> {
    match placed(site, host) {
        Ok(Placement::Site { addresses, .. }) => addresses,
        other => panic!("{site} gave {other:?}"),
    }
}

#[test]
fn words_quotes_comments_and_braces() {
    let text = "user www-data; # who; { it is\nhttp {\n    add_header X \"a \\\"b\\\"; {\" always;\n    set $x ${y}z#1;\n\
                    location ~ \"^/p/[a-z]{2}\\z\" { return 404; }\n    empty {}\n    log_format m 'two\nlines';\n    last a\\ b;\n}\n";
    let found = read("f", text);
    assert_eq!(words(&found[0]), ["user", "www-data"]);
    let http = found[1].children();
    assert_eq!(words(&http[0]), ["add_header", "X", "a \"b\"; {", "always"]);
    assert_eq!(words(&http[1]), ["set", "$x", "${y}z#1"]);
    assert_eq!(words(&http[2]), ["location", "~", "^/p/[a-z]{2}\\z"]);
    assert_eq!(words(&http[2].children()[0]), ["return", "404"]);
    assert_eq!(
        http[3].block.as_ref().map(|block| block.directives.len()),
        Some(0)
    );
    assert_eq!(words(&http[4]), ["log_format", "m", "two\nlines"]);
    assert_eq!((http[4].place.line, http[5].place.line), (7, 9));
    assert_eq!(words(&http[5]), ["last", "a\\ b"]);
}

#[test]
fn blocks_know_the_line_of_their_brace() {
    let block = |text| read("f", text)[0].block.clone().expect(text);
    for (text, line, ends) in [
        ("server {\n}", 1, true),
        ("server\n{\n}", 2, true),
        ("server { # shop\n}", 1, true),
        ("server { listen 80; }", 1, false),
        ("server {}", 1, false),
        ("\n\nserver {\r\n}", 3, true),
    ] {
        let block = block(text);
        assert_eq!(
            (block.line, block.brace_ends_line),
            (line, ends),
            "{text:?}"
        );
    }
}

#[test]
fn lua_blocks_are_skipped_whatever_their_strings_hold() {
    let text = "content_by_lua_block { local x = \"}\" -- }\n local y = { 'a\\'}' }\n z = [[ } ]] }\nlisten 80;";
    let found = read("f", text);
    assert_eq!(found.len(), 2);
    assert_eq!(
        (words(&found[1]), found[1].place.line),
        (vec!["listen", "80"], 4)
    );
}

#[test]
fn text_that_nginx_refuses_is_read_to_its_end() {
    for text in [
        "",
        "{",
        "}",
        "}}}a;",
        "a {",
        "a \"",
        "a 'x\\",
        "a { b { c",
        "x_by_lua_block {",
        ";;;",
        "#",
        "a ${",
        "é { ü \"ß\" }",
        "a\\",
    ] {
        read("f", text);
    }
    assert_eq!(words(&read("f", "} a b;")[0]), ["a", "b"]);
}

#[test]
fn included_files_are_in_the_place_of_their_include() {
    let output = "# configuration file /n/nginx.conf:\nhttp {\n include conf.d/*.conf;\n include /n/sites/a[a-c];\n}\n\n\
                  # configuration file /n/conf.d/x.conf:\nmap $a $b { x y; }\n\n\
                  # configuration file /n/conf.d/y.conf.off:\nwrong;\n\n\
                  # configuration file /n/sites/ab:\nserver { include snippets/s.conf; }\n\n\
                  # configuration file /n/snippets/s.conf:\nlocation = /x { return 204; }\n";
    let directives = Dump::read(output).expect("a dump").directives();
    let names: Vec<_> = directives[0]
        .children()
        .iter()
        .map(|d| d.name.as_str())
        .collect();
    assert_eq!(names, ["include", "map", "include", "server"]);
    let server = &directives[0].children()[3];
    assert_eq!(words(&server.children()[1]), ["location", "=", "/x"]);
    assert_eq!(
        server.children()[1].place.to_string(),
        "/n/snippets/s.conf, line 1"
    );
    assert_eq!(Dump::read("nginx: [emerg] no\n"), None);
}

#[test]
fn regression_a_file_that_includes_itself_several_times_is_read_once() {
    let includes = "include nginx.conf other.conf;\n".repeat(9);
    let output = format!(
        "# configuration file /n/nginx.conf:\na;\n{includes}# configuration file /n/other.conf:\n{includes}"
    );
    let directives = Dump::read(&output).expect("a dump").directives();
    assert_eq!(directives.len(), 1 + 9 + 9 * 9);
}

#[test]
fn patterns_stay_within_a_directory() {
    for (pattern, path, expected) in [
        ("/a/*.conf", "/a/b.conf", true),
        ("/a/*.conf", "/a/b/c.conf", false),
        ("/a/*", "/a/b", true),
        ("/a/?.conf", "/a/bc.conf", false),
        ("/*/x*y*", "/a/xzyz", true),
        ("/a/[!b]", "/a/c", true),
        ("/a/[a-c]x", "/a/dx", false),
        ("/a/nginx.conf_*", "/a/nginx.conf_corenexis-cdn", true),
        ("/a/name[.]inc", "/a/name.inc", true),
    ] {
        let found = matches(pattern.as_bytes(), path.as_bytes());
        assert_eq!(found, expected, "{pattern} {path}");
    }
}

#[test]
fn a_block_that_only_redirects_to_https_gets_no_include() {
    let tls = "server {\n listen 443 ssl;\n server_name shop.example;\n root /srv;\n}\n";
    for redirect in [
        " return 301 https://$host$request_uri;",
        " location / {\n  return 301 https://$server_name$request_uri;\n }",
        " rewrite ^ https://shop.example$request_uri? permanent;",
        " if ($host = shop.example) {\n  return 301 https://$host$request_uri;\n }\n return 404;",
        " location /.well-known/ { root /acme; }\n location / { return 302 https://shop.example$request_uri; }",
        " if ($scheme != https) {\n  return 301 https://shop.example$request_uri;\n }",
    ] {
        let plain = format!("server {{\n listen 80;\n server_name shop.example;\n{redirect}\n}}\n");
        assert_eq!(
            lines(&format!("{tls}{plain}"), "shop.example"),
            (vec![1], 0),
            "{redirect}"
        );
    }
    let serving = format!("{tls}server {{\n listen 80;\n server_name shop.example;\n}}\n");
    assert_eq!(
        lines(&serving, "shop.example"),
        (vec![1, 6], 0),
        "both blocks serve the site"
    );
}

#[test]
fn a_site_that_only_redirects_is_refused_with_the_line() {
    let site = "server {\n listen 80;\n server_name shop.example;\n return 301 https://www.shop.example$request_uri;\n}\n";
    let text = refusal(site, "shop.example");
    assert!(
        text.starts_with("/etc/nginx/sites-enabled/shop, line 4: `return 301 "),
        "{text}"
    );
    let behind_a_proxy = "server {\n listen 80;\n server_name shop.example;\n if ($http_x_forwarded_proto = http) {\n  \
                          return 301 https://$host$request_uri;\n }\n}\n";
    assert_eq!(lines(behind_a_proxy, "shop.example"), (vec![1], 0));
}

#[test]
fn wildcards_and_expressions_are_names_too() {
    for name in [
        "*.shop.example",
        ".shop.example",
        "cdn.shop.*",
        "~^cdn\\d*\\.shop\\.example$",
        "~^(?<sub>.+)\\.SHOP\\.example$",
        "CDN.shop.example",
    ] {
        let site = format!("server {{\n listen 80;\n server_name {name};\n}}\n");
        assert_eq!(lines(&site, "cdn.shop.example"), (vec![1], 0), "{name}");
    }
    for name in [
        "*.shop.example",
        "shop.example",
        "*.cdn.shop.example",
        "~^www\\.",
        "cdn.*.example",
        "_",
        "\"\"",
    ] {
        let site = format!("server {{\n listen 80;\n server_name {name};\n}}\n");
        let expected = if name == "*.shop.example" {
            "shop.example"
        } else {
            "cdn.shop.example"
        };
        assert_eq!(listens(&site, expected), ["80"], "{name}");
    }
}

#[test]
fn the_block_that_nginx_chooses_gets_the_line() {
    let site = "server {\n listen 80;\n server_name *.example;\n}\nserver {\n listen 80;\n server_name *.shop.example;\n}\n\
                server {\n listen 80;\n server_name ~^cdn;\n}\n";
    assert_eq!(lines(site, "cdn.shop.example"), (vec![5], 0));
    let exact = format!("{site}server {{\n listen 80;\n server_name cdn.shop.example;\n}}\n");
    assert_eq!(lines(&exact, "cdn.shop.example"), (vec![13], 0));
    let other_port =
        format!("{site}server {{\n listen 8080;\n server_name cdn.shop.example;\n}}\n");
    assert_eq!(lines(&other_port, "cdn.shop.example"), (vec![5, 13], 0));
}

#[test]
fn an_expression_that_cannot_be_evaluated_is_refused_with_its_line() {
    let site = "server {\n listen 80;\n server_name ~^(?!www\\.).+\\.example$;\n}\n";
    let text = refusal(site, "cdn.shop.example");
    assert!(
        text.starts_with("/etc/nginx/sites-enabled/shop, line 3: "),
        "{text}"
    );
    let exact = format!("{site}server {{\n listen 80;\n server_name cdn.shop.example;\n}}\n");
    assert_eq!(
        lines(&exact, "cdn.shop.example"),
        (vec![5], 0),
        "nginx prefers the exact name"
    );
}

#[test]
fn a_block_in_one_line_is_refused_with_its_line() {
    let text = refusal(
        "server { listen 80; server_name shop.example; }",
        "shop.example",
    );
    assert!(
        text.starts_with("/etc/nginx/sites-enabled/shop, line 1: something follows the brace"),
        "{text}"
    );
    let included = format!("server {{ server_name shop.example; include {SNIPPET}; }}");
    assert_eq!(lines(&included, "shop.example"), (vec![], 1));
}

#[test]
fn locations_of_the_site_at_our_urls_are_refused_with_their_line() {
    for location in [
        "/p/",
        "^~ /p/",
        "= /view/",
        "/p",
        "/image/v2/",
        "~ ^/p/(.*)$",
        "~*^/view",
        "/image/docs",
        "/image/upload/",
        "=/image/v2",
    ] {
        let site =
            format!("server {{\n server_name shop.example;\n location {location} {{\n }}\n}}\n");
        let text = refusal(&site, "shop.example");
        assert!(
            text.starts_with("/etc/nginx/sites-enabled/shop, line 3: "),
            "{location}: {text}"
        );
    }
    for location in [
        "/",
        "/products/",
        "/image/",
        "/views",
        "~ \\.(png|jpg)$",
        "/p2/",
        "@p",
    ] {
        let site =
            format!("server {{\n server_name shop.example;\n location {location} {{\n }}\n}}\n");
        assert_eq!(lines(&site, "shop.example"), (vec![1], 0), "{location}");
    }
}

#[test]
fn a_block_of_its_own_listens_where_the_others_do() {
    let server = |listen: &str| format!("server {{\n {listen}\n server_name shop.example;\n}}\n");
    for (listen, expected) in [
        ("listen 80; listen [::]:80;", vec!["80", "[::]:80"]),
        ("listen 0.0.0.0:80 default_server;", vec!["80"]),
        ("listen 192.0.2.1;", vec!["192.0.2.1:80"]),
        ("listen 80 proxy_protocol;", vec!["80 proxy_protocol"]),
        ("", vec!["80"]),
        (
            "listen unix:/run/x.sock; listen 8080; listen 443 ssl;",
            vec![],
        ),
    ] {
        assert_eq!(
            listens(&server(listen), "cdn.example"),
            expected,
            "{listen}"
        );
    }
    let text = refusal(&server("listen 80 ssl;"), "cdn.example");
    assert!(
        text.starts_with("/etc/nginx/sites-enabled/shop, line 2: port 80"),
        "{text}"
    );
}

#[test]
fn the_address_for_a_test_upload_has_the_parameters_of_all_who_share_the_socket() {
    let site = "server {\n listen 80 proxy_protocol;\n server_name other.example;\n}\n\
                server {\n listen *:80;\n listen [::]:8443 ssl;\n listen 443 quic;\n server_name shop.example;\n}\n";
    let address = |tls, host: &str, port, proxy_protocol| Address {
        tls,
        host: host.to_owned(),
        port,
        proxy_protocol,
    };
    assert_eq!(
        addresses(site, "shop.example"),
        [
            address(true, "[::1]", 8443, false),
            address(false, "127.0.0.1", 80, true)
        ]
    );
}

proptest::proptest! {
    /// Words of any kind, written in quotes, are read as they were, in their order.
    #[test]
    fn quoted_words_are_read_back(written in proptest::collection::vec("\\PC{0,12}", 1..6)) {
        let quoted: Vec<_> = written
            .iter()
            .map(|word| format!("\"{}\"", word.replace('\\', "\\\\").replace('"', "\\\"")))
            .collect();
        let found = read("f", &format!("{};", quoted.join(" ")));
        proptest::prop_assert_eq!(words(&found[0]), written);
    }

    /// Text of any kind is read to its end, and every directive lies in a line of it.
    #[test]
    fn any_text_is_read(text in "(server|listen|location|\\{|\\}|;|\"|'|\\\\|\\$|#| |\n|[a-z~^*./]|_by_lua_block|\\PC){0,60}") {
        let lines = u32::try_from(text.split('\n').count()).expect("few lines");
        let mut open = read("f", &text);
        while let Some(directive) = open.pop() {
            proptest::prop_assert!((1..=lines).contains(&directive.place.line));
            open.extend(directive.block.into_iter().flat_map(|block| block.directives));
        }
        let _ = placed(&text, "cdn.example.com");
    }
}
