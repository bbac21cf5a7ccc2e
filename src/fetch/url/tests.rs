use super::*;
use proptest::prelude::*;

fn parsed(url: &str) -> String {
    Target::parse(url.as_bytes()).expect(url).to_string()
}

#[test]
fn urls_are_normalized_as_the_url_standard_says() {
    for (url, read) in [
        ("http://example.com", "http://example.com/"),
        ("HTTPS://Example.COM/A.png", "https://example.com/A.png"),
        (
            "http://example.com:80/a?b=c&d=%20#e",
            "http://example.com/a?b=c&d=%20",
        ),
        ("https://example.com:0443/", "https://example.com/"),
        ("https://example.com:80/", "https://example.com:80/"),
        ("http://example.com:/", "http://example.com/"),
        ("http://example.com?x", "http://example.com/?x"),
        ("http://example.com#x", "http://example.com/"),
        (
            "http://my_host-1.example.com./~a/(b)/c;d,e@f:g",
            "http://my_host-1.example.com./~a/(b)/c;d,e@f:g",
        ),
        ("http://example.com/a//b/../c", "http://example.com/a//c"),
        (
            "http://example.com/%2e%2E/a%2fb",
            "http://example.com/a%2fb",
        ),
        (
            "http://example.com/?u=http://x@y/",
            "http://example.com/?u=http://x@y/",
        ),
        ("http://[2606:4700::1111]:80/", "http://[2606:4700::1111]/"),
        (
            "http://[2606:4700:0:0::1.1.1.1]:8080/",
            "http://[2606:4700::101:101]:8080/",
        ),
    ] {
        assert_eq!(parsed(url), read, "{url}");
    }
    assert_eq!(
        Target::parse(b"https://e.com").map(|url| url.port()),
        Ok(443)
    );
    assert_eq!(
        Target::parse(b"http://e.com:81").map(|url| url.port()),
        Ok(81)
    );
}

#[test]
fn urls_are_taken_as_people_paste_them() {
    for (url, read) in [
        (" \t\r\nhttp://example.com/a \n", "http://example.com/a"),
        ("\u{a0}http://example.com/a\u{3000}", "http://example.com/a"),
        (
            "http://example.com/my photo (1).png",
            "http://example.com/my%20photo%20(1).png",
        ),
        (
            "http://example.com/Bild größer.png?q=ä b#c d",
            "http://example.com/Bild%20gr%C3%B6%C3%9Fer.png?q=%C3%A4%20b",
        ),
        (
            "http://example.com/a%20b%zz%",
            "http://example.com/a%20b%zz%",
        ),
        (
            "http://example.com/<a>\"b\"{c}|d^e`f[g]",
            "http://example.com/%3Ca%3E%22b%22%7Bc%7D|d^e%60f[g]",
        ),
        (
            "http://example.com/?a[]=<\"{c}|d^e`f'>",
            "http://example.com/?a[]=%3C%22{c}|d^e`f%27%3E",
        ),
        (
            "http://exämple.com/日本.png",
            "http://xn--exmple-cua.com/%E6%97%A5%E6%9C%AC.png",
        ),
        ("https://BÜCHER.example/", "https://xn--bcher-kva.example/"),
        ("https://faß.example/", "https://xn--fa-hia.example/"),
        ("http://例え。テスト/", "http://xn--r8jz45g.xn--zckzah/"),
        ("http://ex%C3%A4mple.com/", "http://xn--exmple-cua.com/"),
        ("http://exa%6dple.com/", "http://example.com/"),
        ("http://☕.example/", "http://xn--53h.example/"),
    ] {
        assert_eq!(parsed(url), read, "{url}");
    }
    let latin_1 = Target::parse(b"http://example.com/gr\xf6\xdfer \xff.png");
    assert_eq!(
        latin_1.map(|url| url.to_string()),
        Ok("http://example.com/gr%F6%DFer%20%FF.png".to_owned())
    );
}

#[test]
fn every_notation_of_an_ip_address_becomes_the_usual_one() {
    for host in [
        "127.1",
        "127.0.0.1.",
        "2130706433",
        "0x7f000001",
        "0X7F.1",
        "0x7f.0x0.0x0.0x1",
        "0177.0.0.1",
        "017700000001",
        "%31%32%37.0.0.1",
        "%31%32%37%2e%30%2e%30%2e%31",
        "127%E3%80%820%E3%80%820.1",
        "127。0。0。1",
        "１２７．０．０．１",
        "①②⑦.⓪.⓪.①",
        "%e2%91%a0%e2%91%a1%e2%91%a6.1",
        "0x%37f.1",
    ] {
        let url = format!("http://{host}:8080/");
        assert_eq!(parsed(&url), "http://127.0.0.1:8080/", "{host}");
    }
    assert_eq!(parsed("http://0/"), "http://0.0.0.0/");
    assert_eq!(
        parsed("http://[::ffff:127.0.0.1]/"),
        "http://[::ffff:7f00:1]/"
    );
    assert_eq!(parsed("http://[0:0::0001]/"), "http://[::1]/");
}

#[test]
fn other_urls_are_refused() {
    for url in [
        "",
        " ",
        "example.com/a.png",
        "//example.com/a.png",
        "http:/example.com/",
        "http:example.com",
        "http://",
        "http:///a.png",
        "http:////example.com/",
        "http://?x",
        "http://:80/",
        "ftp://example.com/",
        "file:///etc/passwd",
        "gopher://example.com/",
        "socks5://example.com/",
        "data:image/png;base64,AAAA",
        "javascript://example.com/%0aalert(1)",
        "http\u{200b}://example.com/",
        "ｈttp://example.com/",
        "http：//example.com/",
        "http://example.com/a\tb",
        "ht\ntp://example.com/",
        "http://example.com/\r\nHost: x",
        "http://example.com/\0",
        "http://example.com/\u{7f}",
        "http://example.com/\u{85}x",
        "http://example.com\\@127.0.0.1/",
        "http://example.com/a\\b",
        "http:\\\\example.com\\",
        "http://user@example.com/",
        "http://user:pass@example.com/",
        "http://@example.com/",
        "http://:@example.com/",
        "http://ex%40ample.com/",
        "http://user＠example.com/",
        "http://example.com／.evil/",
        "http://example.com?@evil/\\",
        "http://example.com:80@127.0.0.1/",
        "http://example.com:+80/",
        "http://example.com:80a/",
        "http://example.com:８０/",
        "http://example.com:65536/",
        "http://example.com:80:80/",
        "http://example.com:18446744073709551696/",
        "http://127.0.0.1%2f@example.com/",
        "http://127.0.0.1%2fexample.com/",
        "http://example.com%3a80/",
        "http://example.com%00/",
        "http://example.com%0d%0a/",
        "http://exam ple.com/",
        "http://exam%20ple.com/",
        "http://ex%ample.com/",
        "http://ex%ffample.com/",
        "http://256.256.256.256/",
        "http://1.2.3.4.5/",
        "http://4294967296/",
        "http://09.0.0.1/",
        "http://[::1/",
        "http://[::1]x/",
        "http://[::1]80/",
        "http://[fe80::1%25eth0]/",
        "http://[fe80::1%eth0]/",
        "http://[127.0.0.1]/",
        "http://[example.com]/",
        "http://[]/",
        "http://%5b::1]/",
        "http://::1/",
        "http://a,b/",
        "http://./",
        "http://.example.com/",
        "http://example..com/",
        "http://0x7f../",
        "http://127.0.0.1../",
        "http://a*b/",
        "http://xn--/",
        "http://xn--a\u{e4}/",
        "http://\u{ad}/",
    ] {
        assert!(Target::parse(url.as_bytes()).is_err(), "{url:?}");
    }
    assert!(Target::parse(b"http://ex\xe4mple.com/").is_err());
}

#[test]
fn length_is_limited_to_the_byte() {
    let url = |length: usize| format!("http://e.com/{:a<1$}", "", length - 13);
    assert!(Target::parse(url(MAX_URL).as_bytes()).is_ok());
    assert!(Target::parse(format!(" {}\n", url(MAX_URL)).as_bytes()).is_ok());
    assert!(Target::parse(url(MAX_URL + 1).as_bytes()).is_err());
    let spaces = format!("http://e.com/a{:1$}b", "", MAX_URL / 2);
    assert!(Target::parse(spaces.as_bytes()).is_err());
    let host = |length: usize| format!("http://{:a<length$}/", "");
    assert!(Target::parse(host(MAX_HOST).as_bytes()).is_ok());
    assert!(Target::parse(host(MAX_HOST + 1).as_bytes()).is_err());
    // Two texts that are short enough may still make one that is not.
    let base = Target::parse(format!("http://e.com/{:a<5000}/", "").as_bytes()).expect("short");
    assert!(base.redirect(format!("{:b<5000}", "").as_bytes()).is_err());
}

#[test]
fn references_resolve_as_in_rfc_3986_section_5_4() {
    let base = Target::parse(b"http://a/b/c/d;p?q").expect("the base of section 5.4");
    for (reference, resolved) in [
        ("g", "http://a/b/c/g"),
        ("./g", "http://a/b/c/g"),
        ("g/", "http://a/b/c/g/"),
        ("/g", "http://a/g"),
        ("//g", "http://g/"),
        ("?y", "http://a/b/c/d;p?y"),
        ("g?y", "http://a/b/c/g?y"),
        ("#s", "http://a/b/c/d;p?q"),
        ("g#s", "http://a/b/c/g"),
        ("g?y#s", "http://a/b/c/g?y"),
        (";x", "http://a/b/c/;x"),
        ("", "http://a/b/c/d;p?q"),
        (".", "http://a/b/c/"),
        ("./", "http://a/b/c/"),
        ("..", "http://a/b/"),
        ("../", "http://a/b/"),
        ("../g", "http://a/b/g"),
        ("../..", "http://a/"),
        ("../../g", "http://a/g"),
        ("../../../g", "http://a/g"),
        ("/./g", "http://a/g"),
        ("/../g", "http://a/g"),
        ("g.", "http://a/b/c/g."),
        ("..g", "http://a/b/c/..g"),
        ("./../g", "http://a/b/g"),
        ("./g/.", "http://a/b/c/g/"),
        ("g/./h", "http://a/b/c/g/h"),
        ("g/../h", "http://a/b/c/h"),
        ("g;x=1/../y", "http://a/b/c/y"),
        ("g?y/../x", "http://a/b/c/g?y/../x"),
        ("https://h/i", "https://h/i"),
        ("/x:y", "http://a/x:y"),
    ] {
        assert_eq!(
            base.redirect(reference.as_bytes())
                .expect(reference)
                .to_string(),
            resolved,
            "{reference}"
        );
    }
}

#[test]
fn a_redirect_obeys_the_same_rules() {
    let base = Target::parse(b"https://example.com:444/a").expect("a URL");
    assert_eq!(
        base.redirect(b"/b").map(|url| url.to_string()),
        Ok("https://example.com:444/b".to_owned())
    );
    assert_eq!(
        base.redirect(b"//other/b").map(|url| url.to_string()),
        Ok("https://other/b".to_owned())
    );
    for location in [
        "http://example.com/a",
        "HTTP://example.com:444/a",
        "ftp://example.com/a",
        "http:g",
        "https:g",
        "https:/g",
        "https:///g",
        "javascript:alert(1)",
        "data:image/png,x",
        "//user@example.com/",
        "//",
        "///x",
        "/\\example.com",
        "\\\\example.com",
        "/a\nb",
    ] {
        assert!(base.redirect(location.as_bytes()).is_err(), "{location}");
    }
    let plain = Target::parse(b"http://example.com/").expect("a URL");
    assert!(plain.redirect(b"https://example.com/").is_ok());
}

#[test]
fn a_location_may_hold_spaces_and_any_encoding() {
    let base = Target::parse("https://example.com/ä/b".as_bytes()).expect("a URL");
    let cases: [(&[u8], &str); 5] = [
        (b" /a b ", "https://example.com/a%20b"),
        (
            "grün.png".as_bytes(),
            "https://example.com/%C3%A4/gr%C3%BCn.png",
        ),
        (b"gr\xfcn.png", "https://example.com/%C3%A4/gr%FCn.png"),
        (
            "//bücher.example/é".as_bytes(),
            "https://xn--bcher-kva.example/%C3%A9",
        ),
        ("//①②⑦.1/".as_bytes(), "https://127.0.0.1/"),
    ];
    for (location, target) in cases {
        let read = base.redirect(location).map(|url| url.to_string());
        assert_eq!(read.as_deref(), Ok(target), "{}", location.escape_ascii());
    }
}

proptest! {
    #[test]
    fn the_http_client_reads_every_target_alike(
        url in prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..80),
            "(http|https|HTTP|ftp)://[a-z0-9.:@\\[\\]%-]{0,12}[!-~]{0,40}".prop_map(String::into_bytes),
            "http://[^/?#\\\\:@]{1,9}[.。]?[a-z0-9%]{1,4}/\\PC{0,20}".prop_map(String::into_bytes),
        ],
        location in "\\PC{0,40}",
    ) {
        if let Ok(target) = Target::parse(&url) {
            let uri = target.uri().expect("checked");
            prop_assert_eq!(uri.scheme_str(), Some(target.0.scheme()));
            prop_assert_eq!(uri.host(), target.0.host_str());
            let default = if target.0.scheme() == "https" { 443 } else { 80 };
            prop_assert_eq!(uri.port_u16().unwrap_or(default), target.port());
            let path = match target.0.query() {
                Some(query) => format!("{}?{query}", target.0.path()),
                None => target.0.path().to_owned(),
            };
            prop_assert_eq!(uri.path_and_query().map(ToString::to_string), Some(path));
            prop_assert!(uri.authority().is_some_and(|authority| !authority.as_str().contains('@')));
            prop_assert_eq!(Target::parse(target.to_string().as_bytes()), Ok(target.clone()));
            if let Ok(next) = target.redirect(location.as_bytes()) {
                prop_assert!(next.0.scheme() == "https" || target.0.scheme() == "http");
            }
        }
    }
}
