//! The affine transform of a grid: from columns and rows to x and y.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// `x = origin_x + column · a + row · b`, `y = origin_y + column · d + row · e`, in units of the CRS.
///
/// Columns and rows are counted from the outer corner of the first cell: its centre is column 0.5, row 0.5.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct GridTransform {
    /// x of the outer corner of the first cell.
    pub origin_x: f64,
    /// Width of a cell: x per column.
    pub a: f64,
    /// x per row; 0 unless the grid is rotated.
    pub b: f64,
    /// y of the outer corner of the first cell.
    pub origin_y: f64,
    /// y per column; 0 unless the grid is rotated.
    pub d: f64,
    /// Height of a cell: y per row, negative where the first row is the northern one.
    pub e: f64,
}

/// Which cells of an axis are kept: from `start`, every `step`-th.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AxisStep {
    /// First cell kept.
    pub start: u64,
    /// Distance between cells kept, at least 1.
    pub step: u64,
}

impl AxisStep {
    /// All cells.
    pub const ALL: AxisStep = AxisStep { start: 0, step: 1 };
}

/// Most labels that are made from a transform (64 MiB of them).
const MOST_LABELS: u64 = 8 << 20;

impl GridTransform {
    /// From GDAL's order: `origin_x a b origin_y d e`. `None` where it maps the grid to a line or is not finite.
    pub fn from_gdal(g: [f64; 6]) -> Option<GridTransform> {
        let t = GridTransform { origin_x: g[0], a: g[1], b: g[2], origin_y: g[3], d: g[4], e: g[5] };
        let area = t.a * t.e - t.b * t.d;
        (g.iter().all(|v| v.is_finite()) && area.is_finite() && area != 0.0).then_some(t)
    }

    /// From the order of `spatial:transform`, `proj:transform` and the `affine` package: `a b origin_x d e origin_y`.
    pub fn from_affine(t: [f64; 6]) -> Option<GridTransform> {
        GridTransform::from_gdal([t[2], t[0], t[1], t[5], t[3], t[4]])
    }

    /// From a `GeoTransform` attribute: six numbers in a text, or an array.
    pub fn from_geotransform(value: &Value) -> Option<GridTransform> {
        GridTransform::from_gdal(six(value)?)
    }

    /// From a `spatial:transform` or `proj:transform` attribute: six numbers, or nine of which the last row says nothing.
    pub fn from_spatial_transform(value: &Value) -> Option<GridTransform> {
        GridTransform::from_affine(six(value)?)
    }

    /// From the centres of the first cells and the spacing of two axes.
    pub fn from_centres(x: f64, dx: f64, y: f64, dy: f64) -> Option<GridTransform> {
        GridTransform::from_gdal([x - dx / 2.0, dx, 0.0, y - dy / 2.0, 0.0, dy])
    }

    /// Whether rows are not along x.
    pub fn is_rotated(&self) -> bool {
        self.b != 0.0 || self.d != 0.0
    }

    /// Shifted by half a cell: of a transform that gives the centre of the first cell.
    pub fn from_node_to_corner(&self) -> GridTransform {
        self.moved(-0.5, -0.5)
    }

    fn moved(&self, columns: f64, rows: f64) -> GridTransform {
        GridTransform {
            origin_x: self.origin_x + columns * self.a + rows * self.b,
            origin_y: self.origin_y + columns * self.d + rows * self.e,
            ..*self
        }
    }

    fn scaled(&self, columns: f64, rows: f64) -> GridTransform {
        GridTransform { a: self.a * columns, b: self.b * rows, d: self.d * columns, e: self.e * rows, ..*self }
    }

    /// The transform of the selected cells; a step widens cells about the centres of those kept, as the spacing of
    /// their coordinates does.
    pub fn select(&self, x: AxisStep, y: AxisStep) -> GridTransform {
        let (fx, fy) = (x.step.max(1) as f64, y.step.max(1) as f64);
        // The centre of the first cell kept stays where it is.
        let corner = |start: u64, step: f64| start as f64 + 0.5 - step / 2.0;
        self.moved(corner(x.start, fx), corner(y.start, fy)).scaled(fx, fy)
    }

    /// The transform of cells that are `x` by `y` old cells each; the outer corner stays.
    pub fn coarsen(&self, x: u64, y: u64) -> GridTransform {
        self.scaled(x.max(1) as f64, y.max(1) as f64)
    }

    /// x and y of the centre of a cell.
    pub fn centre(&self, column: u64, row: u64) -> (f64, f64) {
        let t = self.moved(column as f64 + 0.5, row as f64 + 0.5);
        (t.origin_x, t.origin_y)
    }

    /// Centres of `columns` cells along x; `None` where the grid is rotated or they are more than eight million.
    pub fn x_labels(&self, columns: u64) -> Option<Vec<f64>> {
        let fits = !self.is_rotated() && columns <= MOST_LABELS;
        fits.then(|| (0..columns).map(|i| self.origin_x + (i as f64 + 0.5) * self.a).collect())
    }

    /// Centres of `rows` cells along y; `None` where the grid is rotated or they are more than eight million.
    pub fn y_labels(&self, rows: u64) -> Option<Vec<f64>> {
        let fits = !self.is_rotated() && rows <= MOST_LABELS;
        fits.then(|| (0..rows).map(|i| self.origin_y + (i as f64 + 0.5) * self.e).collect())
    }

    /// West, south, east, north of `columns` by `rows` cells.
    pub fn bbox(&self, columns: u64, rows: u64) -> [f64; 4] {
        let (c, r) = (columns as f64, rows as f64);
        let xs = [0.0, self.a * c, self.b * r, self.a * c + self.b * r].map(|v| self.origin_x + v);
        let ys = [0.0, self.d * c, self.e * r, self.d * c + self.e * r].map(|v| self.origin_y + v);
        let low = |v: &[f64; 4]| v.iter().copied().fold(f64::INFINITY, f64::min);
        let high = |v: &[f64; 4]| v.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        [low(&xs), low(&ys), high(&xs), high(&ys)]
    }

    /// GDAL's order: `origin_x a b origin_y d e`.
    pub fn gdal(&self) -> [f64; 6] {
        [self.origin_x, self.a, self.b, self.origin_y, self.d, self.e]
    }

    /// The order of `spatial:transform`: `a b origin_x d e origin_y`.
    pub fn affine(&self) -> [f64; 6] {
        [self.a, self.b, self.origin_x, self.d, self.e, self.origin_y]
    }

    /// Text of the `GeoTransform` attribute, as rioxarray writes it: `300000.0 10.0 0.0 5000040.0 0.0 -10.0`.
    pub fn geotransform_text(&self) -> String {
        self.gdal().map(|v| format!("{v:?}")).join(" ")
    }
}

/// Six finite numbers from a text or an array (of nine, the first six).
fn six(value: &Value) -> Option<[f64; 6]> {
    let numbers: Vec<f64> = match value {
        Value::String(text) if text.len() < 1024 => text
            .split(|c: char| c.is_whitespace() || c == ',')
            .filter(|w| !w.is_empty())
            .map(|w| w.parse().ok())
            .collect::<Option<_>>()?,
        Value::Array(items) if items.len() <= 9 => items.iter().map(Value::as_f64).collect::<Option<_>>()?,
        _ => return None,
    };
    match numbers.len() {
        6 | 9 => numbers.get(..6)?.try_into().ok(),
        _ => None,
    }
}
