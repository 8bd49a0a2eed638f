//! From rows of JSON values to columns of one type each.

use super::write::TableError;
use crate::job::{Record, number};
use arrow_array::builder::{
    BooleanBuilder, Float64Builder, Int64Builder, StringBuilder, TimestampMicrosecondBuilder, UInt64Builder,
};
use arrow_array::cast::AsArray as _;
use arrow_array::types::{Float64Type, Int64Type, TimestampMicrosecondType, UInt64Type};
use arrow_array::{Array as _, ArrayRef, RecordBatch};
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use chunkwise_core::cf::time::{Calendar, format_time, parse_partial};
use serde_json::Value;
use std::collections::HashSet;
use std::sync::Arc;

/// What a column holds; any cell may be missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnType {
    /// `true` and `false`.
    Boolean,
    /// Whole numbers of 64 bits with a sign.
    Integer,
    /// Whole numbers of 64 bits without a sign.
    Count,
    /// Numbers of 64 bits.
    Number,
    /// Text.
    Text,
    /// Times of the real calendar, in microseconds, without a zone.
    Time,
}

impl ColumnType {
    /// The type that holds all of `values`; numbers where all are missing.
    pub fn of<'a>(values: impl Iterator<Item = &'a Value>) -> ColumnType {
        ColumnType::found(values).unwrap_or(ColumnType::Number)
    }

    /// The same; `None` where all are missing.
    fn found<'a>(values: impl Iterator<Item = &'a Value>) -> Option<ColumnType> {
        values.filter(|v| !v.is_null()).map(own).reduce(ColumnType::with)
    }

    /// The type that holds what either does.
    pub(super) fn with(self, other: ColumnType) -> ColumnType {
        use ColumnType::{Integer, Number, Text};
        match (self, other) {
            (one, other) if one == other => one,
            (Integer, Number) | (Number, Integer) => Number,
            _ => Text,
        }
    }

    pub(super) fn arrow(self) -> DataType {
        match self {
            ColumnType::Boolean => DataType::Boolean,
            ColumnType::Integer => DataType::Int64,
            ColumnType::Count => DataType::UInt64,
            ColumnType::Number => DataType::Float64,
            ColumnType::Text => DataType::Utf8,
            ColumnType::Time => DataType::Timestamp(TimeUnit::Microsecond, None),
        }
    }

    fn name(self) -> &'static str {
        match self {
            ColumnType::Boolean => "true and false",
            ColumnType::Integer => "whole numbers",
            ColumnType::Count => "counts",
            ColumnType::Number => "numbers",
            ColumnType::Text => "text",
            ColumnType::Time => "times",
        }
    }
}

fn own(value: &Value) -> ColumnType {
    match value {
        Value::Bool(_) => ColumnType::Boolean,
        Value::Number(n) if n.is_i64() => ColumnType::Integer,
        Value::Number(_) => ColumnType::Number,
        // As tables of text write what no JSON number is.
        Value::String(text) if infinite(text).is_some() => ColumnType::Number,
        _ => ColumnType::Text,
    }
}

fn infinite(text: &str) -> Option<f64> {
    match text {
        "inf" => Some(f64::INFINITY),
        "-inf" => Some(f64::NEG_INFINITY),
        _ => None,
    }
}

/// Microseconds since 1970, where `text` is such a time.
pub(super) fn microseconds(text: &str) -> Option<i64> {
    let nanos = parse_partial(text, Calendar::ProlepticGregorian).ok()?.first;
    (nanos % 1000 == 0).then(|| i64::try_from(nanos / 1000).ok()).flatten()
}

pub(super) fn schema(columns: &[(String, ColumnType)]) -> SchemaRef {
    let field = |(name, of): &(String, ColumnType)| Field::new(name, of.arrow(), true);
    Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()))
}

/// The columns of rows, in the order in which they first appear; `None`: all values are missing.
///
/// Types are `given`, or are found from the values; those of `times` hold times where all of their values are such.
pub(super) fn types(
    rows: &[Record],
    given: &[(String, ColumnType)],
    times: &HashSet<String>,
) -> Vec<(String, Option<ColumnType>)> {
    let mut names: Vec<&String> = Vec::new();
    for name in rows.iter().flat_map(Record::keys) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let type_of = |name: &String| -> Option<ColumnType> {
        if let Some((_, given)) = given.iter().find(|t| t.0 == *name) {
            return Some(*given);
        }
        let mut values = rows.iter().filter_map(|row| row.get(name)).filter(|v| !v.is_null());
        let are_times =
            times.contains(name) && values.clone().all(|v| v.as_str().is_some_and(|text| microseconds(text).is_some()));
        if are_times { Some(ColumnType::Time) } else { ColumnType::found(&mut values) }
    };
    names.into_iter().map(|name| (name.clone(), type_of(name))).collect()
}

/// Rows as a batch.
///
/// # Errors
/// A value that its column does not hold.
pub(super) fn batch(
    columns: &[(String, ColumnType)],
    schema: &SchemaRef,
    rows: &[Record],
) -> Result<RecordBatch, TableError> {
    let arrays: Result<Vec<ArrayRef>, TableError> = columns
        .iter()
        .map(|(name, of)| {
            let cells = rows.iter().map(|row| row.get(name).filter(|v| !v.is_null()));
            array(*of, cells).map_err(|value| TableError::Value { column: name.clone(), holds: of.name(), value })
        })
        .collect();
    Ok(RecordBatch::try_new(schema.clone(), arrays?)?)
}

/// One column; or the value that it does not hold.
fn array<'a>(of: ColumnType, cells: impl Iterator<Item = Option<&'a Value>>) -> Result<ArrayRef, String> {
    macro_rules! column {
        ($builder:expr, $read:expr) => {{
            let mut builder = $builder;
            for cell in cells {
                match cell {
                    None => builder.append_null(),
                    Some(value) => builder.append_value($read(value).ok_or_else(|| value.to_string())?),
                }
            }
            Arc::new(builder.finish()) as ArrayRef
        }};
    }
    let number = |v: &Value| v.as_f64().or_else(|| infinite(v.as_str()?));
    let text = |v: &Value| Some(v.as_str().map_or_else(|| v.to_string(), str::to_owned));
    Ok(match of {
        ColumnType::Boolean => column!(BooleanBuilder::new(), Value::as_bool),
        ColumnType::Integer => column!(Int64Builder::new(), Value::as_i64),
        ColumnType::Count => column!(UInt64Builder::new(), Value::as_u64),
        ColumnType::Number => column!(Float64Builder::new(), number),
        ColumnType::Text => column!(StringBuilder::new(), text),
        ColumnType::Time => column!(TimestampMicrosecondBuilder::new(), |v: &Value| microseconds(v.as_str()?)),
    })
}

/// The column `name` as one of another type, which holds all of its values.
///
/// # Errors
/// It does not.
pub(super) fn cast(name: &str, column: &ArrayRef, from: ColumnType, to: ColumnType) -> Result<ArrayRef, TableError> {
    let value = |i: usize| -> Value {
        match from {
            ColumnType::Boolean => column.as_boolean().value(i).into(),
            ColumnType::Integer => column.as_primitive::<Int64Type>().value(i).into(),
            ColumnType::Count => column.as_primitive::<UInt64Type>().value(i).into(),
            ColumnType::Number => number(column.as_primitive::<Float64Type>().value(i)),
            ColumnType::Text => column.as_string::<i32>().value(i).into(),
            ColumnType::Time => {
                let nanos = i128::from(column.as_primitive::<TimestampMicrosecondType>().value(i)) * 1000;
                format_time(nanos, Calendar::ProlepticGregorian, true).into()
            }
        }
    };
    let values: Vec<Option<Value>> = (0..column.len()).map(|i| column.is_valid(i).then(|| value(i))).collect();
    array(to, values.iter().map(Option::as_ref)).map_err(|value| TableError::Value {
        column: name.to_owned(),
        holds: to.name(),
        value,
    })
}
