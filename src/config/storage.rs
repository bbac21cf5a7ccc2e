//! `[storage]`: the docroot, or a bucket of an S3-compatible store.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use serde::Deserialize;

use super::values::{ByteSize, host_url};
use super::{Durability, Invalid, ensure};

/// `[storage]`
#[derive(Debug, Clone)]
pub struct Storage {
    /// The directory that nginx serves `/p/` and `/view/` from. Images lie in it unless [`Self::s3`] is set.
    pub docroot: PathBuf,
    pub(super) min_free: ByteSize,
    /// Characters in the random name of an image.
    pub name_length: usize,
    /// Whether an acknowledged upload survives a power cut.
    pub durability: Durability,
    /// The bucket that images lie in; `None` if they lie in the docroot.
    pub s3: Option<S3>,
}

impl Storage {
    /// Uploads are refused while the file system that they are written to has fewer bytes free than this.
    pub const fn min_free(&self) -> u64 {
        self.min_free.0
    }
}

impl Default for Storage {
    fn default() -> Self {
        Self {
            docroot: "/var/www/corenexis-cdn".into(),
            min_free: ByteSize(1 << 30),
            name_length: 10,
            durability: Durability::Full,
            s3: None,
        }
    }
}

/// `[storage]` with `kind = "s3"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3 {
    /// Scheme, host and port of the store, without a slash at the end.
    pub endpoint: String,
    /// The region that requests are signed for.
    pub region: String,
    /// The bucket.
    pub bucket: String,
    /// Whether the bucket is named in the path of a URL (`https://HOST/BUCKET/…`) instead of its host (`https://BUCKET.HOST/…`).
    pub path_style: bool,
    /// The file that holds the access key, `ACCESS:SECRET`.
    pub key_file: PathBuf,
    /// The certificates of the authorities that the store's certificate may be of, in PEM; `None` for those of the system.
    pub ca_file: Option<PathBuf>,
    /// The directory of uploads that are not in the bucket yet.
    pub spool: PathBuf,
    /// Who may read the objects.
    pub serve: Serve,
    /// The name servers by which nginx resolves the endpoint's name while it runs; without one, it does when it starts.
    pub resolver: Vec<IpAddr>,
    cache: ByteSize,
}

impl S3 {
    /// Bytes that nginx keeps of the bucket on this host.
    pub const fn cache(&self) -> u64 {
        self.cache.0
    }

    /// Whether requests to the store are encrypted.
    pub fn is_https(&self) -> bool {
        self.endpoint.starts_with("https://")
    }

    /// The host of the bucket's URLs, and its port if that is not the scheme's: the header `Host` of a request.
    pub fn host(&self) -> String {
        let (name, port) = self.name_and_port();
        if port == self.default_port() {
            name
        } else {
            format!("{name}:{port}")
        }
    }

    /// The host of the bucket's URLs, without a port.
    pub fn host_name(&self) -> String {
        self.name_and_port().0
    }

    /// The host of the bucket's URLs with its port.
    pub fn address(&self) -> String {
        let (name, port) = self.name_and_port();
        format!("{name}:{port}")
    }

    /// The path of the bucket's URLs in front of a key, with its slashes.
    pub fn path_of_keys(&self) -> String {
        if self.path_style {
            format!("/{}/", self.bucket)
        } else {
            "/".to_owned()
        }
    }

    fn default_port(&self) -> &'static str {
        if self.is_https() { "443" } else { "80" }
    }

    fn name_and_port(&self) -> (String, &str) {
        let authority = self.endpoint.split("://").nth(1).unwrap_or_default();
        // The colons of an IPv6 address are in brackets.
        let (name, port) = match authority.rsplit_once(':') {
            Some((name, port)) if !port.ends_with(']') => (name, port),
            _ => (authority, self.default_port()),
        };
        let name = if self.path_style {
            name.to_owned()
        } else {
            format!("{}.{name}", self.bucket)
        };
        (name, port)
    }

    /// Names the bucket in messages: `bucket images at https://s3.example.net`.
    pub fn place(&self) -> impl fmt::Display + use<> {
        format!("bucket {} at {}", self.bucket, self.endpoint)
    }
}

/// Who may read the objects of a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Serve {
    /// Everybody: nginx fetches them without a signature.
    Public,
    /// Only the holder of the key: nginx fetches them by URLs that the responder signs.
    Signed,
}

impl Serve {
    /// The value of the key.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Signed => "signed",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Docroot,
    S3,
}

/// `[storage]` as it is written.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StorageTable {
    kind: Option<Kind>,
    docroot: Option<PathBuf>,
    min_free: Option<ByteSize>,
    name_length: Option<usize>,
    durability: Option<Durability>,
    endpoint: Option<String>,
    region: Option<String>,
    bucket: Option<String>,
    path_style: Option<bool>,
    key_file: Option<PathBuf>,
    ca_file: Option<PathBuf>,
    spool: Option<PathBuf>,
    serve: Option<Serve>,
    cache: Option<ByteSize>,
    resolver: Option<Vec<IpAddr>>,
}

impl StorageTable {
    /// Checks that the keys go together.
    pub(super) fn checked(self) -> Result<Storage, Invalid> {
        let defaults = Storage::default();
        Ok(Storage {
            s3: s3_of(&self)?,
            docroot: self.docroot.unwrap_or(defaults.docroot),
            min_free: self.min_free.unwrap_or(defaults.min_free),
            name_length: self.name_length.unwrap_or(defaults.name_length),
            durability: self.durability.unwrap_or(defaults.durability),
        })
    }
}

/// The bucket of a table of kind "s3"; fails if a table of another kind has a key of one.
fn s3_of(table: &StorageTable) -> Result<Option<S3>, Invalid> {
    if table.kind != Some(Kind::S3) {
        let given = [
            ("endpoint", table.endpoint.is_some()),
            ("region", table.region.is_some()),
            ("bucket", table.bucket.is_some()),
            ("path_style", table.path_style.is_some()),
            ("key_file", table.key_file.is_some()),
            ("ca_file", table.ca_file.is_some()),
            ("spool", table.spool.is_some()),
            ("serve", table.serve.is_some()),
            ("cache", table.cache.is_some()),
            ("resolver", table.resolver.is_some()),
        ];
        return match given.iter().find(|(_, is_given)| *is_given) {
            Some((key, _)) => Err(Invalid(format!(
                "[storage] {key} is for [storage] kind = \"s3\", and the kind is \"docroot\": set the kind, or remove {key}"
            ))),
            None => Ok(None),
        };
    }
    if cfg!(not(feature = "s3")) {
        return Err(Invalid(
            "[storage] kind = \"s3\": this program was built without the feature s3".to_owned(),
        ));
    }
    let missing = |key: &str, example: &str| {
        Invalid(format!(
            "[storage] kind = \"s3\" needs {key}, such as {key} = {example:?}"
        ))
    };
    let s3 = S3 {
        endpoint: endpoint_of(
            table
                .endpoint
                .as_deref()
                .ok_or_else(|| missing("endpoint", "https://s3.example.net"))?,
        )?,
        region: table
            .region
            .clone()
            .unwrap_or_else(|| "us-east-1".to_owned()),
        bucket: table
            .bucket
            .clone()
            .ok_or_else(|| missing("bucket", "images"))?,
        path_style: table.path_style.unwrap_or(true),
        key_file: table
            .key_file
            .clone()
            .ok_or_else(|| missing("key_file", "/etc/corenexis-cdn/s3.key"))?,
        ca_file: table.ca_file.clone(),
        spool: table
            .spool
            .clone()
            .unwrap_or_else(|| "/var/lib/corenexis-cdn/spool".into()),
        serve: table.serve.unwrap_or(Serve::Public),
        cache: table.cache.unwrap_or(ByteSize(10 << 30)),
        resolver: table.resolver.clone().unwrap_or_default(),
    };
    check_names(&s3)?;
    Ok(Some(s3))
}

fn endpoint_of(text: &str) -> Result<String, Invalid> {
    host_url(text).ok_or_else(|| {
        // What stands before the host may be an access key.
        let shown = text
            .rsplit_once('@')
            .map_or_else(|| text.to_owned(), |(_, host)| format!("…@{host}"));
        Invalid(format!(
            "[storage] endpoint = {shown:?}: expected https://HOST or http://HOST, without a path; the bucket has a key of its own"
        ))
    })
}

/// Region and bucket are written into URLs and into nginx files, so their characters are limited.
fn check_names(s3: &S3) -> Result<(), Invalid> {
    let S3 {
        region,
        bucket,
        endpoint,
        ..
    } = s3;
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    ensure(!region.is_empty() && region.bytes().all(legal), || {
        format!(
            "[storage] region = {region:?}: expected letters, digits, - and _, such as \"us-east-1\""
        )
    })?;
    // https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
    let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let inside = |byte: u8| alphanumeric(byte) || b".-".contains(&byte);
    let ends = [bucket.bytes().next(), bucket.bytes().last()];
    let is_bucket = (3..=63).contains(&bucket.len())
        && bucket.bytes().all(inside)
        && ends.into_iter().flatten().all(alphanumeric)
        && !bucket.contains("..");
    ensure(is_bucket, || {
        format!(
            "[storage] bucket = {bucket:?}: expected 3 to 63 lower-case letters, digits, - and ."
        )
    })?;
    let (scheme, authority) = endpoint.split_once("://").unwrap_or_default();
    let is_address = authority.starts_with('[')
        || authority
            .split(':')
            .next()
            .is_some_and(|host| host.parse::<IpAddr>().is_ok());
    ensure(s3.path_style || !is_address, || {
        format!(
            "[storage] endpoint = {endpoint:?} is an address, below which no bucket has a host name: set path_style = true"
        )
    })?;
    // The certificate of *.HOST does not cover two labels.
    let is_uncertified = scheme == "https" && bucket.contains('.');
    ensure(s3.path_style || !is_uncertified, || {
        format!(
            "[storage] bucket = {bucket:?} has a dot, so no certificate covers its host name: set path_style = true"
        )
    })?;
    if let Some(file) = &s3.ca_file {
        let shown = file.display().to_string();
        ensure(file.is_absolute(), || {
            format!("[storage] ca_file = {shown:?}: expected an absolute path, starting with /")
        })?;
        ensure(scheme == "https", || {
            format!(
                "[storage] ca_file = {shown:?} is for https, and [storage] endpoint is {endpoint:?}: correct the endpoint, or remove ca_file"
            )
        })?;
    }
    ensure(s3.cache.0 > 0, || {
        "[storage] cache = 0: expected a size such as \"10GiB\"".to_owned()
    })
}

#[cfg(all(test, feature = "s3"))]
mod tests {
    use super::*;
    use crate::config::Config;

    const BUCKET: &str = "kind = \"s3\"\nendpoint = \"https://s3.example.net/\"\nbucket = \"images\"\nkey_file = \"/etc/s3.key\"\n";

    fn storage(text: &str) -> Result<Storage, String> {
        let text = format!("[site]\npublic_url = \"https://cdn.example.com\"\n[storage]\n{text}");
        match Config::from_toml(&text) {
            Ok(config) => Ok(config.storage),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn a_bucket_has_defaults() {
        let storage = storage(BUCKET).expect("a bucket");
        let s3 = storage.s3.expect("the kind is s3");
        assert_eq!(s3.endpoint, "https://s3.example.net");
        assert_eq!(
            (s3.region.as_str(), s3.bucket.as_str()),
            ("us-east-1", "images")
        );
        assert!(s3.path_style);
        assert_eq!((s3.serve, s3.cache()), (Serve::Public, 10 << 30));
        assert_eq!(s3.spool.to_str(), Some("/var/lib/corenexis-cdn/spool"));
        assert_eq!(
            s3.place().to_string(),
            "bucket images at https://s3.example.net"
        );
    }

    #[test]
    fn keys_of_a_bucket_need_its_kind() {
        for key in [
            "endpoint = \"https://s3.example.net\"",
            "region = \"eu-1\"",
            "bucket = \"images\"",
            "path_style = false",
            "key_file = \"/etc/s3.key\"",
            "ca_file = \"/etc/ca.pem\"",
            "spool = \"/var/spool\"",
            "serve = \"signed\"",
            "cache = \"1GiB\"",
            "resolver = [\"127.0.0.53\"]",
        ] {
            for kind in ["", "kind = \"docroot\"\n"] {
                let error = storage(&format!("{kind}{key}")).expect_err(key);
                let name = key.split(' ').next().expect("a key");
                assert!(error.contains(&format!("[storage] {name}")), "{error}");
                assert!(error.contains("kind = \"s3\""), "{error}");
                assert_eq!(error.lines().count(), 1, "{error}");
            }
        }
    }

    #[test]
    fn what_a_bucket_cannot_be_is_refused_with_its_key_and_value() {
        for (from, to, needle) in [
            ("\"s3\"", "\"disk\"", "disk"),
            ("https://s3.example.net/", "s3.example.net", "endpoint"),
            (
                "https://s3.example.net/",
                "https://s3.example.net/images",
                "without a path",
            ),
            ("https://s3.example.net/", "https://a;b", "endpoint"),
            (
                "https://s3.example.net/",
                "https://AK:secret@s3.example.net",
                "\"…@s3.example.net\"",
            ),
            ("\"images\"", "\"Images\"", "bucket = \"Images\""),
            ("\"images\"", "\"im\"", "bucket = \"im\""),
            ("\"images\"", "\"-images\"", "bucket"),
            ("\"images\"", "\"a/b\"", "bucket"),
            (
                "\"images\"",
                "\"my.images\"\npath_style = false",
                "path_style",
            ),
            (
                "https://s3.example.net/",
                "http://[::1]:9000\"\npath_style = false\n#",
                "path_style",
            ),
            (
                "https://s3.example.net/",
                "http://127.0.0.1:9000\"\npath_style = false\n#",
                "path_style",
            ),
            ("/etc/s3.key", "s3.key", "key_file"),
            (
                "/etc/s3.key",
                "/var/www/corenexis-cdn/s3.key",
                "inside [storage] docroot",
            ),
            (
                "/etc/s3.key\"",
                "/etc/s3.key\"\nspool = \"/var/www/corenexis-cdn/spool\"",
                "spool",
            ),
            ("/etc/s3.key\"", "/etc/s3.key\"\nregion = \"eu 1\"", "eu 1"),
            ("/etc/s3.key\"", "/etc/s3.key\"\nserve = \"all\"", "all"),
            ("/etc/s3.key\"", "/etc/s3.key\"\ncache = 0", "cache"),
            (
                "/etc/s3.key\"",
                "/etc/s3.key\"\nca_file = \"ca.pem\"",
                "ca_file = \"ca.pem\"",
            ),
            (
                "https://s3.example.net/",
                "http://s3.example.net\"\nca_file = \"/etc/ca.pem",
                "ca_file = \"/etc/ca.pem\" is for https",
            ),
        ] {
            let error = storage(&BUCKET.replace(from, to)).expect_err(to);
            assert!(error.contains(needle), "{to}: {error}");
            assert!(!error.contains("secret"), "{to}: {error}");
        }
        for key in ["endpoint", "bucket", "key_file"] {
            let without: String = BUCKET
                .lines()
                .filter(|line| !line.starts_with(key))
                .flat_map(|line| [line, "\n"])
                .collect();
            let error = storage(&without).expect_err(key);
            assert!(error.contains(&format!("needs {key}")), "{error}");
        }
    }
}

#[cfg(all(test, not(feature = "s3")))]
mod tests_without {
    use crate::config::Config;

    #[test]
    fn a_program_without_the_feature_says_so() {
        let text = "[site]\npublic_url = \"https://cdn.example.com\"\n[storage]\nkind = \"s3\"";
        let error = Config::from_toml(text).expect_err("no such feature");
        assert!(
            error.to_string().contains("built without the feature s3"),
            "{error}"
        );
    }
}
