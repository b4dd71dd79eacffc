//! Reads a usage from its stored form.

use rusqlite::Row;
use rusqlite::types::Type;
use wasmill_model::Usage;
use wasmill_store::stored::usage;

/// Reads a usage from a column.
pub(crate) fn read(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Usage>> {
    let Some(text) = row.get_ref(column)?.as_str_or_null()? else { return Ok(None) };
    usage::parse(text).map(Some).ok_or_else(|| {
        let error = format!("{text} is no usage");
        rusqlite::Error::FromSqlConversionFailure(column, Type::Text, error.into())
    })
}
