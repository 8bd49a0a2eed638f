//! A table in memory: rows become batches of columns as they come.

use super::columns::{ColumnType, batch, cast, schema, types};
use super::write::{BATCH, TableError};
use crate::job::Record;
use arrow_array::{ArrayRef, RecordBatch, new_null_array};
use arrow_schema::SchemaRef;
use std::collections::HashSet;

/// A table of typed columns, in batches.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    /// The columns.
    pub schema: SchemaRef,
    /// The rows, in order; every batch has this schema.
    pub batches: Vec<RecordBatch>,
}

impl Table {
    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.batches.iter().map(RecordBatch::num_rows).sum()
    }
}

/// Collects rows as a [`Table`].
///
/// The columns are all that any row has, in the order in which they first appear; their types are those that hold all of
/// their values, where they are not given.
#[derive(Debug, Default)]
pub struct TableBatches {
    given: Vec<(String, ColumnType)>,
    times: HashSet<String>,
    rows: Vec<Record>,
    parts: Vec<Part>,
}

/// Rows as they were, before those that follow were known.
#[derive(Debug)]
struct Part {
    /// `None`: nothing but missing values.
    types: Vec<(String, Option<ColumnType>)>,
    batch: RecordBatch,
}

impl TableBatches {
    /// A table without rows. Columns that `times` names hold times of the real calendar where all of their values are such.
    pub fn new(times: impl IntoIterator<Item = String>) -> TableBatches {
        TableBatches { times: times.into_iter().collect(), ..TableBatches::default() }
    }

    /// Says what a column holds, whatever its rows do.
    pub fn set_type(&mut self, column: &str, holds: ColumnType) {
        self.given.push((column.to_owned(), holds));
    }

    /// Adds a row.
    ///
    /// # Errors
    /// A value that its column cannot hold.
    pub fn write(&mut self, row: Record) -> Result<(), TableError> {
        self.rows.push(row);
        if self.rows.len() == BATCH { self.part() } else { Ok(()) }
    }

    fn part(&mut self) -> Result<(), TableError> {
        let types = types(&self.rows, &self.given, &self.times);
        let columns = certain(&types);
        let batch = batch(&columns, &schema(&columns), &self.rows)?;
        self.rows.clear();
        self.parts.push(Part { types, batch });
        Ok(())
    }

    /// Gives the table.
    ///
    /// # Errors
    /// A value that its column cannot hold.
    pub fn finish(mut self) -> Result<Table, TableError> {
        if !self.rows.is_empty() {
            self.part()?;
        }
        let mut types: Vec<(String, Option<ColumnType>)> = Vec::new();
        for (name, of) in self.parts.iter().flat_map(|part| &part.types) {
            match types.iter_mut().find(|known| known.0 == *name) {
                Some(known) => known.1 = known.1.into_iter().chain(*of).reduce(ColumnType::with),
                None => types.push((name.clone(), *of)),
            }
        }
        let columns = certain(&types);
        let schema = schema(&columns);
        let mut batches = Vec::with_capacity(self.parts.len());
        for Part { types, batch } in self.parts {
            if batch.schema() == schema {
                batches.push(RecordBatch::try_new(schema.clone(), batch.columns().to_vec())?);
                continue;
            }
            let column = |(name, to): &(String, ColumnType)| -> Result<ArrayRef, TableError> {
                let Some(at) = types.iter().position(|known| known.0 == *name) else {
                    return Ok(new_null_array(&to.arrow(), batch.num_rows()));
                };
                match types[at].1 {
                    Some(from) if from == *to => Ok(batch.column(at).clone()),
                    Some(from) => cast(name, batch.column(at), from, *to),
                    None => Ok(new_null_array(&to.arrow(), batch.num_rows())),
                }
            };
            let arrays: Result<Vec<ArrayRef>, TableError> = columns.iter().map(column).collect();
            batches.push(RecordBatch::try_new(schema.clone(), arrays?)?);
        }
        Ok(Table { schema, batches })
    }
}

/// Numbers, where all is missing.
fn certain(types: &[(String, Option<ColumnType>)]) -> Vec<(String, ColumnType)> {
    types.iter().map(|(name, of)| (name.clone(), of.unwrap_or(ColumnType::Number))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::Array as _;
    use serde_json::{Value, json};

    /// A table of these rows, with rows of `{"a": 1}` before them that fill a batch.
    fn behind_a_batch(rows: &[Value]) -> Table {
        let mut table = TableBatches::new(["time".to_owned()]);
        let first = json!({"a": 1});
        for row in std::iter::repeat_n(&first, BATCH).chain(rows) {
            table.write(row.as_object().unwrap().clone()).unwrap();
        }
        table.finish().unwrap()
    }

    /// The first and the last value of each column, as they are shown.
    fn ends(table: &Table) -> Vec<String> {
        let end =
            |array: ArrayRef| format!("{array:?}").lines().nth(2).unwrap().trim().trim_end_matches(',').to_owned();
        let column = |(i, field): (usize, &std::sync::Arc<arrow_schema::Field>)| {
            let (first, last) = (table.batches.first().unwrap().column(i), table.batches.last().unwrap().column(i));
            let (first, last) = (end(first.slice(0, 1)), end(last.slice(last.len() - 1, 1)));
            format!("{} {}: {first} {last}", field.name(), field.data_type())
        };
        table.schema.fields().iter().enumerate().map(column).collect()
    }

    #[test]
    fn a_column_takes_the_type_that_holds_all_of_its_values() {
        assert_eq!(ends(&behind_a_batch(&[json!({"a": 2})])), ["a Int64: 1 2"]);
        assert_eq!(ends(&behind_a_batch(&[json!({"a": 0.5})])), ["a Float64: 1.0 0.5"]);
        assert_eq!(ends(&behind_a_batch(&[json!({"a": "b"})])), [r#"a Utf8: "1" "b""#]);
        assert_eq!(ends(&behind_a_batch(&[json!({"a": "inf"})])), ["a Float64: 1.0 inf"]);
        assert_eq!(ends(&behind_a_batch(&[json!({"a": null})])), ["a Int64: 1 null"]);
    }

    #[test]
    fn a_column_that_appears_later_is_missing_before() {
        assert_eq!(ends(&behind_a_batch(&[json!({"b": true})])), ["a Int64: 1 null", "b Boolean: null true"]);
        let time = json!({"a": 1, "time": "2024-05-01"});
        assert_eq!(ends(&behind_a_batch(&[time]))[1], "time Timestamp(µs): null 2024-05-01T00:00:00");
    }

    #[test]
    fn a_given_type_stays() {
        let mut table = TableBatches::default();
        table.set_type("n", ColumnType::Count);
        table.write(json!({"n": 3}).as_object().unwrap().clone()).unwrap();
        assert_eq!(ends(&table.finish().unwrap()), ["n UInt64: 3 3"]);
        let mut table = TableBatches::default();
        table.set_type("n", ColumnType::Count);
        table.write(json!({"n": -3}).as_object().unwrap().clone()).unwrap();
        assert!(table.finish().is_err());
    }

    #[test]
    fn a_table_without_rows_has_no_batches() {
        let table = TableBatches::default().finish().unwrap();
        assert_eq!((table.rows(), table.batches.len()), (0, 0));
    }
}
