//! The result of a request as arrays in memory.

use super::output::OutputOptions;
use super::plan::{Limits, Planned};
use super::{JobError, Prepared};
use crate::exec::{Counters, RunOptions};
use crate::open::OpenCube;
use crate::sink::stored::StoredSink;
use crate::sink::zarr::Target;
use crate::write::ArraySpec;
use chunkwise_core::cube::Attrs;

/// An array of a result, or a coordinate, bounds or grid mapping that describes one: as it would be written.
#[derive(Clone, Debug)]
pub struct ResultArray {
    /// Name, dimensions, element type, missing mark, attributes.
    pub spec: ArraySpec,
    /// Its cells, as stored: native-endian, in C order.
    pub cells: Vec<u8>,
}

/// A whole result in memory.
#[derive(Clone, Debug)]
pub struct ResultArrays {
    /// Attributes of the whole.
    pub attrs: Attrs,
    /// Results first, in the order of the request, then what describes them.
    pub arrays: Vec<ResultArray>,
    /// How many of them are results.
    pub results: usize,
}

impl Prepared {
    /// Fits the request into `limits`, its result in memory included.
    ///
    /// # Errors
    /// It does not fit.
    pub fn plan_arrays(&self, cube: &OpenCube, options: &OutputOptions, limits: Limits) -> Result<Planned, JobError> {
        let arrays = self.arrays(cube, options)?;
        let bytes = |target: &Target| {
            let shape = &arrays.arrays[target.array].shape;
            // What is packed or has marks is decoded by whoever asks: to eight bytes, by way of as many.
            let of = &target.output;
            let decoded = if of.stored.is_float() && of.packing.is_none() { 0 } else { 16 };
            let decoded = if of.packing.is_none() && of.missing.is_none() { 0 } else { decoded };
            shape.iter().fold(of.stored.size() as u64 + decoded, |all, &n| all.saturating_mul(n))
        };
        let all = arrays.targets.iter().flatten().flatten().map(bytes).fold(0, u64::saturating_add);
        self.plan_beside(cube, all.saturating_add(self.carried_bytes(cube)), limits)
    }

    /// The result without its cells, which stay empty: names, types, shapes, attributes, and what describes them.
    ///
    /// # Errors
    /// What describes the cells cannot be read.
    pub fn outline(&self, cube: &OpenCube, options: &OutputOptions) -> Result<ResultArrays, JobError> {
        let (output, specs, whole, targets) = self.output(cube, options)?;
        let results = targets.iter().flatten().map(Vec::len).sum();
        let mut arrays: Vec<ResultArray> =
            specs.into_iter().map(|spec| ResultArray { spec, cells: Vec::new() }).collect();
        for (array, cells) in whole {
            arrays[array].cells = cells;
        }
        Ok(ResultArrays { attrs: output.attrs, arrays, results })
    }

    /// Runs the request and keeps its result in memory.
    ///
    /// # Errors
    /// Anything that goes wrong while reading or computing.
    pub fn run_arrays(
        &self,
        cube: &OpenCube,
        options: &OutputOptions,
        plan: &Planned,
        counters: &Counters,
        run: &RunOptions,
    ) -> Result<ResultArrays, JobError> {
        let mut found = self.outline(cube, options)?;
        let targets = self.arrays(cube, options)?.targets;
        for ((i, targets), stage) in targets.into_iter().enumerate().zip(self.results()) {
            let sink = StoredSink::new(stage.output_shape(), targets);
            self.run_chain(i, cube, plan, &sink, counters, run)?;
            for (array, cells) in sink.into_cells() {
                found.arrays[array].cells = cells;
            }
        }
        Ok(found)
    }
}
