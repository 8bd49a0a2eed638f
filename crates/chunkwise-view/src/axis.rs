//! Axes: what their values mean, where their cells end, what their ticks say.

use crate::ticks::{self, Tick};
use chunkwise_core::cf::time::Calendar;

/// What the values of an axis are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AxisKind {
    /// Numbers.
    #[default]
    Number,
    /// Positions of cells: the first is at the top or at the left.
    Index,
    /// Degrees east.
    Longitude,
    /// Degrees north.
    Latitude,
    /// Seconds since 1970 in a calendar.
    Time(Calendar),
}

/// An axis of a map.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Axis {
    /// What stands beside it: its name, its unit in brackets.
    pub label: String,
    /// Where cells begin and end: one more than there are cells, all ascending or all descending.
    pub edges: Vec<f64>,
    /// What the values are.
    pub kind: AxisKind,
}

impl Axis {
    /// An axis of numbers; a unit that is not empty stands in brackets.
    pub fn numbers(name: &str, unit: &str, edges: Vec<f64>) -> Axis {
        let label = if unit.is_empty() { name.to_owned() } else { format!("{name} ({unit})") };
        Axis { label, edges, kind: AxisKind::Number }
    }

    /// Number of cells.
    pub fn cells(&self) -> usize {
        self.edges.len().saturating_sub(1)
    }

    /// Least and greatest value.
    pub fn bounds(&self) -> (f64, f64) {
        let (a, b) = (self.edges.first().copied().unwrap_or(0.0), self.edges.last().copied().unwrap_or(1.0));
        (a.min(b), a.max(b))
    }

    /// The values at the left and at the right end.
    pub(crate) fn across(&self) -> (f64, f64) {
        self.bounds()
    }

    /// The values at the top and at the bottom: north is at the top, and so is the first row of cells without coordinates.
    pub(crate) fn down(&self) -> (f64, f64) {
        let (low, high) = self.bounds();
        if self.kind == AxisKind::Index { (low, high) } else { (high, low) }
    }

    /// For each of `pixels` between two values, the cell that its centre lies in.
    pub(crate) fn cells_of(&self, pixels: u32, (from, to): (f64, f64)) -> Vec<usize> {
        let ascends = self.edges.first() <= self.edges.last();
        let last = self.cells().saturating_sub(1);
        let at = |p: u32| {
            let value = from + (to - from) * (f64::from(p) + 0.5) / f64::from(pixels);
            let before = match ascends {
                true => self.edges.partition_point(|e| *e <= value),
                false => self.edges.partition_point(|e| *e > value),
            };
            before.saturating_sub(1).min(last)
        };
        (0..pixels).map(at).collect()
    }

    /// Whether all cells are as wide as each other, to a hundredth.
    pub(crate) fn is_even(&self) -> bool {
        let (low, high) = self.bounds();
        let mean = (high - low) / self.cells().max(1) as f64;
        self.edges.windows(2).all(|w| ((w[1] - w[0]).abs() - mean).abs() <= 0.01 * mean)
    }

    /// Its ticks between two values: the closest of which `fits` holds.
    pub(crate) fn ticks(&self, fits: &dyn Fn(&[Tick]) -> bool) -> Vec<Tick> {
        ticks_of(self.kind, self.bounds(), fits)
    }
}

/// The ticks of an axis of a kind.
pub(crate) fn ticks_of(kind: AxisKind, (low, high): (f64, f64), fits: &dyn Fn(&[Tick]) -> bool) -> Vec<Tick> {
    match kind {
        AxisKind::Number => ticks::numbers((low, high), &ticks::number, fits),
        AxisKind::Longitude => ticks::numbers((low, high), &ticks::longitude, fits),
        AxisKind::Latitude => ticks::numbers((low, high), &ticks::latitude, fits),
        AxisKind::Time(calendar) => ticks::times(calendar, (low, high), fits),
        // Between cells there is nothing.
        AxisKind::Index => ticks::numbers((low, high), &ticks::number, &|ticks| {
            ticks.iter().all(|t| t.at.fract() == 0.0) && (ticks.len() <= 1 || fits(ticks))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pixels_find_their_cell_whichever_way_the_axis_runs() {
        let up = Axis::numbers("y", "m", vec![0.0, 1.0, 2.0, 4.0]);
        let down = Axis::numbers("y", "m", vec![4.0, 2.0, 1.0, 0.0]);
        assert_eq!(up.cells_of(4, up.across()), [0, 1, 2, 2]);
        assert_eq!(down.cells_of(4, down.across()), [2, 1, 0, 0]);
        assert_eq!(up.cells_of(4, up.down()), [2, 2, 1, 0]);
        assert_eq!(down.cells_of(4, down.down()), [0, 0, 1, 2]);
        assert!(!up.is_even());
    }

    #[test]
    fn the_first_row_of_cells_without_coordinates_is_on_top() {
        let axis = Axis { label: "row".to_owned(), edges: vec![-0.5, 0.5, 1.5], kind: AxisKind::Index };
        assert_eq!(axis.cells_of(2, axis.down()), [0, 1]);
        let labels: Vec<String> = axis.ticks(&|_| true).into_iter().map(|t| t.label).collect();
        assert_eq!(labels, ["0", "1"]);
    }
}
