//! The configuration as a document: every key with its value, and the text of a new `config.toml`.

use std::path::Path;

use toml::Value;

use super::{ByteSize, Config, Durability, Invalid, Ledger, Postgres, ScanOnError, Storage};
use crate::expiry::StoreDuration;
use crate::plan::{Plan, UrlKind};

/// The text of a new configuration. `{}` stands for a key's value, and in the comment above the key for its default. A key whose line
/// holds an example instead has no default: the line is commented out unless the key is set.
const TEMPLATE: &str = include_str!("default.toml");

/// The placeholder of `[site] public_url` in a new configuration.
const EXAMPLE: &str = "[site]\npublic_url = \"https://cdn.example.com\"";

/// A key, its table in front of it (`storage.docroot`), and its value: `None` where it is not set and has no default.
type Entry = (String, Option<Value>);

/// Every key with the value that holds, in the order of [`default_text`].
pub(crate) fn values(config: &Config) -> Vec<Entry> {
    let path = |path: &Path| Some(Value::from(path.to_string_lossy().into_owned()));
    let number = |number: u64| Some(Value::Integer(i64::try_from(number).unwrap_or(i64::MAX)));
    let text = |text: &str| Some(Value::from(text));
    let list = |list: Vec<Value>| Some(Value::Array(list));
    let texts = |all: Vec<String>| list(all.into_iter().map(Value::from).collect());
    let Config {
        site,
        server,
        storage,
        ledger,
        images,
        scan,
        fetch,
        limits,
        abuse,
        plans,
    } = config;
    let log = server.log.as_deref().and_then(path);
    let ports = fetch.ports.iter().map(|&port| Value::Integer(port.into()));
    let purge_command = site.purge_command.as_ref();
    let purge_command = purge_command.and_then(|command| texts(command.as_slice().to_vec()));
    let mut values: Vec<Entry> = [
        ("site.public_url", text(site.public_url())),
        ("site.contact", text(&site.contact)),
        ("site.index", Some(Value::Boolean(site.index))),
        ("site.referers", texts(site.referers.clone())),
        ("site.purge_command", purge_command),
        ("server.listen", text(&server.listen.to_string())),
        (
            "server.max_connections",
            number(server.max_connections as u64),
        ),
        ("server.log", log),
        (
            "server.metrics_allow",
            texts(strings(&server.metrics_allow)),
        ),
    ]
    .map(|(key, value)| (key.to_owned(), value))
    .into();
    values.extend(storage_values(storage));
    values.extend(ledger_values(ledger));
    let others = [
        ("images.max_side", number(images.max_side.into())),
        (
            "images.max_megapixels",
            number(images.max_megapixels.into()),
        ),
        (
            "images.scan_command",
            texts(scan.command.clone()).filter(|_| !scan.command.is_empty()),
        ),
        (
            "images.scan_timeout",
            text(&format!("{}s", scan.timeout().as_secs())),
        ),
        (
            "images.scan_on_error",
            text(match scan.on_error {
                ScanOnError::Refuse => "refuse",
                ScanOnError::Publish => "publish",
            }),
        ),
        ("fetch.ports", list(ports.collect())),
        (
            "fetch.timeout",
            text(&format!("{}s", fetch.timeout().as_secs())),
        ),
        ("fetch.max_concurrent", number(fetch.max_concurrent as u64)),
        ("fetch.allow", texts(strings(&fetch.allow))),
        (
            "limits.requests_per_second",
            number(limits.requests_per_second.into()),
        ),
        ("limits.burst", number(limits.burst.into())),
        (
            "limits.concurrent_requests",
            number(limits.concurrent_requests.into()),
        ),
        (
            "limits.failed_attempts_per_minute",
            number(limits.failed_attempts_per_minute.into()),
        ),
        (
            "abuse.keep_addresses",
            abuse
                .keep_addresses
                .map(|length| Value::from(length.to_string())),
        ),
    ]
    .map(|(key, value)| (key.to_owned(), value));
    values.extend(others);
    values.extend(plans.values().flat_map(plan_values));
    values
}

fn ledger_values(ledger: &Ledger) -> [Entry; 5] {
    let path = |path: &Path| Some(Value::from(path.to_string_lossy().into_owned()));
    let postgres = ledger.postgres.as_ref();
    let connections = |postgres: &Postgres| i64::try_from(postgres.connections).ok();
    [
        (
            "ledger.path",
            path(&ledger.path).filter(|_| postgres.is_none()),
        ),
        (
            "ledger.url",
            postgres.map(|postgres| Value::from(&*postgres.url)),
        ),
        (
            "ledger.password_file",
            postgres.and_then(|postgres| path(postgres.password_file.as_deref()?)),
        ),
        (
            "ledger.ca_file",
            postgres.and_then(|postgres| path(postgres.ca_file.as_deref()?)),
        ),
        (
            "ledger.connections",
            postgres.and_then(connections).map(Value::Integer),
        ),
    ]
    .map(|(key, value)| (key.to_owned(), value))
}

fn storage_values(storage: &Storage) -> [Entry; 15] {
    let path = |path: &Path| Some(Value::from(path.to_string_lossy().into_owned()));
    let text = |text: &str| Some(Value::from(text));
    let s3 = storage.s3.as_ref();
    let name_length = i64::try_from(storage.name_length).unwrap_or(i64::MAX);
    let durability = match storage.durability {
        Durability::Full => "full",
        Durability::Relaxed => "relaxed",
    };
    [
        (
            "storage.kind",
            text(if s3.is_some() { "s3" } else { "docroot" }),
        ),
        ("storage.docroot", path(&storage.docroot)),
        ("storage.min_free", text(&storage.min_free.to_string())),
        ("storage.name_length", Some(Value::Integer(name_length))),
        ("storage.durability", text(durability)),
        ("storage.endpoint", s3.and_then(|s3| text(&s3.endpoint))),
        ("storage.region", s3.and_then(|s3| text(&s3.region))),
        ("storage.bucket", s3.and_then(|s3| text(&s3.bucket))),
        (
            "storage.path_style",
            s3.map(|s3| Value::Boolean(s3.path_style)),
        ),
        ("storage.key_file", s3.and_then(|s3| path(&s3.key_file))),
        (
            "storage.ca_file",
            s3.and_then(|s3| path(s3.ca_file.as_deref()?)),
        ),
        ("storage.spool", s3.and_then(|s3| path(&s3.spool))),
        ("storage.serve", s3.and_then(|s3| text(s3.serve.name()))),
        (
            "storage.cache",
            s3.and_then(|s3| text(&ByteSize(s3.cache()).to_string())),
        ),
        (
            "storage.resolver",
            s3.filter(|s3| !s3.resolver.is_empty()).map(|s3| {
                let addresses = strings(&s3.resolver).into_iter();
                Value::Array(addresses.map(Value::from).collect())
            }),
        ),
    ]
    .map(|(key, value)| (key.to_owned(), value))
}

fn plan_values(plan: &Plan) -> [Entry; 6] {
    let Plan {
        name,
        daily_uploads,
        max_file_size,
        max_storage,
        durations,
        url,
        metadata,
    } = plan;
    let codes = durations
        .iter()
        .map(|duration: &StoreDuration| Value::from(duration.code()));
    let url = match url {
        UrlKind::Viewer => "viewer",
        UrlKind::Direct => "direct",
    };
    let size = |bytes| Some(Value::from(ByteSize(bytes).to_string()));
    [
        (
            "daily_uploads",
            Some(Value::Integer((*daily_uploads).into())),
        ),
        ("max_file_size", size(*max_file_size)),
        ("max_storage", max_storage.and_then(size)),
        ("durations", Some(Value::Array(codes.collect()))),
        ("url", Some(Value::from(url))),
        ("metadata", Some(Value::from(metadata.name()))),
    ]
    .map(|(key, value)| (format!("plans.{name}.{key}"), value))
}

fn strings<T: ToString>(values: &[T]) -> Vec<String> {
    values.iter().map(T::to_string).collect()
}

/// A value as scripts read it: text without quotes, anything else as TOML.
pub(crate) fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// The text of a new configuration: every key with a comment and its default, or the value that `settings` (`KEY=VALUE`) give it.
/// `title` names the installation, `apply` says how a change takes effect.
///
/// # Errors
/// When a setting has no `=`, names a key that does not exist, or has a value that the configuration does not take.
pub(crate) fn default_text(
    settings: &[String],
    title: &str,
    apply: &str,
) -> Result<String, Invalid> {
    let defaults = values(&Config::from_toml(EXAMPLE)?);
    let mut values = defaults.clone();
    for setting in settings {
        set(&mut values, setting)?;
    }
    // A ledger in PostgreSQL has no path.
    if values
        .iter()
        .any(|(key, url)| key == "ledger.url" && url.is_some())
    {
        values.retain(|(key, _)| key != "ledger.path");
    }
    let filled = fill(&defaults, &values)
        .replace("<title>", title)
        .replace("<apply>", apply);
    Config::from_toml(&filled)?;
    Ok(filled)
}

fn set(values: &mut [Entry], setting: &str) -> Result<(), Invalid> {
    let (key, text) = setting
        .split_once('=')
        .ok_or_else(|| Invalid(format!("{setting:?}: expected KEY=VALUE")))?;
    let (_, value) = values
        .iter_mut()
        .find(|(name, _)| name == key)
        .ok_or_else(|| Invalid(format!("there is no key {key:?} in the configuration")))?;
    *value = match value {
        Some(Value::String(_)) => Some(Value::from(text)),
        None if !text.starts_with('[') && text.parse::<bool>().is_err() => Some(
            text.parse()
                .map_or_else(|_| Value::from(text), Value::Integer),
        ),
        _ => {
            let parsed: toml::Table = toml::from_str(&format!("value = {text}"))
                .map_err(|_| Invalid(format!("{key} = {text}: expected a TOML value")))?;
            parsed.get("value").cloned()
        }
    };
    Ok(())
}

fn fill(defaults: &[Entry], values: &[Entry]) -> String {
    let value_of = |entries: &[Entry], key: &str| {
        let entry = entries.iter().find(|(name, _)| name == key);
        entry.and_then(|(_, value)| value.clone())
    };
    let mut text = String::with_capacity(2 * TEMPLATE.len());
    let mut comment = String::new();
    let mut table = "";
    for line in TEMPLATE.lines() {
        if let Some(name) = line
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
        {
            table = name;
        }
        let Some((name, _)) = line.split_once(" = ").filter(|_| !line.starts_with('#')) else {
            comment.push_str(line);
            comment.push('\n');
            continue;
        };
        let key = format!("{table}.{name}");
        let default = value_of(defaults, &key);
        let in_words = default.as_ref().map(plain).unwrap_or_default();
        text.push_str(&comment.replace("{}", &in_words));
        comment.clear();
        match (value_of(values, &key), default) {
            (Some(value), _) => text.extend([name, " = ", &value.to_string(), "\n"]),
            (None, Some(default)) => text.extend(["#", name, " = ", &default.to_string(), "\n"]),
            (None, None) => text.extend(["#", line, "\n"]),
        }
    }
    text + &comment
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(entries: &[Entry]) -> Vec<&str> {
        entries.iter().map(|(key, _)| key.as_str()).collect()
    }

    #[test]
    fn a_new_configuration_holds_the_defaults() {
        let text = default_text(&[], "a test", "Nothing happens.").expect("a configuration");
        let written = values(&Config::from_toml(&text).expect(&text));
        assert_eq!(
            written,
            values(&Config::from_toml(EXAMPLE).expect("one line"))
        );
        assert!(
            text.starts_with("# Configuration of a test, written once"),
            "{text}"
        );
        assert!(!text.contains("{}") && !text.contains("<apply>"), "{text}");
        assert!(
            text.contains("Default: 1GiB\nmin_free = \"1GiB\"\n"),
            "{text}"
        );
    }

    #[test]
    fn every_key_is_in_the_text_of_a_new_configuration() {
        let without_default = [
            "server.log=/var/log/x.log",
            "site.purge_command=[\"/bin/purge\", \"{url}\"]",
            "abuse.keep_addresses=30d",
            "plans.free.max_storage=10GiB",
        ];
        let of_a_bucket = [
            "storage.kind=s3",
            "storage.endpoint=https://s3.example.net",
            "storage.region=eu-1",
            "storage.bucket=images",
            "storage.path_style=false",
            "storage.key_file=/etc/s3.key",
            "storage.ca_file=/etc/ca.pem",
            "storage.spool=/var/spool/cdn",
            "storage.serve=signed",
            "storage.cache=1GiB",
            "storage.resolver=[\"127.0.0.53\"]",
        ];
        let mut without_default = without_default.map(str::to_owned).to_vec();
        if cfg!(feature = "s3") {
            without_default.extend(of_a_bucket.map(str::to_owned));
        }
        let text = default_text(&without_default, "", "").expect("a configuration");
        let config = Config::from_toml(&text).expect(&text);
        for key in keys(&values(&config)) {
            let (table, name) = key.rsplit_once('.').expect("a table and a key");
            assert!(text.contains(&format!("[{table}]\n")), "{key}");
            // A key without a default is a comment.
            let is_key = |line: &str| {
                let line = line.strip_prefix('#').unwrap_or(line);
                line.starts_with(&format!("{name} = "))
            };
            assert!(text.lines().any(is_key), "{key}");
        }
    }

    /// Once, the line had no quotes, and a configuration that was made by removing the `#` was refused.
    #[test]
    fn a_key_without_a_default_is_a_comment_that_can_be_used() {
        let text = default_text(&[], "", "").expect("a configuration");
        let line = "#log = \"/var/log/corenexis-cdn/responder.log\"\n";
        assert!(text.contains(line), "{text}");
        let used = text.replace(line, &line[1..]);
        let config = Config::from_toml(&used).expect("a configuration with a log");
        assert!(config.server.log.is_some());
    }

    #[test]
    fn settings_replace_defaults() {
        let settings = [
            "site.public_url=http://127.0.0.1:8080",
            "storage.docroot=/srv/a \"b\" \\ c",
            "limits.burst=0",
            "fetch.ports=[80]",
            "images.scan_command=[\"/bin/scan\", \"-\"]",
        ]
        .map(str::to_owned);
        let text = default_text(&settings, "", "").expect("a configuration");
        let config = Config::from_toml(&text).expect(&text);
        assert_eq!(config.site.public_url(), "http://127.0.0.1:8080");
        assert_eq!(config.storage.docroot.to_str(), Some("/srv/a \"b\" \\ c"));
        assert_eq!(config.scan.command, ["/bin/scan", "-"]);
        assert_eq!((config.limits.burst, config.fetch.ports), (0, vec![80]));
    }

    #[cfg(feature = "postgres")]
    #[test]
    fn a_ledger_in_postgresql_has_no_path() {
        let settings = [
            "ledger.url=postgresql://u@db/d",
            "ledger.password_file=/etc/password",
            "ledger.connections=4",
        ]
        .map(str::to_owned);
        let text = default_text(&settings, "", "").expect("a configuration");
        let config = Config::from_toml(&text).expect(&text);
        let postgres = config.ledger.postgres.as_ref().expect(&text);
        assert_eq!(postgres.connections, 4);
        assert!(text.contains("#path = \"/var/lib/"), "{text}");
        let written = values(&config);
        let value = |key: &str| {
            let entry = written.iter().find(|(name, _)| name == key).expect(key);
            entry.1.as_ref().map(plain)
        };
        assert_eq!(value("ledger.path"), None);
        assert_eq!(value("ledger.url").as_deref(), Some("postgresql://u@db/d"));
    }

    #[test]
    fn settings_that_cannot_be_used_are_refused() {
        for (setting, expected) in [
            ("limits.burst", "KEY=VALUE"),
            ("limits.brust=1", "limits.brust"),
            ("limits.burst=many", "limits.burst = many"),
            ("storage.docroot=www", "docroot"),
            ("site.public_url=ftp://x", "public URL"),
        ] {
            let error = default_text(&[setting.to_owned()], "", "").expect_err(setting);
            assert!(error.to_string().contains(expected), "{setting}: {error}");
        }
    }

    #[test]
    fn values_are_printed_without_quotes() {
        let config = Config::from_toml(EXAMPLE).expect("one line");
        let values = values(&config);
        let value = |key: &str| {
            let entry = values.iter().find(|(name, _)| name == key).expect(key);
            entry.1.as_ref().map(plain)
        };
        assert_eq!(
            value("storage.docroot").as_deref(),
            Some("/var/www/corenexis-cdn")
        );
        assert_eq!(value("plans.free.max_file_size").as_deref(), Some("2MiB"));
        assert_eq!(
            value("plans.3m.durations").as_deref(),
            Some("[\"7D\", \"1M\", \"3M\"]")
        );
        assert_eq!(value("server.log"), None);
    }
}
