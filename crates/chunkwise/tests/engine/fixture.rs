//! Small cubes whose cells are functions of their index, and runs of requests on them.

use chunkwise::exec::{Ahead, Counters, RunOptions};
use chunkwise::job::plan::Planned;
use chunkwise::job::{Prepared, Request, prepare};
use chunkwise::open::{OpenCube, open_in};
use chunkwise::sink::memory::MemorySink;
use chunkwise::store::{MemoryStore, Store};
use chunkwise::write::{ArraySpec, CodecChoice, CubeWriter, Output, Place, ZarrVersion};
use chunkwise_core::cf::decode::DecodeOptions;
use chunkwise_core::cube::{Attrs, DataType};
use chunkwise_core::dtype::{Element, Scalar};
use chunkwise_core::plan::Stage;
use chunkwise_core::plan::schedule::{Allowance, Fetch, Redecode, Schedule, Target, schedule};
use chunkwise_core::stat::Statistic;
use chunkwise_core::values::Column;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// How an array lies in chunks.
#[derive(Clone, Debug)]
pub(crate) struct Lies<'a> {
    pub(crate) name: &'a str,
    pub(crate) dims: &'a [&'a str],
    pub(crate) shape: &'a [u64],
    pub(crate) chunks: &'a [u64],
    pub(crate) shards: Option<&'a [u64]>,
}

impl Lies<'_> {
    fn spec<T: Element>(&self) -> ArraySpec {
        let fill = T::IS_FLOAT.then_some(Scalar::Float(f64::NAN));
        ArraySpec {
            path: self.name.to_owned(),
            dims: self.dims.iter().map(|d| (*d).to_owned()).collect(),
            shape: self.shape.to_vec(),
            dtype: DataType::Number(T::DTYPE),
            chunks: self.chunks.to_vec(),
            shards: self.shards.map(<[u64]>::to_vec),
            codec: CodecChoice::default(),
            fill_value: fill,
            missing: fill,
            attrs: Attrs::new(),
            zarr: ZarrVersion::V3,
        }
    }
}

/// Begins a cube of arrays of one type; finished as it is, it has no cells.
pub(crate) fn begin<T: Element>(place: Place, arrays: &[Lies<'_>]) -> CubeWriter {
    CubeWriter::begin(Output::new(place), arrays.iter().map(Lies::spec::<T>).collect()).unwrap()
}

/// Writes a cube of arrays of one type: of each the chunks that `exists` names, with the cells of `value`.
pub(crate) fn write<T: Element>(
    place: Place,
    arrays: &[Lies<'_>],
    exists: impl Fn(&[u64]) -> bool,
    value: impl Fn(usize, &[u64]) -> T,
) {
    let writer = begin::<T>(place, arrays);
    for (number, array) in writer.arrays().iter().enumerate() {
        each_index(&array.grid(), |chunk| {
            if !exists(chunk) {
                return;
            }
            let (start, count) = array.extent(chunk);
            let mut cells: Vec<T> = Vec::new();
            each_index(&count, |at| {
                let index: Vec<u64> = at.iter().zip(&start).map(|(a, s)| a + s).collect();
                cells.push(value(number, &index));
            });
            writer.write_chunk(number, chunk, bytemuck::cast_slice(&cells)).unwrap();
        });
    }
    writer.finish().unwrap();
}

/// Calls `each` with every index of a box, in C order.
pub(crate) fn each_index(shape: &[u64], mut each: impl FnMut(&[u64])) {
    for i in 0..shape.iter().product::<u64>() {
        let mut rest = i;
        let mut at = vec![0; shape.len()];
        for d in (0..shape.len()).rev() {
            at[d] = rest % shape[d];
            rest /= shape[d];
        }
        each(&at);
    }
}

pub(crate) fn hash(index: &[u64]) -> u64 {
    let mix = |z: u64| {
        let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb)
    };
    index.iter().fold(1, |h, &i| mix(h.wrapping_add(i).wrapping_add(0x9e37_79b9_7f4a_7c15)))
}

/// Floats over twelve magnitudes, of either sign, an eighth of them `NaN`; one row is all missing.
pub(crate) fn ragged_value(index: &[u64]) -> f32 {
    let h = hash(index);
    if h.is_multiple_of(8) || index[index.len() - 2] == 5 {
        return f32::NAN;
    }
    let unit = (h >> 40) as f32 / (1u64 << 24) as f32 - 0.4;
    unit * 10f32.powi((h >> 8) as i32 % 13 - 6)
}

/// A ragged cube (time, band, y, x) with gaps, in memory.
pub(crate) fn ragged(place: Place, shape: &[u64], chunks: &[u64]) {
    let lies = Lies { name: "data", dims: &["time", "band", "y", "x"], shape, chunks, shards: None };
    write::<f32>(place, &[lies], |c| !hash(c).is_multiple_of(7), |_, i| ragged_value(i));
}

pub(crate) fn in_memory(shape: &[u64], chunks: &[u64]) -> OpenCube {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    ragged(Place::Store(store.clone()), shape, chunks);
    open(store)
}

pub(crate) fn open(store: Arc<dyn Store>) -> OpenCube {
    open_in(store, "", "fixture", &DecodeOptions::default()).unwrap()
}

pub(crate) fn reduce(over: &[&str], statistics: &[Statistic]) -> Request {
    Request::reduce(over, statistics)
}

pub(crate) fn prepared(cube: &OpenCube, request: &Request) -> Prepared {
    prepare(cube, request).unwrap()
}

/// The one stage of a request.
pub(crate) fn stage(prepared: &Prepared) -> &Stage {
    &prepared.chains[0][0]
}

/// The schedules on so many threads: within the smallest budget, twice the smallest, and any.
pub(crate) fn schedules(prepared: &Prepared, threads: usize) -> [Schedule; 3] {
    let fit = |bytes| {
        let allowed = Allowance { bytes, threads, redecode: Redecode::Bounded, fetch: Fetch::Inline };
        schedule(&prepared.chains[0], &Target::Memory, allowed)
    };
    let smallest = fit(0).unwrap_err();
    assert!(fit(smallest - 1).is_err(), "the smallest budget is the smallest");
    [fit(smallest).unwrap(), fit(smallest * 2).unwrap(), fit(1 << 40).unwrap()]
}

pub(crate) fn planned(schedule: Schedule) -> Planned {
    Planned { schedules: vec![schedule], memory: 0, fetch: Ahead::default(), index_bytes: 1 << 20, sending: 0 }
}

/// Runs the one chain of a request; its columns.
pub(crate) fn run(cube: &OpenCube, prepared: &Prepared, plan: &Planned, counters: &Counters) -> Bits {
    let sink = MemorySink::new(stage(prepared));
    prepared.run_chain(0, cube, plan, &sink, counters, &RunOptions::default()).unwrap();
    bits(&sink.into_columns())
}

/// The bits of all valid values, and where they are valid.
pub(crate) type Bits = Vec<Vec<Option<u64>>>;

pub(crate) fn bits(columns: &[Vec<Column>]) -> Bits {
    let of = |c: &Column| {
        (0..c.values.len()).map(|i| c.is_valid(i).then(|| c.values.f64_at(i).to_bits())).collect::<Vec<_>>()
    };
    columns.iter().flatten().map(of).collect()
}

pub(crate) fn count(counter: &std::sync::atomic::AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}
