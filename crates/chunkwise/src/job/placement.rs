//! Where the grid of a result lies: attributes that give its transform, brought up to date.

use super::Prepared;
use crate::open::OpenCube;
use chunkwise_core::crs::{AxisStep, Georeference, GridTransform, find_georeference, update_grid_attributes};
use chunkwise_core::cube::{Attrs, Labels};
use chunkwise_core::grid::Role;
use chunkwise_core::plan::Stage;
use chunkwise_core::select::AxisSelection;

/// How far a transform may be from the labels, in cells, and still be theirs.
const NEAR: f64 = 1e-3;

/// The grid of a result that has other cells than its source.
struct Moved {
    georeference: Georeference,
    /// `None` where the cells are no regular grid, or none at all.
    transform: Option<GridTransform>,
    /// Columns and rows, where both are left.
    size: Option<(u64, u64)>,
}

impl Moved {
    fn update(&self, attrs: &mut Attrs) {
        let (columns, rows) = self.size.unwrap_or((0, 0));
        update_grid_attributes(attrs, self.transform.as_ref(), columns, rows);
        if self.size.is_none() {
            attrs.shift_remove("spatial:shape");
            attrs.shift_remove("proj:shape");
        }
    }
}

impl Prepared {
    /// Brings the attributes of an array of `stage` up to date.
    pub(super) fn place_array(&self, cube: &OpenCube, stage: &Stage, attrs: &mut Attrs) {
        if let Some(moved) = self.moved(cube, stage) {
            moved.update(attrs);
        }
    }

    /// Brings the attributes of a grid mapping up to date: those of the results that name it, else of any.
    pub(super) fn place_mapping(&self, cube: &OpenCube, mapping: &str, attrs: &mut Attrs) {
        let all: Vec<Option<Moved>> = self.results().map(|s| self.moved(cube, s)).collect();
        let named = |m: &Moved| m.georeference.grid_mapping.as_deref() == Some(mapping);
        let moved = || all.iter().flatten();
        if let Some(moved) = moved().find(|m| named(m)).or_else(|| moved().next()) {
            moved.update(attrs);
        }
    }

    /// Brings the attributes of the group up to date.
    pub(super) fn place_group(&self, cube: &OpenCube, attrs: &mut Attrs) {
        if let Some(moved) = self.results().find_map(|s| self.moved(cube, s)) {
            moved.update(attrs);
        }
    }

    /// The grid of a result; `None` where it is that of the source.
    fn moved(&self, cube: &OpenCube, stage: &Stage) -> Option<Moved> {
        let variables = stage.arrays.iter().filter_map(|a| cube.cube.variables.get(&a.name));
        let georeference = variables.map(|v| find_georeference(&cube.cube, v)).find(|g| g.dims.is_some())?;
        let dims = georeference.dims.clone()?;
        let axes = (self.axis(stage, &dims.x), self.axis(stage, &dims.y));
        let whole = |a: &Option<Axis>| a.as_ref().is_some_and(|a| a.step == Some(AxisStep::ALL) && a.block == 1);
        if self.selection.axes.get(&dims.x).is_none()
            && self.selection.axes.get(&dims.y).is_none()
            && whole(&axes.0)
            && whole(&axes.1)
        {
            return None;
        }
        let (Some(x), Some(y)) = axes else {
            return Some(Moved { georeference, transform: None, size: None });
        };
        let cut = georeference.transform.zip(x.step.zip(y.step));
        let transform = cut.map(|(t, (sx, sy))| t.select(sx, sy).coarsen(x.block, y.block));
        // Labels go first: an attribute that contradicts them is not carried on.
        let transform = transform.filter(|t| {
            let (cx, cy) = t.centre(0, 0);
            let fits = |dim: &str, axis: &Axis, centre: f64, width: f64| match self.labels.get(dim) {
                // A short last window has its label elsewhere.
                Some(Labels::Number(l)) if axis.cells > 1 || axis.block == 1 => {
                    l.first().is_none_or(|&l| (l - centre).abs() <= NEAR * width.abs())
                }
                _ => true,
            };
            t.is_rotated() || fits(&dims.x, &x, cx, t.a) && fits(&dims.y, &y, cy, t.e)
        });
        Some(Moved { georeference, transform, size: Some((x.cells, y.cells)) })
    }

    /// What became of a spatial dimension; `None` where the result has none.
    fn axis(&self, stage: &Stage, dim: &str) -> Option<Axis> {
        let walked = stage.dims.iter().find(|d| d.name == dim && d.is_output())?;
        let block = match walked.role {
            Role::Keep => 1,
            Role::Blocks { size } => size,
            _ => return None,
        };
        let step = match self.selection.axes.get(dim) {
            None => Some(AxisStep::ALL),
            Some(AxisSelection::Range { start, step, .. }) => Some(AxisStep { start: *start, step: *step }),
            Some(AxisSelection::List(_) | AxisSelection::Index(_)) => None,
        };
        Some(Axis { step, block, cells: walked.output_len() })
    }
}

/// A spatial dimension of a result.
struct Axis {
    /// The cells of the source; `None` where they are a list.
    step: Option<AxisStep>,
    /// Cells of the selection in one of the result.
    block: u64,
    /// Cells of the result.
    cells: u64,
}
