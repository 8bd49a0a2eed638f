//! Statistics of zones: polygons, or the cells of a raster.

mod raster;
mod rasterize;

#[cfg(feature = "geotiff")]
pub use raster::read_geotiff;
pub use raster::{RasterZones, read_raster};
pub use rasterize::{Burn, BurnCost, Burnt};

use super::plan::{Limits, Planned};
use super::{JobError, OtherAxes, Over, Prepared, Record, Request, label_values, number, plane, prepare};
use crate::exec::{Counters, RunOptions, StageSchedule, ZonalJob, ZoneTable, ZoneTiles, run_zones};
use crate::open::OpenCube;
use chunkwise_core::crs::{Crs, CrsError, Georeference, Transformer};
use chunkwise_core::cube::Labels;
use chunkwise_core::grid::Indices;
use chunkwise_core::plan::Stage;
use chunkwise_core::stat::Statistic;
use chunkwise_core::zonal::{Cover, Polygon, Rows, Tally, Touch, Weighting, ZonalStatistic, cover};
use serde_json::Value;
use thiserror::Error;

/// Polygons by what they are called.
#[derive(Clone, Debug, Default)]
pub struct Zones {
    /// What each is called.
    pub ids: Vec<Value>,
    /// The polygons, in `crs`.
    pub polygons: Vec<Polygon>,
    /// Their CRS; `None`: that of the cube.
    pub crs: Option<Crs>,
}

/// What zones are.
#[derive(Clone, Debug)]
pub enum ZonesOf {
    /// Polygons.
    Polygons(Zones),
    /// Cells of a grid.
    Raster(RasterZones),
}

/// What is asked of zones.
#[derive(Clone, Debug)]
pub struct ZonalRequest {
    /// What of the cube; its dimensions and statistics are not looked at.
    pub of: Request,
    /// Statistics, with the names of their columns.
    pub statistics: Vec<(String, ZonalStatistic)>,
    /// Which cells belong to a zone.
    pub touch: Touch,
}

/// Why zones do not fit a cube.
#[derive(Debug, Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum ZonesError {
    #[error(transparent)]
    Job(#[from] JobError),
    #[error(transparent)]
    Crs(Box<CrsError>),
    #[error("`{variable}` has no two dimensions along which it lies on the Earth; it has {}", .has.join(", "))]
    NoPlane { variable: String, has: Vec<String> },
    #[error("`{one}` and `{other}` lie along other axes; name one of them with `--var`")]
    TwoPlanes { one: String, other: String },
    #[error("the cells along `{dim}` cannot be placed: {reason}")]
    Unplaced { dim: String, reason: &'static str },
    #[error("`{zones}` gives no map of zones: it has the dimensions {}, where {dims} are wanted", .has.join(", "))]
    NotAMap { zones: String, has: Vec<String>, dims: String },
    #[error("the zones lie on another grid: {zones}; the cube has {cube}")]
    OtherGrid { zones: String, cube: String },
    #[error("`{zones}` has {bands} bands; zones are one")]
    Bands { zones: String, bands: u64 },
    #[error("`{zones}` has no even grid with its rows along y")]
    NoGrid { zones: String },
    #[cfg(feature = "geotiff")]
    #[error(transparent)]
    GeoTiff(Box<crate::import::ImportError>),
    #[error("`{dtype}` does not hold the numbers of all zones and one more, for cells in none")]
    Numbers { dtype: &'static str },
    #[error("zone {zone} has no place in the CRS of the cube: {source}")]
    Outside { zone: Value, source: Box<CrsError> },
}

impl From<CrsError> for ZonesError {
    fn from(error: CrsError) -> ZonesError {
        ZonesError::Crs(Box::new(error))
    }
}

/// Zones on the grid of a cube.
#[derive(Debug)]
pub struct PlacedZones {
    /// The CRS of the cube, where it has one.
    pub crs: Option<Crs>,
    /// Zones with an edge of more than half a turn of longitude, which may be meant to cross the seam.
    pub wide: Vec<Value>,
    tiles: Vec<ZoneTiles>,
    ids: Vec<Value>,
    names: Vec<String>,
    job: ZonalJob,
}

impl PlacedZones {
    /// Finds which cells of `cube` lie in which zones; and the stages, of which the spatial dimensions are reduced.
    ///
    /// # Errors
    /// Cells that cannot be placed, zones that have no place in the CRS of the cube, or what [`prepare`] refuses.
    pub fn new(
        cube: &OpenCube,
        request: &ZonalRequest,
        zones: &ZonesOf,
    ) -> Result<(PlacedZones, Prepared), ZonesError> {
        let plane = lies(cube, &request.of.variables, &request.of.formulas)?;
        let Some(dims) = &plane.dims else { return Err(nowhere(cube)) };
        let of = Request {
            over: Over::Dims(vec![dims.y.clone(), dims.x.clone()]),
            statistics: vec![Statistic::Mean],
            cycle: None,
            windows: Vec::new(),
            ..request.of.clone()
        };
        let prepared = prepare(cube, &of)?;
        let (ys, xs) = (centres(cube, &dims.y, &plane)?, centres(cube, &dims.x, &plane)?);
        let mut wide = Vec::new();
        let on_axes = match zones {
            ZonesOf::Polygons(zones) => {
                OnAxes::Polygons(Placed::new(zones, &plane, (&dims.y, &ys), (&dims.x, &xs), &mut wide)?, request.touch)
            }
            ZonesOf::Raster(raster) => OnAxes::Raster(Box::new(raster.on(&ys, &xs, plane.crs.as_ref())?)),
        };
        let mut tiles = Vec::new();
        for stage in prepared.results() {
            let place = |dim: &str| stage.dims.iter().position(|d| d.name == dim);
            let (Some(y), Some(x)) = (place(&dims.y), place(&dims.x)) else { return Err(nowhere(cube)) };
            tiles.push(match &on_axes {
                OnAxes::Polygons(placed, touch) => placed.tiles(stage, (y, x), *touch)?,
                OnAxes::Raster(raster) => raster.tiles(stage, (y, x)),
            });
        }
        let (ids, weighting) = match (zones, request.touch) {
            (ZonesOf::Polygons(zones), Touch::Coverage) => (&zones.ids, Weighting::Fractions),
            (ZonesOf::Polygons(zones), _) => (&zones.ids, Weighting::Whole),
            (ZonesOf::Raster(raster), _) => (&raster.ids, Weighting::Whole),
        };
        let statistics = request.statistics.iter().map(|s| s.1).collect();
        let names = request.statistics.iter().map(|s| s.0.clone()).collect();
        let job = ZonalJob { statistics, weighting };
        Ok((PlacedZones { crs: plane.crs, wide, tiles, ids: ids.clone(), names, job }, prepared))
    }

    /// Whether no zone has a cell of the cube.
    pub fn are_outside(&self) -> bool {
        self.tiles.iter().all(|tiles| tiles.touched() == 0)
    }

    /// The columns of counts.
    pub fn counts(&self) -> impl Iterator<Item = &str> {
        let named = self.names.iter().zip(&self.job.statistics);
        named.filter(|(_, statistic)| statistic.is_count()).map(|(name, _)| name.as_str())
    }

    /// What the zones are called.
    pub fn ids(&self) -> &[Value] {
        &self.ids
    }

    /// Rows of the result.
    pub fn rows(&self, prepared: &Prepared) -> u64 {
        prepared.rows().saturating_mul(self.ids.len() as u64)
    }

    /// Fits the request into `limits`.
    ///
    /// # Errors
    /// It does not fit.
    pub fn plan(&self, prepared: &Prepared, cube: &OpenCube, limits: Limits) -> Result<Planned, JobError> {
        let own = prepared.results().zip(&self.tiles).map(|(s, t)| self.bytes(s, t, limits.threads)).max();
        prepared.plan_beside(cube, own.unwrap_or(0), limits)
    }

    /// Bytes of tallies and of the table, beside what the walk takes.
    fn bytes(&self, stage: &Stage, tiles: &ZoneTiles, threads: usize) -> u64 {
        let product = |of: &dyn Fn(usize) -> u64| stage.output_dims().map(of).fold(1, u64::saturating_mul);
        let patch = product(&|d| stage.dims[d].longest_patch());
        let leaf = product(&|d| stage.dims[d].cuts.longest());
        let (zones, folded) = (tiles.zones as u64, stage.folded.len() as u64);
        let tally = size_of::<Tally>() as u64 + 8;
        // A zone is kept from its first tile to its last; where a patch goes over its tiles more than once, to the end.
        let once = stage.output_dims().all(|d| stage.dims[d].longest_patch() <= stage.dims[d].cuts.longest());
        let open = if once { tiles.most_open() } else { tiles.touched() };
        let states = open.saturating_mul(patch).saturating_mul(folded).saturating_mul(tally);
        let window = window(threads) as u64;
        let waiting = tiles.most_zones().saturating_mul(leaf).saturating_mul(folded).saturating_mul(tally);
        let cells: u64 = stage.dims.iter().map(|d| d.cuts.longest()).fold(8, u64::saturating_mul);
        let values = match self.job.statistics.iter().any(|s| s.needs_values()) {
            true => tiles.covered().saturating_mul(patch).saturating_mul(folded).saturating_mul(2 * 16),
            false => 0,
        };
        let columns = self.job.statistics.len() as u64 * folded;
        let table = stage.output_shape().iter().fold(zones, |a, &b| a.saturating_mul(b)).saturating_mul(8 * columns);
        let each = waiting.saturating_add(cells).saturating_mul(window);
        [states, each, values, table].into_iter().fold(0, u64::saturating_add)
    }

    /// Runs, and gives each row to `each`: by variable, zone, and the dimensions that are left.
    ///
    /// # Errors
    /// Anything that goes wrong while running; that of `each`.
    pub fn run<E: From<JobError>>(
        &self,
        prepared: &Prepared,
        cube: &OpenCube,
        plan: &Planned,
        counters: &Counters,
        options: &RunOptions,
        mut each: impl FnMut(Record) -> Result<(), E>,
    ) -> Result<(), E> {
        for (i, (stage, tiles)) in prepared.results().zip(&self.tiles).enumerate() {
            let schedule = &plan.schedules[i];
            let how = StageSchedule {
                walk: &schedule.walks[0],
                threads: schedule.threads,
                window: window(schedule.threads).min(schedule.window.max(1)),
                ahead: None,
                fetch: plan.fetch,
                index_bytes: plan.index_bytes,
            };
            let table = run_zones(stage, &cube.store, tiles, &self.job, counters, options, how)
                .map_err(|e| E::from(JobError::from(e)))?;
            counters.end_chain();
            self.rows_of(prepared, stage, &table, &mut each)?;
        }
        Ok(())
    }

    fn rows_of<E>(
        &self,
        prepared: &Prepared,
        stage: &Stage,
        table: &ZoneTable,
        each: &mut impl FnMut(Record) -> Result<(), E>,
    ) -> Result<(), E> {
        let shape = stage.output_shape();
        let cells = shape.iter().product::<u64>() as usize;
        let dims: Vec<(&str, Vec<Value>)> = stage
            .output_dims()
            .map(|d| &stage.dims[d].name)
            .map(|name| (name.as_str(), label_values(&prepared.labels[name])))
            .collect();
        for (folded, columns) in stage.folded.iter().zip(&table.columns) {
            for (zone, id) in self.ids.iter().enumerate() {
                for cell in 0..cells {
                    let mut record = Record::new();
                    record.insert("variable".to_owned(), folded.name.clone().into());
                    record.insert("zone".to_owned(), id.clone());
                    let mut stride = cells;
                    for ((name, labels), &n) in dims.iter().zip(&shape) {
                        stride /= n as usize;
                        record.insert((*name).to_owned(), labels[cell / stride % n as usize].clone());
                    }
                    for ((name, column), statistic) in self.names.iter().zip(columns).zip(&self.job.statistics) {
                        let value = column[zone * cells + cell];
                        let shown = match value {
                            v if statistic.is_count() && !v.is_nan() => (v as u64).into(),
                            v => number(v),
                        };
                        record.insert(name.clone(), shown);
                    }
                    each(record)?;
                }
            }
        }
        Ok(())
    }
}

/// Zones on the axes of a cube.
enum OnAxes {
    Polygons(Placed, Touch),
    Raster(Box<RasterZones>),
}

/// Polygons on the axes of a cube, which ascend: one that descends is mirrored, and the polygons with it.
#[derive(Debug)]
struct Placed {
    polygons: Vec<Polygon>,
    y_edges: Vec<f64>,
    x_edges: Vec<f64>,
    rows: Rows,
}

impl Placed {
    /// `wide` gets the zones with an edge of more than half a turn.
    fn new(
        zones: &Zones,
        plane: &Georeference,
        (y, ys): (&str, &[f64]),
        (x, xs): (&str, &[f64]),
        wide: &mut Vec<Value>,
    ) -> Result<Placed, ZonesError> {
        let transformer = match (&zones.crs, &plane.crs) {
            (Some(from), Some(to)) => Some(Transformer::new(from, to)?),
            _ => None,
        };
        let (y_edges, x_edges) = (edges(y, ys)?, edges(x, xs)?);
        let (sx, sy) = (sense(&x_edges), sense(&y_edges));
        let turn = plane.longitudes().map(|_| 360.0);
        let mut polygons = Vec::with_capacity(zones.polygons.len());
        for (polygon, id) in zones.polygons.iter().zip(&zones.ids) {
            let moved = match &transformer {
                None => polygon.clone(),
                Some(t) => polygon
                    .map(|(x, y)| t.point(x, y))
                    .map_err(|e| ZonesError::Outside { zone: id.clone(), source: Box::new(e) })?,
            };
            let moved = match turn {
                None => moved,
                Some(turn) => {
                    if moved.longest_step() > turn / 2.0 {
                        wide.push(id.clone());
                    }
                    turned(&moved, turn, &x_edges)
                }
            };
            polygons.push(moved.map(|(x, y)| Ok::<_, CrsError>((sx * x, sy * y)))?);
        }
        let rows = if sy > 0.0 { Rows::Up } else { Rows::Down };
        Ok(Placed { polygons, y_edges: mirrored(&y_edges, sy), x_edges: mirrored(&x_edges, sx), rows })
    }

    /// Which cells of each tile lie in which polygons.
    fn tiles(&self, stage: &Stage, dims: (usize, usize), touch: Touch) -> Result<ZoneTiles, ZonesError> {
        let (ys, xs) = (selected(stage, dims.0, &self.y_edges)?, selected(stage, dims.1, &self.x_edges)?);
        Ok(self.zone_tiles(stage, dims, &ys, &xs, touch))
    }

    fn zone_tiles(&self, stage: &Stage, dims: (usize, usize), ys: &[f64], xs: &[f64], touch: Touch) -> ZoneTiles {
        let borders = |d: usize, edges: &[f64]| -> Vec<(usize, usize)> {
            let cuts = &stage.dims[d].cuts;
            let intervals = (0..cuts.count()).map(|i| cuts.interval(i));
            intervals.map(|(a, b)| (a as usize, b as usize)).filter(|&(_, b)| b < edges.len()).collect()
        };
        let (rows, columns) = (borders(dims.0, ys), borders(dims.1, xs));
        let mut tiles: Vec<Vec<Vec<(u32, Cover)>>> =
            rows.iter().map(|_| columns.iter().map(|_| Vec::new()).collect()).collect();
        let touched = |cuts: &[(usize, usize)], edges: &[f64], low: f64, high: f64| {
            let first = cuts.partition_point(|&(_, b)| edges[b] <= low);
            let last = cuts.partition_point(|&(a, _)| edges[a] < high);
            first..last.max(first)
        };
        for (zone, polygon) in self.polygons.iter().enumerate() {
            let Some([west, south, east, north]) = polygon.bounds() else { continue };
            for row in touched(&rows, ys, south, north) {
                for column in touched(&columns, xs, west, east) {
                    let ((y0, y1), (x0, x1)) = (rows[row], columns[column]);
                    let found = cover(polygon, &xs[x0..=x1], &ys[y0..=y1], self.rows, touch);
                    if !found.is_empty() {
                        tiles[row][column].push((zone as u32, found));
                    }
                }
            }
        }
        ZoneTiles { zones: self.polygons.len(), dims, tiles }
    }
}

/// Leaves in work at once.
fn window(threads: usize) -> usize {
    2 * threads.max(1)
}

/// How what is asked for lies on the Earth.
fn lies(cube: &OpenCube, variables: &[String], formulas: &[String]) -> Result<Georeference, ZonesError> {
    match plane(&cube.cube, variables, formulas) {
        Ok(found) => found.ok_or_else(|| nowhere(cube)),
        Err(OtherAxes { one, other }) => Err(ZonesError::TwoPlanes { one, other }),
    }
}

fn nowhere(cube: &OpenCube) -> ZonesError {
    let first = cube.cube.data_variables().next();
    let has = first.map(|v| v.dims.clone()).unwrap_or_default();
    ZonesError::NoPlane { variable: first.map(|v| v.name.clone()).unwrap_or_default(), has }
}

/// Where the centres of all cells along a dimension lie.
fn centres(cube: &OpenCube, dim: &str, plane: &Georeference) -> Result<Vec<f64>, ZonesError> {
    let unplaced = |reason| ZonesError::Unplaced { dim: dim.to_owned(), reason };
    if cube.cube.coordinate(dim).is_some() {
        return match &*cube.labels(dim).map_err(JobError::from)? {
            Labels::Number(v) => Ok(v.clone()),
            Labels::Integer(v) => Ok(v.iter().map(|&v| v as f64).collect()),
            _ => Err(unplaced("its labels are no numbers")),
        };
    }
    let n = cube.cube.dims.get(dim).copied().unwrap_or(0);
    let transform = plane.transform.as_ref().ok_or_else(|| unplaced("it has no coordinate"))?;
    let is_x = plane.dims.as_ref().is_some_and(|d| d.x == dim);
    let found = if is_x { transform.x_labels(n) } else { transform.y_labels(n) };
    found.ok_or_else(|| unplaced("the grid is rotated"))
}

/// Edges of cells: half-way between centres, and as far beyond the first and the last.
fn edges(dim: &str, centres: &[f64]) -> Result<Vec<f64>, ZonesError> {
    let unplaced = |reason| ZonesError::Unplaced { dim: dim.to_owned(), reason };
    let [first, second, ..] = centres else { return Err(unplaced("one cell alone has no known width")) };
    let (last, before) = (centres[centres.len() - 1], centres[centres.len() - 2]);
    let mut edges = vec![first - (second - first) / 2.0];
    edges.extend(centres.windows(2).map(|w| f64::midpoint(w[0], w[1])));
    edges.push(last + (last - before) / 2.0);
    let up = edges.windows(2).all(|w| w[0] < w[1]);
    let down = edges.windows(2).all(|w| w[0] > w[1]);
    if up || down { Ok(edges) } else { Err(unplaced("its labels neither ascend nor descend throughout")) }
}

fn sense(edges: &[f64]) -> f64 {
    if edges.first() <= edges.last() { 1.0 } else { -1.0 }
}

fn mirrored(edges: &[f64], sense: f64) -> Vec<f64> {
    edges.iter().map(|e| e * sense).collect()
}

/// The polygon in every turn in which it meets the axis: longitudes repeat.
fn turned(polygon: &Polygon, turn: f64, edges: &[f64]) -> Polygon {
    let (a, b) = (edges[0], edges[edges.len() - 1]);
    let (west, east) = (a.min(b), a.max(b));
    let Some([w, _, e, _]) = polygon.bounds() else { return Polygon::default() };
    let mut all = Polygon::default();
    let first = ((west - e) / turn).ceil() as i64;
    let last = ((east - w) / turn).floor() as i64;
    for n in first..=last {
        let moved = polygon.map(|(x, y)| Ok::<_, std::convert::Infallible>((x + n as f64 * turn, y)));
        all.join(moved.unwrap_or_default());
    }
    all
}

/// The edges of the selected cells.
fn selected(stage: &Stage, dim: usize, edges: &[f64]) -> Result<Vec<f64>, ZonesError> {
    let unplaced = |reason| ZonesError::Unplaced { dim: stage.dims[dim].name.clone(), reason };
    match stage.dims[dim].indices {
        Indices::Range { start, step, count } if step == 1 || count == 1 => {
            let (start, end) = (start as usize, (start + count) as usize);
            Ok(edges.get(start..=end).ok_or_else(|| unplaced("its coordinate is shorter than it"))?.to_vec())
        }
        _ => Err(unplaced("a selection with gaps leaves no grid; select a range")),
    }
}
