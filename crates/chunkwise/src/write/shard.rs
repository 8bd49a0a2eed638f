//! Shards: inner chunks in C order, then an index with a checksum, as `sharding_indexed` with `index_location: end` has it.

use super::array::ArrayWriter;
use super::block;
use super::error::WriteError;
use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Shards of all arrays of an output that are not complete yet.
#[derive(Debug, Default)]
pub(crate) struct Shards {
    open: Mutex<Open>,
    held: AtomicU64,
}

#[derive(Debug, Default)]
struct Open {
    /// By array and index of the shard.
    shards: BTreeMap<(usize, Vec<u64>), Shard>,
    stored: HashSet<(usize, Vec<u64>)>,
}

/// The inner chunks of one shard.
#[derive(Debug)]
struct Shard {
    /// By position in C order; `None`: not there (all fill, beside the array, or yet to come).
    chunks: Vec<Option<Vec<u8>>>,
    given: Vec<bool>,
    /// Inner chunks that hold cells and have yet to come.
    left: u64,
}

/// A shard as it is to be stored: index, and bytes unless no inner chunk is there.
pub(crate) type Complete = (Vec<u64>, Option<Vec<u8>>);

impl Shards {
    /// Encoded bytes that wait for their shard to be complete.
    pub(crate) fn held(&self) -> u64 {
        self.held.load(Ordering::Relaxed)
    }

    /// Adds an inner chunk; gives the shard when that was the last.
    pub(crate) fn add(
        &self,
        number: usize,
        array: &ArrayWriter,
        chunk: &[u64],
        encoded: Option<Vec<u8>>,
    ) -> Result<Option<Complete>, WriteError> {
        let per = array.chunks_per_object();
        let index: Vec<u64> = chunk.iter().zip(&per).map(|(c, p)| c / p).collect();
        let within: Vec<u64> = chunk.iter().zip(&per).map(|(c, p)| c % p).collect();
        let at = block::position(&within, &per) as usize;
        let shard = {
            let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
            let key = (number, index);
            if open.stored.contains(&key) {
                return Err(WriteError::ShardIsStored {
                    array: array.spec().path.clone(),
                    chunk: chunk.to_vec(),
                    key: array.key(&key.1),
                });
            }
            let shard = open.shards.entry(key.clone()).or_insert_with_key(|key| Shard::new(array, &key.1));
            let bytes = encoded.as_ref().map_or(0, Vec::len) as u64;
            let before = shard.chunks[at].as_ref().map_or(0, Vec::len) as u64;
            self.held.fetch_add(bytes, Ordering::Relaxed);
            self.held.fetch_sub(before, Ordering::Relaxed);
            shard.chunks[at] = encoded;
            if !shard.given[at] {
                shard.given[at] = true;
                shard.left -= 1;
            }
            if shard.left > 0 {
                return Ok(None);
            }
            let shard = open.shards.remove(&key);
            open.stored.insert(key.clone());
            shard.map(|shard| (key.1, shard))
        };
        Ok(shard.map(|(index, shard)| (index, self.close(shard))))
    }

    /// Takes a shard that is not complete: what did not come is empty. `None` when there is none left.
    pub(crate) fn take(&self) -> Option<(usize, Complete)> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let (key, shard) = open.shards.pop_first()?;
        open.stored.insert(key.clone());
        drop(open);
        Some((key.0, (key.1, self.close(shard))))
    }

    fn close(&self, shard: Shard) -> Option<Vec<u8>> {
        let bytes = shard.chunks.iter().flatten().map(Vec::len).sum::<usize>() as u64;
        let object = assemble(&shard.chunks);
        self.held.fetch_sub(bytes, Ordering::Relaxed);
        object
    }
}

impl Shard {
    fn new(array: &ArrayWriter, index: &[u64]) -> Shard {
        let (per, grid) = (array.chunks_per_object(), array.grid());
        let left = index.iter().zip(&per).zip(&grid).map(|((i, &p), g)| p.min(g - i * p)).product();
        let inner = per.iter().product::<u64>() as usize;
        Shard { chunks: vec![None; inner], given: vec![false; inner], left }
    }
}

/// The object of a shard: encoded inner chunks one behind the other, offset and length of each (all ones where there is
/// none) and the CRC-32C of that index, little-endian. `None` where no inner chunk is there.
///
/// Source: Zarr v3 codec `sharding_indexed` 1.0.
pub(crate) fn assemble(chunks: &[Option<Vec<u8>>]) -> Option<Vec<u8>> {
    if chunks.iter().all(Option::is_none) {
        return None;
    }
    let bytes: usize = chunks.iter().flatten().map(Vec::len).sum();
    let mut object = Vec::with_capacity(bytes + chunks.len() * 16 + 4);
    let mut index = Vec::with_capacity(chunks.len() * 16 + 4);
    for chunk in chunks {
        let (offset, length) = match chunk {
            Some(chunk) => (object.len() as u64, chunk.len() as u64),
            None => (u64::MAX, u64::MAX),
        };
        object.extend_from_slice(chunk.as_deref().unwrap_or_default());
        index.extend_from_slice(&offset.to_le_bytes());
        index.extend_from_slice(&length.to_le_bytes());
    }
    let sum = crc32c::crc32c(&index);
    object.extend_from_slice(&index);
    object.extend_from_slice(&sum.to_le_bytes());
    Some(object)
}
