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
use crate::expiry::{Expiry, NEVER_EXPIRES};
use crate::fastcgi::params::Params;
use crate::image_path::ImagePath;
use crate::ledger::{Account, ImageFilter, ImageRow, Owner};
use crate::response::Response;
use crate::routes::{MAX_PAGE, PAGE};
use crate::trace::Trace;

/// The client that the headers of the request name.
fn client<'a>(
    app: &'a App,
    params: &Params,
    now: UtcDateTime,
    trace: &mut Trace,
) -> Result<Client<'a>, Error> {
    let header = |name| params.get(name).unwrap_or_default();
    let credentials = Credentials {
        client_id: header("HTTP_X_CLIENT_ID"),
        client_token: header("HTTP_X_CLIENT_TOKEN"),
    };
    Refusal::if_missing(&[
        ("X-Client-Id", credentials.client_id),
        ("X-Client-Token", credentials.client_token),
    ])?;
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
        .usage(Some(&Owner::Key(account.key)), Some(month))
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
                "resets_at": quota.resets_at.0,
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
    // One more than the page tells whether there is a next page.
    let wanted = query.limit as usize + 1;
    let filter = ImageFilter {
        owner: Some(Owner::Key(account.key)),
        days: Some((query.day, query.day)),
        after: query.after,
        limit: query.limit + 1,
    };
    let mut rows = app.ledger.images(&filter).map_err(Fault::from)?;
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

/// The parameters of a listing.
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
    app.ledger.delete_rows(paths).map_err(Fault::from)?;
    let deleted = json!({ "status": "success", "deleted": row.path.as_str() });
    Ok(Response::json(200, deleted))
}

/// The image; `NotFound` for one of another client.
fn own_image(app: &App, account: &Account, path: &ImagePath) -> Result<ImageRow, Error> {
    let row = app.ledger.image(path).map_err(Fault::from)?;
    row.filter(|row| row.owner == account.key)
        .ok_or_else(|| Refusal::NotFound.into())
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
        "uploaded_at": row.uploaded_at.to_string(),
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
}
