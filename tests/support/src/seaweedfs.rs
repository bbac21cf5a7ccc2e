//! An S3-compatible store for tests: one SeaweedFS for the process, with buckets of its own for each test.
//!
//! It verifies signatures and clocks, lets exactly one `If-None-Match: *` win, and checks `Content-MD5`. It ends with this process.

use std::env;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use tempfile::TempDir;

use crate::http;
use crate::machine::{free_port, until};
use crate::{repository, skip};

/// The size of a volume of the process's own store, in MiB.
const VOLUME: u32 = 64;

/// The domain below which each bucket is a host, beside the paths of the endpoint. Who uses it needs a [name server](crate::dns).
pub const DOMAIN: &str = "s3.test";

/// How many buckets of one process may be public.
const PUBLIC_BUCKETS: usize = 100;

/// The access keys: what each may do. The key's secret is its name, repeated.
const KEYS: [(&str, &str); 3] = [
    ("responder", r#""Read","Write","List""#),
    ("reader", r#""Read","List""#),
    ("unlisting", r#""Read","Write""#),
];

/// Runs the server until standard input ends, which is when the test's process ends, then removes its directory. SIGKILL, because a stop by
/// SIGTERM takes 40 seconds, and there is nothing to save.
const WATCH: &str = "trap '' HUP INT TERM; \"$@\" & server=$!; read -r _; kill -KILL $server; wait; rm -rf -- \"$PWD\"";

/// What everybody may read of a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// The images, and nothing else.
    Public,
    /// Every object, those in quarantine too.
    Open,
    /// Every object, and the list of them.
    Listed,
    /// Nothing.
    Private,
}

/// A running store. Drop ends it.
#[derive(Debug)]
pub struct Server {
    s3: u16,
    filer: u16,
    /// Kills the store when its standard input ends, which the kernel closes with this process, even after SIGKILL.
    watch: Child,
}

/// A bucket of one test, and the files of its access keys.
#[derive(Debug)]
pub struct Bucket {
    /// The URL of the store.
    pub endpoint: String,
    /// Its name.
    pub name: String,
    /// A directory of the test's own, with the key files and the spool; not the store's.
    pub directory: TempDir,
    filer: u16,
}

impl Server {
    /// Starts a store whose files are below `parent`; `None` if it is not installed. `volume` is the size of its volumes in MiB: uploads
    /// wait while it makes one.
    pub fn start_in(parent: &Path, volume: u32) -> Option<Self> {
        let weed = find()?;
        let directory = tempfile::Builder::new()
            .prefix("corenexis-cdn-seaweedfs-")
            .tempdir_in(parent)
            .expect("a temporary directory");
        let place = &directory.keep();
        fs::create_dir(place.join("data")).expect("a directory");
        fs::write(place.join("s3.json"), identities()).expect("written");
        // Seven volumes for each bucket are the default.
        let growth = "[master.volume_growth]\ncopy_1 = 1\n";
        fs::write(place.join("master.toml"), growth).expect("written");
        let (s3, filer) = (free_port(), free_port());
        let mut command = command(&weed, place, s3, filer, volume);
        let server = Self {
            s3,
            filer,
            watch: command.spawn().expect("sh starts"),
        };
        until("SeaweedFS", || {
            let is_up = |port, target: &str| {
                let request = format!(
                    "GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
                );
                http::exchange(port, request.as_bytes()).is_ok_and(|reply| reply.status == 200)
            };
            (is_up(server.filer, "/") && is_up(server.s3, "/status")).then_some(())
        });
        Some(server)
    }

    /// Makes a new bucket.
    pub fn bucket(&self, access: Access) -> Bucket {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let kind = match access {
            Access::Public => "images",
            Access::Open => "open",
            Access::Listed => "listed",
            Access::Private => "private",
        };
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        assert!(number < PUBLIC_BUCKETS, "too many buckets in one process");
        let name = format!("{kind}-{number}");
        let created = http::request(self.filer, "POST", &format!("/buckets/{name}/"), &[], b"");
        assert!(created.status < 300, "no bucket: {created:?}");
        let directory = tempfile::tempdir().expect("a directory");
        for (key, _) in KEYS.into_iter().chain([("stranger", "")]) {
            let file = directory.path().join(format!("{key}.key"));
            fs::write(&file, format!("{key}:{key}{key}\n")).expect("written");
            fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("its mode");
        }
        Bucket {
            endpoint: format!("http://127.0.0.1:{}", self.s3),
            name,
            directory,
            filer: self.filer,
        }
    }

    /// The process id of the shell that the store runs below.
    pub fn process(&self) -> u32 {
        self.watch.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.watch.stdin.take());
        let _ = self.watch.wait();
    }
}

impl Bucket {
    /// A new bucket; `None`, and the test is skipped, where SeaweedFS is not installed.
    pub fn new(access: Access) -> Option<Self> {
        static SERVER: LazyLock<Option<Server>> =
            LazyLock::new(|| Server::start_in(&env::temp_dir(), VOLUME));
        let Some(server) = &*SERVER else {
            skip("SeaweedFS (weed) is not installed");
            return None;
        };
        Some(server.bucket(access))
    }

    /// Takes all images out of the bucket. Their bytes stay in the store's files, so that it has nothing left to do when this returns.
    pub fn clear(&self) {
        for class in ["d", "m", "mm", "l"] {
            let target = format!(
                "/buckets/{}/{class}?recursive=true&skipChunkDeletion=true",
                self.name
            );
            let reply = http::request(self.filer, "DELETE", &target, &[], b"");
            assert!(reply.status < 300 || reply.status == 404, "{reply:?}");
        }
    }

    /// Deletes an object behind the back of whoever uses the bucket.
    pub fn delete_object(&self, key: &str) -> http::Reply {
        http::request(
            self.filer,
            "DELETE",
            &format!("/buckets/{}/{key}", self.name),
            &[],
            b"",
        )
    }

    /// Writes an object behind the back of whoever uses the bucket, without metadata.
    pub fn put_object(&self, key: &str, bytes: &[u8]) -> http::Reply {
        let target = format!("/buckets/{}/{key}", self.name);
        http::request(self.filer, "PUT", &target, &[], bytes)
    }

    /// The names of the objects in one directory.
    pub fn names(&self, directory: &str) -> Vec<String> {
        let place = format!("/buckets/{}/{directory}", self.name);
        let target = format!("{}/?limit=1000000", place.trim_end_matches('/'));
        let json = [("Accept", "application/json")];
        let reply = http::request(self.filer, "GET", &target, &json, b"");
        if reply.status == 404 {
            return Vec::new();
        }
        let reply = reply.json();
        let entries = reply["Entries"].as_array().into_iter().flatten();
        entries
            .filter_map(|entry| {
                entry["FullPath"]
                    .as_str()?
                    .rsplit('/')
                    .next()
                    .map(str::to_owned)
            })
            .collect()
    }

    /// The keys of all objects but `.identity`, sorted, as the store's own file system lists them.
    pub fn objects(&self) -> Vec<String> {
        let root = format!("/buckets/{}/", self.name);
        let (mut keys, mut directories) = (Vec::new(), vec![root.clone()]);
        while let Some(directory) = directories.pop() {
            let target = format!("{directory}?limit=100000");
            let headers = [("Accept", "application/json")];
            let reply = http::request(self.filer, "GET", &target, &headers, b"");
            // A directory goes when its last object is deleted.
            if reply.status == 404 {
                continue;
            }
            let listed = reply.json();
            for entry in listed["Entries"].as_array().into_iter().flatten() {
                let path = entry["FullPath"].as_str().expect("a path");
                // The type bit of a directory, as Go's os.FileMode has it.
                if entry["Mode"].as_u64().expect("a mode") >> 31 == 1 {
                    directories.push(format!("{path}/"));
                } else {
                    keys.push(path[root.len()..].to_owned());
                }
            }
        }
        keys.retain(|key| key != ".identity");
        keys.sort();
        keys
    }

    /// The file of an access key: `responder` may do what the responder needs, `reader` may not write, `unlisting` may not list,
    /// `stranger` is not known.
    pub fn key_file(&self, key: &str) -> PathBuf {
        self.directory.path().join(format!("{key}.key"))
    }

    /// Lines of `[storage]` for the bucket, with the key `responder`.
    pub fn storage(&self) -> String {
        self.storage_at(&self.endpoint, "responder")
    }

    /// The URL of the store by the name [`DOMAIN`].
    pub fn named_endpoint(&self) -> String {
        self.endpoint.replace("127.0.0.1", DOMAIN)
    }

    /// The spool of one of several hosts.
    fn spool_of_host(&self, host: usize) -> PathBuf {
        self.directory.path().join(format!("spool-{host}"))
    }

    /// Lines of `[storage]` of one of several hosts, which has a spool of its own.
    pub fn storage_of_host(&self, host: usize) -> String {
        let shared = self.directory.path().join("spool");
        let own = self.spool_of_host(host);
        self.storage().replace(
            &format!("{:?}", shared.display().to_string()),
            &format!("{:?}", own.display().to_string()),
        )
    }

    /// Lines of `[storage]` for the bucket, reached by another URL or with another key.
    pub fn storage_at(&self, endpoint: &str, key: &str) -> String {
        format!(
            "kind = \"s3\"\nendpoint = \"{endpoint}\"\nbucket = \"{}\"\nkey_file = \"{}\"\nspool = \"{}\"\n",
            self.name,
            self.key_file(key).display(),
            self.directory.path().join("spool").display()
        )
    }
}

/// `weed` on the path, or where tests/run installs it.
fn find() -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain([repository().join("target/test-tools/bin")])
        .map(|directory| directory.join("weed"))
        .find(|file| file.is_file())
}

/// One process with all of its servers, on loopback alone.
fn command(weed: &Path, place: &Path, s3: u16, filer: u16, volume: u32) -> Command {
    let log = File::create(place.join("log")).expect("a log");
    let mut command = Command::new("sh");
    command.args(["-c", WATCH, "sh"]).arg(weed);
    command.args(["-logtostderr=true", "server", "-dir=data"]);
    command.args(["-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-filer", "-s3"]);
    let volumes = format!("-master.volumeSizeLimitMB={volume}");
    command.args(["-master.telemetry=false", &volumes]);
    command.args(["-volume.max=1000", "-volume.preStopSeconds=0"]);
    command.args(["-volume.minFreeSpace=100MiB", "-s3.config=s3.json"]);
    command.args(["-s3.autoCreateBucket=false", "-s3.iam=false"]);
    command.args(["-s3.port.iceberg=0", "-s3.port.lance=0"]);
    command.arg(format!("-s3.port={s3}"));
    command.arg(format!("-s3.domainName={DOMAIN}"));
    command.arg(format!("-filer.port={filer}"));
    let others = [
        "master.port",
        "master.port.grpc",
        "volume.port",
        "volume.port.grpc",
        "filer.port.grpc",
        "s3.port.grpc",
    ];
    for other in others {
        command.arg(format!("-{other}={}", free_port()));
    }
    command
        .current_dir(place)
        .stdin(Stdio::piped())
        .stdout(log.try_clone().expect("a descriptor"))
        .stderr(log);
    command
}

fn identities() -> String {
    let mut identities = String::from("{\"identities\":[");
    for (key, actions) in KEYS {
        let _ = write!(
            identities,
            r#"{{"name":"{key}","credentials":[{{"accessKey":"{key}","secretKey":"{key}{key}"}}],"actions":[{actions}]}},"#
        );
    }
    identities.push_str(
        r#"{"name":"anonymous","actions":["Read:open-*","Read:listed-*","List:listed-*""#,
    );
    for number in 0..PUBLIC_BUCKETS {
        for class in ["d", "m", "mm", "l"] {
            let _ = write!(identities, r#","Read:images-{number}/{class}/*""#);
        }
    }
    identities.push_str("]}]}");
    identities
}
