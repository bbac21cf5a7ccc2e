//! Rows as they are, for copies of the ledger.

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, ToSql, params_from_iter};

use super::SqliteLedger;
use crate::ledger::LedgerError;
use crate::ledger::transfer::{Row, Table, Transfer, Value};

impl Transfer for SqliteLedger {
    fn rows(
        &self,
        table: &Table,
        after: Option<&[Value]>,
        limit: u32,
    ) -> Result<Vec<Row>, LedgerError> {
        let key = Table::names(&table.columns[..table.key]);
        let condition = match after {
            Some(_) => format!("WHERE ({key}) > ({})", places(table.key)),
            None => String::new(),
        };
        let sql = format!(
            "SELECT {} FROM {table} {condition} ORDER BY {key} LIMIT {limit}",
            Table::names(table.columns)
        );
        self.read(|connection| {
            let mut select = connection.prepare_cached(&sql)?;
            let mut found = select.query(params_from_iter(after.unwrap_or_default()))?;
            let mut rows = Vec::new();
            while let Some(row) = found.next()? {
                let value = |column| row.get_ref(column).map(value_of);
                rows.push(
                    (0..table.columns.len())
                        .map(value)
                        .collect::<Result<_, _>>()?,
                );
            }
            Ok(rows)
        })
    }

    fn insert_rows(&self, table: &Table, rows: &[Row]) -> Result<(), LedgerError> {
        let sql = format!(
            "INSERT INTO {table} ({}) VALUES ({}) ON CONFLICT {}",
            Table::names(table.columns),
            places(table.columns.len()),
            table.on_conflict()
        );
        self.write(|connection| execute(connection, &sql, rows.iter().map(Vec::as_slice)))
    }

    fn remove_rows(&self, table: &Table, rows: &[Row]) -> Result<(), LedgerError> {
        let key = Table::names(&table.columns[..table.key]);
        let sql = format!(
            "DELETE FROM {table} WHERE ({key}) = ({})",
            places(table.key)
        );
        self.write(|connection| execute(connection, &sql, rows.iter().map(|row| table.key_of(row))))
    }
}

fn execute<'a>(
    connection: &Connection,
    sql: &str,
    rows: impl Iterator<Item = &'a [Value]>,
) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(sql)?;
    for row in rows {
        statement.execute(params_from_iter(row))?;
    }
    Ok(())
}

/// `?, ?, ?`
fn places(count: usize) -> String {
    vec!["?"; count].join(", ")
}

fn value_of(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Integer(number) => Value::Integer(number),
        ValueRef::Text(text) => Value::Text(String::from_utf8_lossy(text).into_owned()),
        ValueRef::Blob(bytes) => Value::Bytes(bytes.to_vec()),
        // The tables are STRICT, and have no column of that type.
        ValueRef::Null | ValueRef::Real(_) => Value::Null,
    }
}

impl ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null => ValueRef::Null,
            Self::Integer(number) => ValueRef::Integer(*number),
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
            Self::Bytes(bytes) => ValueRef::Blob(bytes),
        }))
    }
}
