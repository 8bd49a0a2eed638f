//! A table to who calls, in columns.

use super::Record;
use crate::call;
use crate::failed::Failed;
use chunkwise::table::{ColumnType, TableBatches};
use serde_json::Value;

/// Bytes that a cell takes: a number, or a short text.
const CELL: u64 = 24;
/// Bytes that it takes until the rows of a batch are columns, and rows of a batch.
const LOOSE_CELL: u64 = 200;
const BATCH: u64 = 8192;

/// Bytes of a table of so many rows and columns.
pub(crate) fn caller_bytes(rows: u64, columns: u64) -> u64 {
    let loose = rows.min(BATCH).saturating_mul(LOOSE_CELL);
    rows.saturating_mul(CELL).saturating_add(loose).saturating_mul(columns)
}

/// A table to who calls, in the making.
pub(crate) struct CallerTable<'a> {
    rows: TableBatches,
    times: &'a [String],
}

impl CallerTable<'_> {
    /// A table in which columns may hold times.
    pub(crate) fn new(times: &[String]) -> CallerTable<'_> {
        CallerTable { rows: TableBatches::new(times.iter().cloned()), times }
    }

    /// Says which values a column will hold, where they are known before its rows.
    pub(crate) fn holds<'a>(&mut self, column: &str, values: impl Iterator<Item = &'a Value>) {
        if !self.times.iter().any(|t| t == column) {
            self.rows.set_type(column, ColumnType::of(values));
        }
    }

    /// Says that a column holds counts.
    pub(crate) fn counts(&mut self, column: &str) {
        self.rows.set_type(column, ColumnType::Count);
    }

    /// Adds a row.
    ///
    /// # Errors
    /// A value that its column cannot hold.
    pub(crate) fn write(&mut self, record: Record) -> Result<(), Failed> {
        self.rows.write(record).map_err(Failed::of)
    }

    /// Gives the table to who calls.
    ///
    /// # Errors
    /// As [`CallerTable::write`].
    pub(crate) fn finish(self) -> Result<(), Failed> {
        let table = self.rows.finish().map_err(Failed::of)?;
        call::here(|call| call.answer.borrow_mut().table = Some(table));
        Ok(())
    }
}
