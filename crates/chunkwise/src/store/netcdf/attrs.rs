//! Attributes of NetCDF as JSON.

use hdf5_reader::Attribute;
use netcdf_reader::NcMetadataMode;
use netcdf_reader::nc4::attributes::{convert_visible_attribute, is_internal_attribute};
use netcdf_reader::types::{NcAttrValue, NcAttribute};
use serde_json::{Map, Value};

/// Attributes without which values mean something else.
const MEANING: [&str; 10] = [
    "scale_factor",
    "add_offset",
    "_FillValue",
    "missing_value",
    "_Unsigned",
    "units",
    "calendar",
    "valid_min",
    "valid_max",
    "valid_range",
];

/// Attributes of an HDF5 object; and the name of one that changes what values mean and cannot be read. Others of types that NetCDF does not
/// have are left out.
pub(super) fn of_attributes(attributes: &[Attribute]) -> (Map<String, Value>, Option<String>) {
    let (mut map, mut unread) = (Map::new(), None);
    for attribute in attributes.iter().filter(|a| !is_internal_attribute(&a.name)) {
        let value = convert_visible_attribute(attribute, NcMetadataMode::Strict);
        match value.ok().flatten().and_then(|attribute| json(&attribute.value)) {
            Some(value) => {
                map.insert(attribute.name.clone(), value);
            }
            None if MEANING.contains(&attribute.name.as_str()) => unread = Some(attribute.name.clone()),
            None => {}
        }
    }
    (map, unread)
}

/// Attributes of a classic file.
pub(super) fn of_classic(attributes: &[NcAttribute]) -> Map<String, Value> {
    attributes.iter().filter_map(|a| Some((a.name.clone(), json(&a.value)?))).collect()
}

/// One value as itself, several as a list.
fn json(value: &NcAttrValue) -> Option<Value> {
    fn some<T: Copy>(values: &[T], one: impl Fn(T) -> Value) -> Value {
        match values {
            [single] => one(*single),
            many => many.iter().map(|&v| one(v)).collect(),
        }
    }
    Some(match value {
        NcAttrValue::Bytes(v) => some(v, Value::from),
        NcAttrValue::UBytes(v) => some(v, Value::from),
        NcAttrValue::Shorts(v) => some(v, Value::from),
        NcAttrValue::UShorts(v) => some(v, Value::from),
        NcAttrValue::Ints(v) => some(v, Value::from),
        NcAttrValue::UInts(v) => some(v, Value::from),
        NcAttrValue::Int64s(v) => some(v, Value::from),
        NcAttrValue::UInt64s(v) => some(v, Value::from),
        NcAttrValue::Floats(v) => some(v, |v| float(v.into())),
        NcAttrValue::Doubles(v) => some(v, float),
        NcAttrValue::Chars(text) => Value::from(text.trim_end_matches('\0')),
        NcAttrValue::Strings(texts) => match texts.as_slice() {
            [] => Value::from(""),
            [one] => Value::from(one.trim_end_matches('\0')),
            many => many.iter().map(|text| text.trim_end_matches('\0')).collect(),
        },
        NcAttrValue::UserDefined { .. } => return None,
    })
}

/// A float of any value: JSON has no `NaN`.
fn float(value: f64) -> Value {
    match value {
        v if v.is_nan() => Value::from("NaN"),
        v if v.is_infinite() => Value::from(if v > 0.0 { "Infinity" } else { "-Infinity" }),
        v => Value::from(v),
    }
}
