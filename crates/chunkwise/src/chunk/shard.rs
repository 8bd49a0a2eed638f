//! Shards: one stored object with many chunks, and an index of where each lies.

use super::chain::listed;
use super::error::{ChunkError, DecodeError};
use crate::store::ByteRange;
use chunkwise_core::cube::{ChunkSizes, Codec, ShardOf, Variable};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// Decoded indexes take about this much unless told otherwise.
const CACHE_BYTES: u64 = 64 << 20;

/// What marks a chunk that is not there, in both fields.
const ABSENT: u64 = u64::MAX;

/// Start and length of each inner chunk, in C order; `None` where the shard is absent.
pub(super) type Index = Option<Box<[(u64, u64)]>>;

/// How shards are laid out.
#[derive(Debug)]
pub(super) struct Shards {
    /// Cells of shards and of inner chunks along each dimension.
    shards: Vec<ChunkSizes>,
    chunks: Vec<ChunkSizes>,
    /// Codecs of the inner chunks.
    pub(super) inner: Vec<Codec>,
    pub(super) format: IndexFormat,
    cache: Mutex<Cache>,
}

/// How the index of a shard is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IndexFormat {
    /// Whether it comes before the inner chunks.
    pub(crate) at_start: bool,
    /// Whether its numbers are big-endian.
    pub(crate) big_endian: bool,
    /// Whether a CRC-32C follows it.
    pub(crate) checksum: bool,
}

/// One index, read once by whoever comes first.
#[derive(Debug, Default)]
pub(super) struct Slot {
    pub(super) index: OnceLock<Index>,
    /// Held while reading, by threads and by tasks.
    pub(super) thread: Mutex<()>,
    pub(super) task: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct Cache {
    /// By index of the shard: the slot, when it was used last, and its bytes.
    slots: HashMap<Vec<u64>, (Arc<Slot>, u64, u64)>,
    clock: u64,
    bytes: u64,
    most: u64,
}

/// Inner chunks of one shard that one request fetches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) start: u64,
    pub(super) len: u64,
    /// Of each chunk its number, and where it lies in the bytes that come: start and length.
    pub(super) parts: Vec<(usize, u64, u64)>,
}

impl Shards {
    /// The shards of a variable; `None` where it has none.
    pub(super) fn of(variable: &Variable) -> Result<Option<Shards>, ChunkError> {
        let Some(shards) = &variable.shards else { return Ok(None) };
        let is_sharding = |c: &Codec| c.name == "sharding_indexed";
        let Some(codec) = variable.encoding.codecs.iter().find(|c| is_sharding(c)) else {
            return Ok(None);
        };
        let wrong = |reason: String| ChunkError::Codec {
            variable: super::label(variable),
            codec: codec.name.clone(),
            source: reason.into(),
        };
        let inner = listed(codec.configuration.get("codecs"))
            .ok_or_else(|| wrong("`codecs` is no list of codecs".to_owned()))?;
        let format = IndexFormat::of(codec).map_err(wrong)?;
        if shards.len() != variable.chunks.len() {
            return Err(wrong("the shape of a shard has other dimensions than the chunks".to_owned()));
        }
        let mut count = Some(1u64);
        for (shard, chunks) in shards.iter().zip(&variable.chunks) {
            let ChunkSizes::Regular(size) = *chunks else {
                return Err(wrong("chunks of differing sizes within shards are not supported".to_owned()));
            };
            let lengths: &[u64] = match shard {
                ChunkSizes::Regular(cells) => &[*cells],
                ChunkSizes::Listed(lengths) => lengths,
            };
            if let Some(cells) = lengths.iter().find(|&&cells| size == 0 || cells == 0 || cells % size != 0) {
                return Err(wrong(format!("a shard of {cells} is not made of chunks of {size}")));
            }
            count = count.and_then(|n| n.checked_mul(shard.longest() / size));
        }
        // An index of 1 GiB.
        if count.is_none_or(|n| n > 1 << 26) {
            return Err(wrong("a shard of more than 67108864 chunks is not supported".to_owned()));
        }
        let cache = Mutex::new(Cache { slots: HashMap::new(), clock: 0, bytes: 0, most: CACHE_BYTES });
        let (shards, chunks) = (shards.clone(), variable.chunks.clone());
        Ok(Some(Shards { shards, chunks, inner, format, cache }))
    }

    /// Keeps indexes of about so many bytes, and one at least.
    pub(super) fn keep(&mut self, bytes: u64) {
        self.cache.get_mut().unwrap_or_else(PoisonError::into_inner).most = bytes;
    }

    /// The shard of a chunk of the grid.
    pub(super) fn find(&self, chunk: &[u64]) -> ShardOf {
        let found = ShardOf::find(&self.shards, &self.chunks, chunk);
        found.expect("chunks within shards are equal: `Shards::of` saw to it")
    }

    /// Where the index of a shard lies in the object.
    pub(super) fn index_range(&self, shard: &ShardOf) -> ByteRange {
        self.format.range(shard.per.iter().product())
    }

    /// The slot of a shard's index, filled or not.
    pub(super) fn slot(&self, shard: &ShardOf) -> Arc<Slot> {
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        cache.clock += 1;
        let clock = cache.clock;
        if let Some((slot, used, _)) = cache.slots.get_mut(&shard.index) {
            *used = clock;
            return slot.clone();
        }
        let bytes = 16 * shard.per.iter().product::<u64>() + 256;
        if cache.bytes + bytes > cache.most && !cache.slots.is_empty() {
            // The older half goes at once: looking for the oldest one each time would cost more.
            let mut used: Vec<u64> = cache.slots.values().map(|(_, used, _)| *used).collect();
            let middle = used.len() / 2;
            let (_, &mut oldest_kept, _) = used.select_nth_unstable(middle);
            let all = used.len() == 1 || bytes > cache.most / 2;
            cache.slots.retain(|_, (_, used, _)| !all && *used > oldest_kept);
            cache.bytes = cache.slots.values().map(|(_, _, bytes)| bytes).sum();
        }
        let slot = Arc::<Slot>::default();
        cache.bytes += bytes;
        cache.slots.insert(shard.index.clone(), (slot.clone(), clock, bytes));
        slot
    }

    /// The entry of a chunk, where its shard's index was read and is kept.
    pub(super) fn known(&self, chunk: &[u64]) -> Option<(u64, u64)> {
        let shard = self.find(chunk);
        let cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        let index = cache.slots.get(&shard.index)?.0.index.get()?.as_ref()?;
        index.get(shard.position() as usize).copied().filter(|e| *e != (ABSENT, ABSENT))
    }

    /// Where a chunk lies that takes `most` bytes at most; `None` where there is none.
    pub(super) fn entry(&self, index: &Index, shard: &ShardOf, most: u64) -> Result<Option<(u64, u64)>, DecodeError> {
        let Some(entries) = index else {
            return Ok(None);
        };
        match entries.get(shard.position() as usize).copied() {
            None | Some((ABSENT, ABSENT)) => Ok(None),
            Some((start, len)) if len > most => Err(DecodeError::IndexLength { start, len, most }),
            Some(entry) => Ok(Some(entry)),
        }
    }

    /// How many indexes are kept.
    #[cfg(test)]
    pub(super) fn cached(&self) -> usize {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner).slots.len()
    }
}

impl IndexFormat {
    /// The format that a `sharding_indexed` codec says.
    pub(crate) fn of(codec: &Codec) -> Result<IndexFormat, String> {
        let at_start = match codec.configuration.get("index_location").map(|v| v.as_str()) {
            None | Some(Some("end")) => false,
            Some(Some("start")) => true,
            _ => return Err("`index_location` is neither `start` nor `end`".to_owned()),
        };
        let index =
            listed(codec.configuration.get("index_codecs")).ok_or("`index_codecs` is no list of codecs".to_owned())?;
        let names: Vec<&str> = index.iter().map(|c| c.name.as_str()).collect();
        let checksum = match names.as_slice() {
            ["bytes"] => false,
            ["bytes", "crc32c"] => true,
            _ => {
                let names = names.join(", ");
                return Err(format!("index codecs `{names}` are not supported; `bytes` and `bytes, crc32c` are"));
            }
        };
        let big_endian = match index[0].configuration.get("endian").map(|v| v.as_str()) {
            Some(Some("big")) => true,
            Some(Some("little")) => false,
            _ => return Err("`endian` of the index is neither `little` nor `big`".to_owned()),
        };
        Ok(IndexFormat { at_start, big_endian, checksum })
    }

    /// Bytes of the stored index of `count` inner chunks.
    pub(crate) fn size(self, count: u64) -> u64 {
        16 * count + if self.checksum { 4 } else { 0 }
    }

    /// Where the index of `count` inner chunks lies in the object.
    pub(crate) fn range(self, count: u64) -> ByteRange {
        match self.at_start {
            true => ByteRange::Bounded { start: 0, len: self.size(count) },
            false => ByteRange::Suffix(self.size(count)),
        }
    }

    /// Adds entries of the index as they are stored; its checksum comes behind the last.
    pub(crate) fn push(self, entries: &[(u64, u64)], bytes: &mut Vec<u8>) {
        for number in entries.iter().flat_map(|(offset, length)| [offset, length]) {
            bytes.extend_from_slice(&match self.big_endian {
                true => number.to_be_bytes(),
                false => number.to_le_bytes(),
            });
        }
    }

    /// Reads the index of `count` inner chunks. Two of them may be the same bytes, but not a part of the same.
    pub(crate) fn parse(self, count: u64, bytes: &[u8]) -> Result<Box<[(u64, u64)]>, DecodeError> {
        let (found, expected) = (bytes.len() as u64, self.size(count));
        if found != expected {
            return Err(DecodeError::IndexSize { found, expected });
        }
        let entries = match bytes.split_last_chunk::<4>() {
            Some((entries, sum)) if self.checksum => {
                if crc32c::crc32c(entries) != u32::from_le_bytes(*sum) {
                    return Err(DecodeError::Checksum { codec: "crc32c".to_owned() });
                }
                entries
            }
            _ => bytes,
        };
        let number = |b: &[u8; 8]| match self.big_endian {
            true => u64::from_be_bytes(*b),
            false => u64::from_le_bytes(*b),
        };
        let numbers = entries.as_chunks::<8>().0;
        let entries: Box<[(u64, u64)]> =
            numbers.as_chunks::<2>().0.iter().map(|[a, b]| (number(a), number(b))).collect();
        let first = if self.at_start { expected } else { 0 };
        let mut present: Vec<(u64, u64)> = entries.iter().copied().filter(|e| *e != (ABSENT, ABSENT)).collect();
        present.sort_unstable();
        let mut last = (first, 0);
        for (start, len) in present {
            if start < first || start.checked_add(len).is_none_or(|end| end > i64::MAX as u64) {
                return Err(DecodeError::IndexRange { start, len });
            }
            if start < last.0 + last.1 && (start, len) != last {
                return Err(DecodeError::IndexOverlap { start, len, other: last });
            }
            last = (start, len);
        }
        Ok(entries)
    }
}

/// Joins chunks (number, start, length) into runs: what lies between two of one is no more than `gap` bytes, and all
/// together take no more than `room`, unless the chunks alone do.
pub(super) fn runs(mut chunks: Vec<(usize, u64, u64)>, gap: u64, room: u64) -> Vec<Run> {
    chunks.sort_unstable_by_key(|&(number, start, len)| (start, len, number));
    let mut spare = room.saturating_sub(chunks.iter().map(|c| c.2).sum());
    let mut runs: Vec<Run> = Vec::new();
    for (number, start, len) in chunks {
        if let Some(run) = runs.last_mut() {
            let end = run.start + run.len;
            let between = start.saturating_sub(end);
            if between <= gap.min(spare) {
                spare -= between;
                run.parts.push((number, start - run.start, len));
                run.len = run.len.max(start + len - run.start);
                continue;
            }
        }
        runs.push(Run { start, len, parts: vec![(number, 0, len)] });
    }
    runs
}
