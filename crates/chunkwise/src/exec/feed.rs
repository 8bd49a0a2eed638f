//! Chunks of polled stores, fetched ahead of decoding in the order in which leaves need them.
//!
//! What is on its way or waits to be decoded is bounded in bytes: a request goes out only when the budget has room
//! for its chunk as large as it could be.

use super::ExecError;
use super::cache::Counters;
use crate::chunk::{ChunkError, ChunkReader, Fetched};
use chunkwise_core::plan::Stage;
use chunkwise_core::plan::schedule::Walk;
use chunkwise_core::plan::touched::Uses;
use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Requests on their way at once, at most.
const REQUESTS: usize = 256;

/// Permits are counted in units of so many bytes.
const UNIT: u64 = 1024;

type Key = (usize, Vec<u64>);

/// A fetched chunk, and the room that it takes.
struct Arrived {
    result: Result<(Fetched, Option<Vec<u8>>), ChunkError>,
    _room: OwnedSemaphorePermit,
}

#[derive(Default)]
struct Slots {
    arrived: Mutex<HashMap<Key, Arrived>>,
    came: Condvar,
}

/// Fetches ahead until it is dropped.
pub(crate) struct Feed {
    slots: Arc<Slots>,
    runtime: Option<Runtime>,
}

impl Feed {
    /// Starts to fetch what `stage` needs, holding at most `bytes`.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(crate) fn start(
        stage: &Stage,
        readers: &[Arc<ChunkReader>],
        walk: &Walk,
        bytes: u64,
    ) -> Result<Feed, ExecError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("chunkwise-fetch")
            .enable_all()
            .build()
            .map_err(ExecError::Threads)?;
        let slots = Arc::new(Slots::default());
        let units = |bytes: u64| u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX);
        let all = units(bytes).max(1);
        let room = Arc::new(Semaphore::new(all as usize));
        let requests = Arc::new(Semaphore::new(REQUESTS));
        let (stage, readers, order) = (stage.clone(), readers.to_vec(), walk.order.clone());
        let into = slots.clone();
        runtime.spawn(async move {
            for (array, chunk) in Needed::new(&stage, &order) {
                let reader = readers[array].clone();
                // Compression may add a little; one chunk alone is let through whatever its size.
                let largest = reader.decoded_size(&chunk).map_or(all, |b| units(b + b / 64 + 4096).min(all));
                let Ok(permit) = room.clone().acquire_many_owned(largest).await else { return };
                let Ok(request) = requests.clone().acquire_owned().await else { return };
                let into = into.clone();
                tokio::spawn(async move {
                    let result = reader.fetch(&chunk).await;
                    drop(request);
                    let mut room = permit;
                    if let Ok((_, bytes)) = &result {
                        let took = units(bytes.as_ref().map_or(0, |b| b.capacity() as u64));
                        if took < largest {
                            drop(room.split((largest - took) as usize));
                        }
                    }
                    let mut arrived = into.arrived.lock().unwrap_or_else(PoisonError::into_inner);
                    arrived.insert((array, chunk), Arrived { result, _room: room });
                    into.came.notify_all();
                });
            }
        });
        Ok(Feed { slots, runtime: Some(runtime) })
    }

    /// Waits for a chunk and hands its encoded bytes to `decode`, after which its room is free again; gives up where
    /// `ends` says that the run is to end.
    pub(crate) fn take(
        &self,
        array: usize,
        chunk: &[u64],
        counters: &Counters,
        ends: impl Fn() -> bool,
        decode: impl FnOnce(Option<&[u8]>) -> Result<(), ChunkError>,
    ) -> Result<(), ExecError> {
        let key = (array, chunk.to_vec());
        let mut slots = self.slots.arrived.lock().unwrap_or_else(PoisonError::into_inner);
        let arrived = loop {
            if let Some(arrived) = slots.remove(&key) {
                break arrived;
            }
            if ends() {
                return Err(ExecError::Interrupted);
            }
            let wait = Duration::from_millis(50);
            slots = self.slots.came.wait_timeout(slots, wait).unwrap_or_else(PoisonError::into_inner).0;
        };
        drop(slots);
        let (fetched, bytes) = arrived.result?;
        counters.add(&fetched);
        Ok(decode(bytes.as_deref())?)
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// The chunks of a stage in the order of their first use.
struct Needed<'a> {
    stage: &'a Stage,
    order: &'a [usize],
    uses: Uses,
    /// Chunks that later leaves need too, and how many.
    again: HashMap<Key, u64>,
    patch: u64,
    leaf: u64,
    /// Intervals of the patch in work, and its leaves.
    open: Option<(Vec<(u64, u64)>, u64)>,
    found: Vec<Key>,
}

impl<'a> Needed<'a> {
    fn new(stage: &'a Stage, order: &'a [usize]) -> Needed<'a> {
        let (uses, again, found) = (Uses::new(stage), HashMap::new(), Vec::new());
        Needed { stage, order, uses, again, patch: 0, leaf: 0, open: None, found }
    }

    /// The first uses of the next leaf, last first; `false` where no leaf is left.
    fn advance(&mut self) -> bool {
        loop {
            let (intervals, leaves) = match &self.open {
                Some(open) => open,
                None if self.patch == self.stage.patch_count() => return false,
                None => {
                    let intervals = self.stage.patch_intervals(&self.stage.patch_at(self.order, self.patch));
                    let leaves = self.stage.leaf_count(&intervals);
                    self.patch += 1;
                    self.leaf = 0;
                    self.open.insert((intervals, leaves))
                }
            };
            if self.leaf == *leaves {
                self.open = None;
                continue;
            }
            let leaf = self.stage.leaf_at(intervals, self.leaf);
            self.leaf += 1;
            let mut here: Vec<Key> = Vec::new();
            for view in &self.stage.inputs {
                let key = (view.array, self.stage.chunk_of(view, &leaf));
                if !here.contains(&key) {
                    here.push(key);
                }
            }
            for key in here {
                if self.uses.once(key.0) {
                    self.found.push(key);
                } else if let Some(left) = self.again.get_mut(&key) {
                    *left -= 1;
                    if *left == 0 {
                        self.again.remove(&key);
                    }
                } else {
                    let left = self.uses.of(self.stage, key.0, &key.1) - 1;
                    if left > 0 {
                        self.again.insert(key.clone(), left);
                    }
                    self.found.push(key);
                }
            }
            self.found.reverse();
            return true;
        }
    }
}

impl Iterator for Needed<'_> {
    type Item = Key;
    fn next(&mut self) -> Option<Key> {
        while self.found.is_empty() {
            if !self.advance() {
                return None;
            }
        }
        self.found.pop()
    }
}
