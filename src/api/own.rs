//! The calls by which a client sees and deletes its own images: `usage` and `images`.
//!
//! Credentials come in the headers `X-Client-Id` and `X-Client-Token`, never in the query, which access logs record. Another client's
//! image is answered like one that does not exist. An id can be given again after a client was removed, so ownership goes by key.

use std::io;

use serde_json::{Value, json};
use time::macros::format_description;
use time::{Date, UtcDateTime};
use url::form_urlencoded;

use crate::app::App;
use crate::authentication::{Client, Credentials, authenticate};
use crate::error::{Error, Fault, Refusal};
use crate::fastcgi::params::Params;
use crate::image_object::StoredImage;
use crate::image_path::ImagePath;
use crate::ledger::{Account, ImageRow, Listing, Owner, Page, Position, instants_of};
use crate::response::Response;
use crate::routes::{MAX_PAGE, PAGE};
use crate::takedown::{Images, arriving};
use crate::trace::Trace;

/// The header with the delete key of an image.
const DELETE_KEY: &str = "HTTP_X_DELETE_KEY";

/// The client that the headers of the request name.
fn client<'a>(
    app: &'a App,
    params: &Params,
    now: UtcDateTime,
    trace: &mut Trace,
) -> Result<Client<'a>, Error> {
    let credentials = Credentials::of_headers(params);
    if credentials.client_id.is_empty() || credentials.client_token.is_empty() {
        return Err(Refusal::MissingCredentials.into());
    }
    authenticate(app, credentials, params, now, trace)
}

/// `GET /usage`: what the client has uploaded today and this month, what it has stored now, and what its plan allows.
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
                "resets_at": quota.resets_at.to_string(),
            },
            "month": {
                "since": month.to_string(),
                "uploads": days.iter().map(|row| u64::from(row.uploads)).sum::<u64>(),
                "bytes": days.iter().map(|row| row.bytes).sum::<u64>(),
            },
            "stored": { "images": account.stored.images, "bytes": account.stored.bytes },
        }),
    ))
}

/// `GET /images`: a page of the client's images, newest first.
pub(super) fn images(app: &App, params: &Params, trace: &mut Trace) -> Result<Response, Error> {
    let now = (app.clock)();
    let Client { account, plan } = client(app, params, now, trace)?;
    let query = Query::read(params.get("QUERY_STRING").unwrap_or_default())?;
    let page = query.page;
    let limit = query.limit as usize;
    let mut rows = app
        .ledger
        .list(&Listing {
            owner: Some(Owner::Key(account.key)),
            uploaded: query.day.map_or(i64::MIN..=i64::MAX, |day| {
                let (first, last) = instants_of(day);
                first..=last
            }),
            in_quarantine: Some(false),
            page: page.clone(),
            // One more than the page tells whether there is another page.
            ..Listing::newest(query.limit + 1)
        })
        .map_err(Fault::from)?;
    let has_more = rows.len() > limit;
    if has_more && matches!(page, Page::Before(_)) {
        rows.remove(0);
    }
    rows.truncate(limit);
    let (has_newer, has_older) = match page {
        Page::First => (false, has_more),
        Page::After(_) => (true, has_more),
        Page::Before(_) => (has_more, true),
    };
    let position = |row: Option<&ImageRow>| row.map(|row| Position::of(row).to_string());
    let mut reply = serde_json::Map::new();
    reply.extend(
        query
            .day
            .map(|day| ("day".to_owned(), json!(day.to_string()))),
    );
    let next = position(rows.last().filter(|_| has_older));
    let previous = position(rows.first().filter(|_| has_newer));
    let images = rows
        .into_iter()
        .map(|row| StoredImage::from(row).to_json(app, plan));
    reply.insert("images".to_owned(), images.collect());
    reply.insert("next".to_owned(), json!(next));
    reply.insert("previous".to_owned(), json!(previous));
    Ok(Response::json(200, Value::Object(reply)))
}

/// The parameters of a listing.
#[derive(Debug, PartialEq, Eq)]
struct Query {
    day: Option<Date>,
    page: Page,
    limit: u32,
}

impl Query {
    /// Reads `day=2026-04-05&after=POSITION&limit=100`, all of which may be absent. Other keys are ignored.
    fn read(query: &[u8]) -> Result<Self, Refusal> {
        let mut read = Self {
            day: None,
            page: Page::First,
            limit: PAGE,
        };
        let mut has_position = false;
        for (key, value) in form_urlencoded::parse(query) {
            let invalid = |parameter| Refusal::InvalidQuery { parameter };
            match &*key {
                "day" => {
                    let day = Date::parse(&value, format_description!("[year]-[month]-[day]"));
                    read.day = Some(day.map_err(|_| invalid("day"))?);
                }
                "after" => {
                    read.page = Page::After(value.parse().map_err(|_| invalid("after"))?);
                }
                "before" => {
                    read.page = Page::Before(value.parse().map_err(|_| invalid("before"))?);
                }
                "limit" => {
                    read.limit = value
                        .parse()
                        .ok()
                        .filter(|limit| (1..=MAX_PAGE).contains(limit))
                        .ok_or_else(|| invalid("limit"))?;
                }
                _ => {}
            }
            if matches!(&*key, "after" | "before") && std::mem::replace(&mut has_position, true) {
                return Err(invalid("before"));
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
    let Client { account, plan } = client(app, params, (app.clock)(), trace)?;
    let row = own_image(app, &account, path)?;
    Ok(Response::json(
        200,
        StoredImage::from(row).to_json(app, plan),
    ))
}

/// `DELETE /images/<path>`, by the client of the image or by anyone who has its delete key. Quota is not refunded.
pub(super) fn delete(
    app: &App,
    path: &ImagePath,
    params: &Params,
    trace: &mut Trace,
) -> Result<Response, Error> {
    let now = (app.clock)();
    let row = if let Some(key) = params.get(DELETE_KEY) {
        image_of_key(app, path, key)?
    } else {
        let Client { account, .. } = client(app, params, now, trace)?;
        own_image(app, &account, path)?
    };
    trace.path = Some(path.to_string());
    let images = Images {
        ledger: &*app.ledger,
        store: &*app.store,
        purges: app.config.site.purge_command.is_some(),
        now,
    };
    // The lists have an image as soon as it has a row.
    if images.is_arriving(&row).map_err(Fault::saving)? {
        return Err(
            Fault::Unavailable(format!("{path} could not be deleted: {}", arriving())).into(),
        );
    }
    let paths = std::slice::from_ref(&row.path);
    let deletion = images.delete_served(paths).map_err(Fault::from)?;
    if let Some((path, error)) = deletion.failed.first() {
        let cause = format!("{path} could not be deleted: {error}");
        return Err(match error.kind() {
            io::ErrorKind::ResourceBusy => Fault::Unavailable(cause),
            _ => Fault::Internal(cause),
        }
        .into());
    }
    // It was quarantined meanwhile.
    if !deletion.kept.is_empty() {
        return Err(Refusal::NotFound.into());
    }
    let deleted = json!({ "status": "success", "deleted": row.path.as_str() });
    Ok(Response::json(200, deleted))
}

/// The image; `NotFound` for one of another client, or in quarantine.
fn own_image(app: &App, account: &Account, path: &ImagePath) -> Result<ImageRow, Error> {
    let row = app.ledger.image(path).map_err(Fault::from)?;
    row.filter(|row| row.owner == account.key && row.quarantine.is_none())
        .ok_or_else(|| Refusal::NotFound.into())
}

/// The image whose delete key this is. The key is checked first, so that a wrong one does not tell which images exist.
fn image_of_key(app: &App, path: &ImagePath, key: &[u8]) -> Result<ImageRow, Error> {
    if !app.delete_keys.accepts(path, key) {
        return Err(Refusal::InvalidDeleteKey.into());
    }
    let row = app.ledger.image(path).map_err(Fault::from)?;
    row.filter(|row| row.quarantine.is_none())
        .ok_or_else(|| Refusal::NotFound.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::date;

    #[test]
    fn a_query_is_read_or_refused_by_its_parameter() {
        let read = |text: &str| Query::read(text.as_bytes());
        let default = Query {
            day: None,
            page: Page::First,
            limit: PAGE,
        };
        assert_eq!(read(""), Ok(default));
        let position = || "d/fe29/AbCdEf.png@2024-02-29T12:00:00Z".parse();
        for (text, page) in [
            (
                "after=d%2Ffe29%2FAbCdEf.png%402024-02-29T12%3A00%3A00Z",
                Page::After(position().expect("a position")),
            ),
            (
                "before=d/fe29/AbCdEf.png@2024-02-29T12:00:00Z",
                Page::Before(position().expect("a position")),
            ),
        ] {
            assert_eq!(
                read(&format!("limit=7&day=2024-02-29&x=y&{text}")),
                Ok(Query {
                    day: Some(date!(2024 - 02 - 29)),
                    page,
                    limit: 7,
                })
            );
        }
        for (text, parameter) in [
            ("day=2025-02-29", "day"),
            ("day=", "day"),
            ("day=today", "day"),
            ("limit=0", "limit"),
            ("limit=1001", "limit"),
            ("limit=-1", "limit"),
            ("after=../x", "after"),
            ("after=", "after"),
            ("after=d/ap5/AbCdEf.png", "after"),
            ("before=d/ap5/AbCdEf.png", "before"),
            (
                "after=d/ap5/AbCdEf.png@2024-02-29T12:00:00Z&before=d/ap5/AbCdEf.png@2024-02-29T12:00:00Z",
                "before",
            ),
        ] {
            assert_eq!(
                read(text),
                Err(Refusal::InvalidQuery { parameter }),
                "{text}"
            );
        }
    }
}
