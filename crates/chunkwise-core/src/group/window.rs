//! Windows that follow each other: months, ten days, six hours, ten cells.

use super::{GroupError, Grouping, MAX_CELLS, MAX_GROUPS};
use crate::cf::time::{Calendar, DAY, HOUR, MINUTE, NOT_A_TIME, SECOND, TimeAxis, format_time};
use crate::cube::Labels;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::num::NonZeroU32;

/// What a window in time is measured in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "the names say it")]
pub enum WindowUnit {
    Second,
    Minute,
    Hour,
    Day,
    /// From Monday, as ISO 8601.
    Week,
    Month,
    /// Three months from 1 December, March, June or September.
    Season,
    Year,
}

impl WindowUnit {
    fn from_word(word: &str) -> Option<WindowUnit> {
        Some(match word {
            "s" | "sec" | "secs" | "second" | "seconds" => WindowUnit::Second,
            "min" | "mins" | "minute" | "minutes" => WindowUnit::Minute,
            "h" | "hr" | "hrs" | "hour" | "hours" => WindowUnit::Hour,
            "d" | "day" | "days" => WindowUnit::Day,
            "w" | "week" | "weeks" => WindowUnit::Week,
            "mon" | "month" | "months" => WindowUnit::Month,
            "season" | "seasons" => WindowUnit::Season,
            "y" | "yr" | "year" | "years" => WindowUnit::Year,
            _ => return None,
        })
    }

    fn name(self) -> &'static str {
        match self {
            WindowUnit::Second => "s",
            WindowUnit::Minute => "min",
            WindowUnit::Hour => "h",
            WindowUnit::Day => "d",
            WindowUnit::Week => "week",
            WindowUnit::Month => "month",
            WindowUnit::Season => "season",
            WindowUnit::Year => "year",
        }
    }
}

/// Length of windows in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TimeSpec {
    /// How many of the unit.
    pub count: NonZeroU32,
    /// The unit.
    pub unit: WindowUnit,
}

/// As it is asked for: `1month`, `10d`.
impl fmt::Display for TimeSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.count, self.unit.name())
    }
}

/// Windows as a user asks for them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Window {
    /// Along the time dimension.
    Time(TimeSpec),
    /// So many cells along each of these dimensions, in the order written.
    Cells(Vec<(String, u64)>),
}

impl Window {
    /// Reads `1month`, `10d`, `season`, `2year`, `week`, `6h`, `30min`, `15s` (a bare unit is one of it) or `y=10,x=10`.
    ///
    /// # Errors
    /// Another form (`M` and `m` alone may be months or minutes, so they are neither), a count of 0, a dimension named twice.
    pub fn parse(text: &str) -> Result<Window, GroupError> {
        let asked = text.trim();
        let fault = |reason: String| GroupError::NotAWindow { asked: asked.to_owned(), reason };
        if asked.contains('=') {
            return cells(asked).map(Window::Cells).map_err(fault);
        }
        let digits = asked.bytes().take_while(u8::is_ascii_digit).count();
        let (count, word) = asked.split_at(digits);
        let word = word.trim().to_lowercase();
        let unit = WindowUnit::from_word(&word).ok_or_else(|| match word.as_str() {
            "m" => fault("`m` may be `month` or `min`".to_owned()),
            "" => fault("it has no unit".to_owned()),
            _ => fault(format!("`{word}` is no unit of time")),
        })?;
        let count = if count.is_empty() { Some(NonZeroU32::MIN) } else { count.parse().ok() };
        let count = count.ok_or_else(|| fault(format!("the count must be 1 to {}", u32::MAX)))?;
        Ok(Window::Time(TimeSpec { count, unit }))
    }
}

fn cells(asked: &str) -> Result<Vec<(String, u64)>, String> {
    let mut sizes: Vec<(String, u64)> = Vec::new();
    for part in asked.split(',') {
        let (dim, size) = part.split_once('=').ok_or_else(|| format!("`{}` is not `DIM=CELLS`", part.trim()))?;
        let (dim, size) = (dim.trim(), size.trim());
        let cells = size.parse().ok().filter(|&cells: &u64| cells > 0);
        let cells = cells.ok_or_else(|| format!("`{size}` is not a number of cells"))?;
        if dim.is_empty() {
            return Err(format!("`{}` names no dimension", part.trim()));
        }
        if sizes.iter().any(|(other, _)| other == dim) {
            return Err(format!("`{dim}` is given twice"));
        }
        sizes.push((dim.to_owned(), cells));
    }
    Ok(sizes)
}

/// A number line on which windows are evenly spaced: months, or nanoseconds.
enum Line {
    Months { first: i64, step: i64 },
    Nanos { first: i128, step: i128 },
}

impl Line {
    /// The windows of `spec` from the one that holds `time` on.
    fn from(spec: TimeSpec, calendar: Calendar, time: i128) -> Line {
        let count = i128::from(spec.count.get());
        let midnight = time - time.rem_euclid(DAY);
        let months = |size: i64, shift: i64| {
            let month = calendar.month_number(time).unwrap_or_default();
            let first = (month + shift).div_euclid(size) * size - shift;
            Line::Months { first, step: size * i64::from(spec.count.get()) }
        };
        let evenly = |origin: i128, size: i128| {
            let step = count * size;
            Line::Nanos { first: time - (time - origin).rem_euclid(step), step }
        };
        match spec.unit {
            WindowUnit::Second => evenly(midnight, SECOND),
            WindowUnit::Minute => evenly(midnight, MINUTE),
            WindowUnit::Hour => evenly(midnight, HOUR),
            WindowUnit::Day => evenly(midnight, DAY),
            WindowUnit::Week => {
                let days = i128::from(calendar.weekday(time).unwrap_or_default());
                evenly(midnight - days * DAY, 7 * DAY)
            }
            WindowUnit::Month => months(1, 0),
            WindowUnit::Season => months(3, 1),
            WindowUnit::Year => months(12, 0),
        }
    }

    /// How many windows lie before the one that holds `time`.
    fn number(&self, calendar: Calendar, time: i128) -> i128 {
        match *self {
            Line::Months { first, step } => {
                i128::from((calendar.month_number(time).unwrap_or(first) - first).div_euclid(step))
            }
            Line::Nanos { first, step } => (time - first).div_euclid(step),
        }
    }

    fn start(&self, calendar: Calendar, number: u32) -> i128 {
        match *self {
            Line::Months { first, step } => calendar.month_start(first + i64::from(number) * step),
            Line::Nanos { first, step } => first + i128::from(number) * step,
        }
    }
}

/// Groups ascending times into windows that follow each other without gaps.
///
/// Windows begin with the calendar's months, seasons (1 December, March, June, September), years and Mondays; several
/// of them are counted from the first that holds a time. Days, hours, minutes and seconds are counted from the
/// midnight before the first time, as xarray's `resample`. Windows without times between others exist.
/// Labels are the starts; `bounds` are `[start, end)`. No times give no windows.
///
/// # Errors
/// Times that do not ascend (equal ones do), a missing time, more than [`MAX_GROUPS`] windows.
pub fn time_windows(spec: &TimeSpec, axis: &TimeAxis) -> Result<Grouping, GroupError> {
    let calendar = axis.calendar;
    let text = |time: i128| format_time(time, calendar, true);
    for (index, &time) in axis.nanos.iter().enumerate() {
        // Beyond the range of times there are no civil fields; treat as missing.
        if time == NOT_A_TIME || calendar.weekday(time).is_none() {
            return Err(GroupError::MissingTime { window: spec.to_string(), index });
        }
        if index > 0 && time < axis.nanos[index - 1] {
            return Err(GroupError::NotAscending {
                window: spec.to_string(),
                index,
                time: text(time),
                previous: text(axis.nanos[index - 1]),
            });
        }
    }
    let (Some(&first), Some(&last)) = (axis.nanos.first(), axis.nanos.last()) else {
        return Ok(Grouping {
            index: Vec::new(),
            count: 0,
            labels: Labels::Time(TimeAxis { calendar, nanos: Vec::new() }),
            bounds: Some(Vec::new()),
            sorted_starts: Some(vec![0]),
        });
    };
    let line = Line::from(*spec, calendar, first);
    let count = line.number(calendar, last).unsigned_abs() + 1;
    if count > u128::from(MAX_GROUPS) {
        return Err(GroupError::TooMany { window: spec.to_string(), first: text(first), last: text(last), count });
    }
    let count = count as u32;
    let index: Vec<u32> = axis.nanos.iter().map(|&time| line.number(calendar, time) as u32).collect();
    let starts: Vec<i128> = (0..=count).map(|number| line.start(calendar, number)).collect();
    let sorted_starts = (0..=count).map(|window| index.partition_point(|&group| group < window) as u64).collect();
    Ok(Grouping {
        index,
        count,
        bounds: Some(starts.windows(2).map(|pair| (pair[0], pair[1])).collect()),
        labels: Labels::Time(TimeAxis { calendar, nanos: starts[..count as usize].to_vec() }),
        sorted_starts: Some(sorted_starts),
    })
}

/// Groups `length` cells by `size`; the last group may be smaller. Labels are indices: see [`coarsen_labels`].
///
/// # Errors
/// A size of 0, more than [`MAX_GROUPS`] groups, or a dimension of more than [`MAX_CELLS`] cells.
pub fn cell_windows(length: u64, size: u64) -> Result<Grouping, GroupError> {
    let window = || format!("{size} cells");
    if size == 0 {
        return Err(GroupError::NotAWindow { asked: window(), reason: "`0` is not a number of cells".to_owned() });
    }
    if length > MAX_CELLS {
        return Err(GroupError::TooLong { length });
    }
    let count = length.div_ceil(size);
    if count > MAX_GROUPS {
        return Err(GroupError::TooMany {
            window: window(),
            first: "0".to_owned(),
            last: (length - 1).to_string(),
            count: count.into(),
        });
    }
    Ok(Grouping {
        index: (0..length).map(|cell| (cell / size) as u32).collect(),
        count: count as u32,
        labels: Labels::Index(count),
        bounds: None,
        sorted_starts: Some((0..=count).map(|window| window.saturating_mul(size).min(length)).collect()),
    })
}

/// Mean of each `size` labels, as xarray's `coarsen` makes coordinates; the last mean may be of fewer.
/// `NaN` is left out; a window of nothing else is `NaN`. A size of 0 counts as 1.
pub fn coarsen_labels(labels: &[f64], size: usize) -> Vec<f64> {
    let mean = |window: &[f64]| {
        let numbers = window.iter().filter(|label| !label.is_nan());
        numbers.clone().sum::<f64>() / numbers.count() as f64
    };
    labels.chunks(size.max(1)).map(mean).collect()
}
