//! Shards: one stored object with many chunks, and an index of where each lies.

use super::chain::listed;
use super::error::{ChunkError, DecodeError};
use crate::store::ByteRange;
use chunkwise_core::cube::{ChunkSizes, Codec, Variable};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// All decoded indexes of a reader together take about this much.
const CACHE_BYTES: u64 = 64 << 20;

/// What marks a chunk that is not there, in both fields.
const ABSENT: u64 = u64::MAX;

/// Start and length of each inner chunk, in C order; `None` where the shard is absent.
pub(super) type Index = Option<Box<[(u64, u64)]>>;

/// How shards are laid out.
#[derive(Debug)]
pub(super) struct Shards {
    /// Inner chunks of a shard along each dimension.
    pub(super) per_shard: Vec<u64>,
    /// Codecs of the inner chunks.
    pub(super) inner: Vec<Codec>,
    /// Inner chunks of a shard.
    count: u64,
    at_start: bool,
    big_endian: bool,
    checksum: bool,
    cache: Mutex<Cache>,
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
    slots: HashMap<Vec<u64>, (Arc<Slot>, u64)>,
    clock: u64,
    most: usize,
}

impl Shards {
    /// The shards of a variable; `None` where it has none.
    pub(super) fn of(variable: &Variable) -> Result<Option<Shards>, ChunkError> {
        let is_sharding = |c: &Codec| c.name == "sharding_indexed";
        let Some(codec) = variable.encoding.codecs.iter().find(|c| is_sharding(c)) else {
            return Ok(None);
        };
        let wrong = |reason: String| ChunkError::Codec {
            variable: super::label(variable),
            codec: codec.name.clone(),
            source: reason.into(),
        };
        if let Some(other) = variable.encoding.codecs.iter().find(|c| !is_sharding(c)) {
            return Err(wrong(format!("codec `{}` beside it is not supported", other.name)));
        }
        if variable.encoding.codecs.len() > 1 {
            return Err(wrong("it stands twice in the chain".to_owned()));
        }
        let inner = listed(codec.configuration.get("codecs"))
            .ok_or_else(|| wrong("`codecs` is no list of codecs".to_owned()))?;
        if inner.iter().any(is_sharding) {
            return Err(wrong("shards within shards are not supported".to_owned()));
        }
        let at_start = match codec.configuration.get("index_location").map(|v| v.as_str()) {
            None | Some(Some("end")) => false,
            Some(Some("start")) => true,
            _ => {
                return Err(wrong("`index_location` is neither `start` nor `end`".to_owned()));
            }
        };
        let index = listed(codec.configuration.get("index_codecs"))
            .ok_or_else(|| wrong("`index_codecs` is no list of codecs".to_owned()))?;
        let names: Vec<&str> = index.iter().map(|c| c.name.as_str()).collect();
        let checksum = match names.as_slice() {
            ["bytes"] => false,
            ["bytes", "crc32c"] => true,
            _ => {
                let names = names.join(", ");
                return Err(wrong(format!(
                    "index codecs `{names}` are not supported; `bytes` and `bytes, crc32c` are"
                )));
            }
        };
        let big_endian = match index[0].configuration.get("endian").map(|v| v.as_str()) {
            Some(Some("big")) => true,
            Some(Some("little")) => false,
            _ => {
                return Err(wrong("`endian` of the index is neither `little` nor `big`".to_owned()));
            }
        };
        let shard = variable.shards.as_deref().unwrap_or_default();
        if shard.len() != variable.chunks.len() {
            return Err(wrong("the shape of a shard has other dimensions than the chunks".to_owned()));
        }
        let mut per_shard = Vec::with_capacity(shard.len());
        for (&shard, chunks) in shard.iter().zip(&variable.chunks) {
            match chunks {
                ChunkSizes::Regular(n) if *n > 0 && shard > 0 && shard % n == 0 => {
                    per_shard.push(shard / n);
                }
                ChunkSizes::Regular(n) => {
                    return Err(wrong(format!("a shard of {shard} is not made of chunks of {n}")));
                }
                ChunkSizes::Listed(_) => {
                    return Err(wrong("chunks of differing sizes within shards are not supported".to_owned()));
                }
            }
        }
        let count = per_shard.iter().try_fold(1u64, |a, &n| a.checked_mul(n));
        // An index of 1 GiB.
        let Some(count) = count.filter(|&n| n <= 1 << 26) else {
            return Err(wrong("a shard of more than 67108864 chunks is not supported".to_owned()));
        };
        let most = usize::try_from(CACHE_BYTES / (16 * count + 256)).unwrap_or(1).max(1);
        let cache = Mutex::new(Cache { slots: HashMap::new(), clock: 0, most });
        Ok(Some(Shards { per_shard, inner, count, at_start, big_endian, checksum, cache }))
    }

    /// The shard of a chunk, and the place of the chunk in its index.
    pub(super) fn place(&self, chunk: &[u64]) -> (Vec<u64>, u64) {
        let shard = chunk.iter().zip(&self.per_shard).map(|(&c, &n)| c / n).collect();
        let within = chunk.iter().zip(&self.per_shard).fold(0, |at, (&c, &n)| at * n + c % n);
        (shard, within)
    }

    /// Bytes of the stored index.
    pub(super) fn index_size(&self) -> u64 {
        16 * self.count + if self.checksum { 4 } else { 0 }
    }

    /// Where the index lies in the object.
    pub(super) fn index_range(&self) -> ByteRange {
        match self.at_start {
            true => ByteRange::Bounded { start: 0, len: self.index_size() },
            false => ByteRange::Suffix(self.index_size()),
        }
    }

    /// The slot of a shard's index, filled or not.
    pub(super) fn slot(&self, shard: &[u64]) -> Arc<Slot> {
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        cache.clock += 1;
        let clock = cache.clock;
        if let Some((slot, used)) = cache.slots.get_mut(shard) {
            *used = clock;
            return slot.clone();
        }
        if cache.slots.len() >= cache.most {
            // The older half goes at once: looking for the oldest one each time would cost more.
            let mut used: Vec<u64> = cache.slots.values().map(|(_, used)| *used).collect();
            let middle = used.len() / 2;
            let (_, &mut oldest_kept, _) = used.select_nth_unstable(middle);
            let all = cache.most == 1;
            cache.slots.retain(|_, (_, used)| !all && *used >= oldest_kept);
        }
        let slot = Arc::<Slot>::default();
        cache.slots.insert(shard.to_vec(), (slot.clone(), clock));
        slot
    }

    /// Reads an index.
    pub(super) fn parse(&self, bytes: Option<&[u8]>) -> Result<Index, DecodeError> {
        let Some(bytes) = bytes else { return Ok(None) };
        let (found, expected) = (bytes.len() as u64, self.index_size());
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
        Ok(Some(numbers.as_chunks::<2>().0.iter().map(|[a, b]| (number(a), number(b))).collect()))
    }

    /// Where a chunk lies; `None` where there is none.
    pub(super) fn range(&self, index: &Index, within: u64) -> Result<Option<ByteRange>, DecodeError> {
        let Some(entries) = index else {
            return Ok(None);
        };
        let entry = usize::try_from(within).ok().and_then(|at| entries.get(at));
        match entry.copied() {
            None | Some((ABSENT, ABSENT)) => Ok(None),
            Some((start, len)) => match start.checked_add(len) {
                Some(end) if end <= i64::MAX as u64 => Ok(Some(ByteRange::Bounded { start, len })),
                _ => Err(DecodeError::IndexRange { start, len }),
            },
        }
    }

    /// How many indexes are kept.
    #[cfg(test)]
    pub(super) fn cached(&self) -> usize {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner).slots.len()
    }
}
