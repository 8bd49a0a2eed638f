//! Values at points: those that share a chunk are read together, so that each chunk is decoded once.

mod groups;
mod sink;

use super::plan::{Explained, Limits, Planned, Refused, TABLE_CELL};
use super::times::Times;
use super::{JobError, Prepared, Record, Request, json_value, label_values, prepare};
use crate::exec::{Counters, RunOptions};
use crate::open::OpenCube;
use chunkwise_core::plan::schedule::Target;
use chunkwise_core::plan::{Folded, Stage};
use chunkwise_core::select::IndexQuery;
use chunkwise_core::values::Column;
use groups::Group;
use serde_json::Value;
use sink::PointsSink;
use std::collections::{BTreeSet, HashMap};

/// A point: its index along some dimensions.
pub type PointAt = Vec<(String, u64)>;

/// Points of a cube, in groups of those that share chunks.
#[derive(Debug)]
pub struct PointSeries {
    of: Request,
    points: Vec<PointAt>,
    kinds: Vec<Kind>,
    groups: Vec<Group>,
    /// Of each point its kind, and its place among those of its kind.
    places: Vec<(usize, usize)>,
}

/// Points that have an index along the same dimensions.
#[derive(Debug)]
struct Kind {
    points: usize,
    /// What is read of one of them; what is left is the same for all.
    one: Prepared,
    tables: Vec<Table>,
}

/// Variables of which the same dimensions are left: they share rows.
#[derive(Debug)]
struct Table {
    dims: Vec<String>,
    labels: Vec<Vec<Value>>,
    cells: usize,
    stages: Vec<usize>,
}

/// The jobs of all groups.
#[derive(Debug)]
pub struct PointsPlan {
    /// All together.
    pub explained: Explained,
    /// Leaves that are read.
    pub leaves: u64,
    limits: Limits,
}

/// A request at some cells along some dimensions, all of which are kept.
fn at_cells<'a>(of: &Request, cells: impl Iterator<Item = (&'a str, Vec<u64>)>) -> Request {
    let mut of = of.clone();
    for (dim, cells) in cells {
        let query = match cells.as_slice() {
            [one] => IndexQuery::Range { start: Some(*one as i64), stop: Some(*one as i64 + 1), step: 1 },
            many => IndexQuery::List(many.iter().map(|&i| i as i64).collect()),
        };
        of.isel.push((dim.to_owned(), query));
    }
    of
}

/// Dimensions of the output that no point has an index along.
fn left<'a>(stage: &'a Stage, point: &'a PointAt) -> impl Iterator<Item = usize> + 'a {
    let picked = |d: usize| point.iter().any(|(dim, _)| *dim == stage.dims[d].name);
    stage.output_dims().enumerate().filter(move |&(_, d)| !picked(d)).map(|(k, _)| k)
}

impl PointSeries {
    /// Finds which points share chunks.
    ///
    /// # Errors
    /// As [`prepare`].
    pub fn new(cube: &OpenCube, of: &Request, points: Vec<PointAt>) -> Result<PointSeries, JobError> {
        let mut kinds: Vec<Kind> = Vec::new();
        let mut known: HashMap<BTreeSet<&str>, usize> = HashMap::new();
        let mut places = Vec::with_capacity(points.len());
        for point in &points {
            let dims: BTreeSet<&str> = point.iter().map(|(dim, _)| dim.as_str()).collect();
            let kind = match known.get(&dims) {
                Some(kind) => *kind,
                None => {
                    let one = prepare(cube, &at_cells(of, point.iter().map(|(dim, i)| (dim.as_str(), vec![*i]))))?;
                    kinds.push(Kind { points: 0, tables: tables(&one, point), one });
                    known.insert(dims, kinds.len() - 1);
                    kinds.len() - 1
                }
            };
            places.push((kind, kinds[kind].points));
            kinds[kind].points += 1;
        }
        let groups = groups::sharing(&points, &places, &kinds.iter().map(|k| &k.one).collect::<Vec<_>>());
        Ok(PointSeries { of: of.clone(), points, kinds, groups, places })
    }

    /// Rows of the table.
    pub fn rows(&self) -> u64 {
        let of = |kind: &Kind| kind.tables.iter().fold(0u64, |all, t| all.saturating_add(t.cells as u64));
        self.kinds.iter().fold(0, |all, kind| all.saturating_add(of(kind).saturating_mul(kind.points as u64)))
    }

    /// Bytes of the values of all points.
    fn bytes(&self) -> u64 {
        let of = |kind: &Kind| -> u64 {
            let stages: Vec<&Stage> = kind.one.results().collect();
            let table = |t: &Table| {
                let columns = t.stages.iter().flat_map(|&s| &stages[s].folded).map(|f| f.element.size() as u64 + 1);
                columns.sum::<u64>().saturating_mul(t.cells as u64)
            };
            kind.tables.iter().map(table).sum::<u64>().saturating_mul(kind.points as u64)
        };
        self.kinds.iter().map(of).fold(0, u64::saturating_add)
    }

    fn prepare(&self, cube: &OpenCube, group: &Group) -> Result<Prepared, JobError> {
        prepare(cube, &at_cells(&self.of, group.cells.iter().map(|(dim, cells)| (dim.as_str(), cells.clone()))))
    }

    /// Columns of values, at most.
    pub fn columns(&self) -> usize {
        let of = |kind: &Kind| {
            let left = kind.tables.iter().map(|t| t.dims.len()).max().unwrap_or(0);
            left + kind.one.results().map(|stage| stage.folded.len()).sum::<usize>()
        };
        self.kinds.iter().map(of).max().unwrap_or(0)
    }

    /// Fits the jobs of all groups into `limits`, beside `cells` cells of a table that is held; also gives the group that
    /// takes most memory, and its plan.
    ///
    /// # Errors
    /// They do not fit.
    pub fn plan(
        &self,
        cube: &OpenCube,
        limits: Limits,
        cells: u64,
    ) -> Result<(PointsPlan, Prepared, Planned), JobError> {
        let own = self.bytes().saturating_add(cells.saturating_mul(TABLE_CELL));
        let inner = Limits { memory: limits.memory.saturating_sub(own), ..limits };
        let mut largest: Option<(Prepared, Planned)> = None;
        let (mut explained, mut leaves): (Option<Explained>, u64) = (None, 0);
        for group in &self.groups {
            let prepared = self.prepare(cube, group)?;
            let mut plan = match prepared.plan(cube, &vec![Target::Nothing; prepared.chains.len()], inner) {
                Ok(plan) if limits.memory > own => plan,
                Ok(plan) => {
                    return Err(Refused { needed: plan.memory.saturating_add(own).next_multiple_of(1 << 20) }.into());
                }
                Err(JobError::Memory(refused)) => {
                    return Err(Refused { needed: refused.needed.saturating_add(own).next_multiple_of(1 << 20) }.into());
                }
                Err(other) => return Err(other),
            };
            plan.memory = plan.memory.saturating_add(own);
            let mut of = prepared.explain(cube, &plan)?;
            self.count_outputs(group, &mut of);
            leaves = leaves.saturating_add(prepared.leaves(&plan));
            explained = Some(match explained {
                None => of,
                Some(before) => before.plus(of),
            });
            if largest.as_ref().is_none_or(|(_, most)| plan.memory > most.memory) {
                largest = Some((prepared, plan));
            }
        }
        match (largest, explained) {
            (Some((prepared, plan)), Some(explained)) => {
                Ok((PointsPlan { explained, leaves, limits: inner }, prepared, plan))
            }
            _ => Err(JobError::NoPoints),
        }
    }

    /// Of the cells of a group, those that are points are kept.
    fn count_outputs(&self, group: &Group, explained: &mut Explained) {
        let kind = &self.kinds[group.kind];
        explained.total.output_bytes = 0;
        for (s, (stage, of)) in kind.one.results().zip(&mut explained.stages).enumerate() {
            let cells = kind.tables.iter().find(|t| t.stages.contains(&s)).map_or(0, |t| t.cells);
            of.figures.output_bytes = (8 * cells * stage.folded.len() * group.points.len()) as u64;
            explained.total.output_bytes += of.figures.output_bytes;
        }
    }

    /// Runs, and gives each row to `each` with the number of its point, in the order of points: `head`, then the dimensions
    /// that are left, and a column for each variable.
    ///
    /// # Errors
    /// Anything that goes wrong while running; that of `each`.
    pub fn run<E: From<JobError>>(
        &self,
        cube: &OpenCube,
        plan: &PointsPlan,
        counters: &Counters,
        options: &RunOptions,
        head: impl Fn(usize) -> Record,
        mut each: impl FnMut(Record) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut values = Vec::new();
        for kind in &self.kinds {
            let of_stage = |s: usize, stage: &Stage| {
                let cells = kind.tables.iter().find(|t| t.stages.contains(&s)).map_or(0, |t| t.cells);
                sink::empty(stage, cells * kind.points)
            };
            values.push(kind.one.results().enumerate().map(|(s, stage)| of_stage(s, stage)).collect::<Vec<_>>());
        }
        for group in &self.groups {
            let prepared = self.prepare(cube, group)?;
            let targets = vec![Target::Nothing; prepared.chains.len()];
            let own = prepared.plan(cube, &targets, plan.limits)?;
            for (i, stage) in prepared.results().enumerate() {
                let point = &self.points[group.points[0]];
                let members = group.points.iter().map(|&p| (self.places[p].1, &self.points[p]));
                let sink = PointsSink::new(stage, left(stage, point), group, members, &values[group.kind][i]);
                prepared.run_chain(i, cube, &own, &sink, counters, options)?;
            }
            counters.end_job();
        }
        let values: Vec<Vec<Vec<Column>>> =
            values.into_iter().map(|k| k.into_iter().map(sink::finished).collect()).collect();
        for (n, &(kind, place)) in self.places.iter().enumerate() {
            let head = head(n);
            for table in &self.kinds[kind].tables {
                self.kinds[kind].rows(table, &values[kind], place, &head, &mut each)?;
            }
        }
        Ok(())
    }
}

impl Kind {
    /// The rows of one point in one table.
    fn rows<E>(
        &self,
        table: &Table,
        values: &[Vec<Column>],
        place: usize,
        head: &Record,
        each: &mut impl FnMut(Record) -> Result<(), E>,
    ) -> Result<(), E> {
        let stages: Vec<&Stage> = self.one.results().collect();
        let mut columns: Vec<(&Folded, &Column, Option<Times>)> = Vec::new();
        for &s in &table.stages {
            columns.extend(stages[s].folded.iter().zip(&values[s]).map(|(f, c)| (f, c, Times::of(stages[s], f))));
        }
        for cell in 0..table.cells {
            let mut row = head.clone();
            let mut stride = table.cells;
            for (dim, labels) in table.dims.iter().zip(&table.labels) {
                stride /= labels.len().max(1);
                row.insert(dim.clone(), labels[cell / stride % labels.len()].clone());
            }
            for (folded, column, times) in &columns {
                let i = place * table.cells + cell;
                let value = match times {
                    Some(times) => times.value(column, i, folded.packing),
                    None => json_value(column, i, folded.packing),
                };
                row.insert(folded.name.clone(), value);
            }
            each(row)?;
        }
        Ok(())
    }
}

/// Variables by the dimensions that are left of them.
fn tables(one: &Prepared, point: &PointAt) -> Vec<Table> {
    let mut tables: Vec<Table> = Vec::new();
    for (s, stage) in one.results().enumerate() {
        let outputs: Vec<usize> = stage.output_dims().collect();
        let dims: Vec<String> = left(stage, point).map(|k| stage.dims[outputs[k]].name.clone()).collect();
        match tables.iter_mut().find(|t| t.dims == dims) {
            Some(table) => table.stages.push(s),
            None => {
                let labels: Vec<Vec<Value>> = dims.iter().map(|dim| label_values(&one.labels[dim])).collect();
                let cells = labels.iter().map(Vec::len).product();
                tables.push(Table { dims, labels, cells, stages: vec![s] });
            }
        }
    }
    tables
}
