//! Listings, newest first. Each order is an index; of several clients that had one id, a page of each is merged.

use super::images::{columns, image_row, tables};
use super::pool::Pool;
use super::statement::{get, parameters, signed, text};
use crate::image_path::extension_of;
use crate::ledger::{ImageRow, LedgerError, Listing, Owner, Page};

/// The conditions of a listing but the client.
macro_rules! conditions {
    ($comparison:literal) => {
        concat!(
            "(image.uploaded_at, image.path) ",
            $comparison,
            " ($1, $2) AND image.uploaded_at BETWEEN $3 AND $4 AND image.size BETWEEN $5 AND $6
             AND image.width BETWEEN $7 AND $8 AND image.height BETWEEN $9 AND $10
             AND ($11::text IS NULL OR right(image.path, length($11)) = $11)
             AND ($12::boolean IS NULL OR $12 = (image.quarantined_at IS NOT NULL))"
        )
    };
}

/// The order of a page and its length.
macro_rules! order {
    ($order:literal) => {
        concat!(
            " ORDER BY image.uploaded_at ",
            $order,
            ", image.path ",
            $order,
            " LIMIT $13"
        )
    };
}

/// The listings of everybody's images, of one client's and of several clients', in one direction.
macro_rules! listings {
    ($comparison:literal, $order:literal) => {
        [
            concat!(
                "SELECT ",
                columns!(),
                tables!(),
                "WHERE $14::bigint[] IS NULL AND ",
                conditions!($comparison),
                order!($order)
            ),
            concat!(
                "SELECT ",
                columns!(),
                tables!(),
                "WHERE image.client = ($14::bigint[])[1] AND ",
                conditions!($comparison),
                order!($order)
            ),
            concat!(
                "SELECT ",
                columns!(),
                " FROM unnest($14::bigint[]) AS owner (key) CROSS JOIN LATERAL
                     (SELECT * FROM corenexis.image WHERE image.client = owner.key AND ",
                conditions!($comparison),
                order!($order),
                ") AS image JOIN corenexis.client ON client.key = image.client",
                order!($order)
            ),
        ]
    };
}

/// Towards older images.
const OLDER: [&str; 3] = listings!("<", "DESC");

/// Towards newer images.
const NEWER: [&str; 3] = listings!(">", "ASC");

pub(super) fn list(pool: &Pool, listing: &Listing) -> Result<Vec<ImageRow>, LedgerError> {
    let keys = match &listing.owner {
        None => None,
        Some(Owner::Key(key)) => Some(vec![key.0]),
        Some(Owner::Id(id)) => Some(keys_of(pool, id)?),
    };
    let statements = match listing.page {
        Page::First | Page::After(_) => &OLDER,
        Page::Before(_) => &NEWER,
    };
    let sql = match keys.as_deref() {
        Some([]) => return Ok(Vec::new()),
        None => statements[0],
        Some([_]) => statements[1],
        Some(_) => statements[2],
    };
    let from = match &listing.page {
        Page::First => None,
        Page::After(position) | Page::Before(position) => Some(position),
    };
    // Behind every path there is.
    let (time, path) = from.map_or((i64::MAX, "~"), |from| {
        (from.uploaded_at.0, from.path.as_str())
    });
    let (first, last) = (*listing.uploaded.start(), *listing.uploaded.end());
    // The time of the position again, so that the index is entered there.
    let (since, until) = match listing.page {
        Page::First | Page::After(_) => (first, time.min(last)),
        Page::Before(_) => (time.max(first), last),
    };
    let pattern = listing
        .image_type
        .map(|image_type| format!(".{}", extension_of(image_type)));
    let rows = pool.query(sql, |_| {
        parameters![
            time,
            path.to_owned(),
            since,
            until,
            signed(*listing.size.start()),
            signed(*listing.size.end()),
            i64::from(*listing.width.start()),
            i64::from(*listing.width.end()),
            i64::from(*listing.height.start()),
            i64::from(*listing.height.end()),
            pattern.clone(),
            listing.in_quarantine,
            i64::from(listing.limit),
            keys.clone(),
        ]
    })?;
    let mut images = rows.iter().map(image_row).collect::<Result<Vec<_>, _>>()?;
    if matches!(listing.page, Page::Before(_)) {
        images.reverse();
    }
    Ok(images)
}

/// The keys of the clients that have or had an id.
fn keys_of(pool: &Pool, id: &str) -> Result<Vec<i64>, LedgerError> {
    let rows = pool.query("SELECT key FROM corenexis.client WHERE id = $1", |_| {
        parameters![text(id)]
    })?;
    rows.iter().map(|row| get(row, 0)).collect()
}
