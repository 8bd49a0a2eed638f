//! What describes the cells of a new cube: labels, bounds, auxiliary coordinates and grid mappings.

use super::output::OutputOptions;
use super::{JobError, Prepared, take};
use crate::open::{OpenCube, is_small};
use crate::write::{ArraySpec, ZarrVersion, labels_to_array};
use chunkwise_core::cf::time::{TimeAxis, TimeUnits, is_time_units};
use chunkwise_core::cube::{Attrs, Labels, Role as VariableRole, Variable};
use chunkwise_core::grid::{Indices, Role};
use chunkwise_core::plan::{Axis, Stage};
use chunkwise_core::select::AxisSelection;

/// Cells of an auxiliary coordinate that is carried, at most: 64 MiB of numbers.
const MOST_CELLS: u128 = 8 << 20;
/// Bytes that a cell takes while it is on its way: as stored, decoded, selected.
const CELL_IN_WORK: u64 = 24;

/// An auxiliary coordinate or bounds, and what of it is carried.
struct Carried<'a> {
    variable: &'a Variable,
    /// Along each axis, the cells; a dimension that a selection dropped is dropped here too.
    axes: Vec<Cells>,
}

enum Cells {
    Some(Indices),
    One(u64),
}

impl Carried<'_> {
    fn cells(&self) -> u64 {
        self.axes.iter().map(|a| if let Cells::Some(i) = a { i.len() } else { 1 }).product()
    }

    /// Dimensions and lengths in the output.
    fn shape(&self) -> (Vec<String>, Vec<u64>) {
        let kept = self.variable.dims.iter().zip(&self.axes);
        kept.filter_map(|(d, a)| if let Cells::Some(i) = a { Some((d.clone(), i.len())) } else { None }).unzip()
    }

    /// Positions of the cells in C order.
    fn positions(&self) -> Vec<u64> {
        let mut all = vec![0u64];
        for (axis, &length) in self.axes.iter().zip(&self.variable.shape) {
            let at: Vec<u64> = match axis {
                Cells::One(i) => vec![*i],
                Cells::Some(indices) => (0..indices.len()).map(|k| indices.at(k)).collect(),
            };
            all = all.iter().flat_map(|before| at.iter().map(move |i| before * length + i)).collect();
        }
        all
    }
}

/// Whole arrays: where they stand among those of the cube, and their cells.
pub(super) type Whole = Vec<(usize, Vec<u8>)>;

fn add(spec: ArraySpec, cells: Vec<u8>, arrays: &mut Vec<ArraySpec>, whole: &mut Whole) {
    whole.push((arrays.len(), cells));
    arrays.push(spec);
}

impl Prepared {
    /// Bytes that the auxiliary coordinates and bounds of a new cube take while they are copied.
    pub(super) fn carried_bytes(&self, cube: &OpenCube) -> u64 {
        let carried = self.carried(cube);
        let scalars = self.dropped(cube).filter_map(|(dim, _)| cube.cube.coordinate(dim));
        let read = carried.iter().map(|c| c.variable).chain(scalars);
        let most = read.map(|v| u64::try_from(v.cells()).unwrap_or(u64::MAX)).max().unwrap_or(0);
        most.saturating_mul(CELL_IN_WORK) + carried.iter().map(Carried::cells).sum::<u64>() * 8
    }

    /// Coordinates of what is left, time bounds of windows, auxiliary coordinates and bounds, and grid mappings.
    pub(super) fn coordinates(
        &self,
        cube: &OpenCube,
        options: &OutputOptions,
        arrays: &mut Vec<ArraySpec>,
        whole: &mut Whole,
    ) -> Result<(), JobError> {
        for (dim, labels) in &self.labels {
            let name = self.output_name(dim);
            let source = cube.cube.coordinate(dim).filter(|_| name == dim);
            let Some((mut spec, cells)) = labels_to_array(name, labels, source, options.zarr) else { continue };
            let mut own = None;
            if let (Some(bounds), Labels::Time(axis)) = (self.bounds.get(dim), labels) {
                let path = format!("{name}_bnds");
                spec.attrs.insert("bounds".to_owned(), path.clone().into());
                let flat =
                    TimeAxis { calendar: axis.calendar, nanos: bounds.iter().flat_map(|b| [b.0, b.1]).collect() };
                let shape = vec![bounds.len() as u64, 2];
                let bounds =
                    ArraySpec::plain(path, vec![name.to_owned(), "bnds".to_owned()], shape, Attrs::new(), options.zarr);
                own = counts_like(&spec, &flat).map(|counts| (bounds, counts));
            }
            add(spec, cells, arrays, whole);
            if let Some((bounds, counts)) = own {
                add(bounds, counts, arrays, whole);
            }
        }
        for (dim, index) in self.dropped(cube) {
            // A cycle may have taken the name.
            if arrays.iter().any(|a| a.path == dim) {
                continue;
            }
            let label = take(&*cube.labels(dim)?, &Indices::List(vec![index]));
            if let Some((mut spec, cell)) = labels_to_array(dim, &label, cube.cube.coordinate(dim), options.zarr) {
                (spec.dims, spec.shape, spec.chunks) = (Vec::new(), Vec::new(), Vec::new());
                add(spec, cell, arrays, whole);
            }
        }
        for carried in self.carried(cube) {
            if !arrays.iter().any(|a| a.path == carried.variable.name) {
                copy(cube, &carried, options.zarr, arrays, whole)?;
            }
        }
        for v in cube.cube.variables.values().filter(|v| v.role == VariableRole::GridMapping) {
            let mut attrs = v.attrs.clone();
            attrs.shift_remove("_FillValue");
            self.place_mapping(cube, &v.name, &mut attrs);
            add(
                ArraySpec::plain(v.name.clone(), Vec::new(), Vec::new(), attrs, options.zarr),
                vec![0; 8],
                arrays,
                whole,
            );
        }
        Ok(())
    }

    /// Dimensions with labels of which a single label or index is selected, and which: of them the label stays.
    fn dropped<'a>(&'a self, cube: &'a OpenCube) -> impl Iterator<Item = (&'a str, u64)> {
        let one = self.selection.axes.iter().filter_map(|(dim, axis)| match axis {
            AxisSelection::Index(i) => Some((dim.as_str(), *i)),
            _ => None,
        });
        one.filter(|(dim, i)| {
            cube.cube.coordinate(dim).is_some() && self.results().any(|stage| is_cell_of(stage, dim, *i))
        })
    }

    /// Names the labels of single cells that were selected among the `coordinates` of a result.
    pub(super) fn name_dropped(&self, cube: &OpenCube, stage: &Stage, attrs: &mut Attrs) {
        let names = self.dropped(cube).filter(|(dim, i)| is_cell_of(stage, dim, *i)).map(|(dim, _)| dim);
        let known = attrs.get("coordinates").and_then(|c| c.as_str()).unwrap_or_default().to_owned();
        let mut all: Vec<&str> = known.split_whitespace().collect();
        for name in names {
            if !all.contains(&name) {
                all.push(name);
            }
        }
        if !all.is_empty() {
            attrs.insert("coordinates".to_owned(), all.join(" ").into());
        }
    }

    /// Auxiliary coordinates and bounds all of whose dimensions are kept as they are, or cut by the selection.
    fn carried<'a>(&self, cube: &'a OpenCube) -> Vec<Carried<'a>> {
        let all = cube.cube.variables.values();
        let described = all.filter(|v| matches!(v.role, VariableRole::Auxiliary | VariableRole::Bounds));
        let fitting = described.filter(|v| v.problem.is_none() && v.cells() <= MOST_CELLS && is_small(v));
        fitting
            .filter_map(|variable| {
                let axes = variable.dims.iter().zip(&variable.shape).map(|(d, &n)| self.kept(cube, variable, d, n));
                Some(Carried { variable, axes: axes.collect::<Option<_>>()? })
            })
            .filter(|c| c.variable.role != VariableRole::Bounds || c.cells() > 0)
            .collect()
    }

    /// The cells of dimension `dim` of a coordinate that the output has; `None` where they are not those of the source.
    fn kept(&self, cube: &OpenCube, coordinate: &Variable, dim: &str, length: u64) -> Option<Cells> {
        let has = |v: &Variable| v.axis(dim).is_some();
        if let Some(AxisSelection::Index(i)) = self.selection.axes.get(dim) {
            return self.results().flat_map(|s| &s.arrays).any(has).then_some(Cells::One(*i));
        }
        if self.labels.contains_key(dim) && self.output_name(dim) == dim {
            let mut walked = self.results().flat_map(|s| &s.dims).filter(|d| d.name == dim);
            return walked.all(|d| d.role == Role::Keep).then(|| Cells::Some(self.selection.indices(dim, length)));
        }
        // The corners of bounds are no dimension of the data.
        let corners = coordinate.role == VariableRole::Bounds && !cube.cube.data_variables().any(has);
        (corners && cube.cube.coordinate(dim).is_none()).then(|| Cells::Some(Indices::all(length)))
    }
}

/// Whether the arrays of a stage that have `dim` are read at its cell `index` alone. A formula may pick others.
fn is_cell_of(stage: &Stage, dim: &str, index: u64) -> bool {
    let mut axes = stage.inputs.iter().filter_map(|v| Some(v.axes[stage.arrays[v.array].axis(dim)?]));
    let first = axes.next();
    first == Some(Axis::Pick(index)) && axes.all(|a| Some(a) == first)
}

/// Times as whole counts in the units of a coordinate that is written; `None` where they are none.
fn counts_like(spec: &ArraySpec, times: &TimeAxis) -> Option<Vec<u8>> {
    let units = spec.attrs.get("units")?.as_str()?;
    let counts = TimeUnits::parse(units, Some(times.calendar.name())).ok()?.encode(times)?;
    Some(bytemuck::cast_slice(&counts).to_vec())
}

/// Copies an auxiliary coordinate or bounds.
fn copy(
    cube: &OpenCube,
    carried: &Carried<'_>,
    zarr: ZarrVersion,
    arrays: &mut Vec<ArraySpec>,
    whole: &mut Whole,
) -> Result<(), JobError> {
    let variable = carried.variable;
    let names = |v: &&Variable| {
        let text = |key: &str| v.attrs.get(key).and_then(|t| t.as_str()).is_some_and(|t| t == variable.name);
        text("bounds") || text("climatology")
    };
    let parent = cube.cube.variables.values().find(names);
    // Bounds are in the units of what they bound, and need not repeat them.
    let mut read = variable.clone();
    for key in ["units", "calendar"] {
        if let Some(value) = parent.and_then(|p| p.attrs.get(key)).filter(|_| !read.attrs.contains_key(key)) {
            read.attrs.insert(key.to_owned(), value.clone());
        }
    }
    let labels = take(&cube.labels_of(&read)?, &Indices::List(carried.positions()));
    let Some((mut spec, mut cells)) = labels_to_array(&variable.name, &labels, Some(&read), zarr) else {
        return Ok(());
    };
    (spec.dims, spec.shape) = carried.shape();
    spec.chunks = spec.shape.iter().map(|&n| n.max(1)).collect();
    let written = parent.and_then(|p| arrays.iter().find(|a| a.path == p.name));
    match (&labels, written) {
        (Labels::Time(times), Some(written)) => {
            if let Some(counts) = counts_like(written, times) {
                spec.attrs.shift_remove("units");
                spec.attrs.shift_remove("calendar");
                cells = counts;
            }
        }
        _ if !variable.attrs.get("units").and_then(|u| u.as_str()).is_some_and(is_time_units) => {
            for key in ["units", "calendar"].into_iter().filter(|k| !variable.attrs.contains_key(*k)) {
                spec.attrs.shift_remove(key);
            }
        }
        _ => {}
    }
    add(spec, cells, arrays, whole);
    Ok(())
}
