//! What each client has stored, as counted by the triggers of the schema, beside what its rows amount to.

use rusqlite::Connection;

use crate::ledger::{ClientKey, StorageDifference, StorageUse};

/// Reads every row of the images, in the order of the table.
const DIFFERENCES: &str = "SELECT client.id, client.stored_images, client.stored_bytes,
         coalesce(found.images, 0), coalesce(found.bytes, 0), client.key
     FROM client LEFT JOIN
         (SELECT client, count(*) AS images, sum(size) AS bytes FROM image NOT INDEXED GROUP BY client) AS found
         ON found.client = client.key
     WHERE (client.stored_images, client.stored_bytes) IS NOT (coalesce(found.images, 0), coalesce(found.bytes, 0))
     ORDER BY client.id";

const REPAIR: &str = "UPDATE client SET (stored_images, stored_bytes) =
     (SELECT count(*), coalesce(sum(size), 0) FROM image WHERE image.client = client.key) WHERE client.key = ?1";

pub(super) fn differences(connection: &Connection) -> rusqlite::Result<Vec<StorageDifference>> {
    // A damaged count may be negative.
    let number = |number: i64| u64::try_from(number).unwrap_or(0);
    connection
        .prepare(DIFFERENCES)?
        .query_map([], |row| {
            Ok(StorageDifference {
                client: row.get(0)?,
                owner: ClientKey(row.get(5)?),
                counted: StorageUse {
                    images: number(row.get(1)?),
                    bytes: number(row.get(2)?),
                },
                found: StorageUse {
                    images: number(row.get(3)?),
                    bytes: number(row.get(4)?),
                },
            })
        })?
        .collect()
}

/// Sets the counts that differ right; gives what they were.
pub(super) fn repair(connection: &Connection) -> rusqlite::Result<Vec<StorageDifference>> {
    let found = differences(connection)?;
    let mut repair = connection.prepare(REPAIR)?;
    for difference in &found {
        repair.execute([difference.owner.0])?;
    }
    Ok(found)
}
