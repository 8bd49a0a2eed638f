//! Requests: what a user asks of a cube, made into stages, run, and given back as records or a new cube.

pub mod arrays;
mod coordinates;
pub mod numbers;
pub mod output;
pub mod parts;
mod placement;
pub mod plan;
mod plane;
pub mod points;
mod room;
mod times;
pub mod zonal;

pub use plane::{OtherAxes, plane};

use crate::error::{BoxError, OpenError};
use crate::exec::{Counters, ExecError, RunOptions};
use crate::open::OpenCube;
use crate::sink::memory::MemorySink;
use chunkwise_core::cf::time::{NOT_A_TIME, format_time};
use chunkwise_core::crs::is_longitude;
use chunkwise_core::cube::{Labels, Packing, Variable};
use chunkwise_core::expr::{Formula, Scope, ScopeVariable, parse};
use chunkwise_core::grid::{Indices, Role};
use chunkwise_core::group::{Cycle, GroupError, Grouping, Window, cycle_groups, time_windows};
use chunkwise_core::plan::Stage;
use chunkwise_core::plan::lower::{Job, LowerError, Others, lower};
use chunkwise_core::select::{BoxQuery, IndexQuery, LabelQuery, SelectError, Selection, resolve};
use chunkwise_core::stat::Statistic;
use chunkwise_core::values::Column;
use indexmap::IndexMap;
use plan::Planned;
use serde_json::{Map, Value};
use std::collections::HashSet;
use std::sync::Arc;
use thiserror::Error;
use times::Times;

/// Rows of a table, at most.
pub const MOST_ROWS: u64 = 100_000;

/// A row of a table.
pub type Record = Map<String, Value>;

/// Which dimensions are reduced.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Over {
    /// None, but those that are grouped.
    #[default]
    None,
    /// All that a variable has.
    All,
    /// All but these.
    AllBut(Vec<String>),
    /// These.
    Dims(Vec<String>),
}

/// What is asked of a cube.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// Variables by name.
    pub variables: Vec<String>,
    /// Formulas `name = …`.
    pub formulas: Vec<String>,
    /// Condition that a cell must meet.
    pub mask: Option<String>,
    /// Selection by label.
    pub sel: Vec<(String, LabelQuery)>,
    /// Selection by index.
    pub isel: Vec<(String, IndexQuery)>,
    /// Selection by box.
    pub bbox: Option<BoxQuery>,
    /// Which dimensions are reduced.
    pub over: Over,
    /// What is computed; empty: the cells themselves.
    pub statistics: Vec<Statistic>,
    /// `--group`.
    pub cycle: Option<Cycle>,
    /// `--every`.
    pub windows: Vec<Window>,
    /// Least number of valid cells for which a sum is not missing, as it will be run; `None`: 1.
    pub min_count: Option<u64>,
    /// Whether cells less the statistic of their group are asked for, instead of the statistic itself.
    pub anomaly: Anomaly,
}

impl Request {
    /// Statistics over some dimensions, of all data variables; for more, set the other fields.
    pub fn reduce(over: &[&str], statistics: &[Statistic]) -> Request {
        let over = Over::Dims(over.iter().map(|d| (*d).to_owned()).collect());
        Request { over, statistics: statistics.to_vec(), ..Request::default() }
    }
}

/// `--anomaly`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Anomaly {
    /// The statistic.
    #[default]
    No,
    /// Each cell less the statistic of its group.
    Yes,
}

/// Why a request cannot be carried out.
#[derive(Debug, Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum JobError {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Select(#[from] SelectError),
    #[error(transparent)]
    Group(#[from] GroupError),
    #[error(transparent)]
    Lower(#[from] LowerError),
    #[error(transparent)]
    Exec(#[from] ExecError),
    #[error("cannot group by `{cycle}`: the cube has {}", times(.dims, .single.as_deref()))]
    NoTime { cycle: String, dims: Vec<String>, single: Option<String> },
    #[error("`{dim}` is not a dimension of the cube; it has {}", .has.join(", "))]
    NoDim { dim: String, has: Vec<String> },
    #[error("`--over {over}` does not go with grouping along `{dim}`")]
    Over { over: String, dim: String },
    #[error("an anomaly takes one statistic and at least one dimension, group or window; {statistics} were asked for")]
    Anomaly { statistics: usize },
    #[error("the table would have {rows} rows; at most {MOST_ROWS} are printed")]
    TooManyRows { rows: u64 },
    #[error(transparent)]
    Memory(#[from] plan::Refused),
    #[error("there are no points")]
    NoPoints,
    #[error("cannot write the output")]
    Write(#[source] BoxError),
}

/// A request made into stages.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// What is run, in order: chains of stages, of which each feeds the next. An anomaly has two, all else has one.
    pub chains: Vec<Vec<Stage>>,
    /// The selection, in indices.
    pub selection: Selection,
    /// Labels of each dimension, selected and grouped.
    pub labels: IndexMap<String, Labels>,
    /// New names of dimensions that are grouped by a cycle.
    pub renamed: IndexMap<String, String>,
    /// Time bounds of windows, by dimension.
    pub bounds: IndexMap<String, Vec<(i128, i128)>>,
    /// Least number of valid cells for which a sum is not missing.
    pub min_count: u64,
}

/// Makes a request into stages.
///
/// # Errors
/// Names, labels, groups or formulas that do not fit the cube.
pub fn prepare(cube: &OpenCube, request: &Request) -> Result<Prepared, JobError> {
    let wraps = |dim: &str| is_longitude(dim, cube.cube.coordinate(dim));
    let labels = |dim: &str| cube.labels(dim);
    let selection = resolve(&request.sel, &request.isel, request.bbox.as_ref(), &cube.cube.dims, &labels, &wraps)?;
    let mut scope = Scope::default();
    for v in cube.cube.variables.values().filter(|v| v.view.is_some()) {
        scope.variables.push(ScopeVariable::from(v));
    }
    if !request.formulas.is_empty() || request.mask.is_some() {
        // What is no formula is refused when it is lowered.
        let parsed: Vec<_> = request.formulas.iter().chain(&request.mask).filter_map(|text| parse(text).ok()).collect();
        let names: HashSet<&str> = parsed.iter().flat_map(Formula::names).collect();
        let known = |name: &str| {
            cube.cube.variables.contains_key(name) || parsed.iter().any(|formula| formula.name() == Some(name))
        };
        let labels_are_named = names.iter().any(|name| !known(name));
        for (dim, &length) in &cube.cube.dims {
            let Some(coordinate) = cube.cube.coordinate(dim) else { continue };
            let read = match names.contains(dim.as_str()) {
                true => Some(cube.labels(dim)?),
                // A name may be a text label of any dimension; one that cannot be read has none.
                false if labels_are_named && coordinate.view.is_none() => cube.labels(dim).ok(),
                false => None,
            };
            let labels = read.map_or(Labels::Index(length), |labels| (*labels).clone());
            scope.labels.insert(dim.clone(), labels);
        }
    }
    let selected = |dim: &str| -> Result<Labels, JobError> {
        let n = cube.cube.dims.get(dim).copied().unwrap_or(0);
        let all = match cube.cube.coordinate(dim) {
            Some(_) => cube.labels(dim)?,
            None => Arc::new(Labels::Index(n)),
        };
        Ok(take(&all, &selection.indices(dim, n)))
    };
    let mut roles: IndexMap<String, Role> = IndexMap::new();
    let mut out = IndexMap::new();
    let mut renamed = IndexMap::new();
    let mut bounds = IndexMap::new();
    let time_dim = |cycle: &str| -> Result<String, JobError> {
        let times: Vec<&String> =
            cube.cube.dims.keys().filter(|dim| cube.cube.coordinate(dim).is_some_and(Variable::is_time)).collect();
        match times.as_slice() {
            [one] => Ok((*one).clone()),
            _ => {
                let single = cube.cube.variables.values().find(|v| v.dims.is_empty() && v.is_time());
                Err(JobError::NoTime {
                    cycle: cycle.to_owned(),
                    dims: times.into_iter().cloned().collect(),
                    single: single.map(|v| v.name.clone()),
                })
            }
        }
    };
    if let Some(cycle) = request.cycle {
        let dim = time_dim(cycle.name())?;
        if let Labels::Time(axis) = selected(&dim)? {
            let Grouping { index, count, labels, .. } = cycle_groups(cycle, &axis);
            roles.insert(dim.clone(), Role::Cycle { group: index, count });
            renamed.insert(dim.clone(), cycle.name().to_owned());
            out.insert(dim, labels);
        }
    }
    for window in &request.windows {
        match window {
            Window::Time(spec) => {
                let dim = time_dim("time")?;
                if let Labels::Time(axis) = selected(&dim)? {
                    let g = time_windows(spec, &axis)?;
                    roles.insert(dim.clone(), Role::Window { starts: g.sorted_starts.unwrap_or_default() });
                    if let Some(b) = g.bounds {
                        bounds.insert(dim.clone(), b);
                    }
                    out.insert(dim, g.labels);
                }
            }
            Window::Cells(sizes) => {
                for (dim, size) in sizes {
                    if !cube.cube.dims.contains_key(dim) {
                        let has = cube.cube.dims.keys().cloned().collect();
                        return Err(JobError::NoDim { dim: dim.clone(), has });
                    }
                    roles.insert(dim.clone(), Role::Blocks { size: *size });
                    out.insert(dim.clone(), coarse(&selected(dim)?, *size as usize));
                }
            }
        }
    }
    let mut others = Others::Keep;
    match &request.over {
        Over::None => {}
        Over::Dims(dims) => {
            for dim in dims {
                // `--over time --group month`: the dimension is the group's.
                roles.entry(dim.clone()).or_insert(Role::Reduce);
            }
        }
        Over::All => others = Others::Reduce,
        Over::AllBut(kept) => {
            others = Others::Reduce;
            for dim in kept {
                if !cube.cube.dims.contains_key(dim) {
                    return Err(JobError::NoDim { dim: dim.clone(), has: cube.cube.dims.keys().cloned().collect() });
                }
                roles.entry(dim.clone()).or_insert(Role::Keep);
            }
        }
    }
    let job = Job {
        variables: request.variables.clone(),
        formulas: request.formulas.clone(),
        mask: request.mask.clone(),
        selection: selection.clone(),
        roles,
        others,
        statistics: request.statistics.clone(),
    };
    let stages = lower(&cube.cube, &job, &scope)?;
    if request.anomaly == Anomaly::Yes {
        if request.statistics.len() != 1 || stages.iter().any(|s| s.outermost_folded().is_none()) {
            return Err(JobError::Anomaly { statistics: request.statistics.len() });
        }
        let plain = Request {
            over: Over::None,
            statistics: Vec::new(),
            cycle: None,
            windows: Vec::new(),
            anomaly: Anomaly::No,
            variables: stages
                .iter()
                .flat_map(|s| &s.folded)
                .filter(|f| matches!(f.from, chunkwise_core::plan::From::Input(_)))
                .map(|f| f.name.clone())
                .collect(),
            ..request.clone()
        };
        let mut prepared = prepare(cube, &plain)?;
        for (chain, first) in prepared.chains.iter_mut().zip(stages) {
            chain.insert(0, first);
        }
        return Ok(prepared);
    }
    for stage in &stages {
        for d in &stage.dims {
            if d.is_output() && !out.contains_key(&d.name) {
                out.insert(d.name.clone(), selected(&d.name)?);
            }
        }
    }
    let chains = stages.into_iter().map(|s| vec![s]).collect();
    Ok(Prepared { chains, selection, labels: out, renamed, bounds, min_count: request.min_count.unwrap_or(1) })
}

impl Prepared {
    /// Name of a dimension in the output.
    pub fn output_name<'a>(&'a self, dim: &'a str) -> &'a str {
        self.renamed.get(dim).map_or(dim, String::as_str)
    }

    /// The last stage of each chain: what is asked for.
    pub fn results(&self) -> impl Iterator<Item = &Stage> {
        self.chains.iter().filter_map(|c| c.last())
    }

    /// Whether each cell less its group's statistic is asked for.
    pub fn is_anomaly(&self) -> bool {
        self.chains.iter().any(|c| c.len() > 1)
    }

    /// Rows of the result as a table.
    pub fn rows(&self) -> u64 {
        self.results()
            .map(|s| s.output_shape().iter().fold(s.folded.len() as u64, |a, &b| a.saturating_mul(b)))
            .fold(0, u64::saturating_add)
    }

    /// Runs all stages and gives their values as rows: a row for each output cell and variable, a column for each statistic.
    ///
    /// # Errors
    /// More than [`MOST_ROWS`] rows; anything that goes wrong while running.
    pub fn records(
        &self,
        cube: &OpenCube,
        plan: &Planned,
        counters: &Counters,
        options: &RunOptions,
    ) -> Result<Vec<Record>, JobError> {
        let rows = self.rows();
        if rows > MOST_ROWS {
            return Err(JobError::TooManyRows { rows });
        }
        let mut records = Vec::new();
        for (i, chain) in self.chains.iter().enumerate() {
            let Some(stage) = chain.last() else { continue };
            let sink = MemorySink::new(stage);
            self.run_chain(i, cube, plan, &sink, counters, options)?;
            let shape = stage.output_shape();
            let texts: Vec<Vec<Value>> =
                stage.output_dims().map(|i| label_values(&self.labels[&stage.dims[i].name])).collect();
            for (f, columns) in sink.into_columns().iter().enumerate() {
                let folded = &stage.folded[f];
                let times = Times::of(stage, folded);
                for cell in 0..shape.iter().product::<u64>() {
                    let mut record = Record::new();
                    record.insert("variable".to_owned(), folded.name.clone().into());
                    let mut stride: u64 = shape.iter().product();
                    for (k, i) in stage.output_dims().enumerate() {
                        stride /= shape[k];
                        let at = (cell / stride % shape[k]) as usize;
                        record.insert(self.output_name(&stage.dims[i].name).to_owned(), texts[k][at].clone());
                    }
                    for (s, column) in columns.iter().enumerate() {
                        let statistic = folded.statistics[s];
                        let stored = keeps_stored(statistic) && !self.is_anomaly();
                        let packing = if stored { folded.packing } else { Packing::NONE };
                        // Of an anomaly, the statistic of the first stage.
                        let shown = chain[0].folded[f].statistics[s];
                        let value = match times.as_ref().filter(|_| !self.is_anomaly() && shown.keeps_scale()) {
                            Some(times) => times.value(column, cell as usize, packing),
                            None => json_value(column, cell as usize, packing),
                        };
                        record.insert(shown.name().to_owned(), value);
                    }
                    records.push(record);
                }
            }
        }
        Ok(records)
    }
}

/// Whether a statistic's values are in the stored type and packing.
pub fn keeps_stored(statistic: Statistic) -> bool {
    matches!(statistic, Statistic::Min | Statistic::Max | Statistic::First | Statistic::Last | Statistic::Value)
}

/// One cell as JSON: `null` where missing or not a number, integers exact, infinities as text.
pub fn json_value(column: &Column, i: usize, packing: Packing) -> Value {
    if !column.is_valid(i) {
        return Value::Null;
    }
    if packing.is_none() && !column.values.dtype().is_float() {
        let exact = column.values.i128_at(i);
        return match (i64::try_from(exact), u64::try_from(exact)) {
            (Ok(v), _) => v.into(),
            (_, Ok(v)) => v.into(),
            _ => Value::Null,
        };
    }
    let v = column.values.f64_at(i);
    number(if packing.is_none() { v } else { v * packing.scale + packing.offset })
}

/// A number as JSON: `null` where it is none, infinities as text.
pub(crate) fn number(value: f64) -> Value {
    match value {
        v if v == f64::INFINITY => "inf".into(),
        v if v == f64::NEG_INFINITY => "-inf".into(),
        v => v.into(),
    }
}

/// A label as JSON: times in ISO 8601.
pub fn label_value(labels: &Labels, at: usize) -> Value {
    match labels {
        Labels::Index(_) => at.into(),
        Labels::Integer(v) => v.get(at).copied().into(),
        Labels::Number(v) => v.get(at).copied().into(),
        Labels::Text(v) => v.get(at).cloned().into(),
        Labels::Time(axis) => match axis.nanos.get(at) {
            Some(&nanos) if nanos != NOT_A_TIME => format_time(nanos, axis.calendar, true).into(),
            _ => Value::Null,
        },
    }
}

/// Labels as JSON values: times ISO 8601, indices as numbers.
pub fn label_values(labels: &Labels) -> Vec<Value> {
    match labels {
        Labels::Index(n) => (0..*n).map(Value::from).collect(),
        Labels::Integer(v) => v.iter().map(|&v| v.into()).collect(),
        Labels::Number(v) => v.iter().map(|&v| v.into()).collect(),
        Labels::Text(v) => v.iter().map(|v| v.clone().into()).collect(),
        Labels::Time(t) => t.format_all().into_iter().map(|t| t.map_or(Value::Null, Value::from)).collect(),
    }
}

/// The time dimensions of a cube that has not exactly one.
fn times(dims: &[String], single: Option<&str>) -> String {
    match (dims, single) {
        ([], Some(name)) => format!("no time dimension; its `{name}` is a single value"),
        ([], None) => "no time dimension".to_owned(),
        (dims, _) => format!("several time dimensions: `{}`", dims.join("`, `")),
    }
}

/// The selected labels.
fn take(labels: &Labels, indices: &Indices) -> Labels {
    let at = || (0..indices.len()).map(|i| indices.at(i) as usize);
    match labels {
        Labels::Index(_) => match indices {
            Indices::Range { start: 0, step: 1, count } => Labels::Index(*count),
            _ => Labels::Integer(at().map(|i| i as i64).collect()),
        },
        Labels::Integer(v) => Labels::Integer(at().map(|i| v[i]).collect()),
        Labels::Number(v) => Labels::Number(at().map(|i| v[i]).collect()),
        Labels::Text(v) => Labels::Text(at().map(|i| v[i].clone()).collect()),
        Labels::Time(t) => Labels::Time(chunkwise_core::cf::time::TimeAxis {
            calendar: t.calendar,
            nanos: at().map(|i| t.nanos[i]).collect(),
        }),
    }
}

/// Labels of windows of `size` cells: the mean of numbers, the first of others.
fn coarse(labels: &Labels, size: usize) -> Labels {
    let n = labels.len() as usize;
    let starts = || (0..n).step_by(size.max(1));
    match labels {
        Labels::Index(n) => Labels::Index(n.div_ceil(size as u64)),
        Labels::Integer(v) => {
            let numbers: Vec<f64> = v.iter().map(|&v| v as f64).collect();
            Labels::Number(chunkwise_core::group::coarsen_labels(&numbers, size))
        }
        Labels::Number(v) => Labels::Number(chunkwise_core::group::coarsen_labels(v, size)),
        Labels::Text(v) => Labels::Text(starts().map(|i| v[i].clone()).collect()),
        Labels::Time(t) => Labels::Time(chunkwise_core::cf::time::TimeAxis {
            calendar: t.calendar,
            nanos: starts().map(|i| t.nanos[i]).collect(),
        }),
    }
}
