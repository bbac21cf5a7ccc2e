//! Clock jumps under a running responder: midnight, ends of months, 29 February, a day back and two ahead.

use std::collections::BTreeSet;
use std::time::Instant;

use time::macros::utc_datetime;
use time::{Date, Duration, Month, UtcDateTime};

use crate::invariants::{Installation, assert_invariants};
use crate::uploads::{Image, unlimited};
use support::clock::Clock;
use support::machine::{PATIENCE, path_of, until};
use support::pictures::png_of;
use support::site::Site;

fn turn_to(clock: &Clock, instant: UtcDateTime) {
    let ahead = (instant - UtcDateTime::now()).whole_milliseconds();
    // Rounded up: truncated, the clock would stand just before the instant.
    clock.turn(i64::try_from(ahead).expect("centuries") + 1);
}

/// The first day on which the image is gone.
fn expiry(day: Date, duration: &str) -> Option<Date> {
    let months = match duration {
        "7D" => return Some(day + Duration::days(8)),
        "1M" => 1,
        "3M" => 3,
        _ => return None,
    };
    let month = u8::from(day.month()) + months;
    let (year, month) = if month > 12 {
        (day.year() + 1, month - 12)
    } else {
        (day.year(), month)
    };
    let month = Month::try_from(month).expect("a month");
    let last = Date::from_calendar_date(year, month, day.day().min(month.length(year)));
    last.expect("a date").next_day()
}

/// The directory of a day as the documentation shows it, such as `ap5`.
fn directory(day: Date) -> String {
    let month = day.month().to_string().to_lowercase();
    format!("{}{}", &month[..2], day.day())
}

#[test]
fn dates_and_quotas_follow_a_clock_that_jumps() {
    let Some(clock) = Clock::new() else {
        return;
    };
    let start = utc_datetime!(2028-02-28 12:00);
    turn_to(&clock, start);
    let site = unlimited().clock_of(&clock).start();
    let mut installation = Installation::of(&site);
    let mut images = Vec::new();
    for instant in [
        start,
        // A leap day, from its first second to its last.
        utc_datetime!(2028-02-29 0:00:00),
        utc_datetime!(2028-02-29 23:59:58),
        utc_datetime!(2028-03-01 0:00:00),
        // A day back, and two ahead.
        utc_datetime!(2028-02-29 0:00:00),
        utc_datetime!(2028-03-02 0:00:00),
        // Months of 31 days before months of fewer.
        utc_datetime!(2028-01-31 12:00),
        utc_datetime!(2027-01-31 23:59:50),
        utc_datetime!(2027-11-30 12:00),
        utc_datetime!(2027-12-31 23:59:50),
        utc_datetime!(2028-01-01 0:00:00),
        utc_datetime!(2028-08-31 12:00),
        utc_datetime!(2028-10-31 12:00),
    ] {
        for duration in ["7D", "1M", "3M", "LTF"] {
            upload(&site, &clock, &mut images, instant, duration);
        }
    }
    // Across midnight, while uploads run; again on a machine that is slow enough to miss a side of it.
    let midnight = utc_datetime!(2028-02-29 0:00:00);
    let mut days = BTreeSet::new();
    let deadline = Instant::now() + PATIENCE;
    while days.len() < 2 {
        assert!(Instant::now() < deadline, "uploads on one side: {days:?}");
        if !days.contains("fe28") {
            turn_to(&clock, midnight - Duration::seconds(2));
        }
        let serial = images.len() as u64;
        let reply = site.upload("lifetime", "7D", &png_of(3_000, serial));
        let path = path_of(&reply.url()).to_owned();
        let (day, expiry) = match path.split('/').nth(1) {
            Some("fe28") => ("fe28", "2028-03-06"),
            Some("fe29") => ("fe29", "2028-03-07"),
            _ => panic!("{path}"),
        };
        assert_eq!(reply.json()["expires_at"], expiry, "{path}");
        days.insert(day);
        images.push(Image { path, serial });
    }
    assert_invariants(&mut installation, &images);
    quota_is_counted_by_day(&installation);
    sweeps_are_exact(&mut installation, &images);
    // No restart was needed.
    turn_to(&clock, UtcDateTime::now());
    assert_eq!(site.upload("lifetime", "7D", &png_of(3_000, 1)).status, 200);
}

/// Uploads at an instant; reply, path and row must have the dates of its day. It uploads again where the next day came meanwhile.
fn upload(
    site: &Site,
    clock: &Clock,
    images: &mut Vec<Image>,
    instant: UtcDateTime,
    duration: &str,
) {
    let day = instant.date();
    let midnight = day.next_day().expect("a day").midnight().as_utc();
    let (reply, path) = until("an upload in time", || {
        let turned = UtcDateTime::now();
        turn_to(clock, instant);
        let serial = images.len() as u64;
        let reply = site.upload("lifetime", duration, &png_of(3_000, serial));
        let path = path_of(&reply.url()).to_owned();
        images.push(Image {
            path: path.clone(),
            serial,
        });
        let is_late = UtcDateTime::now() - turned >= midnight - instant;
        (!is_late).then_some((reply, path))
    });
    let case = format!("{instant} {duration} {path}");
    assert_eq!(
        path.split('/').nth(1),
        Some(directory(day).as_str()),
        "{case}"
    );
    let end = expiry(day, duration);
    let last = end.and_then(Date::previous_day);
    let told = last.map_or_else(|| "Never (Lifetime)".to_owned(), |last| last.to_string());
    assert_eq!(reply.json()["expires_at"], told, "{case}");
    let recorded: Option<i64> = site
        .ledger()
        .query_row(
            "SELECT expires_at FROM image WHERE path = ?1",
            [&path],
            |row| row.get(0),
        )
        .expect("a row");
    assert_eq!(
        recorded,
        end.map(|end| end.midnight().assume_utc().unix_timestamp()),
        "{case}"
    );
    assert_eq!(
        reply.number("X-RateLimit-Reset"),
        midnight.unix_timestamp(),
        "{case}"
    );
}

/// The counted uploads of each day equal the rows of that day.
fn quota_is_counted_by_day(installation: &Installation) {
    let wrong = installation.count(
        "SELECT count(*) FROM (SELECT uploaded_at / 86400 AS day, count(*) AS images FROM image GROUP BY 1) AS rows
         FULL JOIN usage ON usage.day = rows.day WHERE rows.images IS NOT usage.uploads",
    );
    assert_eq!(wrong, 0, "days whose quota is not that of their rows");
}

/// Sweeps a day before, a second before and at the expiry of each image.
fn sweeps_are_exact(installation: &mut Installation, images: &[Image]) {
    let Some(report) = installation.sweep_at(utc_datetime!(2026-01-01 0:00).unix_timestamp())
    else {
        return;
    };
    assert_eq!(
        (
            &report["expired"],
            &report["withdrawn"],
            &report["orphaned"]
        ),
        (&0.into(), &0.into(), &0.into())
    );
    let query = "SELECT DISTINCT expires_at FROM image WHERE expires_at IS NOT NULL ORDER BY 1";
    let ends: Vec<i64> = {
        let ledger = rusqlite::Connection::open(&installation.ledger).expect("the ledger");
        let mut query = ledger.prepare(query).expect("a query");
        let ends = query.query_map([], |row| row.get(0)).expect("rows");
        ends.collect::<Result<_, _>>().expect("numbers")
    };
    let mut left = images.len();
    for end in ends {
        let due = usize::try_from(installation.count(&format!(
            "SELECT count(*) FROM image WHERE expires_at = {end}"
        )));
        let early = installation.sweep_at(end - 1).expect("faketime");
        assert_eq!(early["expired"], 0, "a second before {end}");
        // A clock that goes a day back meanwhile takes nothing away either.
        let back = installation.sweep_at(end - 86_400).expect("faketime");
        assert_eq!(back["expired"], 0, "a day before {end}");
        let report = installation.sweep_at(end).expect("faketime");
        let due = due.expect("a number");
        assert_eq!(report["expired"].as_u64(), Some(due as u64), "at {end}");
        left -= due;
        assert_eq!(installation.files().len(), left, "after {end}");
    }
    assert!(
        installation
            .files()
            .iter()
            .all(|path| path.starts_with("l/")),
        "lifetime images stay"
    );
    assert!(left > 0);
}
