//! One new array: its metadata in both Zarr versions, and its chunks as they are stored.

use super::block::{self, At};
use super::error::WriteError;
use crate::codec::chain::Chain;
use crate::codec::{CodecChoice, Filter};
use chunkwise_core::cf::encode::{fill_value_attr, scalar_to_bytes};
use chunkwise_core::cube::{Attrs, ChunkKeys, DataType, TextKind};
use chunkwise_core::dtype::{DType, Scalar};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Number, Value, json};
use std::borrow::Cow;
use std::sync::Arc;

/// A version of the Zarr format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ZarrVersion {
    /// Version 2, with `.zmetadata`; keys `1.0`.
    V2,
    /// Version 3, with inline consolidated metadata; keys `c/1/0`.
    #[default]
    V3,
}

impl ZarrVersion {
    /// 2 or 3.
    pub fn number(self) -> u8 {
        match self {
            ZarrVersion::V2 => 2,
            ZarrVersion::V3 => 3,
        }
    }

    /// The version with this number, if it can be written.
    pub fn from_number(number: u8) -> Option<ZarrVersion> {
        match number {
            2 => Some(ZarrVersion::V2),
            3 => Some(ZarrVersion::V3),
            _ => None,
        }
    }
}

/// All that there is to know about a new array.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ArraySpec {
    /// Path below the group that is written, without a leading slash: the name of the variable.
    pub path: String,
    /// Dimension names.
    pub dims: Vec<String>,
    /// Cells along each dimension.
    pub shape: Vec<u64>,
    /// What is stored. Text of variable length cannot be written.
    pub dtype: DataType,
    /// Cells of a chunk along each dimension; of a sharded array, of an inner chunk.
    pub chunks: Vec<u64>,
    /// Cells of a shard along each dimension: multiples of the chunk. v3 only.
    pub shards: Option<Vec<u64>>,
    /// Compression.
    pub codec: CodecChoice,
    /// What an absent chunk holds, as it is stored; chunks of nothing else are not written. `None`: 0 in v3. In v2
    /// readers take a fill value for a missing mark, so that there `None` is `null`, and all chunks are written.
    pub fill_value: Option<Scalar>,
    /// The stored value that marks missing cells: the `_FillValue` attribute (in v2 the fill value says it).
    pub missing: Option<Scalar>,
    /// Attributes, less what is written from other fields (`_ARRAY_DIMENSIONS`, and `_FillValue` with `missing`).
    pub attrs: Attrs,
    /// Version of the format.
    pub zarr: ZarrVersion,
}

impl ArraySpec {
    /// An array of `int64` in one chunk, without marks.
    pub(crate) fn plain(
        path: String,
        dims: Vec<String>,
        shape: Vec<u64>,
        attrs: Attrs,
        zarr: ZarrVersion,
    ) -> ArraySpec {
        ArraySpec {
            path,
            dims,
            chunks: shape.iter().map(|&n| n.max(1)).collect(),
            shape,
            dtype: DataType::Number(DType::Int64),
            shards: None,
            codec: CodecChoice::default(),
            fill_value: None,
            missing: None,
            attrs,
            zarr,
        }
    }
}

/// Encodes the chunks of one array.
#[derive(Clone, Debug)]
pub struct ArrayWriter {
    spec: ArraySpec,
    codec: CodecChoice,
    chain: Arc<Chain>,
    /// Bytes of a cell.
    size: usize,
    /// Bytes of what is shuffled and byte-swapped: a number, a code point.
    unit: usize,
    /// Bytes of the fill cell; zeros where there is no fill value.
    fill: Vec<u8>,
    /// Cells of a chunk.
    cells: usize,
}

impl ArrayWriter {
    /// Checks a specification.
    ///
    /// # Errors
    /// Lengths that do not agree, chunks without cells or of 2 GiB and more, shards that are no multiple of chunks or in
    /// v2, a fill value that the type does not hold, a type or name that cannot be written.
    pub fn new(mut spec: ArraySpec) -> Result<ArrayWriter, WriteError> {
        if spec.zarr == ZarrVersion::V2 {
            // One value is both in v2.
            spec.fill_value = spec.fill_value.or(spec.missing);
        }
        let bad = |problem: String| WriteError::BadArray { array: spec.path.clone(), problem };
        let rank = spec.shape.len();
        check_path(&spec.path).map_err(&bad)?;
        if spec.dims.len() != rank || spec.chunks.len() != rank {
            return Err(bad(format!(
                "{} dimension names and {} chunk lengths for {rank} dimensions",
                spec.dims.len(),
                spec.chunks.len()
            )));
        }
        if let Some(dim) = spec.dims.iter().find(|d| spec.dims.iter().filter(|e| e == d).count() > 1) {
            return Err(bad(format!("dimension `{dim}` stands twice")));
        }
        if spec.chunks.contains(&0) {
            return Err(bad(format!("chunks of {:?} cells hold nothing", spec.chunks)));
        }
        if let Some(shards) = &spec.shards {
            if spec.zarr == ZarrVersion::V2 {
                return Err(bad("Zarr v2 has no shards".to_owned()));
            }
            let multiple = |(s, c): (&u64, &u64)| *s > 0 && s % c == 0;
            if shards.len() != rank || !shards.iter().zip(&spec.chunks).all(multiple) {
                return Err(bad(format!("shards of {shards:?} are no multiples of chunks of {:?}", spec.chunks)));
            }
            let inner = shards.iter().zip(&spec.chunks).try_fold(1u64, |n, (s, c)| n.checked_mul(s / c));
            if inner.is_none_or(|n| n > 1 << 24) {
                return Err(bad(format!("shards of {shards:?} hold more than 16,777,216 chunks")));
            }
        }
        if spec.zarr == ZarrVersion::V2 && spec.codec.checksum {
            return Err(bad("Zarr v2 has no `crc32c`".to_owned()));
        }
        if spec.zarr == ZarrVersion::V3 && spec.codec.filters.contains(&Filter::PackBits) {
            return Err(bad("no reader of Zarr v3 takes `packbits`; `zstd` packs truth values too".to_owned()));
        }
        let (size, unit) = match &spec.dtype {
            DataType::Text(TextKind::Utf32(n)) => ((*n).saturating_mul(4), 4),
            DataType::Text(TextKind::Bytes(n)) => (*n, 1),
            other => match other.number() {
                Some(number) => (number.size(), number.size()),
                None => return Err(bad(format!("`{}` cannot be written", other.name()))),
            },
        };
        if size == 0 {
            return Err(bad("text of no characters cannot be written".to_owned()));
        }
        let fill = match (spec.fill_value, spec.dtype.number()) {
            (None, _) | (_, None) => vec![0; size],
            (Some(fill), Some(number)) => scalar_to_bytes(number, fill)
                .filter(|_| number != DType::Bool || [0.0, 1.0].contains(&fill.to_f64()))
                .ok_or_else(|| bad(format!("`{number}` does not hold the fill value {}", fill.to_f64())))?,
        };
        if let (Some(mark), Some(number)) = (spec.missing, spec.dtype.number())
            && scalar_to_bytes(number, mark).is_none()
        {
            return Err(bad(format!("`{number}` does not hold the missing mark {}", mark.to_f64())));
        }
        if let (Some(mark), Some(number), ZarrVersion::V2) = (spec.missing, spec.dtype.number(), spec.zarr)
            && scalar_to_bytes(number, mark).as_ref() != Some(&fill)
        {
            return Err(bad("in Zarr v2 the fill value is the missing mark, and two were given".to_owned()));
        }
        let cells = spec.chunks.iter().try_fold(1u64, |n, &c| n.checked_mul(c));
        let cells = cells
            .filter(|n| n.checked_mul(size as u64).is_some_and(|b| b < 2_147_483_632))
            .ok_or_else(|| bad(format!("chunks of {:?} cells have 2 GiB or more", spec.chunks)))?;
        let codec = spec.codec.clone().resolve(&spec.dtype);
        let chain = Chain::new(&spec.dtype, &fill, &codec.chain(&spec.dtype, unit), &spec.chunks);
        let chain = chain.map_err(|e| bad(crate::error::in_full(&e)))?;
        Ok(ArrayWriter { chain: Arc::new(chain), codec, size, unit, fill, cells: cells as usize, spec })
    }

    /// What was asked for.
    pub fn spec(&self) -> &ArraySpec {
        &self.spec
    }

    /// Bytes of one cell.
    pub fn cell_bytes(&self) -> usize {
        self.size
    }

    /// Bytes of one chunk (of a sharded array, an inner chunk) before it is encoded.
    pub fn chunk_bytes(&self) -> usize {
        self.cells * self.size
    }

    /// Number of chunks along each dimension; of a sharded array, of inner chunks that hold cells.
    pub fn grid(&self) -> Vec<u64> {
        self.spec.shape.iter().zip(&self.spec.chunks).map(|(&n, &c)| n.div_ceil(c)).collect()
    }

    /// Chunks along each dimension of one stored object: all 1 where the array is not sharded.
    pub fn chunks_per_object(&self) -> Vec<u64> {
        match &self.spec.shards {
            Some(shards) => shards.iter().zip(&self.spec.chunks).map(|(s, c)| s / c).collect(),
            None => vec![1; self.spec.shape.len()],
        }
    }

    /// Key of a stored object, by its index among stored objects (chunks, or shards where the array is sharded).
    pub fn key(&self, object: &[u64]) -> String {
        let keys = match self.spec.zarr {
            ZarrVersion::V3 => ChunkKeys::Default('/'),
            ZarrVersion::V2 => ChunkKeys::V2('.'),
        };
        crate::store::join(&self.spec.path, &keys.key(object))
    }

    /// First cell and number of cells of a chunk, clipped to the array.
    pub fn extent(&self, chunk: &[u64]) -> (Vec<u64>, Vec<u64>) {
        let start: Vec<u64> = chunk.iter().zip(&self.spec.chunks).map(|(&i, &c)| i.saturating_mul(c)).collect();
        let count = start
            .iter()
            .zip(&self.spec.chunks)
            .zip(&self.spec.shape)
            .map(|((&s, &c), &n)| c.min(n.saturating_sub(s)))
            .collect();
        (start, count)
    }

    /// A full chunk, filled up at ragged edges, from its cells within the array (C order).
    ///
    /// # Errors
    /// The number of bytes is not that of the clipped chunk.
    pub fn pad<'a>(&self, chunk: &[u64], cells: &'a [u8]) -> Result<Cow<'a, [u8]>, WriteError> {
        let (_, count) = self.extent(chunk);
        let expected = count.iter().product::<u64>() as usize * self.size;
        if cells.len() != expected {
            return Err(self.wrong_length(cells.len(), expected));
        }
        if count == self.spec.chunks {
            return Ok(Cow::Borrowed(cells));
        }
        let mut full = block::filled(&self.fill, self.cells);
        let zero = vec![0; count.len()];
        let source = At { shape: &count, start: &zero };
        let target = At { shape: &self.spec.chunks, start: &zero };
        block::copy(cells, source, &mut full, target, &count, self.size);
        Ok(Cow::Owned(full))
    }

    /// Encodes a full chunk: native-endian cells in C order, filled up with the fill value at ragged edges.
    ///
    /// `None` where all cells equal the fill value bit for bit: such a chunk is not stored. Without a fill value in v2
    /// every chunk is.
    ///
    /// # Errors
    /// The number of bytes is not that of a chunk, or the compressor refuses.
    pub fn encode_chunk(&self, cells: &[u8]) -> Result<Option<Vec<u8>>, WriteError> {
        if cells.len() != self.chunk_bytes() {
            return Err(self.wrong_length(cells.len(), self.chunk_bytes()));
        }
        if self.skips_fill() && block::all_are(cells, &self.fill) {
            return Ok(None);
        }
        let encoded = self.chain.encode(&self.spec.chunks, cells);
        encoded.map(Some).map_err(|source| WriteError::Codec {
            array: self.spec.path.clone(),
            codec: self.codec.to_string(),
            source,
        })
    }

    fn skips_fill(&self) -> bool {
        self.spec.zarr == ZarrVersion::V3 || self.spec.fill_value.is_some()
    }

    /// Cuts the chunk at `chunk` out of all cells of the array and fills it up.
    pub(crate) fn cut(&self, whole: &[u8], chunk: &[u64]) -> Vec<u8> {
        let (start, count) = self.extent(chunk);
        let mut full = block::filled(&self.fill, self.cells);
        let zero = vec![0; count.len()];
        let source = At { shape: &self.spec.shape, start: &start };
        let target = At { shape: &self.spec.chunks, start: &zero };
        block::copy(whole, source, &mut full, target, &count, self.size);
        full
    }

    pub(crate) fn wrong_length(&self, found: usize, expected: usize) -> WriteError {
        WriteError::WrongLength { array: self.spec.path.clone(), found, expected }
    }

    /// The metadata objects of the array: key relative to the group, and JSON.
    pub fn metadata(&self) -> Vec<(String, Value)> {
        let key = |name: &str| crate::store::join(&self.spec.path, name);
        match self.spec.zarr {
            ZarrVersion::V3 => vec![(key("zarr.json"), self.v3())],
            ZarrVersion::V2 => {
                let mut attrs = self.attrs();
                attrs.insert("_ARRAY_DIMENSIONS".to_owned(), self.spec.dims.clone().into());
                // `.zarray` makes it an array, which without its attributes would read as other numbers.
                vec![(key(".zattrs"), Value::Object(attrs)), (key(".zarray"), self.v2())]
            }
        }
    }

    fn attrs(&self) -> Attrs {
        let mut attrs = self.spec.attrs.clone();
        attrs.shift_remove("_ARRAY_DIMENSIONS");
        if let Some(mark) = self.spec.missing {
            attrs.shift_remove("_FillValue");
            let stored = self.spec.dtype.number().unwrap_or(DType::Int64);
            if let Some(value) = fill_value_attr(stored, mark, self.spec.zarr.number()) {
                attrs.insert("_FillValue".to_owned(), value);
            }
        }
        attrs
    }

    fn v3(&self) -> Value {
        let s = &self.spec;
        let mut codecs = self.codec.v3(&s.dtype, self.unit);
        if s.shards.is_some() {
            codecs = vec![json!({
                "name": "sharding_indexed",
                "configuration": {
                    "chunk_shape": s.chunks, "codecs": codecs,
                    "index_codecs": [
                        {"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"}
                    ],
                    "index_location": "end"
                }
            })];
        }
        json!({
            "zarr_format": 3,
            "node_type": "array",
            "shape": s.shape,
            "data_type": v3_type(&s.dtype),
            "chunk_grid": {
                "name": "regular",
                "configuration": {"chunk_shape": s.shards.as_ref().unwrap_or(&s.chunks)}
            },
            "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
            "fill_value": self.fill_json(),
            "codecs": codecs,
            "attributes": Value::Object(self.attrs()),
            "dimension_names": s.dims,
            "storage_transformers": []
        })
    }

    fn v2(&self) -> Value {
        let s = &self.spec;
        let fill = match (&s.dtype, s.fill_value) {
            (DataType::Text(TextKind::Utf32(_)), _) => "".into(),
            (_, None) => Value::Null,
            _ => self.fill_json(),
        };
        json!({
            "zarr_format": 2,
            "shape": s.shape,
            "chunks": s.chunks,
            "dtype": v2_type(&s.dtype),
            "compressor": self.codec.v2(),
            "fill_value": fill,
            "order": "C",
            "filters": self.codec.v2_filters(&s.dtype),
            "dimension_separator": "."
        })
    }

    fn fill_json(&self) -> Value {
        let Some(number) = self.spec.dtype.number() else {
            return "".into();
        };
        let fill = self.spec.fill_value.unwrap_or(Scalar::Int(0));
        match number {
            DType::Bool => Value::Bool(fill.to_f64() != 0.0),
            d if d.is_float() => {
                // As the type holds it: 0.1 in a `float32` is another number than in a `float64`.
                let held = match d {
                    DType::Float16 => half::f16::from_f64(fill.to_f64()).to_f64(),
                    DType::Float32 => f64::from(fill.to_f64() as f32),
                    _ => fill.to_f64(),
                };
                match Number::from_f64(held) {
                    Some(number) => Value::Number(number),
                    None if held.is_nan() => "NaN".into(),
                    None if held > 0.0 => "Infinity".into(),
                    None => "-Infinity".into(),
                }
            }
            _ => match fill {
                Scalar::Int(v) => v.into(),
                Scalar::UInt(v) => v.into(),
                Scalar::Float(v) => (v as i64).into(),
            },
        }
    }
}

/// What xarray calls an array without a name; it and others write it so.
const UNNAMED: &str = "__xarray_dataarray_variable__";

/// A path of names that every store and reader takes: no empty, `.`-led or `__`-led segment, none that looks like a key.
pub(crate) fn check_path(path: &str) -> Result<(), String> {
    for name in path.split('/') {
        if name.is_empty() {
            return Err(format!("`{path}` has an empty name"));
        }
        let reserved = name.starts_with("__") && name != UNNAMED;
        if name.starts_with('.') || reserved || name == "zarr.json" {
            return Err(format!("`{name}` cannot be the name of an array or group"));
        }
        if name.chars().any(|c| c.is_control() || c == '\\') {
            return Err(format!("{name:?} holds a character that no name may hold"));
        }
    }
    Ok(())
}

fn v3_type(dtype: &DataType) -> Value {
    let time = |name: &str, unit: &chunkwise_core::cube::TimeUnit| json!({"name": name, "configuration": {"unit": unit.unit, "scale_factor": unit.step}});
    match dtype {
        DataType::Number(d) => d.name().into(),
        DataType::DateTime(unit) => time("numpy.datetime64", unit),
        DataType::Duration(unit) => time("numpy.timedelta64", unit),
        DataType::Text(TextKind::Utf32(n)) => {
            json!({"name": "fixed_length_utf32", "configuration": {"length_bytes": 4 * n}})
        }
        DataType::Text(TextKind::Bytes(n)) => {
            json!({"name": "null_terminated_bytes", "configuration": {"length_bytes": n}})
        }
        other => other.name().into(),
    }
}

fn v2_type(dtype: &DataType) -> Value {
    let time = |kind: char, unit: &chunkwise_core::cube::TimeUnit| match (unit.unit.as_str(), unit.step) {
        ("generic", _) => format!("<{kind}8"),
        (name, 1) => format!("<{kind}8[{name}]"),
        (name, step) => format!("<{kind}8[{step}{name}]"),
    };
    let text = match dtype {
        DataType::Number(d) => {
            let kind = match d {
                DType::Bool => 'b',
                d if d.is_float() => 'f',
                d if d.is_signed_int() => 'i',
                _ => 'u',
            };
            format!("{}{kind}{}", if d.size() == 1 { '|' } else { '<' }, d.size())
        }
        DataType::DateTime(unit) => time('M', unit),
        DataType::Duration(unit) => time('m', unit),
        other => other.name(),
    };
    text.into()
}

/// Group metadata objects: key below the group, and JSON.
pub(crate) fn group_metadata(
    zarr: ZarrVersion,
    attrs: &Attrs,
    consolidated: Option<&Map<String, Value>>,
) -> Vec<(String, Value)> {
    match zarr {
        ZarrVersion::V3 => {
            let mut node = json!({
                "zarr_format": 3, "node_type": "group", "attributes": Value::Object(attrs.clone())
            });
            if let (Some(found), Value::Object(node)) = (consolidated, &mut node) {
                node.insert(
                    "consolidated_metadata".to_owned(),
                    json!({"kind": "inline", "must_understand": false, "metadata": found}),
                );
            }
            vec![("zarr.json".to_owned(), node)]
        }
        ZarrVersion::V2 => {
            let mut objects = vec![
                (".zattrs".to_owned(), Value::Object(attrs.clone())),
                (".zgroup".to_owned(), json!({"zarr_format": 2})),
            ];
            if let Some(found) = consolidated {
                let mut all = found.clone();
                for (key, value) in &objects {
                    all.insert(key.clone(), value.clone());
                }
                objects.push((".zmetadata".to_owned(), json!({"zarr_consolidated_format": 1, "metadata": all})));
            }
            objects
        }
    }
}

#[cfg(test)]
mod tests;
