//! Results as numbers, for pictures: large ones are made smaller while they are read.

use super::plan::{Limits, Planned, Refused};
use super::{JobError, Prepared, keeps_stored};
use crate::exec::{Counters, RunOptions};
use crate::open::OpenCube;
use crate::sink::blocks::{BlockSink, Blocks, blocks};
use crate::sink::histogram::{Binning, Counted, ExtentSink, HistogramSink};
use chunkwise_core::cube::Packing;
use chunkwise_core::plan::Stage;
use chunkwise_core::plan::schedule::Target;
use chunkwise_core::stat::Statistic;
use indexmap::IndexMap;

/// How a result is made smaller.
#[derive(Clone, Debug)]
pub struct Coarse {
    /// By dimension, the cells that are made one; dimensions that are not named are kept as they are.
    pub sizes: IndexMap<String, u64>,
    /// How.
    pub how: Blocks,
}

/// One statistic of a variable or formula.
#[derive(Clone, Debug)]
pub struct Numbers {
    /// Name of the variable or formula.
    pub name: String,
    /// The statistic; of cells that are asked for as they are, `value`.
    pub statistic: Statistic,
    /// Dimensions, as the cube calls them, with the number of values along each.
    pub dims: Vec<(String, u64)>,
    /// In C order; `NaN` is missing.
    pub values: Vec<f64>,
}

impl Coarse {
    fn of(&self, stage: &Stage) -> Vec<u64> {
        stage.output_dims().map(|d| self.sizes.get(&stage.dims[d].name).copied().unwrap_or(1).max(1)).collect()
    }
}

impl Prepared {
    /// Fits the request into `limits` beside `own` bytes that whoever runs it holds.
    ///
    /// # Errors
    /// It does not fit.
    pub fn plan_beside(&self, cube: &OpenCube, own: u64, limits: Limits) -> Result<Planned, JobError> {
        let rest = Limits { memory: limits.memory.saturating_sub(own), ..limits };
        let targets = vec![Target::Nothing; self.chains.len()];
        match self.plan(cube, &targets, rest) {
            Ok(mut plan) if limits.memory > own => {
                plan.memory = plan.memory.saturating_add(own);
                Ok(plan)
            }
            Ok(plan) => Err(Refused { needed: plan.memory.saturating_add(own).next_multiple_of(1 << 20) }.into()),
            Err(JobError::Memory(refused)) => {
                let needed = refused.needed.saturating_add(own);
                Err(Refused { needed: needed.checked_next_multiple_of(1 << 20).unwrap_or(needed) }.into())
            }
            Err(other) => Err(other),
        }
    }

    /// Fits the request into `limits`, for [`Prepared::numbers`], beside `own` bytes that whoever runs it holds.
    ///
    /// # Errors
    /// It does not fit.
    pub fn plan_numbers(
        &self,
        cube: &OpenCube,
        coarse: &Coarse,
        own: u64,
        limits: Limits,
    ) -> Result<Planned, JobError> {
        let numbers = self.results().map(|s| BlockSink::bytes(s, &coarse.of(s), coarse.how, limits.threads));
        self.plan_beside(cube, numbers.fold(own, u64::saturating_add), limits)
    }

    /// Runs all stages and gives their values as numbers, in blocks.
    ///
    /// # Errors
    /// Anything that goes wrong while running.
    pub fn numbers(
        &self,
        cube: &OpenCube,
        plan: &Planned,
        counters: &Counters,
        options: &RunOptions,
        coarse: &Coarse,
    ) -> Result<Vec<Numbers>, JobError> {
        let mut found = Vec::new();
        for (i, chain) in self.chains.iter().enumerate() {
            let Some(stage) = chain.last() else { continue };
            let sizes = coarse.of(stage);
            let packing = |f: usize, statistic| match keeps_stored(statistic) && !self.is_anomaly() {
                true => stage.folded[f].packing,
                false => Packing::NONE,
            };
            let sink = BlockSink::new(stage, sizes.clone(), coarse.how, packing);
            self.run_chain(i, cube, plan, &sink, counters, options)?;
            let lengths = blocks(&stage.output_shape(), &sizes);
            let dims: Vec<(String, u64)> =
                stage.output_dims().map(|d| stage.dims[d].name.clone()).zip(lengths).collect();
            for (f, columns) in sink.into_values().into_iter().enumerate() {
                for (s, values) in columns.into_iter().enumerate() {
                    // Of an anomaly, the statistic of the first stage.
                    let statistic = chain[0].folded[f].statistics[s];
                    found.push(Numbers { name: stage.folded[f].name.clone(), statistic, dims: dims.clone(), values });
                }
            }
        }
        Ok(found)
    }

    /// How the values of the first thing that a stage folds are packed when they reach a sink.
    fn first_packing(&self, stage: &Stage) -> Packing {
        match stage.folded.first() {
            Some(f) if f.statistics.iter().all(|s| keeps_stored(*s)) && !self.is_anomaly() => f.packing,
            _ => Packing::NONE,
        }
    }

    /// Runs the first chain for the least and the greatest finite value of its first statistic.
    ///
    /// # Errors
    /// Anything that goes wrong while running.
    pub fn extent(
        &self,
        cube: &OpenCube,
        plan: &Planned,
        counters: &Counters,
        options: &RunOptions,
    ) -> Result<Option<(f64, f64)>, JobError> {
        let Some(stage) = self.results().next() else { return Ok(None) };
        let sink = ExtentSink::new(self.first_packing(stage));
        self.run_chain(0, cube, plan, &sink, counters, options)?;
        Ok(sink.into_extent())
    }

    /// Runs the first chain and counts the values of its first statistic by bin.
    ///
    /// # Errors
    /// Anything that goes wrong while running.
    pub fn histogram(
        &self,
        cube: &OpenCube,
        plan: &Planned,
        counters: &Counters,
        options: &RunOptions,
        binning: &Binning,
    ) -> Result<Counted, JobError> {
        let Some(stage) = self.results().next() else { return Ok(Counted::default()) };
        let sink = HistogramSink::new(self.first_packing(stage), *binning);
        self.run_chain(0, cube, plan, &sink, counters, options)?;
        Ok(sink.into_counted())
    }
}
