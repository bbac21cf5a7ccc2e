//! Certificates of an authority of the tests' own, made by openssl(1).

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use crate::skip;

/// A key of the curve that is made fastest.
const NEW_KEY: [&str; 5] = [
    "-newkey",
    "ec",
    "-pkeyopt",
    "ec_paramgen_curve:prime256v1",
    "-nodes",
];

/// A certificate authority.
#[derive(Debug)]
pub struct Authority {
    directory: TempDir,
}

/// A certificate of a server, and its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// The file of the certificate, in PEM.
    pub file: PathBuf,
    /// The file of the private key, in PEM.
    pub key: PathBuf,
}

impl Authority {
    /// A new authority; `None`, and the test is skipped, where openssl(1) is not installed.
    pub fn new() -> Option<Self> {
        if Command::new("openssl").arg("version").output().is_err() {
            skip("openssl is not installed");
            return None;
        }
        let authority = Self {
            directory: tempfile::tempdir().expect("a directory"),
        };
        // `openssl x509` has no option for the dates of a certificate before version 3.4.
        let settings = format!(
            "[ca]\ndefault_ca = test\n[test]\ndatabase = {0}/index\nnew_certs_dir = {0}\nunique_subject = no\nrand_serial = yes\n\
             default_md = sha256\npolicy = any\ncopy_extensions = copy\n[any]\ncommonName = supplied\n",
            authority.directory.path().display()
        );
        fs::write(authority.at("ca.cnf"), settings).expect("written");
        fs::write(authority.at("index"), "").expect("written");
        let (file, key) = (authority.at("ca.pem"), authority.at("ca.key"));
        let options = [
            "req",
            "-x509",
            "-days",
            "30",
            "-subj",
            "/CN=Tests",
            "-keyout",
            &key,
            "-out",
            &file,
        ];
        openssl(&[&options, &NEW_KEY[..]].concat());
        Some(authority)
    }

    /// The file of its own certificate, in PEM.
    pub fn file(&self) -> PathBuf {
        self.at("ca.pem").into()
    }

    /// A certificate for a host name, valid until `end`, `YYYYMMDDHHMMSSZ`.
    pub fn issue(&self, name: &str, end: &str) -> Certificate {
        let [file, key, request] =
            ["pem", "key", "request"].map(|kind| self.at(&format!("{name}-{end}.{kind}")));
        let subject = format!("/CN={name}");
        let names = format!("subjectAltName=DNS:{name}");
        let options = [
            "req", "-new", "-subj", &subject, "-addext", &names, "-keyout", &key, "-out", &request,
        ];
        openssl(&[&options, &NEW_KEY[..]].concat());
        let (config, ca, ca_key) = (self.at("ca.cnf"), self.at("ca.pem"), self.at("ca.key"));
        openssl(&[
            "ca",
            "-config",
            &config,
            "-batch",
            "-notext",
            "-startdate",
            "20200101000000Z",
            "-enddate",
            end,
            "-cert",
            &ca,
            "-keyfile",
            &ca_key,
            "-in",
            &request,
            "-out",
            &file,
        ]);
        Certificate {
            file: file.into(),
            key: key.into(),
        }
    }

    fn at(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }
}

fn openssl(arguments: &[&str]) {
    let output = Command::new("openssl").args(arguments).output();
    let output = output.expect("openssl runs");
    assert!(output.status.success(), "{arguments:?}: {output:?}");
}
