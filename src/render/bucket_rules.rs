//! The rules that a bucket is given by the tools of its provider: when it deletes images by itself, and who may read them.

use serde_json::{Value, json};

use crate::config::{S3, Serve};
use crate::expiry::StoreDuration;
use crate::image_path::class_of;

use super::{Rendered, filled};

/// The files for the bucket.
pub(super) fn files(s3: &S3) -> Vec<Rendered> {
    let text = |value: &Value| format!("{value:#}\n");
    let mut files = vec![filled("s3/lifecycle.json", text(&lifecycle()))];
    if s3.serve == Serve::Public {
        files.push(filled("s3/policy.json", text(&policy(&s3.bucket))));
    }
    files
}

/// A rule for each class that expires, a day after the sweep has deleted its images: a net below the sweep. Images in quarantine have
/// another prefix and none.
fn lifecycle() -> Value {
    let rules = StoreDuration::ALL.into_iter().filter_map(|duration| {
        let class = class_of(duration);
        Some(json!({
            "ID": format!("corenexis-cdn-{class}"),
            "Status": "Enabled",
            "Filter": { "Prefix": format!("{class}/") },
            "Expiration": { "Days": longest(duration)? + 1 },
        }))
    });
    json!({ "Rules": rules.collect::<Vec<_>>() })
}

/// The most days between the day of an upload and the last day of the image; `None` for a lifetime image.
const fn longest(duration: StoreDuration) -> Option<u32> {
    match duration {
        StoreDuration::Days7 => Some(7),
        StoreDuration::Month1 => Some(31),
        StoreDuration::Months3 => Some(92),
        StoreDuration::Lifetime => None,
    }
}

/// Everybody may read the images, and nothing else of the bucket: neither list it nor read what is in quarantine.
fn policy(bucket: &str) -> Value {
    let images = StoreDuration::ALL.map(|duration| {
        let class = class_of(duration);
        format!("arn:aws:s3:::{bucket}/{class}/*")
    });
    json!({
        "Version": "2012-10-17",
        "Statement": [{
            "Sid": "ReadImages",
            "Effect": "Allow",
            "Principal": "*",
            "Action": "s3:GetObject",
            "Resource": images,
        }],
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::utc_datetime;

    #[test]
    fn a_class_is_deleted_a_day_after_its_longest_life() {
        for duration in StoreDuration::ALL {
            let mut now = utc_datetime!(2027-01-01 0:00);
            let mut found = None;
            // Four years, a leap year among them.
            for _ in 0..1461 {
                let lives = duration
                    .expiry(now)
                    .map(|expiry| (expiry.last_day() - now.date()).whole_days());
                found = found.max(lives);
                now += time::Duration::DAY;
            }
            assert_eq!(longest(duration).map(i64::from), found, "{duration}");
        }
        let rules = lifecycle();
        let days = |index: usize| rules["Rules"][index]["Expiration"]["Days"].as_u64();
        assert_eq!([days(0), days(1), days(2)], [Some(8), Some(32), Some(93)]);
        assert_eq!(rules["Rules"][2]["Filter"]["Prefix"], "mm/");
        assert_eq!(rules["Rules"].as_array().map(Vec::len), Some(3));
    }

    #[test]
    fn everybody_reads_images_alone() {
        let policy = policy("images");
        assert_eq!(
            policy["Statement"][0]["Resource"],
            json!([
                "arn:aws:s3:::images/d/*",
                "arn:aws:s3:::images/m/*",
                "arn:aws:s3:::images/mm/*",
                "arn:aws:s3:::images/l/*"
            ])
        );
    }
}
