//! Rows as they are, for copies of the ledger.

use std::sync::Arc;
use std::time::Duration;

use super::PostgresLedger;
use super::pool::Pool;
use super::statement::{Parameter, Statement, Value as _, get};
use crate::ledger::LedgerError;
use crate::ledger::transfer::{CLIENTS, Kind, Row, Table, Transfer, Value};

/// How long reading or writing one page of rows may take.
const DEADLINE: Duration = Duration::from_mins(1);

impl Transfer for PostgresLedger {
    fn rows(
        &self,
        table: &Table,
        after: Option<&[Value]>,
        limit: u32,
    ) -> Result<Vec<Row>, LedgerError> {
        let columns: Vec<_> = table.columns.iter().map(selected).collect();
        let key = &table.columns[..table.key];
        let order: Vec<_> = key.iter().map(ordered).collect();
        let order = order.join(", ");
        let condition = match after {
            Some(_) => format!("WHERE ({order}) > ({})", places(table.key)),
            None => String::new(),
        };
        let sql = format!(
            "SELECT {} FROM corenexis.{table} {condition} ORDER BY {order} LIMIT {limit}",
            columns.join(", ")
        );
        let parameters = || after.unwrap_or_default().iter().map(scalar).collect();
        let found = run(&self.pool, &sql, parameters)?;
        found.iter().map(|row| read(table, row)).collect()
    }

    fn insert_rows(&self, table: &Table, rows: &[Row]) -> Result<(), LedgerError> {
        let names = Table::names(table.columns);
        let values: Vec<_> = table.columns.iter().map(inserted).collect();
        let sql = format!(
            "INSERT INTO corenexis.{table} ({names}) SELECT {} FROM unnest({}) WITH ORDINALITY AS new ({names}, number) ORDER BY number
             ON CONFLICT {}",
            values.join(", "),
            places(table.columns.len()),
            table.on_conflict(),
        );
        run(&self.pool, &sql, || arrays(table.columns, rows))?;
        if *table == CLIENTS {
            // The next client that is added gets a key behind them.
            const NEXT: &str = "SELECT setval(pg_get_serial_sequence('corenexis.client', 'key'), max(key)) FROM corenexis.client";
            run(&self.pool, NEXT, Vec::new)?;
        }
        Ok(())
    }

    fn remove_rows(&self, table: &Table, rows: &[Row]) -> Result<(), LedgerError> {
        let key = &table.columns[..table.key];
        let sql = format!(
            "DELETE FROM corenexis.{table} WHERE ({}) IN (SELECT * FROM unnest({}))",
            Table::names(key),
            places(table.key),
        );
        run(&self.pool, &sql, || arrays(key, rows)).map(drop)
    }
}

/// Carries out a statement that does no harm the second time.
fn run(
    pool: &Pool,
    sql: &str,
    parameters: impl Fn() -> Vec<Parameter>,
) -> Result<Vec<postgres::Row>, LedgerError> {
    pool.repeat(DEADLINE, |until, _| {
        let statement = Arc::new(Statement::new(sql.to_owned(), parameters()));
        pool.take(until)?.query(&statement, until)
    })
}

fn selected(&(name, kind): &(&str, Kind)) -> String {
    match kind {
        Kind::Small => format!("{name}::bigint"),
        Kind::Flag => format!("{name}::integer::bigint"),
        Kind::Integer | Kind::Text | Kind::Bytes => name.to_owned(),
    }
}

/// Text of a key has the order of its bytes, as in SQLite.
fn ordered(&(name, kind): &(&str, Kind)) -> String {
    match kind {
        Kind::Text => format!("{name} COLLATE \"C\""),
        _ => name.to_owned(),
    }
}

fn inserted(&(name, kind): &(&str, Kind)) -> String {
    match kind {
        Kind::Small => format!("new.{name}::integer"),
        Kind::Flag => format!("new.{name} <> 0"),
        Kind::Integer | Kind::Text | Kind::Bytes => format!("new.{name}"),
    }
}

/// `$1, $2, $3`
fn places(count: usize) -> String {
    let places: Vec<_> = (1..=count).map(|number| format!("${number}")).collect();
    places.join(", ")
}

fn scalar(value: &Value) -> Parameter {
    match value {
        Value::Null => None::<i64>.parameter(),
        Value::Integer(number) => number.parameter(),
        Value::Text(text) => text.clone().parameter(),
        Value::Bytes(bytes) => bytes.clone().parameter(),
    }
}

/// The values of each column as an array.
fn arrays(columns: &[(&str, Kind)], rows: &[Row]) -> Vec<Parameter> {
    let array = |(at, (_, kind)): (usize, &(&str, Kind))| match kind {
        Kind::Integer | Kind::Small | Kind::Flag => rows
            .iter()
            .map(|row| match row[at] {
                Value::Integer(number) => Some(number),
                _ => None,
            })
            .collect::<Vec<Option<i64>>>()
            .parameter(),
        Kind::Text => rows
            .iter()
            .map(|row| match &row[at] {
                Value::Text(text) => Some(text.clone()),
                _ => None,
            })
            .collect::<Vec<Option<String>>>()
            .parameter(),
        Kind::Bytes => rows
            .iter()
            .map(|row| match &row[at] {
                Value::Bytes(bytes) => Some(bytes.clone()),
                _ => None,
            })
            .collect::<Vec<Option<Vec<u8>>>>()
            .parameter(),
    };
    columns.iter().enumerate().map(array).collect()
}

fn read(table: &Table, row: &postgres::Row) -> Result<Row, LedgerError> {
    let value = |(at, (_, kind)): (usize, &(&str, Kind))| {
        Ok(match kind {
            Kind::Integer | Kind::Small | Kind::Flag => {
                get::<Option<i64>>(row, at)?.map(Value::Integer)
            }
            Kind::Text => get::<Option<String>>(row, at)?.map(Value::Text),
            Kind::Bytes => get::<Option<Vec<u8>>>(row, at)?.map(Value::Bytes),
        }
        .unwrap_or(Value::Null))
    };
    table.columns.iter().enumerate().map(value).collect()
}
