//! A differential test against PHP, whose parser most upload forms of the web were written for.

use std::collections::BTreeMap;
use std::fs;
use std::process::{Child, Command, Stdio};

use memchr::memmem;
use serde_json::Value;
use support::http;
use support::machine::{end, free_port, until};

use super::{Outcome, Random, open_split, outcome, outcome_at_once, random_boundary, random_bytes};
use crate::form::FileName;
use crate::form::content_type::Boundary;

/// Prints what PHP read: text fields, and files with their error code, all values in hexadecimal.
const SCRIPT: &str = r"<?php
$files = array_map(fn($file) => $file['error'] === UPLOAD_ERR_OK
    ? bin2hex(file_get_contents($file['tmp_name'])) : $file['error'], $_FILES);
header('Content-Type: application/json');
$reply = json_encode(['text' => (object) array_map('bin2hex', $_POST), 'files' => (object) $files]);
header('Content-Length: ' . strlen($reply));
echo $reply;
";

/// PHP's built-in web server.
struct Php {
    process: Child,
    port: u16,
    _directory: tempfile::TempDir,
}

impl Php {
    fn start() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let script = directory.path().join("form.php");
        fs::write(&script, SCRIPT).expect("the script is written");
        let port = free_port();
        let process = Command::new("php")
            .args(["-n", "-d", "max_file_uploads=100", "-d", "display_errors=0"])
            .args(["-S", &format!("127.0.0.1:{port}")])
            .arg(&script)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("php starts");
        let php = Self {
            process,
            port,
            _directory: directory,
        };
        until("PHP's web server", || http::connect(port).ok().map(drop));
        php
    }

    fn read(&self, boundary: &Boundary, body: &[u8]) -> BTreeMap<String, Entry> {
        let boundary = str::from_utf8(boundary.as_bytes()).expect("ASCII");
        let content_type = format!("multipart/form-data; boundary=\"{boundary}\"");
        let headers = [("Content-Type", content_type.as_str())];
        let reply = http::request(self.port, "POST", "/form.php", &headers, body);
        let reply: Value = serde_json::from_slice(&reply.body).expect("JSON");
        let fields = |kind: &str| reply[kind].as_object().expect("an object").clone();
        let text = fields("text").into_iter().map(|(name, value)| {
            let value = value.as_str().expect("hexadecimal").to_owned();
            (name, Entry::Text(value))
        });
        let files = fields("files").into_iter().map(|(name, value)| {
            let entry = match value.as_str() {
                Some(value) => Entry::File(value.to_owned()),
                None => Entry::NoFile(value.as_i64().expect("an error code")),
            };
            (name, entry)
        });
        text.chain(files).collect()
    }
}

impl Drop for Php {
    fn drop(&mut self) {
        end(&mut self.process);
    }
}

/// A field as PHP sees it.
#[derive(Debug, PartialEq)]
enum Entry {
    Text(String),
    File(String),
    /// PHP's error code.
    NoFile(i64),
}

/// What the form says in PHP's terms; `None` if it is refused.
fn entries(outcome: Outcome) -> Option<BTreeMap<String, Entry>> {
    let fields = outcome.fields.into_iter().map(|(field, value)| {
        let value = base16ct::lower::encode_string(&value);
        let entry = match field.file_name {
            FileName::Absent => Entry::Text(value),
            FileName::Empty => Entry::NoFile(4),
            FileName::Given => Entry::File(value),
        };
        (String::from_utf8_lossy(&field.name).into_owned(), entry)
    });
    outcome.refused.is_none().then(|| fields.collect())
}

/// Differs from [`random_bytes`] where PHP does: it takes a delimiter after a bare LF for one too.
fn random_value(random: &mut Random, delimiter: &[u8]) -> Vec<u8> {
    loop {
        let value = random_bytes(random, delimiter);
        if memmem::find(&value, &delimiter[1..]).is_none() {
            return value;
        }
    }
}

fn part(random: &mut Random, name: &str, delimiter: &[u8]) -> Vec<u8> {
    let kind = random.pick(&[
        b"form-data",
        b"form-data",
        b"Form-Data",
        b"attachment",
        b"file",
    ]);
    let name = match random.below(4) {
        0 => format!("name={name}"),
        1 => format!("NAME=\"{name}\""),
        _ => format!("name=\"{name}\""),
    };
    let file_name = random.pick(&[
        b"",
        b"",
        b"filename=\"\"",
        b"filename=\"x.png\"; filename*=UTF-8''x.png",
        b"filename=\"photo.png\"",
        b"FileName=photo.png",
        b"filename=\"my photo;1=2.png\"",
        b"filename=\"a\\\"b.png\"",
        b"filename=\"C:\\photos\\x.png\"",
        b"filename=\"my \"cool\" photo.png\"",
        b"filename=\"27\" screen.png\"",
        b"filename=\"\xc3\xa4\xff.png\"",
        b"filename=\"x; name=client_id; .png\"",
        b"filename=\"x\" ; name=client_id; \".png\"",
        b"filename=\"x\"y; name=\"client_id\"",
    ]);
    let separator = random.pick(&[b"; ", b"; ", b";", b";\r\n ", b" ;\r\n\t"]);
    let mut disposition = [b"Content-Disposition: ", kind].concat();
    let mut parameters = vec![name.as_bytes(), file_name];
    if random.below(6) == 0 {
        parameters.reverse();
    }
    if random.below(6) == 0 {
        parameters.insert(random.below(3), b"size=5");
    }
    for parameter in parameters.into_iter().filter(|text| !text.is_empty()) {
        disposition.extend_from_slice(separator);
        disposition.extend_from_slice(parameter);
    }
    let mut headers = vec![disposition];
    let other = random.pick(&[
        b"",
        b"Content-Type: image/png",
        b"Content-Type: text/plain;\r\n charset=utf-8",
        b"X-Name: a; name=\"b\"",
    ]);
    headers.insert(random.below(2), other.to_vec());
    let mut part = b"\r\n".to_vec();
    for header in headers.iter().filter(|header| !header.is_empty()) {
        part.extend_from_slice(header);
        part.extend_from_slice(b"\r\n");
    }
    part.extend_from_slice(b"\r\n");
    if file_name != b"filename=\"\"" {
        part.extend(random_value(random, delimiter));
    }
    part.extend_from_slice(delimiter);
    part
}

#[test]
fn php_reads_the_same_fields_wherever_a_form_is_accepted() {
    if Command::new("php").arg("-v").output().is_err() {
        return support::skip("php is not installed");
    }
    let php = Php::start();
    let mut random = Random::new(6);
    let (mut accepted, mut with_quotes) = (0, 0);

    for number in 0..600 {
        let boundary = random_boundary(&mut random);
        let delimiter = [b"\r\n--", boundary.as_bytes()].concat();
        let mut body = delimiter[2..].to_vec();
        for name in 0..random.below(4) {
            body.extend(part(&mut random, &format!("field{name}"), &delimiter));
        }
        body.extend_from_slice(b"--\r\n");
        let ours = outcome(open_split(&boundary, &body, &mut random));
        let Some(ours) = entries(ours) else {
            continue;
        };
        let theirs = php.read(&boundary, &body);
        assert_eq!(ours, theirs, "body {number}: {}", body.escape_ascii());
        accepted += 1;
        with_quotes += usize::from(memmem::find(&body, b"\"cool\"").is_some());
    }
    assert!(
        accepted > 300 && with_quotes > 20,
        "{accepted}, {with_quotes}"
    );
}

/// The known differences, each with its reason. None lets a value of one field pass for that of another.
#[test]
fn php_reads_these_forms_otherwise() {
    if Command::new("php").arg("-v").output().is_err() {
        return support::skip("php is not installed");
    }
    let php = Php::start();
    let boundary = Boundary::new(b"b").expect("a boundary");
    let one = |headers: &str| format!("--b\r\n{headers}\r\n\r\nv\r\n--b--\r\n");
    let disposition =
        |parameters: &str| one(&format!("Content-Disposition: form-data; {parameters}"));
    for (body, ours, theirs) in [
        // RFC 2046: a delimiter begins with CR LF.
        (disposition("name=a").replace("v\r\n", "v\n"), None, "a=v"),
        (disposition("name=a").replace("\r\n", "\n"), None, "a=v"),
        // RFC 7578 section 4.2 calls for a disposition.
        (one("X: y"), None, ""),
        // A body that was cut.
        (
            disposition("name=a").replace("\r\n--b--\r\n", ""),
            None,
            "a=v",
        ),
        // Names that parsers read in different ways.
        (disposition("name=a; name=b"), None, "b=v"),
        (disposition("filename=\"x\"y\"; name=a"), None, "0=file v"),
        (disposition("name=\"a\"b"), None, "a=v"),
        // White space around `=` is no part of the name (RFC 2045 has none there).
        (disposition("name = a"), Some("a=v"), ""),
        // RFC 5987, sent by some clients although RFC 7578 forbids it.
        (
            disposition("name=a; filename*=UTF-8''x"),
            Some("a=file v"),
            "a=v",
        ),
        // The HTML standard's escapes.
        (disposition("name=\"a%22\""), Some("a\"=v"), "a%22=v"),
        // PHP's variables.
        (disposition("name=a.b"), Some("a.b=v"), "a_b=v"),
        (
            one("Content-Disposition: form-data; name=a\r\nContent-Transfer-Encoding: base64"),
            None,
            "a=v",
        ),
    ] {
        let print = |entries: BTreeMap<String, Entry>| {
            let entries = entries.into_iter().map(|(name, entry)| match entry {
                Entry::Text(value) => format!("{name}={value}"),
                Entry::File(value) => format!("{name}=file {value}"),
                Entry::NoFile(code) => format!("{name}=error {code}"),
            });
            entries.collect::<Vec<_>>().join(" ").replace("76", "v")
        };
        let read = entries(outcome_at_once(&boundary, body.as_bytes())).map(print);
        assert_eq!(read.as_deref(), ours, "{body:?}");
        assert_eq!(
            print(php.read(&boundary, body.as_bytes())),
            theirs,
            "PHP: {body:?}"
        );
    }
}
