use super::*;

#[test]
fn a_server_block_with_a_certificate_redirects_http_unless_a_site_has_it() {
    let mut site = Site {
        name: "cdn.example.com".to_owned(),
        listen: vec!["80".to_owned(), "[::]:80".to_owned()],
        snippet: "/etc/nginx/snippets/corenexis-cdn.conf".to_owned(),
        tls: None,
    };
    let config =
        Config::from_toml("[site]\npublic_url = \"https://cdn.example.com\"").expect("valid");
    let plain = nginx::site_conf(&config, &site);
    assert_eq!(plain.matches("server {").count(), 1);
    assert!(
        plain.contains("    listen [::]:80;\n    server_name cdn.example.com;"),
        "{plain}"
    );
    assert!(!plain.contains("ssl"), "{plain}");

    let tls = Tls {
        certificate: "/etc/letsencrypt/live/cdn.example.com/fullchain.pem".to_owned(),
        key: "/etc/letsencrypt/live/cdn.example.com/privkey.pem".to_owned(),
        listen: vec!["443".to_owned()],
        beside: false,
    };
    site.tls = Some(tls.clone());
    let alone = nginx::site_conf(&config, &site);
    assert_eq!(alone.matches("server {").count(), 2);
    assert!(
        alone.contains("    listen 443 ssl;\n    ssl_certificate \"/etc/letsencrypt/"),
        "{alone}"
    );
    assert!(
        alone.contains("return 308 https://cdn.example.com$request_uri;"),
        "{alone}"
    );
    assert!(
        alone.contains("location ^~ /.well-known/acme-challenge/ {"),
        "{alone}"
    );

    site.tls = Some(Tls {
        beside: true,
        ..tls
    });
    let beside = nginx::site_conf(&config, &site);
    assert_eq!(beside.matches("server {").count(), 1);
    assert!(
        beside.contains("return 302 http://cdn.example.com$request_uri;"),
        "{beside}"
    );
    assert!(!beside.contains("listen 80"), "{beside}");
}
