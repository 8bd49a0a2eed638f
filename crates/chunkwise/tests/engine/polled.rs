//! Stores that answer after a while are asked for much at once, and never for more than the budget holds.

use crate::fixture::{Lies, bits, count, open, planned, prepared, ragged_value, reduce, run, schedules, stage, write};
use chunkwise::exec::{Ahead, Counters, ExecError, RunOptions};
use chunkwise::job::plan::{Certainty, Planned};
use chunkwise::job::{JobError, Request};
use chunkwise::open::OpenCube;
use chunkwise::sink::memory::MemorySink;
use chunkwise::store::{Access, BoxFuture, ByteRange, Entry, MemoryStore, Store, StoreError};
use chunkwise::write::Place;
use chunkwise_core::stat::Statistic;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, mpsc};
use std::time::Duration;

/// What the store does with one request.
#[derive(Clone, Copy, Debug)]
enum Mischief {
    None,
    /// Requests for keys with this end fail.
    Fail(&'static str),
    /// The run is cancelled at this request.
    Cancel(u64, &'static AtomicBool),
}

/// A store that answers after 20 ms, and keeps count.
#[derive(Debug)]
struct Slow {
    inner: MemoryStore,
    counters: Arc<Counters>,
    mischief: Mischief,
    asked: AtomicU64,
    in_flight: AtomicU64,
    most_in_flight: AtomicU64,
    bytes_asked: AtomicU64,
    /// Most bytes that were on their way, or had come and were not decoded.
    most_bytes: AtomicU64,
}

impl Store for Slow {
    fn location(&self) -> String {
        "slow:".to_owned()
    }
    fn access(&self) -> Access {
        Access::Polled
    }
    fn get(&self, key: &str, range: ByteRange) -> Result<Option<Vec<u8>>, StoreError> {
        self.inner.get(key, range)
    }
    fn get_async<'a>(&'a self, key: &'a str, range: ByteRange) -> BoxFuture<'a, Result<Option<Vec<u8>>, StoreError>> {
        Box::pin(async move {
            let found = self.inner.get(key, range)?;
            let n = self.asked.fetch_add(1, SeqCst);
            let size = found.as_ref().map_or(0, Vec::len) as u64;
            let bytes = self.bytes_asked.fetch_add(size, SeqCst) + size;
            // What is counted as fetched has been taken to be decoded.
            self.most_bytes.fetch_max(bytes - count(&self.counters.encoded_bytes), SeqCst);
            let flying = self.in_flight.fetch_add(1, SeqCst) + 1;
            self.most_in_flight.fetch_max(flying, SeqCst);
            tokio::time::sleep(Duration::from_millis(20)).await;
            self.in_flight.fetch_sub(1, SeqCst);
            match self.mischief {
                Mischief::Fail(end) if key.ends_with(end) => {
                    let source = std::io::Error::other("the network is down");
                    Err(StoreError::Io { action: "read", location: self.location(), key: key.to_owned(), source })
                }
                Mischief::Cancel(at, cancel) => {
                    cancel.fetch_or(n >= at, SeqCst);
                    Ok(found)
                }
                _ => Ok(found),
            }
        })
    }
    fn list_dir(&self, prefix: &str) -> Result<Vec<Entry>, StoreError> {
        self.inner.list_dir(prefix)
    }
    fn put(&self, key: &str, bytes: &[u8]) -> Result<(), StoreError> {
        self.inner.put(key, bytes)
    }
    fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.inner.delete(key)
    }
    fn delete_prefix(&self, prefix: &str) -> Result<(), StoreError> {
        self.inner.delete_prefix(prefix)
    }
}

/// Two arrays of 100 chunks of 16 KiB each, in a store of its own.
fn fill(store: &Arc<dyn Store>, shards: Option<&[u64]>) {
    let lies = |name| Lies { name, dims: &["time", "y", "x"], shape: &[25, 128, 128], chunks: &[1, 64, 64], shards };
    let place = Place::Store(store.clone());
    write::<f32>(place, &[lies("a"), lies("b")], |_| true, |n, i| ragged_value(&[n as u64, i[0], i[1], i[2]]));
}

fn slow(mischief: Mischief) -> (Arc<Slow>, OpenCube) {
    slow_in(mischief, None)
}

fn slow_in(mischief: Mischief, shards: Option<&[u64]>) -> (Arc<Slow>, OpenCube) {
    let (zero, counters) = (AtomicU64::default, Arc::new(Counters::default()));
    let store = Arc::new(Slow {
        inner: MemoryStore::new(),
        counters,
        mischief,
        asked: zero(),
        in_flight: zero(),
        most_in_flight: zero(),
        bytes_asked: zero(),
        most_bytes: zero(),
    });
    let store_dyn: Arc<dyn Store> = store.clone();
    fill(&store_dyn, shards);
    (store, open(store_dyn))
}

fn request() -> Request {
    let mut request = reduce(&["time"], &[Statistic::Mean, Statistic::Std]);
    request.formulas = vec!["c = a - b * 2".to_owned()];
    request
}

fn plan(cube: &OpenCube, threads: usize, feed_bytes: u64) -> Planned {
    let [.., large] = schedules(&prepared(cube, &request()), threads);
    Planned { fetch: Ahead { bytes: feed_bytes, gap: 0, requests: 256 }, ..planned(large) }
}

/// Runs in a thread of its own; a run that does not end within a minute fails.
fn ends<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, came) = mpsc::channel();
    std::thread::spawn(move || done.send(work()));
    came.recv_timeout(Duration::from_secs(60)).expect("the run ends")
}

fn outcome(store: &Slow, cube: &OpenCube, plan: &Planned, options: &RunOptions) -> Result<(), JobError> {
    let prepared = prepared(cube, &request());
    let sink = MemorySink::new(stage(&prepared));
    prepared.run_chain(0, cube, plan, &sink, &store.counters, options)
}

#[test]
fn many_requests_are_on_their_way_and_never_more_bytes_than_the_budget() {
    let memory: Arc<dyn Store> = Arc::new(MemoryStore::new());
    fill(&memory, None);
    let inline = open(memory);
    let here = run(&inline, &prepared(&inline, &request()), &plan(&inline, 2, 0), &Counters::default());
    for (threads, feed_bytes) in [(1, 512 << 10), (2, 512 << 10), (2, 4 << 20)] {
        let found = ends(move || {
            let (store, cube) = slow(Mischief::None);
            let prepared = prepared(&cube, &request());
            let sink = MemorySink::new(stage(&prepared));
            let plan = plan(&cube, threads, feed_bytes);
            prepared.run_chain(0, &cube, &plan, &sink, &store.counters, &RunOptions::default()).unwrap();
            assert_eq!(store.asked.load(SeqCst), 200, "each chunk once");
            assert_eq!(count(&store.counters.chunks), 200);
            let flying = store.most_in_flight.load(SeqCst);
            assert!(flying >= 16, "{flying} requests were on their way at once");
            let most = store.most_bytes.load(SeqCst);
            assert!(most <= feed_bytes, "{most} bytes were fetched ahead, the budget is {feed_bytes}");
            bits(&sink.into_columns())
        });
        assert!(found == here, "the bits differ from those of an inline store");
    }
}

#[test]
fn neighbours_in_a_shard_are_one_request_as_the_plan_says() {
    let memory: Arc<dyn Store> = Arc::new(MemoryStore::new());
    fill(&memory, None);
    let inline = open(memory);
    for (shards, over, gap, exact) in [
        // A step is a shard: its four chunks are one request, beside that for its index.
        ([1, 128, 128], "y,x", 0, Some(2 * 25 * 2)),
        // Four steps are a shard, the last has one; their chunks lie one behind the other.
        ([4, 128, 128], "y,x", 0, None),
        // What lies between is skipped, or read where it is little.
        ([25, 128, 128], "time", 0, None),
        ([25, 128, 128], "time", 1 << 20, None),
    ] {
        let dims: Vec<&'static str> = over.split(',').collect();
        let job = move || Request { formulas: request().formulas, ..reduce(&dims, &[Statistic::Mean]) };
        let here = {
            let prepared = prepared(&inline, &job());
            let [.., large] = schedules(&prepared, 2);
            run(&inline, &prepared, &planned(large), &Counters::default())
        };
        for bytes in [512 << 10, 8 << 20] {
            let job = job.clone();
            let (found, said, asked) = ends(move || {
                let (store, cube) = slow_in(Mischief::None, Some(&shards));
                let prepared = prepared(&cube, &job());
                let [.., large] = schedules(&prepared, 2);
                let plan = Planned { fetch: Ahead { bytes, gap, requests: 256 }, ..planned(large) };
                let said = prepared.explain(&cube, &plan).unwrap();
                assert_eq!(said.coalesced_gap_bytes, Some(gap));
                let sink = MemorySink::new(stage(&prepared));
                prepared.run_chain(0, &cube, &plan, &sink, &store.counters, &RunOptions::default()).unwrap();
                let asked = store.asked.load(SeqCst);
                assert_eq!((count(&store.counters.requests), count(&store.counters.chunks)), (asked, 200));
                let most = store.most_bytes.load(SeqCst);
                assert!(most <= bytes, "{most} bytes were fetched ahead, the budget is {bytes}");
                (bits(&sink.into_columns()), said.total, asked)
            });
            assert!(found == here, "the bits differ from those of an inline store");
            // Within little memory a batch may end within a shard.
            let expected = exact.filter(|_| bytes > 1 << 20).unwrap_or(asked);
            assert_eq!(expected, asked, "requests of {shards:?} over {over}");
            match said.requests_are {
                Certainty::Exact => assert_eq!(said.requests, asked, "{shards:?} over {over} in {bytes} bytes"),
                _ => {
                    assert_eq!(over, "time", "what lies in order is known");
                    assert!(asked <= said.requests, "{asked} requests, {} were said", said.requests);
                    assert!(gap > 0 || asked == said.requests, "{asked} of {}", said.requests);
                }
            }
        }
    }
}

#[test]
fn a_damaged_index_ends_the_run_and_names_the_shard() {
    let error = ends(|| {
        let (store, cube) = slow_in(Mischief::None, Some(&[5, 128, 128]));
        let mut object = store.inner.get("b/c/3/0/0", ByteRange::Whole).unwrap().unwrap();
        let at = object.len() - 20;
        object[at] ^= 1;
        store.inner.put("b/c/3/0/0", &object).unwrap();
        outcome(&store, &cube, &plan(&cube, 4, 4 << 20), &RunOptions::default()).unwrap_err()
    });
    let said = format!("{error}");
    assert!(said.contains("`b` (`b/c/3/0/0`, the last 324 bytes)"), "{said}");
}

#[test]
fn a_budget_smaller_than_a_chunk_lets_one_through_at_a_time() {
    let (most, asked) = ends(|| {
        let (store, cube) = slow(Mischief::None);
        outcome(&store, &cube, &plan(&cube, 4, 1), &RunOptions::default()).unwrap();
        (store.most_in_flight.load(SeqCst), store.asked.load(SeqCst))
    });
    assert_eq!((most, asked), (1, 200));
}

#[test]
fn a_fetch_that_fails_ends_the_run_and_names_the_chunk() {
    // The first chunk, with room for one alone: the other threads wait for chunks that never come.
    for (end, feed_bytes) in [("a/c/0/0/0", 1), ("b/c/7/1/0", 1), ("b/c/7/1/0", 4 << 20)] {
        let error = ends(move || {
            let (store, cube) = slow(Mischief::Fail(end));
            outcome(&store, &cube, &plan(&cube, 4, feed_bytes), &RunOptions::default()).unwrap_err()
        });
        assert!(matches!(error, JobError::Exec(ExecError::Chunk(_))), "{error:?}");
        assert!(error.to_string().contains(end), "{error}");
    }
}

#[test]
fn a_run_that_is_cancelled_while_it_waits_ends() {
    let error = ends(|| {
        let cancel: &'static AtomicBool = Box::leak(Box::default());
        let (store, cube) = slow(Mischief::Cancel(30, cancel));
        let options = RunOptions { cancel, ..RunOptions::default() };
        let error = outcome(&store, &cube, &plan(&cube, 2, 512 << 10), &options).unwrap_err();
        assert!(store.asked.load(SeqCst) < 200, "what is not needed is not asked for");
        error
    });
    assert!(matches!(error, JobError::Exec(ExecError::Interrupted)), "{error:?}");
}
