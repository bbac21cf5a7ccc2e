//! Explains why a client rejects the certificate of the public URL.

use rustls::CertificateError;

use super::check::Check;
use crate::authorities::{fault, rejection};

/// `None` if the certificate is not what failed.
pub(super) fn check(url: &str, error: &ureq::Error) -> Option<Check> {
    let (fault, advice) = explain(rejection(error)?);
    let message = format!("the certificate of {url} {fault}");
    Some(Check::fail("certificate", message, advice))
}

/// What is wrong, after "the certificate of URL", and what to do.
fn explain(reason: &CertificateError) -> (String, &'static str) {
    use CertificateError as E;
    match reason {
        E::ExpiredContext { .. } => (
            fault(reason),
            "renew it (`certbot renew`), reload nginx, and check that the timer or cron job that renews it runs",
        ),
        E::NotValidYetContext { .. } => (fault(reason), "check the clock of this host"),
        E::NotValidForNameContext { .. } => (
            fault(reason),
            "get one for this name: `install.sh --https` does, where the site has none of its own. Else check that its server block uses the \
             right one: without a matching server_name nginx serves another site's",
        ),
        E::UnknownIssuer => (
            "is not signed by a public certificate authority: it is self-signed, from an internal authority, or sent without its \
             intermediate certificates"
                .to_owned(),
            "get one from a public authority: `install.sh --https` does, where the site has none of its own. Else let its ssl_certificate \
             name the full chain (fullchain.pem)",
        ),
        E::Revoked => (fault(reason), "get a new one with a new key, and reload nginx"),
        // A self-signed certificate of `openssl req -x509` is a CA certificate, which may not be a server's.
        E::Other(cause) => (
            format!("is rejected by clients ({cause}); a self-signed certificate is the usual cause"),
            "get one from a public authority: `install.sh --https` does, where the site has none of its own",
        ),
        other => (
            format!("is rejected by clients ({other})"),
            "get a new one from a public authority: `install.sh --https` does, where the site has none of its own",
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::time::Duration;

    use super::*;

    #[test]
    fn rejected_certificates_are_explained() {
        use rustls::pki_types::{ServerName, UnixTime};
        let at = |seconds| UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        let name = ServerName::try_from("cdn.example.com").expect("a name");
        for (error, text) in [
            (
                CertificateError::ExpiredContext {
                    time: at(1_800_000_000),
                    not_after: at(1_775_347_200),
                },
                "expired on 2026-04-05",
            ),
            (
                CertificateError::NotValidYetContext {
                    time: at(0),
                    not_before: at(1_775_347_200),
                },
                "not valid before 2026-04-05",
            ),
            (
                CertificateError::NotValidForNameContext {
                    expected: name,
                    presented: vec!["www.example.com".to_owned()],
                },
                "for other names: www.example.com",
            ),
            (CertificateError::UnknownIssuer, "self-signed"),
            (CertificateError::Revoked, "revoked"),
            (CertificateError::BadSignature, "rejected by clients"),
        ] {
            let wrapped = io::Error::new(
                io::ErrorKind::InvalidData,
                rustls::Error::InvalidCertificate(error),
            );
            let check = check("https://cdn.example.com", &ureq::Error::Io(wrapped));
            let check = check.expect("a certificate");
            assert!(check.message.contains(text), "{check:?}");
        }
        let other = ureq::Error::Io(io::ErrorKind::ConnectionRefused.into());
        assert_eq!(check("https://cdn.example.com", &other), None);
    }
}
