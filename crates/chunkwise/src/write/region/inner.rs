//! A region of a sharded array: shards are written anew inner chunk by inner chunk. Those that the block does not touch keep
//! their encoded bytes; no shard is decoded.

use super::{Block, RegionError, RegionWritten, Target, chain};
use crate::chunk::IndexFormat;
use crate::codec::chain::{Buffers, Chain, listed};
use crate::store::{ByteRange, writer};
use crate::write::block::{self, At};
use crate::write::shard::{ABSENT, ShardFile};
use chunkwise_core::cube::{Codec, DataType};
use std::borrow::Cow;

/// Untouched neighbours are copied in pieces of so many bytes.
const PIECE: u64 = 8 << 20;

/// What is in the shards of an array.
#[derive(Debug)]
pub(super) struct Inner {
    format: IndexFormat,
    /// Cells of an inner chunk, and inner chunks of a shard along each dimension.
    chunk: Vec<u64>,
    per: Vec<u64>,
    codecs: Chain,
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
    /// The shards of `shard` cells, made of chunks of `chunk`, that `codec` makes of an array of `of`.
    pub(super) fn of(
        of: &DataType,
        fill: &[u8],
        codec: &Codec,
        chunk: Vec<u64>,
        shard: &[u64],
    ) -> Result<Inner, String> {
        let format = IndexFormat::of(codec)?;
        let inner = listed(codec.configuration.get("codecs"));
        let inner = inner.ok_or_else(|| "`codecs` of its shards is no list of codecs".to_owned())?;
        let codecs = Chain::new(of, fill, &inner, &chunk).map_err(|e| chain(&e))?;
        // Whole chunks: whoever read the metadata saw to it.
        let per = shard.iter().zip(&chunk).map(|(s, c)| s / c).collect();
        Ok(Inner { format, chunk, per, codecs })
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
                    let size = inner.chunk.iter().product::<u64>() as usize;
                    let mut cells = cells.take().unwrap_or_else(|| block::filled(&self.fill, size));
                    let source = At { shape: block.shape, start: &in_block };
                    let target = At { shape: &inner.chunk, start: &in_chunk };
                    block::copy(block.bytes, source, &mut cells, target, &count, self.dtype.size());
                    self.encode_inner(inner, &cells)?.map(Cow::Owned)
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
        let mut cells = Vec::new();
        let done = inner.codecs.decode(&inner.chunk, &encoded, &mut Buffers::default(), &mut cells);
        done.map_err(|e| self.bad(key, format!("{len} bytes from {start}: {}", chain(&e))))?;
        Ok(Some(cells))
    }

    /// The encoded bytes of an inner chunk; `None` where it holds nothing but the fill value.
    fn encode_inner(&self, inner: &Inner, cells: &[u8]) -> Result<Option<Vec<u8>>, RegionError> {
        if block::all_are(cells, &self.fill) {
            return Ok(None);
        }
        inner.codecs.encode(&inner.chunk, cells).map(Some).map_err(|e| self.unsupported(e.as_ref()))
    }

    fn touch(&self, inner: &Inner, index: &[u64], at: &[u64], block: Block<'_>) -> Touch {
        let (mut in_chunk, mut in_block, mut count) = (Vec::new(), Vec::new(), Vec::new());
        let (mut whole, mut none) = (true, false);
        for (d, &i) in at.iter().enumerate() {
            let begin = index[d] * self.chunk[d] + i * inner.chunk[d];
            let end = (begin + inner.chunk[d]).min(self.shape[d]);
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
