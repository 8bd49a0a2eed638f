//! Attributes of results.

use super::{OutputType, Statistic};
use crate::cf::time::is_time_units;
use crate::cube::Attrs;
use crate::dtype::{DType, Scalar};
use base64::Engine as _;
use serde_json::{Number, Value};

/// Attributes that say how stored values are to be read: they go where values are no longer stored so.
const PACKING: [&str; 4] = ["scale_factor", "add_offset", "_Unsigned", "missing_value"];
/// Attributes in stored units that hold for the source's values, and for each of them.
const RANGES: [&str; 3] = ["valid_min", "valid_max", "valid_range"];
/// Attributes of a storage, or of all values taken together: never true of a result.
const NEVER: [&str; 5] = ["_FillValue", "actual_range", "_ARRAY_DIMENSIONS", "_Netcdf4Dimid", "_ChunkSizes"];

/// Attributes of the result of a statistic over the dimensions `over` of a variable called `name`.
///
/// Statistics that keep values keep packing, range and flags; the others drop `scale_factor add_offset _Unsigned
/// missing_value valid_* flag_*`, and all drop `actual_range`. The missing mark is not among them: `_FillValue` is
/// written from [`OutputType::missing`], which knows type and Zarr version; packing is kept only where `output` keeps it
/// ([`set_packing`] runs here). Units follow: squared for `var`, `1` for `count`, `missing`, `argmin`, `argmax`, which
/// also lose their `standard_name`. `cell_methods` are appended as `y: x: mean`.
pub fn result_attrs(statistic: Statistic, name: &str, over: &[String], source: &Attrs, output: &OutputType) -> Attrs {
    let mut attrs = source.clone();
    let keeps = statistic.keeps_values();
    attrs.retain(|key, _| {
        let key = key.as_str();
        let of_values = RANGES.contains(&key) || key.starts_with("flag_");
        !NEVER.contains(&key) && !PACKING.contains(&key) && (keeps || !of_values)
    });
    // Ranges are in stored units, which are gone where kept values had to be decoded for want of a mark.
    if keeps && source.contains_key("scale_factor") && output.packing.is_none() {
        attrs.retain(|key, _| !RANGES.contains(&key.as_str()));
    }
    set_packing(&mut attrs, output);
    // How far times lie apart, and how many there are, is no time.
    let counted = source.get("units").and_then(Value::as_str).filter(|units| is_time_units(units));
    if let Some(unit) = counted.and_then(|units| units.split(" since ").next())
        && matches!(statistic, Statistic::Std | Statistic::Var)
    {
        attrs.shift_remove("calendar");
        attrs.insert("units".to_owned(), if statistic == Statistic::Var { squared(unit) } else { unit.into() }.into());
    }
    match statistic {
        Statistic::Var if counted.is_some() => {}
        Statistic::Var => {
            if let Some(units) = source.get("units").and_then(Value::as_str) {
                attrs.insert("units".to_owned(), squared(units).into());
            }
        }
        Statistic::Count | Statistic::Missing | Statistic::ArgMin | Statistic::ArgMax => {
            attrs.shift_remove("standard_name");
            if counted.is_some() {
                attrs.shift_remove("calendar");
            }
            attrs.insert("units".to_owned(), "1".into());
            let of = source.get("long_name").and_then(Value::as_str).unwrap_or(name);
            let what = match statistic {
                Statistic::Count => "number of valid cells of",
                Statistic::Missing => "number of missing cells of",
                Statistic::ArgMin => "index of the smallest",
                _ => "index of the largest",
            };
            attrs.insert("long_name".to_owned(), format!("{what} {of}").into());
        }
        _ => {}
    }
    if let Some(method) = cell_method(statistic).filter(|_| !over.is_empty()) {
        let mut text = match source.get("cell_methods").and_then(Value::as_str) {
            Some(before) if !before.trim().is_empty() => format!("{} ", before.trim()),
            _ => String::new(),
        };
        for dim in over {
            text.push_str(dim);
            text.push_str(": ");
        }
        text.push_str(method);
        attrs.insert("cell_methods".to_owned(), text.into());
    }
    attrs
}

/// Attributes of a formula's result: its text as `long_name`, and what places it (`grid_mapping`, `coordinates`) from
/// the first of its variables.
pub fn formula_attrs(formula: &str, first: Option<&Attrs>) -> Attrs {
    let mut attrs = Attrs::new();
    attrs.insert("long_name".to_owned(), formula.trim().into());
    for name in ["grid_mapping", "coordinates"] {
        if let Some(value) = first.and_then(|a| a.get(name)) {
            attrs.insert(name.to_owned(), value.clone());
        }
    }
    attrs
}

/// Writes `scale_factor`, `add_offset` and `_Unsigned` of what an output keeps.
pub fn set_packing(attrs: &mut Attrs, output: &OutputType) {
    for name in PACKING {
        attrs.shift_remove(name);
    }
    if !output.packing.is_none() {
        attrs.insert("scale_factor".to_owned(), float(output.packing.scale));
        attrs.insert("add_offset".to_owned(), float(output.packing.offset));
    }
    if output.stored != output.view {
        let unsigned = if output.view.is_signed_int() { "false" } else { "true" };
        attrs.insert("_Unsigned".to_owned(), unsigned.into());
    }
}

/// Leaves in `bounds climatology coordinates grid_mapping ancillary_variables cell_measures formula_terms` only what
/// names variables that `exists` knows; an attribute that would be left empty goes.
pub fn keep_references(attrs: &mut Attrs, exists: impl Fn(&str) -> bool) {
    for name in ["bounds", "climatology", "coordinates", "ancillary_variables"] {
        let Some(text) = attrs.get(name).and_then(Value::as_str) else {
            continue;
        };
        let kept: Vec<&str> = text.split_whitespace().filter(|word| exists(word)).collect();
        replace(attrs, name, kept.join(" "));
    }
    // `grid_mapping` is a name, or `crs: x y other: lat lon`; the other two are `key: variable` throughout.
    for name in ["grid_mapping", "cell_measures", "formula_terms"] {
        let Some(text) = attrs.get(name).and_then(Value::as_str) else {
            continue;
        };
        let mut kept = String::new();
        if !text.contains(':') {
            kept.extend(exists(text.trim()).then_some(text.trim()));
        } else {
            for (key, words) in pairs(text) {
                let words: Vec<&str> = words.into_iter().filter(|word| exists(word)).collect();
                let whole = name != "grid_mapping" || exists(key);
                if whole && !words.is_empty() {
                    let gap = if kept.is_empty() { "" } else { " " };
                    kept.push_str(&format!("{gap}{key}: {}", words.join(" ")));
                }
            }
        }
        replace(attrs, name, kept);
    }
}

fn replace(attrs: &mut Attrs, name: &str, text: String) {
    if text.is_empty() {
        attrs.shift_remove(name);
    } else {
        attrs.insert(name.to_owned(), text.into());
    }
}

/// `a: b c d: e` as (`a`, [`b`, `c`]), (`d`, [`e`]).
fn pairs(text: &str) -> Vec<(&str, Vec<&str>)> {
    let mut found: Vec<(&str, Vec<&str>)> = Vec::new();
    for word in text.split_whitespace() {
        match (word.strip_suffix(':'), found.last_mut()) {
            (Some(key), _) => found.push((key, Vec::new())),
            (None, Some((_, words))) => words.push(word),
            (None, None) => {}
        }
    }
    found
}

/// Appends one line to `history`, as CF asks for: a time stamp and what was done, given by the caller.
pub fn append_history(attrs: &mut Attrs, line: &str) {
    let line = line.replace(['\n', '\r'], " ");
    let text = match attrs.get("history").and_then(Value::as_str) {
        Some(before) if !before.trim().is_empty() => {
            format!("{}\n{line}", before.trim_end_matches(['\n', '\r']))
        }
        _ => line,
    };
    attrs.insert("history".to_owned(), text.into());
}

/// The `_FillValue` attribute of an array of element type `stored`, for a mark as `view` reads it.
///
/// Floats in Zarr v3 are base64 of the little-endian `float64`: xarray (2026.9) reads nothing else there. In v2 the
/// array's `fill_value` holds the mark and readers take it from there, so that there is no attribute. `None` too for a
/// mark that the type does not hold.
pub fn fill_value_attr(stored: DType, mark: Scalar, zarr_format: u8) -> Option<Value> {
    if zarr_format == 2 {
        return None;
    }
    if stored.is_float() {
        let bytes = mark.to_f64().to_le_bytes();
        return Some(base64::engine::general_purpose::STANDARD.encode(bytes).into());
    }
    match mark {
        Scalar::Int(v) if stored == DType::Bool => Some(Value::Bool(v != 0)),
        Scalar::Int(v) => Some(v.into()),
        Scalar::UInt(v) => Some(v.into()),
        Scalar::Float(v) if v.fract() == 0.0 && v.abs() < 9.0e15 => Some((v as i64).into()),
        Scalar::Float(_) => None,
    }
}

fn float(value: f64) -> Value {
    Number::from_f64(value).map_or(Value::Null, Value::Number)
}

/// CF's name of the method, where it has one.
fn cell_method(statistic: Statistic) -> Option<&'static str> {
    Some(match statistic {
        Statistic::Mean => "mean",
        Statistic::Sum => "sum",
        Statistic::Min => "minimum",
        Statistic::Max => "maximum",
        Statistic::Std => "standard_deviation",
        Statistic::Var => "variance",
        Statistic::Median => "median",
        Statistic::Mode => "mode",
        _ => return None,
    })
}

/// Units of a square, as UDUNITS reads them: `K` → `K2`, `m s-1` → `(m s-1)2`, `1` → `1`.
///
/// Differences of temperatures in °C are in K, and so is the root of their variance.
fn squared(units: &str) -> String {
    let units = units.trim();
    let celsius = [
        "degC",
        "deg_C",
        "degree_C",
        "degrees_C",
        "°C",
        "Celsius",
        "celsius",
        "degree_Celsius",
        "degrees_Celsius",
        "degreesC",
    ];
    if units.is_empty() || units == "1" {
        units.to_owned()
    } else if celsius.contains(&units) {
        "K2".to_owned()
    } else if units.chars().all(|c| c.is_alphabetic() || c == '_') {
        format!("{units}2")
    } else {
        format!("({units})2")
    }
}
