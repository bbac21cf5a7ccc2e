//! Values escaped for the syntax of the file that they are put into.

use std::fmt::{self, Write};

use serde_json::Value;

/// Text that is safe in a rendered file. Its constructors name the syntax, so that no value is written unescaped by accident.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Escaped(String);

impl Escaped {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Text of this program: markup, patterns, directives. Its values are escaped already.
    pub(crate) fn written(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    pub(crate) fn number(number: impl Into<u64>) -> Self {
        Self(number.into().to_string())
    }

    /// A number with thousands separators: `1,000`.
    pub(crate) fn grouped(number: impl Into<u64>) -> Self {
        let digits = number.into().to_string();
        let mut grouped = String::with_capacity(digits.len() * 4 / 3);
        for (position, digit) in digits.chars().enumerate() {
            if position > 0 && (digits.len() - position) % 3 == 0 {
                grouped.push(',');
            }
            grouped.push(digit);
        }
        Self(grouped)
    }

    /// A quoted argument of an nginx directive that evaluates variables, such as `root`. nginx has no escape for a dollar sign: it
    /// becomes the variable [`DOLLAR`].
    pub(crate) fn nginx(text: &str) -> Self {
        nginx_quoted(text, &format!("${{{DOLLAR}}}"))
    }

    /// A quoted argument of an nginx directive that does not evaluate variables, such as `server` in `upstream`.
    pub(crate) fn nginx_literal(text: &str) -> Self {
        nginx_quoted(text, "$")
    }

    /// Text or an attribute value of an HTML page.
    pub(crate) fn html(text: &str) -> Self {
        let mut escaped = String::with_capacity(text.len());
        for character in text.chars() {
            match character {
                '&' => escaped.push_str("&amp;"),
                '<' => escaped.push_str("&lt;"),
                '>' => escaped.push_str("&gt;"),
                '"' => escaped.push_str("&quot;"),
                '\'' => escaped.push_str("&#39;"),
                _ => escaped.push(character),
            }
        }
        Self(escaped)
    }

    /// A value of a JSON document.
    pub(crate) fn json(value: &Value) -> Self {
        Self(value.to_string())
    }

    /// Text inside a string of a JSON document, without the quotation marks.
    pub(crate) fn json_text(text: &str) -> Self {
        let quoted = Value::from(text).to_string();
        Self(quoted[1..quoted.len() - 1].to_owned())
    }

    /// A word of a shell command. The text must have no control characters.
    pub(crate) fn shell_word(text: &str) -> Self {
        Self(format!("'{}'", text.replace('\'', r"'\''")))
    }

    /// The value of a setting of a systemd unit, where `%` begins a specifier (systemd.unit(5)). The text must have no control
    /// characters.
    pub(crate) fn unit_text(text: &str) -> Self {
        Self(text.replace('%', "%%"))
    }

    /// A word of a command or list of a systemd unit (systemd.service(5), "Command lines"), where `$` begins a variable too. The text
    /// must have no control characters.
    pub(crate) fn unit_word(text: &str) -> Self {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._+,:@=-".contains(&byte);
        if text.bytes().all(plain) {
            return Self(text.to_owned());
        }
        let escaped = text
            .replace('\\', r"\\")
            .replace('"', "\\\"")
            .replace('%', "%%")
            .replace('$', "$$");
        Self(format!("\"{escaped}\""))
    }

    /// A path in double quotes for logrotate, which has no escape for a quote: `?` matches it. The text must have no control characters.
    pub(crate) fn quoted(text: &str) -> Self {
        Self(format!("\"{}\"", text.replace('"', "?")))
    }

    /// A word of a shell command inside a line of a crontab, where cron reads `%` as the end of the line. The text must have no
    /// control characters: a crontab has no notation for a line break.
    pub(crate) fn cron_word(text: &str) -> Self {
        Self(Self::shell_word(text).0.replace('%', r"\%"))
    }
}

impl fmt::Display for Escaped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The nginx variable whose value is a dollar sign.
const DOLLAR: &str = "corenexis_dollar";

fn nginx_quoted(text: &str, dollar: &str) -> Escaped {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => {
                quoted.push('\\');
                quoted.push(character);
            }
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '$' => quoted.push_str(dollar),
            _ => quoted.push(character),
        }
    }
    quoted.push('"');
    Escaped(quoted)
}

/// Percent-encodes everything but the unreserved characters of RFC 3986, section 2.3, and those in `also`.
pub(crate) fn percent_encoded(text: &str, also: &[u8]) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || also.contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}
