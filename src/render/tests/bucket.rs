//! The files for images in a bucket.

use super::*;

const HTTPS: &str = "endpoint = \"https://s3.example.net\"\n";

fn bucket(keys: &str) -> String {
    let endpoint = if keys.contains("endpoint") { "" } else { HTTPS };
    format!("[storage]\nkind = \"s3\"\nbucket = \"images\"\nkey_file = \"/k\"\n{endpoint}{keys}\n")
}

#[test]
fn the_store_is_reached_where_the_configuration_says() {
    for (keys, address, host, url) in [
        (
            "",
            "s3.example.net:443",
            "s3.example.net",
            "https://corenexis_store/images/",
        ),
        (
            "path_style = false",
            "images.s3.example.net:443",
            "images.s3.example.net",
            "https://corenexis_store/",
        ),
        (
            "endpoint = \"https://s3.example.net:8443\"",
            "s3.example.net:8443",
            "s3.example.net:8443",
            "https://corenexis_store/images/",
        ),
        (
            "endpoint = \"http://127.0.0.1:80\"",
            "127.0.0.1:80",
            "127.0.0.1",
            "http://corenexis_store/images/",
        ),
        (
            "endpoint = \"http://[::1]\"",
            "[::1]:80",
            "[::1]",
            "http://corenexis_store/images/",
        ),
    ] {
        let (http, server) = (http(&bucket(keys)), server(&bucket(keys)));
        let servers = directives(&http, "server");
        assert_eq!(servers[1], format!("server \"{address}\";"), "{keys}");
        assert_eq!(
            directives(&server, "proxy_pass"),
            [format!("proxy_pass {url}$corenexis_object;")],
            "{keys}"
        );
        let headers = directives(&server, "proxy_set_header");
        assert_eq!(
            headers[0],
            format!("proxy_set_header Host \"{host}\";"),
            "{keys}"
        );
        let is_https = url.starts_with("https");
        let verified = directives(&server, "proxy_ssl_verify");
        assert_eq!(!verified.is_empty(), is_https, "{keys}");
    }
    let name = server(&bucket("endpoint = \"https://s3.example.net:8443\""));
    assert_eq!(
        directives(&name, "proxy_ssl_name"),
        ["proxy_ssl_name \"s3.example.net\";"]
    );
}

#[test]
fn the_name_is_resolved_again_if_there_is_a_resolver() {
    assert!(directives(&server(&bucket("")), "resolver").is_empty());
    for serve in ["public", "signed"] {
        let keys = format!("resolver = [\"127.0.0.53\", \"::1\"]\nserve = \"{serve}\"");
        let resolved = server(&bucket(&keys));
        for line in [
            "resolver 127.0.0.53 [::1];",
            "set $corenexis_store \"s3.example.net:443\";",
            "proxy_pass https://$corenexis_store/images/$corenexis_object;",
        ] {
            assert!(resolved.contains(line), "{line} is not in {resolved}");
        }
        assert!(!http(&bucket(&keys)).contains("upstream corenexis_store "));
    }
}

#[test]
fn the_store_is_verified_by_the_authorities_of_the_configuration() {
    let text = server(&bucket("ca_file = \"/etc/own ca.pem\""));
    assert_eq!(
        directives(&text, "proxy_ssl_trusted_certificate"),
        ["proxy_ssl_trusted_certificate \"/etc/own ca.pem\";"]
    );
}

#[test]
fn the_cache_leaves_room_for_uploads() {
    let keys = "cache = \"100GiB\"\nmin_free = \"2GiB\"";
    let path = |own: bool| {
        let mut options = options();
        options.own_nginx = options.own_nginx.filter(|_| own);
        let text = file(
            &config(&bucket(keys)),
            &options,
            "nginx/corenexis-cdn.http.conf",
        );
        directives(&text, "proxy_cache_path")[0].to_owned()
    };
    let settings = "levels=1:2 keys_zone=corenexis_images:204m max_size=107374182400 min_free=4294967296 inactive=1d use_temp_path=off;";
    assert_eq!(
        path(true),
        format!("proxy_cache_path run/images {settings}")
    );
    assert_eq!(
        path(false),
        format!("proxy_cache_path /var/cache/corenexis-cdn {settings}")
    );
}

#[test]
fn a_signature_is_asked_for_only_where_it_is_needed() {
    for (serve, is_signed) in [("public", false), ("signed", true)] {
        let toml = bucket(&format!("serve = \"{serve}\""));
        let both = http(&toml) + &server(&toml);
        for text in [
            "corenexis_not_cached",
            "@corenexis_sign",
            "Authorization",
            "VIEWER_PART object",
        ] {
            assert_eq!(both.contains(text), is_signed, "{serve}: {text}");
        }
        let files = render(&config(&toml), &options()).expect("valid options");
        let has = |path: &str| files.iter().any(|file| file.path == path);
        assert!(has("s3/lifecycle.json"));
        assert_eq!(has("s3/policy.json"), !is_signed);
    }
}

#[test]
fn the_docroot_has_no_part_in_serving_images() {
    let text = server(&bucket(""));
    let pages = text.matches("root \"/var/www/corenexis-cdn\";").count();
    assert_eq!(pages, 3, "the pages are still there");
    assert!(!text.contains("if (!-f"));
    assert!(!http(&bucket("")).contains("$corenexis_view_file"));
    for text in [http(""), server("")] {
        assert!(
            !text.contains("proxy_"),
            "and with a docroot, a store has none"
        );
    }
}

#[test]
fn a_visitor_over_the_limit_gets_the_page_alone() {
    let text = server(&bucket(""));
    assert!(text.contains("if ($limit_req_status = REJECTED) {"));
    assert_eq!(text.matches("limit_req_dry_run").count(), 0);
    assert!(server("").contains("if ($limit_req_status = REJECTED_DRY_RUN) {"));
}
