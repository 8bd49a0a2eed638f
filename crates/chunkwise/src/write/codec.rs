//! The codec of new arrays: what `--codec` says, its metadata in both Zarr versions, and encoding.
//!
//! Only codecs that zarr-python, TensorStore, GDAL and zarrs all read; `docs/codecs.md` has the figures behind the default.

use chunkwise_core::cube::DataType;
use chunkwise_core::dtype::DType;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::borrow::Cow;
use std::cell::RefCell;
use std::fmt;
use std::io::Write as _;
use std::str::FromStr;
use zarrs::array::codec::{BloscCodec, BloscCompressionLevel, BloscCompressor, BloscShuffleMode};
use zarrs::array::{BytesToBytesCodecTraits, CodecOptions};

/// How the cells of a new array are compressed.
///
/// As text: `auto`, `none`, `zstd[:LEVEL]`, `gzip[:LEVEL]`, `blosc[:NAME[:LEVEL[:SHUFFLE]]]`, each with `+crc32c`.
/// Shuffling is part of Blosc, because the separate shuffle codec is not read by all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct CodecChoice {
    /// The compressor.
    pub compression: Compression,
    /// A CRC-32C of each chunk behind it (Zarr v3 only): a damaged chunk is then always noticed.
    pub checksum: bool,
}

/// A compressor with its settings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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
    const ALL: [BloscName; 5] =
        [BloscName::Lz4, BloscName::Lz4hc, BloscName::Zstd, BloscName::Zlib, BloscName::Blosclz];

    fn text(self) -> &'static str {
        match self {
            BloscName::Lz4 => "lz4",
            BloscName::Lz4hc => "lz4hc",
            BloscName::Zstd => "zstd",
            BloscName::Zlib => "zlib",
            BloscName::Blosclz => "blosclz",
        }
    }

    fn zarrs(self) -> BloscCompressor {
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
    const ALL: [Shuffle; 3] = [Shuffle::No, Shuffle::Byte, Shuffle::Bit];

    fn text(self) -> &'static str {
        match self {
            Shuffle::No => "noshuffle",
            Shuffle::Byte => "shuffle",
            Shuffle::Bit => "bitshuffle",
        }
    }

    fn zarrs(self) -> BloscShuffleMode {
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
     `blosc[:lz4|lz4hc|zstd|zlib|blosclz[:LEVEL[:shuffle|bitshuffle|noshuffle]]]`, each with `+crc32c`"
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
        let bad = |problem: String| BadCodec { text: text.to_owned(), problem };
        let lower = text.trim().to_ascii_lowercase();
        let (codec, checksum) = match lower.split_once('+') {
            None => (lower.as_str(), false),
            Some((codec, "crc32c")) => (codec, true),
            Some((first, second)) if first.contains("shuffle") => {
                let second = second.split(':').next().unwrap_or(second);
                return Err(bad(format!("shuffling is part of Blosc, as in `blosc:{second}:3:shuffle`")));
            }
            Some((_, other)) => {
                return Err(bad(format!("only `crc32c` may follow `+`, not `{other}`")));
            }
        };
        let mut parts = codec.split(':');
        let name = parts.next().unwrap_or_default();
        let level = |part: Option<&str>, default: i32, low: i32, high: i32| match part {
            None => Ok(default),
            Some(part) => match part.parse::<i32>() {
                Ok(level) if (low..=high).contains(&level) => Ok(level),
                _ => Err(bad(format!("level `{part}` is not from {low} to {high}"))),
            },
        };
        let compression = match name {
            "auto" => Compression::Auto,
            "none" => Compression::None,
            "zstd" => Compression::Zstd { level: level(parts.next(), 3, -131_072, 22)? },
            "gzip" => Compression::Gzip { level: level(parts.next(), 5, 0, 9)? as u8 },
            "blosc" => {
                let name = match parts.next() {
                    None => BloscName::Lz4,
                    Some(asked) => BloscName::ALL
                        .into_iter()
                        .find(|n| n.text() == asked)
                        .ok_or_else(|| bad(format!("Blosc has no `{asked}`")))?,
                };
                let level = level(parts.next(), 5, 0, 9)? as u8;
                let shuffle = match parts.next() {
                    None => Shuffle::Byte,
                    Some(asked) => Shuffle::ALL
                        .into_iter()
                        .find(|s| s.text() == asked)
                        .ok_or_else(|| bad(format!("Blosc has no shuffle `{asked}`")))?,
                };
                Compression::Blosc { name, level, shuffle }
            }
            other => return Err(bad(format!("there is no `{other}`"))),
        };
        match parts.next() {
            None => Ok(CodecChoice { compression, checksum }),
            Some(more) => Err(bad(format!("`{more}` is one setting too many"))),
        }
    }
}

impl fmt::Display for CodecChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.compression {
            Compression::Auto => write!(f, "auto")?,
            Compression::None => write!(f, "none")?,
            Compression::Zstd { level } => write!(f, "zstd:{level}")?,
            Compression::Gzip { level } => write!(f, "gzip:{level}")?,
            Compression::Blosc { name, level, shuffle } => {
                write!(f, "blosc:{}:{level}:{}", name.text(), shuffle.text())?;
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
    pub fn resolve(self, dtype: &DataType) -> CodecChoice {
        let compression = match self.compression {
            Compression::Auto => match dtype.number().map(DType::size) {
                None | Some(1) => Compression::Zstd { level: 3 },
                Some(_) => Compression::Blosc { name: BloscName::Lz4, level: 5, shuffle: Shuffle::Byte },
            },
            other => other,
        };
        CodecChoice { compression, ..self }
    }

    /// The choice that makes this chain of Zarr v3 codecs (name and configuration; of a sharded array, the inner ones);
    /// `None` where there is no such choice.
    pub fn from_codecs<'a>(
        codecs: impl IntoIterator<Item = (&'a str, &'a serde_json::Map<String, Value>)>,
    ) -> Option<CodecChoice> {
        let mut choice = CodecChoice { compression: Compression::None, checksum: false };
        for (name, settings) in codecs {
            let level = |name: &str| settings.get(name).and_then(Value::as_i64);
            let text = |name: &str| settings.get(name).and_then(Value::as_str);
            let compression = match name {
                "bytes" => continue,
                "crc32c" if !choice.checksum => {
                    choice.checksum = true;
                    continue;
                }
                "zstd" => Compression::Zstd { level: i32::try_from(level("level")?).ok()? },
                "gzip" => Compression::Gzip { level: u8::try_from(level("level")?).ok()? },
                "blosc" => Compression::Blosc {
                    name: BloscName::ALL.into_iter().find(|n| Some(n.text()) == text("cname"))?,
                    level: u8::try_from(level("clevel")?).ok()?,
                    shuffle: Shuffle::ALL.into_iter().find(|s| Some(s.text()) == text("shuffle"))?,
                },
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

    /// The codecs behind `bytes` as Zarr v3 metadata has them; `unit` is the size of what is shuffled.
    pub(crate) fn v3(self, unit: usize) -> Vec<Value> {
        let mut codecs = Vec::new();
        match self.compression {
            Compression::Auto | Compression::None => {}
            Compression::Zstd { level } => codecs.push(json!({
                "name": "zstd", "configuration": {"level": level, "checksum": false}
            })),
            Compression::Gzip { level } => {
                codecs.push(json!({"name": "gzip", "configuration": {"level": level}}));
            }
            Compression::Blosc { name, level, shuffle } => codecs.push(json!({
                "name": "blosc",
                "configuration": {
                    "typesize": unit, "cname": name.text(), "clevel": level, "shuffle": shuffle.text(),
                    "blocksize": 0
                }
            })),
        }
        if self.checksum {
            codecs.push(json!({"name": "crc32c"}));
        }
        codecs
    }

    /// The `compressor` of Zarr v2 metadata.
    pub(crate) fn v2(self) -> Value {
        match self.compression {
            Compression::Auto | Compression::None => Value::Null,
            Compression::Zstd { level } => json!({"id": "zstd", "level": level}),
            Compression::Gzip { level } => json!({"id": "gzip", "level": level}),
            Compression::Blosc { name, level, shuffle } => json!({
                "id": "blosc", "cname": name.text(), "clevel": level,
                "shuffle": match shuffle { Shuffle::No => 0, Shuffle::Byte => 1, Shuffle::Bit => 2 },
                "blocksize": 0
            }),
        }
    }

    /// Compresses the little-endian bytes of a chunk. The same bytes come out each time.
    ///
    /// # Errors
    /// The compressor refuses: Blosc takes at most 2 GiB.
    pub(crate) fn encode(self, raw: &[u8], unit: usize) -> Result<Vec<u8>, std::io::Error> {
        let mut bytes = match self.compression {
            Compression::Auto | Compression::None => raw.to_vec(),
            Compression::Zstd { level } => zstd_encode(raw, level)?,
            Compression::Gzip { level } => {
                let level = flate2::Compression::new(u32::from(level));
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
                encoder.write_all(raw)?;
                encoder.finish()?
            }
            Compression::Blosc { name, level, shuffle } => {
                let level = BloscCompressionLevel::try_from(level)
                    .map_err(|_| std::io::Error::other("a Blosc level is from 0 to 9"))?;
                BloscCodec::new(name.zarrs(), level, None, shuffle.zarrs(), Some(unit))
                    .map_err(|e| std::io::Error::other(e.to_string()))?
                    .encode(Cow::Borrowed(raw), &CodecOptions::default())
                    .map_err(|e| std::io::Error::other(e.to_string()))?
                    .into_owned()
            }
        };
        if self.checksum {
            let sum = crc32c::crc32c(&bytes);
            bytes.extend_from_slice(&sum.to_le_bytes());
        }
        Ok(bytes)
    }
}

/// One compressor a thread: making one costs as much as compressing a small chunk.
fn zstd_encode(raw: &[u8], level: i32) -> Result<Vec<u8>, std::io::Error> {
    thread_local! {
        static LAST: RefCell<Option<(i32, zstd::bulk::Compressor<'static>)>> = const { RefCell::new(None) };
    }
    LAST.with_borrow_mut(|last| {
        let compressor = match last {
            Some((of, compressor)) if *of == level => compressor,
            _ => &mut last.insert((level, zstd::bulk::Compressor::new(level)?)).1,
        };
        compressor.compress(raw)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> String {
        match text.parse::<CodecChoice>() {
            Ok(choice) => choice.to_string(),
            Err(e) => e.problem,
        }
    }

    #[test]
    fn settings_that_are_left_out_are_filled_in() {
        for (text, expected) in [
            ("zstd", "zstd:3"),
            ("zstd:-5", "zstd:-5"),
            ("gzip", "gzip:5"),
            ("blosc", "blosc:lz4:5:shuffle"),
            ("blosc:zstd", "blosc:zstd:5:shuffle"),
            ("BLOSC:lz4:1:BitShuffle", "blosc:lz4:1:bitshuffle"),
            ("none", "none"),
            ("auto", "auto"),
            ("zstd:9+crc32c", "zstd:9+crc32c"),
        ] {
            assert_eq!(parse(text), expected);
        }
    }

    #[test]
    fn what_is_no_codec_is_told_why() {
        for (text, expected) in [
            ("lz4", "there is no `lz4`"),
            ("zstd:23", "level `23` is not from -131072 to 22"),
            ("gzip:x", "level `x` is not from 0 to 9"),
            ("blosc:snap", "Blosc has no `snap`"),
            ("blosc:lz4:5:what", "Blosc has no shuffle `what`"),
            ("zstd:3:4", "`4` is one setting too many"),
            ("shuffle+zstd:3", "shuffling is part of Blosc, as in `blosc:zstd:3:shuffle`"),
            ("zstd+md5", "only `crc32c` may follow `+`, not `md5`"),
        ] {
            assert_eq!(parse(text), expected);
        }
    }

    #[test]
    fn a_chain_of_codecs_gives_the_choice_that_makes_it() {
        for text in ["none", "zstd:7", "gzip:2+crc32c", "blosc:zstd:4:bitshuffle", "blosc:lz4:5:noshuffle"] {
            let choice: CodecChoice = text.parse().unwrap();
            let chain = choice.v3(4);
            let none = serde_json::Map::new();
            let codecs = chain.iter().map(|c| {
                let settings = c.get("configuration").and_then(Value::as_object).unwrap_or(&none);
                (c["name"].as_str().unwrap(), settings)
            });
            assert_eq!(CodecChoice::from_codecs(codecs), Some(choice));
        }
        let none = serde_json::Map::new();
        assert_eq!(CodecChoice::from_codecs([("numcodecs.lzma", &none)]), None);
    }

    #[test]
    fn auto_shuffles_only_what_has_more_than_one_byte() {
        let of = |dtype| CodecChoice::default().resolve(&DataType::Number(dtype)).to_string();
        assert_eq!(of(DType::UInt8), "zstd:3");
        assert_eq!(of(DType::Bool), "zstd:3");
        assert_eq!(of(DType::UInt16), "blosc:lz4:5:shuffle");
        assert_eq!(of(DType::Float64), "blosc:lz4:5:shuffle");
    }

    #[test]
    fn the_same_cells_give_the_same_bytes_whatever_came_before() {
        let raw: Vec<u8> = (0..100_000u32).flat_map(|i| (i.wrapping_mul(i) as u16).to_le_bytes()).collect();
        for text in ["zstd", "zstd:9", "gzip", "blosc", "blosc:zstd:3:bitshuffle+crc32c", "none"] {
            let codec: CodecChoice = text.parse().unwrap();
            let first = codec.encode(&raw, 2).unwrap();
            codec.encode(&raw[..1000], 2).unwrap();
            assert_eq!(codec.encode(&raw, 2).unwrap(), first, "{text}");
        }
    }
}
