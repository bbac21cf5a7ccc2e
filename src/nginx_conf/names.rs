//! `server_name`: which host names a server block answers for.
//!
//! Source: <https://nginx.org/en/docs/http/server_names.html>.

use regex_lite::RegexBuilder;

/// How well a `server_name` fits a host name; nginx chooses the block with the greatest one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fit {
    /// A regular expression matches. Of several, nginx takes the first of the configuration.
    Expression,
    /// `www.example.*`, with the length of what is before the asterisk.
    Trailing(usize),
    /// `*.example.com` or `.example.com`, with the length of what is behind the asterisk.
    Leading(usize),
    /// The name itself.
    Exact,
}

/// A regular expression that this program cannot evaluate, such as one with a lookahead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unknown;

/// How well one argument of `server_name` fits a host name in lower case; `None` if it does not.
pub(super) fn fit(server_name: &str, host: &str) -> Result<Option<Fit>, Unknown> {
    if let Some(expression) = server_name.strip_prefix('~') {
        let expression = RegexBuilder::new(expression)
            .case_insensitive(true)
            .size_limit(1 << 20)
            .build()
            .map_err(|_| Unknown)?;
        return Ok(expression.is_match(host).then_some(Fit::Expression));
    }
    let name = server_name.to_ascii_lowercase();
    if name == host {
        return Ok(Some(Fit::Exact));
    }
    if let Some(suffix) = name.strip_prefix('*').filter(|rest| rest.starts_with('.')) {
        return Ok(leading(suffix, host));
    }
    if let Some(domain) = name.strip_prefix('.') {
        if domain == host {
            return Ok(Some(Fit::Exact));
        }
        return Ok(leading(&name, host));
    }
    let trailing = name.strip_suffix(".*").filter(|prefix| {
        let rest = host.strip_prefix(prefix);
        rest.is_some_and(|rest| rest.len() > 1 && rest.starts_with('.'))
    });
    Ok(trailing.map(|prefix| Fit::Trailing(prefix.len())))
}

/// `suffix` begins with a dot.
fn leading(suffix: &str, host: &str) -> Option<Fit> {
    let fits = host.len() > suffix.len() && host.ends_with(suffix);
    fits.then_some(Fit::Leading(suffix.len()))
}
