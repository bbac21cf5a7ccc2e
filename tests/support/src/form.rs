//! Request bodies of an upload: `multipart/form-data` and `application/x-www-form-urlencoded`.

use std::fmt::Write as _;

use crate::builder::Client;

const BOUNDARY: &str = "----end-to-end-7MA4YWxkTrZu0gW";

/// The content type of [`Form`]'s bodies.
pub const MULTIPART: &str = "multipart/form-data; boundary=----end-to-end-7MA4YWxkTrZu0gW";

/// The content type of [`urlencoded`]'s bodies.
pub const URLENCODED: &str = "application/x-www-form-urlencoded";

/// A multipart form, built part by part.
#[derive(Debug, Default, Clone)]
#[must_use]
pub struct Form(Vec<u8>);

impl Form {
    /// A form without parts.
    pub fn new() -> Self {
        Self::default()
    }

    /// A form with credentials and `store_duration`.
    pub fn of(client: &Client, duration: &str) -> Self {
        Self::new()
            .text("client_id", &client.id)
            .text("client_token", &client.token)
            .text("store_duration", duration)
    }

    /// The form of a whole upload, the file last.
    pub fn upload(client: &Client, duration: &str, image: &[u8]) -> Self {
        Self::of(client, duration).image(image)
    }

    /// Adds a text field.
    pub fn text(self, name: &str, value: &str) -> Self {
        self.part(&format!("name=\"{name}\""), None, value.as_bytes())
    }

    /// Adds the file of the field `image`.
    pub fn image(self, bytes: &[u8]) -> Self {
        self.file("image", "photo.png", bytes)
    }

    /// Adds a file.
    pub fn file(self, name: &str, file_name: &str, bytes: &[u8]) -> Self {
        let parameters = format!("name=\"{name}\"; filename=\"{file_name}\"");
        self.part(&parameters, Some("application/octet-stream"), bytes)
    }

    fn part(mut self, parameters: &str, content_type: Option<&str>, value: &[u8]) -> Self {
        let mut head = format!("--{BOUNDARY}\r\nContent-Disposition: form-data; {parameters}\r\n");
        if let Some(content_type) = content_type {
            let _ = write!(head, "Content-Type: {content_type}\r\n");
        }
        self.0
            .extend([head.as_bytes(), b"\r\n", value, b"\r\n"].concat());
        self
    }

    /// The body with its closing delimiter.
    pub fn body(&self) -> Vec<u8> {
        [&self.0, format!("--{BOUNDARY}--\r\n").as_bytes()].concat()
    }
}

/// The fields as a urlencoded body.
pub fn urlencoded(fields: &[(&str, &str)]) -> Vec<u8> {
    let pairs: Vec<_> = fields
        .iter()
        .map(|(name, value)| format!("{}={}", encoded(name), encoded(value)))
        .collect();
    pairs.join("&").into_bytes()
}

fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"-._*".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
        out
    })
}
