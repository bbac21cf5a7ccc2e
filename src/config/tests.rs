use super::*;
use crate::expiry::StoreDuration;

fn config(rest: &str) -> Result<Config, String> {
    Config::from_toml(&format!(
        "[site]\npublic_url = \"https://cdn.example.com/\"\n{rest}"
    ))
    .map_err(|error| error.to_string())
}

#[test]
fn one_line_is_a_configuration() {
    let config = config("").expect("defaults");
    assert_eq!(config.site.public_url(), "https://cdn.example.com");
    assert_eq!(
        config.plans.keys().map(String::as_str).collect::<Vec<_>>(),
        ["3m", "free", "lifetime"]
    );
    assert_eq!(config.plans["3m"].max_file_size, 5_242_880);
    assert_eq!(config.largest_file(), 10 << 20);
    assert_eq!(config.storage.min_free(), 1 << 30);
    assert_eq!(config.fetch.timeout(), Duration::from_secs(20));
}

#[test]
fn the_handbook_shows_the_defaults() {
    let handbook = include_str!("../../nginx/README.md");
    let (_, block) = handbook.split_once("```toml\n").expect("a block");
    let (shown, _) = block.split_once("```").expect("its end");
    let shown = Config::from_toml(shown).expect("a valid configuration");
    let mut defaults = config("").expect("defaults");
    assert_eq!(shown.plans["free"], defaults.plans["free"]);
    defaults.plans = shown.plans.clone();
    assert_eq!(format!("{shown:#?}"), format!("{defaults:#?}"));
}

#[test]
fn plans_that_are_named_are_the_plans_there_are() {
    let config = config(
        "[plans.free]\ndaily_uploads = 0\n[plans.team]\ndaily_uploads = 9\nmax_file_size = 123\n\
         durations = [\"LTF\", \"7D\", \"7D\"]\nurl = \"direct\"\n",
    )
    .expect("two plans");
    assert_eq!(config.plans.len(), 2);
    assert_eq!(
        (
            config.plans["free"].daily_uploads,
            config.plans["free"].max_file_size
        ),
        (0, 2 << 20)
    );
    assert_eq!(
        config.plans["team"].durations,
        [StoreDuration::Days7, StoreDuration::Lifetime]
    );
}

#[test]
fn messages_name_line_key_and_value() {
    let cases = [
        (
            "referers = [\"https://example.com/\"]",
            &["referers: \"https://example.com/\" is no host name"][..],
        ),
        (
            "[server]\nmax_conections = 1",
            &["line 4", "max_conections"],
        ),
        (
            "[server]\nlisten = \"/run/x\"",
            &["line 4", "/run/x", "unix:/PATH"],
        ),
        (
            "[server]\nmax_connections = 0",
            &["[server] max_connections = 0"],
        ),
        ("[storage]\nmin_free = \"1GB\"", &["line 4", "1GB", "GiB"]),
        (
            "[storage]\nname_length = 5",
            &["name_length = 5", "6 to 32"],
        ),
        ("[storage]\ndocroot = \"www\"", &["docroot", "absolute"]),
        (
            "[ledger]\npath = \"/var/www/corenexis-cdn/x.db\"",
            &["inside [storage] docroot"],
        ),
        ("[server]\nlog = \"cdn.log\"", &["[server] log", "absolute"]),
        (
            "[server]\nlog = \"/var/www/corenexis-cdn/cdn.log\"",
            &["[server] log", "inside [storage] docroot"],
        ),
        ("[fetch]\ntimeout = \"0s\"", &["line 4", "0s"]),
        ("[fetch]\nallow = [\"localhost:80\"]", &["line 4"]),
        (
            "[plans.team]\ndaily_uploads = 1",
            &["[plans.team]", "max_file_size"],
        ),
        (
            "[plans.free]\ndurations = [\"7d\"]",
            &["line 4", "7d", "7D"],
        ),
        (
            "[plans.free]\ndurations = []",
            &["[plans.free]", "at least one"],
        ),
        ("[plans.\"a b\"]", &["a b", "letters"]),
        ("[plans]", &["names no plan"]),
        ("[oops]", &["line 3", "oops"]),
    ];
    for (rest, needles) in cases {
        let message = config(rest).expect_err(rest);
        for needle in needles {
            assert!(
                message.contains(needle),
                "{rest:?} gave {message:?}, without {needle:?}"
            );
        }
    }
    let missing = Config::from_toml("").expect_err("no site").to_string();
    assert!(missing.contains("site"), "{missing}");
}

#[test]
fn public_urls_cannot_carry_nginx_or_html() {
    for url in [
        "cdn.example.com",
        "ftp://x",
        "https://",
        "https://a/b",
        "https://a;b",
        "https://a\\\"b",
        "https://a<b",
    ] {
        let text = format!("[site]\npublic_url = \"{url}\"");
        assert!(Config::from_toml(&text).is_err(), "{url}");
    }
    for url in [
        "http://127.0.0.1:8080",
        "https://[::1]:8443",
        "https://xn--bcher-kva.example",
    ] {
        let text = format!("[site]\npublic_url = \"{url}\"");
        assert_eq!(Config::from_toml(&text).expect(url).site.public_url(), url);
    }
}

#[test]
fn sizes_have_binary_units() {
    let cases = [
        ("0", 0),
        ("1500", 1500),
        ("512KiB", 512 << 10),
        ("2 MiB", 2 << 20),
        ("1GiB", 1 << 30),
    ];
    for (text, bytes) in cases {
        assert_eq!(text.parse(), Ok(ByteSize(bytes)), "{text}");
    }
    for wrong in ["", "MiB", "1MB", "1.5MiB", "-1", "1 M", "99999999999GiB"] {
        assert!(wrong.parse::<ByteSize>().is_err(), "{wrong}");
    }
    assert_eq!(ByteSize(5 << 20).to_string(), "5MiB");
    assert_eq!(ByteSize(1500).to_string(), "1500B");
}

#[test]
fn addresses_to_listen_on_read_back() {
    for text in [
        "unix:/run/corenexis-cdn.sock",
        "tcp:127.0.0.1:9000",
        "tcp:[::1]:9000",
    ] {
        assert_eq!(text.parse::<Listen>().expect(text).to_string(), text);
    }
    for wrong in [
        "",
        "unix:",
        "unix:run/x",
        "unix:/a b",
        "unix:/a;b",
        "tcp:9000",
        "tcp:localhost:9000",
        "9000",
    ] {
        assert!(wrong.parse::<Listen>().is_err(), "{wrong}");
    }
}
