//! Every chunk of a variable, decoded and dropped: several requests on their way, as many decoders as threads.

use super::{Found, VerifyError, VerifyOptions};
use crate::chunk::{ChunkError, ChunkReader, DecodeError, Fetched, Scratch};
use crate::codec::chain::TEXT_BYTES;
use crate::exec::{Counters, ExecError};
use crate::memory;
use crate::store::{Access, StoreError};
use chunkwise_core::cube::{DataType, Variable};
use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};

/// Requests on their way at once, at most.
const REQUESTS: u64 = 64;
/// Requests for joined chunks of a shard that are to have room at once.
const JOINED: u64 = 16;
/// Bytes of a request for joined chunks, at most, unless one chunk is more.
const LARGEST: u64 = 8 << 20;
/// Bytes between two chunks of a shard that are read rather than asked around.
const GAP: u64 = 64 << 10;

/// What chunks of a variable take, and how many are in work.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    /// Bytes of a decoded chunk.
    pub(super) decoded: u64,
    /// Bytes of an encoded chunk, at most; what is larger is a problem, and not read.
    pub(super) encoded: u64,
    /// Bytes of one request, at most.
    request: u64,
    /// Chunks of a shard that are looked up together.
    together: usize,
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
        // Of texts it is a guess; codecs may store numbers as wider ones.
        let encoded = match &variable.dtype {
            DataType::Text(_) => reader.encoded_most().min(decoded.saturating_mul(2).saturating_add(1 << 20)),
            _ => reader.encoded_most(),
        };
        // The cells, and what the codecs before the last make of them.
        let between = decoded.max(encoded.saturating_sub(1 << 20) / 2);
        let per_thread = between.saturating_mul(2).saturating_add(decoded);
        let index_bytes = variable.shards.as_ref().map_or(0, |shards| {
            let counts = shards.iter().zip(&variable.chunks).map(|(s, c)| s.longest() / c.longest().max(1));
            // An index as stored and as kept; of several shards where they are small.
            counts.fold(32u64, u64::saturating_mul).saturating_mul(2).max(1 << 20)
        });
        let fixed = index_bytes.saturating_add(memory::base());
        let needed = |threads: u64, requests: u64, request: u64| {
            let chunks = per_thread.saturating_mul(threads).saturating_add(request.saturating_mul(requests));
            chunks.saturating_add(fixed)
        };
        let limit = options.memory;
        let least = needed(1, 1, encoded);
        if least > limit {
            return Err(VerifyError::Memory { variable: variable.name.clone(), needed: least, limit });
        }
        let most = options.threads.max(1) as u64;
        let threads = (1..=most).rev().find(|&n| needed(n, n, encoded) <= limit).unwrap_or(1);
        let left = limit.saturating_sub(needed(threads, 0, 0));
        let polled = reader.store().access() == Access::Polled;
        let request = match variable.shards.is_some() && polled {
            true => (left / JOINED).min(LARGEST).max(encoded),
            false => encoded,
        };
        let requests = match polled {
            true => (left / request.max(1)).clamp(1, REQUESTS.max(threads)),
            false => threads,
        };
        // Texts may be longer than was guessed, as far as there is room for them.
        let encoded = match &variable.dtype {
            DataType::Text(_) => (left / requests.max(1)).clamp(encoded, reader.encoded_most().max(encoded)),
            _ => encoded,
        };
        let request = request.max(encoded);
        // A little more than the cells, where they do not compress.
        let usual = decoded.saturating_add(decoded / 64).saturating_add(64);
        let together = (request / usual.max(1)).clamp(1, 4096) as usize;
        let needed = needed(threads, requests, request);
        Ok(Room { decoded, encoded, request, together, index_bytes, needed, threads: threads as usize, requests })
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
    /// Why the store could not be asked.
    lost: Mutex<Option<ChunkError>>,
    room: Room,
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
        lost: Mutex::default(),
        room,
        counters: Arc::default(),
        cancel: options.cancel,
    });
    // Closed when the last task has ended.
    let (open, closed) = mpsc::channel::<()>();
    let mut tasks = Vec::new();
    for _ in 0..room.requests {
        let (work, open) = (work.clone(), open.clone());
        tasks.push(runtime.spawn(async move {
            run(work).await;
            drop(open);
        }));
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
    for task in tasks {
        // A fault of our own is none of the cube's: what was not looked at is not whole.
        if let Err(fault) = runtime.block_on(task)
            && fault.is_panic()
        {
            std::panic::resume_unwind(fault.into_panic());
        }
    }
    drop(runtime);
    if let Some(error) = lock(&work.lost).take() {
        return Err(VerifyError::Store(Box::new(error)));
    }
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

    /// The next chunks of one shard, `most` of them at most.
    fn batch(&mut self, variable: &Variable, most: usize) -> Vec<Vec<u64>> {
        let mut chunks = Vec::new();
        let Some((first, _)) = self.shard.clone() else { return chunks };
        while chunks.len() < most && self.shard.as_ref().is_some_and(|(now, _)| *now == first) {
            chunks.extend(self.next(variable));
        }
        chunks
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
    while !work.ends() {
        let chunks = lock(&work.order).batch(&work.variable, work.room.together);
        match chunks.as_slice() {
            [] => return,
            [chunk] => one(&work, chunk).await,
            chunks => several(&work, chunks).await,
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether a store could not be asked, so that nothing is known of the chunk. Credentials that have expired are answered with
/// 400, 401 or 403; where 403 stands for absent, it is no error.
fn does_not_answer(error: &ChunkError) -> bool {
    let ChunkError::Fetch { source, .. } = error else { return false };
    matches!(
        **source,
        StoreError::Network { .. } | StoreError::Status { status: 400 | 401 | 403 | 429 | 500..=599, .. }
    )
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

/// Chunks of one shard, in as few requests as they lie.
async fn several(work: &Work, chunks: &[Vec<u64>]) {
    let reader = &work.reader;
    let (fetched, pieces) = match reader.locate(chunks, GAP, work.room.request).await {
        Ok(found) => found,
        Err(error) if of_index(reader, &chunks[0], &error) => {
            work.failed(&chunks[0], error);
            return work.done(chunks.len() as u64);
        }
        // One entry of the index is wrong, the others may be right.
        Err(_) => return one_by_one(work, chunks.iter()).await,
    };
    work.fetched(&fetched);
    let absent = (chunks.len() - pieces.iter().map(|piece| piece.chunks.len()).sum::<usize>()) as u64;
    work.counters.absent.fetch_add(absent, Ordering::Relaxed);
    work.done(absent);
    for piece in pieces {
        if work.ends() {
            return;
        }
        let of_piece = || piece.chunks.iter().filter_map(|(n, _)| chunks.get(*n));
        if piece.len().is_none_or(|len| len > work.room.request) {
            one_by_one(work, of_piece()).await;
            continue;
        }
        let bytes = match reader.fetch_piece(chunks, &piece).await {
            Ok(bytes) => bytes.unwrap_or_default(),
            Err(error) => {
                work.counters.requests.fetch_add(1, Ordering::Relaxed);
                // A shard that ends early still holds some of them.
                match does_not_answer(&error) {
                    true => work.failed(&chunks[0], error),
                    false => one_by_one(work, of_piece()).await,
                }
                continue;
            }
        };
        work.fetched(&Fetched { existed: true, requests: 1, encoded_bytes: bytes.len() as u64 });
        for (n, part) in &piece.chunks {
            let part = part.clone().map_or(Some(bytes.as_slice()), |part| bytes.get(part));
            if let (Some(chunk), Some(part)) = (chunks.get(*n), part) {
                if let Err(error) = decode(work, chunk, part) {
                    work.failed(chunk, error);
                }
                work.done(1);
            }
        }
    }
}

async fn one_by_one(work: &Work, chunks: impl Iterator<Item = &Vec<u64>>) {
    for chunk in chunks {
        if work.ends() {
            return;
        }
        one(work, chunk).await;
    }
}

async fn one(work: &Work, chunk: &[u64]) {
    let result = match work.reader.fetch(chunk).await {
        Err(error) => Err(error),
        Ok((fetched, bytes)) => {
            work.fetched(&fetched);
            match bytes {
                Some(bytes) => decode(work, chunk, &bytes),
                None => {
                    work.counters.absent.fetch_add(1, Ordering::Relaxed);
                    Ok(())
                }
            }
        }
    };
    if let Err(error) = result {
        work.failed(chunk, error);
    }
    work.done(1);
}

fn decode(work: &Work, chunk: &[u64], bytes: &[u8]) -> Result<(), ChunkError> {
    if matches!(work.variable.dtype, DataType::Text(_)) {
        return work.reader.decode_text(chunk, Some(bytes)).map(|_| ());
    }
    let (mut scratch, mut cells) = lock(&work.scratch).pop().unwrap_or_default();
    let result = work.reader.decode(chunk, Some(bytes), &mut scratch, &mut cells);
    work.counters.decoded.fetch_add(cells.len() as u64, Ordering::Relaxed);
    lock(&work.scratch).push((scratch, cells));
    result
}

impl Work {
    fn ends(&self) -> bool {
        self.cancel.load(Ordering::Relaxed) || lock(&self.lost).is_some()
    }

    fn done(&self, chunks: u64) {
        self.counters.chunks.fetch_add(chunks, Ordering::Relaxed);
    }

    fn fetched(&self, fetched: &Fetched) {
        self.counters.requests.fetch_add(fetched.requests.into(), Ordering::Relaxed);
        self.counters.encoded.fetch_add(fetched.encoded_bytes, Ordering::Relaxed);
    }

    /// Tells what is wrong with a chunk; where the store does not answer, that ends the run.
    fn failed(&self, chunk: &[u64], error: ChunkError) {
        if does_not_answer(&error) {
            lock(&self.lost).get_or_insert(error);
            return;
        }
        // A shard whose index cannot be read is told of once.
        let first_told = || {
            let within = self.variable.shard_of(chunk).map_or_else(Vec::new, |shard| shard.within);
            let first = chunk.iter().zip(&within).map(|(at, n)| at - n).collect();
            lock(&self.told).insert(first)
        };
        if !of_index(&self.reader, chunk, &error) || first_told() {
            self.found.chunk(&self.variable, chunk, &error);
        }
    }
}
