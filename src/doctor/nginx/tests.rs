use super::super::check::Verdict::{Fail, Ok, Warn};
use super::*;
use crate::config::Config;

fn build(text: &str) -> Option<Build> {
    Build::parse(text)
}

#[test]
fn a_build_has_a_version_and_paths() {
    let debian = "nginx version: nginx/1.22.1\nbuilt with OpenSSL 3.0.15 3 Sep 2024\nTLS SNI support enabled\nconfigure arguments: \
                  --with-cc-opt='-g -O2' --prefix=/usr/share/nginx --conf-path=/etc/nginx/nginx.conf --pid-path=/run/nginx.pid";
    let found = build(debian).expect("a build");
    assert_eq!((&*found.name, found.version), ("nginx/1.22.1", (1, 22, 1)));
    assert_eq!(found.argument("conf-path"), Some("/etc/nginx/nginx.conf"));
    assert_eq!(found.argument("user"), None);
    let resty = build("nginx version: openresty/1.25.3.1").expect("a build");
    assert_eq!(resty.version, (1, 25, 3));
    let ubuntu = build("nginx version: nginx/1.24.0 (Ubuntu)\n").expect("a build");
    assert_eq!(ubuntu.name, "nginx/1.24.0");
    assert_eq!(build("sh: nginx: not found"), None);
    assert_eq!(build("nginx version: nginx/x.y"), None);
    let installed = Build::installed().expect("nginx is installed");
    assert!(installed.argument("prefix").is_some(), "{installed:?}");
}

#[test]
fn a_version_older_than_the_fixed_ones_is_reported() {
    for (version, verdict) in [
        ("1.14.2", Fail),
        ("1.18.0", Warn),
        ("1.22.1", Warn),
        ("1.30.6", Warn),
        ("1.30.7", Ok),
        ("1.30.8", Ok),
        ("1.31.8", Warn),
        ("1.31.9", Ok),
        ("2.0.0", Ok),
    ] {
        let found = build(&format!("nginx version: nginx/{version}")).expect("a build");
        assert_eq!(found.check(false).verdict, verdict, "{version}");
    }
    for (version, verdict) in [("1.19.0", Fail), ("1.19.1", Warn), ("1.30.7", Ok)] {
        let found = build(&format!("nginx version: nginx/{version}")).expect("a build");
        let check = found.check(true);
        assert_eq!(check.verdict, verdict, "{version}");
        assert_eq!(check.message.contains("need 1.19.1"), verdict == Fail);
    }
}

#[test]
fn directives_are_found_in_the_output_of_nginx() {
    let dump = "# configuration file /etc/nginx/nginx.conf:\n# user nobody;\nuser www-data www-data; pid \"/run/nginx.pid\";\n\
                http { userid on; client_body_temp_path /tmp/body 1 2; }\n";
    assert_eq!(directive(dump, "user"), Some("www-data"));
    assert_eq!(directive(dump, "pid"), Some("/run/nginx.pid"));
    assert_eq!(directive(dump, "client_body_temp_path"), Some("/tmp/body"));
    assert_eq!(directive(dump, "worker_processes"), None);
    assert_eq!(directive("", "user"), None);
}

fn rendered() -> [String; 2] {
    let config = Config::from_toml("[site]\npublic_url = \"https://cdn.example.com\"");
    nginx_files(&config.expect("valid"), false)
}

/// Checks the output of `nginx -T` with these two files.
fn compare(http: &str, server: &str) -> Vec<Check> {
    let dump = format!(
        "# configuration file /n/nginx.conf:\nuser www-data;\nhttp {{ include h.conf; server {{ include s.conf; }} }}\n\n\
         # configuration file /n/h.conf:\n{http}\n# configuration file /n/s.conf:\n{server}\n"
    );
    let files = rendered();
    let compare = |(name, file): (&&str, &String)| included_files(&dump, name, file);
    FILES.iter().zip(&files).flat_map(compare).collect()
}

#[test]
fn files_that_nginx_includes_are_compared_with_the_rendered_ones() {
    let [http, server] = rendered();
    let verdicts = |checks: &[Check]| checks.iter().map(|check| check.verdict).collect::<Vec<_>>();
    assert_eq!(verdicts(&compare(&http, &server)), [Ok, Ok]);
    let missing = compare(&http, "");
    assert_eq!(verdicts(&missing), [Ok, Fail]);
    assert!(
        missing[1].message.contains("no corenexis-cdn.server.conf"),
        "{missing:?}"
    );
    let edited = |from: &str, to: &str| {
        assert!(server.contains(from) || http.contains(from), "{from}");
        let mut checks = compare(&http.replace(from, to), &server.replace(from, to));
        checks.retain(|check| check.verdict != Ok);
        checks
    };
    let size = "client_max_body_size 21037056;";
    for (from, to, verdict, text) in [
        (
            "location ^~ /.spool/",
            "location /x",
            Fail,
            "lacks `location ^~ /.spool/ {`",
        ),
        (
            size,
            "client_max_body_size 1m;",
            Fail,
            "lacks `client_max_body_size 21037056;`",
        ),
        (size, "", Fail, "lacks `client_max_body_size 21037056;`"),
        (
            "root \"/var/www/corenexis-cdn\"",
            "root /srv",
            Fail,
            "lacks `root \"/var/www/corenexis-cdn\";`",
        ),
        (
            "unix:/run/corenexis-cdn.sock",
            "unix:/x",
            Fail,
            "/n/h.conf is not what config.toml renders now",
        ),
        (
            "keepalive_timeout 60s;",
            "keepalive_timeout 5s;",
            Warn,
            "lacks `keepalive_timeout 60s;`",
        ),
    ] {
        let found = edited(from, to);
        assert_eq!(verdicts(&found), [verdict], "{to}: {found:?}");
        assert!(found[0].message.contains(text), "{to}: {found:?}");
    }
    let added = "keepalive_timeout 60s;\n# own\nzone own 64k;\n";
    assert_eq!(edited("    keepalive_timeout 60s;", added), []);
}

#[test]
fn the_sites_own_nginx_is_found_where_the_installer_puts_it() {
    let root = tempfile::tempdir().expect("a directory");
    let config_file = root.path().join("etc/config.toml");
    let docroot = root.path().join("data/docroot");
    let own = |options: NginxOptions| options.or_own(&config_file, &docroot);
    assert_eq!(own(NginxOptions::default()), NginxOptions::default());
    let put = |conf: &str, prefix: &str| {
        let conf = root.path().join(conf);
        fs::create_dir_all(conf.parent().expect("a parent")).expect("created");
        fs::create_dir_all(root.path().join(prefix)).expect("created");
        fs::write(&conf, "").expect("written");
        NginxOptions {
            conf: Some(conf),
            prefix: Some(root.path().join(prefix)),
        }
    };
    let user = put("data/nginx/conf/nginx.conf", "data/nginx");
    assert_eq!(own(NginxOptions::default()), user);
    let demo = put("etc/rendered/nginx/nginx.conf", "etc/nginx");
    assert_eq!(own(NginxOptions::default()), demo);
    let named = NginxOptions {
        conf: Some("/x".into()),
        prefix: None,
    };
    assert_eq!(own(named.clone()), named);
}

#[test]
fn an_nginx_configuration_of_another_account_is_not_run() {
    if !rustix::process::geteuid().is_root() {
        eprintln!(
            "skip an_nginx_configuration_of_another_account_is_not_run: only root can give files to another account"
        );
        return;
    }
    let root = tempfile::tempdir().expect("a directory");
    let conf = root.path().join("nginx.conf");
    fs::write(&conf, "load_module /tmp/x.so;").expect("written");
    let options = NginxOptions {
        conf: Some(conf.clone()),
        prefix: Some(root.path().to_owned()),
    };
    let account = Account::current();
    assert_eq!(options.untrusted(&account), None);
    std::os::unix::fs::chown(&conf, Some(65_534), None).expect("given away");
    let (path, owner) = options.untrusted(&account).expect("untrusted");
    assert_eq!((path, owner.uid), (&*conf, 65_534));
    assert_eq!(options.untrusted(&owner), None);
}
