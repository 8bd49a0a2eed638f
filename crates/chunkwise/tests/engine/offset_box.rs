//! A box that is off the chunk grid, written in other chunks.

use crate::fixture::{Lies, count, hash, open, prepared, stage, write};
use chunkwise::exec::{Counters, NoSink, RunOptions};
use chunkwise::job::output::OutputOptions;
use chunkwise::job::plan::Limits;
use chunkwise::job::{JobError, Request};
use chunkwise::open::OpenCube;
use chunkwise::sink::memory::MemorySink;
use chunkwise::store::{MemoryStore, Store};
use chunkwise::write::Place;
use chunkwise_core::plan::schedule::{Redecode, Target};
use chunkwise_core::select::parse_isel;
use chunkwise_core::values::Values;
use std::sync::Arc;

const STEPS: u64 = 4;

fn value(index: &[u64]) -> u16 {
    // Rows and columns can be told apart, and the bytes compress.
    (hash(&[index[0], index[1]]) as u16 & 0xff) ^ (index[2] as u16 * 60 + index[3] as u16)
}

/// 4 × 4 × 1000 × 1000 in chunks of 1 × 4 × 250 × 250.
fn source() -> OpenCube {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let lies = Lies {
        name: "data",
        dims: &["time", "band", "y", "x"],
        shape: &[STEPS, 4, 1000, 1000],
        chunks: &[1, 4, 250, 250],
        shards: None,
    };
    write::<u16>(Place::Store(store.clone()), &[lies], |_| true, |_, i| value(i));
    open(store)
}

fn request() -> Request {
    Request { isel: parse_isel("y=10:910,x=7:911").unwrap(), ..Request::default() }
}

#[test]
fn an_offset_box_decodes_each_chunk_once_and_holds_the_right_cells() {
    let cube = source();
    let prepared = prepared(&cube, &request());
    let folder = tempfile::tempdir().unwrap();
    let mut options = OutputOptions::new(folder.path().join("box.zarr"));
    options.chunks = [("time", 1), ("band", 1), ("y", 300), ("x", 400)].map(|(d, n)| (d.to_owned(), n)).into();
    let targets = prepared.arrays(&cube, &options).unwrap().targets();
    let limits = Limits { memory: 256 << 20, threads: 2, redecode: Redecode::Bounded, ..Limits::default() };
    let plan = prepared.plan(&cube, &targets, limits).unwrap();
    let figures = prepared.explain(&cube, &plan).unwrap().total;
    let counters = Counters::default();
    prepared.write(&cube, &options, &plan, &counters, &RunOptions::default()).unwrap();
    // The box touches all 4 × 4 chunks of each step.
    assert_eq!((figures.chunks, count(&counters.chunks)), (STEPS * 16, STEPS * 16));
    assert!((figures.amplification - 1.0).abs() < 1e-9);

    let written = chunkwise::open::open(folder.path().join("box.zarr").to_str().unwrap()).unwrap();
    assert_eq!(written.cube.variables["data"].shape, [STEPS, 4, 900, 904]);
    let all = crate::fixture::prepared(&written, &Request::default());
    let plan = all.plan(&written, &[Target::Nothing], Limits::default()).unwrap();
    let sink = MemorySink::new(stage(&all));
    all.run_chain(0, &written, &plan, &sink, &Counters::default(), &RunOptions::default()).unwrap();
    let columns = sink.into_columns();
    let Values::UInt16(cells) = &columns[0][0].values else { panic!("{:?}", columns[0][0].values.dtype()) };
    let mut i = 0;
    crate::fixture::each_index(&[STEPS, 4, 900, 904], |at| {
        assert_eq!(cells[i], value(&[at[0], at[1], at[2] + 10, at[3] + 7]), "{at:?}");
        i += 1;
    });
}

#[test]
fn an_offset_box_in_a_small_budget_says_how_often_it_decodes() {
    let cube = source();
    let prepared = prepared(&cube, &request());
    let mut options = OutputOptions::new(std::path::PathBuf::from("unused"));
    options.chunks = [("time", 4), ("band", 4), ("y", 128), ("x", 128)].map(|(d, n)| (d.to_owned(), n)).into();
    let targets = prepared.arrays(&cube, &options).unwrap().targets();
    let limits = |memory| Limits { memory, threads: 2, redecode: Redecode::Bounded, ..Limits::default() };
    let Err(JobError::Memory(refused)) = prepared.plan(&cube, &targets, limits(1 << 20)) else {
        panic!("1 MiB is not enough")
    };
    let plan = prepared.plan(&cube, &targets, limits(refused.needed)).unwrap();
    let figures = prepared.explain(&cube, &plan).unwrap().total;
    assert!(figures.amplification > 1.0, "{figures:?}");
    let counters = Counters::default();
    prepared.run_chain(0, &cube, &plan, &NoSink, &counters, &RunOptions::default()).unwrap();
    assert_eq!((figures.chunks, figures.decoded_bytes), (count(&counters.chunks), count(&counters.decoded_bytes)));
    let once = stage(&prepared).cost().decoded_bytes as f64;
    assert!((count(&counters.decoded_bytes) as f64 / once - figures.amplification).abs() < 1e-9);
}
