//! `[site] purge_command`: the program that purges URLs from a CDN in front of the site.

use std::path::Path;

use serde::{Deserialize, Deserializer, de};
use serde_json::Value;

/// Becomes one URL; the program is started once for each.
const URL: &str = "{url}";

/// As an argument of its own: becomes one argument for each URL.
const URLS: &str = "{urls}";

/// Becomes the URLs as a JSON array, anywhere in an argument.
const JSON: &str = "{json}";

/// URLs of one call. Cloudflare takes 30 a call (<https://developers.cloudflare.com/cache/how-to/purge-cache/purge-by-single-file/>).
pub(crate) const URLS_PER_CALL: usize = 30;

/// A program and its arguments, with placeholders for URLs. It is started without a shell, so nothing needs quoting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PurgeCommand(Vec<String>);

impl PurgeCommand {
    /// The command as it is configured.
    pub fn as_slice(&self) -> &[String] {
        &self.0
    }

    /// How many of the URLs one call takes.
    pub(crate) fn urls_per_call(&self) -> usize {
        if self.contains(URL) { 1 } else { URLS_PER_CALL }
    }

    /// Program and arguments of the call for `urls`, at most [`Self::urls_per_call`].
    pub(crate) fn call(&self, urls: &[String]) -> Vec<String> {
        let json = Value::from(urls).to_string();
        let url = urls.first().map_or("", String::as_str);
        let expand = |argument: &String| {
            if argument == URLS {
                urls.to_vec()
            } else {
                vec![argument.replace(JSON, &json).replace(URL, url)]
            }
        };
        self.0.iter().flat_map(expand).collect()
    }

    fn contains(&self, placeholder: &str) -> bool {
        self.0.iter().any(|argument| argument.contains(placeholder))
    }

    fn parse(command: Vec<String>) -> Result<Self, String> {
        let program = command.first().map_or("", String::as_str);
        if !Path::new(program).is_absolute() {
            return Err(format!(
                "purge_command begins with {program:?}: expected a list of the program's absolute path and its arguments"
            ));
        }
        let command = Self(command);
        if command.0.iter().any(|argument| argument.contains('\0')) {
            return Err("purge_command holds a NUL byte".to_owned());
        }
        let is_alone = |argument: &String| argument == URLS || !argument.contains(URLS);
        if !command.0.iter().all(is_alone) {
            return Err(format!(
                "{URLS} in purge_command becomes several arguments: expected it as an argument of its own; {JSON} can stand anywhere"
            ));
        }
        if [URL, URLS, JSON]
            .iter()
            .all(|placeholder| !command.contains(placeholder))
        {
            return Err(format!(
                "purge_command has no place for the URL: expected an argument with {URL} (one call for each URL), {URLS} (arguments) or \
                 {JSON} (a JSON array)"
            ));
        }
        Ok(command)
    }
}

impl<'de> Deserialize<'de> for PurgeCommand {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(Vec::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(arguments: &[&str]) -> Result<PurgeCommand, String> {
        PurgeCommand::parse(arguments.iter().map(|&text| text.to_owned()).collect())
    }

    const URL_LIST: [&str; 2] = ["https://x/p/a", "https://x/view/?img=a"];

    fn call(arguments: &[&str]) -> Vec<String> {
        let urls = URL_LIST.map(str::to_owned);
        command(arguments).expect("a command").call(&urls)
    }

    #[test]
    fn urls_take_the_place_of_placeholders() {
        let [first, second] = URL_LIST;
        assert_eq!(
            call(&["/bin/purge", "--", "{urls}", "end"]),
            ["/bin/purge", "--", first, second, "end"]
        );
        assert_eq!(
            call(&["/usr/bin/curl", "--json", "{\"files\":{json}}"]),
            [
                "/usr/bin/curl",
                "--json",
                r#"{"files":["https://x/p/a","https://x/view/?img=a"]}"#
            ]
        );
        assert_eq!(
            call(&["/usr/bin/curl", "-X", "PURGE", "{url}"]),
            ["/usr/bin/curl", "-X", "PURGE", first]
        );
        let calls = |arguments: &[&str]| command(arguments).expect("a command").urls_per_call();
        assert_eq!(calls(&["/bin/x", "u={url}"]), 1);
        assert_eq!(calls(&["/bin/x", "{urls}"]), URLS_PER_CALL);
    }

    #[test]
    fn a_command_that_could_not_work_is_refused() {
        for (arguments, expected) in [
            (&[][..], "absolute path"),
            (&["curl", "{url}"], "absolute path"),
            (&["/bin/x"], "no place for the URL"),
            (&["/bin/x", "a{urls}"], "argument of its own"),
            (&["/bin/x", "{url}\0"], "NUL"),
        ] {
            let refused = command(arguments).expect_err("refused");
            assert!(refused.contains(expected), "{refused}");
        }
    }
}
