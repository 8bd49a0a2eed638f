//! Every chunk of a variable, decoded and dropped: several requests on their way, as many decoders as threads.

use super::{Found, VerifyError, VerifyOptions};
use crate::chunk::{ChunkError, ChunkReader, DecodeError, Scratch};
use crate::codec::chain::TEXT_BYTES;
use crate::exec::{Counters, ExecError};
use crate::memory;
use crate::store::Access;
use chunkwise_core::cube::{DataType, Variable};
use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};

/// Requests on their way at once, at most.
const REQUESTS: u64 = 64;

/// What chunks of a variable take, and how many are in work.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    /// Bytes of a decoded chunk.
    pub(super) decoded: u64,
    /// Bytes for the indexes of shards.
    pub(super) index_bytes: u64,
    /// Peak memory of the process.
    pub(super) needed: u64,
    threads: usize,
    requests: u64,
}

impl Room {
    /// As many threads and requests as fit the budget.
    pub(super) fn new(variable: &Variable, reader: &ChunkReader, options: &VerifyOptions) -> Result<Room, VerifyError> {
        let first = vec![0; reader.grid().len()];
        let largest = |sizes: &chunkwise_core::cube::ChunkSizes| sizes.longest();
        let cells = variable.chunks.iter().map(largest).fold(1u64, u64::saturating_mul);
        let decoded = match &variable.dtype {
            // As encoded, and as text.
            DataType::Text(_) => reader.decoded_size(&first).unwrap_or(cells.saturating_mul(32).min(TEXT_BYTES)),
            dtype => cells.saturating_mul(dtype.number().map_or(1, |d| d.size() as u64)),
        };
        // Encoded bytes that pass those of the cells by far are none of a chunk.
        let encoded = reader.encoded_most().min(decoded.saturating_mul(2).saturating_add(1 << 20));
        let per_thread = decoded.saturating_mul(3);
        let index_bytes = variable.shards.as_ref().map_or(0, |shards| {
            let counts = shards.iter().zip(&variable.chunks).map(|(s, c)| s.longest() / c.longest().max(1));
            // An index as stored and as kept; of several shards where they are small.
            counts.fold(32u64, u64::saturating_mul).saturating_mul(2).max(1 << 20)
        });
        let needed = |threads: u64, requests: u64| {
            let chunks = per_thread.saturating_mul(threads).saturating_add(encoded.saturating_mul(requests));
            chunks.saturating_add(index_bytes).saturating_add(memory::base())
        };
        let limit = options.memory;
        if needed(1, 1) > limit {
            return Err(VerifyError::Memory { variable: variable.name.clone(), needed: needed(1, 1), limit });
        }
        let most = options.threads.max(1) as u64;
        let threads = (1..=most).rev().find(|&n| needed(n, n) <= limit).unwrap_or(1);
        let requests = match reader.store().access() {
            Access::Inline => threads,
            Access::Polled => {
                (threads..=REQUESTS.max(threads)).rev().find(|&n| needed(threads, n) <= limit).unwrap_or(1)
            }
        };
        Ok(Room { decoded, index_bytes, needed: needed(threads, requests), threads: threads as usize, requests })
    }
}

/// What the tasks share.
struct Work {
    reader: Arc<ChunkReader>,
    variable: Variable,
    order: Mutex<Order>,
    /// Cells that were decoded into, and scratch, for as many as decode at once.
    scratch: Mutex<Vec<(Scratch, Vec<u8>)>>,
    found: Arc<Found>,
    /// First chunks of the shards whose index cannot be read.
    told: Mutex<HashSet<Vec<u64>>>,
    counters: Arc<Counts>,
    cancel: &'static std::sync::atomic::AtomicBool,
}

/// What is counted, until it is added to the counters of the caller.
#[derive(Debug, Default)]
struct Counts {
    chunks: AtomicU64,
    absent: AtomicU64,
    requests: AtomicU64,
    encoded: AtomicU64,
    decoded: AtomicU64,
}

/// Decodes all chunks of a variable.
pub(super) fn read(
    variable: &Variable,
    reader: &Arc<ChunkReader>,
    room: Room,
    options: &VerifyOptions,
    counters: &Counters,
    found: &Found,
) -> Result<(), VerifyError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(room.threads)
        .thread_name("chunkwise-verify")
        .enable_all()
        .build()
        .map_err(ExecError::Threads)?;
    let own = Arc::new(Found::default());
    let work = Arc::new(Work {
        reader: reader.clone(),
        variable: variable.clone(),
        order: Mutex::new(Order::new(variable, reader.grid())),
        scratch: Mutex::default(),
        found: own.clone(),
        told: Mutex::default(),
        counters: Arc::default(),
        cancel: options.cancel,
    });
    // Closed when the last task has ended.
    let (open, closed) = mpsc::channel::<()>();
    for _ in 0..room.requests {
        let (work, open) = (work.clone(), open.clone());
        runtime.spawn(async move {
            run(work).await;
            drop(open);
        });
    }
    drop(open);
    let look = std::time::Duration::from_millis(50);
    loop {
        let ended = closed.recv_timeout(look) == Err(mpsc::RecvTimeoutError::Disconnected);
        let cancelled = options.cancel.load(Ordering::Relaxed);
        let move_to =
            |from: &AtomicU64, to: &AtomicU64| to.fetch_add(from.swap(0, Ordering::Relaxed), Ordering::Relaxed);
        let counts = &work.counters;
        let chunks = counts.chunks.swap(0, Ordering::Relaxed);
        counters.chunks.fetch_add(chunks, Ordering::Relaxed);
        counters.leaves.fetch_add(chunks, Ordering::Relaxed);
        move_to(&counts.absent, &counters.absent);
        move_to(&counts.requests, &counters.requests);
        move_to(&counts.encoded, &counters.encoded_bytes);
        move_to(&counts.decoded, &counters.decoded_bytes);
        if cancelled {
            runtime.shutdown_background();
            return Err(ExecError::Interrupted.into());
        }
        if ended {
            break;
        }
    }
    drop(runtime);
    let mut all = own.problems.lock().unwrap_or_else(PoisonError::into_inner);
    let kept = std::mem::take(&mut all.0);
    let more = all.1 - kept.len() as u64;
    kept.into_iter().for_each(|problem| found.add(problem));
    found.problems.lock().unwrap_or_else(PoisonError::into_inner).1 += more;
    Ok(())
}

/// The chunks of a variable, shard by shard, so that the index of each is read once.
struct Order {
    grid: Vec<u64>,
    /// First chunk of the shard, and its chunks along each dimension.
    shard: Option<(Vec<u64>, Vec<u64>)>,
    /// The next chunk, counted from the first of the shard.
    within: Vec<u64>,
}

impl Order {
    fn new(variable: &Variable, grid: &[u64]) -> Order {
        let first = vec![0; grid.len()];
        let shard = if grid.contains(&0) { None } else { Some(Order::shard(variable, first)) };
        Order { grid: grid.to_vec(), shard, within: vec![0; grid.len()] }
    }

    fn shard(variable: &Variable, first: Vec<u64>) -> (Vec<u64>, Vec<u64>) {
        let per = variable.shard_of(&first).map_or_else(|| vec![1; first.len()], |shard| shard.per);
        (first, per)
    }

    fn next(&mut self, variable: &Variable) -> Option<Vec<u64>> {
        let (first, per) = self.shard.as_mut()?;
        let chunk: Vec<u64> = first.iter().zip(&self.within).map(|(a, b)| a + b).collect();
        for d in (0..per.len()).rev() {
            self.within[d] += 1;
            if self.within[d] < per[d] && first[d] + self.within[d] < self.grid[d] {
                return Some(chunk);
            }
            self.within[d] = 0;
        }
        let mut first = std::mem::take(first);
        for d in (0..first.len()).rev() {
            let (_, per) = self.shard.as_ref()?;
            first[d] += per[d];
            if first[d] < self.grid[d] {
                self.shard = Some(Order::shard(variable, first));
                return Some(chunk);
            }
            first[d] = 0;
        }
        self.shard = None;
        Some(chunk)
    }
}

async fn run(work: Arc<Work>) {
    while !work.cancel.load(Ordering::Relaxed) {
        let next = work.order.lock().unwrap_or_else(PoisonError::into_inner).next(&work.variable);
        let Some(chunk) = next else { return };
        if let Err(error) = one(&work, &chunk).await {
            // A shard whose index cannot be read is told of once.
            let first_told = || {
                let within = work.variable.shard_of(&chunk).map_or_else(Vec::new, |shard| shard.within);
                let first = chunk.iter().zip(&within).map(|(at, n)| at - n).collect();
                work.told.lock().unwrap_or_else(PoisonError::into_inner).insert(first)
            };
            if !of_index(&work.reader, &chunk, &error) || first_told() {
                work.found.chunk(&work.variable, &chunk, &error);
            }
        }
        work.counters.chunks.fetch_add(1, Ordering::Relaxed);
    }
}

/// Whether an error is that of the index of a shard, and so of all its chunks.
fn of_index(reader: &ChunkReader, chunk: &[u64], error: &ChunkError) -> bool {
    match error {
        // One entry is wrong, the others may be right.
        ChunkError::Decode { source, .. } if matches!(**source, DecodeError::IndexLength { .. }) => false,
        ChunkError::Decode { bytes, .. } | ChunkError::Fetch { bytes, .. } => reader.is_index(chunk, *bytes),
        _ => false,
    }
}

async fn one(work: &Work, chunk: &[u64]) -> Result<(), ChunkError> {
    let (fetched, bytes) = work.reader.fetch(chunk).await?;
    let counts = &work.counters;
    counts.requests.fetch_add(fetched.requests.into(), Ordering::Relaxed);
    counts.encoded.fetch_add(fetched.encoded_bytes, Ordering::Relaxed);
    let Some(bytes) = bytes else {
        counts.absent.fetch_add(1, Ordering::Relaxed);
        return Ok(());
    };
    if matches!(work.variable.dtype, DataType::Text(_)) {
        return work.reader.decode_text(chunk, Some(&bytes)).map(|_| ());
    }
    let lock = || work.scratch.lock().unwrap_or_else(PoisonError::into_inner);
    let (mut scratch, mut cells) = lock().pop().unwrap_or_default();
    let result = work.reader.decode(chunk, Some(&bytes), &mut scratch, &mut cells);
    counts.decoded.fetch_add(cells.len() as u64, Ordering::Relaxed);
    lock().push((scratch, cells));
    result
}
