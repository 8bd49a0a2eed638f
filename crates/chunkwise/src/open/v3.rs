//! Zarr v3: `zarr.json` of an array to a variable.
//!
//! Source: Zarr core specification 3.1 and zarr-extensions (data types, codecs, `rectilinear`).

use super::assemble::{Fault as _, blank, complete, describe};
use super::json::{lengths, short};
use base64::Engine as _;
use chunkwise_core::cf::decode::{json_number, named_float};
use chunkwise_core::cube::{ChunkKeys, ChunkSizes, Codec, DataType, Encoding, TextKind, TimeUnit, Variable};
use chunkwise_core::dtype::{DType, Scalar};
use serde_json::{Map, Value};

/// Most chunks along one dimension of a grid that lists them.
const MAX_LISTED: u64 = 1 << 16;

/// The variable that a document describes; what is wrong with it is its `problem`.
pub(super) fn variable(name: &str, path: String, mut document: Map<String, Value>) -> Variable {
    let mut variable = blank(name, path, 3);
    if let Some(Value::Object(attrs)) = document.remove("attributes") {
        variable.attrs = attrs;
    }
    if let Err(problem) = fill_in(&mut variable, &document) {
        variable.fault(problem);
    }
    complete(&mut variable);
    variable
}

fn fill_in(variable: &mut Variable, document: &Map<String, Value>) -> Result<(), String> {
    match data_type(document.get("data_type")) {
        Ok(dtype) => variable.dtype = dtype,
        Err(problem) => variable.fault(problem),
    }
    variable.shape = lengths(document.get("shape"), "shape")?;
    variable.dims = match document.get("dimension_names") {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(names)) if names.len() == variable.shape.len() => {
            let name = |(axis, name): (usize, &Value)| match name {
                Value::Null => Ok(format!("dim_{axis}")),
                Value::String(name) => Ok(name.clone()),
                other => Err(format!("`{}` is no name of a dimension", short(other))),
            };
            names.iter().enumerate().map(name).collect::<Result<_, _>>()?
        }
        Some(other) => {
            let (given, rank) = (short(other), variable.shape.len());
            return Err(format!("its `dimension_names` are `{given}`, expected {rank} names"));
        }
    };
    match document.get("zarr_format").and_then(Value::as_u64) {
        Some(3) => {}
        _ => variable.fault(wrong_format(document)),
    }
    let grid = named(document.get("chunk_grid"), "chunk_grid")?;
    variable.chunks = chunk_grid(&grid, &variable.shape)?;
    variable.encoding = Encoding {
        keys: chunk_keys(&named(document.get("chunk_key_encoding"), "chunk_key_encoding")?)?,
        codecs: codecs(document.get("codecs"), 0)?,
        ..Encoding::default()
    };
    shards(variable)?;
    for problem in strangers(document) {
        variable.fault(problem);
    }
    if variable.problem.is_none() {
        variable.fill_value = match document.get("fill_value") {
            Some(value) => fill_value(value, &variable.dtype)?,
            None => return Err("its metadata have no `fill_value`".to_owned()),
        };
        let bytes =
            matches!(named(document.get("data_type"), "data_type")?.name.as_str(), "variable_length_bytes" | "bytes");
        let dtype = if bytes { &DataType::Text(TextKind::Bytes(0)) } else { &variable.dtype };
        variable.encoding.fill_text = fill_text(document.get("fill_value"), dtype);
    }
    Ok(())
}

/// Storage transformers, and extensions that a reader must understand.
fn strangers(document: &Map<String, Value>) -> Vec<String> {
    const KNOWN: [&str; 11] = [
        "zarr_format",
        "node_type",
        "shape",
        "data_type",
        "chunk_grid",
        "chunk_key_encoding",
        "fill_value",
        "codecs",
        "attributes",
        "dimension_names",
        "consolidated_metadata",
    ];
    let mut problems = Vec::new();
    for (key, value) in document {
        let optional = value.get("must_understand").and_then(Value::as_bool) == Some(false);
        let empty = value.is_null() || value.as_array().is_some_and(Vec::is_empty);
        if KNOWN.contains(&key.as_str()) || optional || empty {
            continue;
        }
        problems.push(match (key.as_str(), value.get(0)) {
            ("storage_transformers", Some(first)) => {
                let name = first.get("name").unwrap_or(first);
                format!("its storage transformer `{}` is not known", short(name))
            }
            _ => format!(
                "its metadata have an extension `{}` that must be understood",
                short(&Value::from(key.as_str()))
            ),
        });
    }
    problems
}

/// `{"name": …, "configuration": {…}}`, or the name alone.
fn named(value: Option<&Value>, what: &str) -> Result<Codec, String> {
    let empty = Map::new();
    match value {
        Some(Value::String(name)) => Ok(Codec { name: name.clone(), configuration: empty }),
        Some(Value::Object(map)) => {
            let Some(Value::String(name)) = map.get("name") else {
                return Err(format!("its `{what}` has no name"));
            };
            let configuration = match map.get("configuration") {
                None | Some(Value::Null) => empty,
                Some(Value::Object(configuration)) => configuration.clone(),
                Some(other) => {
                    return Err(format!("the configuration of `{name}` is `{}`, expected an object", short(other)));
                }
            };
            Ok(Codec { name: name.clone(), configuration })
        }
        Some(other) => Err(format!("its `{what}` is `{}`, expected a name and a configuration", short(other))),
        None => Err(format!("its metadata have no `{what}`")),
    }
}

fn chunk_grid(grid: &Codec, shape: &[u64]) -> Result<Vec<ChunkSizes>, String> {
    match grid.name.as_str() {
        "regular" => {
            let chunks = lengths(grid.configuration.get("chunk_shape"), "chunk_shape")?;
            Ok(chunks.into_iter().map(ChunkSizes::Regular).collect())
        }
        "rectilinear" => {
            let kind = grid.configuration.get("kind").and_then(Value::as_str).unwrap_or("inline");
            if kind != "inline" {
                return Err(format!("its chunk grid is `rectilinear` of kind `{kind}`, known is `inline`"));
            }
            match grid.configuration.get("chunk_shapes") {
                Some(Value::Array(axes)) if axes.len() == shape.len() => {
                    axes.iter().zip(shape).map(|(axis, &cells)| listed(axis, cells)).collect()
                }
                _ => Err(format!("its `chunk_shapes` are no list of {}", shape.len())),
            }
        }
        other => Err(format!(
            "its chunk grid `{}` is not known; known are `regular` and `rectilinear`",
            short(&other.into())
        )),
    }
}

/// Chunk lengths of one axis: one for all, or a list of lengths and of `[length, count]`.
fn listed(axis: &Value, cells: u64) -> Result<ChunkSizes, String> {
    let wrong = || format!("its chunk lengths `{}` are no list of lengths", short(axis));
    if let Some(length) = axis.as_u64() {
        return Ok(ChunkSizes::Regular(length));
    }
    let (mut sizes, mut end) = (Vec::new(), 0u64);
    for entry in axis.as_array().ok_or_else(wrong)? {
        let (length, count) = match entry {
            Value::Array(pair) if pair.len() == 2 => (pair[0].as_u64(), pair[1].as_u64()),
            one => (one.as_u64(), Some(1)),
        };
        let (Some(length), Some(count)) = (length, count) else {
            return Err(wrong());
        };
        if length == 0 {
            return Err("a chunk of its grid has length 0".to_owned());
        }
        if count > MAX_LISTED.saturating_sub(sizes.len() as u64) {
            return Err(format!("its grid lists more than {MAX_LISTED} chunks along a dimension"));
        }
        end = length.checked_mul(count).and_then(|n| end.checked_add(n)).ok_or_else(wrong)?;
        sizes.resize(sizes.len() + count as usize, length);
    }
    if end < cells {
        return Err(format!("its chunks end at {end}, before the end of the dimension at {cells}"));
    }
    Ok(ChunkSizes::Listed(sizes))
}

fn chunk_keys(encoding: &Codec) -> Result<ChunkKeys, String> {
    let (make, usual): (fn(char) -> ChunkKeys, char) = match encoding.name.as_str() {
        "default" => (ChunkKeys::Default, '/'),
        "v2" => (ChunkKeys::V2, '.'),
        other => {
            let other = short(&other.into());
            return Err(format!("its chunk key encoding `{other}` is not known; known are `default` and `v2`"));
        }
    };
    separator(encoding.configuration.get("separator"), usual).map(make)
}

/// `.` or `/`.
pub(super) fn separator(value: Option<&Value>, usual: char) -> Result<char, String> {
    match value {
        None | Some(Value::Null) => Ok(usual),
        Some(Value::String(text)) if text == "." => Ok('.'),
        Some(Value::String(text)) if text == "/" => Ok('/'),
        Some(other) => Err(format!("its chunk keys are separated by `{}`, known are `.` and `/`", short(other))),
    }
}

fn codecs(value: Option<&Value>, depth: usize) -> Result<Vec<Codec>, String> {
    let Some(Value::Array(list)) = value else {
        return Err("its `codecs` are no list".to_owned());
    };
    if list.len() > 32 {
        return Err(format!("it has {} codecs in a row", list.len()));
    }
    let mut chain = list.iter().map(|codec| named(Some(codec), "codecs")).collect::<Result<Vec<_>, _>>()?;
    for codec in &mut chain {
        if codec.name == "endian" {
            codec.name = "bytes".to_owned();
        }
        if codec.name == "sharding_indexed" {
            if depth == 4 {
                return Err("its shards are nested too deep".to_owned());
            }
            codecs(codec.configuration.get("codecs"), depth + 1)?;
        }
    }
    Ok(chain)
}

/// Takes shard and inner chunks apart, and describes the codecs.
fn shards(variable: &mut Variable) -> Result<(), String> {
    let chain = &variable.encoding.codecs;
    variable.codecs = describe(chain);
    let Some(sharding) = chain.iter().find(|codec| codec.name == "sharding_indexed") else {
        return Ok(());
    };
    if chain.len() > 1 {
        // Beside other codecs a shard can only be decoded whole: it is one large chunk.
        return Ok(());
    }
    let inner = lengths(sharding.configuration.get("chunk_shape"), "chunk_shape")?;
    variable.codecs = describe(&codecs(sharding.configuration.get("codecs"), 1)?);
    let outer = std::mem::take(&mut variable.chunks);
    let fits = |(shards, chunk): (&ChunkSizes, &u64)| match shards {
        ChunkSizes::Regular(cells) => *chunk > 0 && cells % chunk == 0,
        ChunkSizes::Listed(lengths) => *chunk > 0 && lengths.iter().all(|cells| cells % chunk == 0),
    };
    if outer.len() != inner.len() || !outer.iter().zip(&inner).all(fits) {
        let shown = |sizes: &ChunkSizes| match sizes {
            ChunkSizes::Regular(cells) => cells.to_string(),
            ChunkSizes::Listed(lengths) => short(&lengths.clone().into()),
        };
        let outer: Vec<String> = outer.iter().map(shown).collect();
        return Err(format!("its shards [{}] are not made of whole chunks {inner:?}", outer.join(", ")));
    }
    variable.chunks = inner.into_iter().map(ChunkSizes::Regular).collect();
    variable.shards = Some(outer);
    Ok(())
}

fn data_type(value: Option<&Value>) -> Result<DataType, String> {
    let Codec { name, configuration } = named(value, "data_type")?;
    if let Some(number) = DType::from_name(&name) {
        return Ok(DataType::Number(number));
    }
    let bytes = || -> Result<usize, String> {
        let length = configuration.get("length_bytes").and_then(Value::as_u64);
        match length.and_then(|n| u32::try_from(n).ok()) {
            Some(n) => Ok(n as usize),
            None => Err(format!("its data type `{name}` has no `length_bytes`")),
        }
    };
    Ok(match name.as_str() {
        // Bytes of any length are read as text: a cell that is no UTF-8 is refused.
        "string" | "variable_length_bytes" | "bytes" => DataType::Text(TextKind::Variable),
        "fixed_length_utf32" | "fixed_length_ucs4" if bytes()?.is_multiple_of(4) => {
            DataType::Text(TextKind::Utf32(bytes()? / 4))
        }
        "null_terminated_bytes" => DataType::Text(TextKind::Bytes(bytes()?)),
        "numpy.datetime64" | "numpy.timedelta64" => {
            let unit = configuration.get("unit").and_then(Value::as_str).unwrap_or("generic");
            let step = match configuration.get("scale_factor") {
                None => 1,
                Some(step) => step
                    .as_u64()
                    .and_then(|n| u32::try_from(n).ok())
                    .filter(|&n| n > 0)
                    .ok_or_else(|| format!("its data type `{name}` has the `scale_factor` `{}`", short(step)))?,
            };
            let unit = time_unit(unit, step)?;
            if name == "numpy.datetime64" { DataType::DateTime(unit) } else { DataType::Duration(unit) }
        }
        _ => DataType::Unknown(short(&Value::from(name))),
    })
}

/// A unit that numpy has.
pub(super) fn time_unit(unit: &str, step: u32) -> Result<TimeUnit, String> {
    const UNITS: [&str; 14] = ["Y", "M", "W", "D", "h", "m", "s", "ms", "us", "ns", "ps", "fs", "as", "generic"];
    match unit {
        "μs" | "µs" => Ok(TimeUnit { unit: "us".to_owned(), step }),
        known if UNITS.contains(&known) => Ok(TimeUnit { unit: known.to_owned(), step }),
        other => Err(format!("its unit of time `{}` is not known", short(&other.into()))),
    }
}

/// The fill value of an array of text: text, base64 of bytes, or (v2) a number, which zarr-python reads as its digits.
pub(super) fn fill_text(value: Option<&Value>, dtype: &DataType) -> String {
    let text = match (dtype, value) {
        (DataType::Text(TextKind::Bytes(_)), Some(Value::String(text))) => {
            let bytes = base64::engine::general_purpose::STANDARD.decode(text).unwrap_or_default();
            String::from_utf8(bytes).unwrap_or_default()
        }
        (DataType::Text(TextKind::Variable), Some(Value::Number(number))) => number.to_string(),
        (DataType::Text(_), Some(Value::String(text))) => text.clone(),
        _ => String::new(),
    };
    text.trim_end_matches('\0').to_owned()
}

/// The fill value of an array; none for text.
pub(crate) fn fill_value(value: &Value, dtype: &DataType) -> Result<Option<Scalar>, String> {
    let Some(number) = dtype.number() else {
        return Ok(None);
    };
    let wrong = || format!("its fill value `{}` is no `{}`", short(value), dtype.name());
    let one = match value {
        Value::String(text) if text == "NaT" && !matches!(dtype, DataType::Number(_)) => {
            return Ok(Some(Scalar::Int(i64::MIN)));
        }
        Value::Bool(yes) => Scalar::Int(i64::from(*yes)),
        Value::Number(number) => json_number(number),
        Value::String(text) if number.is_float() => Scalar::Float(match text.strip_prefix("0x") {
            Some(hex) => float_bits(hex, number).ok_or_else(wrong)?,
            None => named_float(text).or_else(|| text.parse().ok()).ok_or_else(wrong)?,
        }),
        _ => return Err(wrong()),
    };
    fit(one, number).map(Some).ok_or_else(wrong)
}

fn float_bits(hex: &str, dtype: DType) -> Option<f64> {
    let bits = u64::from_str_radix(hex, 16).ok()?;
    match dtype {
        DType::Float16 => Some(half::f16::from_bits(u16::try_from(bits).ok()?).to_f64()),
        DType::Float32 => Some(f64::from(f32::from_bits(u32::try_from(bits).ok()?))),
        _ => Some(f64::from_bits(bits)),
    }
}

/// The value in the form of its type: floats as floats, integers within range.
fn fit(value: Scalar, dtype: DType) -> Option<Scalar> {
    if dtype.is_float() {
        return Some(Scalar::Float(value.to_f64()));
    }
    let int: i128 = match value {
        Scalar::Int(v) => v.into(),
        Scalar::UInt(v) => v.into(),
        Scalar::Float(v) if v.fract() == 0.0 && v.abs() < 1.8e19 => v as i128,
        Scalar::Float(_) => return None,
    };
    let bits = 8 * dtype.size() as u32;
    let (low, high) = match dtype {
        DType::Bool => (0, 1),
        _ if dtype.is_signed_int() => (-(1i128 << (bits - 1)), (1i128 << (bits - 1)) - 1),
        _ => (0, (1i128 << bits) - 1),
    };
    if int < low || int > high {
        return None;
    }
    i64::try_from(int).map(Scalar::Int).or_else(|_| u64::try_from(int).map(Scalar::UInt)).ok()
}

/// What to say of a document whose `zarr_format` is not 3.
pub(super) fn wrong_format(document: &Map<String, Value>) -> String {
    match document.get("zarr_format") {
        Some(other) => format!("its `zarr_format` is {}, not 3", short(other)),
        None => "it has no `zarr_format`".to_owned(),
    }
}
