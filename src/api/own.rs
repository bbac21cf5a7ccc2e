//! The calls by which a client sees and deletes what is its own: `usage` and `images`.
//!
//! Credentials come in the headers `X-Client-Id` and `X-Client-Token`, never in the query, which ends up in logs. What belongs to
//! another client is answered like what does not exist. Ids can be given again after a client was removed, so ownership goes by key.

use serde_json::{Value, json};
use time::macros::format_description;
use time::{Date, UtcDateTime};

use super::identity::{authenticate, plan_of};
use super::{Api, READ_METHODS, Trace, rfc3339};
use crate::error::{Error, Fault, Refusal};
use crate::fastcgi::params::Params;
use crate::ledger::{Account, ImageFilter, ImageRow};
use crate::plan::{Expiry, NEVER_EXPIRES, Plan, StoreDuration};
use crate::response::Response;
use crate::store::path::{DayName, ImagePath, class_of};

/// The methods of one image.
pub(crate) const IMAGE_METHODS: &str = "GET, HEAD, DELETE, OPTIONS";

/// Images of one page, unless the client asks for another number.
pub(crate) const PAGE: u32 = 100;

/// The most images of one page.
pub(crate) const MAX_PAGE: u32 = 1_000;

/// Rows that are read from the ledger at once.
const BATCH: u32 = 1_000;

/// A call of this kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Call {
    Usage,
    Images,
    Image(ImagePath),
}

impl Call {
    /// The call that the path below `/image/v2` names.
    pub(super) fn of(path: &[u8]) -> Option<Self> {
        match path {
            b"/usage" => Some(Self::Usage),
            b"/images" => Some(Self::Images),
            _ => {
                let path = path.strip_prefix(b"/images/")?;
                str::from_utf8(path).ok()?.parse().ok().map(Self::Image)
            }
        }
    }

    const fn methods(&self) -> &'static str {
        match self {
            Self::Usage | Self::Images => READ_METHODS,
            Self::Image(_) => IMAGE_METHODS,
        }
    }
}

/// Answers a call.
pub(super) fn answer(
    api: &Api,
    call: &Call,
    method: &[u8],
    params: &Params,
    trace: &mut Trace,
) -> Result<Response, Error> {
    let deletes = match (method, call) {
        (b"OPTIONS", _) => return Ok(Response::preflight(call.methods())),
        (b"GET" | b"HEAD", _) => false,
        (b"DELETE", Call::Image(_)) => true,
        _ => {
            return Err(Refusal::MethodNotAllowed {
                allow: call.methods(),
            }
            .into());
        }
    };
    let header = |name| params.get(name).filter(|value| !value.is_empty());
    let (Some(id), Some(token)) = (header("HTTP_X_CLIENT_ID"), header("HTTP_X_CLIENT_TOKEN"))
    else {
        return Err(Refusal::MissingParameters.into());
    };
    let now = (api.clock)();
    let account = authenticate(api, id, token, params, now, trace)?;
    let plan = plan_of(api, &account, now, trace)?;
    let body = match call {
        Call::Usage => usage(api, &account, plan, now)?,
        Call::Images => images(api, &account, params, now)?,
        Call::Image(path) => {
            let row = own_image(api, &account, path)?;
            if deletes {
                trace.path = Some(path.to_string());
                delete(api, &row)?
            } else {
                describe(api, &row)
            }
        }
    };
    Ok(Response::json(200, body))
}

/// What the client has stored today and this month, and what its plan allows.
fn usage(api: &Api, account: &Account, plan: &Plan, now: UtcDateTime) -> Result<Value, Error> {
    let today = now.date();
    let month = today.replace_day(1).unwrap_or(today);
    let days = api
        .ledger
        .usage_of(account.key, month)
        .map_err(Fault::from)?;
    let today_bytes = days
        .iter()
        .filter(|row| row.day == today)
        .map(|row| row.bytes)
        .sum::<u64>();
    let quota = plan.quota(account.used, today);
    Ok(json!({
        "plan": plan.to_json(),
        "today": {
            "day": today.to_string(),
            "uploads": account.used,
            "bytes": today_bytes,
            "remaining": quota.remaining(),
            "resets_at": quota.resets_at,
        },
        "month": {
            "since": month.to_string(),
            "uploads": days.iter().map(|row| u64::from(row.uploads)).sum::<u64>(),
            "bytes": days.iter().map(|row| row.bytes).sum::<u64>(),
        },
    }))
}

/// A page of the client's images of one day. A day's directories are all that is read, so the cost does not grow with the years.
fn images(api: &Api, account: &Account, params: &Params, now: UtcDateTime) -> Result<Value, Error> {
    let query = Query::read(params.get("QUERY_STRING").unwrap_or_default(), now.date())?;
    let mut rows = Vec::new();
    // One more than the page says whether there is another.
    let wanted = query.limit as usize + 1;
    for directory in directories(query.day) {
        let mut filter = ImageFilter {
            owner: Some(account.key),
            directory: Some(directory),
            after: query.after.clone(),
            limit: BATCH,
            ..ImageFilter::default()
        };
        while rows.len() < wanted {
            let batch = api.ledger.images(&filter).map_err(Fault::from)?;
            let last = batch.last().map(|row| row.path.clone());
            // The name of a directory has no year, and one letter pair stands for two months.
            rows.extend(
                batch
                    .into_iter()
                    .filter(|row| day_of(row) == Some(query.day)),
            );
            match last {
                Some(last) => filter.after = Some(last),
                None => break,
            }
        }
    }
    let more = rows.len() >= wanted;
    rows.truncate(query.limit as usize);
    let next = rows.last().filter(|_| more).map(|row| row.path.as_str());
    Ok(json!({
        "day": query.day.to_string(),
        "images": rows.iter().map(|row| describe(api, row)).collect::<Vec<_>>(),
        "next": next,
    }))
}

/// The directories of a day in the order of their paths.
fn directories(day: Date) -> Vec<String> {
    let day = DayName::of(day);
    let mut directories: Vec<_> = StoreDuration::ALL
        .iter()
        .map(|&duration| format!("{}/{day}", class_of(duration)))
        .collect();
    directories.sort_unstable();
    directories
}

fn day_of(row: &ImageRow) -> Option<Date> {
    let instant = UtcDateTime::from_unix_timestamp(row.uploaded_at).ok()?;
    Some(instant.date())
}

/// What a listing is asked for.
#[derive(Debug, PartialEq, Eq)]
struct Query {
    day: Date,
    after: Option<ImagePath>,
    limit: u32,
}

impl Query {
    /// Reads `day=2026-04-05&after=PATH&limit=100`, all of which may be absent. None of their values needs an escape but the slashes of
    /// a path, which some programs write as `%2F`. Other keys are ignored.
    fn read(query: &[u8], today: Date) -> Result<Self, Refusal> {
        let mut read = Self {
            day: today,
            after: None,
            limit: PAGE,
        };
        let query = str::from_utf8(query).unwrap_or_default();
        for (key, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
            match key {
                "day" => {
                    read.day = Date::parse(value, format_description!("[year]-[month]-[day]"))
                        .map_err(|_| Refusal::InvalidQuery { parameter: "day" })?;
                }
                "after" => {
                    let path = value.replace("%2F", "/").replace("%2f", "/");
                    let path = path.parse();
                    read.after =
                        Some(path.map_err(|_| Refusal::InvalidQuery { parameter: "after" })?);
                }
                "limit" => {
                    read.limit = value
                        .parse()
                        .ok()
                        .filter(|limit| (1..=MAX_PAGE).contains(limit))
                        .ok_or(Refusal::InvalidQuery { parameter: "limit" })?;
                }
                _ => {}
            }
        }
        Ok(read)
    }
}

/// The image, if it is the client's.
fn own_image(api: &Api, account: &Account, path: &ImagePath) -> Result<ImageRow, Error> {
    let row = api.ledger.image(path).map_err(Fault::from)?;
    row.filter(|row| row.owner == account.key)
        .ok_or_else(|| Refusal::NotFound.into())
}

/// Deletes an image: the file goes before the row, because a row without a file is found by the sweep. No quota is given back.
fn delete(api: &Api, row: &ImageRow) -> Result<Value, Error> {
    let paths = std::slice::from_ref(&row.path);
    for outcome in api.store.delete(paths) {
        outcome.map_err(|error| {
            Fault::Internal(format!("{} could not be deleted: {error}", row.path))
        })?;
    }
    api.ledger.forget(paths).map_err(Fault::from)?;
    Ok(json!({ "status": "success", "deleted": row.path.as_str() }))
}

fn describe(api: &Api, row: &ImageRow) -> Value {
    let public_url = api.config.site.public_url();
    let expires_at = row.expires_at.map_or_else(
        || NEVER_EXPIRES.to_owned(),
        |instant| {
            Expiry::from_instant(instant).map_or_else(String::new, |expiry| expiry.to_string())
        },
    );
    json!({
        "path": row.path.as_str(),
        "url": row.path.direct_url(public_url),
        "viewer": row.path.viewer_url(public_url),
        "bytes": row.size,
        "width": row.width,
        "height": row.height,
        "uploaded_at": rfc3339(row.uploaded_at),
        "expires_at": expires_at,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::date;

    const TODAY: Date = date!(2026 - 04 - 05);

    #[test]
    fn a_call_is_named_by_its_path() {
        assert_eq!(Call::of(b"/usage"), Some(Call::Usage));
        assert_eq!(Call::of(b"/images"), Some(Call::Images));
        let path = "mm/ju28/AbCdEf.webp".parse().expect("a path");
        assert_eq!(
            Call::of(b"/images/mm/ju28/AbCdEf.webp"),
            Some(Call::Image(path))
        );
        for none in [
            &b"/"[..],
            b"/usage/",
            b"/images/",
            b"/images/../p",
            b"/images/d/ap5/AbCdEf.php",
            b"/images/d/ap5/AbCdEf.png/",
            b"/images/\xff",
        ] {
            assert_eq!(Call::of(none), None, "{none:?}");
        }
    }

    #[test]
    fn a_query_is_read_or_refused_by_its_parameter() {
        let read = |text: &str| Query::read(text.as_bytes(), TODAY);
        let default = Query {
            day: TODAY,
            after: None,
            limit: PAGE,
        };
        assert_eq!(read(""), Ok(default));
        assert_eq!(
            read("limit=7&day=2024-02-29&x=y&after=d%2Ffe29%2FAbCdEf.png"),
            Ok(Query {
                day: date!(2024 - 02 - 29),
                after: Some("d/fe29/AbCdEf.png".parse().expect("a path")),
                limit: 7,
            })
        );
        for (text, parameter) in [
            ("day=2025-02-29", "day"),
            ("day=", "day"),
            ("day=today", "day"),
            ("limit=0", "limit"),
            ("limit=1001", "limit"),
            ("limit=-1", "limit"),
            ("after=../x", "after"),
            ("after=", "after"),
        ] {
            assert_eq!(
                read(text),
                Err(Refusal::InvalidQuery { parameter }),
                "{text}"
            );
        }
    }

    #[test]
    fn the_directories_of_a_day_are_in_the_order_of_paths() {
        assert_eq!(directories(TODAY), ["d/ap5", "l/ap5", "m/ap5", "mm/ap5"]);
    }
}
