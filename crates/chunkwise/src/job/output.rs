//! The result of a request as a new cube.

use super::coordinates::Whole;
use super::plan::Planned;
use super::{JobError, Prepared, keeps_stored};
use crate::exec::{Counters, RunOptions};
use crate::open::OpenCube;
use crate::sink::zarr::{Target, ZarrSink};
use crate::write::{
    ArraySpec, CodecChoice, CubeWriter, Existing, JournalHead, Output, Place, WriteError, Written, ZarrVersion,
};
use chunkwise_core::cf::encode::{
    self, Gaps, OutputType, Source, append_history, formula_attrs, formula_type, keep_references, output_type,
    result_attrs,
};
use chunkwise_core::cube::{Attrs, ChunkSizes, DataType, Packing, Variable};
use chunkwise_core::dtype::DType;
use chunkwise_core::grid::Role;
use chunkwise_core::plan::{Axis, From, Stage, schedule};
use chunkwise_core::stat::Statistic;
use indexmap::IndexMap;
use std::borrow::Cow;

/// How the new cube is to lie on disk.
#[derive(Clone, Debug)]
pub struct OutputOptions {
    /// Where the new cube is to lie: the root of a store.
    pub place: Place,
    /// What to do where it exists.
    pub existing: Existing,
    /// Locations of stores that are read.
    pub inputs: Vec<String>,
    /// Version of the format.
    pub zarr: ZarrVersion,
    /// Cells of a chunk by dimension, where asked for.
    pub chunks: IndexMap<String, u64>,
    /// Cells of a shard by dimension, where asked for.
    pub shards: IndexMap<String, u64>,
    /// Compression, where asked for.
    pub codec: Option<CodecChoice>,
    /// Element type, where asked for.
    pub dtype: Option<DType>,
    /// A line for the history.
    pub history: String,
    /// What tells this run from others, where several processes write the output; else empty.
    pub job: String,
}

/// Where values go: by chain, by what is folded, by statistic.
pub(super) type Targets = Vec<Vec<Vec<Target>>>;

/// A new cube: its head, its arrays, the cells of those that describe others, and where the values of each chain go.
pub(super) type NewCube = (Output, Vec<ArraySpec>, Whole, Targets);

pub(super) fn failed(error: WriteError) -> JobError {
    JobError::Write(error.into())
}

impl OutputOptions {
    /// A new cube at `place` (the path of a folder or zip file, or any [`Place`]), where nothing may be, in the chunks
    /// of the source.
    pub fn new(place: impl Into<Place>) -> OutputOptions {
        OutputOptions {
            place: place.into(),
            existing: Existing::Refuse,
            inputs: Vec::new(),
            zarr: ZarrVersion::V3,
            chunks: IndexMap::new(),
            shards: IndexMap::new(),
            codec: None,
            dtype: None,
            history: format!("chunkwise {}", env!("CARGO_PKG_VERSION")),
            job: String::new(),
        }
    }
}

/// Arrays of a result, and what goes into them.
#[derive(Clone, Debug)]
pub struct OutputArrays {
    pub(super) arrays: Vec<ArraySpec>,
    pub(super) targets: Targets,
    /// What the store keeps of an object that is written piece by piece, and of those on their way.
    writer_bytes: Option<u64>,
    sending_bytes: u64,
}

impl OutputArrays {
    /// Where the values of each chain go, as plans know it.
    pub fn targets(&self) -> Vec<schedule::Target> {
        let array = |t: &Target| {
            let spec = &self.arrays[t.array];
            schedule::OutputArray {
                chunks: spec.chunks.clone(),
                shards: spec.shards.clone(),
                cell_bytes: t.output.stored.size() as u64,
                writer_bytes: self.writer_bytes,
                sending_bytes: self.sending_bytes,
            }
        };
        self.targets.iter().map(|chain| schedule::Target::Arrays(chain.iter().flatten().map(array).collect())).collect()
    }
}

impl Prepared {
    /// The arrays that the result is written into, and what of each chain goes where.
    ///
    /// # Errors
    /// An element type that cannot hold the result.
    pub fn arrays(&self, cube: &OpenCube, options: &OutputOptions) -> Result<OutputArrays, JobError> {
        let mut arrays = Vec::new();
        let mut targets = Vec::new();
        for stage in self.results() {
            let mut of_stage = Vec::new();
            for folded in &stage.folded {
                let mut of_folded = Vec::new();
                for &statistic in &folded.statistics {
                    let (spec, output) = self.array(cube, stage, folded, statistic, options)?;
                    options.place.check_shards(&spec).map_err(|e| JobError::Write(e.into()))?;
                    let stored = keeps_stored(statistic) && !self.is_anomaly();
                    let packing = if stored { folded.packing } else { Packing::NONE };
                    of_folded.push(Target { array: arrays.len(), output, packing, stored });
                    arrays.push(spec);
                }
                of_stage.push(of_folded);
            }
            targets.push(of_stage);
        }
        let (writer_bytes, sending_bytes) = options.place.held_bytes();
        Ok(OutputArrays { arrays, targets, writer_bytes, sending_bytes })
    }

    /// Runs the request into a new Zarr cube.
    ///
    /// # Errors
    /// Anything that goes wrong while reading, computing or writing; the output is then removed.
    pub fn write(
        &self,
        cube: &OpenCube,
        options: &OutputOptions,
        plan: &Planned,
        counters: &Counters,
        run: &RunOptions,
    ) -> Result<Written, JobError> {
        let (writer, targets) = self.begin(cube, options, plan)?;
        let result = targets.into_iter().enumerate().try_for_each(|(i, targets)| {
            self.run_chain(i, cube, plan, &ZarrSink::new(&writer, targets), counters, run)
        });
        match result {
            Ok(()) => writer.finish().map_err(failed),
            Err(error) => {
                // The first error is the one to tell; what cannot be removed stays behind its journal.
                let _ = writer.abort();
                Err(error)
            }
        }
    }

    /// Makes the new cube ready, with all that describes its cells, and says where the values of each chain go.
    ///
    /// # Errors
    /// It cannot be made, or what describes the cells cannot be read.
    pub(super) fn begin(
        &self,
        cube: &OpenCube,
        options: &OutputOptions,
        plan: &Planned,
    ) -> Result<(CubeWriter, Targets), JobError> {
        let (output, arrays, whole, targets) = self.output(cube, options)?;
        let writer = CubeWriter::begin(output, arrays).map_err(failed)?.with_sending_bytes(plan.sending);
        let written = whole.into_iter().try_for_each(|(array, bytes)| writer.write_whole(array, &bytes));
        match written {
            Ok(()) => Ok((writer, targets)),
            Err(error) => {
                let _ = writer.abort();
                Err(failed(error))
            }
        }
    }

    /// The new cube: its head, its arrays, the cells of those that describe others, and where the values of each chain go.
    pub(super) fn output(&self, cube: &OpenCube, options: &OutputOptions) -> Result<NewCube, JobError> {
        let OutputArrays { mut arrays, targets, .. } = self.arrays(cube, options)?;
        let mut whole = Whole::new();
        self.coordinates(cube, options, &mut arrays, &mut whole)?;
        let names: Vec<String> = arrays.iter().map(|a: &ArraySpec| a.path.clone()).collect();
        for a in &mut arrays {
            keep_references(&mut a.attrs, |n| names.iter().any(|m| m == n));
        }
        let mut attrs = cube.cube.attrs.clone();
        self.place_group(cube, &mut attrs);
        keep_references(&mut attrs, |n| names.iter().any(|m| m == n));
        if !options.history.is_empty() {
            append_history(&mut attrs, &options.history);
        }
        let output = Output {
            place: options.place.clone(),
            group: String::new(),
            existing: options.existing,
            inputs: options.inputs.clone(),
            job: JournalHead {
                plan: options.job.clone(),
                request: options.history.clone(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                ..JournalHead::default()
            },
            zarr: options.zarr,
            attrs,
        };
        Ok((output, arrays, whole, targets))
    }

    fn array(
        &self,
        cube: &OpenCube,
        stage: &Stage,
        folded: &chunkwise_core::plan::Folded,
        statistic: Statistic,
        options: &OutputOptions,
    ) -> Result<(ArraySpec, OutputType), JobError> {
        let several = folded.statistics.len() > 1;
        let path = if several { format!("{}_{}", folded.name, statistic.name()) } else { folded.name.clone() };
        // An anomaly is stored as the float that a mean is.
        let named = if self.is_anomaly() {
            encode::Statistic::Mean
        } else {
            encode::Statistic::from_name(statistic.name()).unwrap_or(encode::Statistic::Value)
        };
        let source = match folded.from {
            From::Input(i) => cube.cube.variables.get(&stage.arrays[stage.inputs[i].array].name),
            From::Formula(_) => None,
        };
        let reduced: Vec<String> = stage.dims.iter().filter(|d| d.folds()).map(|d| d.name.clone()).collect();
        let can_miss = stage.mask.is_some()
            || (statistic == Statistic::Sum && self.min_count > 1)
            || folded.from != From::Input(0)
            || source.is_none_or(|v| {
                !v.missing.marks.is_empty() || v.missing.within.is_some() || v.view.is_some_and(DType::is_float)
            })
            || stage.dims.iter().any(|d| matches!(d.role, Role::Window { .. }) || (d.folds() && d.is_empty()));
        let gaps = if can_miss { Gaps::Possible } else { Gaps::Never };
        let input_types: Vec<DType> = stage.arrays.iter().filter_map(|a| a.decoded_dtype()).collect();
        let mut output = match source.and_then(Source::of) {
            Some(of) => output_type(named, &of, gaps),
            None => match statistic {
                Statistic::Value => formula_type(&input_types),
                _ => output_type(named, &Source::plain(formula_type(&input_types).stored), Gaps::Possible),
            },
        };
        if let Some(dtype) = options.dtype {
            output = encode::asked_type(dtype, output.missing, gaps).map_err(|e| JobError::Write(e.into()))?;
        }
        let mut attrs = match source {
            Some(v) => result_attrs(named, &folded.name, &reduced, &with_units_of_counts(v), &output),
            None => {
                let formula = stage.formulas.as_ref().and_then(|f| match folded.from {
                    From::Formula(i) => f.outputs.get(i).map(|o| o.formula.clone()),
                    From::Input(_) => None,
                });
                let first = stage.arrays.first().map(|a| &a.attrs);
                formula_attrs(&formula.unwrap_or_default(), first)
            }
        };
        self.place_array(cube, stage, &mut attrs);
        self.name_dropped(cube, stage, &mut attrs);
        let mut chunks = Vec::new();
        let mut dims = Vec::new();
        let mut shards = Vec::new();
        for i in stage.output_dims() {
            let d = &stage.dims[i];
            let n = d.output_len().max(1);
            let name = self.output_name(&d.name).to_owned();
            let own = stage.inputs.iter().find_map(|view| {
                let axis = view.axes.iter().position(|a| *a == Axis::Walk(i))?;
                match &stage.arrays[view.array].chunks[axis] {
                    ChunkSizes::Regular(n) => Some(*n),
                    ChunkSizes::Listed(v) => v.iter().copied().max(),
                }
            });
            let usual = match d.role {
                Role::Keep => own.unwrap_or(n),
                Role::Blocks { size } => (own.unwrap_or(n) / size).max(64),
                _ => own.unwrap_or(1),
            };
            let chunk = options.chunks.get(&name).copied().unwrap_or(usual).clamp(1, n);
            chunks.push(chunk);
            shards.push(options.shards.get(&name).copied());
            dims.push(name);
        }
        let shards = shards
            .iter()
            .any(Option::is_some)
            .then(|| shards.iter().zip(&chunks).map(|(s, &c)| s.unwrap_or(c)).collect());
        let spec = ArraySpec {
            path,
            dims,
            shape: stage.output_shape(),
            dtype: DataType::Number(output.stored),
            chunks,
            shards,
            codec: options.codec.clone().unwrap_or_default(),
            fill_value: output.stored_fill(),
            missing: output.stored_missing(),
            attrs,
            zarr: options.zarr,
        };
        Ok((spec, output))
    }
}

/// The attributes of a variable; where its type says what its cells count, as units.
fn with_units_of_counts(variable: &Variable) -> Cow<'_, Attrs> {
    let (unit, since) = match &variable.dtype {
        DataType::DateTime(unit) if unit.step == 1 => (unit, " since 1970-01-01"),
        DataType::Duration(unit) if unit.step == 1 => (unit, ""),
        _ => return Cow::Borrowed(&variable.attrs),
    };
    let Some(word) = unit.word() else { return Cow::Borrowed(&variable.attrs) };
    let mut attrs = variable.attrs.clone();
    attrs.insert("units".to_owned(), format!("{word}{since}").into());
    if !since.is_empty() {
        attrs.insert("calendar".to_owned(), "proleptic_gregorian".into());
    }
    Cow::Owned(attrs)
}
