//! Zones that are given cell by cell: a variable, or a formula over a cube.

use super::{ZonesError, centres};
use crate::exec::{Counters, RunOptions, ZoneTiles};
use crate::job::plan::Limits;
use crate::job::{Request, number, prepare};
use crate::open::OpenCube;
use crate::sink::memory::MemorySink;
use chunkwise_core::crs::Crs;
use chunkwise_core::cube::Attrs;
use chunkwise_core::plan::Stage;
use chunkwise_core::plan::schedule::Target;
use chunkwise_core::select::IndexQuery;
use chunkwise_core::zonal::Cover;
use serde_json::Value;
use std::collections::BTreeMap;

/// The name of the formula that gives the zones; no variable of a cube is likely to have it.
const NAME: &str = "chunkwise_zone";

/// No zone.
const NONE: u32 = u32::MAX;

/// The zone of each cell of a grid.
#[derive(Clone, Debug)]
pub struct RasterZones {
    /// The zones' values, ascending; those of flags by their meanings.
    pub ids: Vec<Value>,
    /// Of each cell, rows along y: which zone.
    cells: Vec<u32>,
    /// Centres of the cells along y and x.
    ys: Vec<f64>,
    xs: Vec<f64>,
    /// Their CRS; `None`: that of the cube.
    crs: Option<Crs>,
}

/// A grid, for people.
fn told(ys: &[f64], xs: &[f64]) -> String {
    let axis = |v: &[f64]| match (v.first(), v.last()) {
        (Some(first), Some(last)) => format!("{first} … {last}"),
        _ => "nothing".to_owned(),
    };
    format!("{} × {} cells, y {}, x {}", ys.len(), xs.len(), axis(ys), axis(xs))
}

/// Reads the zones that `formula` gives over `cube`; where it is the name of a variable, its flags name them. What `of` selects
/// along other dimensions than rows and columns is selected here too.
///
/// # Errors
/// What [`prepare`] refuses, more than the two dimensions on the Earth, or a cube that does not fit in `limits`.
pub fn read_raster(
    cube: &OpenCube,
    formula: &str,
    of: &Request,
    limits: Limits,
    options: &RunOptions,
) -> Result<RasterZones, ZonesError> {
    let variable = cube.cube.variables.get(formula);
    let text = match variable {
        Some(v) => format!("{NAME} = \"{}\"", v.name),
        None => format!("{NAME} = {formula}"),
    };
    let mut request = Request { formulas: vec![text], ..Request::default() };
    let named: Vec<String> = variable.iter().map(|v| v.name.clone()).collect();
    let lies = super::lies(cube, &named, &[])?;
    let Some(dims) = &lies.dims else { return Err(super::nowhere(cube)) };
    let other = |dim: &str| dim != dims.y && dim != dims.x && variable.is_none_or(|v| v.dims.iter().any(|d| d == dim));
    request.sel = of.sel.iter().filter(|(dim, _)| other(dim)).cloned().collect();
    request.isel = of.isel.iter().filter(|(dim, _)| other(dim)).cloned().collect();
    let selected = |dim: &str| of.sel.iter().any(|s| s.0 == dim) || of.isel.iter().any(|s| s.0 == dim);
    // A dimension of one cell is no choice.
    for (dim, &n) in &cube.cube.dims {
        let free = variable.is_none_or(|v| v.dims.contains(dim));
        if n == 1 && free && *dim != dims.y && *dim != dims.x && !selected(dim) {
            request.isel.push((dim.clone(), IndexQuery::One(0)));
        }
    }
    let prepared = prepare(cube, &request)?;
    let Some(stage) = prepared.results().next() else { return Err(super::nowhere(cube)) };
    let (y, x) = (place(stage, &dims.y), place(stage, &dims.x));
    let (Some(y), Some(_), 2) = (y, x, stage.dims.len()) else {
        return Err(ZonesError::NotAMap {
            zones: formula.to_owned(),
            has: stage.dims.iter().map(|d| d.name.clone()).collect(),
            dims: format!("{}, {}", dims.y, dims.x),
        });
    };
    let plan = prepared.plan(cube, &[Target::Memory], limits)?;
    let sink = MemorySink::new(stage);
    prepared.run_chain(0, cube, &plan, &sink, &Counters::default(), options)?;
    let column = sink.into_columns().into_iter().flatten().next().ok_or_else(|| super::nowhere(cube))?;
    let shape = stage.output_shape();
    let (rows, columns) = if y == 0 { (shape[0], shape[1]) } else { (shape[1], shape[0]) };
    let at = |row: u64, col: u64| (if y == 0 { row * columns + col } else { col * rows + row }) as usize;
    let value = |i: usize| column.is_valid(i).then(|| column.values.f64_at(i)).filter(|v| !v.is_nan());
    let values =
        (0..rows).flat_map(|row| (0..columns).map(move |col| (row, col))).map(|(row, col)| value(at(row, col)));
    let names = variable.map(|v| meanings(&v.attrs)).unwrap_or_default();
    let (ids, cells) = numbered(values.collect(), &names);
    let (ys, xs) = (centres(cube, &dims.y, &lies), centres(cube, &dims.x, &lies));
    Ok(RasterZones { ids, cells, ys: ys?, xs: xs?, crs: None })
}

/// The values that there are, ascending, and of each cell which one it has.
fn numbered(values: Vec<Option<f64>>, names: &[(f64, String)]) -> (Vec<Value>, Vec<u32>) {
    // -0 is 0.
    let mut seen: BTreeMap<Ordered, u32> = values.iter().flatten().map(|v| (Ordered(v + 0.0), NONE)).collect();
    seen.values_mut().enumerate().for_each(|(n, zone)| *zone = n as u32);
    let cell = |v: Option<f64>| v.and_then(|v| seen.get(&Ordered(v + 0.0)).copied()).unwrap_or(NONE);
    let cells = values.into_iter().map(cell).collect();
    (seen.keys().map(|v| id(v.0, names)).collect(), cells)
}

/// Reads the first band of a GeoTIFF as zones, in no more than `memory` bytes.
///
/// # Errors
/// It cannot be read, does not fit, or has no even grid.
#[cfg(feature = "geotiff")]
pub fn read_geotiff(path: &std::path::Path, memory: u64) -> Result<RasterZones, ZonesError> {
    let map = crate::import::geotiff::read_map(path, 0, memory).map_err(|e| ZonesError::GeoTiff(Box::new(e)))?;
    if map.bands != 1 {
        return Err(ZonesError::Bands { zones: path.display().to_string(), bands: map.bands });
    }
    let transform = map.placement.transform;
    let axes = transform.and_then(|t| Some((t.y_labels(map.rows)?, t.x_labels(map.columns)?)));
    let Some((ys, xs)) = axes else {
        return Err(ZonesError::NoGrid { zones: path.display().to_string() });
    };
    let (ids, cells) = numbered(map.values.iter().map(|v| (!v.is_nan()).then_some(*v)).collect(), &[]);
    Ok(RasterZones { ids, cells, ys, xs, crs: map.placement.crs })
}

fn place(stage: &Stage, dim: &str) -> Option<usize> {
    stage.dims.iter().position(|d| d.name == dim)
}

/// A number that is no `NaN`, in order.
#[derive(Clone, Copy, PartialEq)]
struct Ordered(f64);

impl Eq for Ordered {}

impl PartialOrd for Ordered {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Ordered {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

/// Names of values: `flag_values` with `flag_meanings`, where there are as many of both.
fn meanings(attrs: &Attrs) -> Vec<(f64, String)> {
    let values: Vec<f64> = match attrs.get("flag_values") {
        Some(Value::Array(list)) => list.iter().filter_map(Value::as_f64).collect(),
        Some(one) => one.as_f64().into_iter().collect(),
        None => Vec::new(),
    };
    let names: Vec<String> = match attrs.get("flag_meanings") {
        Some(Value::String(text)) => text.split_whitespace().map(str::to_owned).collect(),
        Some(Value::Array(list)) => list.iter().filter_map(|v| v.as_str().map(str::to_owned)).collect(),
        _ => Vec::new(),
    };
    if values.len() == names.len() { values.into_iter().zip(names).collect() } else { Vec::new() }
}

/// What a zone is called: its meaning, or its value, without a point where it is whole.
fn id(value: f64, names: &[(f64, String)]) -> Value {
    match names.iter().find(|n| n.0 == value) {
        Some((_, name)) => name.clone().into(),
        None if value.fract() == 0.0 && value.abs() < 9e15 => (value as i64).into(),
        None => number(value),
    }
}

impl RasterZones {
    /// The same zones with rows and columns in the order of the cells of a cube; another grid or CRS is refused.
    pub(super) fn on(&self, ys: &[f64], xs: &[f64], crs: Option<&Crs>) -> Result<RasterZones, ZonesError> {
        if let (Some(own), Some(crs)) = (&self.crs, crs)
            && !own.same_as(crs)
        {
            let on = |crs: &Crs, ys: &[f64], xs: &[f64]| format!("{}, {}", crs.label(), told(ys, xs));
            return Err(ZonesError::OtherGrid { zones: on(own, &self.ys, &self.xs), cube: on(crs, ys, xs) });
        }
        let descends = |v: &[f64]| v.first() > v.last();
        let mut turned = self.clone();
        let columns = self.xs.len().max(1);
        if descends(&self.ys) != descends(ys) {
            turned.ys.reverse();
            turned.cells = turned.cells.chunks(columns).rev().flatten().copied().collect();
        }
        if descends(&self.xs) != descends(xs) {
            turned.xs.reverse();
            turned.cells.chunks_mut(columns).for_each(<[u32]>::reverse);
        }
        turned.check(ys, xs)?;
        Ok(turned)
    }

    /// Refuses a grid that is not that of these cells.
    fn check(&self, ys: &[f64], xs: &[f64]) -> Result<(), ZonesError> {
        let same = |a: &[f64], b: &[f64]| {
            let step = a.windows(2).map(|w| (w[1] - w[0]).abs()).fold(f64::INFINITY, f64::min);
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() <= 1e-3 * step.min(1e300))
        };
        match same(&self.ys, ys) && same(&self.xs, xs) {
            true => Ok(()),
            false => Err(ZonesError::OtherGrid { zones: told(&self.ys, &self.xs), cube: told(ys, xs) }),
        }
    }

    /// Which cells of each tile lie in which zones.
    pub(super) fn tiles(&self, stage: &Stage, dims: (usize, usize)) -> ZoneTiles {
        let (y, x) = (&stage.dims[dims.0], &stage.dims[dims.1]);
        let columns = self.xs.len();
        let tile = |row: u64, column: u64| {
            let ((y0, y1), (x0, x1)) = (y.cuts.interval(row), x.cuts.interval(column));
            let mut found: BTreeMap<u32, Cover> = BTreeMap::new();
            let mut cell = 0;
            for i in y0..y1 {
                for j in x0..x1 {
                    let zone = self.cells[y.indices.at(i) as usize * columns + x.indices.at(j) as usize];
                    if zone != NONE {
                        found.entry(zone).or_default().push_whole(cell);
                    }
                    cell += 1;
                }
            }
            found.into_iter().collect()
        };
        let tiles =
            (0..y.cuts.count()).map(|row| (0..x.cuts.count()).map(|column| tile(row, column)).collect()).collect();
        ZoneTiles { zones: self.ids.len(), dims, tiles }
    }
}
