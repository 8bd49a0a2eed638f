//! Decoded chunks that several leaves need: each is decoded once and dropped after its last use.

use super::feed::Feed;
use super::pool::{Pool, Pooled};
use super::{ExecError, RunOptions};
use crate::chunk::{ChunkReader, Fetched, Scratch};
use chunkwise_core::plan::Stage;
use chunkwise_core::plan::touched::Uses;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// What a run counts.
#[derive(Debug, Default)]
pub struct Counters {
    /// Chunks asked for.
    pub chunks: AtomicU64,
    /// Chunks that are not stored.
    pub absent: AtomicU64,
    /// Requests to stores.
    pub requests: AtomicU64,
    /// Bytes fetched.
    pub encoded_bytes: AtomicU64,
    /// Bytes decoded.
    pub decoded_bytes: AtomicU64,
    /// Leaves folded.
    pub leaves: AtomicU64,
    /// Cells read that lie outside of the valid range of their variable, by its name.
    outside: Mutex<BTreeMap<String, Outside>>,
}

/// Cells outside of a valid range.
#[derive(Clone, Copy, Debug, Default)]
struct Outside {
    /// Found by earlier jobs.
    earlier: u64,
    /// The most that a chain of stages found.
    before: u64,
    /// Found by the chain that runs.
    now: u64,
}

impl Counters {
    /// Variables with cells outside of their valid range, which was not applied, and how many of those read. Where
    /// several chains of stages read a variable, the one that found most counts: they may have read the same cells.
    pub fn outside(&self) -> BTreeMap<String, u64> {
        let all = self.outside.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().map(|(name, found)| (name.clone(), found.earlier + found.before.max(found.now))).collect()
    }

    pub(crate) fn add_outside(&self, variable: &str, cells: u64) {
        let mut all = self.outside.lock().unwrap_or_else(PoisonError::into_inner);
        all.entry(variable.to_owned()).or_default().now += cells;
    }

    /// What follows is another chain of stages.
    pub(crate) fn end_chain(&self) {
        for found in self.outside.lock().unwrap_or_else(PoisonError::into_inner).values_mut() {
            *found = Outside { earlier: found.earlier, before: found.before.max(found.now), now: 0 };
        }
    }

    /// What follows is another job: it reads other cells.
    pub fn end_job(&self) {
        for found in self.outside.lock().unwrap_or_else(PoisonError::into_inner).values_mut() {
            *found = Outside { earlier: found.earlier + found.before.max(found.now), before: 0, now: 0 };
        }
    }

    pub(crate) fn add(&self, fetched: &Fetched) {
        self.chunks.fetch_add(1, Ordering::Relaxed);
        self.absent.fetch_add(u64::from(!fetched.existed), Ordering::Relaxed);
        self.requests.fetch_add(fetched.requests.into(), Ordering::Relaxed);
        self.encoded_bytes.fetch_add(fetched.encoded_bytes, Ordering::Relaxed);
    }
}

type Slot = Arc<Mutex<(Option<Arc<Pooled<u8>>>, u64)>>;

/// Where leaves get their chunks from.
pub(crate) struct Chunks<'a> {
    pub(crate) stage: &'a Stage,
    pub(crate) readers: &'a [Arc<ChunkReader>],
    pub(crate) counters: &'a Counters,
    pub(crate) options: &'a RunOptions,
    /// What fetches ahead, where the store is polled.
    pub(crate) feed: Option<Feed>,
    /// Set when a thread has failed: no other waits for what that one had asked for.
    pub(crate) stop: AtomicBool,
    uses: Uses,
    /// Buffers of decoded chunks, by array; and of the outputs of formulas.
    buffers: Vec<Pool<u8>>,
    pub(crate) columns: Pool<f64>,
    slots: Mutex<HashMap<(usize, Vec<u64>), Slot>>,
}

impl<'a> Chunks<'a> {
    pub(crate) fn new(
        stage: &'a Stage,
        readers: &'a [Arc<ChunkReader>],
        counters: &'a Counters,
        options: &'a RunOptions,
        feed: Option<Feed>,
    ) -> Chunks<'a> {
        let buffers = readers.iter().map(|_| Pool::new()).collect();
        let (stop, columns, uses, slots) = (AtomicBool::new(false), Pool::new(), Uses::new(stage), Mutex::default());
        Chunks { stage, readers, counters, options, feed, stop, uses, buffers, columns, slots }
    }

    /// Whether the run is to end early.
    pub(crate) fn ends(&self) -> bool {
        self.options.cancel.load(Ordering::Relaxed) || self.stop.load(Ordering::Relaxed)
    }

    /// A decoded chunk.
    pub(crate) fn get(&self, array: usize, chunk: &[u64], scratch: &mut Scratch) -> Result<Arc<Pooled<u8>>, ExecError> {
        if self.uses.once(array) {
            return Ok(Arc::new(self.read(array, chunk, scratch)?));
        }
        let key = (array, chunk.to_vec());
        let slot = {
            let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
            let new = || Arc::new(Mutex::new((None, self.uses.of(self.stage, array, chunk))));
            slots.entry(key.clone()).or_insert_with(new).clone()
        };
        let mut held = slot.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = match &held.0 {
            Some(bytes) => bytes.clone(),
            None => {
                let bytes = Arc::new(self.read(array, chunk, scratch)?);
                held.0 = Some(bytes.clone());
                bytes
            }
        };
        held.1 = held.1.saturating_sub(1);
        if held.1 == 0 {
            self.slots.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
        }
        Ok(bytes)
    }

    fn read(&self, array: usize, chunk: &[u64], scratch: &mut Scratch) -> Result<Pooled<u8>, ExecError> {
        let reader = &self.readers[array];
        let mut bytes = self.buffers[array].take();
        match &self.feed {
            None => self.counters.add(&reader.read(chunk, scratch, &mut bytes)?),
            Some(feed) => {
                let decode = |encoded: Option<&[u8]>| reader.decode(chunk, encoded, scratch, &mut bytes);
                feed.take(array, chunk, self.counters, || self.ends(), decode)?;
            }
        }
        self.counters.decoded_bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        Ok(bytes)
    }
}
