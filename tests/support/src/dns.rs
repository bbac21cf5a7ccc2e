//! A DNS server (RFC 1035) with scripted answers, and the resolver files that make a responder ask it.

use std::collections::HashMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;

use crate::builder::Launch;
use crate::machine::can_unshare;
use crate::skip;

const A: u16 = 1;
const CNAME: u16 = 5;
const AAAA: u16 = 28;

/// With these files in place of the machine's own, names are asked of the server whose address is in `NAMES/resolv.conf`.
pub(crate) const SCRIPT: &str = r#"
mount --make-rprivate / 2>/dev/null || :
for file in resolv.conf nsswitch.conf hosts; do
  [ ! -e "/etc/$file" ] || mount --bind "$NAMES/$file" "/etc/$file"
done"#;

pub(crate) const OPTIONS: &[&str] = &["--mount"];

/// The answer to a query.
#[derive(Debug, Clone)]
pub enum Answer {
    /// These addresses; a question for IPv6 gets those of IPv6.
    Addresses(Vec<IpAddr>),
    /// Another name, which has these addresses.
    Alias(&'static str, Vec<IpAddr>),
    /// Nothing ever comes.
    Silence,
}

impl Answer {
    /// These addresses, written as text.
    pub fn of(addresses: &[&str]) -> Self {
        let parsed = addresses
            .iter()
            .map(|text| text.parse().expect("an address"));
        Self::Addresses(parsed.collect())
    }
}

/// A name server on the loopback, until the test's process ends.
#[derive(Debug)]
pub struct NameServer {
    address: Ipv4Addr,
    /// Queries of type A, by name.
    asked: Arc<Mutex<HashMap<String, usize>>>,
}

impl NameServer {
    /// `answer` gets each name and the number of earlier queries for it. `None` after a [`skip`] where this machine does not allow it.
    pub fn start(answer: impl Fn(&str, usize) -> Option<Answer> + Send + 'static) -> Option<Self> {
        if !can_unshare(OPTIONS) {
            return None;
        }
        // The port is fixed by resolv.conf(5); the loopback has 16 million addresses.
        let [a, b, ..] = std::process::id().to_le_bytes();
        let bound = (1..=250).find_map(|last| {
            let address = Ipv4Addr::new(127, a | 1, b, last);
            Some((address, UdpSocket::bind((address, 53)).ok()?))
        });
        let Some((address, socket)) = bound else {
            skip("port 53 cannot be opened here");
            return None;
        };
        let asked = Arc::new(Mutex::new(HashMap::new()));
        let counted = Arc::clone(&asked);
        thread::spawn(move || {
            let mut question = [0; 512];
            while let Ok((length, peer)) = socket.recv_from(&mut question) {
                let mut counted = counted.lock().expect("no panic");
                if let Some(reply) = reply(&question[..length], &answer, &mut counted) {
                    let _ = socket.send_to(&reply, peer);
                }
            }
        });
        Some(Self { address, asked })
    }

    /// Its address; the port is 53.
    pub const fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// Starts a responder that asks this server; its variable `NAMES` is the directory of [`Self::write`].
    pub const fn launch() -> Launch {
        Launch::Unshared(OPTIONS, SCRIPT)
    }

    /// Writes the resolver files that name this server.
    pub fn write(&self, directory: &Path) {
        let resolv = format!(
            "nameserver {}\noptions timeout:30 attempts:1\n",
            self.address
        );
        for (name, text) in [
            ("resolv.conf", resolv.as_str()),
            ("nsswitch.conf", "hosts: files dns\n"),
            ("hosts", "127.0.0.1 localhost\n127.0.0.1 in-hosts.test\n"),
        ] {
            fs::write(directory.join(name), text).expect("a file");
        }
    }

    /// The number of A queries for a name.
    pub fn asked(&self, name: &str) -> usize {
        let asked = self.asked.lock().expect("no panic");
        asked.get(name).copied().unwrap_or_default()
    }
}

/// The reply to a question; `None` where none is given.
fn reply(
    question: &[u8],
    answer: &impl Fn(&str, usize) -> Option<Answer>,
    asked: &mut HashMap<String, usize>,
) -> Option<Vec<u8>> {
    let (name, end) = read_name(question, 12)?;
    let kind = u16::from_be_bytes([*question.get(end)?, *question.get(end + 1)?]);
    let seen = asked.entry(name.clone()).or_default();
    let answer = answer(&name, *seen);
    if kind == A {
        *seen += 1;
    }
    let (alias, addresses) = match answer {
        None => (None, None),
        Some(Answer::Silence) => return None,
        Some(Answer::Alias(alias, addresses)) => (Some(alias), Some(addresses)),
        Some(Answer::Addresses(addresses)) => (None, Some(addresses)),
    };
    let mut records = Vec::new();
    let mut count = 0u16;
    // The owner of each record is the name of the question, at byte 12.
    let mut owner = vec![0xc0, 12];
    if let Some(alias) = alias {
        let mut target = Vec::new();
        push_name(&mut target, alias);
        push_record(&mut records, &owner, CNAME, &target);
        owner = target;
        count += 1;
    }
    for address in addresses.iter().flatten() {
        match address {
            IpAddr::V4(address) if kind == A => {
                push_record(&mut records, &owner, A, &address.octets());
            }
            IpAddr::V6(address) if kind == AAAA => {
                push_record(&mut records, &owner, AAAA, &address.octets());
            }
            _ => continue,
        }
        count += 1;
    }
    let code = if addresses.is_some() { 0 } else { 3 };
    let mut reply = question[..2].to_vec();
    // A reply, authoritative, recursion as it was desired; one question, then the answers.
    reply.extend([0x84 | question[2] & 1, 0x80 | code, 0, 1]);
    reply.extend(count.to_be_bytes());
    reply.extend([0, 0, 0, 0]);
    reply.extend(&question[12..end + 4]);
    reply.extend(records);
    Some(reply)
}

/// A name in the question, and the byte behind it.
fn read_name(message: &[u8], mut at: usize) -> Option<(String, usize)> {
    let mut labels = Vec::new();
    loop {
        let length = usize::from(*message.get(at)?);
        at += 1;
        if length == 0 {
            return Some((labels.join("."), at));
        }
        let label = message.get(at..at + length)?;
        labels.push(String::from_utf8_lossy(label).to_ascii_lowercase());
        at += length;
    }
}

fn push_name(out: &mut Vec<u8>, name: &str) {
    for label in name.split('.') {
        out.push(u8::try_from(label.len()).expect("a label"));
        out.extend(label.as_bytes());
    }
    out.push(0);
}

/// A record of the Internet class that may not be kept.
fn push_record(out: &mut Vec<u8>, owner: &[u8], kind: u16, data: &[u8]) {
    out.extend(owner);
    out.extend(kind.to_be_bytes());
    out.extend([0, 1, 0, 0, 0, 0]);
    out.extend(u16::try_from(data.len()).expect("short").to_be_bytes());
    out.extend(data);
}
