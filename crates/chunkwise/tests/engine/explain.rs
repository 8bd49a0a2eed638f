//! What a plan says is what its run counts.

use crate::fixture::{Lies, begin, count, hash, open, planned, prepared, reduce, run, schedules, write};
use chunkwise::exec::Counters;
use chunkwise::job::plan::Limits;
use chunkwise::job::{JobError, Over, Request};
use chunkwise::memory;
use chunkwise::open::OpenCube;
use chunkwise::store::{MemoryStore, Store};
use chunkwise::write::Place;
use chunkwise_core::plan::schedule::{OutputArray, Target};
use chunkwise_core::select::parse_isel;
use chunkwise_core::stat::Statistic;
use std::sync::Arc;
use std::time::Instant;

fn cube(shards: Option<&[u64]>) -> OpenCube {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let lies = |name| Lies {
        name,
        dims: &["time", "band", "y", "x"],
        shape: &[9, 3, 50, 70],
        chunks: &[2, 2, 16, 16],
        shards,
    };
    let arrays = [lies("a"), lies("b")];
    write::<f32>(Place::Store(store.clone()), &arrays, |_| true, |n, i| (hash(i) % 97) as f32 + n as f32 + 0.5);
    open(store)
}

fn jobs() -> Vec<Request> {
    let mean = [Statistic::Mean];
    let mut formula = reduce(&["time"], &mean);
    formula.formulas = vec!["c = a / b".to_owned()];
    let mut part = reduce(&["time", "x"], &mean);
    part.isel = parse_isel("y=5:41,x=3:60:7,band=1").unwrap();
    let cells = Request { isel: parse_isel("x=10:60").unwrap(), ..Request::default() };
    let all = Request { over: Over::All, statistics: vec![Statistic::Std], ..Request::default() };
    let mut jobs = vec![reduce(&["time"], &mean), reduce(&["y", "x"], &[Statistic::Median]), part, cells, all, formula];
    for job in &mut jobs[..5] {
        job.variables = vec!["a".to_owned()];
    }
    jobs
}

fn check(cube: &OpenCube) {
    let mut tiled = 0;
    for (j, job) in jobs().iter().enumerate() {
        let prepared = prepared(cube, job);
        for schedule in [1, 2].into_iter().flat_map(|threads| schedules(&prepared, threads)) {
            tiled += u32::from(schedule.tile_count() > 1);
            let tiles = schedule.tile_count();
            let plan = planned(schedule);
            let said = prepared.explain(cube, &plan).unwrap().total;
            let counters = Counters::default();
            run(cube, &prepared, &plan, &counters);
            let counted = (count(&counters.chunks), count(&counters.decoded_bytes));
            assert_eq!((said.chunks, said.decoded_bytes), counted, "job {j} in {tiles} tiles");
            assert_eq!(said.requests, count(&counters.requests), "requests of job {j} in {tiles} tiles");
        }
    }
    assert!(tiled > 0, "no job ran in tiles");
}

#[test]
fn figures_are_what_the_run_counts() {
    check(&cube(None));
}

#[test]
fn figures_of_sharded_cubes_are_what_the_run_counts() {
    check(&cube(Some(&[4, 2, 32, 32])));
}

#[test]
fn ten_million_chunks_are_explained_from_their_metadata_alone() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let lies = Lies { name: "data", dims: &["time", "x"], shape: &[10_000_000, 4], chunks: &[1, 4], shards: None };
    begin::<f32>(Place::Store(store.clone()), &[lies]).finish().unwrap();
    let cube = open(store);
    // Over all of them; each for itself; each into a chunk of a new cube; within as little as there may be.
    let array = OutputArray { chunks: vec![1], shards: None, cell_bytes: 4, writer_bytes: Some(0), sending_bytes: 0 };
    let (nowhere, arrays) = (Target::Nothing, Target::Arrays(vec![array]));
    let much = 256 << 20;
    for (over, output, target, memory) in [
        ("time", 4, &nowhere, much),
        ("x", 10_000_000, &nowhere, much),
        ("x", 10_000_000, &arrays, much),
        ("time", 4, &nowhere, 0),
        ("x", 10_000_000, &arrays, 0),
    ] {
        let prepared = prepared(&cube, &reduce(&[over], &[Statistic::Mean]));
        let (began, before) = (Instant::now(), memory::resident());
        let limits = |memory| Limits { memory, threads: 2, ..Limits::default() };
        let plan = match prepared.plan(&cube, std::slice::from_ref(target), limits(memory)) {
            Err(JobError::Memory(refused)) => {
                prepared.plan(&cube, std::slice::from_ref(target), limits(refused.needed)).unwrap()
            }
            other => other.unwrap(),
        };
        let said = prepared.explain(&cube, &plan).unwrap().total;
        let (seconds, tiles) = (began.elapsed().as_secs_f64(), plan.schedules[0].tile_count());
        let grown = (memory::resident().saturating_sub(before)) >> 20;
        println!("10,000,000 chunks over {over} in {tiles} tiles: explained in {seconds:.3} s, {grown} MiB more");
        assert_eq!((said.chunks, said.requests, said.decoded_bytes), (10_000_000, 10_000_000, 160_000_000));
        assert_eq!(said.output_bytes, output * 8);
        assert!(tiles <= 1 << 13, "a plan of {tiles} tiles is itself large");
    }
}
