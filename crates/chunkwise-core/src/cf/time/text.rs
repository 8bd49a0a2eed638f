//! ISO 8601 in both directions: how times are written, and the pieces of a written date.

use super::{Calendar, CivilTime, DAY, HOUR, MINUTE, TimeAxis, TimeError};

/// A time in ISO 8601, without zone: `2024-01-15T10:30:00`, with a fraction only where there is one
/// (`2024-01-15T10:30:00.25`). With `date_only`, midnights are `2024-01-15`; other times are written in full all the same.
///
/// Years have at least four digits; those before 0 a minus, those after 9999 no plus (as cftime and numpy write them).
/// "Not a time" and times beyond [`MAX_NANOS`](super::MAX_NANOS) give `NaT`.
///
/// ```
/// use chunkwise_core::cf::time::{Calendar, format_time};
/// assert_eq!(format_time(0, Calendar::Standard, true), "1970-01-01");
/// assert_eq!(format_time(1_500_000_000, Calendar::Standard, true), "1970-01-01T00:00:01.5");
/// ```
pub fn format_time(nanos: i128, calendar: Calendar, date_only: bool) -> String {
    calendar.civil(nanos).map_or_else(|| "NaT".to_owned(), |time| write(&time, date_only))
}

impl TimeAxis {
    /// Whether all times are midnights, so that dates alone tell them apart.
    pub fn date_only(&self) -> bool {
        self.valid().all(|t| t.rem_euclid(DAY) == 0)
    }

    /// Time `i` in ISO 8601, in the form that suits the whole axis; `None` where it is not a time or beyond the end.
    ///
    /// Looks at the whole axis each time; for many labels use [`TimeAxis::format_all`].
    pub fn format(&self, i: usize) -> Option<String> {
        let time = self.calendar.civil(*self.nanos.get(i)?)?;
        Some(write(&time, self.date_only()))
    }

    /// All times in ISO 8601, in the form that suits the axis; `None` where it is not a time.
    pub fn format_all(&self) -> Vec<Option<String>> {
        let date_only = self.date_only();
        self.civil().map(|time| time.map(|time| write(&time, date_only))).collect()
    }
}

pub(super) fn write(time: &CivilTime, date_only: bool) -> String {
    let sign = if time.year < 0 { "-" } else { "" };
    let mut text = format!("{sign}{:04}-{:02}-{:02}", time.year.unsigned_abs(), time.month, time.day);
    if date_only && (time.hour, time.minute, time.second, time.nanos) == (0, 0, 0, 0) {
        return text;
    }
    text.push_str(&format!("T{:02}:{:02}:{:02}", time.hour, time.minute, time.second));
    if time.nanos > 0 {
        let fraction = format!("{:09}", time.nanos);
        text.push('.');
        text.push_str(fraction.trim_end_matches('0'));
    }
    text
}

/// How much of a date was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Precision {
    Year,
    Month,
    Day,
    Hour,
    Minute,
    Second,
    /// Digits of a fraction of a second.
    Fraction(usize),
}

/// A written date: what is not written is the first there is (January, day 1, 00:00).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) time: CivilTime,
    /// To subtract to get UTC, in nanoseconds.
    pub(super) offset: i128,
    pub(super) precision: Precision,
    pub(super) year_digits: usize,
}

/// Reads `[±]Y[-M[-D[(T| )h[:m[:s[.f]]]]]]` or `YYYYMMDD[…]`, then a zone: `Z`, `UTC`, `GMT`, `±h[h][:mm]`, `±hhmm`;
/// a bare year has at most four digits unless it is signed.
///
/// Digits of a fraction beyond nanoseconds are cut off. Fields are not checked against a calendar.
pub(super) fn read(text: &str) -> Result<Written, TimeError> {
    Reader { rest: text.trim() }.date().ok_or_else(|| TimeError::NotADate { text: text.trim().to_owned() })
}

struct Reader<'a> {
    rest: &'a str,
}

impl Reader<'_> {
    fn date(mut self) -> Option<Written> {
        let sign = self.rest.chars().next().filter(|c| "+-".contains(*c));
        self.skip(usize::from(sign.is_some()));
        let (mut year, year_digits) = self.number(9)?;
        let mut time = CivilTime::midnight(0, 1, 1);
        let mut precision = Precision::Year;
        if year_digits == 8 && !self.rest.starts_with('-') {
            time.month = (year / 100 % 100) as u8;
            time.day = (year % 100) as u8;
            year /= 10_000;
            precision = Precision::Day;
        } else if self.date_part(&mut time.month)? {
            precision = Precision::Month;
            if self.date_part(&mut time.day)? {
                precision = Precision::Day;
            }
        }
        time.year = if sign == Some('-') { -year } else { year };
        if precision == Precision::Day && self.begins_time() {
            precision = self.clock(&mut time)?;
        }
        let offset = self.zone()?;
        // `202403` is no year, nor is a zone that follows one a zone.
        let year_alone = precision == Precision::Year && sign.is_none() && year_digits > 4;
        let zone_alone = precision < Precision::Day && offset != 0;
        (self.rest.is_empty() && !year_alone && !zone_alone).then_some(Written { time, offset, precision, year_digits })
    }

    /// Whether a time of day follows; skips what stands before it.
    fn begins_time(&mut self) -> bool {
        let after = match self.rest.as_bytes().first() {
            Some(b'T' | b't') => &self.rest[1..],
            Some(b' ') => self.rest.trim_start(),
            _ => return false,
        };
        let follows = after.starts_with(|c: char| c.is_ascii_digit());
        if follows {
            self.rest = after;
        }
        follows
    }

    fn clock(&mut self, time: &mut CivilTime) -> Option<Precision> {
        time.hour = self.two_digits()?;
        if !self.rest.starts_with(':') {
            return Some(Precision::Hour);
        }
        self.skip(1);
        time.minute = self.two_digits()?;
        if !self.rest.starts_with(':') {
            return Some(Precision::Minute);
        }
        self.skip(1);
        time.second = self.two_digits()?;
        if !self.rest.starts_with(['.', ',']) {
            return Some(Precision::Second);
        }
        self.skip(1);
        let digits = self.rest.bytes().take_while(u8::is_ascii_digit).count();
        let kept = digits.min(9);
        if kept > 0 {
            time.nanos = self.rest[..kept].parse::<u32>().ok()? * 10_u32.pow(9 - kept as u32);
        }
        self.skip(digits);
        Some(if digits == 0 { Precision::Second } else { Precision::Fraction(digits) })
    }

    fn zone(&mut self) -> Option<i128> {
        self.rest = self.rest.trim_start();
        if ["z", "utc", "gmt"].iter().any(|zone| self.rest.eq_ignore_ascii_case(zone)) {
            self.rest = "";
            return Some(0);
        }
        let sign = match self.rest.as_bytes().first() {
            None => return Some(0),
            Some(b'-') => -1,
            Some(b'+') => 1,
            // An unsigned zone says nothing about its direction, so it can only be zero.
            Some(_) => 0,
        };
        if sign != 0 {
            self.skip(1);
        }
        let (number, digits) = self.number(4)?;
        let (hours, minutes) = if digits > 2 {
            (number / 100, number % 100)
        } else if self.rest.starts_with(':') {
            self.skip(1);
            (number, i64::from(self.two_digits()?))
        } else {
            (number, 0)
        };
        if hours > 23 || minutes > 59 || (sign == 0 && (hours, minutes) != (0, 0)) {
            return None;
        }
        Some(sign * (i128::from(hours) * HOUR + i128::from(minutes) * MINUTE))
    }

    /// Reads `-DD` into `field`; `false` where no dash follows.
    fn date_part(&mut self, field: &mut u8) -> Option<bool> {
        if !self.rest.starts_with('-') {
            return Some(false);
        }
        self.skip(1);
        *field = self.two_digits()?;
        Some(true)
    }

    fn two_digits(&mut self) -> Option<u8> {
        let (number, _) = self.number(2)?;
        u8::try_from(number).ok()
    }

    /// A number of 1 to `most` digits, and how many there were.
    fn number(&mut self, most: usize) -> Option<(i64, usize)> {
        let digits = self.rest.bytes().take_while(u8::is_ascii_digit).count();
        if digits == 0 || digits > most {
            return None;
        }
        let number = self.rest[..digits].parse().ok()?;
        self.skip(digits);
        Some((number, digits))
    }

    /// Skips ASCII characters.
    fn skip(&mut self, count: usize) {
        self.rest = &self.rest[count..];
    }
}
