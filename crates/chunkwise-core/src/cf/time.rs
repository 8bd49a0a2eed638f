//! Time in every CF calendar.
//!
//! A time is a count of nanoseconds since 1970-01-01T00:00:00 *in its calendar* (`i128`), so that differences,
//! orderings and windows are plain integer arithmetic and only the civil fields know calendars.
//! [`NOT_A_TIME`] marks a missing time; other times lie within ±[`MAX_NANOS`], about a billion years.
//! There are no leap seconds: CF calendars have days of 86 400 seconds.
//!
//! Rules and spellings follow cftime 1.6 (year numbering, calendar switch, units) and, for labels, pandas.

mod civil;
mod datetime64;
mod label;
mod text;
mod units;

#[cfg(test)]
mod tests;

pub use civil::CivilTime;
pub use label::{PartialTime, parse_partial};
pub use text::format_time;
pub use units::{CountUnit, TimeUnits, is_time_units};

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The count that marks "not a time" in [`TimeAxis::nanos`].
pub const NOT_A_TIME: i128 = i128::MIN;

/// Times lie within ± this many nanoseconds of 1970 (a little over a billion years).
pub const MAX_NANOS: i128 = 32_000_000_000_000_000_000_000_000;

/// Nanoseconds in a second.
pub const SECOND: i128 = 1_000_000_000;
/// Nanoseconds in a minute.
pub const MINUTE: i128 = 60 * SECOND;
/// Nanoseconds in an hour.
pub const HOUR: i128 = 60 * MINUTE;
/// Nanoseconds in a day.
pub const DAY: i128 = 24 * HOUR;

/// A CF calendar.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Calendar {
    /// Mixed Julian/Gregorian (`standard`, `gregorian`): 1582-10-04 is followed by 1582-10-15.
    #[default]
    Standard,
    /// Gregorian rules for all years.
    ProlepticGregorian,
    /// Julian rules for all years.
    Julian,
    /// 365-day years (`noleap`, `365_day`).
    NoLeap,
    /// 366-day years (`all_leap`, `366_day`).
    AllLeap,
    /// Twelve months of 30 days (`360_day`).
    Day360,
}

impl Calendar {
    /// All calendars, in the order of the enum.
    pub const ALL: [Calendar; 6] = [
        Calendar::Standard,
        Calendar::ProlepticGregorian,
        Calendar::Julian,
        Calendar::NoLeap,
        Calendar::AllLeap,
        Calendar::Day360,
    ];

    /// The calendar of a `calendar` attribute, in any case; empty text is `standard`.
    ///
    /// # Errors
    /// `none` (a time axis without dates) and names that are no calendar known here (`tai`, `utc`, `lunar`).
    ///
    /// ```
    /// use chunkwise_core::cf::time::Calendar;
    /// assert_eq!(Calendar::from_name("365_DAY").unwrap(), Calendar::NoLeap);
    /// ```
    pub fn from_name(name: &str) -> Result<Calendar, TimeError> {
        let name = name.trim();
        Ok(match name.to_ascii_lowercase().as_str() {
            "" | "standard" | "gregorian" => Calendar::Standard,
            "proleptic_gregorian" => Calendar::ProlepticGregorian,
            "julian" => Calendar::Julian,
            "noleap" | "365_day" => Calendar::NoLeap,
            "all_leap" | "366_day" => Calendar::AllLeap,
            "360_day" => Calendar::Day360,
            "none" => return Err(TimeError::NoCalendar),
            _ => {
                return Err(TimeError::UnknownCalendar { name: name.to_owned() });
            }
        })
    }

    /// CF's name: `standard`, `proleptic_gregorian`, `julian`, `noleap`, `all_leap`, `360_day`.
    pub fn name(self) -> &'static str {
        match self {
            Calendar::Standard => "standard",
            Calendar::ProlepticGregorian => "proleptic_gregorian",
            Calendar::Julian => "julian",
            Calendar::NoLeap => "noleap",
            Calendar::AllLeap => "all_leap",
            Calendar::Day360 => "360_day",
        }
    }
}

/// The labels of a time axis.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TimeAxis {
    /// Calendar in which the counts are to be read.
    pub calendar: Calendar,
    /// Nanoseconds since 1970-01-01T00:00:00 in that calendar; `i128::MIN` is "not a time".
    pub nanos: Vec<i128>,
}

impl TimeAxis {
    /// How many times.
    pub fn len(&self) -> usize {
        self.nanos.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.nanos.is_empty()
    }

    /// The times that are times, in order.
    pub fn valid(&self) -> impl Iterator<Item = i128> + '_ {
        self.nanos.iter().copied().filter(|&t| t != NOT_A_TIME)
    }
}

/// Whether `nanos` is a time that the functions of this module take.
fn in_range(nanos: i128) -> bool {
    (-MAX_NANOS..=MAX_NANOS).contains(&nanos)
}

/// Why a time, a date, a unit or a calendar cannot be read or written.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TimeError {
    /// `calendar = "none"`: counts that stand for no date.
    #[error("calendar `none` has no dates; read the axis as plain numbers")]
    NoCalendar,
    /// A calendar that is not one of CF's six.
    #[error(
        "calendar `{name}` is not known; known are `standard`, `gregorian`, `proleptic_gregorian`, `julian`, `noleap`, `365_day`, `all_leap`, `366_day`, `360_day`"
    )]
    UnknownCalendar {
        /// The name asked for.
        name: String,
    },
    /// Not of the form `UNIT since DATE`.
    #[error("`{units}` is not a unit of time; it should read like `days since 1970-01-01`")]
    NotTimeUnits {
        /// The `units` attribute.
        units: String,
    },
    /// The word before `since` is no unit.
    #[error(
        "`{unit}` in `{units}` is not a unit of time; it may be `days`, `hours`, `minutes`, `seconds`, `milliseconds`, `microseconds`, `nanoseconds` or `weeks`"
    )]
    UnknownUnit {
        /// The word before `since`.
        unit: String,
        /// The `units` attribute.
        units: String,
    },
    /// Months or years, whose length varies in the calendar.
    #[error(
        "`{unit}` have no fixed length in calendar `{calendar}`; only `months` in `360_day` and `common_years` in `noleap` can be counted (else `days`)"
    )]
    NoFixedLength {
        /// The unit asked for.
        unit: String,
        /// CF's name of the calendar.
        calendar: &'static str,
    },
    /// Text that does not read as a date.
    #[error("`{text}` is not a date; write `2024`, `2024-03`, `2024-03-05` or `2024-03-05T10:30:00`")]
    NotADate {
        /// The text.
        text: String,
    },
    /// A date that the calendar does not have.
    #[error("`{date}` does not exist in calendar `{calendar}`: {reason}")]
    NoSuchDate {
        /// The date as written.
        date: String,
        /// CF's name of the calendar.
        calendar: &'static str,
        /// What is wrong with it: `February 2023 has 28 days`.
        reason: String,
    },
    /// Beyond about a billion years from 1970: nearly always a fill value that no attribute names.
    #[error(
        "time `{count}` in `{units}` is more than a billion years from 1970 (a fill value that `_FillValue` does not name?)"
    )]
    OutOfRange {
        /// The stored count.
        count: String,
        /// Its units.
        units: String,
    },
    /// A unit that numpy's `datetime64` does not have, or the unit `generic`.
    #[error(
        "`datetime64[{unit}]` is no unit of time; it may be `Y`, `M`, `W`, `D`, `h`, `m`, `s`, `ms`, `us`, `ns`, `ps`, `fs` or `as`"
    )]
    UnknownNumpyUnit {
        /// The unit, with its step where that is not 1.
        unit: String,
    },
}
