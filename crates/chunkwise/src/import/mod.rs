//! Import: a cube from files, on one grid, checked to go together.
//!
//! [`Source`] is what cells come from; [`GeoTiff`](geotiff::GeoTiff) is one. Files are sorted into scenes by the times and
//! bands in their names, laid on one grid, and written chunk by chunk behind a journal, so that an import that was stopped
//! can be gone on with.

mod align;
pub mod cubes;
mod error;
mod fill;
#[cfg(feature = "geotiff")]
pub mod geotiff;
mod grid;
mod mosaic;
mod names;
pub mod source;
mod stack;
mod units;

pub use error::{Difference, ImportError};
pub use grid::{Grid, GridRequest, Resampling};
pub use mosaic::Mosaic;
pub use names::{BandPattern, TimePattern};
pub use source::Source;

use crate::codec::CodecChoice;
use crate::create::{CreateSpec, CrsAttrs};
use crate::exec::{Counters, each::each};
use crate::open::OpenCube;
use crate::write::{ArraySpec, CubeWriter, InputIdentity, JournalHead, Output, Written, ZarrVersion};
use chunkwise_core::cf::encode::append_history;
use chunkwise_core::cf::time::TimeAxis;
use chunkwise_core::crs::{Crs, find_georeference};
use chunkwise_core::cube::{Attrs, Labels};
use chunkwise_core::dtype::{DType, Element, ForElement, Scalar};
use indexmap::IndexMap;
use serde::Serialize;
use serde_json::json;
use stack::Stack;
use std::collections::HashMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use units::{Four, Made, Units};

/// What is to be imported, and how.
#[derive(Clone, Debug)]
pub struct ImportOptions {
    /// Name of the variable.
    pub variable: String,
    /// Where times are in the names of files; `None`: the cube has no time.
    pub time: Option<TimePattern>,
    /// Where bands are in the names of files that hold one each; `None`: files hold all bands.
    pub band: Option<BandPattern>,
    /// Which bands, in order; empty: all.
    pub bands: Vec<String>,
    /// The stored value that marks missing cells, whatever files say.
    pub nodata: Option<Nodata>,
    /// `None`: as stored; a float that files do not hold: decoded.
    pub dtype: Option<DType>,
    /// Which value counts where several scenes have one; `None`: an error.
    pub mosaic: Option<Mosaic>,
    /// The band that says for all bands of a scene which cells count; `None`: each for itself.
    pub mosaic_by: Option<String>,
    /// The grid of the cube.
    pub target: Target,
    /// How cells get there.
    pub resampling: Resampling,
    /// Cells of a chunk along dimensions; those left out follow [`default_chunks`](crate::create::default_chunks).
    pub chunks: IndexMap<String, u64>,
    /// Cells of a shard along dimensions; those left out are one chunk.
    pub shards: Option<IndexMap<String, u64>>,
    /// Compression.
    pub codec: CodecChoice,
    /// Attributes of the cube.
    pub attrs: Attrs,
    /// A line for its history.
    pub history: String,
}

impl Default for ImportOptions {
    fn default() -> ImportOptions {
        ImportOptions {
            variable: "data".to_owned(),
            time: None,
            band: None,
            bands: Vec::new(),
            nodata: None,
            dtype: None,
            mosaic: None,
            mosaic_by: None,
            target: Target::Files,
            resampling: Resampling::Nearest,
            chunks: IndexMap::new(),
            shards: None,
            codec: CodecChoice::default(),
            attrs: Attrs::new(),
            history: String::new(),
        }
    }
}

/// A missing mark that is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Nodata {
    /// There is none.
    Nothing,
    /// This number.
    Value(String),
}

/// The grid of the cube.
#[derive(Clone, Debug, Default)]
pub enum Target {
    /// That of the files, which is the same for all.
    #[default]
    Files,
    /// This one.
    Like(Grid),
    /// One around the files.
    Asked(GridRequest),
}

/// An import that is ready to run within its memory.
#[derive(Debug)]
pub struct Import {
    sources: Vec<Arc<dyn Source>>,
    stack: Stack,
    spec: CreateSpec,
    units: Units,
    rule: Option<Mosaic>,
    resampling: Resampling,
    /// By source: a number that those share which lie alike.
    same_grid: Vec<usize>,
    /// What tells this import from another.
    request: String,
    history: String,
}

/// What an import will do.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Explained {
    /// Files.
    pub files: u64,
    /// Scenes: what was seen at one time from one place.
    pub scenes: u64,
    /// Names of the dimensions.
    pub dims: Vec<String>,
    /// Cells along each.
    pub shape: Vec<u64>,
    /// Type of the cells.
    pub dtype: String,
    /// Chunks.
    pub chunks: u64,
    /// Bytes of the files.
    pub encoded_bytes: u64,
    /// Bytes of all their cells.
    pub decoded_bytes: u64,
    /// Bytes of the cells of the cube, before they are compressed.
    pub output_bytes: u64,
    /// Pieces of work.
    pub partitions: u64,
    /// Threads.
    pub threads: u64,
    /// Peak memory of the process.
    pub memory_bytes: u64,
    /// Whether values are decoded to floats as nothing marks missing cells.
    pub widened: bool,
}

impl Import {
    /// Sorts the files and checks the import against its budget.
    ///
    /// # Errors
    /// Files that do not go together, or not with what is asked; a layout that cannot be; a budget that is too small.
    pub fn plan(
        sources: Vec<Arc<dyn Source>>,
        options: &ImportOptions,
        memory: u64,
        threads: usize,
    ) -> Result<Import, ImportError> {
        let stack = Stack::new(&sources, options)?;
        let spec = spec(&sources, &stack, options)?;
        let layout = spec.layout()?;
        let four = |v: &[u64]| -> Four {
            let mut whole = [1; 4];
            whole[4 - v.len()..].copy_from_slice(v);
            whole
        };
        let chunk = four(&layout.chunks);
        let object = layout.shards.as_deref().map_or(chunk, four);
        let (rule, resampling) = (options.mosaic, options.resampling);
        let made = Made::new(&sources, &stack, rule);
        let units = Units::new(&made, [four(&layout.shape), chunk, object], memory, threads)?;
        let mut numbers = HashMap::new();
        let same_grid = sources.iter().map(|s| {
            let place = s.placement();
            let key = format!("{:?} {:?} {:?}", place.transform, place.crs, stack::size(&**s));
            let next = numbers.len();
            *numbers.entry(key).or_insert(next)
        });
        let same_grid = same_grid.collect();
        let request = request(&stack, &spec, options);
        let history = options.history.clone();
        Ok(Import { sources, stack, spec, units, rule, resampling, same_grid, request, history })
    }

    /// What it will do.
    pub fn explain(&self) -> Explained {
        let cells = |v: &[u64]| v.iter().fold(1u64, |a, &b| a.saturating_mul(b));
        let shape: Vec<u64> = self.spec.dims.values().map(Labels::len).collect();
        let decoded = self.sources.iter().flat_map(|s| s.variables());
        Explained {
            files: self.sources.len() as u64,
            scenes: self.stack.slots.iter().map(|s| s.len() as u64).sum(),
            dims: self.spec.dims.keys().cloned().collect(),
            dtype: self.stack.dtype.name().to_owned(),
            chunks: self.units.chunks(),
            encoded_bytes: self.sources.iter().map(|s| s.stored_bytes()).sum(),
            decoded_bytes: decoded.map(|v| cells(&v.shape).saturating_mul(v.dtype.size() as u64)).sum(),
            output_bytes: cells(&shape).saturating_mul(self.stack.dtype.size() as u64),
            partitions: self.units.count(),
            threads: self.units.threads as u64,
            memory_bytes: self.units.memory,
            widened: self.stack.widened,
            shape,
        }
    }

    /// Writes the cube.
    ///
    /// `output` says where; its job and attributes are set here. What was interrupted, or failed when a part was done, stays
    /// as an unfinished cube that is gone on with by [`Existing::Resume`](crate::write::Existing::Resume).
    ///
    /// # Errors
    /// A file cannot be read, or is damaged; the output cannot be written; `cancel` was set.
    pub fn run(&self, mut output: Output, counters: &Counters, cancel: &AtomicBool) -> Result<Written, ImportError> {
        output.job = JournalHead {
            plan: self.request.clone(),
            request: self.history.clone(),
            inputs: self.inputs(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        output.inputs.extend(self.sources.iter().map(|s| s.location().to_owned()));
        output.attrs.extend(self.spec.attrs.clone());
        output.attrs.entry("Conventions".to_owned()).or_insert_with(|| "CF-1.11".into());
        append_history(&mut output.attrs, &self.history);
        let (specs, cells): (Vec<ArraySpec>, Vec<Vec<u8>>) = self.arrays(output.zarr)?.into_iter().unzip();
        self.sources.iter().for_each(|s| s.keep(self.units.keep));
        let writer = CubeWriter::begin(output, specs)?;
        let filled = cells
            .iter()
            .enumerate()
            .skip(1)
            .try_for_each(|(number, cells)| Ok(writer.write_whole(number, cells)?))
            .and_then(|()| {
                // Of the coordinates, nothing is told.
                let beside = writer.written();
                self.fill(&writer, counters, cancel)?;
                Ok(beside)
            });
        match filled {
            Ok(beside) => {
                let all = writer.finish()?;
                Ok(Written { chunks: all.chunks - beside.chunks, empty: all.empty - beside.empty, ..all })
            }
            Err(ImportError::Interrupted) => Err(ImportError::Interrupted),
            Err(error) => {
                // What can be gone on with stays; the first error is the one to tell.
                if !matches!(error, ImportError::Write(_)) {
                    let _ = writer.abort();
                }
                Err(error)
            }
        }
    }

    fn inputs(&self) -> Vec<InputIdentity> {
        let input = |s: &Arc<dyn Source>| InputIdentity {
            location: s.location().to_owned(),
            identity: s.identity().to_owned(),
        };
        self.sources.iter().map(input).collect()
    }

    /// The arrays of the cube; the grid mapping says the transform as it is, not as labels give it.
    fn arrays(&self, zarr: ZarrVersion) -> Result<Vec<(ArraySpec, Vec<u8>)>, ImportError> {
        let mut arrays = self.spec.arrays(zarr)?;
        if let Some(transform) = self.stack.grid.transform {
            let mappings = arrays.iter_mut().filter(|(a, _)| a.attrs.contains_key("GeoTransform"));
            mappings.for_each(|(a, _)| {
                a.attrs.insert("GeoTransform".to_owned(), transform.geotransform_text().into());
            });
        }
        Ok(arrays)
    }
}

/// Opens files on threads, in their order.
///
/// # Errors
/// The first, in the order of files, that `open` gives.
pub fn open_all<S: Send>(
    files: &[String],
    threads: usize,
    open: impl Fn(&str) -> Result<S, ImportError> + Sync,
) -> Result<Vec<S>, ImportError> {
    let opened: Vec<Mutex<Option<Result<S, ImportError>>>> = files.iter().map(|_| Mutex::new(None)).collect();
    each(
        files.len() as u64,
        threads,
        || (),
        |(), number| {
            let found = open(&files[number as usize]);
            let failed = found.is_err();
            *opened[number as usize].lock().unwrap_or_else(PoisonError::into_inner) = Some(found);
            if failed { Err(()) } else { Ok(()) }
        },
    )
    .unwrap_or(());
    let taken = opened.into_iter().filter_map(|o| o.into_inner().unwrap_or_else(PoisonError::into_inner));
    taken.collect()
}

/// The grid that a cube lies on.
///
/// # Errors
/// It has no CRS, or its axes are not even.
pub fn grid_of(cube: &OpenCube) -> Result<Grid, ImportError> {
    let location = &cube.cube.location;
    let unfit = |problem: &str| {
        ImportError::unfit(location, problem, "name another cube with `--like`, or a grid with `--res`")
    };
    let mut found = None;
    for variable in cube.cube.data_variables() {
        let place = find_georeference(&cube.cube, variable);
        let (Some(crs), Some(dims)) = (place.crs.clone(), place.dims.clone()) else { continue };
        let axis = |dim: &str| -> Result<Option<(f64, f64, u64)>, ImportError> {
            let values: Vec<f64> = match &*cube.labels(dim)? {
                Labels::Number(values) => values.clone(),
                Labels::Integer(values) => values.iter().map(|&v| v as f64).collect(),
                _ => return Ok(None),
            };
            Ok(even(&values))
        };
        let (x, y) = (axis(&dims.x)?, axis(&dims.y)?);
        let of_labels = x.zip(y).and_then(|((x, dx, columns), (y, dy, rows))| {
            let transform = chunkwise_core::crs::GridTransform::from_centres(x, dx, y, dy)?;
            Some((transform, columns, rows))
        });
        let length = |dim: &str| cube.cube.dims.get(dim).copied().unwrap_or(0);
        let placed = match (of_labels, place.transform) {
            // An attribute says the same without the rounding of labels.
            (Some((labels, columns, rows)), Some(told)) => {
                let grid = |transform| Grid { crs: Some(crs.clone()), transform: Some(transform), columns, rows };
                let (a, b) = (grid(labels), grid(told));
                Some(if a.same_cells(&b) { b } else { a })
            }
            (Some((labels, columns, rows)), None) => {
                Some(Grid { crs: Some(crs), transform: Some(labels), columns, rows })
            }
            (None, Some(told)) => {
                Some(Grid { crs: Some(crs), transform: Some(told), columns: length(&dims.x), rows: length(&dims.y) })
            }
            (None, None) => None,
        };
        found = found.or(placed);
    }
    found.ok_or_else(|| unfit("has no grid of even cells in a CRS"))
}

/// First label, step and number of an axis that is even.
fn even(values: &[f64]) -> Option<(f64, f64, u64)> {
    let [first, .., last] = values else { return None };
    let step = (last - first) / (values.len() - 1) as f64;
    let near = |(i, v): (usize, &f64)| (v - (first + step * i as f64)).abs() <= step.abs() * 1e-3;
    (step != 0.0 && values.iter().enumerate().all(near)).then_some((*first, step, values.len() as u64))
}

/// The cube that is made.
fn spec(sources: &[Arc<dyn Source>], stack: &Stack, options: &ImportOptions) -> Result<CreateSpec, ImportError> {
    let mut dims = IndexMap::new();
    if let Some(times) = &stack.times {
        let axis = TimeAxis { calendar: names::CALENDAR, nanos: times.clone() };
        dims.insert("time".to_owned(), Labels::Time(axis));
    }
    dims.insert("band".to_owned(), stack.bands.clone());
    let grid = &stack.grid;
    let axis = |labels: Option<Vec<f64>>, cells: u64| match (grid.transform, labels) {
        (None, _) => Ok(Labels::Index(cells)),
        (Some(_), Some(labels)) => Ok(Labels::Number(labels)),
        (Some(_), None) => Err(ImportError::asked(format!("a grid of {} is too large", grid.told()), "")),
    };
    dims.insert("y".to_owned(), axis(grid.transform.and_then(|t| t.y_labels(grid.rows)), grid.rows)?);
    dims.insert("x".to_owned(), axis(grid.transform.and_then(|t| t.x_labels(grid.columns)), grid.columns)?);
    let mut spec = CreateSpec::new(&options.variable, dims, stack.dtype);
    spec.chunks.clone_from(&options.chunks);
    spec.shards.clone_from(&options.shards);
    spec.codec = options.codec.clone();
    spec.missing = stack.mark;
    spec.attrs.clone_from(&options.attrs);
    spec.crs = grid.crs.as_ref().map(CrsAttrs::of);
    let mut attrs = sources.first().and_then(|s| s.variables().first()).map(|v| v.attrs.clone()).unwrap_or_default();
    if stack.packing != source::Linear::default() {
        attrs.insert("scale_factor".to_owned(), json!(stack.packing.scale));
        attrs.insert("add_offset".to_owned(), json!(stack.packing.offset));
    }
    spec.variable_attrs.insert(options.variable.clone(), attrs);
    Ok(spec)
}

/// What tells one import from another, beside its files.
fn request(stack: &Stack, spec: &CreateSpec, options: &ImportOptions) -> String {
    let text = format!(
        "{:?} {:?} {:?} {:?} {:?} {:?} {:?}",
        spec,
        stack.slots,
        stack.values,
        stack.grid.crs.as_ref().map(Crs::label),
        (options.mosaic, &options.mosaic_by, options.resampling),
        (&spec.chunks, &spec.shards),
        stack.packing,
    );
    format!("{:08x}{:08x}", crc32fast::hash(text.as_bytes()), crc32c::crc32c(text.as_bytes()))
}

/// A number as the type stores it: rounded to it where it is a float, `None` where an integer does not hold it.
fn scalar(text: &str, dtype: DType) -> Option<Scalar> {
    struct Held(Scalar);
    impl ForElement for Held {
        type Output = Option<Scalar>;
        fn run<T: Element>(self) -> Option<Scalar> {
            let held: T = self.0.to_element()?;
            Some(if T::IS_FLOAT { Scalar::Float(held.to_f64()) } else { self.0 })
        }
    }
    let scalar = match (text.parse::<i64>(), text.parse::<u64>()) {
        (Ok(v), _) => Scalar::Int(v),
        (_, Ok(v)) => Scalar::UInt(v),
        _ => Scalar::Float(text.parse().ok()?),
    };
    let scalar = match scalar {
        // `0.0` of an integer type.
        Scalar::Float(v) if !dtype.is_float() && v.fract() == 0.0 && v.abs() < 9e18 => Scalar::Int(v as i64),
        other => other,
    };
    dtype.dispatch(Held(scalar))
}
