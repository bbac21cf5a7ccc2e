//! Plans: what their clients may upload.

use serde::Deserialize;
use serde_json::{Value, json};
use time::Date;

use crate::expiry::{DAY_SECONDS, StoreDuration, unix_midnight};
use crate::image::metadata::Policy;
use crate::quota::Quota;
use crate::timestamp::Timestamp;

/// Where the `url` of a successful reply points.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UrlKind {
    /// The viewer page, `/view/?img=…`.
    Viewer,
    /// The image itself, `/p/…`.
    Direct,
}

/// A plan: limits of its clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The name that clients and the configuration use, for example `free`.
    pub name: String,
    /// Uploads a UTC day; 0 stops uploads.
    pub daily_uploads: u32,
    /// The largest image, in bytes.
    pub max_file_size: u64,
    /// Bytes that a client may have stored at once; `None` for any number.
    pub max_storage: Option<u64>,
    /// The durations that may be asked for, shortest first.
    pub durations: Vec<StoreDuration>,
    /// What the reply's `url` is.
    pub url: UrlKind,
    /// What is removed from images before they are stored.
    pub metadata: Policy,
}

impl Plan {
    /// Whether images may be kept for `duration`.
    pub fn allows(&self, duration: StoreDuration) -> bool {
        self.durations.contains(&duration)
    }

    /// The plan as the API tells it: name, uploads a day, bytes of the largest file, bytes that may be stored (null for any
    /// number), durations and kind of URL.
    pub fn to_json(&self) -> Value {
        let durations: Vec<_> = self
            .durations
            .iter()
            .map(|duration| duration.code())
            .collect();
        json!({
            "name": self.name,
            "daily_uploads": self.daily_uploads,
            "max_file_size": self.max_file_size,
            "max_storage": self.max_storage,
            "durations": durations,
            "url": match self.url {
                UrlKind::Viewer => "viewer",
                UrlKind::Direct => "direct",
            },
        })
    }

    /// The quota of a client of this plan that has stored `used` images on the UTC day `day`.
    pub fn quota(&self, used: u32, day: Date) -> Quota {
        Quota {
            limit: self.daily_uploads,
            used,
            resets_at: Timestamp(unix_midnight(day) + DAY_SECONDS),
        }
    }
}
