//! Shards: encoded inner chunks in C order and their index, as `sharding_indexed` has them.
//!
//! A shard is written inner chunk by inner chunk, whichever threads encode them: what comes before its turn waits,
//! encoded, and its bytes are the same whatever the order in which it was given.

use super::array::ArrayWriter;
use super::block;
use super::error::WriteError;
use crate::chunk::IndexFormat;
use crate::store::{ObjectWriter, Store, StoreError, writer};
use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Stands in both fields of the index for an inner chunk that is not there.
pub(crate) const ABSENT: (u64, u64) = (u64::MAX, u64::MAX);

/// The index of new shards: behind the inner chunks, little-endian, with a checksum.
const FORMAT: IndexFormat = IndexFormat { at_start: false, big_endian: false, checksum: true };

/// Shards of all arrays of an output that are not complete yet.
#[derive(Debug, Default)]
pub(crate) struct Shards {
    open: Mutex<Open>,
    held: AtomicU64,
}

/// An array of the output, and a shard of it.
type Key = (usize, Vec<u64>);

#[derive(Debug, Default)]
struct Open {
    shards: BTreeMap<Key, Arc<Mutex<Shard>>>,
    stored: HashSet<Key>,
}

/// A shard in the making.
#[derive(Debug)]
struct Shard {
    file: ShardFile,
    /// The inner chunk whose turn it is, by its position in C order.
    next: u64,
    /// Inner chunks before their turn; `None`: all fill.
    waiting: BTreeMap<u64, Option<Vec<u8>>>,
    /// Inner chunks that hold cells and have yet to come.
    left: u64,
    /// Inner chunks along each dimension, and those that hold cells.
    per: Vec<u64>,
    within: Vec<u64>,
}

/// Where shards are stored.
#[derive(Clone, Copy)]
pub(crate) struct Target<'a> {
    pub(crate) store: &'a Arc<dyn Store>,
    /// The full key of a shard, by the array's own key of it.
    pub(crate) key: &'a dyn Fn(&str) -> String,
    pub(crate) failed: &'a dyn Fn(&str, StoreError) -> WriteError,
}

/// A shard that is complete: its key as the array has it, and the bytes stored; `None` where no inner chunk is there, so
/// that nothing was.
pub(crate) type Complete = (String, Option<u64>);

impl Shards {
    /// Encoded bytes that wait for their turn.
    pub(crate) fn held(&self) -> u64 {
        self.held.load(Ordering::Relaxed)
    }

    /// Whether no shard is open.
    pub(crate) fn is_complete(&self) -> bool {
        lock(&self.open).shards.is_empty()
    }

    /// Adds an inner chunk, and stores it if it is its turn; says so when the shard is complete with it.
    pub(crate) fn add(
        &self,
        (number, array): (usize, &ArrayWriter),
        chunk: &[u64],
        encoded: Option<Vec<u8>>,
        target: Target<'_>,
    ) -> Result<Option<Complete>, WriteError> {
        let per = array.chunks_per_object();
        let index: Vec<u64> = chunk.iter().zip(&per).map(|(c, p)| c / p).collect();
        let inner: Vec<u64> = chunk.iter().zip(&per).map(|(c, p)| c % p).collect();
        let at = block::position(&inner, &per);
        let own = array.key(&index);
        let again =
            || WriteError::ShardIsStored { array: array.spec().path.clone(), chunk: chunk.to_vec(), key: own.clone() };
        let key = (number, index);
        let shard = {
            let mut open = lock(&self.open);
            if open.stored.contains(&key) {
                return Err(again());
            }
            let new = |key: &Key| Arc::new(Mutex::new(Shard::new(array, &key.1)));
            open.shards.entry(key.clone()).or_insert_with_key(new).clone()
        };
        let mut shard = lock(&shard);
        if at < shard.next || shard.waiting.contains_key(&at) {
            return Err(again());
        }
        self.held.fetch_add(encoded.as_ref().map_or(0, Vec::len) as u64, Ordering::Relaxed);
        shard.waiting.insert(at, encoded);
        shard.left -= 1;
        self.advance(&mut shard, &own, target, false)?;
        if shard.left > 0 {
            return Ok(None);
        }
        let mut open = lock(&self.open);
        open.shards.remove(&key);
        open.stored.insert(key);
        drop(open);
        let begin = || writer(target.store, &(target.key)(&own));
        let stored = shard.file.finish(begin).map_err(|e| (target.failed)(&own, e))?;
        Ok(Some((own, stored)))
    }

    /// Completes a shard: what did not come is empty. `None` when there is none left.
    pub(crate) fn take(&self, arrays: &[ArrayWriter], target: Target<'_>) -> Result<Option<Complete>, WriteError> {
        let mut open = lock(&self.open);
        let Some((key, shard)) = open.shards.pop_first() else { return Ok(None) };
        let own = arrays[key.0].key(&key.1);
        open.stored.insert(key);
        drop(open);
        let mut shard = lock(&shard);
        self.advance(&mut shard, &own, target, true)?;
        let begin = || writer(target.store, &(target.key)(&own));
        let stored = shard.file.finish(begin).map_err(|e| (target.failed)(&own, e))?;
        Ok(Some((own, stored)))
    }

    /// Stores what waits up to the first inner chunk that has yet to come; with `all`, whatever waits.
    fn advance(&self, shard: &mut Shard, own: &str, target: Target<'_>, all: bool) -> Result<(), WriteError> {
        while let Some(entry) = shard.waiting.first_entry() {
            let at = *entry.key();
            if !all && (shard.next..at).any(|before| holds_cells(before, &shard.per, &shard.within)) {
                break;
            }
            let encoded = entry.remove();
            shard.next = at + 1;
            if let Some(bytes) = encoded {
                self.held.fetch_sub(bytes.len() as u64, Ordering::Relaxed);
                let begin = || writer(target.store, &(target.key)(own));
                shard.file.append(at, &bytes, begin).map_err(|e| (target.failed)(own, e))?;
            }
        }
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether the inner chunk at a position lies within the array: `within` are those that do along each dimension.
fn holds_cells(mut at: u64, per: &[u64], within: &[u64]) -> bool {
    per.iter().zip(within).rev().all(|(p, w)| {
        let along = at % p;
        at /= p;
        along < *w
    })
}

impl Shard {
    fn new(array: &ArrayWriter, index: &[u64]) -> Shard {
        let (per, grid) = (array.chunks_per_object(), array.grid());
        let within: Vec<u64> = index.iter().zip(&per).zip(&grid).map(|((i, &p), g)| p.min(g - i * p)).collect();
        let file = ShardFile::new(per.iter().product(), FORMAT);
        Shard { file, next: 0, waiting: BTreeMap::new(), left: within.iter().product(), per, within }
    }
}

/// The object of a shard: encoded inner chunks one behind the other, offset and length of each in an index (all ones where
/// there is none), and the CRC-32C of that index. Nothing is stored before the first inner chunk; where the index is to
/// come first, encoded inner chunks are kept until the end.
///
/// Source: Zarr v3 codec `sharding_indexed` 1.0.
#[derive(Debug)]
pub(crate) struct ShardFile {
    format: IndexFormat,
    writer: Option<Box<dyn ObjectWriter>>,
    kept: Vec<u8>,
    index: Vec<(u64, u64)>,
    /// Where the next inner chunk is to lie.
    end: u64,
}

impl ShardFile {
    /// A shard of `inner` chunks, none of which is there.
    pub(crate) fn new(inner: u64, format: IndexFormat) -> ShardFile {
        let end = if format.at_start { format.size(inner) } else { 0 };
        ShardFile { format, writer: None, kept: Vec::new(), index: vec![ABSENT; inner as usize], end }
    }

    /// Stores an encoded inner chunk at the end.
    pub(crate) fn append(
        &mut self,
        at: u64,
        bytes: &[u8],
        begin: impl FnOnce() -> Result<Box<dyn ObjectWriter>, StoreError>,
    ) -> Result<(), StoreError> {
        match &mut self.writer {
            _ if self.format.at_start => self.kept.extend_from_slice(bytes),
            Some(writer) => writer.append(bytes)?,
            none => none.insert(begin()?).append(bytes)?,
        }
        self.index[at as usize] = (self.end, bytes.len() as u64);
        self.end += bytes.len() as u64;
        Ok(())
    }

    /// Stores the index; the bytes of the object, `None` where no inner chunk is there and nothing is stored.
    pub(crate) fn finish(
        &mut self,
        begin: impl FnOnce() -> Result<Box<dyn ObjectWriter>, StoreError>,
    ) -> Result<Option<u64>, StoreError> {
        if self.index.iter().all(|entry| *entry == ABSENT) {
            return Ok(None);
        }
        let mut writer = match self.writer.take() {
            Some(writer) => writer,
            None => begin()?,
        };
        let written = self.finish_into(writer.as_mut());
        match written {
            Ok(()) => writer.finish()?,
            Err(e) => {
                // The first error is the one to tell.
                let _ = writer.abort();
                return Err(e);
            }
        }
        let index = if self.format.at_start { 0 } else { self.format.size(self.index.len() as u64) };
        Ok(Some(self.end + index))
    }

    fn finish_into(&self, writer: &mut dyn ObjectWriter) -> Result<(), StoreError> {
        let mut sum = 0;
        let mut piece = Vec::new();
        // In pieces: an index may be large.
        for entries in self.index.chunks(1 << 12) {
            piece.clear();
            self.format.push(entries, &mut piece);
            sum = crc32c::crc32c_append(sum, &piece);
            writer.append(&piece)?;
        }
        if self.format.checksum {
            writer.append(&sum.to_le_bytes())?;
        }
        writer.append(&self.kept)
    }
}

impl Drop for ShardFile {
    fn drop(&mut self) {
        if let Some(writer) = self.writer.take() {
            // It is given up because of another error, which is the one to tell.
            let _ = writer.abort();
        }
    }
}
