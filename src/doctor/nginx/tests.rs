use super::*;

#[test]
fn builds_say_their_version_and_paths() {
    let debian = "nginx version: nginx/1.22.1\nbuilt with OpenSSL 3.0.15 3 Sep 2024\nTLS SNI support enabled\nconfigure arguments: \
                  --with-cc-opt='-g -O2' --prefix=/usr/share/nginx --conf-path=/etc/nginx/nginx.conf --pid-path=/run/nginx.pid";
    let build = Build::parse(debian).expect("a build");
    assert_eq!(
        (build.name.as_str(), build.version),
        ("nginx/1.22.1", (1, 22, 1))
    );
    assert_eq!(build.argument("conf-path"), Some("/etc/nginx/nginx.conf"));
    assert_eq!(build.argument("user"), None);
    let resty = Build::parse("nginx version: openresty/1.25.3.1").expect("a build");
    assert_eq!(resty.version, (1, 25, 3));
    let ubuntu = Build::parse("nginx version: nginx/1.24.0 (Ubuntu)\n").expect("a build");
    assert_eq!(ubuntu.name, "nginx/1.24.0");
    assert_eq!(Build::parse("sh: nginx: not found"), None);
    assert_eq!(Build::parse("nginx version: nginx/x.y"), None);
}

fn simple(name: &str, arguments: &[&str]) -> Directive {
    Directive {
        name: name.to_owned(),
        arguments: arguments.iter().map(|&text| text.to_owned()).collect(),
        block: Vec::new(),
    }
}

#[test]
fn directives_with_quotes_comments_and_braces() {
    let text = r#"
user www-data; # who; { it is
http {
    add_header X "a \"b\"; {" always;
    set $x ${y}z;
    location ~ "^/p/[a-z]{2}\z" { return 404; }
    content_by_lua_block { if x then { y = "}" .. "{" } end }
    empty {}
}
"#;
    let found = parse(text);
    assert_eq!(found[0], simple("user", &["www-data"]));
    assert_eq!(found[1].name, "http");
    let http = &found[1].block;
    assert_eq!(
        http[0],
        simple("add_header", &["X", "a \"b\"; {", "always"])
    );
    assert_eq!(http[1], simple("set", &["$x", "${y}z"]));
    assert_eq!(http[2].arguments, ["~", r"^/p/[a-z]{2}\z"]);
    assert_eq!(http[2].block, [simple("return", &["404"])]);
    assert_eq!(http[3], simple("empty", &[]));
    assert_eq!((found.len(), http.len()), (2, 4));
}

#[test]
fn whatever_is_broken_is_read_to_its_end() {
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
    ] {
        parse(text);
    }
    assert_eq!(parse("} a b;"), [simple("a", &["b"])]);
}

#[test]
fn a_dump_is_put_together_again() {
    let dump = "# configuration file /etc/nginx/nginx.conf:\nhttp {\n include conf.d/*.conf;\n include /etc/nginx/sites/a?;\n}\n\n\
                # configuration file /etc/nginx/conf.d/x.conf:\nmap $a $b { x y; }\n\n\
                # configuration file /etc/nginx/conf.d/y.conf.off:\nwrong;\n\n\
                # configuration file /etc/nginx/sites/ab:\nserver { include snippets/s.conf; }\n\n\
                # configuration file /etc/nginx/snippets/s.conf:\nlocation = /x { return 204; }\n";
    let configuration = Configuration::from_dump(dump).expect("a configuration");
    assert_eq!(configuration.main, Path::new("/etc/nginx/nginx.conf"));
    let directives = configuration.directives();
    let http = &directives[0].block;
    assert_eq!(
        (http[0].name.as_str(), http[1].name.as_str()),
        ("map", "server")
    );
    assert_eq!(http[1].block[0].arguments, ["=", "/x"]);
    assert_eq!(http.len(), 2);
    assert_eq!(Configuration::from_dump("nginx: [emerg] no\n"), None);
}

#[test]
fn files_that_include_each_other_come_to_an_end() {
    let dump = "# configuration file /n/nginx.conf:\na;\ninclude nginx.conf;\n";
    let directives = Configuration::from_dump(dump).expect("one").directives();
    assert!(
        directives.len() <= INCLUDE_DEPTH + 2,
        "{}",
        directives.len()
    );
}

#[test]
fn patterns_stay_within_a_directory() {
    for (pattern, path, expected) in [
        ("/a/*.conf", "/a/b.conf", true),
        ("/a/*.conf", "/a/b/c.conf", false),
        ("/a/*", "/a/b", true),
        ("/a/?.conf", "/a/bc.conf", false),
        ("/*/x*y*", "/a/xzyz", true),
        ("/a/b", "/a/b", true),
    ] {
        assert_eq!(
            matches(Path::new(pattern), Path::new(path)),
            expected,
            "{pattern} {path}"
        );
    }
}
