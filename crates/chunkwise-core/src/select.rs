//! Which cells a job works on: labels, indices and boxes, as users write them, turned into indices of each axis.
//!
//! Two steps, so that mistakes of spelling are found before any label is read: [`parse_sel`], [`parse_isel`] and
//! [`parse_at`] read text; [`resolve`] and [`nearest`] look labels up.
//!
//! | written | meaning |
//! |---|---|
//! | `--sel time=2024-01..2024-06` | labels between the two, both included; either end may be left open |
//! | `--sel band=nir` | the cell with this label; the dimension is dropped |
//! | `--sel band=nir,red` | these labels, in this order |
//! | `--isel y=0:250:2` | every second of the cells 0 to 249, as Python slices |
//! | `--isel time=-1` | the last cell; the dimension is dropped |
//!
//! One text may hold several dimensions: in `y=10..910,x=7..911` the comma before `x=` starts the next.

mod axis;
mod error;
mod parse;

#[cfg(test)]
mod tests;

pub use axis::nearest;
pub use error::{Extent, SelectError};
pub use parse::{parse_at, parse_isel, parse_sel};

use crate::cube::Labels;
use crate::grid::Indices;
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use std::borrow::Borrow;

/// Labels asked for along one dimension, as written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LabelQuery {
    /// `A..B`, both included; `None`: open.
    Range(Option<String>, Option<String>),
    /// One label, or a partial date that stands for several.
    One(String),
    /// `a,b,c`: two or more.
    List(Vec<String>),
}

/// Indices asked for along one dimension; negative ones count from the end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum IndexQuery {
    /// `start:stop:step`, `stop` excluded; `None`: open. Ends beyond the axis are cut, as Python does.
    Range {
        /// First index.
        start: Option<i64>,
        /// First index that is not taken.
        stop: Option<i64>,
        /// Distance between neighbours, at least 1.
        step: u64,
    },
    /// One index.
    One(i64),
    /// `0,3,5`: two or more.
    List(Vec<i64>),
}

/// A box in the cube's CRS: cells whose centre lies inside, edges included.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BoxQuery {
    /// Dimension of `west` and `east`.
    pub x: String,
    /// Dimension of `south` and `north`.
    pub y: String,
    /// Least x. Where x wraps, it may exceed `east`: the box then crosses the 180° meridian.
    pub west: f64,
    /// Least y.
    pub south: f64,
    /// Greatest x.
    pub east: f64,
    /// Greatest y.
    pub north: f64,
}

/// The cells of one axis that are selected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AxisSelection {
    /// `start, start + step, …` below `stop`.
    Range {
        /// First index.
        start: u64,
        /// First index that is not taken.
        stop: u64,
        /// Distance between neighbours, at least 1.
        step: u64,
    },
    /// These cells, in this order.
    List(Vec<u64>),
    /// One cell; the dimension is dropped.
    Index(u64),
}

impl AxisSelection {
    /// The selected indices, for a walk.
    pub fn indices(&self) -> Indices {
        match self {
            AxisSelection::Range { start, stop, step } => {
                let step = (*step).max(1);
                Indices::Range { start: *start, step, count: stop.saturating_sub(*start).div_ceil(step) }
            }
            AxisSelection::List(list) => Indices::List(list.clone()),
            AxisSelection::Index(index) => Indices::Range { start: *index, step: 1, count: 1 },
        }
    }

    /// Whether the dimension is dropped from the result.
    pub fn drops(&self) -> bool {
        matches!(self, AxisSelection::Index(_))
    }

    /// The shortest form of cells that are listed; a run becomes a range.
    fn of(list: Vec<u64>) -> AxisSelection {
        match (list.first(), list.last()) {
            (Some(&first), Some(&last)) if list.windows(2).all(|w| w[1] == w[0] + 1) => {
                AxisSelection::Range { start: first, stop: last + 1, step: 1 }
            }
            _ => AxisSelection::List(list),
        }
    }
}

/// What is selected along each dimension; dimensions that are not named are taken whole.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selection {
    /// Selected dimensions, in the cube's order.
    pub axes: IndexMap<String, AxisSelection>,
}

impl Selection {
    /// Indices along `dim`, which has `len` cells: all where nothing was asked.
    pub fn indices(&self, dim: &str, len: u64) -> Indices {
        self.axes.get(dim).map_or_else(|| Indices::all(len), AxisSelection::indices)
    }

    /// Whether `dim` is dropped from the result.
    pub fn drops(&self, dim: &str) -> bool {
        self.axes.get(dim).is_some_and(AxisSelection::drops)
    }
}

/// Finds the cells that labels, indices and a box ask for.
///
/// `dims` are the cube's dimensions and their lengths; `labels` reads those of one dimension and is called only for
/// dimensions of `sel` and `bbox`, once each; `wraps` tells whether a dimension holds longitudes (`units` is
/// `degrees_east`), where labels outside the axis are also tried 360° to either side.
///
/// - Float labels match within 10⁻⁹ of the label (where that is less than a thousandth of the axis spacing) or
///   10⁻⁹ of the spacing; on axes that hold `float32` values also what rounds to the same `float32`. Integers and
///   text match exactly. A missing label (NaN, "not a time") never matches.
/// - A range takes the cells whose label lies between the two, whichever is written first, in the order of the axis;
///   an open end is the least or the greatest label there may be. A range of text labels goes by position.
/// - A partial date stands for all instants that begin with it. A year or a month keeps its dimension; a day, an
///   hour … drops it when it holds exactly one label. Labels that occur several times keep their dimension.
///
/// # Errors
/// Unknown dimensions, a dimension asked for twice, labels that are not found, indices out of range, nothing
/// selected, longitude ranges in two pieces, text that does not fit the labels, and what `labels` returns.
pub fn resolve<E, L: Borrow<Labels>>(
    sel: &[(String, LabelQuery)],
    isel: &[(String, IndexQuery)],
    bbox: Option<&BoxQuery>,
    dims: &IndexMap<String, u64>,
    labels: &dyn Fn(&str) -> Result<L, E>,
    wraps: &dyn Fn(&str) -> bool,
) -> Result<Selection, SelectError>
where
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    check_names(sel, isel, bbox, dims)?;
    let read = |dim: &str, len: u64| {
        let found = labels(dim).map_err(|e| SelectError::Labels { dim: dim.to_owned(), source: e.into() })?;
        match found.borrow().len() {
            labels if labels == len => Ok(found),
            labels => Err(SelectError::Length { dim: dim.to_owned(), labels, cells: len }),
        }
    };
    let mut axes = IndexMap::new();
    for (dim, &len) in dims {
        let one = if let Some((_, query)) = sel.iter().find(|(d, _)| d == dim) {
            axis::by_label(dim, query, read(dim, len)?.borrow(), wraps(dim))?
        } else if let Some((_, query)) = isel.iter().find(|(d, _)| d == dim) {
            by_index(dim, query, len)?
        } else if let Some(bbox) = bbox.filter(|b| b.x == *dim || b.y == *dim) {
            axis::by_box(dim, bbox, read(dim, len)?.borrow(), wraps(dim))?
        } else {
            continue;
        };
        axes.insert(dim.clone(), one);
    }
    Ok(Selection { axes })
}

fn check_names(
    sel: &[(String, LabelQuery)],
    isel: &[(String, IndexQuery)],
    bbox: Option<&BoxQuery>,
    dims: &IndexMap<String, u64>,
) -> Result<(), SelectError> {
    let by_sel = sel.iter().map(|(d, _)| (d, "--sel"));
    let by_isel = isel.iter().map(|(d, _)| (d, "--isel"));
    let by_box = bbox.into_iter().flat_map(|b| [&b.x, &b.y]).map(|d| (d, "--bbox"));
    let mut seen: IndexMap<&String, &'static str> = IndexMap::new();
    for (dim, option) in by_sel.chain(by_isel).chain(by_box) {
        if !dims.contains_key(dim) {
            return Err(SelectError::NoDim { asked: dim.clone(), has: dims.keys().cloned().collect() });
        }
        if let Some(first) = seen.insert(dim, option) {
            return Err(SelectError::Twice { dim: dim.clone(), first, second: option });
        }
    }
    Ok(())
}

/// The cells that indices ask for along a dimension of `len` cells.
fn by_index(dim: &str, query: &IndexQuery, len: u64) -> Result<AxisSelection, SelectError> {
    let one = |index: i64| {
        let at = if index < 0 { i128::from(index) + i128::from(len) } else { i128::from(index) };
        match u64::try_from(at) {
            Ok(at) if at < len => Ok(at),
            _ => Err(SelectError::OutOfRange { dim: dim.to_owned(), index, len }),
        }
    };
    match query {
        IndexQuery::One(index) => Ok(AxisSelection::Index(one(*index)?)),
        IndexQuery::List(list) => Ok(AxisSelection::of(list.iter().map(|&i| one(i)).collect::<Result<_, _>>()?)),
        IndexQuery::Range { start, stop, step } => {
            let end = |at: i64| {
                let at = if at < 0 { i128::from(at) + i128::from(len) } else { i128::from(at) };
                at.clamp(0, i128::from(len)) as u64
            };
            let (first, last) = (start.map_or(0, end), stop.map_or(len, end));
            if first >= last {
                return Err(SelectError::Empty {
                    asked: parse::write_index(dim, query),
                    dim: dim.to_owned(),
                    extent: error::Extent::of(&Labels::Index(len)),
                });
            }
            Ok(AxisSelection::Range { start: first, stop: last, step: (*step).max(1) })
        }
    }
}
