//! The fraction of each cell of a grid that lies inside a polygon, exactly.
//!
//! Each edge adds to the cells that it crosses the signed area between it and the right side of the cell, and to all
//! cells further right of the same row its signed height; the sums along a row are the covered areas. (Known from the
//! drawing of glyphs with exact coverage: FreeType's smooth rasterizer.) A cell that no edge crosses lies inside or
//! outside as a whole.

use super::Polygon;
use serde::{Deserialize, Serialize};

/// Which cells belong to a polygon.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Touch {
    /// Each by the fraction of it that lies inside.
    #[default]
    Coverage,
    /// Those whose centre lies inside, whole.
    Centre,
    /// Those of which some part lies inside, whole.
    All,
}

impl Touch {
    /// All that a user may name.
    pub const ALL: [Touch; 3] = [Touch::Coverage, Touch::Centre, Touch::All];

    /// Its name: `coverage`.
    pub fn name(self) -> &'static str {
        match self {
            Touch::Coverage => "coverage",
            Touch::Centre => "centre",
            Touch::All => "all",
        }
    }
}

/// Which way the rows of a grid ran before it was mirrored to ascend: what decides where a centre on an edge lies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rows {
    /// From south to north, as they are.
    #[default]
    Up,
    /// From north to south.
    Down,
}

/// Less of a cell than this is nothing, more than one less this is all: below it lie the roundings of the sums.
const LEAST: f64 = 1e-11;

/// The cells of a grid that a polygon covers, by their numbers in C order (rows from the first of `ys`).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cover {
    /// Runs of cells that are covered whole: the first, and how many.
    pub whole: Vec<(u32, u32)>,
    /// Cells that are covered in part, and by what fraction.
    pub parts: Vec<(u32, f64)>,
}

impl Cover {
    /// Whether it covers nothing.
    pub fn is_empty(&self) -> bool {
        self.whole.is_empty() && self.parts.is_empty()
    }

    /// All cells with their fractions: the whole ones first, each kind in order.
    pub fn cells(&self) -> impl Iterator<Item = (u32, f64)> + Clone + '_ {
        let whole = self.whole.iter().flat_map(|&(first, n)| (first..first + n).map(|cell| (cell, 1.0)));
        whole.chain(self.parts.iter().copied())
    }

    fn push(&mut self, cell: usize, fraction: f64) {
        let cell = cell as u32;
        if fraction < LEAST {
            return;
        }
        if fraction <= 1.0 - LEAST {
            return self.parts.push((cell, fraction));
        }
        self.push_whole(cell);
    }

    /// Adds a cell that is covered whole; cells come in order.
    pub fn push_whole(&mut self, cell: u32) {
        match self.whole.last_mut() {
            Some((first, n)) if *first + *n == cell => *n += 1,
            _ => self.whole.push((cell, 1)),
        }
    }
}

/// The cells between the edges `xs` and `ys`, each ascending, that belong to `polygon`. There are fewer than 2³² of them.
///
/// ```
/// use chunkwise_core::zonal::{Polygon, Rows, Touch, cover};
/// let triangle = Polygon::new(vec![(vec![(0.0, 0.0), (2.0, 0.0), (0.0, 2.0)], vec![])]);
/// let found = cover(&triangle, &[0.0, 1.0, 2.0], &[0.0, 1.0, 2.0], Rows::Up, Touch::Coverage);
/// assert_eq!((found.whole, found.parts), (vec![(0, 1)], vec![(1, 0.5), (2, 0.5)]));
/// ```
pub fn cover(polygon: &Polygon, xs: &[f64], ys: &[f64], rows_ran: Rows, touch: Touch) -> Cover {
    let mut found = Cover::default();
    let Some([west, south, east, north]) = polygon.bounds() else { return found };
    let (columns, rows) = (span(xs, west, east), span(ys, south, north));
    if columns.is_empty() || rows.is_empty() {
        return found;
    }
    let (cut_xs, cut_ys) = (&xs[columns.start..=columns.end], &ys[rows.start..=rows.end]);
    let width = xs.len() - 1;
    let cell = |row: usize, column: usize| (rows.start + row) * width + columns.start + column;
    if touch == Touch::Centre {
        centres(polygon, cut_xs, cut_ys, rows_ran, |row, column| found.push(cell(row, column), 1.0));
        return found;
    }
    let mut sums = Sums::new(cut_xs, cut_ys);
    for ring in polygon.rings() {
        ring.windows(2).for_each(|edge| sums.add(edge[0], edge[1]));
    }
    sums.each(|row, column, fraction| {
        let fraction = if touch == Touch::All && fraction >= LEAST { 1.0 } else { fraction };
        found.push(cell(row, column), fraction);
    });
    found
}

/// The cells that `from .. to` touches.
fn span(edges: &[f64], from: f64, to: f64) -> std::ops::Range<usize> {
    let cells = edges.len().saturating_sub(1);
    let first = edges.partition_point(|&e| e <= from).saturating_sub(1);
    let last = edges.partition_point(|&e| e < to).min(cells);
    first..last.max(first)
}

/// What edges add to the cells of a grid.
struct Sums<'a> {
    xs: &'a [f64],
    ys: &'a [f64],
    /// Of each cell, the signed area between edges within it and its right side.
    area: Vec<f64>,
    /// Of each row and column, the signed height of the edges within it; the first column is what lies left of the grid.
    height: Vec<f64>,
    /// Whether an edge crosses a cell.
    crossed: Vec<bool>,
}

impl<'a> Sums<'a> {
    fn new(xs: &'a [f64], ys: &'a [f64]) -> Sums<'a> {
        let (columns, rows) = (xs.len() - 1, ys.len() - 1);
        Sums {
            xs,
            ys,
            area: vec![0.0; rows * columns],
            height: vec![0.0; rows * (columns + 1)],
            crossed: vec![false; rows * columns],
        }
    }

    fn add(&mut self, a: (f64, f64), b: (f64, f64)) {
        // Downward, so that both ways along an edge give the same numbers.
        let (top, bottom, sign) = if a.1 >= b.1 { (a, b, 1.0) } else { (b, a, -1.0) };
        let rows = self.ys.len() - 1;
        if top.1 == bottom.1 {
            // Without height it adds nothing, but the cells that it runs through are not whole.
            let row = self.ys.partition_point(|&y| y <= top.1);
            if row > 0 && row <= rows && self.ys[row - 1] < top.1 {
                self.cross(row - 1, top.0.min(bottom.0), top.0.max(bottom.0));
            }
            return;
        }
        let slope = (bottom.0 - top.0) / (bottom.1 - top.1);
        let at = |y: f64| match y {
            y if y == top.1 => top.0,
            y if y == bottom.1 => bottom.0,
            y => (top.0 + (y - top.1) * slope).clamp(top.0.min(bottom.0), top.0.max(bottom.0)),
        };
        let first = self.ys.partition_point(|&y| y <= bottom.1).saturating_sub(1);
        for row in first..rows {
            let (low, high) = (self.ys[row].max(bottom.1), self.ys[row + 1].min(top.1));
            if self.ys[row] >= top.1 {
                break;
            }
            if low < high {
                self.piece(row, (at(high), high), (at(low), low), sign);
            }
        }
    }

    /// A piece of an edge within one row.
    fn piece(&mut self, row: usize, from: (f64, f64), to: (f64, f64), sign: f64) {
        let columns = self.xs.len() - 1;
        let (west, east) = (self.xs[0], self.xs[columns]);
        // In order of x, whichever way it falls.
        let ((x0, y0), (x1, y1)) = if from.0 <= to.0 { (from, to) } else { (to, from) };
        let whole = from.1 - to.1;
        let heights = &mut self.height[row * (columns + 1)..][..columns + 1];
        if x1 <= west {
            heights[0] += sign * whole;
            return;
        }
        if x0 >= east {
            return;
        }
        // Of a vertical piece, all lies at its end.
        let y_at = |x: f64| if x >= x1 { y1 } else { y0 + (x - x0) * ((y1 - y0) / (x1 - x0)) };
        let (mut x, mut y) = (x0, y0);
        if x < west {
            let at = y_at(west);
            heights[0] += sign * (at - y).abs();
            (x, y) = (west, at);
        }
        let mut column = self.xs.partition_point(|&e| e <= x).saturating_sub(1).min(columns - 1);
        loop {
            let right = self.xs[column + 1];
            let end = right.min(x1);
            let next = y_at(end);
            let tall = sign * (next - y).abs();
            let cell = row * columns + column;
            self.area[cell] += tall * (right - (x + end) / 2.0);
            self.crossed[cell] = true;
            heights[column + 1] += tall;
            (x, y) = (end, next);
            column += 1;
            if end >= x1 || column == columns {
                return;
            }
        }
    }

    fn cross(&mut self, row: usize, from: f64, to: f64) {
        let columns = self.xs.len() - 1;
        let cells = span(self.xs, from, to);
        self.crossed[row * columns..][cells].fill(true);
    }

    /// Calls `each` with the row, the column and the covered fraction of every cell that is not outside.
    fn each(&self, mut each: impl FnMut(usize, usize, f64)) {
        let columns = self.xs.len() - 1;
        for row in 0..self.ys.len() - 1 {
            let tall = self.ys[row + 1] - self.ys[row];
            let heights = &self.height[row * (columns + 1)..][..columns + 1];
            let mut left = heights[0];
            for column in 0..columns {
                let cell = row * columns + column;
                let share = left / tall;
                let fraction = if self.crossed[cell] {
                    let wide = self.xs[column + 1] - self.xs[column];
                    share + self.area[cell] / (wide * tall)
                } else {
                    share.round()
                };
                // Parts of a polygon that lie over each other count once.
                let fraction = fraction.min(1.0);
                if fraction > 0.0 {
                    each(row, column, fraction);
                }
                left += heights[column + 1];
            }
        }
    }
}

/// Calls `each` with the row and column of every cell whose centre lies inside: on a left or lower edge is inside, on a
/// right or upper one is not.
fn centres(polygon: &Polygon, xs: &[f64], ys: &[f64], rows_ran: Rows, mut each: impl FnMut(usize, usize)) {
    let middles: Vec<f64> = xs.windows(2).map(|w| f64::midpoint(w[0], w[1])).collect();
    for (row, bounds) in ys.windows(2).enumerate() {
        let y = f64::midpoint(bounds[0], bounds[1]);
        // How the number of turns round the cells changes from column to column.
        let mut turns = vec![0i32; middles.len() + 1];
        for edge in polygon.rings().iter().flat_map(|ring| ring.windows(2)) {
            let ((x0, y0), (x1, y1)) = (edge[0], edge[1]);
            let below = |at: f64| if rows_ran == Rows::Up { at <= y } else { at < y };
            if below(y0) == below(y1) {
                continue;
            }
            let x = x0 + (y - y0) * ((x1 - x0) / (y1 - y0));
            turns[middles.partition_point(|&m| m < x)] += if y1 < y0 { 1 } else { -1 };
        }
        let mut inside = 0;
        for (column, turn) in turns[..middles.len()].iter().enumerate() {
            inside += turn;
            if inside > 0 {
                each(row, column);
            }
        }
    }
}

#[cfg(test)]
mod tests;
