//! Looking labels up along one axis.

use super::error::{Extent, label_text};
use super::{AxisSelection, BoxQuery, LabelQuery, SelectError};
use crate::cf::time::{DAY, NOT_A_TIME, TimeAxis, parse_partial};
use crate::cube::Labels;

/// A full turn, in degrees.
const TURN: f64 = 360.0;
/// How many neighbours an error names.
const NEAR: usize = 3;
/// How many text labels an error names.
const NEAR_TEXT: usize = 8;

/// The cells that `query` asks for.
pub(super) fn by_label(
    dim: &str,
    query: &LabelQuery,
    labels: &Labels,
    wraps: bool,
) -> Result<AxisSelection, SelectError> {
    match query {
        LabelQuery::Range(from, to) => between(dim, from.as_deref(), to.as_deref(), labels, wraps),
        LabelQuery::One(text) => {
            let found = equal(dim, text, labels, wraps)?;
            Ok(match found.cells.as_slice() {
                [one] if found.exact => AxisSelection::Index(*one),
                _ => AxisSelection::of(found.cells),
            })
        }
        LabelQuery::List(texts) => {
            let mut cells = Vec::new();
            for text in texts {
                cells.extend(equal(dim, text, labels, wraps)?.cells);
            }
            Ok(AxisSelection::of(cells))
        }
    }
}

/// The cells of `dim` whose centre lies in the box.
pub(super) fn by_box(dim: &str, bbox: &BoxQuery, labels: &Labels, wraps: bool) -> Result<AxisSelection, SelectError> {
    let BoxQuery { west, south, east, north, .. } = *bbox;
    let (low, mut high) = if *dim == bbox.x { (west, east) } else { (south, north) };
    if low > high && wraps && *dim == bbox.x {
        high += TURN;
    }
    if low.is_nan() || high.is_nan() || low > high {
        return Err(SelectError::Box { west, south, east, north });
    }
    let Some(axis) = Numbers::of(labels) else {
        return Err(SelectError::NoNumbers { dim: dim.to_owned(), extent: Extent::of(labels) });
    };
    axis.within(dim, &format!("{dim}={low}..{high}"), low, high, labels, wraps)
}

/// Cell nearest to a number or a time; for text, the cell with this very label.
///
/// Of two equally near cells, the one with the greater label. A partial date that holds labels gives the first of
/// them, else the cell nearest to its first instant. With `wraps` labels are degrees of longitude, and distances go
/// the short way round.
///
/// # Errors
/// More than half a cell outside the axis (an axis of one cell: anything but its label), text that is no number,
/// date or label of the axis.
pub fn nearest(labels: &Labels, text: &str, wraps: bool) -> Result<u64, SelectError> {
    let outside = || SelectError::Outside { asked: text.to_owned(), extent: Extent::of(labels) };
    match labels {
        Labels::Text(all) => match all.iter().position(|l| l == text) {
            Some(at) => Ok(at as u64),
            None => Err(SelectError::NoLabel { asked: text.to_owned(), near: near_text(all, text) }),
        },
        Labels::Time(axis) => {
            let (low, high) = time_range(text, axis, labels)?;
            let inside = |t: i128| t != NOT_A_TIME && (low..=high).contains(&t);
            let held = (0..axis.len()).filter(|&i| inside(axis.nanos[i])).min_by_key(|&i| axis.nanos[i]);
            match held.or_else(|| nearest_time(axis, low)) {
                Some(at) => Ok(at as u64),
                None => Err(outside()),
            }
        }
        Labels::Index(_) | Labels::Integer(_) | Labels::Number(_) => {
            let asked = number(text, labels)?;
            let axis = Numbers::of(labels).ok_or_else(outside)?;
            axis.nearest(asked, wraps).ok_or_else(outside)
        }
    }
}

fn nearest_time(axis: &TimeAxis, asked: i128) -> Option<usize> {
    // Times lie far within half the range of `i128`, so no difference overflows.
    let valid = |i: &usize| axis.nanos[*i] != NOT_A_TIME;
    let key = |&i: &usize| ((axis.nanos[i] - asked).abs(), -axis.nanos[i]);
    let at = (0..axis.len()).filter(valid).min_by_key(key)?;
    let least = axis.valid().min()?;
    let greatest = axis.valid().max()?;
    if (least..=greatest).contains(&asked) {
        return Some(at);
    }
    let label = axis.nanos[at];
    let gap = axis.valid().filter(|&t| t != label).map(|t| (t - label).abs()).min().unwrap_or(0);
    ((label - asked).abs() * 2 <= gap).then_some(at)
}

/// What one label finds.
struct Found {
    cells: Vec<u64>,
    /// Whether a single cell drops the dimension: everything but a year or a month.
    exact: bool,
}

/// The cells whose label is `text`, or lies in the partial date `text`.
fn equal(dim: &str, text: &str, labels: &Labels, wraps: bool) -> Result<Found, SelectError> {
    let mut exact = true;
    let (cells, near) = match labels {
        Labels::Text(all) => (positions(all.len(), |i| all[i] == text), near_text(all, text)),
        Labels::Time(axis) => {
            let (low, high) = time_range(text, axis, labels)?;
            exact = high - low < DAY;
            let cells = positions(axis.len(), |i| axis.nanos[i] != NOT_A_TIME && (low..=high).contains(&axis.nanos[i]));
            let near = match cells.is_empty() {
                true => near_by(labels, |i| match axis.nanos[i] {
                    NOT_A_TIME => f64::NAN,
                    t => (t - low).abs() as f64,
                }),
                false => Vec::new(),
            };
            (cells, near)
        }
        Labels::Index(n) => {
            let asked = number(text, labels)?;
            let whole = integer(text).and_then(|i| u64::try_from(i).ok()).filter(|i| i < n);
            let near = match n {
                0 => Vec::new(),
                n => vec![(asked.max(0.0).round() as u64).min(n - 1).to_string()],
            };
            (whole.into_iter().collect(), near)
        }
        Labels::Integer(all) => {
            let asked = number(text, labels)?;
            let find = |turn: i128| match integer(text) {
                Some(whole) => positions(all.len(), |i| i128::from(all[i]) == whole.saturating_add(turn)),
                None => Vec::new(),
            };
            let mut cells = find(0);
            for turn in [360, -360] {
                if wraps && cells.is_empty() {
                    cells = find(turn);
                }
            }
            (cells, near_by(labels, |i| (all[i] as f64 - asked).abs()))
        }
        Labels::Number(all) => {
            let asked = number(text, labels)?;
            let axis = Numbers::new(all.clone());
            let find = |asked: f64| {
                let tolerance = axis.tolerance(asked);
                positions(all.len(), |i| (all[i] - asked).abs() <= tolerance)
            };
            let mut cells = find(asked);
            for turn in [TURN, -TURN] {
                if wraps && cells.is_empty() {
                    cells = find(asked + turn);
                }
            }
            (cells, near_by(labels, |i| (all[i] - asked).abs()))
        }
    };
    match cells.is_empty() {
        true => Err(SelectError::NotFound { dim: dim.to_owned(), asked: text.to_owned(), near }),
        false => Ok(Found { cells, exact }),
    }
}

/// The cells between two labels, both included.
fn between(
    dim: &str,
    from: Option<&str>,
    to: Option<&str>,
    labels: &Labels,
    wraps: bool,
) -> Result<AxisSelection, SelectError> {
    let asked = format!("{dim}={}..{}", from.unwrap_or_default(), to.unwrap_or_default());
    let cells = match labels {
        Labels::Text(all) => {
            let find = |text: &str| match all.iter().position(|l| l == text) {
                Some(at) => Ok(at),
                None => Err(SelectError::NotFound {
                    dim: dim.to_owned(),
                    asked: text.to_owned(),
                    near: near_text(all, text),
                }),
            };
            let low = from.map_or(Ok(0), find)?;
            let high = to.map_or(Ok(all.len().saturating_sub(1)), find)?;
            let (low, high) = (low.min(high), low.max(high));
            positions(all.len(), |i| (low..=high).contains(&i))
        }
        Labels::Time(axis) => {
            let open = (-i128::MAX, i128::MAX);
            let read = |text: Option<&str>| text.map_or(Ok(open), |t| time_range(t, axis, labels));
            let (a, b) = (read(from)?, read(to)?);
            // An open end bounds nothing, so only two written ends can stand the wrong way round.
            let swapped = from.is_some() && to.is_some() && a.0 > b.0;
            let (low, high) = if swapped { (b.0, a.1) } else { (a.0, b.1) };
            positions(axis.len(), |i| axis.nanos[i] != NOT_A_TIME && (low..=high).contains(&axis.nanos[i]))
        }
        Labels::Integer(all) if !wraps => {
            // Exact, also beyond 2⁵³.
            let a = from.map_or(Ok((-i128::MAX, i128::MAX)), |t| whole_ends(t, labels))?;
            let b = to.map_or(Ok((-i128::MAX, i128::MAX)), |t| whole_ends(t, labels))?;
            let swapped = from.is_some() && to.is_some() && (a.1, a.0) > (b.1, b.0);
            // The least label at or above one end, and the greatest at or below the other.
            let (low, high) = match (swapped, from, to) {
                (true, ..) => (b.1, a.0),
                (false, None, None) => (-i128::MAX, i128::MAX),
                (false, None, _) => (-i128::MAX, b.0),
                (false, _, None) => (a.1, i128::MAX),
                (false, ..) => (a.1, b.0),
            };
            positions(all.len(), |i| (low..=high).contains(&i128::from(all[i])))
        }
        Labels::Index(_) | Labels::Integer(_) | Labels::Number(_) => {
            let a = from.map_or(Ok(f64::NEG_INFINITY), |t| number(t, labels))?;
            let b = to.map_or(Ok(f64::INFINITY), |t| number(t, labels))?;
            let (low, high) = (a.min(b), a.max(b));
            return match Numbers::of(labels) {
                Some(axis) => axis.within(dim, &asked, low, high, labels, wraps),
                None => Err(empty(dim, &asked, labels)),
            };
        }
    };
    match cells.is_empty() {
        true => Err(empty(dim, &asked, labels)),
        false => Ok(AxisSelection::of(cells)),
    }
}

/// An axis of numbers, by value.
enum Numbers {
    /// 0 … n − 1.
    Index(u64),
    Listed {
        values: Vec<f64>,
        /// Least distance of neighbours; 0 where there are none.
        spacing: f64,
        /// Whether all values are `float32` values.
        single: bool,
    },
}

impl Numbers {
    fn of(labels: &Labels) -> Option<Numbers> {
        match labels {
            Labels::Index(n) => Some(Numbers::Index(*n)),
            Labels::Integer(v) => Some(Numbers::new(v.iter().map(|&i| i as f64).collect())),
            Labels::Number(v) => Some(Numbers::new(v.clone())),
            Labels::Time(_) | Labels::Text(_) => None,
        }
    }

    fn new(values: Vec<f64>) -> Numbers {
        let gaps = values.windows(2).map(|w| (w[1] - w[0]).abs());
        let least = gaps.filter(|&g| g > 0.0).fold(f64::INFINITY, f64::min);
        let single = values.iter().all(|&v| v.is_nan() || f64::from(v as f32) == v);
        Numbers::Listed { values, spacing: if least.is_finite() { least } else { 0.0 }, single }
    }

    /// How far a label may be from `asked` and still be it.
    fn tolerance(&self, asked: f64) -> f64 {
        let Numbers::Listed { spacing, single, .. } = self else {
            return 0.0;
        };
        // Half a unit in the last place of a `float32`, and a little for the rounding of the difference itself.
        let relative = if *single { 6.0e-8 } else { 1e-9 };
        let cap = if *spacing > 0.0 { spacing * 1e-3 } else { f64::INFINITY };
        let tolerance = (asked.abs() * relative).min(cap).max(spacing * 1e-9);
        if tolerance.is_finite() { tolerance } else { 0.0 }
    }

    /// Cells in `low ..= high`; where longitudes wrap, also those a turn away.
    fn within(
        &self,
        dim: &str,
        asked: &str,
        low: f64,
        high: f64,
        labels: &Labels,
        wraps: bool,
    ) -> Result<AxisSelection, SelectError> {
        let (values, from, to) = match self {
            Numbers::Index(n) => {
                // Casts saturate, so ends beyond the axis are cut.
                let start = low.ceil().max(0.0) as u64;
                let stop = if high < 0.0 { 0 } else { (high.floor() as u64).saturating_add(1).min(*n) };
                return match start < stop {
                    true => Ok(AxisSelection::Range { start, stop, step: 1 }),
                    false => Err(empty(dim, asked, labels)),
                };
            }
            Numbers::Listed { values, .. } => (values, low - self.tolerance(low), high + self.tolerance(high)),
        };
        let least = values.iter().copied().fold(f64::INFINITY, f64::min);
        let greatest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let inside = |v: f64| from <= v && v <= to;
        let turned = |v: f64| inside(v) || inside(v + TURN) || inside(v - TURN);
        // Only ends that are outside the axis are turned; open ends never are.
        let turns = wraps && low.is_finite() && high.is_finite() && (from < least || to > greatest);
        let cells = match turns {
            false => positions(values.len(), |i| inside(values[i])),
            true => positions(values.len(), |i| turned(values[i])),
        };
        if cells.is_empty() {
            return Err(empty(dim, asked, labels));
        }
        let plain = cells.iter().all(|&i| inside(values[i as usize]));
        match AxisSelection::of(cells) {
            AxisSelection::List(_) if !plain => {
                Err(SelectError::Seam { dim: dim.to_owned(), asked: asked.to_owned(), extent: Extent::of(labels) })
            }
            one => Ok(one),
        }
    }

    fn nearest(&self, asked: f64, wraps: bool) -> Option<u64> {
        let values = match self {
            Numbers::Index(0) => return None,
            Numbers::Index(n) => {
                // Half rounds up, to the greater label.
                let at = (asked + 0.5).floor();
                let last = (*n - 1) as f64;
                return (-0.5 <= asked && asked <= last + 0.5).then(|| (at.max(0.0) as u64).min(n - 1));
            }
            Numbers::Listed { values, .. } => values,
        };
        let mut best: Option<(f64, usize, f64)> = None;
        let turns: &[f64] = if wraps { &[0.0, TURN, -TURN] } else { &[0.0] };
        for turn in turns {
            let place = asked + turn;
            for (i, &v) in values.iter().enumerate() {
                let gap = (v - place).abs();
                let better = match best {
                    None => !gap.is_nan(),
                    Some((least, at, best_place)) => {
                        gap < least || (gap == least && best_place == place && v > values[at])
                    }
                };
                if better {
                    best = Some((gap, i, place));
                }
            }
        }
        let (gap, at, place) = best?;
        let least = values.iter().copied().fold(f64::INFINITY, f64::min);
        let greatest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        if least <= place && place <= greatest {
            return Some(at as u64);
        }
        let others = values.iter().map(|v| (v - values[at]).abs()).filter(|&g| g > 0.0);
        let neighbour = others.fold(f64::INFINITY, f64::min);
        let half = if neighbour.is_finite() { neighbour / 2.0 } else { 0.0 };
        (gap <= half + self.tolerance(place)).then_some(at as u64)
    }
}

/// First and last instant that `text` stands for.
fn time_range(text: &str, axis: &TimeAxis, labels: &Labels) -> Result<(i128, i128), SelectError> {
    match parse_partial(text, axis.calendar) {
        Ok(time) => Ok((time.first, time.last)),
        Err(source) => {
            Err(SelectError::NotATime { text: text.to_owned(), extent: Extent::of(labels), source: Box::new(source) })
        }
    }
}

fn number(text: &str, labels: &Labels) -> Result<f64, SelectError> {
    match text.trim().parse::<f64>() {
        Ok(number) if !number.is_nan() => Ok(number),
        _ => Err(SelectError::NotANumber { text: text.to_owned(), extent: Extent::of(labels) }),
    }
}

/// The integer that `text` writes, also as `3.0` or `1e3`.
fn integer(text: &str) -> Option<i128> {
    let text = text.trim();
    text.parse::<i128>().ok().or_else(|| {
        let number = text.parse::<f64>().ok()?;
        (number.fract() == 0.0 && number.abs() < 9e15).then_some(number as i128)
    })
}

/// The integers just below and just above a number; the number itself where it is one.
fn whole_ends(text: &str, labels: &Labels) -> Result<(i128, i128), SelectError> {
    let number = number(text, labels)?;
    Ok(match integer(text) {
        Some(whole) => (whole, whole),
        // Casts saturate, so an infinite end is an open one.
        None => (number.floor() as i128, number.ceil() as i128),
    })
}

fn positions(len: usize, keep: impl Fn(usize) -> bool) -> Vec<u64> {
    (0..len).filter(|&i| keep(i)).map(|i| i as u64).collect()
}

fn empty(dim: &str, asked: &str, labels: &Labels) -> SelectError {
    SelectError::Empty { dim: dim.to_owned(), asked: asked.to_owned(), extent: Extent::of(labels) }
}

/// The labels with the least distance, nearest first. Only for axes that hold their labels.
fn near_by(labels: &Labels, distance: impl Fn(usize) -> f64) -> Vec<String> {
    let mut best: Vec<(f64, u64)> = Vec::new();
    for i in 0..labels.len() {
        let gap = distance(i as usize);
        if gap.is_nan() {
            continue;
        }
        let at = best.partition_point(|b| b.0 <= gap);
        if at < NEAR {
            best.insert(at, (gap, i));
            best.truncate(NEAR);
        }
    }
    best.into_iter().filter_map(|(_, i)| label_text(labels, i)).collect()
}

/// Labels that differ in case only or share a piece with what was asked; else the first few.
fn near_text(all: &[String], asked: &str) -> Vec<String> {
    let asked = asked.to_lowercase();
    let alike = |l: &&String| {
        let l = l.to_lowercase();
        !l.is_empty() && (l.contains(&asked) || asked.contains(&l))
    };
    let found: Vec<String> = all.iter().filter(alike).take(NEAR_TEXT).cloned().collect();
    match found.is_empty() {
        true => all.iter().take(NEAR_TEXT).cloned().collect(),
        false => found,
    }
}
