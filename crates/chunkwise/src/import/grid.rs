//! The grid of the cube, and how the cells of a source lie on it.

use super::ImportError;
use super::source::Placement;
use chunkwise_core::crs::{Crs, GridTransform, Transformer};
use serde::Serialize;

/// Cells along a side of a grid, at most.
const MOST_CELLS: f64 = (1u64 << 27) as f64;
/// Part of a cell by which edges may lie beside the lines of a grid.
const SLACK: f64 = 1e-6;

/// A grid of cells: rows along y, columns along x.
#[derive(Clone, Debug)]
pub struct Grid {
    /// CRS of the transform.
    pub crs: Option<Crs>,
    /// From columns and rows to x and y; `None`: cells that lie nowhere.
    pub transform: Option<GridTransform>,
    /// Cells along x.
    pub columns: u64,
    /// Cells along y.
    pub rows: u64,
}

/// How values get from one grid to another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Resampling {
    /// The value of the cell that the centre lies in.
    #[default]
    Nearest,
    /// The mean of the four nearest, weighted by distance (of more where cells become larger).
    Bilinear,
    /// The mean of all, weighted by the part that lies within the new cell.
    Average,
}

impl Resampling {
    /// By name.
    pub fn from_name(name: &str) -> Option<Resampling> {
        Some(match name {
            "nearest" => Resampling::Nearest,
            "bilinear" => Resampling::Bilinear,
            "average" => Resampling::Average,
            _ => return None,
        })
    }
}

/// What grid is asked for.
#[derive(Clone, Debug)]
pub struct GridRequest {
    /// CRS; `None`: that of the files.
    pub crs: Option<Crs>,
    /// Width and height of a cell.
    pub resolution: (f64, f64),
    /// West, south, east, north; `None`: around all files.
    pub bounds: Option<[f64; 4]>,
}

impl Grid {
    /// For messages.
    pub fn told(&self) -> String {
        let cells = format!("{} × {} cells", self.rows, self.columns);
        let crs = self.crs.as_ref().map_or_else(|| "no CRS".to_owned(), Crs::label);
        match &self.transform {
            Some(t) => format!("{cells} of {} × {} from x = {}, y = {} in {crs}", t.a, t.e, t.origin_x, t.origin_y),
            None => format!("{cells} that lie nowhere"),
        }
    }

    /// Whether the cells are the same, but for the last digits of the transform.
    pub fn same_cells(&self, other: &Grid) -> bool {
        let near = |a: &GridTransform, b: &GridTransform| {
            let (c, r) = (self.columns as f64, self.rows as f64);
            let corner =
                |t: &GridTransform, x: f64, y: f64| (t.origin_x + x * t.a + y * t.b, t.origin_y + x * t.d + y * t.e);
            let (w, h) = (a.a.hypot(a.d), a.b.hypot(a.e));
            [(0.0, 0.0), (c, 0.0), (0.0, r), (c, r)].iter().all(|&(x, y)| {
                let ((ax, ay), (bx, by)) = (corner(a, x, y), corner(b, x, y));
                (ax - bx).abs() <= w * 1e-4 && (ay - by).abs() <= h * 1e-4
            })
        };
        let same = match (&self.transform, &other.transform) {
            (Some(a), Some(b)) => near(a, b),
            (None, None) => true,
            _ => false,
        };
        (self.columns, self.rows) == (other.columns, other.rows) && same
    }

    /// The grid asked for, around `sources`.
    ///
    /// Its lines are multiples of the resolution, as those of `gdalwarp -tap`.
    ///
    /// # Errors
    /// A source that lies nowhere, edges that have no place in the CRS, a box that is none, or too many cells.
    pub fn asked<'a>(
        request: &GridRequest,
        sources: impl Iterator<Item = (&'a str, &'a Placement, (u64, u64))>,
    ) -> Result<Grid, ImportError> {
        let (rx, ry) = request.resolution;
        if [rx, ry].iter().any(|v| !v.is_finite() || *v <= 0.0) {
            return Err(ImportError::asked(
                format!("cells of {rx} × {ry} are none"),
                "write `--res 30` or `--res 30,60`",
            ));
        }
        let mut crs = request.crs.clone();
        let mut around: Option<[f64; 4]> = request.bounds;
        for (location, placement, size) in sources {
            let (own, transform) = placed(location, placement)?;
            let crs: &Crs = crs.get_or_insert_with(|| own.clone());
            if request.bounds.is_some() {
                continue;
            }
            let [west, south, east, north] = bounds(own, crs, &transform, size)?;
            around = Some(match around {
                None => [west, south, east, north],
                Some([w, s, e, n]) => [w.min(west), s.min(south), e.max(east), n.max(north)],
            });
        }
        let Some([west, south, east, north]) = around else {
            return Err(ImportError::asked("there are no files", ""));
        };
        if [west, south, east, north].iter().any(|v| v.is_nan()) || west >= east || south >= north {
            return Err(ImportError::asked(
                format!("`{west},{south},{east},{north}` is no box of the grid"),
                "write `--bounds W,S,E,N` in the CRS of the cube",
            ));
        }
        let low = |v: f64, res: f64| (v / res + SLACK).floor();
        let high = |v: f64, res: f64| (v / res - SLACK).ceil();
        let (left, right, bottom, top) = (low(west, rx), high(east, rx), low(south, ry), high(north, ry));
        let (columns, rows) = (right - left, top - bottom);
        if columns.max(rows) > MOST_CELLS || columns.is_nan() || rows.is_nan() {
            return Err(ImportError::asked(
                format!("cells of {rx} × {ry} make a grid of {rows:.0} × {columns:.0}, which is too many"),
                "`--res` is in the units of the CRS: metres, or degrees",
            ));
        }
        let transform = GridTransform::from_gdal([left * rx, rx, 0.0, top * ry, 0.0, -ry]);
        Ok(Grid { crs, transform, columns: columns as u64, rows: rows as u64 })
    }
}

/// CRS and transform of a source that is to be aligned.
fn placed<'a>(location: &str, placement: &'a Placement) -> Result<(&'a Crs, GridTransform), ImportError> {
    let unfit = |what: &str| ImportError::unfit(location, format!("cannot be aligned: it has no {what}"), "");
    let transform = placement.transform.ok_or_else(|| match placement.control_points {
        0 => unfit("transform"),
        n => control_points(location, n),
    })?;
    Ok((placement.crs.as_ref().ok_or_else(|| unfit("CRS"))?, transform))
}

/// A file that is placed by control points alone.
pub(super) fn control_points(location: &str, points: usize) -> ImportError {
    ImportError::unfit(
        location,
        format!("is placed by {points} ground control points, and not by a grid"),
        "make a grid of it first, as with `gdalwarp`",
    )
}

/// West, south, east, north of a source in another CRS.
fn bounds(
    from: &Crs,
    to: &Crs,
    transform: &GridTransform,
    (columns, rows): (u64, u64),
) -> Result<[f64; 4], ImportError> {
    let [west, south, east, north] = transform.bbox(columns, rows);
    if from.same_as(to) {
        return Ok([west, south, east, north]);
    }
    let found = Transformer::new(from, to)?.bbox(west, south, east, north)?;
    if found.west > found.east {
        return Err(ImportError::asked(
            format!("the files lie across the 180th meridian of `{}`", to.label()),
            "give the box with `--bounds W,S,E,N`, or a CRS that has no seam there",
        ));
    }
    Ok(found.array())
}

/// How the cells of one grid lie on another.
#[derive(Clone, Debug)]
pub(super) struct Mapping {
    /// Columns and rows of the source.
    pub(super) size: (u64, u64),
    /// Columns and rows of the target that it may cover: first and last (excluded).
    pub(super) covers: Covers,
    pub(super) way: Way,
}

/// A part of the target: columns, rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Covers {
    pub(super) x: (u64, u64),
    pub(super) y: (u64, u64),
}

#[derive(Clone, Debug)]
pub(super) enum Way {
    /// Column and row of the source are those of the target, less these.
    Copy { dx: i64, dy: i64 },
    /// By coordinates.
    Warp(Box<Warp>),
}

/// From cells of the target to columns and rows of the source.
#[derive(Clone, Debug)]
pub(super) struct Warp {
    target: GridTransform,
    /// From the CRS of the target to that of the source; `None` where they are the same.
    transformer: Option<Transformer>,
    source: GridTransform,
    /// Of the source's inverse.
    determinant: f64,
    /// Target cells in one source cell, along x and y.
    pub(super) scale: (f64, f64),
}

impl Warp {
    /// Column and row of the source, of a column and row of the target; `None` where there is none.
    pub(super) fn point(&self, column: f64, row: f64) -> Option<(f64, f64)> {
        let t = &self.target;
        let (x, y) = (t.origin_x + column * t.a + row * t.b, t.origin_y + column * t.d + row * t.e);
        let (x, y) = match &self.transformer {
            None => (x, y),
            Some(transformer) => transformer.point(x, y).ok()?,
        };
        let s = &self.source;
        let (x, y) = (x - s.origin_x, y - s.origin_y);
        let found = ((x * s.e - y * s.b) / self.determinant, (y * s.a - x * s.d) / self.determinant);
        (found.0.is_finite() && found.1.is_finite()).then_some(found)
    }
}

impl Mapping {
    /// The cells of a grid on themselves.
    pub(super) fn same(grid: &Grid) -> Mapping {
        let covers = Covers { x: (0, grid.columns), y: (0, grid.rows) };
        Mapping { size: (grid.columns, grid.rows), covers, way: Way::Copy { dx: 0, dy: 0 } }
    }

    /// How a source lies on a grid.
    ///
    /// # Errors
    /// The source or the grid lies nowhere, or no transformation between their CRSs is known.
    pub(super) fn new(
        location: &str,
        placement: &Placement,
        size: (u64, u64),
        grid: &Grid,
    ) -> Result<Mapping, ImportError> {
        let (from, source) = placed(location, placement)?;
        let (Some(to), Some(target)) = (&grid.crs, grid.transform) else {
            return Err(ImportError::asked(
                "the grid to align to has no CRS or no transform",
                "name another with `--like`",
            ));
        };
        let same = from.same_as(to);
        if same && let Some(mapping) = Mapping::on_lattice(&source, size, &target, grid) {
            return Ok(mapping);
        }
        let transformer = if same { None } else { Some(Transformer::new(to, from)?) };
        let determinant = source.a * source.e - source.b * source.d;
        let mut warp = Warp { target, transformer, source, determinant, scale: (1.0, 1.0) };
        let covers = match bounds(from, to, &source, size) {
            Ok([west, south, east, north]) => covered(grid, &target, [west, south, east, north]),
            // Edges without a place: looked for cell by cell.
            Err(_) => Covers { x: (0, grid.columns), y: (0, grid.rows) },
        };
        let middle = |(a, b): (u64, u64)| (a + b) as f64 / 2.0;
        warp.scale = warp.scale_at(middle(covers.x), middle(covers.y));
        Ok(Mapping { size, covers, way: Way::Warp(Box::new(warp)) })
    }

    /// Where the lines of one grid are among those of the other.
    fn on_lattice(source: &GridTransform, size: (u64, u64), target: &GridTransform, grid: &Grid) -> Option<Mapping> {
        if source.is_rotated() || target.is_rotated() {
            return None;
        }
        let near = |a: f64, b: f64, cells: u64| (a - b).abs() * cells as f64 <= SLACK * b.abs();
        if !near(source.a, target.a, size.0) || !near(source.e, target.e, size.1) {
            return None;
        }
        let (dx, dy) = ((source.origin_x - target.origin_x) / target.a, (source.origin_y - target.origin_y) / target.e);
        if (dx - dx.round()).abs() > SLACK || (dy - dy.round()).abs() > SLACK || dx.abs() > 1e15 || dy.abs() > 1e15 {
            return None;
        }
        let (dx, dy) = (dx.round() as i64, dy.round() as i64);
        let part = |offset: i64, cells: u64, whole: u64| {
            let end = offset.saturating_add_unsigned(cells).clamp(0, whole as i64) as u64;
            ((offset.clamp(0, whole as i64) as u64).min(end), end)
        };
        let covers = Covers { x: part(dx, size.0, grid.columns), y: part(dy, size.1, grid.rows) };
        Some(Mapping { size, covers, way: Way::Copy { dx, dy } })
    }
}

/// The part of a grid that a box may touch, and two cells more.
fn covered(grid: &Grid, target: &GridTransform, [west, south, east, north]: [f64; 4]) -> Covers {
    let range = |a: f64, b: f64, origin: f64, step: f64, n: u64| {
        let (p, q) = ((a - origin) / step, (b - origin) / step);
        let clamp = |v: f64| v.clamp(0.0, n as f64) as u64;
        let (first, end) = (clamp((p.min(q) - 2.0).floor()), clamp((p.max(q) + 2.0).ceil()));
        (first.min(end), end)
    };
    match target.is_rotated() {
        true => Covers { x: (0, grid.columns), y: (0, grid.rows) },
        false => Covers {
            x: range(west, east, target.origin_x, target.a, grid.columns),
            y: range(south, north, target.origin_y, target.e, grid.rows),
        },
    }
}

impl Warp {
    /// Target cells in a source cell, around a cell of the target.
    fn scale_at(&self, column: f64, row: f64) -> (f64, f64) {
        let (Some(here), Some(right), Some(below)) =
            (self.point(column, row), self.point(column + 1.0, row), self.point(column, row + 1.0))
        else {
            return (1.0, 1.0);
        };
        let along = |a: f64, b: f64| {
            let cells = a.abs().max(b.abs()).max(f64::MIN_POSITIVE);
            // As GDAL: nearly whole factors are whole.
            let whole = cells.round();
            let cells = if whole >= 1.0 && (cells - whole).abs() < 0.05 { whole } else { cells };
            1.0 / cells
        };
        (along(right.0 - here.0, below.0 - here.0), along(right.1 - here.1, below.1 - here.1))
    }
}
