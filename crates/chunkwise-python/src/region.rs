//! Cells of cubes that exist.

use crate::errors::Told;
use crate::request::element;
use crate::wait::wait;
use chunkwise::store::{MemoryStore, StorageOptions};
use chunkwise::write::{Partial, Place, RegionOptions, write_region as write};
use chunkwise_cli::Failed;
use chunkwise_core::dtype::{Element, ForElement};
use pyo3::prelude::*;
use std::num::NonZeroUsize;

struct Work<'a> {
    place: &'a Place,
    variable: &'a str,
    start: &'a [u64],
    shape: &'a [u64],
    bytes: &'a [u8],
    options: RegionOptions,
}

impl ForElement for Work<'_> {
    type Output = Result<(u64, u64, u64), Told>;
    fn run<T: Element>(self) -> Self::Output {
        let size = size_of::<T>();
        if !self.bytes.len().is_multiple_of(size) {
            return Err(Told::value("the block is no whole number of cells"));
        }
        // What Python gives need not be aligned.
        let copied: Vec<T>;
        let cells = match bytemuck::try_cast_slice(self.bytes) {
            Ok(cells) => cells,
            Err(_) => {
                copied = self.bytes.chunks_exact(size).map(bytemuck::pod_read_unaligned).collect();
                &copied
            }
        };
        let done = write(self.place, self.variable, self.start, self.shape, cells, self.options)
            .map_err(|e| Told::from(Failed::of(e)))?;
        Ok((done.whole, done.partial, done.removed))
    }
}

/// Writes stored values, native-endian in C order, into a box of an array; gives how many objects were written whole, how
/// many changed in part, and how many of those removed.
#[pyfunction]
#[pyo3(signature = (location, storage, variable, start, shape, dtype, cells, threads, alone=false))]
#[allow(clippy::too_many_arguments, reason = "each is a word of the Python function")]
pub(crate) fn write_region(
    py: Python<'_>,
    location: String,
    storage: Vec<String>,
    variable: String,
    start: Vec<u64>,
    shape: Vec<u64>,
    dtype: String,
    cells: numpy::PyReadonlyArray1<'_, u8>,
    threads: usize,
    alone: bool,
) -> PyResult<(u64, u64, u64)> {
    let bytes = cells.as_slice()?.to_vec();
    wait(py, None, move |_| {
        let storage = StorageOptions::parse(&storage).map_err(Failed::from)?;
        let (place, group) = Place::find(&location, &storage).map_err(Failed::from)?;
        let path = if group.is_empty() { variable.clone() } else { format!("{group}/{variable}") };
        let threads = NonZeroUsize::new(threads).unwrap_or(NonZeroUsize::MIN);
        let partial = if alone { Partial::SingleProcess } else { Partial::Locked };
        let options = RegionOptions { threads, partial };
        let work = Work { place: &place, variable: &path, start: &start, shape: &shape, bytes: &bytes, options };
        match dtype.as_str() {
            "bool" => chunkwise_core::dtype::DType::UInt8.dispatch(work),
            name => element(name)?.dispatch(work),
        }
    })
}

/// Forgets what `memory:NAME` names.
#[pyfunction]
pub(crate) fn forget_memory(name: &str) {
    MemoryStore::forget(name);
}
