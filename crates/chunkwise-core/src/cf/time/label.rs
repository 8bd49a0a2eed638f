//! Dates as users write them to select: a partial date stands for all instants that begin with it.

use super::text::{Precision, read};
use super::{Calendar, DAY, HOUR, MINUTE, SECOND, TimeError};

/// All instants that begin with a written date.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartialTime {
    /// First instant, in nanoseconds since 1970 of the calendar.
    pub first: i128,
    /// Last instant, inclusive.
    pub last: i128,
    /// Whether it was written to the second or finer: it then names one label rather than a range of them.
    pub exact: bool,
}

/// First and last instant that a written date stands for, both inclusive.
///
/// `2024` is a year, `2024-03` a month, `2024-03-05` a day, `2024-03-05T10` an hour, `…T10:30` a minute,
/// `…T10:30:05` a second, `…05.5` a millisecond (1 to 3 digits), then microseconds (4 to 6) and nanoseconds.
/// A space may stand for `T`; `Z` or an offset such as `+02:00` may follow a time.
/// Same ranges as partial string indexing in pandas 3.1 and xarray.
///
/// # Errors
/// Text that is no date (years need four digits), and dates that the calendar does not have.
///
/// ```
/// use chunkwise_core::cf::time::{Calendar, format_time, parse_partial};
/// let february = parse_partial("2024-02", Calendar::Standard).unwrap();
/// assert_eq!(format_time(february.first, Calendar::Standard, true), "2024-02-01");
/// assert_eq!(format_time(february.last, Calendar::Standard, true), "2024-02-29T23:59:59.999999999");
/// ```
pub fn parse_partial(text: &str, calendar: Calendar) -> Result<PartialTime, TimeError> {
    let written = read(text)?;
    // `2024-03-05-06` is more likely a range than the fifth of March in a zone.
    if written.year_digits < 4 || (written.precision == Precision::Day && written.offset != 0) {
        return Err(TimeError::NotADate { text: text.trim().to_owned() });
    }
    let start = calendar.nanos(&written.time)?;
    let month = calendar.month_number(start).unwrap_or_default();
    let end = match written.precision {
        Precision::Year => calendar.month_start(month + 12),
        Precision::Month => calendar.month_start(month + 1),
        Precision::Day => start + DAY,
        Precision::Hour => start + HOUR,
        Precision::Minute => start + MINUTE,
        Precision::Second => start + SECOND,
        Precision::Fraction(1..=3) => start + 1_000_000,
        Precision::Fraction(4..=6) => start + 1000,
        Precision::Fraction(_) => start + 1,
    };
    Ok(PartialTime {
        first: start - written.offset,
        last: end - 1 - written.offset,
        exact: written.precision >= Precision::Second,
    })
}
