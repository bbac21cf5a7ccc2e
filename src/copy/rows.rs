//! Copies the rows of a ledger into another one.
//!
//! Both are read in the order of their keys, in pages, so that memory is constant. Rows of the target that the source does not have, or has
//! otherwise, are deleted first; then those that are missing are inserted. A second comparison is the proof.

use std::cmp::Ordering;
use std::vec;

use time::UtcDateTime;

use crate::ledger::{CLIENTS, IMAGES, LedgerError, Row, Swept, TABLES, Table, Transfer, Value};

/// Rows of a page and of a transaction.
const BATCH: u32 = 1_000;

/// The position of the column `size` in [`IMAGES`].
const SIZE: usize = 2;

/// The result of comparing two ledgers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Proof {
    /// Rows of all tables.
    pub(crate) rows: u64,
    /// Of these, clients, those that were removed among them.
    pub(crate) clients: u64,
    /// Of these, images.
    pub(crate) images: u64,
    /// Bytes of the images.
    pub(crate) bytes: u64,
    /// Rows that only one of them has, or that differ.
    pub(crate) differences: u64,
}

/// Makes the rows of `to` the same as those of `from`. `progress` is called with the table and how many of its rows were compared.
pub(crate) fn copy(
    from: &dyn Transfer,
    to: &dyn Transfer,
    progress: &dyn Fn(&Table, u64),
) -> Result<(), LedgerError> {
    for table in &TABLES {
        // Tokens and ids are unique beside their keys, too, so the old rows go first. Clients are changed in their places, because others
        // refer to them.
        if *table != CLIENTS {
            let mut surplus = Batch::new(|rows| to.remove_rows(table, rows));
            compare(table, from, to, progress, |found| match found {
                Compared::Same(_) | Compared::Missing(_) => Ok(()),
                Compared::Surplus(row) | Compared::Different { other: row, .. } => {
                    surplus.push(row)
                }
            })?;
            surplus.finish()?;
        }
        let mut missing = Batch::new(|rows| to.insert_rows(table, rows));
        compare(table, from, to, progress, |found| match found {
            Compared::Same(_) | Compared::Surplus(_) => Ok(()),
            Compared::Missing(row) | Compared::Different { row, .. } => missing.push(row),
        })?;
        missing.finish()?;
    }
    to.storage_differences(true)?;
    copy_status(from, to)
}

/// When the ledger was made and swept, and what sweeps deleted; the identity is copied last, by the caller.
fn copy_status(from: &dyn Transfer, to: &dyn Transfer) -> Result<(), LedgerError> {
    let (source, target) = (from.status()?, to.status()?);
    let instant = |seconds| UtcDateTime::from_unix_timestamp(seconds).ok();
    if let Some(created_at) = instant(source.created_at.0) {
        to.set_created_at(created_at)?;
    }
    // The totals of the target are added to.
    let missing = Swept {
        expired: source.swept.expired.saturating_sub(target.swept.expired),
        bytes: source.swept.bytes.saturating_sub(target.swept.bytes),
        abandoned: source
            .swept
            .abandoned
            .saturating_sub(target.swept.abandoned),
        refunded: source.swept.refunded.saturating_sub(target.swept.refunded),
        orphaned: source.swept.orphaned.saturating_sub(target.swept.orphaned),
    };
    let last_sweep = source.last_sweep.and_then(|at| instant(at.0));
    to.finish_sweep(missing, last_sweep)
}

/// Compares all rows.
pub(crate) fn prove(
    one: &dyn Transfer,
    other: &dyn Transfer,
    progress: &dyn Fn(&Table, u64),
) -> Result<Proof, LedgerError> {
    let mut proof = Proof::default();
    for table in &TABLES {
        compare(table, one, other, progress, |found| {
            let Compared::Same(row) = found else {
                proof.differences += 1;
                return Ok(());
            };
            proof.rows += 1;
            proof.clients += u64::from(*table == CLIENTS);
            if *table == IMAGES {
                proof.images += 1;
                if let Value::Integer(size) = row[SIZE] {
                    proof.bytes += u64::try_from(size).unwrap_or(0);
                }
            }
            Ok(())
        })?;
    }
    // What clients have stored is counted by triggers.
    proof.differences += other.storage_differences(false)?.len() as u64;
    Ok(proof)
}

/// A row of one ledger beside the other.
enum Compared {
    /// Both have it.
    Same(Row),
    /// The first one alone has it.
    Missing(Row),
    /// The other one alone has it.
    Surplus(Row),
    /// Both have the key, with other values.
    Different { row: Row, other: Row },
}

/// Merges the rows of two ledgers in the order of their keys.
fn compare(
    table: &Table,
    one: &dyn Transfer,
    other: &dyn Transfer,
    progress: &dyn Fn(&Table, u64),
    mut found: impl FnMut(Compared) -> Result<(), LedgerError>,
) -> Result<(), LedgerError> {
    let mut count = 0_u64;
    let [mut ones, mut others] = [one, other].map(|ledger| Rows::new(ledger, table));
    let (mut row, mut second) = (ones.next()?, others.next()?);
    loop {
        let order = match (&row, &second) {
            (None, None) => return Ok(()),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(row), Some(other)) => table.key_of(row).cmp(table.key_of(other)),
        };
        let left = if order.is_le() { row.take() } else { None };
        let right = if order.is_ge() { second.take() } else { None };
        // The next rows are read before this one is changed.
        if left.is_some() {
            row = ones.next()?;
        }
        if right.is_some() {
            second = others.next()?;
        }
        match (left, right) {
            (Some(row), Some(other)) if row == other => found(Compared::Same(row))?,
            (Some(row), Some(other)) => found(Compared::Different { row, other })?,
            (Some(row), None) => found(Compared::Missing(row))?,
            (None, Some(other)) => found(Compared::Surplus(other))?,
            (None, None) => {}
        }
        count += 1;
        if count.is_multiple_of(u64::from(BATCH)) {
            progress(table, count);
        }
    }
}

/// The rows of a table in the order of its key.
struct Rows<'a> {
    ledger: &'a dyn Transfer,
    table: &'a Table,
    page: vec::IntoIter<Row>,
    last: Option<Row>,
    has_ended: bool,
}

impl<'a> Rows<'a> {
    fn new(ledger: &'a dyn Transfer, table: &'a Table) -> Self {
        Self {
            ledger,
            table,
            page: Vec::new().into_iter(),
            last: None,
            has_ended: false,
        }
    }

    fn next(&mut self) -> Result<Option<Row>, LedgerError> {
        if let Some(row) = self.page.next() {
            return Ok(Some(row));
        }
        if self.has_ended {
            return Ok(None);
        }
        let after = self.last.as_ref().map(|row| self.table.key_of(row));
        let page = self.ledger.rows(self.table, after, BATCH)?;
        self.has_ended = page.len() < BATCH as usize;
        self.last = page.last().cloned();
        self.page = page.into_iter();
        Ok(self.page.next())
    }
}

/// Rows that are changed together.
struct Batch<F> {
    rows: Vec<Row>,
    change: F,
}

impl<F: FnMut(&[Row]) -> Result<(), LedgerError>> Batch<F> {
    const fn new(change: F) -> Self {
        Self {
            rows: Vec::new(),
            change,
        }
    }

    fn push(&mut self, row: Row) -> Result<(), LedgerError> {
        self.rows.push(row);
        if self.rows.len() < BATCH as usize {
            return Ok(());
        }
        (self.change)(&std::mem::take(&mut self.rows))
    }

    fn finish(mut self) -> Result<(), LedgerError> {
        if self.rows.is_empty() {
            return Ok(());
        }
        (self.change)(&self.rows)
    }
}
