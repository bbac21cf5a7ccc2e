//! Listings, newest first. The images of each client are an index in their order; those of several clients are merged.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use rusqlite::types::Value;
use rusqlite::{Connection, named_params};

use super::images::{COLUMNS, image_row};
use crate::image_path::extension_of;
use crate::ledger::{ImageRow, Listing, Owner, Page, Position};

/// Rows that are first read of each of several clients. Most have none on the page.
const FIRST_READ: u32 = 1;

pub(super) fn list(connection: &Connection, listing: &Listing) -> rusqlite::Result<Vec<ImageRow>> {
    let mut clients = clients(connection, listing)?;
    let wanted = listing.limit as usize;
    let mut rows = Vec::new();
    if let [client] = &mut clients[..] {
        client.read(connection, listing, listing.limit)?;
        rows.extend(client.rows.drain(..));
    } else {
        let mut heads = BinaryHeap::with_capacity(clients.len());
        for (number, client) in clients.iter_mut().enumerate() {
            client.read(connection, listing, FIRST_READ)?;
            heads.extend(client.head(listing, number));
        }
        while rows.len() < wanted
            && let Some(Head::Newest(_, number) | Head::Oldest(_, number)) = heads.pop()
        {
            let client = &mut clients[number];
            rows.extend(client.rows.pop_front());
            if client.rows.is_empty() {
                let left = u32::try_from(wanted - rows.len()).unwrap_or(u32::MAX);
                client.read(connection, listing, left.min(2 * client.last_read))?;
            }
            heads.extend(client.head(listing, number));
        }
    }
    if matches!(listing.page, Page::Before(_)) {
        rows.reverse();
    }
    Ok(rows)
}

/// The images of one client, read piece by piece.
struct Client {
    key: i64,
    rows: VecDeque<ImageRow>,
    /// Where the last piece ended.
    read_to: Option<Position>,
    last_read: u32,
    is_at_end: bool,
}

/// The next image of a client, by its number. Of those of one listing, the greatest is listed next.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Head {
    Newest(Position, usize),
    Oldest(Reverse<Position>, usize),
}

impl Client {
    /// The place of its next image.
    fn head(&self, listing: &Listing, number: usize) -> Option<Head> {
        let position = Position::of(self.rows.front()?);
        Some(match listing.page {
            Page::First | Page::After(_) => Head::Newest(position, number),
            Page::Before(_) => Head::Oldest(Reverse(position), number),
        })
    }

    /// Reads the next rows, at most `count`: older ones for a page after a position, newer ones for a page before it.
    fn read(
        &mut self,
        connection: &Connection,
        listing: &Listing,
        count: u32,
    ) -> rusqlite::Result<()> {
        if self.is_at_end || count == 0 {
            return Ok(());
        }
        let (order, comparison) = match listing.page {
            Page::First | Page::After(_) => ("DESC", "<"),
            Page::Before(_) => ("ASC", ">"),
        };
        let from = self.read_to.as_ref().or(match &listing.page {
            Page::First => None,
            Page::After(position) | Page::Before(position) => Some(position),
        });
        // Behind every path there is.
        let (time, path) = from.map_or((i64::MAX, "~"), |from| {
            (from.uploaded_at.0, from.path.as_str())
        });
        // The time of the position again: the query planner takes one of several bounds for the index, and must not read up to the page.
        let (since, until) = match listing.page {
            Page::First | Page::After(_) => {
                (*listing.uploaded.start(), time.min(*listing.uploaded.end()))
            }
            Page::Before(_) => (time.max(*listing.uploaded.start()), *listing.uploaded.end()),
        };
        let pattern = listing
            .image_type
            .map(|image_type| format!("*.{}", extension_of(image_type)));
        let mut query = connection.prepare_cached(&format!(
            "SELECT {COLUMNS}
             WHERE image.client = :client AND (image.uploaded_at, image.path) {comparison} (:time, :path)
                 AND image.uploaded_at BETWEEN :since AND :until AND image.size BETWEEN :smallest AND :largest
                 AND image.width BETWEEN :narrowest AND :widest AND image.height BETWEEN :lowest AND :highest
                 AND (:pattern IS NULL OR image.path GLOB :pattern)
                 AND (:in_quarantine IS NULL OR :in_quarantine = (image.quarantined_at IS NOT NULL))
             ORDER BY image.uploaded_at {order}, image.path {order} LIMIT :count"
        ))?;
        let page = query.query_map(
            named_params! {
                ":client": self.key,
                ":time": time,
                ":path": path,
                ":since": since,
                ":until": until,
                ":smallest": bound(*listing.size.start()),
                ":largest": bound(*listing.size.end()),
                ":narrowest": listing.width.start(),
                ":widest": listing.width.end(),
                ":lowest": listing.height.start(),
                ":highest": listing.height.end(),
                ":pattern": pattern,
                ":in_quarantine": listing.in_quarantine,
                ":count": count,
            },
            image_row,
        )?;
        let mut found = 0;
        for row in page {
            self.rows.push_back(row?);
            found += 1;
        }
        self.is_at_end = found < count;
        self.read_to = self.rows.back().map(Position::of);
        self.last_read = count;
        Ok(())
    }
}

/// SQLite's integers are signed.
fn bound(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// The clients whose images are listed.
fn clients(connection: &Connection, listing: &Listing) -> rusqlite::Result<Vec<Client>> {
    let (condition, value) = match &listing.owner {
        None => ("?1 IS NULL", Value::Null),
        Some(Owner::Id(id)) => ("id = ?1", Value::Text(id.clone())),
        Some(Owner::Key(key)) => ("key = ?1", Value::Integer(key.0)),
    };
    connection
        .prepare_cached(&format!("SELECT key FROM client WHERE {condition}"))?
        .query_map([value], |row| {
            Ok(Client {
                key: row.get(0)?,
                rows: VecDeque::new(),
                read_to: None,
                last_read: FIRST_READ,
                is_at_end: false,
            })
        })?
        .collect()
}
