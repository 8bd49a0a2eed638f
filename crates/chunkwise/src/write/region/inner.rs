//! A region of a sharded array: shards are written anew inner chunk by inner chunk. Those that the block does not touch keep
//! their encoded bytes; no shard is decoded.

use super::{Block, RegionError, RegionWritten, Target};
use crate::chunk::IndexFormat;
use crate::store::{ByteRange, writer};
use crate::write::block::{self, At};
use crate::write::shard::{ABSENT, ShardFile};
use chunkwise_core::cube::Codec;
use serde_json::Value;
use std::borrow::Cow;
use std::num::NonZeroU64;
use zarrs::array::{ArrayBytes, ArrayToBytesCodecTraits, CodecChain};
use zarrs::metadata::v3::MetadataV3;

/// Untouched neighbours are copied in pieces of so many bytes.
const PIECE: u64 = 8 << 20;

/// What is in the shards of an array.
#[derive(Debug)]
pub(super) struct Inner {
    format: IndexFormat,
    /// Cells of an inner chunk, and inner chunks of a shard along each dimension.
    chunk: Vec<NonZeroU64>,
    per: Vec<u64>,
    codecs: CodecChain,
}

/// An inner chunk of a shard, and what of the block lies in it.
enum Touch {
    /// Beside the array.
    Beside,
    /// The block has none of its cells.
    Kept,
    /// The block has all of its cells, or some.
    Written { whole: bool, in_chunk: Vec<u64>, in_block: Vec<u64>, count: Vec<u64> },
}

/// The shard as it is stored, its untouched chunks read some at a time.
struct Old {
    entries: Box<[(u64, u64)]>,
    /// First byte of what was read, and the bytes.
    read: (u64, Vec<u8>),
}

impl Inner {
    /// The shards that the metadata of an array tell of, whose objects have `shard` cells; `None` where shards are not all
    /// that there is in a chunk.
    pub(super) fn of(node: &Value, shard: &[u64]) -> Result<Option<Inner>, String> {
        let codecs = node.get("codecs").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let [codec] = codecs else { return Ok(None) };
        let Ok(codec) = serde_json::from_value::<Codec>(codec.clone()) else { return Ok(None) };
        if codec.name != "sharding_indexed" {
            return Ok(None);
        }
        let format = IndexFormat::of(&codec)?;
        let setting = |name: &str| codec.configuration.get(name).cloned().unwrap_or_default();
        let chunk: Vec<NonZeroU64> = serde_json::from_value(setting("chunk_shape"))
            .map_err(|_| "its `chunk_shape` within shards is no list of lengths".to_owned())?;
        if chunk.len() != shard.len() || shard.iter().zip(&chunk).any(|(s, c)| s % c.get() != 0) {
            return Err("its shards are not made of whole chunks".to_owned());
        }
        let metadata: Vec<MetadataV3> = serde_json::from_value(setting("codecs")).map_err(|e| e.to_string())?;
        let codecs = CodecChain::from_metadata(&metadata).map_err(|e| e.to_string())?;
        let per = shard.iter().zip(&chunk).map(|(s, c)| s / c.get()).collect();
        Ok(Some(Inner { format, chunk, per, codecs }))
    }

    fn count(&self) -> u64 {
        self.per.iter().product()
    }
}

impl Target {
    /// Writes what of the block lies in one shard, which the caller has locked; `whole`: all of it.
    pub(super) fn write_shard(
        &self,
        inner: &Inner,
        index: &[u64],
        key: &str,
        whole: bool,
        block: Block<'_>,
    ) -> Result<RegionWritten, RegionError> {
        let mut old = match whole {
            true => None,
            false => self.old_shard(inner, key)?,
        };
        let mut file = ShardFile::new(inner.count(), inner.format);
        let begin = || writer(&self.store, key);
        let mut position = 0;
        let mut at = vec![0; inner.per.len()];
        loop {
            let encoded = match self.touch(inner, index, &at, block) {
                Touch::Beside => None,
                Touch::Kept => match &mut old {
                    None => None,
                    Some(old) => self.kept(inner, index, key, old, position, block)?,
                },
                Touch::Written { whole, in_chunk, in_block, count } => {
                    let mut cells = match (&old, whole) {
                        (Some(old), false) => self.old_cells(inner, key, old, position)?,
                        _ => None,
                    };
                    let size = inner.chunk.iter().map(|n| n.get()).product::<u64>() as usize;
                    let mut cells = cells.take().unwrap_or_else(|| block::filled(&self.fill, size));
                    let shape: Vec<u64> = inner.chunk.iter().map(|n| n.get()).collect();
                    let source = At { shape: block.shape, start: &in_block };
                    let target = At { shape: &shape, start: &in_chunk };
                    block::copy(block.bytes, source, &mut cells, target, &count, self.dtype.size());
                    self.encode_inner(inner, cells)?.map(Cow::Owned)
                }
            };
            if let Some(bytes) = encoded {
                file.append(position, &bytes, begin).map_err(|source| self.failed(key, source))?;
            }
            position += 1;
            if !block::step(&mut at, &inner.per) {
                break;
            }
        }
        let stored = file.finish(begin).map_err(|source| self.failed(key, source))?;
        let mut written = RegionWritten { whole: u64::from(whole), partial: u64::from(!whole), removed: 0 };
        if stored.is_none() {
            written.removed = 1;
            self.store.delete(key).map_err(|source| self.failed(key, source))?;
        }
        Ok(written)
    }

    fn old_shard(&self, inner: &Inner, key: &str) -> Result<Option<Old>, RegionError> {
        let Some(bytes) = self.store.get(key, inner.format.range(inner.count()))? else { return Ok(None) };
        let entries = inner.format.parse(inner.count(), &bytes).map_err(|e| self.bad(key, e.to_string()))?;
        Ok(Some(Old { entries, read: (0, Vec::new()) }))
    }

    /// The encoded bytes of an inner chunk that the block does not touch; its untouched neighbours are read with it.
    fn kept<'a>(
        &self,
        inner: &Inner,
        index: &[u64],
        key: &str,
        old: &'a mut Old,
        position: u64,
        block: Block<'_>,
    ) -> Result<Option<Cow<'a, [u8]>>, RegionError> {
        let entry = old.entries[position as usize];
        if entry == ABSENT {
            return Ok(None);
        }
        let (start, len) = entry;
        let (from, bytes) = (old.read.0, old.read.1.len() as u64);
        if !(from <= start && start + len <= from + bytes) {
            let mut end = start + len;
            for next in position + 1..inner.count() {
                let (a, n) = old.entries[next as usize];
                let at = block::index(next, &inner.per);
                let untouched = matches!(self.touch(inner, index, &at, block), Touch::Kept);
                if a != end || !untouched || end + n - start > PIECE {
                    break;
                }
                end += n;
            }
            old.read = (start, self.old_bytes(key, start, end - start)?);
        }
        let skip = (start - old.read.0) as usize;
        Ok(Some(Cow::Borrowed(&old.read.1[skip..skip + len as usize])))
    }

    fn old_bytes(&self, key: &str, start: u64, len: u64) -> Result<Vec<u8>, RegionError> {
        let bytes = self.store.get(key, ByteRange::Bounded { start, len })?;
        bytes.ok_or_else(|| self.bad(key, "it was removed while it was read".to_owned()))
    }

    /// The cells of an inner chunk as it is stored; `None` where it is not.
    fn old_cells(&self, inner: &Inner, key: &str, old: &Old, position: u64) -> Result<Option<Vec<u8>>, RegionError> {
        let (start, len) = old.entries[position as usize];
        if (start, len) == ABSENT {
            return Ok(None);
        }
        let encoded = self.old_bytes(key, start, len)?;
        let said = |problem: String| self.bad(key, format!("{len} bytes from {start}: {problem}"));
        let (dtype, fill) = (self.array.data_type(), self.array.fill_value());
        let cells = inner.codecs.decode(Cow::Owned(encoded), &inner.chunk, dtype, fill, &self.codec);
        let cells = cells.and_then(|bytes| Ok(bytes.into_fixed()?.into_owned())).map_err(|e| said(e.to_string()))?;
        let expected = inner.chunk.iter().map(|n| n.get()).product::<u64>() as usize * self.dtype.size();
        match cells.len() == expected {
            true => Ok(Some(cells)),
            false => Err(said(format!("{} bytes decoded, expected {expected}", cells.len()))),
        }
    }

    /// The encoded bytes of an inner chunk; `None` where it holds nothing but the fill value.
    fn encode_inner(&self, inner: &Inner, cells: Vec<u8>) -> Result<Option<Vec<u8>>, RegionError> {
        if block::all_are(&cells, &self.fill) {
            return Ok(None);
        }
        let (dtype, fill) = (self.array.data_type(), self.array.fill_value());
        let encoded = inner.codecs.encode(ArrayBytes::new_flen(cells), &inner.chunk, dtype, fill, &self.codec);
        Ok(Some(encoded.map_err(|e| self.unsupported(&e))?.into_owned()))
    }

    fn touch(&self, inner: &Inner, index: &[u64], at: &[u64], block: Block<'_>) -> Touch {
        let (mut in_chunk, mut in_block, mut count) = (Vec::new(), Vec::new(), Vec::new());
        let (mut whole, mut none) = (true, false);
        for (d, &i) in at.iter().enumerate() {
            let begin = index[d] * self.chunk[d] + i * inner.chunk[d].get();
            let end = (begin + inner.chunk[d].get()).min(self.array.shape()[d]);
            if begin >= end {
                return Touch::Beside;
            }
            let from = begin.max(block.start[d]);
            let to = end.min(block.start[d] + block.shape[d]);
            none |= from >= to;
            whole &= from == begin && to == end;
            in_chunk.push(from.saturating_sub(begin));
            in_block.push(from.saturating_sub(block.start[d]));
            count.push(to.saturating_sub(from));
        }
        match none {
            true => Touch::Kept,
            false => Touch::Written { whole, in_chunk, in_block, count },
        }
    }
}
