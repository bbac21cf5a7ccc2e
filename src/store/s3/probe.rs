//! Tries what the program needs of a bucket, for `doctor`: some stores ignore silently what they do not know.
//!
//! It writes three small objects, whose keys no image has, and deletes them.

use std::time::{Duration, Instant};

use rusty_s3::actions::{GetObject, ListObjectsV2};
use time::UtcDateTime;

use super::client::{Client, Payload, Reply, retry};
use super::failure::Failure;
use super::object::Metadata;
use super::operations::Hash;
use super::{date, quarantine};
use crate::config::{S3, Serve};
use crate::expiry::Expiry;
use crate::image_path::ImagePath;
use crate::random::{self, NoRandom};
use crate::timestamp::Timestamp;

/// How long one request may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// A difference of clocks from which signatures are likely to be refused soon, in seconds. Stores allow 15 minutes.
const SKEW: i64 = 60;

/// The bytes of the objects.
const BYTES: &[u8] = b"made by corenexis-cdn doctor\n";

const POLICY: &str = "let everybody get the objects d/*, m/*, mm/* and l/* of the bucket, and no others: at most stores by a bucket policy";

/// The result of one trial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    /// What was tried, as the check is named.
    pub(crate) name: &'static str,
    /// How it went.
    pub(crate) outcome: Outcome,
}

/// How a trial went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// As the program needs it; the text says what was seen.
    Good(String),
    /// The program works without it; what was seen, and what to do.
    Poor(String, String),
    /// The program does not work so; what was seen, and what to do.
    Bad(String, String),
}

use Outcome::{Bad, Good, Poor};

/// Tries the bucket. What depends on a trial that failed is left out.
pub(crate) fn run(s3: &S3) -> Vec<Finding> {
    let mut findings = Vec::new();
    let client = match Client::new(s3, super::UPLOAD_DEADLINE) {
        Ok(client) => client,
        Err(error) => {
            let advice = "write the access key there, ACCESS:SECRET, readable for the account of the responder";
            add(
                &mut findings,
                "bucket",
                Bad(error.to_string(), advice.to_owned()),
            );
            return findings;
        }
    };
    let Ok(name) = new_name() else {
        return findings;
    };
    let probe = Probe {
        client: &client,
        s3,
        public: format!("d/{name}"),
        damaged: format!("d/{name}-damaged"),
        hidden: format!("{}{name}", quarantine::PREFIX),
    };
    if probe.reach(&mut findings) {
        probe.list(&mut findings);
        if probe.write(&mut findings) {
            probe.read(&mut findings);
            probe.delete(&mut findings);
        }
    }
    findings
}

/// A new name for an object that is written as a trial: no image has it.
pub(super) fn new_name() -> Result<String, NoRandom> {
    let mut bytes = [0; 8];
    random::fill(&mut bytes)?;
    Ok(format!(".probe-{}", base16ct::lower::encode_string(&bytes)))
}

struct Probe<'a> {
    client: &'a Client,
    s3: &'a S3,
    public: String,
    damaged: String,
    hidden: String,
}

fn add(findings: &mut Vec<Finding>, name: &'static str, outcome: Outcome) {
    findings.push(Finding { name, outcome });
}

fn deadline() -> Instant {
    Instant::now() + PATIENCE
}

impl Probe<'_> {
    /// Whether the bucket is there and the key is known; the clocks.
    fn reach(&self, findings: &mut Vec<Finding>) -> bool {
        let name = "bucket";
        let place = self.client.place();
        let began = Instant::now();
        let action = ListObjectsV2::new(&self.client.bucket, self.client.credentials.as_ref());
        let reply = self.client.send(action, &[], Payload::Nothing, deadline());
        let took = began.elapsed().as_millis();
        match reply {
            Ok(reply) => {
                let date = reply.header("date").and_then(date::parse);
                add(
                    findings,
                    name,
                    Good(format!("{place} answers within {took} ms")),
                );
                let here = Timestamp::from(UtcDateTime::now());
                if let Some(store) = date {
                    add(findings, "bucket clock", clocks(here, store));
                }
                true
            }
            // The key may not list, which the next trial reports.
            Err(Failure::Refused {
                status: 403,
                code,
                clocks: None,
                ..
            }) if code == "AccessDenied"
                && self.client.get(super::IDENTITY, 0, None, None).is_ok() =>
            {
                add(findings, name, Good(format!("{place} answers")));
                true
            }
            Err(failure) => {
                let mut seen = failure.to_string();
                let advice = match &failure {
                    Failure::Untrusted { fault, remedy } => {
                        seen = format!("the certificate of the store {fault}");
                        remedy
                    }
                    Failure::Unanswered(_) => {
                        "start the store, or correct [storage] endpoint; a firewall may be between this host and it"
                    }
                    Failure::Refused { status: 404, .. } => {
                        "make the bucket, or correct [storage] bucket and path_style"
                    }
                    Failure::Refused {
                        clocks: Some(_), ..
                    } => "set the clock of this host, and keep it with NTP",
                    Failure::Refused { code, .. } if code == "AccessDenied" => {
                        "correct [storage] bucket, since stores hide whether one exists, or let the access key list it (s3:ListBucket)"
                    }
                    Failure::Refused { .. } => {
                        "correct the key in [storage] key_file, and what the store lets it do"
                    }
                };
                add(
                    findings,
                    name,
                    Bad(format!("{place}: {seen}"), advice.to_owned()),
                );
                false
            }
        }
    }

    fn list(&self, findings: &mut Vec<Finding>) {
        let listed = self.client.objects("d/.probe-".to_owned()).next();
        let outcome = match listed.transpose() {
            Ok(_) => Good("its objects can be listed".to_owned()),
            Err(failure) => Bad(
                format!("its objects cannot be listed: {failure}"),
                "let the access key list the bucket (s3:ListBucket): sweep and verify compare it with the ledger".to_owned(),
            ),
        };
        add(findings, "bucket list", outcome);
    }

    fn put(&self, key: &str, body: &[u8], hash: &Hash, is_exclusive: bool) -> Result<(), Failure> {
        let Ok(path) = "d/ja1/AAAAAA.png".parse::<ImagePath>() else {
            return Ok(());
        };
        let metadata = Metadata::new(&path, Expiry::from_instant(EXPIRES_AT), EXPIRES_AT);
        let mut signed = metadata.headers();
        signed.push(("content-md5", &hash.base64));
        let condition = [("if-none-match", "*")];
        let conditions = if is_exclusive { &condition[..] } else { &[] };
        let deadline = deadline();
        retry(deadline, || {
            let mut reader = body;
            let body = (&mut reader as &mut dyn std::io::Read, body.len() as u64);
            let reply = self
                .client
                .put_once(key, &signed, conditions, body, deadline)?;
            reply.document().map(drop)
        })
    }

    /// Whether objects can be written, and only once, whole, with their expiry.
    fn write(&self, findings: &mut Vec<Finding>) -> bool {
        let name = "bucket write";
        let (Ok(hash), Ok(other)) = (Hash::of(&mut &BYTES[..]), Hash::of(&mut &BYTES[1..])) else {
            return false;
        };
        if let Err(failure) = self.put(&self.public, BYTES, &hash, true) {
            let advice = "let the access key write objects (s3:PutObject)";
            add(
                findings,
                name,
                Bad(
                    format!("no object can be written: {failure}"),
                    advice.to_owned(),
                ),
            );
            return false;
        }
        add(findings, name, Good("objects can be written".to_owned()));
        let exclusive = match self.put(&self.public, &BYTES[1..], &other, true) {
            Err(failure) if failure.status() == Some(412) => {
                Good("an object is not replaced (If-None-Match)".to_owned())
            }
            Err(failure) => Poor(
                format!("a second object of the same key was refused in another way than with 412: {failure}"),
                "report it: an upload whose reply is lost may be answered with 503".to_owned(),
            ),
            Ok(()) => Poor(
                "the store ignores If-None-Match, and replaces objects".to_owned(),
                "nothing else may write into this bucket; the names of images are unique by the ledger".to_owned(),
            ),
        };
        add(findings, "bucket condition", exclusive);
        let damaged = match self.put(&self.damaged, BYTES, &other, false) {
            Err(Failure::Refused { status: 400..=499, .. }) => Good("a damaged upload is refused (Content-MD5)".to_owned()),
            Err(failure) => Poor(
                format!("a damaged upload was refused in an unknown way: {failure}"),
                "run doctor again".to_owned(),
            ),
            Ok(()) => Poor(
                "the store does not check Content-MD5: an upload that is damaged on the way is stored".to_owned(),
                "use https, which detects damage".to_owned(),
            ),
        };
        add(findings, "bucket hashes", damaged);
        add(findings, "bucket expiry", self.expiry());
        if let Err(failure) = self.put(&self.hidden, BYTES, &hash, false) {
            let advice = "let the access key write objects below .quarantine/";
            add(
                findings,
                "bucket quarantine",
                Bad(
                    format!("no image can be quarantined: {failure}"),
                    advice.to_owned(),
                ),
            );
        }
        true
    }

    /// Whether the store keeps `Expires` and metadata.
    fn expiry(&self) -> Outcome {
        let deadline = deadline();
        let reply = retry(deadline, || {
            let action = GetObject::new(
                &self.client.bucket,
                self.client.credentials.as_ref(),
                &self.public,
            );
            self.client.send(action, &[], Payload::Nothing, deadline)
        });
        let reply = match reply {
            Ok(reply) => reply,
            Err(failure) => {
                return Bad(
                    format!("an object cannot be read: {failure}"),
                    "let the access key read objects (s3:GetObject)".to_owned(),
                );
            }
        };
        let expires = reply.header("expires").and_then(date::parse);
        let metadata = reply.header("x-amz-meta-expires-at").map(str::to_owned);
        match (expires, metadata) {
            (_, None) => Bad(
                "the store drops the metadata of objects, so that their expiry is lost".to_owned(),
                "use another store".to_owned(),
            ),
            (Some(EXPIRES_AT), Some(_)) => Good("Expires and metadata are kept".to_owned()),
            (_, Some(_)) => Poor(
                "the store drops or changes Expires".to_owned(),
                "serve images through nginx, which takes the expiry from the metadata; a CDN in front of the bucket itself would keep images too long".to_owned(),
            ),
        }
    }

    /// Whether everybody can read what `[storage] serve` says, and nothing else.
    fn read(&self, findings: &mut Vec<Finding>) {
        let name = "bucket public";
        let anonymous = |key: &str| {
            let action = GetObject::new(&self.client.bucket, None, key);
            let reply = self.client.send(action, &[], Payload::Nothing, deadline());
            reply.and_then(Reply::document)
        };
        let outcome = match (self.s3.serve, anonymous(&self.public)) {
            (Serve::Public, Err(failure)) => Bad(
                format!(
                    "images cannot be read without a key, so nginx cannot serve them: {failure}"
                ),
                format!("{POLICY}; or set [storage] serve = \"signed\""),
            ),
            (Serve::Public, Ok(_)) if anonymous(&self.hidden).is_ok() => Bad(
                "everybody who knows the URL of the bucket can read images in quarantine"
                    .to_owned(),
                POLICY.to_owned(),
            ),
            (Serve::Public, Ok(_)) => {
                Good("everybody can read images, and none of those in quarantine".to_owned())
            }
            (Serve::Signed, Ok(_)) => Poor(
                "everybody can read the objects, although [storage] serve is \"signed\"".to_owned(),
                "make the bucket private, or set serve = \"public\"".to_owned(),
            ),
            (Serve::Signed, Err(_)) => {
                Good("nobody can read the objects without the key".to_owned())
            }
        };
        add(findings, name, outcome);
        let list = ListObjectsV2::new(&self.client.bucket, None);
        if self
            .client
            .send(list, &[], Payload::Nothing, deadline())
            .is_ok()
        {
            let outcome = Poor(
                "everybody can list the bucket, and so find every image".to_owned(),
                "let nobody but the access key list it".to_owned(),
            );
            add(findings, "bucket public list", outcome);
        }
    }

    fn delete(&self, findings: &mut Vec<Finding>) {
        let keys = [&self.public, &self.damaged, &self.hidden].map(String::clone);
        let failed = self.client.delete(&keys).into_iter().find_map(Result::err);
        let outcome = match (failed, self.client.head(&self.public)) {
            (Some(failure), _) => Bad(
                format!("objects cannot be deleted together: {failure}"),
                "let the access key delete objects (s3:DeleteObject); without it expired images stay".to_owned(),
            ),
            (None, Ok(Some(_))) => Bad(
                "the store says that it deleted an object, which is still there".to_owned(),
                "expired images would stay: use a store with DeleteObjects, and a bucket without object lock".to_owned(),
            ),
            (None, _) => Good("objects can be deleted together".to_owned()),
        };
        add(findings, "bucket delete", outcome);
    }
}

/// The expiry of the objects, a midnight of the year 2100.
const EXPIRES_AT: Timestamp = Timestamp(4_102_444_800);

fn clocks(here: Timestamp, store: Timestamp) -> Outcome {
    let skew = (here.0 - store.0).abs();
    let seen = format!("this host has {here} and the store {store}");
    if skew > SKEW {
        let advice = "set the clock of this host, and keep it with NTP: signatures that are 15 minutes off are refused";
        Poor(seen, advice.to_owned())
    } else {
        Good(format!("the clocks differ by {skew} s"))
    }
}
