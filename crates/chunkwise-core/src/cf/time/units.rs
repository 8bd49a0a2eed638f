//! Counts of time: CF's `days since 1970-01-01`, decoded and encoded.

use super::text::{self, format_time};
use super::{Calendar, DAY, HOUR, MINUTE, NOT_A_TIME, SECOND, TimeAxis, TimeError, in_range};
use serde::{Deserialize, Serialize};
use std::fmt;

/// What a count counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say it")]
pub enum CountUnit {
    Nanoseconds,
    Microseconds,
    Milliseconds,
    Seconds,
    Minutes,
    Hours,
    Days,
    Weeks,
    /// 30 days: in `360_day` only.
    Months,
    /// 365 days: in `noleap` only.
    CommonYears,
}

impl CountUnit {
    /// Length in nanoseconds.
    pub fn nanos(self) -> i128 {
        match self {
            CountUnit::Nanoseconds => 1,
            CountUnit::Microseconds => 1000,
            CountUnit::Milliseconds => 1_000_000,
            CountUnit::Seconds => SECOND,
            CountUnit::Minutes => MINUTE,
            CountUnit::Hours => HOUR,
            CountUnit::Days => DAY,
            CountUnit::Weeks => 7 * DAY,
            CountUnit::Months => 30 * DAY,
            CountUnit::CommonYears => 365 * DAY,
        }
    }

    /// The word to write in `units`: `days`.
    pub fn name(self) -> &'static str {
        match self {
            CountUnit::Nanoseconds => "nanoseconds",
            CountUnit::Microseconds => "microseconds",
            CountUnit::Milliseconds => "milliseconds",
            CountUnit::Seconds => "seconds",
            CountUnit::Minutes => "minutes",
            CountUnit::Hours => "hours",
            CountUnit::Days => "days",
            CountUnit::Weeks => "weeks",
            CountUnit::Months => "months",
            CountUnit::CommonYears => "common_years",
        }
    }

    fn from_word(word: &str) -> Option<CountUnit> {
        Some(match word.to_lowercase().as_str() {
            "nanoseconds" | "nanosecond" | "nanosec" | "nanosecs" | "nsec" | "nsecs" | "ns" => CountUnit::Nanoseconds,
            "microseconds" | "microsecond" | "microsec" | "microsecs" | "usec" | "usecs" | "us" | "\u{3bc}s"
            | "\u{b5}s" => CountUnit::Microseconds,
            "milliseconds" | "millisecond" | "millisec" | "millisecs" | "msec" | "msecs" | "ms" => {
                CountUnit::Milliseconds
            }
            "seconds" | "second" | "sec" | "secs" | "s" => CountUnit::Seconds,
            "minutes" | "minute" | "min" | "mins" => CountUnit::Minutes,
            "hours" | "hour" | "hr" | "hrs" | "h" => CountUnit::Hours,
            "days" | "day" | "d" => CountUnit::Days,
            "weeks" | "week" => CountUnit::Weeks,
            _ => return None,
        })
    }
}

/// Whether a `units` attribute reads `UNIT since …`, so that [`TimeUnits::parse`] should take it.
pub fn is_time_units(units: &str) -> bool {
    split(units).is_some()
}

/// The word before `since`, and what follows.
fn split(units: &str) -> Option<(&str, &str)> {
    let (unit, rest) = units.trim().split_once(char::is_whitespace)?;
    let (since, date) = rest.trim_start().split_once(char::is_whitespace)?;
    since.eq_ignore_ascii_case("since").then(|| (unit, date.trim()))
}

/// 1582-10-15T00:00:00.
const GREGORIAN_START: i128 = -141_427 * DAY;

/// `UNIT since DATE` in a calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TimeUnits {
    /// What is counted.
    pub unit: CountUnit,
    /// The instant of count 0: nanoseconds since 1970-01-01T00:00:00 in `calendar`.
    pub origin: i128,
    /// The calendar of the reference date.
    pub calendar: Calendar,
}

impl TimeUnits {
    /// Reads a CF `units` attribute: `days since 2000-01-01`, `hours since 1900-1-1 00:00:0.0`, `s since 1970-01-01T00:00:00Z`.
    ///
    /// `calendar` is the attribute of that name, `standard` where there is none.
    /// Units are those of cftime (singular, plural, short; any case), nanoseconds and weeks. The date may lack a time,
    /// day or month; a zone (`Z`, `UTC`, `-6:00`, `+0530`) is subtracted. Fractions of a second are cut at nanoseconds.
    ///
    /// # Errors
    /// An unknown calendar; text of another form; months and years (but `months` in `360_day` and `common_years` in `noleap`); dates that the calendar
    /// does not have: year 0 in `standard` and `julian`, 1582-10-05 to 14 in `standard`, 30 February.
    ///
    /// ```
    /// use chunkwise_core::cf::time::TimeUnits;
    /// let units = TimeUnits::parse("hours since 1970-01-01 06:00", None).unwrap();
    /// assert_eq!(units.decode_i64(&[Some(-6)]).unwrap().nanos, [0]);
    /// ```
    pub fn parse(units: &str, calendar: Option<&str>) -> Result<TimeUnits, TimeError> {
        let calendar = calendar.map_or(Ok(Calendar::Standard), Calendar::from_name)?;
        let (word, date) = split(units).ok_or_else(|| TimeError::NotTimeUnits { units: units.to_owned() })?;
        let unit = match (CountUnit::from_word(word), word.to_lowercase().as_str(), calendar) {
            (Some(unit), ..) => unit,
            (_, "months" | "month", Calendar::Day360) => CountUnit::Months,
            (_, "common_years" | "common_year", Calendar::NoLeap) => CountUnit::CommonYears,
            (_, "months" | "month" | "years" | "year" | "common_years" | "common_year", _) => {
                return Err(TimeError::NoFixedLength { unit: word.to_owned(), calendar: calendar.name() });
            }
            _ => {
                return Err(TimeError::UnknownUnit { unit: word.to_owned(), units: units.to_owned() });
            }
        };
        let written = text::read(date)?;
        let origin = calendar.nanos(&written.time)? - written.offset;
        Ok(TimeUnits { unit, origin, calendar })
    }

    /// The coarsest of days, hours, minutes … since 1970-01-01 in which every time of `axis` is a whole number.
    pub fn for_axis(axis: &TimeAxis) -> TimeUnits {
        let mut unit = CountUnit::Days;
        for time in axis.valid() {
            while time % unit.nanos() != 0 {
                unit = match unit {
                    CountUnit::Days => CountUnit::Hours,
                    CountUnit::Hours => CountUnit::Minutes,
                    CountUnit::Minutes => CountUnit::Seconds,
                    CountUnit::Seconds => CountUnit::Milliseconds,
                    CountUnit::Milliseconds => CountUnit::Microseconds,
                    _ => CountUnit::Nanoseconds,
                };
            }
        }
        TimeUnits { unit, origin: 0, calendar: axis.calendar }
    }

    /// The time of an integer count, exact. `i64::MIN` is "not a time", as in numpy.
    ///
    /// # Errors
    /// More than a billion years from 1970.
    pub fn decode_integer(&self, count: i64) -> Result<i128, TimeError> {
        if count == i64::MIN {
            return Ok(NOT_A_TIME);
        }
        let nanos = self.origin.saturating_add(i128::from(count) * self.unit.nanos());
        if in_range(nanos) { Ok(nanos) } else { Err(self.out_of_range(count)) }
    }

    /// The time of a floating-point count; `NaN` is "not a time".
    ///
    /// Whole counts are exact. Others are `origin + count × unit`, computed exactly and rounded to the nanosecond, or
    /// to the whole second, millisecond or microsecond if one lies within four units in the last place of `count`:
    /// `1/24` days is 01:00:00 and not 00:59:59.9999997. (cftime rounds all to microseconds and snaps to seconds within 1.5 µs;
    /// pandas cuts at nanoseconds and does not snap.)
    ///
    /// # Errors
    /// Infinite, or more than a billion years from 1970.
    pub fn decode_float(&self, count: f64) -> Result<i128, TimeError> {
        if count.is_nan() {
            return Ok(NOT_A_TIME);
        }
        // Out of range even in nanoseconds; below, exponents stay under 35.
        if count.abs() >= 1e26 {
            return Err(self.out_of_range(count));
        }
        let (mantissa, exponent) = parts(count);
        let product = mantissa * self.unit.nanos();
        let (elapsed, ulp) = if exponent >= 0 {
            let shifted = i128::from(1_u8) << exponent;
            match product.checked_mul(shifted) {
                Some(elapsed) => (elapsed, 0),
                None => return Err(self.out_of_range(count)),
            }
        } else {
            (shift_right_rounded(product, -exponent), shift_right_rounded(self.unit.nanos(), -exponent))
        };
        let nanos = elapsed.checked_add(self.origin).filter(|&t| in_range(t));
        let nanos = nanos.ok_or_else(|| self.out_of_range(count))?;
        let tolerance = if count.fract() == 0.0 { 0 } else { 4 * ulp };
        Ok([SECOND, 1_000_000, 1000]
            .into_iter()
            .map(|grain| (nanos + grain / 2).div_euclid(grain) * grain)
            .find(|round| (round - nanos).abs() <= tolerance)
            .unwrap_or(nanos))
    }

    /// The times of integer counts, exact; `None` and `i64::MIN` are "not a time".
    ///
    /// # Errors
    /// As [`TimeUnits::decode_integer`].
    pub fn decode_i64(&self, counts: &[Option<i64>]) -> Result<TimeAxis, TimeError> {
        let decode = |count: &Option<i64>| count.map_or(Ok(NOT_A_TIME), |count| self.decode_integer(count));
        let nanos = counts.iter().map(decode).collect::<Result<_, _>>()?;
        Ok(TimeAxis { calendar: self.calendar, nanos })
    }

    /// The times of floating-point counts; `NaN` is "not a time". Rounding: see [`TimeUnits::decode_float`].
    ///
    /// # Errors
    /// As [`TimeUnits::decode_float`].
    pub fn decode_f64(&self, counts: &[f64]) -> Result<TimeAxis, TimeError> {
        let nanos = counts.iter().map(|&count| self.decode_float(count)).collect::<Result<_, _>>()?;
        Ok(TimeAxis { calendar: self.calendar, nanos })
    }

    /// The times as whole counts, `i64::MIN` where it is not a time. `None` where a time is no whole 64-bit count
    /// (write floats, or [`TimeUnits::for_axis`]), or the axis is in another calendar.
    pub fn encode(&self, axis: &TimeAxis) -> Option<Vec<i64>> {
        if !self.counts(axis) {
            return None;
        }
        let encode = |&time: &i128| {
            if time == NOT_A_TIME {
                return Some(i64::MIN);
            }
            let elapsed = time.checked_sub(self.origin).filter(|e| e % self.unit.nanos() == 0)?;
            i64::try_from(elapsed / self.unit.nanos()).ok().filter(|&count| count != i64::MIN)
        };
        axis.nanos.iter().map(encode).collect()
    }

    /// The times as the nearest floating-point counts, `NaN` where it is not a time; `None` where the axis is in another calendar.
    pub fn encode_f64(&self, axis: &TimeAxis) -> Option<Vec<f64>> {
        let encode = |&time: &i128| match time {
            NOT_A_TIME => f64::NAN,
            _ => nearest_quotient(time.saturating_sub(self.origin), self.unit.nanos()),
        };
        self.counts(axis).then(|| axis.nanos.iter().map(encode).collect())
    }

    /// Whether dates of `axis` and of this calendar are the same: `standard` and `proleptic_gregorian` agree from 1582-10-15.
    fn counts(&self, axis: &TimeAxis) -> bool {
        let gregorian = |calendar| matches!(calendar, Calendar::Standard | Calendar::ProlepticGregorian);
        axis.calendar == self.calendar
            || gregorian(axis.calendar) && gregorian(self.calendar) && axis.valid().all(|t| t >= GREGORIAN_START)
    }

    fn out_of_range(&self, count: impl fmt::Display) -> TimeError {
        TimeError::OutOfRange { count: count.to_string(), units: self.to_string() }
    }
}

/// As a CF `units` attribute, in UTC: `days since 2000-01-01`, `hours since 1900-01-01 06:00:00`.
impl fmt::Display for TimeUnits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let date = format_time(self.origin, self.calendar, true);
        write!(f, "{} since {}", self.unit.name(), date.replace('T', " "))
    }
}

/// `value = mantissa × 2^exponent` exactly.
fn parts(value: f64) -> (i128, i32) {
    let bits = value.to_bits();
    let field = (bits >> 52 & 0x7ff) as i32;
    let fraction = i128::from(bits & ((1 << 52) - 1));
    let (mantissa, exponent) = if field == 0 { (fraction, -1074) } else { (fraction | 1 << 52, field - 1075) };
    (if value < 0.0 { -mantissa } else { mantissa }, exponent)
}

/// `value / 2^shift`, to the nearest (halves up).
fn shift_right_rounded(value: i128, shift: i32) -> i128 {
    match shift {
        0 => value,
        1..=126 => (value >> shift) + (value >> (shift - 1) & 1),
        _ => 0,
    }
}

/// `numerator / denominator` as the nearest `f64` (ties to even). The denominator is positive and below 2^60.
fn nearest_quotient(numerator: i128, denominator: i128) -> f64 {
    let magnitude = numerator.unsigned_abs();
    if magnitude == 0 {
        return 0.0;
    }
    // The quotient of the shifted number has more than 55 bits; a sticky last bit makes the one rounding below right.
    let shift = magnitude.leading_zeros();
    let (shifted, denominator) = (magnitude << shift, denominator.unsigned_abs());
    let quotient = (shifted / denominator) | u128::from(shifted % denominator != 0);
    let value = quotient as f64 * f64::powi(0.5, shift as i32);
    if numerator < 0 { -value } else { value }
}
