//! [`Transfer`]: the rows of a ledger as they are, for a copy of it in another database.

use std::fmt;

use super::{Ledger, LedgerError};

/// A value of a column. Those of one column that are not null are of one kind, and ordered as both databases order them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Value {
    /// NULL.
    Null,
    /// A number, an instant, a day or a flag.
    Integer(i64),
    /// Text, compared by its bytes.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
}

/// A row: the values of [`Table::columns`].
pub(crate) type Row = Vec<Value>;

/// The type of a column. SQLite has the first, the fourth and the fifth only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `bigint`
    Integer,
    /// `integer`
    Small,
    /// `boolean`, 0 or 1 in SQLite.
    Flag,
    /// `text`
    Text,
    /// `bytea`
    Bytes,
}

/// A table that both kinds of ledger have.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Table {
    /// Its name.
    pub(crate) name: &'static str,
    /// Columns of the primary key, the first of `columns`.
    pub(crate) key: usize,
    /// Names and types of the columns, without those that triggers fill.
    pub(crate) columns: &'static [(&'static str, Kind)],
}

impl Table {
    /// The primary key of a row.
    pub(crate) fn key_of<'a>(&self, row: &'a [Value]) -> &'a [Value] {
        &row[..self.key]
    }

    /// What follows `ON CONFLICT` when rows are inserted: a client is changed, any other row stays as it is.
    pub(crate) fn on_conflict(&self) -> String {
        if *self != CLIENTS {
            return "DO NOTHING".to_owned();
        }
        let (key, values) = self.columns.split_at(self.key);
        let changes: Vec<_> = values
            .iter()
            .map(|(name, _)| format!("{name} = excluded.{name}"))
            .collect();
        let key = Self::names(key);
        format!("({key}) DO UPDATE SET {}", changes.join(", "))
    }

    /// Names of columns, between commas.
    pub(crate) fn names(columns: &[(&str, Kind)]) -> String {
        let names: Vec<_> = columns.iter().map(|(name, _)| *name).collect();
        names.join(", ")
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// The table of clients, which the others refer to. Its rows are never deleted.
pub(crate) const CLIENTS: Table = Table {
    name: "client",
    key: 1,
    columns: &[
        ("key", Kind::Integer),
        ("id", Kind::Text),
        ("plan", Kind::Text),
        ("created_at", Kind::Integer),
        ("disabled_at", Kind::Integer),
        ("removed_at", Kind::Integer),
    ],
};

/// The table of images.
pub(crate) const IMAGES: Table = Table {
    name: "image",
    key: 1,
    columns: &[
        ("path", Kind::Text),
        ("client", Kind::Integer),
        ("size", Kind::Integer),
        ("width", Kind::Small),
        ("height", Kind::Small),
        ("uploaded_at", Kind::Integer),
        ("expires_at", Kind::Integer),
        ("quarantined_at", Kind::Integer),
        ("quarantined_until", Kind::Integer),
        ("quarantine_reason", Kind::Text),
        ("quarantined_with_client", Kind::Flag),
        ("address", Kind::Bytes),
    ],
};

/// All tables, those that others refer to first. What SQLite has in `meta` and PostgreSQL in `site` is copied by verbs of [`Ledger`].
pub(crate) const TABLES: [Table; 8] = [
    CLIENTS,
    Table {
        name: "token",
        key: 2,
        columns: &[
            ("client", Kind::Integer),
            ("sha256", Kind::Bytes),
            ("created_at", Kind::Integer),
            ("expires_at", Kind::Integer),
            ("name", Kind::Text),
            ("last_used_at", Kind::Integer),
        ],
    },
    Table {
        name: "usage",
        key: 2,
        columns: &[
            ("client", Kind::Integer),
            ("day", Kind::Integer),
            ("uploads", Kind::Integer),
            ("bytes", Kind::Integer),
        ],
    },
    IMAGES,
    Table {
        name: "block",
        key: 1,
        columns: &[
            ("sha256", Kind::Bytes),
            ("blocked_at", Kind::Integer),
            ("reason", Kind::Text),
        ],
    },
    Table {
        name: "purge",
        key: 1,
        columns: &[
            ("path", Kind::Text),
            ("since", Kind::Integer),
            ("attempts", Kind::Integer),
            ("retry_at", Kind::Integer),
        ],
    },
    Table {
        name: "upload_key",
        key: 2,
        columns: &[
            ("client", Kind::Integer),
            ("key", Kind::Bytes),
            ("request", Kind::Bytes),
            ("path", Kind::Text),
            ("uploaded_at", Kind::Integer),
        ],
    },
    Table {
        name: "secret",
        key: 1,
        columns: &[("name", Kind::Text), ("value", Kind::Bytes)],
    },
];

/// A ledger whose rows can be copied. Every verb is atomic.
pub(crate) trait Transfer: Ledger {
    /// At most `limit` rows of a table, in the order of its key, behind the key `after`.
    fn rows(
        &self,
        table: &Table,
        after: Option<&[Value]>,
        limit: u32,
    ) -> Result<Vec<Row>, LedgerError>;

    /// Inserts rows. A client that is there is changed; any other row that is there stays as it is. What clients have stored is counted.
    fn insert_rows(&self, table: &Table, rows: &[Row]) -> Result<(), LedgerError>;

    /// Deletes the rows with the keys of `rows`; one that is not there is no error.
    fn remove_rows(&self, table: &Table, rows: &[Row]) -> Result<(), LedgerError>;
}
