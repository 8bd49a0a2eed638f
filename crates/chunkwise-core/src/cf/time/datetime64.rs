//! numpy's `datetime64`: 64-bit counts since 1970-01-01 in the proleptic Gregorian calendar.

use super::{Calendar, DAY, HOUR, MINUTE, NOT_A_TIME, SECOND, TimeAxis, TimeError, in_range};

/// One count of a unit.
enum Step {
    Months(i128),
    Nanos(i128),
    /// So many counts are a nanosecond.
    PerNano(i128),
}

impl Step {
    fn of(unit: &str) -> Result<Step, TimeError> {
        Ok(match unit {
            "Y" => Step::Months(12),
            "M" => Step::Months(1),
            "W" => Step::Nanos(7 * DAY),
            "D" => Step::Nanos(DAY),
            "h" => Step::Nanos(HOUR),
            "m" => Step::Nanos(MINUTE),
            "s" => Step::Nanos(SECOND),
            "ms" => Step::Nanos(1_000_000),
            "us" | "\u{3bc}s" | "\u{b5}s" => Step::Nanos(1000),
            "ns" => Step::Nanos(1),
            "ps" => Step::PerNano(1000),
            "fs" => Step::PerNano(1_000_000),
            "as" => Step::PerNano(1_000_000_000),
            _ => {
                return Err(TimeError::UnknownNumpyUnit { unit: unit.to_owned() });
            }
        })
    }
}

/// Month number of 1970-01, counted from January of year 0.
const MONTHS_TO_1970: i128 = 1970 * 12;

impl TimeAxis {
    /// Times of `datetime64` counts; `i64::MIN` (`NaT`) is "not a time".
    ///
    /// `unit` is numpy's name (`Y M W D h m s ms us ns ps fs as`), of which one count is `step`.
    /// Units finer than a nanosecond are rounded down to one, as numpy's `astype("M8[ns]")`.
    ///
    /// # Errors
    /// An unknown unit, or a time more than a billion years from 1970.
    pub fn from_datetime64(unit: &str, step: u32, counts: &[i64]) -> Result<TimeAxis, TimeError> {
        let one = Step::of(unit)?;
        let calendar = Calendar::ProlepticGregorian;
        let decode = |&stored: &i64| {
            if stored == i64::MIN {
                return Ok(NOT_A_TIME);
            }
            let count = i128::from(stored) * i128::from(step);
            let nanos = match one {
                Step::Months(n) => count
                    .checked_mul(n)
                    .and_then(|months| i64::try_from(months + MONTHS_TO_1970).ok())
                    .filter(|months| months.unsigned_abs() < 13_000_000_000)
                    .map(|months| calendar.month_start(months)),
                Step::Nanos(n) => count.checked_mul(n),
                Step::PerNano(n) => Some(count.div_euclid(n)),
            };
            nanos.filter(|&t| in_range(t)).ok_or_else(|| TimeError::OutOfRange {
                count: stored.to_string(),
                units: if step == 1 { format!("datetime64[{unit}]") } else { format!("datetime64[{step}{unit}]") },
            })
        };
        Ok(TimeAxis { calendar, nanos: counts.iter().map(decode).collect::<Result<_, _>>()? })
    }

    /// The times as `datetime64` counts of `unit`, `i64::MIN` where it is not a time; `None` where a time is no whole
    /// 64-bit count of the unit, or the unit is unknown.
    ///
    /// The dates are taken as they stand: numpy's calendar is proleptic Gregorian, and only `standard` after 1582-10-15
    /// agrees with it.
    pub fn to_datetime64(&self, unit: &str, step: u32) -> Option<Vec<i64>> {
        let one = Step::of(unit).ok()?;
        let width = i128::from(step.max(1));
        let encode = |&time: &i128| {
            if time == NOT_A_TIME {
                return Some(i64::MIN);
            }
            let whole = |value: i128, by: i128| (value % by == 0).then_some(value / by);
            let count = match one {
                Step::Months(n) => self
                    .calendar
                    .month_number(time)
                    .filter(|&month| self.calendar.month_start(month) == time)
                    .and_then(|month| whole(i128::from(month) - MONTHS_TO_1970, n)),
                Step::Nanos(n) => whole(time, n),
                Step::PerNano(n) => time.checked_mul(n),
            };
            let count = i64::try_from(whole(count?, width)?).ok()?;
            (count != i64::MIN).then_some(count)
        };
        self.nanos.iter().map(encode).collect()
    }
}
