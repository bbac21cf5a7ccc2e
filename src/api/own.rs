//! The calls by which a client sees and deletes its own images: `usage` and `images`.
//!
//! Credentials come in the headers `X-Client-Id` and `X-Client-Token`, never in the query, which access logs record. Another client's
//! image is answered like one that does not exist. An id can be given again after a client was removed, so ownership goes by key.

use serde_json::{Value, json};
use time::macros::format_description;
use time::{Date, UtcDateTime};

use crate::app::App;
use crate::authentication::{Client, Credentials, authenticate};
use crate::error::{Error, Fault, Refusal};
use crate::fastcgi::params::Params;
use crate::image_path::{DayName, ImagePath, class_of};
use crate::ledger::{Account, ImageFilter, ImageRow};
use crate::plan::{Expiry, NEVER_EXPIRES, StoreDuration};
use crate::response::Response;
use crate::routes::{MAX_PAGE, PAGE};
use crate::trace::Trace;

/// Rows that are read from the ledger at once.
const BATCH: u32 = 1_000;

/// The client that the headers of the request name.
fn client<'a>(
    app: &'a App,
    params: &Params,
    now: UtcDateTime,
    trace: &mut Trace,
) -> Result<Client<'a>, Error> {
    let header = |name| params.get(name).filter(|value| !value.is_empty());
    let (Some(client_id), Some(client_token)) =
        (header("HTTP_X_CLIENT_ID"), header("HTTP_X_CLIENT_TOKEN"))
    else {
        return Err(Refusal::MissingParameters.into());
    };
    let credentials = Credentials {
        client_id,
        client_token,
    };
    authenticate(app, credentials, params, now, trace)
}

/// `GET /usage`: what the client has stored today and this month, and what its plan allows.
pub(super) fn usage(app: &App, params: &Params, trace: &mut Trace) -> Result<Response, Error> {
    let now = (app.clock)();
    let Client { account, plan } = client(app, params, now, trace)?;
    let today = now.date();
    let month = today.replace_day(1).unwrap_or(today);
    let days = app
        .ledger
        .usage_of(account.key, month)
        .map_err(Fault::from)?;
    let today_bytes = days
        .iter()
        .filter(|row| row.day == today)
        .map(|row| row.bytes)
        .sum::<u64>();
    let quota = plan.quota(account.used, today);
    Ok(Response::json(
        200,
        json!({
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
        }),
    ))
}

/// `GET /images`: a page of the client's images of one day.
pub(super) fn images(app: &App, params: &Params, trace: &mut Trace) -> Result<Response, Error> {
    let now = (app.clock)();
    let Client { account, .. } = client(app, params, now, trace)?;
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
            let batch = app.ledger.images(&filter).map_err(Fault::from)?;
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
    Ok(Response::json(
        200,
        json!({
            "day": query.day.to_string(),
            "images": rows.iter().map(|row| describe(app, row)).collect::<Vec<_>>(),
            "next": next,
        }),
    ))
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

/// `GET /images/<path>`.
pub(super) fn show(
    app: &App,
    path: &ImagePath,
    params: &Params,
    trace: &mut Trace,
) -> Result<Response, Error> {
    let Client { account, .. } = client(app, params, (app.clock)(), trace)?;
    let row = own_image(app, &account, path)?;
    Ok(Response::json(200, describe(app, &row)))
}

/// `DELETE /images/<path>`. The file is deleted before the row, because the sweep finds a row without a file. Quota is not refunded.
pub(super) fn delete(
    app: &App,
    path: &ImagePath,
    params: &Params,
    trace: &mut Trace,
) -> Result<Response, Error> {
    let Client { account, .. } = client(app, params, (app.clock)(), trace)?;
    let row = own_image(app, &account, path)?;
    trace.path = Some(path.to_string());
    let paths = std::slice::from_ref(&row.path);
    for outcome in app.store.delete(paths) {
        outcome.map_err(|error| {
            Fault::Internal(format!("{} could not be deleted: {error}", row.path))
        })?;
    }
    app.ledger.forget(paths).map_err(Fault::from)?;
    let deleted = json!({ "status": "success", "deleted": row.path.as_str() });
    Ok(Response::json(200, deleted))
}

/// The image; `NotFound` for one of another client.
fn own_image(app: &App, account: &Account, path: &ImagePath) -> Result<ImageRow, Error> {
    let row = app.ledger.image(path).map_err(Fault::from)?;
    row.filter(|row| row.owner == account.key)
        .ok_or_else(|| Refusal::NotFound.into())
}

pub(super) fn rfc3339(seconds: i64) -> Option<String> {
    let instant = UtcDateTime::from_unix_timestamp(seconds).ok()?;
    instant
        .format(&time::format_description::well_known::Rfc3339)
        .ok()
}

fn describe(app: &App, row: &ImageRow) -> Value {
    let public_url = app.config.site.public_url();
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
