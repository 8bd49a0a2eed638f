//! Civil fields of a time: year, month, day and time of day, in every calendar.
//!
//! Years are counted astronomically in here (1, 0, −1 …) and turned into the calendar's own numbering at the border:
//! `standard` and `julian` have no year 0, as cftime's defaults.

use super::{Calendar, DAY, HOUR, MINUTE, NOT_A_TIME, SECOND, TimeAxis, TimeError, in_range};
use serde::{Deserialize, Serialize};

/// Date and time of day in a calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CivilTime {
    /// Year as the calendar counts: `standard` and `julian` go from −1 to 1, the others have a year 0.
    pub year: i64,
    /// 1 to 12.
    pub month: u8,
    /// 1 to 31.
    pub day: u8,
    /// 0 to 23.
    pub hour: u8,
    /// 0 to 59.
    pub minute: u8,
    /// 0 to 59.
    pub second: u8,
    /// Nanoseconds within the second.
    pub nanos: u32,
}

impl CivilTime {
    /// Midnight of a date.
    pub fn midnight(year: i64, month: u8, day: u8) -> CivilTime {
        CivilTime { year, month, day, hour: 0, minute: 0, second: 0, nanos: 0 }
    }
}

/// Days from 0000-03-01 to 1970-01-01, by Gregorian rules.
const GREGORIAN_EPOCH: i64 = 719_468;
/// Days from 0000-03-01 to the same day as Gregorian 1970-01-01, by Julian rules.
const JULIAN_EPOCH: i64 = 719_470;
/// Day number of 1582-10-15, the first Gregorian day of the mixed calendar.
const SWITCH_DAY: i64 = -141_427;
/// Julian 1970-01-01 is this many days after Gregorian 1970-01-01.
const JULIAN_LAG: i64 = 13;
/// Days before each month from January, in years of 365 and 366 days.
const BEFORE: [i64; 13] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334, 365];
const BEFORE_LEAP: [i64; 13] = [0, 31, 60, 91, 121, 152, 182, 213, 244, 274, 305, 335, 366];
/// No date is farther from year 0 than this, so that day numbers stay far from overflow.
const MAX_YEAR: i64 = 1_100_000_000;

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

impl Calendar {
    /// Whether the calendar counts a year 0 (`standard` and `julian` do not).
    pub fn has_year_zero(self) -> bool {
        !matches!(self, Calendar::Standard | Calendar::Julian)
    }

    /// Whether `year` has 366 days by the calendar's rule (in `360_day`: never). Year 0 counts as year −1 where there is none.
    pub fn is_leap_year(self, year: i64) -> bool {
        self.is_leap(self.astronomical(year))
    }

    /// Days in a month; `None` when `month` is not 1 to 12.
    ///
    /// October 1582 of `standard` gives 31 though it misses ten days, as cftime's `daysinmonth`.
    pub fn days_in_month(self, year: i64, month: u8) -> Option<u8> {
        (1..=12).contains(&month).then(|| self.month_length(self.astronomical(year), month))
    }

    /// Date and time of day; `None` for "not a time" and beyond [`MAX_NANOS`](super::MAX_NANOS).
    ///
    /// ```
    /// use chunkwise_core::cf::time::{Calendar, CivilTime};
    /// let noon = Calendar::Day360.civil(12 * 3_600_000_000_000);
    /// assert_eq!(noon, Some(CivilTime { hour: 12, ..CivilTime::midnight(1970, 1, 1) }));
    /// ```
    pub fn civil(self, nanos: i128) -> Option<CivilTime> {
        if !in_range(nanos) {
            return None;
        }
        let (year, month, day) = self.date_of(day_number(nanos));
        let rest = nanos.rem_euclid(DAY);
        Some(CivilTime {
            year: self.numbered(year),
            month,
            day,
            hour: (rest / HOUR) as u8,
            minute: (rest % HOUR / MINUTE) as u8,
            second: (rest % MINUTE / SECOND) as u8,
            nanos: (rest % SECOND) as u32,
        })
    }

    /// Nanoseconds since 1970-01-01T00:00:00 in this calendar.
    ///
    /// # Errors
    /// A field out of its range, a day that the month does not have, year 0 where there is none, the ten days that
    /// `standard` skips in October 1582, and years beyond a billion.
    pub fn nanos(self, time: &CivilTime) -> Result<i128, TimeError> {
        let fault = |reason: String| TimeError::NoSuchDate {
            date: super::text::write(time, false),
            calendar: self.name(),
            reason,
        };
        let year = self.astronomical(time.year);
        if time.year == 0 && !self.has_year_zero() {
            return Err(fault("the year before 1 is -1".to_owned()));
        }
        if year.abs() > MAX_YEAR {
            return Err(fault("years beyond a billion are not supported".to_owned()));
        }
        if !(1..=12).contains(&time.month) {
            return Err(fault("months are 1 to 12".to_owned()));
        }
        let length = self.month_length(year, time.month);
        if !(1..=length).contains(&time.day) {
            let month = MONTHS[usize::from(time.month) - 1];
            return Err(fault(format!("{month} {} has {length} days", time.year)));
        }
        if self == Calendar::Standard && (year, time.month) == (1582, 10) && (5..15).contains(&time.day) {
            return Err(fault("1582-10-04 is followed by 1582-10-15".to_owned()));
        }
        if time.hour > 23 || time.minute > 59 || time.second > 59 || time.nanos > 999_999_999 {
            return Err(fault("a day ends at 23:59:59.999999999".to_owned()));
        }
        let days = self.day_of_date(year, time.month, time.day);
        let within = i128::from(time.hour) * HOUR
            + i128::from(time.minute) * MINUTE
            + i128::from(time.second) * SECOND
            + i128::from(time.nanos);
        let nanos = i128::from(days) * DAY + within;
        if in_range(nanos) { Ok(nanos) } else { Err(fault("years beyond a billion are not supported".to_owned())) }
    }

    /// Day of the year from 1; `None` for "not a time".
    ///
    /// In `standard`, days after the switch of October 1582 are counted as if no day were missing, as cftime's `dayofyr`.
    pub fn day_of_year(self, nanos: i128) -> Option<u16> {
        in_range(nanos).then(|| {
            let (year, month, day) = self.date_of(day_number(nanos));
            (self.before_month(year, month) + i64::from(day)) as u16
        })
    }

    /// Day of the week, Monday = 0 … Sunday = 6; `None` for "not a time". As pandas' `dayofweek` and cftime's `dayofwk`.
    pub fn weekday(self, nanos: i128) -> Option<u8> {
        in_range(nanos).then(|| self.weekday_of_day(day_number(nanos)))
    }

    pub(crate) fn weekday_of_day(self, day: i64) -> u8 {
        // Weekday of 1970-01-01; of the idealised calendars, the one that makes 0000-01-01 a Monday (cftime's choice).
        let first = match self {
            Calendar::Standard | Calendar::ProlepticGregorian | Calendar::NoLeap => 3,
            Calendar::Julian | Calendar::Day360 => 2,
            Calendar::AllLeap => 6,
        };
        (day + first).rem_euclid(7) as u8
    }

    /// Months since January of year 0 (astronomical): a number line of months.
    pub(crate) fn month_number(self, nanos: i128) -> Option<i64> {
        in_range(nanos).then(|| {
            let (year, month, _) = self.date_of(day_number(nanos));
            year * 12 + i64::from(month) - 1
        })
    }

    /// First instant of a month of [`Calendar::month_number`].
    pub(crate) fn month_start(self, number: i64) -> i128 {
        let month = number.rem_euclid(12) as u8 + 1;
        i128::from(self.day_of_date(number.div_euclid(12), month, 1)) * DAY
    }

    /// The calendar's own number of an astronomical year.
    pub(crate) fn numbered(self, year: i64) -> i64 {
        if year <= 0 && !self.has_year_zero() { year - 1 } else { year }
    }

    /// Astronomical year of the calendar's own number.
    pub(crate) fn astronomical(self, year: i64) -> i64 {
        if year < 0 && !self.has_year_zero() { year + 1 } else { year }
    }

    fn is_leap(self, year: i64) -> bool {
        let gregorian = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        match self {
            Calendar::Standard if year >= 1582 => gregorian,
            Calendar::ProlepticGregorian => gregorian,
            Calendar::Standard | Calendar::Julian => year % 4 == 0,
            Calendar::AllLeap => true,
            Calendar::NoLeap | Calendar::Day360 => false,
        }
    }

    fn before_month(self, year: i64, month: u8) -> i64 {
        let month = usize::from(month) - 1;
        match self {
            Calendar::Day360 => 30 * month as i64,
            _ if self.is_leap(year) => BEFORE_LEAP[month],
            _ => BEFORE[month],
        }
    }

    fn month_length(self, year: i64, month: u8) -> u8 {
        let next = match (self, month) {
            (Calendar::Day360, _) => return 30,
            (_, 12) => return 31,
            _ => self.before_month(year, month + 1),
        };
        (next - self.before_month(year, month)) as u8
    }

    /// Days since 1970-01-01 of an existing date; `year` is astronomical.
    fn day_of_date(self, year: i64, month: u8, day: u8) -> i64 {
        match self {
            Calendar::ProlepticGregorian => gregorian_day(year, month, day),
            Calendar::Julian => julian_day(year, month, day) - JULIAN_LAG,
            Calendar::Standard if (year, month, day) >= (1582, 10, 15) => gregorian_day(year, month, day),
            Calendar::Standard => julian_day(year, month, day),
            Calendar::NoLeap | Calendar::AllLeap | Calendar::Day360 => {
                (year - 1970) * self.year_length() + self.before_month(year, month) + i64::from(day) - 1
            }
        }
    }

    /// Astronomical year, month and day of a day number.
    fn date_of(self, day: i64) -> (i64, u8, u8) {
        match self {
            Calendar::ProlepticGregorian => gregorian_date(day),
            Calendar::Julian => julian_date(day + JULIAN_LAG),
            Calendar::Standard if day >= SWITCH_DAY => gregorian_date(day),
            Calendar::Standard => julian_date(day),
            Calendar::NoLeap | Calendar::AllLeap | Calendar::Day360 => {
                let year = 1970 + day.div_euclid(self.year_length());
                let rest = day.rem_euclid(self.year_length());
                let mut month = 12;
                while self.before_month(year, month) > rest {
                    month -= 1;
                }
                (year, month, (rest - self.before_month(year, month)) as u8 + 1)
            }
        }
    }

    /// Days in every year of an idealised calendar.
    fn year_length(self) -> i64 {
        match self {
            Calendar::AllLeap => 366,
            Calendar::Day360 => 360,
            _ => 365,
        }
    }
}

impl TimeAxis {
    /// Civil fields of each time; `None` where it is not a time.
    pub fn civil(&self) -> impl Iterator<Item = Option<CivilTime>> + '_ {
        self.nanos.iter().map(|&t| if t == NOT_A_TIME { None } else { self.calendar.civil(t) })
    }
}

/// Days since 1970-01-01, of a time in range.
pub(crate) fn day_number(nanos: i128) -> i64 {
    nanos.div_euclid(DAY) as i64
}

// The four functions below count in years that begin on 1 March, so that the leap day is the last.
// Source: Hinnant, "chrono-Compatible Low-Level Date Algorithms" (2013), days_from_civil and civil_from_days.

/// Year from March, and days since 1 March.
fn from_march(year: i64, month: u8, day: u8) -> (i64, i64) {
    let month = i64::from(month);
    (year - i64::from(month <= 2), (153 * ((month + 9) % 12) + 2) / 5 + i64::from(day) - 1)
}

/// The date that many days after 1 March of `year`.
fn to_january(year: i64, day_of_year: i64) -> (i64, u8, u8) {
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = (from_march + 2) % 12 + 1;
    (year + i64::from(month <= 2), month as u8, day as u8)
}

fn gregorian_day(year: i64, month: u8, day: u8) -> i64 {
    let (year, day_of_year) = from_march(year, month, day);
    365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + day_of_year - GREGORIAN_EPOCH
}

fn gregorian_date(day: i64) -> (i64, u8, u8) {
    let day = day + GREGORIAN_EPOCH;
    let (era, of_era) = (day.div_euclid(146_097), day.rem_euclid(146_097));
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    to_january(era * 400 + year, of_era - (365 * year + year / 4 - year / 100))
}

/// Days since the day that is 1970-01-01 in the Gregorian calendar.
fn julian_day(year: i64, month: u8, day: u8) -> i64 {
    let (year, day_of_year) = from_march(year, month, day);
    365 * year + year.div_euclid(4) + day_of_year - JULIAN_EPOCH
}

fn julian_date(day: i64) -> (i64, u8, u8) {
    let day = day + JULIAN_EPOCH;
    let (era, of_era) = (day.div_euclid(1461), day.rem_euclid(1461));
    let year = (of_era - of_era / 1460) / 365;
    to_january(era * 4 + year, of_era - 365 * year)
}
