//! GeoParquet 1.0 and 1.1: the primary column, in WKB; and plain tables, whose rows have no geometry.

use super::{Feature, Layer, VectorError};
use crate::error::BoxError;
use arrow_array::cast::AsArray as _;
use arrow_array::types::{
    Date32Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type, UInt32Type,
    UInt64Type,
};
use arrow_array::{Array, RecordBatch};
use arrow_schema::{DataType, TimeUnit};
use chunkwise_core::cf::time::{Calendar, DAY, format_time};
use chunkwise_core::crs::Crs;
use geo_types::Geometry;
use geozero::ToGeo as _;
use geozero::wkb::Wkb;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::{Map, Value};
use std::fs::File;

/// What GeoParquet says of itself.
struct Geo {
    column: String,
    crs: Option<Crs>,
}

pub(super) fn read(path: &str) -> Result<Layer, VectorError> {
    all(path).map_err(|source| VectorError::Read { path: path.to_owned(), source })
}

fn all(path: &str) -> Result<Layer, BoxError> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(path)?)?;
    let metadata = reader.metadata().file_metadata().key_value_metadata();
    let geo = metadata.and_then(|pairs| pairs.iter().find(|pair| pair.key == "geo")?.value.as_deref());
    let geo = geo.map(about).transpose()?;
    let mut layer = Layer { features: Vec::new(), crs: geo.as_ref().and_then(|g| g.crs.clone()) };
    for batch in reader.build()? {
        features(&batch?, geo.as_ref().map(|g| g.column.as_str()), &mut layer.features)?;
    }
    Ok(layer)
}

/// The metadata `geo`: without a `crs` longitudes and latitudes, where it is null not known.
fn about(text: &str) -> Result<Geo, BoxError> {
    let geo: Value = serde_json::from_str(text)?;
    let column = geo.get("primary_column").and_then(Value::as_str).unwrap_or("geometry").to_owned();
    let of = geo.get("columns").and_then(|c| c.get(&column));
    let encoding = of.and_then(|c| c.get("encoding")).and_then(Value::as_str).unwrap_or("WKB");
    if !encoding.eq_ignore_ascii_case("WKB") {
        return Err(format!("its column `{column}` is encoded as `{encoding}`; WKB is read").into());
    }
    let crs = match of.and_then(|c| c.get("crs")) {
        None => Some(Crs::parse("EPSG:4326")?),
        Some(Value::Null) => None,
        Some(said) => Some(described(said)?),
    };
    Ok(Geo { column, crs })
}

fn described(projjson: &Value) -> Result<Crs, BoxError> {
    let id = projjson.get("id");
    let authority = id.and_then(|id| id.get("authority")).and_then(Value::as_str);
    let code = id.and_then(|id| id.get("code"));
    if authority == Some("OGC") && code.and_then(Value::as_str) == Some("CRS84") {
        return Ok(Crs::parse("EPSG:4326")?);
    }
    let number = code.and_then(|c| c.as_i64().or_else(|| c.as_str()?.parse().ok())).unwrap_or(0);
    let text = projjson.to_string();
    let found = super::crs_of(authority, number, Some(&text))?;
    found.ok_or_else(|| "its CRS is empty".into())
}

fn features(batch: &RecordBatch, geometry: Option<&str>, features: &mut Vec<Feature>) -> Result<(), BoxError> {
    let first = features.len();
    features.resize_with(first + batch.num_rows(), Feature::default);
    let rows = &mut features[first..];
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
        if geometry == Some(field.name().as_str()) {
            for (i, row) in rows.iter_mut().enumerate().filter(|(i, _)| column.is_valid(*i)) {
                row.geometry = Some(located(column, i)?);
            }
        } else {
            for (i, row) in rows.iter_mut().enumerate() {
                let properties: &mut Map<String, Value> = &mut row.properties;
                properties.insert(field.name().clone(), value(column, i));
            }
        }
    }
    match geometry.filter(|name| batch.schema().column_with_name(name).is_none()) {
        Some(name) => Err(format!("it has no column `{name}`, which is to hold its geometries").into()),
        None => Ok(()),
    }
}

fn located(column: &dyn Array, i: usize) -> Result<Geometry, BoxError> {
    let bytes = match column.data_type() {
        DataType::Binary => column.as_binary::<i32>().value(i),
        DataType::LargeBinary => column.as_binary::<i64>().value(i),
        DataType::BinaryView => column.as_binary_view().value(i),
        other => return Err(format!("its geometries are stored as {other}; WKB is read").into()),
    };
    Ok(Wkb(bytes.to_vec()).to_geo()?)
}

/// A cell as JSON; what has no such form is null.
fn value(column: &dyn Array, i: usize) -> Value {
    if !column.is_valid(i) {
        return Value::Null;
    }
    macro_rules! number {
        ($kind:ty) => {
            column.as_primitive::<$kind>().value(i).into()
        };
    }
    let time = |nanos: i128| format_time(nanos, Calendar::ProlepticGregorian, true).into();
    match column.data_type() {
        DataType::Boolean => column.as_boolean().value(i).into(),
        DataType::Int8 => number!(Int8Type),
        DataType::Int16 => number!(Int16Type),
        DataType::Int32 => number!(Int32Type),
        DataType::Int64 => number!(Int64Type),
        DataType::UInt8 => number!(UInt8Type),
        DataType::UInt16 => number!(UInt16Type),
        DataType::UInt32 => number!(UInt32Type),
        DataType::UInt64 => number!(UInt64Type),
        DataType::Float32 => number!(Float32Type),
        DataType::Float64 => number!(Float64Type),
        DataType::Utf8 => column.as_string::<i32>().value(i).into(),
        DataType::LargeUtf8 => column.as_string::<i64>().value(i).into(),
        DataType::Utf8View => column.as_string_view().value(i).into(),
        DataType::Date32 => time(i128::from(column.as_primitive::<Date32Type>().value(i)) * DAY),
        DataType::Timestamp(unit, _) => time(match unit {
            TimeUnit::Second => i128::from(column.as_primitive::<TimestampSecondType>().value(i)) * 1_000_000_000,
            TimeUnit::Millisecond => i128::from(column.as_primitive::<TimestampMillisecondType>().value(i)) * 1_000_000,
            TimeUnit::Microsecond => i128::from(column.as_primitive::<TimestampMicrosecondType>().value(i)) * 1000,
            TimeUnit::Nanosecond => column.as_primitive::<TimestampNanosecondType>().value(i).into(),
        }),
        DataType::Dictionary(..) => match column.as_any_dictionary_opt() {
            Some(words) => value(words.values(), words.normalized_keys()[i]),
            None => Value::Null,
        },
        _ => Value::Null,
    }
}
