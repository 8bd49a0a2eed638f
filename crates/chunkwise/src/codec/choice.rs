//! The codec of new arrays: what `--codec` says, and its metadata in both Zarr versions.
//!
//! `docs/codecs.md` has the figures behind the default, `docs/formats.md` says who reads what.

use super::cells::numpy_name;
use chunkwise_core::cube::{Attrs, Codec, DataType};
use chunkwise_core::dtype::DType;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::fmt;
use std::str::FromStr;
use zarrs::array::codec::{BloscCompressor, BloscShuffleMode};

/// How the cells of a new array are compressed.
///
/// As text: `[FILTER+…]COMPRESSOR[+crc32c]`. Filters are `delta`, `bitround:BITS`, `quantize:DIGITS` and `packbits`;
/// compressors `auto`, `none`, `zstd[:LEVEL]`, `gzip[:LEVEL]`, `blosc[:NAME[:LEVEL[:SHUFFLE]]]`, `zlib[:LEVEL]`, `bz2[:LEVEL]`,
/// `lz4`, `lzma[:PRESET]`, `pcodec[:LEVEL]`, or the name of a codec that was [`register`](super::register)ed, with
/// `:` and its settings as JSON where it has any. Shuffling is part of Blosc, because the separate shuffle codec is not
/// read by all.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct CodecChoice {
    /// What is done to the cells before, in this order.
    pub filters: Vec<Filter>,
    /// The compressor.
    pub compression: Compression,
    /// A CRC-32C of each chunk behind it (Zarr v3 only): a damaged chunk is then always noticed.
    pub checksum: bool,
}

/// What is done to cells before they are compressed. None but the last is read by more than numcodecs and zarrs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filter {
    /// Each cell as its difference to the one before it.
    Delta,
    /// Floats rounded to so many bits of their mantissa: digits are lost.
    BitRound {
        /// Bits kept.
        keep: u32,
    },
    /// Floats rounded to so many decimal digits: digits are lost.
    Quantize {
        /// Digits behind the point.
        digits: i32,
    },
    /// Eight truth values in a byte.
    PackBits,
}

/// A compressor with its settings.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Compression {
    /// `zstd:3` for types of one byte and for text, else `blosc:lz4:5:shuffle`.
    #[default]
    Auto,
    /// Bytes as they are.
    None,
    /// Zstandard.
    Zstd {
        /// −131072 to 22.
        level: i32,
    },
    /// gzip.
    Gzip {
        /// 0 to 9.
        level: u8,
    },
    /// Blosc 1.
    Blosc {
        /// What compresses the shuffled bytes.
        name: BloscName,
        /// 0 to 9.
        level: u8,
        /// How bytes are ordered before.
        shuffle: Shuffle,
    },
    /// zlib, as numcodecs has it.
    Zlib {
        /// 0 to 9.
        level: u8,
    },
    /// bzip2, as numcodecs has it.
    Bz2 {
        /// 1 to 9.
        level: u8,
    },
    /// LZ4, as numcodecs has it.
    Lz4,
    /// `.xz`, as numcodecs has it.
    Lzma {
        /// 0 to 9.
        preset: u8,
    },
    /// Pcodec, for numbers of two bytes and more.
    Pcodec {
        /// 0 to 12.
        level: u8,
    },
    /// A codec that this program [`register`](super::register)ed.
    Own {
        /// Name in the metadata.
        name: String,
        /// Its configuration.
        settings: Attrs,
    },
}

/// The compressors within Blosc.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum BloscName {
    Lz4,
    Lz4hc,
    Zstd,
    Zlib,
    Blosclz,
}

/// The order of bytes within Blosc.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shuffle {
    /// As they are.
    No,
    /// First bytes of all values first.
    Byte,
    /// First bits of all values first.
    Bit,
}

impl BloscName {
    pub(super) const ALL: [BloscName; 5] =
        [BloscName::Lz4, BloscName::Lz4hc, BloscName::Zstd, BloscName::Zlib, BloscName::Blosclz];

    pub(super) fn text(self) -> &'static str {
        match self {
            BloscName::Lz4 => "lz4",
            BloscName::Lz4hc => "lz4hc",
            BloscName::Zstd => "zstd",
            BloscName::Zlib => "zlib",
            BloscName::Blosclz => "blosclz",
        }
    }

    pub(super) fn zarrs(self) -> BloscCompressor {
        match self {
            BloscName::Lz4 => BloscCompressor::LZ4,
            BloscName::Lz4hc => BloscCompressor::LZ4HC,
            BloscName::Zstd => BloscCompressor::Zstd,
            BloscName::Zlib => BloscCompressor::Zlib,
            BloscName::Blosclz => BloscCompressor::BloscLZ,
        }
    }
}

impl Shuffle {
    pub(super) const ALL: [Shuffle; 3] = [Shuffle::No, Shuffle::Byte, Shuffle::Bit];

    pub(super) fn text(self) -> &'static str {
        match self {
            Shuffle::No => "noshuffle",
            Shuffle::Byte => "shuffle",
            Shuffle::Bit => "bitshuffle",
        }
    }

    pub(super) fn zarrs(self) -> BloscShuffleMode {
        match self {
            Shuffle::No => BloscShuffleMode::NoShuffle,
            Shuffle::Byte => BloscShuffleMode::Shuffle,
            Shuffle::Bit => BloscShuffleMode::BitShuffle,
        }
    }
}

/// A codec as text that cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is no codec ({problem}); what works is `auto`, `none`, `zstd[:LEVEL]`, `gzip[:LEVEL]`, \
     `blosc[:lz4|lz4hc|zstd|zlib|blosclz[:LEVEL[:shuffle|bitshuffle|noshuffle]]]`, `zlib[:LEVEL]`, `bz2[:LEVEL]`, `lz4`, \
     `lzma[:PRESET]`, `pcodec[:LEVEL]`, with `delta+`, `bitround:BITS+`, `quantize:DIGITS+` or `packbits+` before it and \
     `+crc32c` behind it"
)]
pub struct BadCodec {
    /// The text.
    pub text: String,
    /// What is wrong with it.
    pub problem: String,
}

impl FromStr for CodecChoice {
    type Err = BadCodec;

    fn from_str(text: &str) -> Result<CodecChoice, BadCodec> {
        parse(text).map_err(|problem| BadCodec { text: text.to_owned(), problem })
    }
}

fn parse(text: &str) -> Result<CodecChoice, String> {
    let text = text.trim();
    let mut choice = CodecChoice { filters: Vec::new(), compression: Compression::None, checksum: false };
    let mut compressed = false;
    for part in parts(text) {
        if choice.checksum {
            return Err("nothing may follow `crc32c`".to_owned());
        }
        if part.eq_ignore_ascii_case("crc32c") && (compressed || !choice.filters.is_empty()) {
            choice.checksum = true;
        } else if let Some(filter) = filter(part)? {
            if compressed {
                return Err(format!("`{part}` must stand before the compressor"));
            }
            choice.filters.push(filter);
        } else if compressed {
            return Err(match part.split(':').next().unwrap_or(part) {
                "shuffle" => "shuffling is part of Blosc, as in `blosc:zstd:3:shuffle`".to_owned(),
                other => format!("only `crc32c` may follow `+` behind the compressor, not `{other}`"),
            });
        } else {
            if part.to_ascii_lowercase().starts_with("shuffle") {
                let next = text.rsplit('+').next().unwrap_or("zstd");
                let next = next.split(':').next().filter(|n| *n != part).unwrap_or("zstd");
                return Err(format!("shuffling is part of Blosc, as in `blosc:{next}:3:shuffle`"));
            }
            choice.compression = compression(part)?;
            compressed = true;
        }
    }
    Ok(choice)
}

/// The parts between `+`, less those within settings in JSON.
fn parts(text: &str) -> Vec<&str> {
    let (mut parts, mut start, mut depth) = (Vec::new(), 0, 0);
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            '+' if depth == 0 => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

fn number(text: Option<&str>, what: &str, usual: Option<i32>, low: i32, high: i32) -> Result<i32, String> {
    match (text, usual) {
        (None, Some(usual)) => Ok(usual),
        (None, None) => Err(format!("it needs its {what}, from {low} to {high}")),
        (Some(text), _) => match text.parse::<i32>() {
            Ok(number) if (low..=high).contains(&number) => Ok(number),
            _ => Err(format!("{what} `{text}` is not from {low} to {high}")),
        },
    }
}

fn done<'a>(mut rest: impl Iterator<Item = &'a str>) -> Result<(), String> {
    match rest.next() {
        None => Ok(()),
        Some(more) => Err(format!("`{more}` is one setting too many")),
    }
}

fn filter(part: &str) -> Result<Option<Filter>, String> {
    let lower = part.to_ascii_lowercase();
    let mut settings = lower.split(':');
    let filter = match settings.next().unwrap_or_default() {
        "delta" => Filter::Delta,
        "packbits" => Filter::PackBits,
        "bitround" => Filter::BitRound { keep: number(settings.next(), "number of bits", None, 0, 52)? as u32 },
        "quantize" => Filter::Quantize { digits: number(settings.next(), "number of digits", None, -30, 30)? },
        _ => return Ok(None),
    };
    done(settings)?;
    Ok(Some(filter))
}

fn compression(part: &str) -> Result<Compression, String> {
    let (name, settings) = part.split_once(':').unwrap_or((part, ""));
    if super::own::is_registered(name) {
        let settings = match settings {
            "" => Attrs::new(),
            json => serde_json::from_str(json).map_err(|e| format!("its settings are no JSON object: {e}"))?,
        };
        return Ok(Compression::Own { name: name.to_owned(), settings });
    }
    let lower = part.to_ascii_lowercase();
    let mut settings = lower.split(':');
    let name = settings.next().unwrap_or_default();
    let mut level = |usual, low, high| number(settings.next(), "level", Some(usual), low, high);
    let compression = match name {
        "auto" => Compression::Auto,
        "none" => Compression::None,
        "zstd" => Compression::Zstd { level: level(3, -131_072, 22)? },
        "gzip" => Compression::Gzip { level: level(5, 0, 9)? as u8 },
        "zlib" => Compression::Zlib { level: level(5, 0, 9)? as u8 },
        "bz2" => Compression::Bz2 { level: level(5, 1, 9)? as u8 },
        "lz4" => Compression::Lz4,
        "lzma" => Compression::Lzma { preset: level(6, 0, 9)? as u8 },
        "pcodec" => Compression::Pcodec { level: level(8, 0, 12)? as u8 },
        "blosc" => {
            let name = match settings.next() {
                None => BloscName::Lz4,
                Some(asked) => BloscName::ALL
                    .into_iter()
                    .find(|n| n.text() == asked)
                    .ok_or_else(|| format!("Blosc has no `{asked}`"))?,
            };
            let level = number(settings.next(), "level", Some(5), 0, 9)? as u8;
            let shuffle = match settings.next() {
                None => Shuffle::Byte,
                Some(asked) => Shuffle::ALL
                    .into_iter()
                    .find(|s| s.text() == asked)
                    .ok_or_else(|| format!("Blosc has no shuffle `{asked}`"))?,
            };
            Compression::Blosc { name, level, shuffle }
        }
        other => return Err(format!("there is no `{other}`")),
    };
    done(settings)?;
    Ok(compression)
}

impl fmt::Display for CodecChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for filter in &self.filters {
            match filter {
                Filter::Delta => write!(f, "delta+")?,
                Filter::PackBits => write!(f, "packbits+")?,
                Filter::BitRound { keep } => write!(f, "bitround:{keep}+")?,
                Filter::Quantize { digits } => write!(f, "quantize:{digits}+")?,
            }
        }
        match &self.compression {
            Compression::Auto => write!(f, "auto")?,
            Compression::None => write!(f, "none")?,
            Compression::Zstd { level } => write!(f, "zstd:{level}")?,
            Compression::Gzip { level } => write!(f, "gzip:{level}")?,
            Compression::Zlib { level } => write!(f, "zlib:{level}")?,
            Compression::Bz2 { level } => write!(f, "bz2:{level}")?,
            Compression::Lz4 => write!(f, "lz4")?,
            Compression::Lzma { preset } => write!(f, "lzma:{preset}")?,
            Compression::Pcodec { level } => write!(f, "pcodec:{level}")?,
            Compression::Blosc { name, level, shuffle } => {
                write!(f, "blosc:{}:{level}:{}", name.text(), shuffle.text())?;
            }
            Compression::Own { name, settings } if settings.is_empty() => write!(f, "{name}")?,
            Compression::Own { name, settings } => {
                write!(f, "{name}:{}", Value::Object(settings.clone()))?;
            }
        }
        if self.checksum { write!(f, "+crc32c") } else { Ok(()) }
    }
}

impl From<CodecChoice> for String {
    fn from(choice: CodecChoice) -> String {
        choice.to_string()
    }
}

impl TryFrom<String> for CodecChoice {
    type Error = BadCodec;
    fn try_from(text: String) -> Result<CodecChoice, BadCodec> {
        text.parse()
    }
}

impl CodecChoice {
    /// The choice with `auto` replaced by what it stands for in an array of this type.
    pub fn resolve(mut self, dtype: &DataType) -> CodecChoice {
        if self.compression == Compression::Auto {
            let packed = self.filters.contains(&Filter::PackBits);
            self.compression = match dtype.number().map(DType::size) {
                None | Some(1) => Compression::Zstd { level: 3 },
                Some(_) if packed => Compression::Zstd { level: 3 },
                Some(_) => Compression::Blosc { name: BloscName::Lz4, level: 5, shuffle: Shuffle::Byte },
            };
        }
        self
    }

    /// The choice that makes this chain of Zarr v3 codecs (name and configuration; of a sharded array, the inner ones);
    /// `None` where there is no such choice.
    pub fn from_codecs<'a>(codecs: impl IntoIterator<Item = (&'a str, &'a Attrs)>) -> Option<CodecChoice> {
        let mut choice = CodecChoice { filters: Vec::new(), compression: Compression::None, checksum: false };
        for (name, settings) in codecs {
            let number = |name: &str| settings.get(name).and_then(Value::as_i64);
            let small = |name: &str| number(name).and_then(|n| u8::try_from(n).ok());
            let text = |name: &str| settings.get(name).and_then(Value::as_str);
            let compression = match name {
                "bytes" => continue,
                "crc32c" if !choice.checksum => {
                    choice.checksum = true;
                    continue;
                }
                "numcodecs.delta" | "numcodecs.bitround" | "numcodecs.quantize" | "numcodecs.packbits"
                    if choice.compression == Compression::None =>
                {
                    choice.filters.push(match name {
                        "numcodecs.delta" => Filter::Delta,
                        "numcodecs.packbits" => Filter::PackBits,
                        "numcodecs.bitround" => Filter::BitRound { keep: u32::try_from(number("keepbits")?).ok()? },
                        _ => Filter::Quantize { digits: i32::try_from(number("digits")?).ok()? },
                    });
                    continue;
                }
                "zstd" => Compression::Zstd { level: i32::try_from(number("level")?).ok()? },
                "gzip" => Compression::Gzip { level: small("level")? },
                "numcodecs.zlib" => Compression::Zlib { level: small("level")? },
                "numcodecs.bz2" => Compression::Bz2 { level: small("level")? },
                "numcodecs.lz4" => Compression::Lz4,
                "numcodecs.lzma" => Compression::Lzma { preset: small("preset")? },
                "numcodecs.pcodec" => Compression::Pcodec { level: small("level")? },
                "blosc" => Compression::Blosc {
                    name: BloscName::ALL.into_iter().find(|n| Some(n.text()) == text("cname"))?,
                    level: small("clevel")?,
                    shuffle: Shuffle::ALL.into_iter().find(|s| Some(s.text()) == text("shuffle"))?,
                },
                own if super::own::is_registered(own) => {
                    Compression::Own { name: own.to_owned(), settings: settings.clone() }
                }
                _ => return None,
            };
            // One compressor, and the checksum behind it.
            if choice.compression != Compression::None || choice.checksum {
                return None;
            }
            choice.compression = compression;
        }
        Some(choice)
    }

    /// The chain as Zarr v3 metadata have it, for an array of `dtype` whose bytes are turned and shuffled by `unit`.
    pub(crate) fn v3(&self, dtype: &DataType, unit: usize) -> Vec<Value> {
        let named = |name: &str, configuration: Value| match configuration.as_object() {
            Some(empty) if empty.is_empty() => json!({ "name": name }),
            _ => json!({"name": name, "configuration": configuration}),
        };
        let mut codecs: Vec<Value> =
            self.filters.iter().map(|f| named(&format!("numcodecs.{}", f.id()), f.settings(dtype))).collect();
        let unit = if self.filters.contains(&Filter::PackBits) { 1 } else { unit };
        let bytes = match unit {
            1 => json!({"name": "bytes"}),
            _ => json!({"name": "bytes", "configuration": {"endian": "little"}}),
        };
        match &self.compression {
            Compression::Auto | Compression::None => codecs.push(bytes),
            Compression::Zstd { level } => {
                codecs.extend([bytes, named("zstd", json!({"level": level, "checksum": false}))]);
            }
            Compression::Gzip { level } => codecs.extend([bytes, named("gzip", json!({ "level": level }))]),
            Compression::Blosc { name, level, shuffle } => codecs.extend([
                bytes,
                named(
                    "blosc",
                    json!({
                        "typesize": unit, "cname": name.text(), "clevel": level, "shuffle": shuffle.text(), "blocksize": 0
                    }),
                ),
            ]),
            Compression::Own { name, settings } => {
                if !super::own::takes_cells(name) {
                    codecs.push(bytes);
                }
                codecs.push(named(name, Value::Object(settings.clone())));
            }
            Compression::Pcodec { .. } => codecs.push(named("numcodecs.pcodec", self.numcodecs_settings())),
            other => codecs.extend([bytes, named(&format!("numcodecs.{}", other.id()), self.numcodecs_settings())]),
        }
        if self.checksum {
            codecs.push(json!({"name": "crc32c"}));
        }
        codecs
    }

    /// The same as codecs to encode with.
    pub(crate) fn chain(&self, dtype: &DataType, unit: usize) -> Vec<Codec> {
        super::chain::listed(Some(&Value::Array(self.v3(dtype, unit)))).unwrap_or_default()
    }

    /// The `filters` of Zarr v2 metadata.
    pub(crate) fn v2_filters(&self, dtype: &DataType) -> Value {
        let filters: Vec<Value> = self.filters.iter().map(|f| with_id(f.id(), f.settings(dtype))).collect();
        if filters.is_empty() { Value::Null } else { filters.into() }
    }

    /// The `compressor` of Zarr v2 metadata.
    pub(crate) fn v2(&self) -> Value {
        match &self.compression {
            Compression::Auto | Compression::None => Value::Null,
            Compression::Zstd { level } => json!({"id": "zstd", "level": level}),
            Compression::Gzip { level } => json!({"id": "gzip", "level": level}),
            Compression::Blosc { name, level, shuffle } => json!({
                "id": "blosc", "cname": name.text(), "clevel": level,
                "shuffle": match shuffle { Shuffle::No => 0, Shuffle::Byte => 1, Shuffle::Bit => 2 },
                "blocksize": 0
            }),
            Compression::Own { name, settings } => with_id(name, Value::Object(settings.clone())),
            other => with_id(other.id(), self.numcodecs_settings()),
        }
    }

    /// The settings of a compressor that only numcodecs has, as numcodecs writes them.
    fn numcodecs_settings(&self) -> Value {
        match &self.compression {
            Compression::Zlib { level } | Compression::Bz2 { level } => json!({ "level": level }),
            Compression::Lz4 => json!({"acceleration": 1}),
            Compression::Lzma { preset } => json!({"format": 1, "check": -1, "preset": preset, "filters": null}),
            Compression::Pcodec { level } => json!({
                "level": level, "mode_spec": "auto", "delta_spec": "auto", "paging_spec": "equal_pages_up_to",
                "delta_encoding_order": null, "equal_pages_up_to": 262_144
            }),
            _ => json!({}),
        }
    }
}

impl Filter {
    fn id(self) -> &'static str {
        match self {
            Filter::Delta => "delta",
            Filter::BitRound { .. } => "bitround",
            Filter::Quantize { .. } => "quantize",
            Filter::PackBits => "packbits",
        }
    }

    fn settings(self, dtype: &DataType) -> Value {
        let dtype = dtype.number().unwrap_or(DType::UInt8);
        let order = if dtype.size() == 1 { '|' } else { '<' };
        let name = format!("{order}{}", numpy_name(dtype));
        match self {
            Filter::Delta => json!({"dtype": name, "astype": name}),
            Filter::BitRound { keep } => json!({ "keepbits": keep }),
            Filter::Quantize { digits } => json!({"digits": digits, "dtype": name, "astype": name}),
            Filter::PackBits => json!({}),
        }
    }
}

impl Compression {
    fn id(&self) -> &str {
        match self {
            Compression::Auto => "auto",
            Compression::None => "none",
            Compression::Zstd { .. } => "zstd",
            Compression::Gzip { .. } => "gzip",
            Compression::Blosc { .. } => "blosc",
            Compression::Zlib { .. } => "zlib",
            Compression::Bz2 { .. } => "bz2",
            Compression::Lz4 => "lz4",
            Compression::Lzma { .. } => "lzma",
            Compression::Pcodec { .. } => "pcodec",
            Compression::Own { name, .. } => name,
        }
    }
}

fn with_id(id: &str, settings: Value) -> Value {
    let mut all = json!({ "id": id });
    if let (Value::Object(all), Value::Object(settings)) = (&mut all, settings) {
        all.extend(settings);
    }
    all
}

#[cfg(test)]
mod tests;
