//! Chunks of polled stores, fetched ahead of decoding in the order in which leaves need them.
//!
//! What is on its way or waits to be decoded is bounded in bytes: a request goes out only when the budget has room
//! for its chunk as large as it could be.

use super::ExecError;
use super::cache::Counters;
use crate::chunk::{ChunkError, ChunkReader, Fetched, Piece};
use crate::runtime::{self, Task};
use chunkwise_core::plan::Stage;
use chunkwise_core::plan::fetch::{Fetch, Fetches, Key};
use chunkwise_core::plan::schedule::Walk;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;

/// Permits are counted in units of so many bytes.
const UNIT: u64 = 1024;

/// Bytes for what is fetched ahead, and between chunks of a shard that are read rather than asked around.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ahead {
    /// What is on its way or waits to be decoded, at most.
    pub bytes: u64,
    /// Bytes between two chunks of a shard that one request reads with them.
    pub gap: u64,
    /// Requests on their way at once, at most.
    pub requests: usize,
}

/// A fetched chunk, or why there is none.
struct Arrived {
    result: Result<(Fetched, Option<Part>), ChunkError>,
}

/// The bytes of a request, and where in them a chunk lies (`None`: they are the chunk).
type Part = (Arc<Bytes>, Option<Range<usize>>);

/// What one request gave, and the room that it takes until all its chunks are decoded.
struct Bytes {
    bytes: Vec<u8>,
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
    _task: Task<()>,
}

impl Feed {
    /// Starts to fetch what `stage` needs.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(crate) fn start(
        stage: &Stage,
        readers: &[Arc<ChunkReader>],
        walk: &Walk,
        ahead: Ahead,
    ) -> Result<Feed, ExecError> {
        let handle = runtime::handle().map_err(ExecError::Threads)?;
        let slots = Arc::new(Slots::default());
        let all = units(ahead.bytes).max(1);
        let room = Arc::new(Semaphore::new(all as usize));
        let requests = Arc::new(Semaphore::new(ahead.requests.max(1)));
        let (stage, readers, order) = (stage.clone(), readers.to_vec(), walk.order.clone());
        let into = slots.clone();
        let task = Task::start(&handle, async move {
            // What is on its way ends with this task.
            let mut begun = JoinSet::new();
            for fetch in Fetches::new(&stage, &order, ahead.bytes) {
                // One chunk alone is let through whatever its size.
                let Ok(room) = room.clone().acquire_many_owned(units(fetch.bytes).min(all)).await else { return };
                let (slots, requests) = (into.clone(), requests.clone());
                let reader = readers[fetch.array].clone();
                let one = One { reader, fetch: Arc::new(fetch), slots, requests };
                begun.spawn(one.run(room, ahead.gap));
                while begun.try_join_next().is_some() {}
            }
            while begun.join_next().await.is_some() {}
        });
        Ok(Feed { slots, _task: task })
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
        let (fetched, found) = arrived.result?;
        counters.add(&fetched);
        let bytes = found.as_ref().map(|(all, part)| match part {
            Some(part) => &all.bytes[part.clone()],
            None => all.bytes.as_slice(),
        });
        Ok(decode(bytes)?)
    }
}

fn units(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX)
}

/// Chunks that are fetched together.
#[derive(Clone)]
struct One {
    reader: Arc<ChunkReader>,
    fetch: Arc<Fetch>,
    slots: Arc<Slots>,
    requests: Arc<Semaphore>,
}

impl One {
    async fn run(self, mut room: OwnedSemaphorePermit, gap: u64) {
        let Ok(request) = self.requests.clone().acquire_owned().await else { return };
        let (mut index, pieces) = match self.reader.locate(&self.fetch.chunks, gap, self.fetch.bytes).await {
            Ok(found) => found,
            Err(error) => return self.put(vec![(0, Arrived { result: Err(error) })]),
        };
        drop(request);
        let fetched = pieces.iter().flat_map(|piece| &piece.chunks).map(|(n, _)| *n).collect::<Vec<_>>();
        let absent = (0..self.fetch.chunks.len()).filter(|n| !fetched.contains(n));
        // What the index took is counted with the chunk that is needed first.
        let absent = absent.map(|n| {
            let cost = if n == 0 { std::mem::take(&mut index) } else { Fetched::default() };
            (n, Arrived { result: Ok((cost, None)) })
        });
        self.put(absent.collect());
        let mut begun = JoinSet::new();
        for piece in pieces {
            // What is known to be smaller than it could have been leaves room for others.
            let own = piece.len().map_or(room.num_permits(), |len| (units(len) as usize).min(room.num_permits()));
            let Some(own) = room.split(own) else { return };
            let cost = match piece.chunks.iter().any(|(n, _)| *n == 0) {
                true => std::mem::take(&mut index),
                false => Fetched::default(),
            };
            begun.spawn(self.clone().fetch(piece, own, cost));
        }
        drop(room);
        while begun.join_next().await.is_some() {}
    }

    /// Fetches one piece; `cost` is what came before.
    async fn fetch(self, piece: Piece, mut room: OwnedSemaphorePermit, mut cost: Fetched) {
        let Ok(request) = self.requests.clone().acquire_owned().await else { return };
        let result = self.reader.fetch_piece(&self.fetch.chunks, &piece).await;
        drop(request);
        // The chunk that is needed first bears the cost, and the error.
        let first = piece.chunks.iter().map(|(n, _)| *n).min().unwrap_or(0);
        let bytes = match result {
            Ok(bytes) => bytes,
            Err(error) => return self.put(vec![(first, Arrived { result: Err(error) })]),
        };
        cost.requests += 1;
        cost.encoded_bytes += bytes.as_ref().map_or(0, |b| b.len() as u64);
        let took = units(bytes.as_ref().map_or(0, |b| b.capacity() as u64)) as usize;
        if took < room.num_permits() {
            drop(room.split(room.num_permits() - took));
        }
        let bytes = bytes.map(|bytes| Arc::new(Bytes { bytes, _room: room }));
        let arrived = piece.chunks.into_iter().map(|(n, part)| {
            let mut own = if n == first { cost } else { Fetched::default() };
            own.existed = bytes.is_some();
            (n, Arrived { result: Ok((own, bytes.clone().map(|bytes| (bytes, part)))) })
        });
        self.put(arrived.collect());
    }

    /// Hands over what has come, by number of the chunk.
    fn put(&self, all: Vec<(usize, Arrived)>) {
        let mut slots = self.slots.arrived.lock().unwrap_or_else(PoisonError::into_inner);
        for (number, arrived) in all {
            if let Some(chunk) = self.fetch.chunks.get(number) {
                slots.insert((self.fetch.array, chunk.clone()), arrived);
            }
        }
        self.slots.came.notify_all();
    }
}
