//! Parts of a job, run in any order and merged in any grouping, give the cells of the job in one piece.

use crate::fixture::{hash, in_memory, prepared, reduce};
use chunkwise::exec::{Counters, RunOptions};
use chunkwise::job::output::OutputOptions;
use chunkwise::job::parts::{Part, PartResult, merge};
use chunkwise::job::{Anomaly, Over, Prepared, Request};
use chunkwise::open::OpenCube;
use chunkwise::store::{ByteRange, MemoryStore, Store};
use chunkwise::write::Place;
use chunkwise::{Limits, Statistic};
use chunkwise_core::plan::schedule::Target;
use std::collections::BTreeMap;
use std::sync::Arc;

/// More parts than there are tiles: 2 × 3 × 3.
const TILES: u64 = 40;
const NEVER: u64 = u64::MAX;

/// A chain, and a tile of it.
type Tile = (usize, Vec<(u64, u64)>);

const LIMITS: fn() -> Limits = || Limits { memory: 1 << 30, threads: 2, ..Limits::default() };

fn in_memory_options() -> OutputOptions {
    OutputOptions::new(Place::Store(Arc::new(MemoryStore::new())))
}

fn shuffled(parts: &mut [Part], seed: u64) {
    parts.sort_by_key(|part| {
        let [segment, first] = [part.segments.map_or(0, |s| s.0), part.tile.iter().map(|t| t.0).sum()];
        hash(&[seed, segment, first, part.chain as u64])
    });
}

/// The cells of all arrays, as the parts give them; and how many parts there were, and how many of those gave states.
fn by_parts(cube: &OpenCube, job: &Prepared, wanted: u64, seed: u64) -> (Vec<Vec<u8>>, usize, usize) {
    let options = in_memory_options();
    let targets = vec![Target::Nothing; job.chains.len()];
    let mut parts = job.parts(&targets, wanted);
    shuffled(&mut parts, seed);
    let whole = job.outline(cube, &options).unwrap();
    let mut cells: Vec<Vec<u8>> = whole.arrays[..whole.results]
        .iter()
        .map(|a| vec![0xab; a.spec.shape.iter().product::<u64>() as usize * 4])
        .collect();
    let (counters, run) = (Counters::default(), RunOptions::default());
    let mut states: BTreeMap<Tile, Vec<PartResult>> = BTreeMap::new();
    let mut done: Vec<(Part, PartResult)> = Vec::new();
    let mut with_states = 0;
    for part in &parts {
        let result = job.run_part(cube, part, (&options, None), LIMITS(), &counters, &run).unwrap();
        match result {
            PartResult::States(_) => {
                with_states += 1;
                let of = states.entry((part.chain, part.tile.clone())).or_default();
                of.push(result);
                // Some are merged as they come.
                if hash(&[seed, of.len() as u64]).is_multiple_of(2) {
                    let merged = merge(of.drain(..)).unwrap();
                    of.push(merged);
                }
            }
            cells => done.push((part.clone(), cells)),
        }
    }
    for ((chain, tile), results) in states {
        let PartResult::States(all) = merge(results).unwrap() else { panic!("states merge to states") };
        let part = Part { chain, tile, segments: None };
        let result = job.finish_part(cube, &part, all, (&options, None), &run).unwrap();
        done.push((part, result));
    }
    for (part, result) in done {
        let PartResult::Cells(arrays) = result else { panic!("cells are given") };
        let region = job.region_of(&part);
        for (array, part) in arrays {
            let shape = &whole.arrays[array].spec.shape;
            place(&mut cells[array], shape, &region, &part);
        }
    }
    (cells, parts.len(), with_states)
}

/// Puts a box of 4-byte cells into an array.
fn place(whole: &mut [u8], shape: &[u64], region: &[(u64, u64)], part: &[u8]) {
    let extent: Vec<u64> = region.iter().map(|(a, b)| b - a).collect();
    let mut n = 0;
    crate::fixture::each_index(&extent, |at| {
        let cell = at.iter().zip(region).zip(shape).fold(0, |i, ((a, r), s)| i * s + a + r.0) as usize;
        whole[cell * 4..cell * 4 + 4].copy_from_slice(&part[n * 4..n * 4 + 4]);
        n += 1;
    });
}

fn in_one_piece(cube: &OpenCube, job: &Prepared) -> Vec<Vec<u8>> {
    let options = in_memory_options();
    let plan = job.plan_arrays(cube, &options, LIMITS()).unwrap();
    let found = job.run_arrays(cube, &options, &plan, &Counters::default(), &RunOptions::default()).unwrap();
    found.arrays.into_iter().take(found.results).map(|a| a.cells).collect()
}

/// From `states` wanted parts on there are too few tiles, and some parts are runs of segments.
fn check(request: &Request, states: u64) {
    let cube = in_memory(&[83, 3, 20, 30], &[1, 2, 7, 11]);
    let job = prepared(&cube, request);
    let expected = in_one_piece(&cube, &job);
    for (wanted, seed) in [(1, 0), (3, 1), (7, 2), (40, 3), (1000, 4)] {
        let (found, count, with_states) = by_parts(&cube, &job, wanted, seed);
        assert!(found == expected, "{wanted} parts: the bits differ");
        assert!(wanted < 7 || count > 1, "{wanted} parts were wanted, there is one");
        assert_eq!(with_states > 0, wanted >= states, "{wanted} parts");
    }
}

#[test]
fn statistics_over_time_have_the_same_bits_in_parts() {
    check(&reduce(&["time"], &[Statistic::Mean, Statistic::Std, Statistic::Max]), TILES);
    check(&reduce(&["time"], &[Statistic::Median]), NEVER);
}

#[test]
fn statistics_over_all_have_the_same_bits_in_parts() {
    check(&reduce(&["time", "band", "y", "x"], &[Statistic::Mean, Statistic::Var, Statistic::First]), 3);
}

#[test]
fn groups_have_the_same_bits_in_parts() {
    let windows = vec![chunkwise_core::group::Window::parse("time=5").unwrap()];
    let request = Request { windows, over: Over::None, ..reduce(&[], &[Statistic::Sum]) };
    check(&request, TILES);
}

#[test]
fn formulas_and_cells_have_the_same_bits_in_parts() {
    let formulas = vec!["twice = data * 2".to_owned()];
    check(&Request { formulas: formulas.clone(), ..reduce(&["time"], &[Statistic::Mean]) }, TILES);
    check(&Request { formulas, ..Request::default() }, NEVER);
}

#[test]
fn an_anomaly_has_the_same_bits_in_parts() {
    let request = Request { anomaly: Anomaly::Yes, ..reduce(&["time"], &[Statistic::Mean]) };
    check(&request, NEVER);
}

#[test]
fn what_parts_write_together_is_what_one_process_writes() {
    let cube = in_memory(&[41, 2, 20, 30], &[1, 2, 7, 11]);
    let job = prepared(&cube, &reduce(&["time"], &[Statistic::Mean, Statistic::Count]));
    let stores: [Arc<dyn Store>; 2] = [Arc::new(MemoryStore::new()), Arc::new(MemoryStore::new())];
    let options = |i: usize| {
        let mut options = OutputOptions::new(Place::Store(stores[i].clone()));
        options.job = "a job".to_owned();
        options
    };
    let (counters, run) = (Counters::default(), RunOptions::default());
    let one = options(0);
    let targets = job.arrays(&cube, &one).unwrap().targets();
    let plan = job.plan(&cube, &targets, LIMITS()).unwrap();
    job.write(&cube, &one, &plan, &counters, &run).unwrap();

    let shared = job.share(&cube, &options(1), &plan).unwrap();
    let mut parts = job.parts(&targets, 9);
    shuffled(&mut parts, 5);
    assert!(parts.len() > 6);
    // Each is run by a process of its own, and some twice.
    for part in parts.iter().chain(&parts[..3]) {
        let own = job.join(&cube, &options(1), shared.work()).unwrap();
        let result = job.run_part(&cube, part, (&options(1), Some(&own)), LIMITS(), &counters, &run).unwrap();
        assert!(result == PartResult::Written || part.segments.is_some());
    }
    assert!(stores[1].get("zarr.json", ByteRange::Whole).unwrap().is_none(), "it is no cube before the end");
    shared.finish().unwrap();
    let names = |store: &Arc<dyn Store>, folder: &str| store.list_dir(folder).unwrap();
    for folder in ["", "data_mean", "data_mean/c", "data_mean/c/0", "data_mean/c/0/1", "data_count/c/0/2"] {
        assert_eq!(names(&stores[0], folder), names(&stores[1], folder), "{folder}");
    }
    for key in ["data_mean/c/0/1/2", "data_count/c/0/0/0", "data_mean/zarr.json", "zarr.json"] {
        let [a, b] = [0, 1].map(|i: usize| stores[i].get(key, ByteRange::Whole).unwrap());
        assert!(a.is_some() && a == b, "{key}");
    }
    // A process that comes too late, or of another job, finds nothing to go on with.
    assert!(job.join(&cube, &options(1), None).is_err());
}

#[test]
fn a_part_that_fails_leaves_the_shard_of_one_that_did_not() {
    let cube = in_memory(&[17, 2, 20, 30], &[1, 2, 5, 5]);
    let job = prepared(&cube, &reduce(&["time"], &[Statistic::Mean]));
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let mut options = OutputOptions::new(Place::Store(store.clone()));
    options.shards = [("y".to_owned(), 10), ("x".to_owned(), 30), ("band".to_owned(), 2)].into();
    let targets = job.arrays(&cube, &options).unwrap().targets();
    let plan = job.plan(&cube, &targets, LIMITS()).unwrap();
    let shared = job.share(&cube, &options, &plan).unwrap();
    let (counters, run) = (Counters::default(), RunOptions::default());
    let parts = job.parts(&targets, 2);
    assert_eq!(parts.len(), 2);
    let go = |cancel: &'static std::sync::atomic::AtomicBool| {
        let run = RunOptions { cancel, ..run.clone() };
        job.run_part(&cube, &parts[0], (&options, Some(&shared)), LIMITS(), &counters, &run)
    };
    static NO: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);
    static YES: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(true);
    let shard = || store.get("data/c/0/0/0", ByteRange::Whole).unwrap();
    go(&NO).unwrap();
    let whole = shard();
    assert!(whole.is_some());
    // Once more, to its end and not.
    assert!(go(&YES).is_err());
    assert!(shard() == whole);
    go(&NO).unwrap();
    assert!(shard() == whole);
}

#[test]
fn parts_and_states_of_other_jobs_are_refused() {
    let cube = in_memory(&[41, 2, 20, 30], &[1, 2, 7, 11]);
    let job = prepared(&cube, &reduce(&["time"], &[Statistic::Mean]));
    let other = prepared(&cube, &reduce(&["time", "band"], &[Statistic::Max]));
    let options = in_memory_options();
    let (counters, run) = (Counters::default(), RunOptions::default());
    let foreign = Part { chain: 0, tile: vec![(0, 5); 4], segments: None };
    assert!(job.run_part(&cube, &foreign, (&options, None), LIMITS(), &counters, &run).is_err());
    let chain = Part { chain: 3, tile: vec![(0, 41), (0, 2), (0, 20), (0, 30)], segments: None };
    assert!(job.run_part(&cube, &chain, (&options, None), LIMITS(), &counters, &run).is_err());
    let states = Part { chain: 0, segments: Some((0, 1)), ..chain };
    // Segments that are there twice, or not all of them.
    let all = Part { segments: None, ..states.clone() };
    let some = |segments| {
        let part = Part { segments: Some(segments), ..states.clone() };
        job.run_part(&cube, &part, (&options, None), LIMITS(), &counters, &run).unwrap()
    };
    assert!(merge([some((0, 2)), some((1, 3))]).is_err());
    for lacking in [vec![(0, 1)], vec![(0, 1), (2, 3)]] {
        let PartResult::States(found) = merge(lacking.into_iter().map(some)).unwrap() else { panic!("states") };
        assert!(job.finish_part(&cube, &all, found, (&options, None), &run).is_err());
    }
    let PartResult::States(found) = merge([some((1, 3)), some((0, 1))]).unwrap() else { panic!("states") };
    assert!(job.finish_part(&cube, &all, found, (&options, None), &run).is_ok());
    let PartResult::States(found) =
        other.run_part(&cube, &states, (&options, None), LIMITS(), &counters, &run).unwrap()
    else {
        panic!("a part of the segments gives states")
    };
    assert!(job.finish_part(&cube, &states, found, (&options, None), &run).is_err());
}
