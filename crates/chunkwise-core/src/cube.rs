//! The cube model: what a Zarr group is once names, units and missing values are understood.
//!
//! Everything here is metadata. Labels of coordinates are read when a job needs them ([`Labels`]).

use crate::cf::time::{TimeAxis, is_time_units};
use crate::dtype::{DType, Scalar};
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

/// Attributes of a group or variable, in the order in which they are stored.
pub type Attrs = serde_json::Map<String, serde_json::Value>;

/// Unit of `datetime64` and `timedelta64` values, as numpy names it: `ns`, `us`, `s`, `D` …
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimeUnit {
    /// numpy's name of the unit: `Y M W D h m s ms us ns ps fs as` or `generic`.
    pub unit: String,
    /// How many of the unit one count is (numpy's `scale_factor`, nearly always 1).
    pub step: u32,
}

impl TimeUnit {
    /// CF's word for the unit: `days`, `hours` …; `None` for what has no fixed length, or none in CF.
    pub fn word(&self) -> Option<&'static str> {
        Some(match self.unit.as_str() {
            "D" => "days",
            "h" => "hours",
            "m" => "minutes",
            "s" => "seconds",
            "ms" => "milliseconds",
            "us" => "microseconds",
            "ns" => "nanoseconds",
            _ => return None,
        })
    }
}

/// How text is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TextKind {
    /// `fixed_length_utf32` / `<U8`: this many UTF-32 code points a cell.
    Utf32(usize),
    /// `string` (`vlen-utf8`).
    Variable,
    /// `null_terminated_bytes` / `|S8`: this many bytes a cell.
    Bytes(usize),
}

/// Data type of a stored array.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum DataType {
    /// A number, or `bool`.
    Number(DType),
    /// `datetime64`: an `int64` count since 1970-01-01; `i64::MIN` is "not a time" and missing.
    DateTime(TimeUnit),
    /// `timedelta64`: an `int64` count; `i64::MIN` is missing.
    Duration(TimeUnit),
    /// Text: for coordinates only.
    Text(TextKind),
    /// A type that cannot be read, by its name as stored; [`Variable::problem`] says so too.
    Unknown(String),
}

impl DataType {
    /// The element type that chunks of this type decode to; `None` for text.
    pub fn number(&self) -> Option<DType> {
        match self {
            DataType::Number(d) => Some(*d),
            DataType::DateTime(_) | DataType::Duration(_) => Some(DType::Int64),
            DataType::Text(_) | DataType::Unknown(_) => None,
        }
    }

    /// Name for people: `uint16`, `datetime64[ns]`, `<U4`, `string`.
    pub fn name(&self) -> String {
        let unit = |u: &TimeUnit| match u.step {
            1 => u.unit.clone(),
            n => format!("{n}{}", u.unit),
        };
        match self {
            DataType::Number(d) => d.name().to_owned(),
            DataType::DateTime(u) => format!("datetime64[{}]", unit(u)),
            DataType::Duration(u) => format!("timedelta64[{}]", unit(u)),
            DataType::Text(TextKind::Utf32(n)) => format!("<U{n}"),
            DataType::Text(TextKind::Bytes(n)) => format!("|S{n}"),
            DataType::Text(TextKind::Variable) => "string".to_owned(),
            DataType::Unknown(name) => name.clone(),
        }
    }
}

/// CF packing: `value = stored * scale + offset`, after `_Unsigned` has been applied.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Packing {
    /// `scale_factor`, 1 where absent.
    pub scale: f64,
    /// `add_offset`, 0 where absent.
    pub offset: f64,
}

impl Packing {
    /// Values are what is stored.
    pub const NONE: Packing = Packing { scale: 1.0, offset: 0.0 };

    /// Whether values are what is stored.
    pub fn is_none(&self) -> bool {
        *self == Packing::NONE
    }
}

/// Which stored values mark a missing cell. `NaN` always does.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Missing {
    /// Stored values (after `_Unsigned`) that mark a missing cell.
    pub marks: Vec<Scalar>,
    /// Smallest and largest stored value that is not missing, inclusive; `None`: any is.
    #[serde(default, with = "open_range")]
    pub within: Option<(f64, f64)>,
}

/// Position of one chunk grid: which stored piece holds which cells.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ChunkSizes {
    /// Chunks of equal length; the last may reach past the end.
    Regular(u64),
    /// Lengths one by one (`rectilinear`).
    Listed(Vec<u64>),
}

/// How the keys of chunks are made from their index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ChunkKeys {
    /// `c/1/0`, `c.1.0`: the separator; a scalar is `c`.
    Default(char),
    /// `1.0`, `1/0`: the separator; a scalar is `0`.
    V2(char),
}

impl ChunkKeys {
    /// The key of the chunk at an index, below the path of its array.
    pub fn key(self, index: &[u64]) -> String {
        let joined = |separator: char| {
            let parts: Vec<String> = index.iter().map(u64::to_string).collect();
            parts.join(separator.encode_utf8(&mut [0; 4]))
        };
        match self {
            ChunkKeys::Default(_) if index.is_empty() => "c".to_owned(),
            ChunkKeys::Default(separator) => format!("c{separator}{}", joined(separator)),
            ChunkKeys::V2(_) if index.is_empty() => "0".to_owned(),
            ChunkKeys::V2(separator) => joined(separator),
        }
    }
}

/// One step of a codec chain, as Zarr v3 writes it (v2 metadata are brought into this form).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Codec {
    /// `zstd`, `numcodecs.delta` …
    pub name: String,
    /// Its configuration, empty where there is none.
    #[serde(default)]
    pub configuration: Attrs,
}

/// How chunks are named and encoded: all that a reader needs beside shape and type.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Encoding {
    /// How keys are made.
    pub keys: ChunkKeys,
    /// The codecs in the order of encoding, of one stored object (`sharding_indexed` holds the inner ones).
    pub codecs: Vec<Codec>,
    /// What a cell of an absent chunk of text holds; empty where nothing is said, and for numbers.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub fill_text: String,
}

impl Default for Encoding {
    /// Keys `c/1/0` and no codecs, which no stored array has: for variables that were never stored.
    fn default() -> Self {
        Encoding { keys: ChunkKeys::Default('/'), codecs: Vec::new(), fill_text: String::new() }
    }
}

/// An array with named dimensions: data, coordinate, bounds or grid mapping.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Variable {
    /// Name within the group.
    pub name: String,
    /// Path of the array in the store, without a leading slash; empty for a bare array at the root.
    pub path: String,
    /// Dimension names; `dim_0`, `dim_1` … where the file names none.
    pub dims: Vec<String>,
    /// Cells along each dimension.
    pub shape: Vec<u64>,
    /// What is stored.
    pub dtype: DataType,
    /// The element type in which stored values are read: `_Unsigned` applied. `None` for text.
    pub view: Option<DType>,
    /// Chunks as they are decoded: of a sharded array, the inner chunks.
    pub chunks: Vec<ChunkSizes>,
    /// Cells of shards (stored objects) along each dimension, where the array is sharded: made of whole chunks.
    pub shards: Option<Vec<ChunkSizes>>,
    /// Zarr's fill value: what an absent chunk holds. `None`: undefined (v2 `null`), or text.
    pub fill_value: Option<Scalar>,
    /// CF packing.
    pub packing: Packing,
    /// Missing marks.
    pub missing: Missing,
    /// `valid_min`, `valid_max`/`valid_range`: in stored units, inclusive. Cells outside are counted; they are missing
    /// only where [`Missing::within`] says so.
    #[serde(with = "open_range")]
    pub valid: Option<(f64, f64)>,
    /// Attributes as stored.
    pub attrs: Attrs,
    /// Codec chain for people: `bytes, zstd(3)`; of a sharded array the inner chain.
    pub codecs: String,
    /// How chunks are named and encoded.
    #[serde(default)]
    pub encoding: Encoding,
    /// 2 or 3.
    pub zarr_format: u8,
    /// Whether it holds data, or describes other variables.
    pub role: Role,
    /// Why its cells cannot be read: a type, codec or grid that is not known, metadata that contradict themselves.
    /// Such a variable is listed and refused by name when it is used; the others stay usable.
    #[serde(default)]
    pub problem: Option<String>,
}

/// A range whose open ends survive JSON, which has no infinities.
mod open_range {
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};
    type Ends = Option<(Option<f64>, Option<f64>)>;
    pub(super) fn serialize<S: Serializer>(v: &Option<(f64, f64)>, s: S) -> Result<S::Ok, S::Error> {
        let end = |end: f64| end.is_finite().then_some(end);
        let ends: Ends = v.map(|(low, high)| (end(low), end(high)));
        ends.serialize(s)
    }
    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Option<(f64, f64)>, D::Error> {
        let open =
            |(low, high): (Option<f64>, Option<f64>)| (low.unwrap_or(f64::NEG_INFINITY), high.unwrap_or(f64::INFINITY));
        Ok(Ends::deserialize(d)?.map(open))
    }
}

/// What a variable is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Data to compute with.
    Data,
    /// Labels of the dimension of the same name.
    Dimension,
    /// Auxiliary coordinate (named by a `coordinates` attribute).
    Auxiliary,
    /// Cell bounds of a coordinate.
    Bounds,
    /// Grid mapping (CRS) variable.
    GridMapping,
}

impl Variable {
    /// `units` attribute.
    pub fn units(&self) -> Option<&str> {
        self.attrs.get("units").and_then(|v| v.as_str())
    }

    /// Whether it holds times, by its type or its units.
    pub fn is_time(&self) -> bool {
        matches!(self.dtype, DataType::DateTime(_)) || self.units().is_some_and(is_time_units)
    }

    /// Type of decoded values: the stored type where nothing is packed, else `float32`/`float64`
    /// (≤ 16-bit integers and `float32` give `float32`).
    pub fn decoded_dtype(&self) -> Option<DType> {
        let view = self.view?;
        Some(if self.packing.is_none() { view } else { view.result_float() })
    }

    /// Number of cells; at most `u128::MAX`, which only metadata that lie can name.
    pub fn cells(&self) -> u128 {
        self.shape.iter().fold(1, |cells: u128, &n| cells.saturating_mul(n.into()))
    }

    /// Axis of dimension `dim`.
    pub fn axis(&self, dim: &str) -> Option<usize> {
        self.dims.iter().position(|d| d == dim)
    }
}

/// Labels of one dimension, or values of an auxiliary 1-D coordinate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Labels {
    /// No coordinate: cells are 0 … n − 1.
    Index(u64),
    /// Integers, exact.
    Integer(Vec<i64>),
    /// Numbers (decoded).
    Number(Vec<f64>),
    /// Times in a calendar.
    Time(TimeAxis),
    /// Text, e.g. band names.
    Text(Vec<String>),
}

impl Labels {
    /// How many labels.
    pub fn len(&self) -> u64 {
        match self {
            Labels::Index(n) => *n,
            Labels::Integer(v) => v.len() as u64,
            Labels::Number(v) => v.len() as u64,
            Labels::Time(t) => t.len() as u64,
            Labels::Text(v) => v.len() as u64,
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A Zarr group read as labelled variables that share dimensions, or one bare array.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cube {
    /// Where it was opened, as the user wrote it.
    pub location: String,
    /// 2 or 3.
    pub zarr_format: u8,
    /// Group attributes.
    pub attrs: Attrs,
    /// All dimensions and their lengths.
    pub dims: IndexMap<String, u64>,
    /// All arrays of the group, in stored order (v3 consolidated) or by name.
    pub variables: IndexMap<String, Variable>,
}

impl Cube {
    /// The variables that hold data, in order.
    pub fn data_variables(&self) -> impl Iterator<Item = &Variable> {
        self.variables.values().filter(|v| v.role == Role::Data)
    }

    /// The coordinate variable of dimension `dim`.
    pub fn coordinate(&self, dim: &str) -> Option<&Variable> {
        self.variables.get(dim).filter(|v| v.role == Role::Dimension)
    }
}

/// The shard that holds a chunk, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardOf {
    /// Index of the shard in the grid of shards.
    pub index: Vec<u64>,
    /// First chunk of the shard.
    pub first: Vec<u64>,
    /// Chunks of the shard along each dimension.
    pub per: Vec<u64>,
    /// The chunk, counted from the first one of the shard.
    pub within: Vec<u64>,
}

impl Variable {
    /// The shard that holds `chunk`; `None` where the array is not sharded.
    pub fn shard_of(&self, chunk: &[u64]) -> Option<ShardOf> {
        ShardOf::find(self.shards.as_ref()?, &self.chunks, chunk)
    }
}

impl ShardOf {
    /// The shard that holds `chunk` in grids of shards and of equal chunks; `None` where the chunks differ in size.
    pub fn find(shards: &[ChunkSizes], chunks: &[ChunkSizes], chunk: &[u64]) -> Option<ShardOf> {
        let mut found = ShardOf { index: Vec::new(), first: Vec::new(), per: Vec::new(), within: Vec::new() };
        for ((shard, chunks), &c) in shards.iter().zip(chunks).zip(chunk) {
            let ChunkSizes::Regular(size) = *chunks else { return None };
            let (index, start, cells) = shard.locate(c.checked_mul(size)?);
            found.index.push(index);
            found.first.push(start / size);
            found.per.push(cells / size);
            found.within.push(c - start / size);
        }
        Some(found)
    }

    /// Place of the chunk within the shard, in C order.
    pub fn position(&self) -> u64 {
        self.per.iter().zip(&self.within).fold(0, |at, (&n, &c)| at * n + c)
    }

    /// Number of chunks of the shard; `None` where it passes all bounds.
    pub fn count(&self) -> Option<u64> {
        self.per.iter().try_fold(1u64, |a, &n| a.checked_mul(n))
    }

    /// Whether the chunk at a place of the shard has cells within an array of `shape`.
    pub fn holds_cells(&self, mut position: u64, shape: &[u64], chunks: &[ChunkSizes]) -> bool {
        let along = self.first.iter().zip(&self.per).zip(shape).zip(chunks);
        along.rev().all(|(((first, n), cells), chunks)| {
            let at = position % n;
            position /= n;
            (first + at).saturating_mul(chunks.longest()) < *cells
        })
    }
}
