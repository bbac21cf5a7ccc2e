//! One statement with its parameters, and how rows are read.
//!
//! Every verb of the ledger is one statement, sent with the types of its parameters in one round trip. Nothing is prepared under a name,
//! which a pooler in transaction mode would not find again.

use std::borrow::Cow;

use postgres::Row;
use postgres::types::{FromSql, ToSql, Type};

use crate::image_path::ImagePath;
use crate::ledger::LedgerError;

/// A statement that can be sent more than once.
#[derive(Debug)]
pub(super) struct Statement {
    pub(super) sql: Cow<'static, str>,
    /// `None` for several statements, which have neither parameters nor rows.
    pub(super) parameters: Option<Vec<Parameter>>,
}

/// The value of `$1`, `$2` …, with its type.
pub(super) type Parameter = (Box<dyn ToSql + Sync + Send>, Type);

impl Statement {
    pub(super) fn new(sql: impl Into<Cow<'static, str>>, parameters: Vec<Parameter>) -> Self {
        Self {
            sql: sql.into(),
            parameters: Some(parameters),
        }
    }

    /// Several statements, whose rows are not needed.
    pub(super) const fn several(sql: &'static str) -> Self {
        Self {
            sql: Cow::Borrowed(sql),
            parameters: None,
        }
    }
}

/// A value that can be a parameter.
pub(super) trait Value: ToSql + Sync + Send + Sized + 'static {
    /// The type that the server reads it as.
    const TYPE: Type;

    /// The parameter.
    fn parameter(self) -> Parameter {
        (Box::new(self), Self::TYPE)
    }
}

macro_rules! values {
    ($($value:ty: $type:ident,)*) => {
        $(impl Value for $value {
            const TYPE: Type = Type::$type;
        })*
    };
}

values! {
    bool: BOOL,
    Option<bool>: BOOL,
    i64: INT8,
    Option<i64>: INT8,
    String: TEXT,
    Option<String>: TEXT,
    Vec<u8>: BYTEA,
    Vec<i32>: INT4_ARRAY,
    Vec<i64>: INT8_ARRAY,
    Option<Vec<i64>>: INT8_ARRAY,
    Vec<Option<i64>>: INT8_ARRAY,
    Vec<String>: TEXT_ARRAY,
    Vec<Option<String>>: TEXT_ARRAY,
    Vec<Vec<u8>>: BYTEA_ARRAY,
    Vec<Option<Vec<u8>>>: BYTEA_ARRAY,
}

/// The parameters of a statement, in their order.
macro_rules! parameters {
    ($($value:expr),* $(,)?) => {
        vec![$($crate::ledger::postgres::statement::Value::parameter($value)),*]
    };
}
pub(super) use parameters;

/// Text as a parameter. PostgreSQL's text has no NUL, which a request may send: it is replaced, and nothing in the ledger has what
/// replaces it.
pub(super) fn text(text: &str) -> String {
    text.replace('\0', "\u{FFFD}")
}

/// Paths as a parameter.
pub(super) fn texts<'a>(paths: impl IntoIterator<Item = &'a ImagePath>) -> Vec<String> {
    let text = |path: &ImagePath| path.as_str().to_owned();
    paths.into_iter().map(text).collect()
}

/// One value of each item, as a parameter.
pub(super) fn column<I, T>(items: &[I], value: impl FnMut(&I) -> T) -> Vec<T> {
    items.iter().map(value).collect()
}

/// A count as a parameter: PostgreSQL's integers are signed.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Pixels as a parameter.
pub(super) fn pixels(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

/// The value of a column, by its number from 0.
pub(super) fn get<'a, T: FromSql<'a>>(row: &'a Row, column: usize) -> Result<T, LedgerError> {
    row.try_get(column)
        .map_err(|error| LedgerError::Failed(format!("the ledger is damaged: {error}")))
}

/// A count. `verify` finds one that is damaged and negative.
pub(super) fn count(row: &Row, column: usize) -> Result<u64, LedgerError> {
    Ok(u64::try_from(get::<i64>(row, column)?).unwrap_or(0))
}

/// A count that is small.
pub(super) fn small<T: TryFrom<i64> + Default>(row: &Row, column: usize) -> Result<T, LedgerError> {
    Ok(T::try_from(get::<i64>(row, column)?).unwrap_or_default())
}

/// A value of `N` bytes.
pub(super) fn bytes<const N: usize>(row: &Row, column: usize) -> Result<[u8; N], LedgerError> {
    let bytes: &[u8] = get(row, column)?;
    bytes.try_into().map_err(|_| {
        LedgerError::Failed(format!(
            "the ledger is damaged: {} bytes instead of {N}",
            bytes.len()
        ))
    })
}

/// A path, which is checked before it reaches the file system.
pub(super) fn path(row: &Row, column: usize) -> Result<ImagePath, LedgerError> {
    let text: &str = get(row, column)?;
    text.parse()
        .map_err(|error| LedgerError::Failed(format!("the ledger is damaged: {text:?}: {error}")))
}

/// The only row of a statement that has one.
pub(super) fn only(rows: Vec<Row>) -> Result<Row, LedgerError> {
    rows.into_iter()
        .next()
        .ok_or_else(|| LedgerError::Failed("the ledger gave no row".to_owned()))
}
