//! Where an axis has ticks, and what stands at them.

use chunkwise_core::cf::time::{Calendar, CivilTime, format_time};

/// A place on an axis with its label.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Tick {
    /// Value on the axis; of times, seconds.
    pub(crate) at: f64,
    /// What stands there.
    pub(crate) label: String,
}

/// Nanoseconds of a second.
pub(crate) const SECOND: f64 = 1e9;
/// More ticks than this are not looked at.
const MOST: f64 = 60.0;

/// Ticks at whole multiples of 1, 2 or 5 times a power of ten: the closest of which `fits` holds.
pub(crate) fn numbers(
    (low, high): (f64, f64),
    label: &dyn Fn(f64, f64) -> String,
    fits: &dyn Fn(&[Tick]) -> bool,
) -> Vec<Tick> {
    let span = high - low;
    if span.is_nan() || span <= 0.0 || !span.is_finite() {
        return vec![Tick { at: low, label: label(low, low.abs().max(1e-300) / 10.0) }];
    }
    let least = (span / MOST).log10().floor() as i32;
    let steps = (least..least + 5).flat_map(|e| [1.0, 2.0, 5.0].map(|m| power(m, e)));
    let mut last = Vec::new();
    for step in steps.filter(|step| span / step <= MOST) {
        let (first, end) = ((low / step - 1e-9).ceil(), (high / step + 1e-9).floor());
        let ticks: Vec<Tick> = (0..=((end - first).max(0.0) as usize))
            .map(|i| (first + i as f64) * step)
            .filter(|at| *at <= high + 1e-9 * span)
            // No −0.
            .map(|at| Tick { at: at + 0.0, label: label(at + 0.0, step) })
            .collect();
        // Labels of neighbours that are the same have too few digits to tell them apart.
        if fits(&ticks) && ticks.windows(2).all(|w| w[0].label != w[1].label) {
            return ticks;
        }
        if !ticks.is_empty() {
            last = ticks;
        }
    }
    last.truncate(1);
    last
}

/// `m`·10^`e`, as the nearest number.
fn power(m: f64, e: i32) -> f64 {
    format!("{m}e{e}").parse().unwrap_or(m)
}

/// A number at a tick of which the next is `step` away.
pub(crate) fn number(value: f64, step: f64) -> String {
    let (size, exponent) = (value.abs().max(step), step.log10().floor());
    if size >= 1e9 || (exponent < -6.0 && size < 1e-3) {
        let digits = (size.log10().floor() - exponent).clamp(0.0, 15.0) as usize;
        return minus(&format!("{value:.digits$e}"));
    }
    let decimals = (-(exponent + 1e-9).floor()).clamp(0.0, 17.0) as usize;
    minus(&format!("{value:.decimals$}"))
}

/// With the sign for minus, which is as wide as plus.
fn minus(text: &str) -> String {
    text.replace('-', "\u{2212}")
}

/// A longitude as `75°W`.
pub(crate) fn longitude(value: f64, step: f64) -> String {
    let wrapped = (value + 180.0).rem_euclid(360.0) - 180.0;
    degrees(if wrapped == -180.0 && value > 0.0 { 180.0 } else { wrapped }, step, ["W", "E"])
}

/// A latitude as `52.5°N`.
pub(crate) fn latitude(value: f64, step: f64) -> String {
    degrees(value, step, ["S", "N"])
}

fn degrees(value: f64, step: f64, sides: [&str; 2]) -> String {
    let text = number(value.abs(), step);
    let side = match value {
        v if v == 0.0 || v.abs() == 180.0 => "",
        v if v < 0.0 => sides[0],
        _ => sides[1],
    };
    format!("{text}°{side}")
}

/// What lies between two ticks of an axis of times.
#[derive(Clone, Copy, Debug)]
enum Step {
    Seconds(i128),
    Days(i128),
    Months(i64),
    Years(i64),
}

const STEPS: [Step; 27] = [
    Step::Seconds(1),
    Step::Seconds(5),
    Step::Seconds(10),
    Step::Seconds(30),
    Step::Seconds(60),
    Step::Seconds(300),
    Step::Seconds(600),
    Step::Seconds(1800),
    Step::Seconds(3600),
    Step::Seconds(3 * 3600),
    Step::Seconds(6 * 3600),
    Step::Seconds(12 * 3600),
    Step::Days(1),
    Step::Days(2),
    Step::Days(5),
    Step::Days(10),
    Step::Months(1),
    Step::Months(2),
    Step::Months(3),
    Step::Months(6),
    Step::Years(1),
    Step::Years(2),
    Step::Years(5),
    Step::Years(10),
    Step::Years(20),
    Step::Years(50),
    Step::Years(100),
];

impl Step {
    fn seconds(self) -> f64 {
        match self {
            Step::Seconds(n) => n as f64,
            Step::Days(n) => n as f64 * 86_400.0,
            Step::Months(n) => n as f64 * 2.63e6,
            Step::Years(n) => n as f64 * 3.156e7,
        }
    }

    /// Its ticks from `low` to `high`, in seconds.
    fn ticks(self, calendar: Calendar, low: f64, high: f64) -> Vec<Tick> {
        let nanos = |seconds: f64| (seconds * SECOND) as i128;
        let counted = |each: i128, clock: bool| {
            let first = nanos(low).div_euclid(each) * each;
            let all = (0..).map(move |i| first + i * each).take_while(move |&n| n as f64 / SECOND <= high + 1e-6);
            all.map(move |n| (n, clock)).collect::<Vec<_>>()
        };
        let dated = |months: i64| {
            let (Some(a), Some(b)) = (calendar.civil(nanos(low)), calendar.civil(nanos(high))) else {
                return Vec::new();
            };
            let first = (a.year * 12 + i64::from(a.month) - 1).div_euclid(months);
            let last = (b.year * 12 + i64::from(b.month) - 1).div_euclid(months);
            let date = |m: i64| CivilTime::midnight(m.div_euclid(12), m.rem_euclid(12) as u8 + 1, 1);
            (first..=last).filter_map(|i| calendar.nanos(&date(i * months)).ok()).map(|n| (n, false)).collect()
        };
        let found: Vec<(i128, bool)> = match self {
            Step::Seconds(n) => counted(n * 1_000_000_000, true),
            Step::Days(n) => counted(n * 86_400_000_000_000, false),
            Step::Months(n) => dated(n),
            Step::Years(n) => dated(12 * n),
        };
        let within = |n: &i128| (low - 1e-6..=high + 1e-6).contains(&(*n as f64 / SECOND));
        let found = found.into_iter().filter(|(n, _)| within(n));
        found.map(|(n, clock)| Tick { at: n as f64 / SECOND, label: self.label(n, calendar, clock) }).collect()
    }

    fn label(self, nanos: i128, calendar: Calendar, clock: bool) -> String {
        let text = format_time(nanos, calendar, true);
        match self {
            Step::Years(_) => calendar.civil(nanos).map_or(text, |c| c.year.to_string()),
            Step::Months(_) => text.rsplit_once('-').map_or(text.clone(), |(month, _)| month.to_owned()),
            Step::Seconds(_) if clock => text.replace('T', " "),
            _ => text,
        }
    }
}

/// Ticks between two times, given in seconds: the closest of which `fits` holds.
pub(crate) fn times(calendar: Calendar, (low, high): (f64, f64), fits: &dyn Fn(&[Tick]) -> bool) -> Vec<Tick> {
    let mut some = Vec::new();
    for step in STEPS.into_iter().filter(|step| (high - low) / step.seconds() <= MOST) {
        let ticks = step.ticks(calendar, low, high);
        if !ticks.is_empty() && fits(&ticks) {
            if ticks.len() > 1 {
                return ticks;
            }
            some = ticks;
        }
    }
    if some.is_empty() {
        let middle = f64::midpoint(low, high);
        some = vec![Tick { at: middle, label: format_time((middle * SECOND) as i128, calendar, true) }];
    }
    some
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(ticks: &[Tick]) -> Vec<&str> {
        ticks.iter().map(|t| t.label.as_str()).collect()
    }

    #[test]
    fn numbers_stand_at_round_values() {
        let at_most = |n: usize| move |t: &[Tick]| t.len() <= n;
        assert_eq!(labels(&numbers((-1.0, 1.0), &number, &at_most(5))), ["−1.0", "−0.5", "0.0", "0.5", "1.0"]);
        assert_eq!(labels(&numbers((664000.0, 665000.0), &number, &at_most(3))), ["664000", "664500", "665000"]);
        assert_eq!(labels(&numbers((0.0, 3e-9), &number, &at_most(4))), ["0e0", "1e−9", "2e−9", "3e−9"]);
    }

    #[test]
    fn degrees_tell_their_side() {
        assert_eq!([longitude(285.0, 5.0), longitude(-75.0, 5.0), longitude(180.0, 5.0)], ["75°W", "75°W", "180°"]);
        assert_eq!([latitude(52.5, 0.5), latitude(-3.0, 1.0), latitude(0.0, 1.0)], ["52.5°N", "3°S", "0°"]);
    }

    #[test]
    fn times_stand_at_dates_of_their_calendar() {
        let seconds = |year, month, day, calendar: Calendar| {
            calendar.nanos(&CivilTime::midnight(year, month, day)).unwrap() as f64 / SECOND
        };
        let at_most = |n: usize| move |t: &[Tick]| t.len() <= n;
        let standard = Calendar::Standard;
        let year = (seconds(2020, 11, 1, standard), seconds(2021, 10, 1, standard));
        assert_eq!(labels(&times(standard, year, &at_most(5))), ["2021-01", "2021-04", "2021-07", "2021-10"]);
        let short = Calendar::Day360;
        let century = (seconds(1860, 6, 1, short), seconds(2099, 6, 1, short));
        assert_eq!(labels(&times(short, century, &at_most(5))), ["1900", "1950", "2000", "2050"]);
        let month = (seconds(2001, 2, 29, short), seconds(2001, 3, 2, short));
        assert_eq!(labels(&times(short, month, &at_most(4))), ["2001-02-29", "2001-02-30", "2001-03-01", "2001-03-02"]);
    }
}
