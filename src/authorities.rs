//! Certificate authorities: by which the servers of the site's own are verified, PostgreSQL and the store, and why a certificate is
//! rejected.

use std::error::Error;
use std::io;
use std::path::Path;

use rustls::CertificateError;
#[cfg(any(feature = "postgres", feature = "s3"))]
use rustls::pki_types::{CertificateDer, pem::PemObject};

use crate::timestamp::Timestamp;

/// Where systems keep the certificates of the authorities that they trust: Debian and Alpine, Red Hat, SUSE, BSD.
const SYSTEM: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// The file of the authorities that are trusted: `ca_file`, or that of the system; `None` if the system has none.
pub(crate) fn file(ca_file: Option<&Path>) -> Option<&Path> {
    ca_file.or_else(|| SYSTEM.into_iter().map(Path::new).find(|file| file.exists()))
}

/// As [`file`]; where the system has no such file, the path that Debian uses.
pub(crate) fn file_or_usual(ca_file: Option<&Path>) -> &Path {
    file(ca_file).unwrap_or(Path::new(SYSTEM[0]))
}

/// The certificates in a PEM file, at least one. `key` names the setting that the file is of in the text of an error.
#[cfg(any(feature = "postgres", feature = "s3"))]
pub(crate) fn read(file: &Path, key: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let unusable = |why: &dyn std::fmt::Display| {
        format!(
            "the certificates {} cannot be used: {why}; expected PEM; set {key} to a file of certificates",
            file.display()
        )
    };
    let certificates: Vec<_> = CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect)
        .map_err(|error| unusable(&error))?;
    let (usable, _) =
        rustls::RootCertStore::empty().add_parsable_certificates(certificates.clone());
    if usable == 0 {
        return Err(unusable(&"there is none in it"));
    }
    Ok(certificates)
}

/// The reason for which a certificate was rejected, if that is what failed.
pub(crate) fn rejection<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a CertificateError> {
    let mut next = Some(error);
    while let Some(error) = next {
        match error.downcast_ref() {
            Some(ureq::Error::Io(inner)) => {
                next = Some(inner);
                continue;
            }
            Some(ureq::Error::Rustls(inner)) => {
                next = Some(inner);
                continue;
            }
            _ => {}
        }
        // `source` of an io::Error is that of the error inside.
        let inner = error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref);
        let error = inner.map_or(error, |inner| inner as &(dyn Error + 'static));
        if let Some(rustls::Error::InvalidCertificate(reason)) = error.downcast_ref() {
            return Some(reason);
        }
        next = error.source();
    }
    None
}

/// What is wrong with a certificate: follows the words "the certificate" in a message.
pub(crate) fn fault(reason: &CertificateError) -> String {
    use CertificateError as E;
    let day = |time: &rustls::pki_types::UnixTime| {
        let date = Timestamp(time.as_secs().try_into().unwrap_or(i64::MAX)).date();
        date.map_or_else(|| "?".to_owned(), |date| date.to_string())
    };
    match reason {
        E::ExpiredContext { not_after, .. } => format!("expired on {}", day(not_after)),
        E::NotValidYetContext { not_before, .. } => {
            format!("is not valid before {}", day(not_before))
        }
        E::NotValidForNameContext { presented, .. } => {
            format!("is for other names: {}", presented.join(", "))
        }
        // The second: another authority of the same name.
        E::UnknownIssuer | E::BadSignature => "is of an authority that is not trusted".to_owned(),
        E::Revoked => "is revoked".to_owned(),
        E::Other(cause) => format!("is rejected ({cause})"),
        other => format!("is rejected ({other})"),
    }
}

/// What to do about a rejected certificate of a server of the site's own. `ca_file` and `host` name the settings of its authority and of
/// its name.
#[cfg(any(feature = "postgres", feature = "s3"))]
pub(crate) fn remedy(reason: &CertificateError, ca_file: &str, host: &str) -> String {
    use CertificateError as E;
    match reason {
        E::ExpiredContext { .. } => "renew it".to_owned(),
        E::NotValidYetContext { .. } => "check the clock of this host".to_owned(),
        E::NotValidForNameContext { .. } => {
            format!("correct {host}, or give the server a certificate for that name")
        }
        E::UnknownIssuer | E::BadSignature => {
            format!("set {ca_file} to the certificate of the server's authority")
        }
        // What `openssl req -x509` makes without options.
        E::Other(cause) if cause.to_string().contains("CaUsedAsEndEntity") => {
            "it is that of an authority: give the server one that is none (openssl req -addext basicConstraints=CA:FALSE)".to_owned()
        }
        _ => "give the server another one".to_owned(),
    }
}

#[cfg(all(test, any(feature = "postgres", feature = "s3")))]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_file_without_certificates_is_named_with_its_key() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("ca.pem");
        for (text, why) in [
            (None, "No such file"),
            (Some("no certificate"), "there is none in it"),
            (Some("-----BEGIN CERTIFICATE-----\nAAAA\n"), "expected PEM"),
        ] {
            if let Some(text) = text {
                fs::write(&file, text).expect("written");
            }
            let error = read(&file, "[storage] ca_file").expect_err(why);
            for needle in [why, "ca.pem", "set [storage] ca_file"] {
                assert!(error.contains(needle), "{error}");
            }
        }
    }

    #[test]
    fn a_rejection_is_found_in_the_errors_of_the_libraries() {
        let reason = || rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer);
        let wrapped = || io::Error::new(io::ErrorKind::InvalidData, reason());
        for error in [ureq::Error::Io(wrapped()), ureq::Error::Rustls(reason())] {
            assert_eq!(rejection(&error), Some(&CertificateError::UnknownIssuer));
        }
        assert_eq!(
            rejection(&wrapped()).map(fault).as_deref(),
            Some("is of an authority that is not trusted")
        );
        let refused = ureq::Error::Io(io::ErrorKind::ConnectionRefused.into());
        assert_eq!(rejection(&refused), None);
    }

    #[test]
    fn the_remedy_names_the_settings() {
        let remedy = |reason| remedy(&reason, "[ledger] ca_file", "[ledger] url");
        assert!(remedy(CertificateError::UnknownIssuer).contains("[ledger] ca_file"));
        let name = CertificateError::NotValidForNameContext {
            expected: rustls::pki_types::ServerName::try_from("db.example").expect("a name"),
            presented: Vec::new(),
        };
        assert!(remedy(name).contains("[ledger] url"));
    }
}
