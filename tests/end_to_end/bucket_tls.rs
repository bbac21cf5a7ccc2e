//! A store over TLS, whose certificate is of an authority of its own.

use std::fs;
use std::process::Output;

use support::certificates::{Authority, Certificate};
use support::machine::free_port;
use support::pictures::{PNG, png_of};
use support::seaweedfs::{Access, Bucket};
use support::site::Site;

const VALID: &str = "20991231000000Z";

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A TLS server in front of the store, in the nginx of the site. It has the certificate whose files are named after the server name that a
/// client sends, reads them for each connection, and keeps neither connections nor sessions.
fn front(port: u16, bucket: &Bucket, directory: &std::path::Path) -> String {
    format!(
        "server {{ listen 127.0.0.1:{port} ssl; ssl_certificate {0}/$ssl_server_name.pem; ssl_certificate_key {0}/$ssl_server_name.key; \
         keepalive_timeout 0; ssl_session_cache off; ssl_session_tickets off; client_max_body_size 0; location / {{ proxy_pass {1}; proxy_set_header Host $http_host; }} }}\n",
        directory.display(),
        bucket.endpoint
    )
}

#[test]
fn a_certificate_of_an_own_authority_is_verified_by_responder_and_nginx() {
    let (Some(own), Some(other)) = (Authority::new(), Authority::new()) else {
        return;
    };
    let directory = tempfile::tempdir().expect("a directory");
    let present = |certificate: &Certificate| {
        for (from, kind) in [(&certificate.file, "pem"), (&certificate.key, "key")] {
            let to = directory.path().join(format!("localhost.{kind}"));
            fs::copy(from, to).expect("copied");
        }
    };
    let good = own.issue("localhost", VALID);
    let rejected = [
        (
            other.issue("localhost", VALID),
            "authority that is not trusted",
            "[storage] ca_file",
        ),
        (
            own.issue("localhost", "20260405000000Z"),
            "expired on 2026-04-05",
            "renew it",
        ),
        (
            own.issue("elsewhere.test", VALID),
            "is for other names: ",
            "[storage] endpoint",
        ),
    ];
    for (serve, access) in [("public", Access::Public), ("signed", Access::Private)] {
        let Some(bucket) = Bucket::new(access) else {
            return;
        };
        present(&good);
        let port = free_port();
        let storage = bucket.storage_at(&format!("https://localhost:{port}"), "responder");
        let ca_file = format!("ca_file = {:?}\nserve = \"{serve}\"\n", own.file());
        let mut site = Site::builder()
            .nginx(&front(port, &bucket, directory.path()))
            .set("storage", &format!("{storage}{ca_file}"))
            .expect("SSL")
            // ::1 is localhost, too.
            .expect("while connecting to upstream")
            .start();
        let path = site.store("3m", "1M", PNG);
        let fetched = site.get(&format!("/p/{path}"));
        assert_eq!((fetched.status, &*fetched.body), (200, PNG), "{serve}");
        site.run(&["verify"]);

        let uncached = site.store("3m", "1M", &png_of(3_000, 1));
        for (certificate, fault, remedy) in &rejected {
            present(certificate);
            assert_eq!(site.get(&format!("/p/{uncached}")).status, 503, "{fault}");
            let before = site.holdings();
            let refused = site.upload("3m", "1M", PNG);
            assert_eq!(refused.status, 503, "{fault}: {refused:?}");
            for command in [&["sweep"][..], &["image", "delete", &path]] {
                let refused = site.output(command);
                assert_eq!(refused.status.code(), Some(4), "{command:?}: {refused:?}");
                let text = stderr(&refused);
                assert!(text.contains(fault) && text.contains(remedy), "{text}");
                assert_eq!(text.trim().lines().count(), 1, "{text}");
            }
            assert_eq!(site.holdings(), before, "{fault}");
            let report = site.output(&["doctor", "--json"]);
            let report = String::from_utf8_lossy(&report.stdout).into_owned();
            assert!(
                report.contains(fault) && report.contains(remedy),
                "{report}"
            );
        }

        // A responder does not start, and a new ledger is not made.
        site.stop();
        for file in fs::read_dir(site.root.join("ledger")).expect("readable") {
            fs::remove_file(file.expect("an entry").path()).expect("removed");
        }
        for command in [&["serve"][..], &["client", "add", "new", "--plan", "free"]] {
            let refused = site.output(command);
            assert_eq!(refused.status.code(), Some(4), "{command:?}: {refused:?}");
            assert!(
                stderr(&refused).contains("is for other names"),
                "{refused:?}"
            );
            let ledger = fs::read_dir(site.root.join("ledger")).expect("readable");
            assert_eq!(ledger.count(), 0, "{command:?}");
        }
    }
}
