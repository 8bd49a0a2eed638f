//! Whether two cubes hold the same, and where they do not.
//!
//! What is compared is what a reader gets: dimensions, labels (times as instants, whatever they are counted in), the
//! decoded value of every cell, units, flags and CRS. How it lies on disk does not count: format, chunks, shards,
//! codecs, fill values, stored types, packing.
//!
//! - A missing cell equals a missing cell, and `NaN` is missing. Values are equal where they are the same number:
//!   there is no tolerance, −0 equals 0, and integers are compared exactly up to 64 bits, also with floats.
//! - Of the attributes, those that change what a value means are compared: `units` (none is the same as `1`; of times
//!   they are part of the labels), `flag_values`, `flag_masks`, `flag_meanings`, and the CRS however it is written.
//!   Titles, histories and other descriptions are not.
//! - Cells are compared by position. Where labels differ, that is told of their coordinate.
//!
//! The cells of each pair of variables are one stage of the engine, whose leaves are the boxes that the chunks of both
//! cut out of each other: it runs in the memory, on the threads and with the interruption of any other job.

mod labels;
mod pair;
mod tally;

use crate::error::OpenError;
use crate::exec::{Counters, RunOptions};
use crate::job::plan::Planned;
use crate::job::{JobError, Prepared, Record};
use crate::open::OpenCube;
use crate::store::join;
use chunkwise_core::crs::find_georeference;
use chunkwise_core::cube::{Attrs, Cube, DataType, Labels, Role as Purpose, Variable};
use chunkwise_core::dtype::DType;
use chunkwise_core::grid::{Indices, Role, WalkDim};
use chunkwise_core::plan::{Axis, FORMAT, Folded, From, InputView, Stage};
use chunkwise_core::select::Selection;
use chunkwise_core::stat::Statistic;
use indexmap::{IndexMap, IndexSet};
use labels::{same_labels, with_units};
use pair::PairStore;
use serde_json::Value;
use std::sync::Arc;
use tally::{Tally, TallySink};
use thiserror::Error;

/// Most cells of times that are counted in different units and are yet compared: they are compared in memory.
const MOST_TIMES: u128 = 1 << 18;

/// What differs between a variable of one cube and that of the same name in another.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Compared {
    /// Name of the variable.
    pub variable: String,
    /// Cells that were compared; `None` where shapes or kinds do not let them be.
    pub cells: Option<u64>,
    /// Cells that differ, those that are missing in one cube included.
    pub different: u64,
    /// Cells that are missing in one cube and not in the other.
    pub missing_in_one: u64,
    /// Largest absolute difference of two numbers; of times in seconds.
    pub max_abs_diff: Option<f64>,
    /// Labels of the first cell that differs, in C order.
    pub first: Vec<(String, Value)>,
    /// What differs, in words; empty where nothing does.
    pub why: Vec<String>,
}

impl Compared {
    /// Whether nothing differs.
    pub fn is_equal(&self) -> bool {
        self.why.is_empty()
    }

    /// As a row: `variable equal cells different missing_in_one max_abs_diff first why`, null where there is nothing to say.
    pub fn record(&self) -> Record {
        let counted = |n: u64| if self.cells.is_some() { Value::from(n) } else { Value::Null };
        let mut record = Record::new();
        record.insert("variable".to_owned(), self.variable.clone().into());
        record.insert("equal".to_owned(), self.is_equal().into());
        record.insert("cells".to_owned(), self.cells.into());
        record.insert("different".to_owned(), counted(self.different));
        record.insert("missing_in_one".to_owned(), counted(self.missing_in_one));
        let most = match self.max_abs_diff {
            // JSON has no infinities.
            Some(d) if d.is_infinite() => "inf".into(),
            other => other.into(),
        };
        record.insert("max_abs_diff".to_owned(), most);
        let first = match self.different {
            0 => Value::Null,
            _ => Value::Object(self.first.iter().cloned().collect()),
        };
        record.insert("first".to_owned(), first);
        let why = if self.why.is_empty() { Value::Null } else { self.why.join("; ").into() };
        record.insert("why".to_owned(), why);
        record
    }

    /// Takes in what was found of the cells.
    fn count(&mut self, tally: Tally, dims: &[String], labels: &IndexMap<String, Arc<Labels>>) {
        self.cells = Some(tally.cells);
        self.different = tally.different;
        self.missing_in_one = tally.missing_in_one;
        self.max_abs_diff = tally.max_abs_diff;
        if tally.different > 0 {
            self.why.push(format!("{} of {} cells differ", tally.different, tally.cells));
        }
        if let Some(at) = tally.first {
            let place = |(dim, i): (&String, u64)| {
                let named = labels.get(dim).map_or_else(|| i.into(), |l| crate::job::label_value(l, i as usize));
                (dim.clone(), named)
            };
            self.first = dims.iter().zip(at).map(place).collect();
        }
    }
}

/// Why two cubes cannot be compared.
#[derive(Debug, Error)]
pub enum CompareError {
    /// A coordinate that cannot be read.
    #[error("cannot compare `{variable}`")]
    Open {
        /// The variable.
        variable: String,
        /// What went wrong.
        source: OpenError,
    },
    /// A variable that cannot be read.
    #[error("`{variable}` of `{location}` cannot be read: {problem}")]
    Unreadable {
        /// The variable.
        variable: String,
        /// The cube.
        location: String,
        /// Why.
        problem: String,
    },
    /// A variable that was asked for and is in neither cube.
    #[error("neither cube has a variable `{asked}`; there are {}", .has.join(", "))]
    NoVariable {
        /// The name.
        asked: String,
        /// Variables of both.
        has: Vec<String>,
    },
    /// Nothing to compare.
    #[error("neither `{a}` nor `{b}` has variables")]
    Nothing {
        /// One cube.
        a: String,
        /// The other.
        b: String,
    },
    /// Many times, counted in two ways.
    #[error("`{variable}` counts times in `{a}` and in `{b}`; so counted, at most {MOST_TIMES} cells are compared")]
    Times {
        /// The variable.
        variable: String,
        /// Units of one.
        a: String,
        /// Units of the other.
        b: String,
    },
}

/// Two cubes that are ready to be compared cell by cell: metadata and labels have been.
#[derive(Debug)]
pub struct Comparison {
    /// Both cubes as one, whose variables are `A/NAME` and `B/NAME`.
    pub cubes: OpenCube,
    /// A chain for each pair of variables whose cells are to be walked.
    pub prepared: Prepared,
    /// What is known so far.
    pub pairs: Pairs,
}

/// What is known of each variable, and which of them are yet to be walked.
#[derive(Clone, Debug)]
pub struct Pairs {
    found: Vec<Compared>,
    /// For each chain, which of `found` it is about.
    walked: Vec<usize>,
    labels: IndexMap<String, Arc<Labels>>,
}

/// Compares all of two cubes but the cells of large variables.
///
/// `variables` are those to compare, with the coordinates of their dimensions; none means all.
///
/// # Errors
/// A variable that is in neither cube, or cannot be read.
pub fn prepare(a: &OpenCube, b: &OpenCube, variables: &[String]) -> Result<Comparison, CompareError> {
    let mut work = Work { a, b, pairs: Vec::new(), stages: Vec::new(), walked: Vec::new(), labels: IndexMap::new() };
    for name in names(&a.cube, &b.cube, variables)? {
        work.variable(&name)?;
    }
    let cubes = OpenCube {
        cube: Cube {
            location: format!("{}, {}", a.cube.location, b.cube.location),
            zarr_format: a.cube.zarr_format,
            attrs: Attrs::new(),
            dims: a.cube.dims.clone(),
            variables: IndexMap::new(),
        },
        store: Arc::new(PairStore::new(a.store.clone(), b.store.clone())),
        path: String::new(),
        groups: Vec::new(),
        label_cache: Arc::default(),
    };
    let prepared = Prepared {
        min_count: 1,
        chains: work.stages.into_iter().map(|stage| vec![stage]).collect(),
        selection: Selection::default(),
        labels: IndexMap::new(),
        renamed: IndexMap::new(),
        bounds: IndexMap::new(),
    };
    let pairs = Pairs { found: work.pairs, walked: work.walked, labels: work.labels };
    Ok(Comparison { cubes, prepared, pairs })
}

impl Pairs {
    /// Compares the cells that are yet to be, and gives what was found of each variable.
    ///
    /// `cubes` and `prepared` are those of the [`Comparison`].
    ///
    /// # Errors
    /// A chunk of either cube that cannot be read or decoded (`A/NAME`, `B/NAME`); interruption.
    pub fn run(
        mut self,
        cubes: &OpenCube,
        prepared: &Prepared,
        plan: &Planned,
        counters: &Counters,
        options: &RunOptions,
    ) -> Result<Vec<Compared>, JobError> {
        for (i, &at) in self.walked.iter().enumerate() {
            let Some([stage]) = prepared.chains.get(i).map(Vec::as_slice) else { continue };
            let sink = TallySink::new(stage.folded[0].packing, stage.folded[1].packing);
            prepared.run_chain(i, cubes, plan, &sink, counters, options)?;
            let dims: Vec<String> = stage.dims.iter().map(|d| d.name.clone()).collect();
            self.found[at].count(sink.into_tally(), &dims, &self.labels);
        }
        Ok(self.found)
    }
}

/// Names of what is compared, in the order of the first cube. Grid mappings are compared with the variables that name them.
fn names(a: &Cube, b: &Cube, asked: &[String]) -> Result<IndexSet<String>, CompareError> {
    let both = || a.variables.values().chain(b.variables.values());
    let mut names = IndexSet::new();
    if asked.is_empty() {
        names.extend(both().filter(|v| v.role != Purpose::GridMapping).map(|v| v.name.clone()));
        if names.is_empty() {
            return Err(CompareError::Nothing { a: a.location.clone(), b: b.location.clone() });
        }
    }
    for name in asked {
        let found: Vec<&Variable> = both().filter(|v| v.name == *name).collect();
        if found.is_empty() {
            let has: IndexSet<String> = both().map(|v| v.name.clone()).collect();
            return Err(CompareError::NoVariable { asked: name.clone(), has: has.into_iter().collect() });
        }
        names.insert(name.clone());
        for dim in found.iter().flat_map(|v| &v.dims) {
            if a.coordinate(dim).is_some() || b.coordinate(dim).is_some() {
                names.insert(dim.clone());
            }
        }
    }
    Ok(names)
}

/// The comparison in the making.
struct Work<'a> {
    a: &'a OpenCube,
    b: &'a OpenCube,
    pairs: Vec<Compared>,
    stages: Vec<Stage>,
    walked: Vec<usize>,
    labels: IndexMap<String, Arc<Labels>>,
}

impl Work<'_> {
    fn variable(&mut self, name: &str) -> Result<(), CompareError> {
        let mut pair = Compared { variable: name.to_owned(), ..Compared::default() };
        let (a, b) = match (self.a.cube.variables.get(name), self.b.cube.variables.get(name)) {
            (Some(a), Some(b)) => (a, b),
            (a, _) => {
                let only = if a.is_some() { &self.a.cube.location } else { &self.b.cube.location };
                pair.why.push(format!("only in `{only}`"));
                self.pairs.push(pair);
                return Ok(());
            }
        };
        for (variable, open) in [(a, self.a), (b, self.b)] {
            if let Some(problem) = &variable.problem {
                return Err(CompareError::Unreadable {
                    variable: name.to_owned(),
                    location: open.cube.location.clone(),
                    problem: problem.clone(),
                });
            }
        }
        let (a, b) = (with_units(&self.a.cube, a), with_units(&self.b.cube, b));
        self.meaning(&a, &b, &mut pair.why);
        if a.dims != b.dims || a.shape != b.shape {
            let shown = |v: &Variable| {
                let dims: Vec<String> = v.dims.iter().zip(&v.shape).map(|(d, n)| format!("{d}={n}")).collect();
                format!("({})", dims.join(", "))
            };
            pair.why.push(format!("dimensions {} against {}", shown(&a), shown(&b)));
            self.pairs.push(pair);
            return Ok(());
        }
        let kinds = |v: &Variable| (v.view.is_none(), v.is_time());
        if kinds(&a) != kinds(&b) {
            let kind = |v: &Variable| match kinds(v) {
                (true, _) => "text",
                (_, true) => "times",
                _ => "numbers",
            };
            pair.why.push(format!("{} against {}", kind(&a), kind(&b)));
            self.pairs.push(pair);
            return Ok(());
        }
        let coordinate = a.role == Purpose::Dimension || b.role == Purpose::Dimension;
        let times = a.is_time() && a.cells() <= MOST_TIMES;
        if coordinate || times || a.view.is_none() {
            self.whole(&a, &b, &mut pair)?;
        } else if counted_in(&a) != counted_in(&b) {
            let (a, b) = (counted_in(&a), counted_in(&b));
            return Err(CompareError::Times { variable: name.to_owned(), a, b });
        } else if a.cells() == 0 {
            pair.cells = Some(0);
        } else {
            for dim in &a.dims {
                self.dim_labels(dim)?;
            }
            self.walked.push(self.pairs.len());
            self.stages.push(stage(&a, &b));
        }
        self.pairs.push(pair);
        Ok(())
    }

    /// Compares what changes the meaning of values.
    fn meaning(&self, a: &Variable, b: &Variable, why: &mut Vec<String>) {
        let shown = |v: Option<String>| v.map_or_else(|| "none".to_owned(), |v| format!("`{v}`"));
        if !(a.is_time() && b.is_time()) {
            let units = |v: &Variable| v.units().map(str::trim).filter(|u| !["", "1"].contains(u)).map(str::to_owned);
            let (a, b) = (units(a), units(b));
            if a != b {
                why.push(format!("units {} against {}", shown(a), shown(b)));
            }
        }
        for key in ["flag_values", "flag_masks", "flag_meanings"] {
            let (a, b) = (a.attrs.get(key), b.attrs.get(key));
            if !same_json(a, b) {
                let text = |v: Option<&Value>| shown(v.map(|v| v.to_string().chars().take(60).collect()));
                why.push(format!("{key} {} against {}", text(a), text(b)));
            }
        }
        if a.role == Purpose::Data || b.role == Purpose::Data {
            let a = find_georeference(&self.a.cube, a).crs;
            let b = find_georeference(&self.b.cube, b).crs;
            let same = match (&a, &b) {
                (Some(a), Some(b)) => a.same_as(b),
                (a, b) => a.is_none() && b.is_none(),
            };
            if !same {
                why.push(format!("crs {} against {}", shown(a.map(|c| c.label())), shown(b.map(|c| c.label()))));
            }
        }
    }

    /// Compares two variables that are read whole.
    fn whole(&mut self, a: &Variable, b: &Variable, pair: &mut Compared) -> Result<(), CompareError> {
        let failed = |source| CompareError::Open { variable: a.name.clone(), source };
        let mine = self.a.labels_of(a).map_err(failed)?;
        let other = self.b.labels_of(b).map_err(failed)?;
        match same_labels(&mine, &other, &a.shape) {
            Ok(tally) => {
                if a.role == Purpose::Dimension {
                    self.labels.entry(a.name.clone()).or_insert(mine.into());
                }
                for dim in &a.dims {
                    self.dim_labels(dim)?;
                }
                pair.count(tally, &a.dims, &self.labels);
            }
            Err(why) => pair.why.push(why),
        }
        Ok(())
    }

    /// Reads the labels of a dimension of the first cube, by which places are told.
    fn dim_labels(&mut self, dim: &str) -> Result<(), CompareError> {
        if !self.labels.contains_key(dim) && self.a.cube.coordinate(dim).is_some() {
            let read = self.a.labels(dim);
            let labels = read.map_err(|source| CompareError::Open { variable: dim.to_owned(), source })?;
            self.labels.insert(dim.to_owned(), labels);
        }
        Ok(())
    }
}

/// What the numbers of a time or duration count; empty for other numbers.
fn counted_in(variable: &Variable) -> String {
    let attr = |key: &str| variable.attrs.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    match &variable.dtype {
        DataType::DateTime(_) | DataType::Duration(_) => variable.dtype.name(),
        _ if variable.is_time() => format!("{} {}", attr("units"), attr("calendar")).trim().to_owned(),
        _ => String::new(),
    }
}

/// Whether two attributes are the same; numbers by value.
fn same_json(a: Option<&Value>, b: Option<&Value>) -> bool {
    match (a, b) {
        (Some(Value::Number(a)), Some(Value::Number(b))) => a == b || a.as_f64() == b.as_f64(),
        (Some(Value::Array(a)), Some(Value::Array(b))) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same_json(Some(a), Some(b)))
        }
        (a, b) => a == b,
    }
}

/// The walk over two variables of one shape: both columns of each box that their chunks cut out of each other.
fn stage(a: &Variable, b: &Variable) -> Stage {
    let within = |cube: &str, v: &Variable| Variable { path: join(cube, &v.path), ..v.clone() };
    let dims = a.dims.iter().zip(&a.shape).enumerate().map(|(axis, (name, &count))| {
        let mut grids = vec![&a.chunks[axis], &b.chunks[axis]];
        grids.dedup();
        WalkDim::new(name, Indices::Range { start: 0, step: 1, count }, Role::Keep, &grids)
    });
    let view = |array| InputView { array, axes: (0..a.dims.len()).map(Axis::Walk).collect() };
    let folded = |(i, v): (usize, &Variable)| Folded {
        name: v.name.clone(),
        from: From::Input(i),
        element: v.view.unwrap_or(DType::Float64),
        packing: v.packing,
        statistics: vec![Statistic::Value],
    };
    Stage {
        format: FORMAT,
        segments: None,
        dims: dims.collect(),
        arrays: vec![within(pair::A, a), within(pair::B, b)],
        inputs: vec![view(0), view(1)],
        formulas: None,
        formula_inputs: Vec::new(),
        mask: None,
        folded: [a, b].into_iter().enumerate().map(folded).collect(),
    }
}
