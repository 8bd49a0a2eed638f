//! Dimensions, sizes, coordinates and values as they are written on a command line.

use chunkwise_core::cf::time::{Calendar, TimeAxis};
use chunkwise_core::cube::Labels;
use chunkwise_core::dtype::{DType, Scalar};
use indexmap::IndexMap;

/// An argument that cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` cannot be understood ({problem}); what works is {works}")]
pub struct BadArgument {
    /// The argument.
    pub text: String,
    /// What is wrong with it.
    pub problem: String,
    /// What would work.
    pub works: &'static str,
}

/// Labels of a dimension whose length is given elsewhere.
#[derive(Clone, Debug, PartialEq)]
pub enum CoordSpec {
    /// `start + i · step`.
    Numbers {
        /// The first label.
        start: f64,
        /// From one to the next.
        step: f64,
    },
    /// Times in the proleptic Gregorian calendar.
    Times {
        /// The first, in nanoseconds since 1970-01-01.
        start: i128,
        /// From one to the next.
        step: Step,
    },
    /// One by one.
    Labels(Labels),
}

/// From one time to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nanoseconds.
    Nanos(i128),
    /// Calendar months: the same day and time, or the last day of a month that is too short.
    Months(i64),
}

const DIM: &str = "`NAME=LENGTH` or `NAME=LABEL,LABEL,…`";
const SIZES: &str = "`NAME=CELLS,NAME=CELLS,…`";
const COORD: &str =
    "`NAME=START:STEP` (numbers, or a date and a step such as `6h`, `1d`, `1month`) or `NAME=LABEL,LABEL,…`";

fn pair<'a>(text: &'a str, works: &'static str) -> Result<(&'a str, &'a str), BadArgument> {
    match text.split_once('=') {
        Some((name, value)) if !name.trim().is_empty() && !value.trim().is_empty() => Ok((name.trim(), value.trim())),
        _ => Err(BadArgument {
            text: text.to_owned(),
            problem: "there is no name and value around `=`".to_owned(),
            works,
        }),
    }
}

/// `time=12` or `band=red,green,blue,nir`: a name, and a length or labels.
///
/// A single whole number is a length; several values are labels, integers or numbers if all of them are, dates likewise,
/// else text.
///
/// # Errors
/// No name, no value, an empty label.
pub fn parse_dim(text: &str) -> Result<(String, Labels), BadArgument> {
    let (name, value) = pair(text, DIM)?;
    if let Ok(length) = value.parse::<u64>() {
        return Ok((name.to_owned(), Labels::Index(length)));
    }
    Ok((name.to_owned(), labels(text, value, DIM)?))
}

/// `time=1,y=250,x=250`: cells along dimensions.
///
/// # Errors
/// Something else than a whole number of at least 1, or a name that stands twice.
pub fn parse_sizes(text: &str) -> Result<IndexMap<String, u64>, BadArgument> {
    let mut sizes = IndexMap::new();
    for part in text.split(',') {
        let (name, value) = pair(part, SIZES)?;
        let bad = |problem: String| BadArgument { text: text.to_owned(), problem, works: SIZES };
        let size = match value.parse::<u64>() {
            Ok(size) if size > 0 => size,
            _ => return Err(bad(format!("`{value}` is no whole number of at least 1"))),
        };
        if sizes.insert(name.to_owned(), size).is_some() {
            return Err(bad(format!("`{name}` stands twice")));
        }
    }
    Ok(sizes)
}

/// `x=600000:30`, `time=2024-01-15:1month`, `band=red,nir`.
///
/// # Errors
/// Neither start and step nor labels.
pub fn parse_coord(text: &str) -> Result<(String, CoordSpec), BadArgument> {
    let (name, value) = pair(text, COORD)?;
    let bad = |problem: String| BadArgument { text: text.to_owned(), problem, works: COORD };
    let name = name.to_owned();
    let Some((start, step)) = value.rsplit_once(':').filter(|_| !value.contains(',')) else {
        return Ok((name, CoordSpec::Labels(labels(text, value, COORD)?)));
    };
    if let (Ok(start), Ok(step)) = (start.trim().parse::<f64>(), step.trim().parse::<f64>()) {
        if !start.is_finite() || !step.is_finite() || step == 0.0 {
            return Err(bad("start and step are finite, and the step is not 0".to_owned()));
        }
        return Ok((name, CoordSpec::Numbers { start, step }));
    }
    let start = nanos(start.trim()).ok_or_else(|| bad(format!("`{start}` is neither a number nor a date")))?;
    let step = parse_step(step.trim()).ok_or_else(|| bad(format!("`{step}` is no step")))?;
    Ok((name, CoordSpec::Times { start, step }))
}

/// A value of a type: `-9999`, `0.5`, `nan`; integers exactly.
///
/// # Errors
/// No number, or one that the type does not hold.
pub fn parse_scalar(text: &str, dtype: DType) -> Result<Scalar, BadArgument> {
    let bad = |problem: String| BadArgument {
        text: text.to_owned(),
        problem,
        works: "a number that the type holds, or `nan` for floats",
    };
    let trimmed = text.trim();
    let scalar = if let Ok(int) = trimmed.parse::<i64>() {
        Scalar::Int(int)
    } else if let Ok(int) = trimmed.parse::<u64>() {
        Scalar::UInt(int)
    } else {
        let float = trimmed.parse::<f64>().map_err(|_| bad("it is no number".to_owned()))?;
        Scalar::Float(float)
    };
    match chunkwise_core::cf::encode::scalar_to_bytes(dtype, scalar) {
        Some(_) => Ok(scalar),
        None => Err(bad(format!("`{dtype}` does not hold it"))),
    }
}

fn labels(text: &str, value: &str, works: &'static str) -> Result<Labels, BadArgument> {
    let parts: Vec<&str> = value.split(',').map(str::trim).collect();
    if parts.iter().any(|p| p.is_empty()) {
        let problem = "a label is empty".to_owned();
        return Err(BadArgument { text: text.to_owned(), problem, works });
    }
    if let Ok(ints) = parts.iter().map(|p| p.parse::<i64>()).collect() {
        return Ok(Labels::Integer(ints));
    }
    let numbers: Option<Vec<f64>> = parts.iter().map(|p| p.parse::<f64>().ok().filter(|v| v.is_finite())).collect();
    if let Some(numbers) = numbers {
        return Ok(Labels::Number(numbers));
    }
    if let Some(nanos) = parts.iter().map(|p| nanos(p)).collect() {
        return Ok(Labels::Time(TimeAxis { calendar: Calendar::ProlepticGregorian, nanos }));
    }
    Ok(Labels::Text(parts.into_iter().map(str::to_owned).collect()))
}

impl CoordSpec {
    /// So many labels; `None` where one leaves the range of years −9999 to 9999 or of numbers.
    pub fn labels(&self, length: u64) -> Option<Labels> {
        match self {
            CoordSpec::Labels(labels) => Some(labels.clone()),
            CoordSpec::Numbers { start, step } => {
                let values: Vec<f64> = (0..length).map(|i| start + step * i as f64).collect();
                values.iter().all(|v| v.is_finite()).then_some(Labels::Number(values))
            }
            CoordSpec::Times { start, step } => {
                let one = |i: u64| match step {
                    Step::Nanos(n) => start.checked_add(n.checked_mul(i.into())?),
                    Step::Months(n) => add_months(*start, n.checked_mul(i64::try_from(i).ok()?)?),
                };
                let nanos: Option<Vec<i128>> = (0..length).map(one).collect();
                let nanos = nanos.filter(|n| n.iter().all(|t| t.abs() < LIMIT))?;
                Some(Labels::Time(TimeAxis { calendar: Calendar::ProlepticGregorian, nanos }))
            }
        }
    }
}

const DAY: i128 = 86_400_000_000_000;
/// Some 12,000 years on either side of 1970.
const LIMIT: i128 = 12_000 * 366 * DAY;

fn parse_step(text: &str) -> Option<Step> {
    let at = text.find(|c: char| c.is_ascii_alphabetic())?;
    let (count, unit) = (text[..at].trim(), &text[at..]);
    let count: i64 = if count.is_empty() { 1 } else { count.parse().ok()? };
    let nanos = |unit: i128| Some(Step::Nanos(unit.checked_mul(count.into())?));
    let step = match unit.strip_suffix('s').filter(|u| u.len() > 1).unwrap_or(unit) {
        "s" | "sec" | "second" => nanos(DAY / 86_400),
        "min" | "minute" => nanos(DAY / 1_440),
        "h" | "hour" => nanos(DAY / 24),
        "d" | "D" | "day" => nanos(DAY),
        "w" | "week" => nanos(7 * DAY),
        "month" | "mo" => Some(Step::Months(count)),
        "y" | "year" => Some(Step::Months(count.checked_mul(12)?)),
        _ => None,
    };
    step.filter(|_| count != 0)
}

/// `2024-01-15`, `2024-01`, `2024-01-15T06:30`, `…:30:15.5`, with `Z` or without: nanoseconds since 1970-01-01.
fn nanos(text: &str) -> Option<i128> {
    let text = text.strip_suffix('Z').unwrap_or(text);
    let (date, time) = match text.split_once(['T', ' ']) {
        Some((date, time)) => (date, Some(time)),
        None => (text, None),
    };
    let digits = |t: &str, n: usize| -> Option<i64> {
        (t.len() == n && t.bytes().all(|b| b.is_ascii_digit())).then(|| t.parse().ok())?
    };
    let mut parts = date.split('-');
    let year = digits(parts.next()?, 4)?;
    let month = digits(parts.next()?, 2)?;
    let day = parts.next().map_or(Some(1), |d| digits(d, 2))?;
    if parts.next().is_some() || !(1..=12).contains(&month) || day < 1 || day > month_days(year, month) {
        return None;
    }
    let mut nanos = i128::from(days(year, month, day)) * DAY;
    if let Some(time) = time {
        let mut parts = time.split(':');
        let hour = digits(parts.next()?, 2).filter(|h| *h < 24)?;
        let minute = digits(parts.next()?, 2).filter(|m| *m < 60)?;
        let second = parts.next().unwrap_or("00");
        let (whole, part) = second.split_once('.').unwrap_or((second, "0"));
        let whole = digits(whole, 2).filter(|s| *s < 60)?;
        let part_nanos = digits(&format!("{part:0<9}"), 9)?;
        if parts.next().is_some() {
            return None;
        }
        nanos += i128::from(hour * 3600 + minute * 60 + whole) * 1_000_000_000 + i128::from(part_nanos);
    }
    Some(nanos)
}

fn add_months(start: i128, months: i64) -> Option<i128> {
    let (day, rest) = (start.div_euclid(DAY), start.rem_euclid(DAY));
    let (year, month, day) = civil(i64::try_from(day).ok()?);
    let count = year.checked_mul(12)?.checked_add(month - 1)?.checked_add(months)?;
    let (year, month) = (count.div_euclid(12), count.rem_euclid(12) + 1);
    if year.abs() > 20_000 {
        return None;
    }
    let day = day.min(month_days(year, month));
    Some(i128::from(days(year, month, day)) * DAY + rest)
}

fn month_days(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970-01-01. Source: H. Hinnant, "chrono-compatible low-level date algorithms" (2021).
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// Year, month and day of days since 1970-01-01. Source: as [`days`].
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    (year + era * 400 + i64::from(month <= 2), month, day)
}
