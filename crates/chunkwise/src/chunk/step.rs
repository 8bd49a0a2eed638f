//! Bytes-to-bytes codecs, undone one at a time and never beyond what a chunk can hold.

use super::error::{BoxError, DecodeError};
use chunkwise_core::cube::Codec;
use std::io::Read;
use std::sync::Arc;
use zarrs::array::codec::{BloscCodec, BloscCompressor, BloscShuffleMode};
use zarrs::array::{BytesRepresentation, BytesToBytesCodecTraits, CodecOptions};

/// How many bytes a step may give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Size {
    /// These, no fewer and no more.
    Exact(u64),
    /// At most these.
    AtMost(u64),
}

impl Size {
    pub(super) fn limit(self) -> u64 {
        match self {
            Size::Exact(n) | Size::AtMost(n) => n,
        }
    }

    pub(super) fn check(self, found: usize) -> Result<(), DecodeError> {
        let found = found as u64;
        match self {
            Size::Exact(expected) if found != expected => Err(DecodeError::Size { found, expected }),
            Size::AtMost(expected) if found > expected => Err(DecodeError::Larger { expected }),
            _ => Ok(()),
        }
    }

    fn map(self, f: impl Fn(u64) -> u64) -> Size {
        match self {
            Size::Exact(n) => Size::Exact(f(n)),
            Size::AtMost(n) => Size::AtMost(f(n)),
        }
    }
}

/// A sum kept beside the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sum {
    Crc32c,
    Crc32,
    Adler32,
}

#[derive(Debug)]
enum Kind {
    Zstd,
    Gzip,
    Zlib,
    Bz2,
    Lz4,
    Blosc(BloscCodec),
    Shuffle(usize),
    Checksum { sum: Sum, first: bool },
    Zarrs(Arc<dyn BytesToBytesCodecTraits>),
}

/// One bytes-to-bytes codec of a chain.
#[derive(Debug)]
pub(super) struct Step {
    name: String,
    kind: Kind,
}

/// Decoders that are used again.
#[derive(Default)]
pub(super) struct Tools {
    zstd: Option<zstd::bulk::Decompressor<'static>>,
}

fn reserve(out: &mut Vec<u8>, bytes: u64) -> Result<(), DecodeError> {
    out.clear();
    usize::try_from(bytes).ok().and_then(|n| out.try_reserve_exact(n).ok()).ok_or(DecodeError::Memory { bytes })
}

impl Step {
    /// The codecs whose decoding is ours; `None` for all others.
    pub(super) fn own(codec: &Codec) -> Option<Result<Step, BoxError>> {
        let name = codec.name.as_str();
        let plain = name.strip_prefix("numcodecs.").unwrap_or(name);
        let kind = match plain {
            "zstd" => Ok(Kind::Zstd),
            "gzip" => Ok(Kind::Gzip),
            "zlib" => Ok(Kind::Zlib),
            "bz2" => Ok(Kind::Bz2),
            "lz4" => Ok(Kind::Lz4),
            "blosc" => blosc(),
            "shuffle" => shuffle(codec),
            // numcodecs puts CRC32 and Adler32 before the bytes; Zarr's own crc32c stands behind them.
            "crc32c" => checksum(codec, Sum::Crc32c, false),
            "crc32" => checksum(codec, Sum::Crc32, true),
            "adler32" => checksum(codec, Sum::Adler32, true),
            _ => return None,
        };
        Some(kind.map(|kind| Step { name: codec.name.clone(), kind }))
    }

    pub(super) fn zarrs(name: &str, codec: Arc<dyn BytesToBytesCodecTraits>) -> Step {
        Step { name: name.to_owned(), kind: Kind::Zarrs(codec) }
    }

    /// How many bytes this codec makes of so many.
    pub(super) fn encoded(&self, size: Size) -> Size {
        match &self.kind {
            Kind::Shuffle(_) => size,
            Kind::Checksum { .. } => size.map(|n| n.saturating_add(4)),
            Kind::Zarrs(codec) => match codec.encoded_representation(&representation(size)) {
                BytesRepresentation::FixedSize(n) => Size::Exact(n),
                BytesRepresentation::BoundedSize(n) => Size::AtMost(n),
                BytesRepresentation::UnboundedSize => grown(size),
            },
            _ => grown(size),
        }
    }

    /// Strips a checksum without copying; `None` where this step is none.
    pub(super) fn strip<'a>(&self, bytes: &'a [u8]) -> Option<Result<&'a [u8], DecodeError>> {
        let Kind::Checksum { sum, first } = self.kind else {
            return None;
        };
        Some(self.verified(bytes, sum, first))
    }

    fn verified<'a>(&self, bytes: &'a [u8], sum: Sum, first: bool) -> Result<&'a [u8], DecodeError> {
        let cut = if first { Some(4) } else { bytes.len().checked_sub(4) };
        let (head, tail) = cut.and_then(|at| bytes.split_at_checked(at)).ok_or_else(|| self.truncated(bytes))?;
        let (stored, data) = if first { (head, tail) } else { (tail, head) };
        let found = match sum {
            Sum::Crc32c => crc32c::crc32c(data),
            Sum::Crc32 => crc32fast::hash(data),
            Sum::Adler32 => adler2::adler32_slice(data),
        };
        if found.to_le_bytes() == stored { Ok(data) } else { Err(DecodeError::Checksum { codec: self.name.clone() }) }
    }

    /// Undoes this codec: `out` holds the decoded bytes and nothing else.
    pub(super) fn decode(
        &self,
        bytes: &[u8],
        size: Size,
        tools: &mut Tools,
        out: &mut Vec<u8>,
    ) -> Result<(), DecodeError> {
        match &self.kind {
            Kind::Zstd => self.zstd(bytes, size, tools, out)?,
            Kind::Gzip => self.stream(flate2::read::MultiGzDecoder::new(bytes), size, out)?,
            Kind::Zlib => self.stream(flate2::read::ZlibDecoder::new(bytes), size, out)?,
            Kind::Bz2 => self.stream(bzip2::read::MultiBzDecoder::new(bytes), size, out)?,
            Kind::Lz4 => self.lz4(bytes, size, out)?,
            Kind::Blosc(codec) => {
                let nbytes = bytes.get(4..8).filter(|_| bytes.len() >= 16);
                let nbytes = nbytes.ok_or_else(|| self.truncated(bytes))?;
                let nbytes = u32::from_le_bytes([nbytes[0], nbytes[1], nbytes[2], nbytes[3]]);
                size.check(nbytes as usize)?;
                *out = self.by_zarrs(codec, bytes, size)?;
            }
            Kind::Shuffle(width) => {
                let count = bytes.len() / width;
                if count * width != bytes.len() {
                    return Err(self.truncated(bytes));
                }
                reserve(out, bytes.len() as u64)?;
                out.resize(bytes.len(), 0);
                for (at, plane) in bytes.chunks_exact(count.max(1)).enumerate() {
                    for (cell, &byte) in out.chunks_exact_mut(*width).zip(plane) {
                        cell[at] = byte;
                    }
                }
            }
            Kind::Checksum { sum, first } => {
                let data = self.verified(bytes, *sum, *first)?;
                reserve(out, data.len() as u64)?;
                out.extend_from_slice(data);
            }
            Kind::Zarrs(codec) => *out = self.by_zarrs(codec.as_ref(), bytes, size)?,
        }
        size.check(out.len())
    }

    fn zstd(&self, bytes: &[u8], size: Size, tools: &mut Tools, out: &mut Vec<u8>) -> Result<(), DecodeError> {
        let Size::Exact(expected) = size else {
            let stream = zstd::stream::read::Decoder::with_buffer(bytes);
            return self.stream(stream.map_err(|e| self.refused(e))?, size, out);
        };
        reserve(out, expected)?;
        let zstd = match &mut tools.zstd {
            Some(zstd) => zstd,
            none => none.insert(zstd::bulk::Decompressor::new().map_err(|e| self.refused(e))?),
        };
        match zstd.decompress_to_buffer(bytes, out) {
            Ok(_) => Ok(()),
            Err(source) => match zstd::zstd_safe::get_frame_content_size(bytes) {
                Ok(Some(found)) if found != expected => Err(DecodeError::Size { found, expected }),
                _ => Err(self.refused(source)),
            },
        }
    }

    fn lz4(&self, bytes: &[u8], size: Size, out: &mut Vec<u8>) -> Result<(), DecodeError> {
        let (head, block) = bytes.split_first_chunk::<4>().ok_or_else(|| self.truncated(bytes))?;
        let found = u32::from_le_bytes(*head);
        size.check(found as usize)?;
        reserve(out, found.into())?;
        out.resize(found as usize, 0);
        let n = lz4_flex::block::decompress_into(block, out).map_err(|e| self.refused(e))?;
        out.truncate(n);
        Ok(())
    }

    fn stream(&self, decoder: impl Read, size: Size, out: &mut Vec<u8>) -> Result<(), DecodeError> {
        match size {
            Size::Exact(n) => reserve(out, n)?,
            Size::AtMost(_) => out.clear(),
        }
        let expected = size.limit();
        let mut bounded = decoder.take(expected.saturating_add(1));
        bounded.read_to_end(out).map_err(|e| self.refused(e))?;
        if out.len() as u64 > expected { Err(DecodeError::Larger { expected }) } else { Ok(()) }
    }

    fn by_zarrs(&self, codec: &dyn BytesToBytesCodecTraits, bytes: &[u8], size: Size) -> Result<Vec<u8>, DecodeError> {
        let options = CodecOptions::default().with_concurrent_target(1);
        guarded(|| codec.decode(bytes.into(), &representation(size), &options))
            .map(std::borrow::Cow::into_owned)
            .map_err(|source| DecodeError::Codec { codec: self.name.clone(), source })
    }

    fn refused(&self, source: impl Into<BoxError>) -> DecodeError {
        DecodeError::Codec { codec: self.name.clone(), source: source.into() }
    }

    fn truncated(&self, bytes: &[u8]) -> DecodeError {
        DecodeError::Truncated { codec: self.name.clone(), found: bytes.len() as u64 }
    }
}

/// Runs a foreign codec: should it panic on damaged bytes, that is an error of the chunk.
pub(super) fn guarded<T, E: Into<BoxError>>(work: impl FnOnce() -> Result<T, E>) -> Result<T, BoxError> {
    // Codecs are plain data that decoding does not change: nothing is left half done.
    match std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)) {
        Ok(result) => result.map_err(Into::into),
        Err(_) => Err("the bytes are damaged or the settings do not fit the chunk".into()),
    }
}

fn representation(size: Size) -> BytesRepresentation {
    match size {
        Size::Exact(n) => BytesRepresentation::FixedSize(n),
        Size::AtMost(n) => BytesRepresentation::BoundedSize(n),
    }
}

/// No compressor in use makes data that resist it larger than this.
fn grown(size: Size) -> Size {
    let n = size.limit();
    Size::AtMost(n.saturating_add(n / 8).saturating_add(1 << 16))
}

/// Decoding takes all it needs from the header of the bytes, so any setting will do.
fn blosc() -> Result<Kind, BoxError> {
    let level = 5u8.try_into().map_err(|_| "no such level")?;
    let codec = BloscCodec::new(BloscCompressor::LZ4, level, None, BloscShuffleMode::NoShuffle, None)?;
    Ok(Kind::Blosc(codec))
}

fn shuffle(codec: &Codec) -> Result<Kind, BoxError> {
    // numcodecs' default is 4.
    let width = codec.configuration.get("elementsize").map_or(Some(4), |v| v.as_u64());
    match width.and_then(|w| usize::try_from(w).ok()) {
        // numcodecs leaves the bytes as they are for 0, too.
        Some(width @ 0..=65536) => Ok(Kind::Shuffle(width.max(1))),
        _ => Err("`elementsize` is no size of an element".into()),
    }
}

fn checksum(codec: &Codec, sum: Sum, first: bool) -> Result<Kind, BoxError> {
    let first = match codec.configuration.get("location") {
        None | Some(serde_json::Value::Null) => first,
        Some(at) => match at.as_str() {
            Some("start") => true,
            Some("end") => false,
            _ => return Err(format!("`location` is `{at}`, not `start` or `end`").into()),
        },
    };
    Ok(Kind::Checksum { sum, first })
}
