//! Bytes-to-bytes codecs, undone one at a time and never beyond what a chunk can hold.

use super::choice::{BloscName, Shuffle};
use super::error::{BoxError, DecodeError};
use super::lzma;
use super::own::ChunkCodec;
use chunkwise_core::cube::Codec;
use serde_json::Value;
use std::cell::RefCell;
use std::io::{Read, Write};
use std::sync::Arc;
use zarrs::array::codec::{BloscCodec, BloscCompressionLevel};
use zarrs::array::{BytesRepresentation, BytesToBytesCodecTraits, CodecOptions};

/// How many bytes a step may give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// These, no fewer and no more.
    Exact(u64),
    /// At most these.
    AtMost(u64),
}

impl Size {
    /// No more than these.
    pub fn limit(self) -> u64 {
        match self {
            Size::Exact(n) | Size::AtMost(n) => n,
        }
    }

    pub(crate) fn check(self, found: usize) -> Result<(), DecodeError> {
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
    Fletcher32,
}

#[derive(Debug)]
enum Kind {
    Zstd { level: i32, checksum: bool },
    Gzip { level: u32 },
    Zlib { level: u32 },
    Bz2 { level: u32 },
    Lz4,
    Lzma(lzma::Form),
    Blosc(BloscCodec),
    Shuffle(usize),
    Checksum { sum: Sum, first: bool },
    Zarrs(Arc<dyn BytesToBytesCodecTraits>),
    Own(Arc<dyn ChunkCodec>),
}

/// One bytes-to-bytes codec of a chain.
#[derive(Debug)]
pub(crate) struct Step {
    name: String,
    kind: Kind,
}

/// Decoders that are used again.
#[derive(Default)]
pub(crate) struct Tools {
    zstd: Option<zstd::bulk::Decompressor<'static>>,
}

fn reserve(out: &mut Vec<u8>, bytes: u64) -> Result<(), DecodeError> {
    out.clear();
    usize::try_from(bytes).ok().and_then(|n| out.try_reserve_exact(n).ok()).ok_or(DecodeError::Memory { bytes })
}

impl Step {
    /// The codecs that are ours, behind cells of `item` bytes; `None` for all others.
    pub(super) fn own(codec: &Codec, item: usize) -> Option<Result<Step, BoxError>> {
        let kind = match super::bare(&codec.name) {
            "zstd" => zstd_of(codec),
            "gzip" => level(codec, 1, 0..=9).map(|level| Kind::Gzip { level }),
            "zlib" => level(codec, 1, -1..=9).map(|level| Kind::Zlib { level }),
            "bz2" => level(codec, 1, 1..=9).map(|level| Kind::Bz2 { level }),
            "lz4" => Ok(Kind::Lz4),
            "lzma" => lzma::form(&codec.configuration).map(Kind::Lzma),
            "blosc" => blosc(codec, item),
            "shuffle" => shuffle(codec, item),
            // numcodecs puts CRC32 and Adler32 before the bytes; Zarr's own crc32c stands behind them.
            "crc32c" => checksum(codec, Sum::Crc32c, false),
            "crc32" => checksum(codec, Sum::Crc32, true),
            "adler32" => checksum(codec, Sum::Adler32, true),
            "fletcher32" => Ok(Kind::Checksum { sum: Sum::Fletcher32, first: false }),
            _ => return None,
        };
        Some(kind.map(|kind| Step { name: codec.name.clone(), kind }))
    }

    pub(super) fn zarrs(name: &str, codec: Arc<dyn BytesToBytesCodecTraits>) -> Step {
        Step { name: name.to_owned(), kind: Kind::Zarrs(codec) }
    }

    pub(super) fn registered(name: &str, codec: Arc<dyn ChunkCodec>) -> Step {
        Step { name: name.to_owned(), kind: Kind::Own(codec) }
    }

    /// Name as stored.
    pub(super) fn name(&self) -> &str {
        &self.name
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
            Kind::Own(codec) => match (codec.encoded_size(size.limit()), size) {
                (Size::Exact(n), Size::AtMost(_)) => Size::AtMost(n),
                (made, _) => made,
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
        let found = sum_of(sum, data);
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
            Kind::Zstd { .. } => self.zstd(bytes, size, tools, out)?,
            Kind::Gzip { .. } => self.stream(flate2::read::MultiGzDecoder::new(bytes), size, out)?,
            Kind::Zlib { .. } => self.stream(flate2::read::ZlibDecoder::new(bytes), size, out)?,
            Kind::Bz2 { .. } => self.stream(bzip2::read::MultiBzDecoder::new(bytes), size, out)?,
            Kind::Lz4 => self.lz4(bytes, size, out)?,
            Kind::Lzma(form) => {
                let stream = lzma::decoder(form).map_err(|e| self.refused(e))?;
                self.stream(liblzma::bufread::XzDecoder::new_stream(bytes, stream), size, out)?;
            }
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
            Kind::Own(codec) => {
                out.clear();
                guarded(|| codec.decode(bytes, size, out)).map_err(|e| self.refused(e))?;
            }
        }
        size.check(out.len())
    }

    /// Does this codec: the encoded bytes. The same bytes come out each time.
    pub(super) fn encode(&self, bytes: &[u8]) -> Result<Vec<u8>, BoxError> {
        match &self.kind {
            Kind::Zstd { level, checksum } => Ok(zstd_encode(bytes, *level, *checksum)?),
            Kind::Gzip { level } => {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(*level));
                encoder.write_all(bytes)?;
                Ok(encoder.finish()?)
            }
            Kind::Zlib { level } => {
                let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::new(*level));
                encoder.write_all(bytes)?;
                Ok(encoder.finish()?)
            }
            Kind::Bz2 { level } => {
                let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::new(*level));
                encoder.write_all(bytes)?;
                Ok(encoder.finish()?)
            }
            // The length, four bytes, then the block: as numcodecs has it.
            Kind::Lz4 => {
                u32::try_from(bytes.len())?;
                Ok(lz4_flex::block::compress_prepend_size(bytes))
            }
            Kind::Lzma(form) => {
                let mut encoder = liblzma::write::XzEncoder::new_stream(Vec::new(), lzma::encoder(form)?);
                encoder.write_all(bytes)?;
                Ok(encoder.finish()?)
            }
            Kind::Blosc(codec) => encode_by_zarrs(codec, bytes),
            Kind::Shuffle(width) => {
                let count = bytes.len() / width;
                if count * width != bytes.len() {
                    return Err(format!("{} bytes are no elements of {width}", bytes.len()).into());
                }
                Ok((0..*width).flat_map(|at| bytes.iter().skip(at).step_by(*width).copied()).collect())
            }
            Kind::Checksum { sum, first } => {
                let sum = sum_of(*sum, bytes).to_le_bytes();
                Ok(if *first { [&sum, bytes].concat() } else { [bytes, &sum].concat() })
            }
            Kind::Zarrs(codec) => encode_by_zarrs(codec.as_ref(), bytes),
            Kind::Own(codec) => {
                let mut out = Vec::new();
                guarded(|| codec.encode(bytes, &mut out))?;
                codec.encoded_size(bytes.len() as u64).check(out.len())?;
                Ok(out)
            }
        }
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

fn sum_of(sum: Sum, data: &[u8]) -> u32 {
    match sum {
        Sum::Crc32c => crc32c::crc32c(data),
        Sum::Crc32 => crc32fast::hash(data),
        Sum::Adler32 => adler2::adler32_slice(data),
        Sum::Fletcher32 => fletcher32(data),
    }
}

/// Fletcher's sum of 16-bit big-endian words as HDF5 and numcodecs have it; an odd last byte is the high one of a word. (That of
/// zarrs differs for odd lengths.)
///
/// Source: `H5_checksum_fletcher32`, HDF5 1.14.
fn fletcher32(data: &[u8]) -> u32 {
    let folded = |sum: u32| (sum & 0xffff) + (sum >> 16);
    let (words, rest) = data.as_chunks::<2>();
    let (mut first, mut second) = (0u32, 0u32);
    // 360 words do not overflow.
    for some in words.chunks(360) {
        for word in some {
            first += u32::from(u16::from_be_bytes(*word));
            second += first;
        }
        (first, second) = (folded(first), folded(second));
    }
    if let [last] = rest {
        first += u32::from(*last) << 8;
        second += first;
        (first, second) = (folded(first), folded(second));
    }
    folded(second) << 16 | folded(first)
}

fn encode_by_zarrs(codec: &dyn BytesToBytesCodecTraits, bytes: &[u8]) -> Result<Vec<u8>, BoxError> {
    guarded(|| codec.encode(bytes.into(), &CodecOptions::default().with_concurrent_target(1))).map(|b| b.into_owned())
}

/// One compressor a thread: making one costs as much as compressing a small chunk.
fn zstd_encode(bytes: &[u8], level: i32, checksum: bool) -> Result<Vec<u8>, std::io::Error> {
    type Kept = Option<(i32, bool, zstd::bulk::Compressor<'static>)>;
    thread_local! {
        static LAST: RefCell<Kept> = const { RefCell::new(None) };
    }
    LAST.with_borrow_mut(|last| {
        let compressor = match last {
            Some((of, sums, compressor)) if (*of, *sums) == (level, checksum) => compressor,
            _ => {
                let mut compressor = zstd::bulk::Compressor::new(level)?;
                compressor.include_checksum(checksum)?;
                &mut last.insert((level, checksum, compressor)).2
            }
        };
        compressor.compress(bytes)
    })
}

/// A whole number among the settings, or what is usual where there is none.
fn whole(codec: &Codec, key: &str, usual: i64) -> Result<i64, BoxError> {
    match codec.configuration.get(key) {
        None | Some(Value::Null) => Ok(usual),
        Some(value) => value.as_i64().ok_or_else(|| format!("`{key}` is `{value}`, no whole number").into()),
    }
}

fn level(codec: &Codec, usual: i64, within: std::ops::RangeInclusive<i64>) -> Result<u32, BoxError> {
    match whole(codec, "level", usual)? {
        // zlib's own default.
        -1 if within.contains(&-1) => Ok(6),
        // What stands there matters for writing only; it is not worth refusing a cube for.
        level => Ok(level.clamp(*within.start(), *within.end()) as u32),
    }
}

fn zstd_of(codec: &Codec) -> Result<Kind, BoxError> {
    let level = whole(codec, "level", 0)?.clamp(-131_072, 22) as i32;
    let checksum = codec.configuration.get("checksum").and_then(Value::as_bool).unwrap_or(false);
    Ok(Kind::Zstd { level, checksum })
}

/// Decoding takes all it needs from the header of the bytes; the settings are for writing.
fn blosc(codec: &Codec, item: usize) -> Result<Kind, BoxError> {
    let text = |key: &str| codec.configuration.get(key).and_then(Value::as_str);
    let name = text("cname").unwrap_or("lz4");
    let name = BloscName::ALL.into_iter().find(|n| n.text() == name).unwrap_or(BloscName::Lz4);
    let level = BloscCompressionLevel::try_from(whole(codec, "clevel", 5)?.clamp(0, 9) as u8);
    let level = level.map_err(|_| "no such level")?;
    let shuffle = match codec.configuration.get("shuffle") {
        Some(Value::String(text)) => Shuffle::ALL.into_iter().find(|s| s.text() == text).unwrap_or(Shuffle::Byte),
        // numcodecs' numbers; -1 leaves it to the size of the items.
        other => match other.and_then(Value::as_i64).unwrap_or(1) {
            0 => Shuffle::No,
            2 => Shuffle::Bit,
            -1 if item == 1 => Shuffle::Bit,
            _ => Shuffle::Byte,
        },
    };
    let unit = usize::try_from(whole(codec, "typesize", item as i64)?).ok().filter(|&n| n > 0).unwrap_or(1);
    let block = usize::try_from(whole(codec, "blocksize", 0)?).ok().filter(|&n| n > 0);
    Ok(Kind::Blosc(BloscCodec::new(name.zarrs(), level, block, shuffle.zarrs(), Some(unit))?))
}

fn shuffle(codec: &Codec, item: usize) -> Result<Kind, BoxError> {
    match usize::try_from(whole(codec, "elementsize", item as i64)?) {
        // numcodecs leaves the bytes as they are for 0, too.
        Ok(width @ 0..=65536) => Ok(Kind::Shuffle(width.max(1))),
        _ => Err("`elementsize` is no size of an element".into()),
    }
}

fn checksum(codec: &Codec, sum: Sum, first: bool) -> Result<Kind, BoxError> {
    let first = match codec.configuration.get("location") {
        None | Some(Value::Null) => first,
        Some(at) => match at.as_str() {
            Some("start") => true,
            Some("end") => false,
            _ => return Err(format!("`location` is `{at}`, not `start` or `end`").into()),
        },
    };
    Ok(Kind::Checksum { sum, first })
}
