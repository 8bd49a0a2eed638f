//! Zarr v2: `.zarray` and `.zattrs` to a variable, codecs brought into the form of v3.
//!
//! Source: Zarr storage specification 2; numcodecs 0.16 for the codecs' configurations.

use super::assemble::{Fault as _, blank, complete, describe};
use super::json::{lengths, short};
use super::v3::{fill_text, fill_value, separator, time_unit};
use crate::codec::KNOWN;
use chunkwise_core::cube::{Attrs, ChunkKeys, ChunkSizes, Codec, DataType, Encoding, TextKind, Variable};
use chunkwise_core::dtype::DType;
use serde_json::{Map, Value, json};

/// The variable that the documents describe; what is wrong with it is its `problem`.
pub(super) fn variable(name: &str, path: String, zarray: &Map<String, Value>, attrs: Attrs) -> Variable {
    let mut variable = blank(name, path, 2);
    variable.attrs = attrs;
    if let Err(problem) = fill_in(&mut variable, zarray) {
        variable.fault(problem);
    }
    complete(&mut variable);
    variable
}

fn fill_in(variable: &mut Variable, zarray: &Map<String, Value>) -> Result<(), String> {
    variable.shape = lengths(zarray.get("shape"), "shape")?;
    let stored = match zarray.get("dtype") {
        Some(Value::String(name)) => Stored::parse(name, zarray)?,
        Some(Value::Array(_)) => {
            variable.dtype = DataType::Unknown("a structure".to_owned());
            return Err("its cells are structures of several fields".to_owned());
        }
        _ => return Err("its metadata have no `dtype`".to_owned()),
    };
    variable.dtype = stored.dtype.clone();
    if zarray.get("zarr_format").and_then(Value::as_u64) != Some(2) {
        variable.fault("its `zarr_format` is not 2".to_owned());
    }
    let chunks = lengths(zarray.get("chunks"), "chunks")?;
    variable.chunks = chunks.into_iter().map(ChunkSizes::Regular).collect();
    let keys = ChunkKeys::V2(separator(zarray.get("dimension_separator"), '.')?);
    variable.encoding =
        Encoding { keys, codecs: codecs(zarray, variable.shape.len(), &stored)?, ..Encoding::default() };
    variable.codecs = describe(&variable.encoding.codecs);
    if !matches!(variable.dtype, DataType::Unknown(_)) {
        variable.fill_value = match zarray.get("fill_value") {
            None | Some(Value::Null) => None,
            Some(value) => fill_value(value, &variable.dtype)?,
        };
        variable.encoding.fill_text = fill_text(zarray.get("fill_value"), &variable.dtype);
    }
    Ok(())
}

/// A numpy type: what it is, its size in bytes, and its byte order.
struct Stored {
    dtype: DataType,
    size: usize,
    big: bool,
}

impl Stored {
    /// `<f4`, `|b1`, `>M8[ns]`, `<U8`, `|S4`, `|O`.
    fn parse(name: &str, zarray: &Map<String, Value>) -> Result<Stored, String> {
        let unknown = || Stored { dtype: DataType::Unknown(short(&name.into())), size: 1, big: false };
        let mut chars = name.chars();
        let (Some(order), Some(kind)) = (chars.next(), chars.next()) else {
            return Ok(unknown());
        };
        let rest = chars.as_str();
        let big = match order {
            '<' | '|' | '=' => false,
            '>' => true,
            _ => return Ok(unknown()),
        };
        let (digits, unit) = rest.split_once('[').unwrap_or((rest, ""));
        let size: Option<usize> = digits.parse().ok().filter(|&n: &usize| n < (1 << 28));
        let number = match (kind, size) {
            ('b', Some(1)) => Some(DType::Bool),
            ('i', Some(n)) => DType::from_name(&format!("int{}", 8 * n)),
            ('u', Some(n)) => DType::from_name(&format!("uint{}", 8 * n)),
            ('f', Some(n)) => DType::from_name(&format!("float{}", 8 * n)),
            _ => None,
        };
        if let Some(number) = number {
            return Ok(Stored { dtype: DataType::Number(number), size: number.size(), big });
        }
        Ok(match (kind, size) {
            ('M' | 'm', Some(8)) => {
                let unit = unit.trim_end_matches(']');
                let at = unit.find(|c: char| !c.is_ascii_digit()).unwrap_or(unit.len());
                let step = if at == 0 { 1 } else { unit[..at].parse().unwrap_or(0) };
                if step == 0 {
                    return Err(format!("its unit of time `{}` is not known", short(&unit.into())));
                }
                let unit = if unit.is_empty() { "generic" } else { &unit[at..] };
                let unit = time_unit(unit, step)?;
                let dtype = if kind == 'M' { DataType::DateTime(unit) } else { DataType::Duration(unit) };
                Stored { dtype, size: 8, big }
            }
            ('U', Some(n)) => Stored { dtype: DataType::Text(TextKind::Utf32(n)), size: 4 * n, big },
            ('S', Some(n)) => Stored { dtype: DataType::Text(TextKind::Bytes(n)), size: n, big: false },
            ('O', _) if filters(zarray).any(|f| matches!(id(f), Some("vlen-utf8" | "vlen-bytes"))) => {
                Stored { dtype: DataType::Text(TextKind::Variable), size: 1, big: false }
            }
            _ => unknown(),
        })
    }
}

fn filters(zarray: &Map<String, Value>) -> impl Iterator<Item = &Value> {
    zarray.get("filters").and_then(Value::as_array).into_iter().flatten()
}

fn id(codec: &Value) -> Option<&str> {
    codec.get("id").and_then(Value::as_str)
}

/// The chain of v3: order F as a transposition, filters of arrays, `bytes`, filters of bytes, the compressor.
fn codecs(zarray: &Map<String, Value>, rank: usize, stored: &Stored) -> Result<Vec<Codec>, String> {
    let mut chain = Vec::new();
    match zarray.get("order").and_then(Value::as_str) {
        Some("F") if rank > 1 => {
            let order: Vec<usize> = (0..rank).rev().collect();
            chain.push(codec("transpose", json!({ "order": order })));
        }
        Some("C" | "F") | None => {}
        Some(other) => {
            return Err(format!("its order `{}` is not known; known are `C` and `F`", short(&other.into())));
        }
    }
    let mut steps: Vec<&Value> = filters(zarray).collect();
    steps.extend(zarray.get("compressor").filter(|c| !c.is_null()));
    if steps.len() > 32 {
        return Err(format!("it has {} codecs in a row", steps.len()));
    }
    let (mut size, mut big, mut serialized) = (stored.size, stored.big, false);
    let bytes = |size: usize, big: bool| match size {
        1 => codec("bytes", json!({})),
        _ => codec("bytes", json!({ "endian": if big { "big" } else { "little" } })),
    };
    for step in steps {
        let Some(id) = id(step) else {
            return Err(format!("its codec `{}` has no `id`", short(step)));
        };
        let of_arrays =
            matches!(id, "delta" | "fixedscaleoffset" | "quantize" | "bitround" | "astype" | "packbits" | "categorize");
        if of_arrays {
            if serialized {
                return Err(format!("its filter `{}` comes after one that makes bytes", short(&id.into())));
            }
            let after = match id {
                "packbits" => Some("|u1"),
                "astype" => step.get("encode_dtype").and_then(Value::as_str),
                _ => step.get("astype").or_else(|| step.get("dtype")).and_then(Value::as_str),
            };
            if let Some(after) = after {
                let after = Stored::parse(after, zarray)?;
                (size, big) = (after.size, after.big);
            }
        } else if !serialized {
            serialized = true;
            if !matches!(id, "vlen-utf8" | "vlen-bytes" | "pcodec" | "zfpy") {
                chain.push(bytes(size, big));
            }
        }
        chain.push(converted(id, step, size));
    }
    if !serialized {
        chain.push(bytes(size, big));
    }
    Ok(chain)
}

fn codec(name: &str, configuration: Value) -> Codec {
    let configuration = match configuration {
        Value::Object(map) => map,
        _ => Map::new(),
    };
    Codec { name: name.to_owned(), configuration }
}

/// A numcodecs configuration in the form of v3, where v3 has the codec; else `numcodecs.ID`.
fn converted(id: &str, step: &Value, size: usize) -> Codec {
    let get = |name: &str, usual: Value| step.get(name).cloned().unwrap_or(usual);
    match id {
        "gzip" => codec("gzip", json!({ "level": get("level", json!(1)) })),
        "zstd" => codec("zstd", json!({ "level": get("level", json!(0)), "checksum": get("checksum", json!(false)) })),
        "vlen-utf8" | "vlen-bytes" => codec(id, json!({})),
        "pcodec" => {
            // numcodecs writes the absent as null, which v3 leaves out.
            let mut configuration = step.as_object().cloned().unwrap_or_default();
            configuration.retain(|key, value| key != "id" && !value.is_null());
            Codec { name: "numcodecs.pcodec".to_owned(), configuration }
        }
        "blosc" => {
            let shuffle = match step.get("shuffle").and_then(Value::as_i64).unwrap_or(1) {
                0 => "noshuffle",
                2 => "bitshuffle",
                -1 if size == 1 => "bitshuffle",
                _ => "shuffle",
            };
            codec(
                "blosc",
                json!({
                    "cname": get("cname", json!("lz4")),
                    "clevel": get("clevel", json!(5)),
                    "shuffle": shuffle,
                    "typesize": size,
                    "blocksize": get("blocksize", json!(0)),
                }),
            )
        }
        _ => {
            let mut configuration = step.as_object().cloned().unwrap_or_default();
            configuration.shift_remove("id");
            if id == "shuffle" {
                // numcodecs' default in v2; v3 takes the size of the cells.
                configuration.entry("elementsize").or_insert(json!(4));
            }
            if !KNOWN.contains(&id) {
                // One of the user's own has the name that it is registered by.
                return Codec { name: id.to_owned(), configuration };
            }
            Codec { name: format!("numcodecs.{id}"), configuration }
        }
    }
}
