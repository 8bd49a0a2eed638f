use super::*;
use crate::cf::time::{Calendar, DAY, NOT_A_TIME, TimeAxis, parse_partial};

fn axis(calendar: Calendar, times: &[&str]) -> TimeAxis {
    let nanos = times.iter().map(|time| parse_partial(time, calendar).unwrap().first).collect();
    TimeAxis { calendar, nanos }
}

/// Every 25th day from 2000-02-20, eight times.
fn every_25_days(calendar: Calendar) -> TimeAxis {
    let first = parse_partial("2000-02-20", calendar).unwrap().first;
    TimeAxis { calendar, nanos: (0..8).map(|i| first + i * 25 * DAY).collect() }
}

fn days() -> TimeAxis {
    axis(Calendar::Standard, &["2023-11-15", "2023-12-31", "2024-01-01T06", "2024-02-29", "2024-06-10T18:30"])
}

fn hours() -> TimeAxis {
    axis(Calendar::Standard, &["2024-01-01T05", "2024-01-01T07", "2024-01-01T20:59", "2024-01-02T14"])
}

fn windows(window: &str, axis: &TimeAxis) -> Result<Grouping, GroupError> {
    match Window::parse(window).unwrap() {
        Window::Time(spec) => time_windows(&spec, axis),
        Window::Cells(_) => panic!("{window} is no window in time"),
    }
}

/// Checks starts (the first few), the number of windows and the window of each time.
fn check(window: &str, axis: &TimeAxis, starts: &[&str], count: u32, index: &[u32]) {
    let groups = windows(window, axis).unwrap();
    let Labels::Time(labels) = &groups.labels else { panic!("labels of windows are times") };
    let written: Vec<String> = labels.format_all().into_iter().flatten().take(starts.len()).collect();
    assert_eq!(written, starts, "{window}");
    assert_eq!((groups.count, groups.index.as_slice()), (count, index), "{window}");
    assert_eq!(groups.labels.len(), u64::from(count), "{window}");
    let bounds = groups.bounds.as_ref().unwrap();
    for (time, &group) in axis.nanos.iter().zip(&groups.index) {
        let (start, end) = bounds[group as usize];
        assert!(start <= *time && *time < end, "{window}");
    }
    assert!(bounds.windows(2).all(|pair| pair[0].1 == pair[1].0), "{window}");
    let starts = groups.sorted_starts.as_ref().unwrap();
    assert_eq!(starts.len() as u32, count + 1);
    for (position, &group) in groups.index.iter().enumerate() {
        let group = group as usize;
        assert!((starts[group]..starts[group + 1]).contains(&(position as u64)), "{window}");
    }
}

// xarray 2026.9, pandas 3.1: da.resample(time=…).count() with rules MS, 2MS, QS-DEC, YS, 2YS, 10D, W-SUN, 6h, 7h.
#[test]
fn windows_are_those_of_resample() {
    let days = days();
    check("1month", &days, &["2023-11-01", "2023-12-01", "2024-01-01"], 8, &[0, 1, 2, 3, 7]);
    check("2month", &days, &["2023-11-01", "2024-01-01", "2024-03-01", "2024-05-01"], 4, &[0, 0, 1, 1, 3]);
    check("season", &days, &["2023-09-01", "2023-12-01", "2024-03-01", "2024-06-01"], 4, &[0, 1, 1, 1, 3]);
    check("year", &days, &["2023-01-01", "2024-01-01"], 2, &[0, 0, 1, 1, 1]);
    check("2year", &days, &["2023-01-01"], 1, &[0, 0, 0, 0, 0]);
    check("10d", &days, &["2023-11-15", "2023-11-25", "2023-12-05"], 21, &[0, 4, 4, 10, 20]);
    let hours = hours();
    check("6h", &hours, &["2024-01-01T00:00:00", "2024-01-01T06:00:00"], 7, &[0, 1, 3, 6]);
    check("7h", &hours, &["2024-01-01T00:00:00", "2024-01-01T07:00:00"], 6, &[0, 1, 2, 5]);
    check("300min", &hours, &["2024-01-01T05:00:00", "2024-01-01T10:00:00"], 7, &[0, 0, 3, 6]);
}

// W-SUN of xarray gives the same groups of whole days; it labels them by their last day.
#[test]
fn weeks_begin_on_monday() {
    let days = axis(Calendar::Standard, &["2023-11-15", "2023-12-31", "2024-01-01", "2024-02-29", "2024-06-10"]);
    check("week", &days, &["2023-11-13", "2023-11-20"], 31, &[0, 6, 7, 15, 30]);
}

// xarray 2026.9 with cftime axes: rules MS, QS-DEC, 10D.
#[test]
fn windows_follow_the_calendar_of_the_axis() {
    for calendar in [Calendar::Day360, Calendar::NoLeap] {
        let times = every_25_days(calendar);
        check("month", &times, &["2000-02-01", "2000-03-01"], 7, &[0, 1, 2, 3, 3, 4, 5, 6]);
        check("season", &times, &["1999-12-01", "2000-03-01", "2000-06-01"], 3, &[0, 1, 1, 1, 1, 2, 2, 2]);
    }
    let index = [0, 2, 5, 7, 10, 12, 15, 17];
    check("10d", &every_25_days(Calendar::Day360), &["2000-02-20", "2000-02-30", "2000-03-10"], 18, &index);
    check("10d", &every_25_days(Calendar::NoLeap), &["2000-02-20", "2000-03-02", "2000-03-12"], 18, &index);
}

#[test]
fn windows_before_1970_and_across_the_calendar_switch_are_whole() {
    let times = axis(Calendar::Standard, &["1582-10-04", "1582-10-15", "1582-11-01"]);
    check("month", &times, &["1582-10-01", "1582-11-01"], 2, &[0, 0, 1]);
    check("1d", &times, &["1582-10-04", "1582-10-15"], 19, &[0, 1, 18]);
}

#[test]
fn windows_need_ascending_times_and_a_sane_number() {
    let calendar = Calendar::Standard;
    let back = axis(calendar, &["2024-02-01", "2024-01-01"]);
    assert_eq!(
        windows("1month", &back).unwrap_err().to_string(),
        "times must ascend for windows of `1month`, but `2024-01-01` at index 1 follows `2024-02-01`; sort the cube by time first"
    );
    let missing = TimeAxis { calendar, nanos: vec![0, NOT_A_TIME] };
    assert!(matches!(windows("1d", &missing), Err(GroupError::MissingTime { index: 1, .. })));
    let beyond = TimeAxis { calendar, nanos: vec![0, i128::MAX] };
    assert!(matches!(windows("1d", &beyond), Err(GroupError::MissingTime { index: 1, .. })));
    let far = axis(calendar, &["0001-01-01", "2024-01-01"]);
    assert!(matches!(windows("1s", &far), Err(GroupError::TooMany { .. })));
    let none = windows("1d", &TimeAxis { calendar, nanos: vec![] }).unwrap();
    assert_eq!((none.count, none.sorted_starts), (0, Some(vec![0])));
    check("4000000000year", &far, &["0001-01-01"], 1, &[0, 0]);
    check("4000000000d", &far, &["0001-01-01"], 1, &[0, 0]);
}

#[test]
fn windows_are_read_as_users_write_them() {
    for (text, written) in [
        ("1month", "1month"),
        ("10d", "10d"),
        ("season", "1season"),
        ("2 years", "2year"),
        ("week", "1week"),
        ("6H", "6h"),
        ("30min", "30min"),
        ("15s", "15s"),
    ] {
        let Ok(Window::Time(spec)) = Window::parse(text) else { panic!("{text}") };
        assert_eq!(spec.to_string(), written);
    }
    let cells = Window::Cells(vec![("y".to_owned(), 10), ("x".to_owned(), 5)]);
    assert_eq!(Window::parse("y=10, x=5"), Ok(cells));
    for text in [
        "",
        "10",
        "0d",
        "1m",
        "M",
        "99999999999d",
        "-1d",
        "fortnight",
        "1é",
        "y=0",
        "y=",
        "=3",
        "y=1,y=2",
        "y=1,x",
        "y=1month",
    ] {
        assert!(matches!(Window::parse(text), Err(GroupError::NotAWindow { .. })), "{text}");
    }
}

fn cycle(name: &str, axis: &TimeAxis) -> (Vec<u32>, Labels) {
    let groups = cycle_groups(Cycle::parse(name).unwrap(), axis);
    assert_eq!(groups.labels.len(), u64::from(groups.count));
    (groups.index, groups.labels)
}

// xarray 2026.9: da.groupby("time.month") and so on.
#[test]
fn cycles_hold_only_the_parts_that_occur_in_natural_order() {
    let days = days();
    let text = |names: &[&str]| Labels::Text(names.iter().map(|name| (*name).to_owned()).collect());
    assert_eq!(cycle("month", &days), (vec![3, 4, 0, 1, 2], Labels::Integer(vec![1, 2, 6, 11, 12])));
    assert_eq!(cycle("season", &days), (vec![2, 0, 0, 0, 1], text(&["DJF", "JJA", "SON"])));
    assert_eq!(cycle("dayofyear", &days), (vec![3, 4, 0, 1, 2], Labels::Integer(vec![1, 60, 162, 319, 365])));
    assert_eq!(cycle("monthday", &days), (vec![2, 4, 0, 3, 1], Labels::Integer(vec![1, 10, 15, 29, 31])));
    assert_eq!(cycle("weekday", &days), (vec![1, 3, 0, 2, 0], Labels::Integer(vec![0, 2, 3, 6])));
    assert_eq!(cycle("hour", &days), (vec![0, 0, 1, 0, 2], Labels::Integer(vec![0, 6, 18])));
}

// xarray 2026.9 with cftime axes: da.time.dt.dayofyear and so on.
#[test]
fn cycles_follow_the_calendar_of_the_axis() {
    let of = |name, calendar| {
        let (index, Labels::Integer(labels)) = cycle(name, &every_25_days(calendar)) else { panic!("{name}") };
        index.iter().map(|&group| labels[group as usize]).collect::<Vec<_>>()
    };
    assert_eq!(of("dayofyear", Calendar::Day360), [50, 75, 100, 125, 150, 175, 200, 225]);
    assert_eq!(of("monthday", Calendar::Day360), [20, 15, 10, 5, 30, 25, 20, 15]);
    assert_eq!(of("weekday", Calendar::Day360), [1, 5, 2, 6, 3, 0, 4, 1]);
    assert_eq!(of("dayofyear", Calendar::NoLeap), [51, 76, 101, 126, 151, 176, 201, 226]);
    assert_eq!(of("monthday", Calendar::NoLeap), [20, 17, 11, 6, 31, 25, 20, 14]);
    assert_eq!(of("weekday", Calendar::NoLeap), [6, 3, 0, 4, 1, 5, 2, 6]);
}

#[test]
fn a_missing_time_is_in_no_part_of_a_cycle() {
    let times = TimeAxis { calendar: Calendar::Standard, nanos: vec![NOT_A_TIME, 0, i128::MAX] };
    assert_eq!(cycle("month", &times), (vec![NO_GROUP, 0, NO_GROUP], Labels::Integer(vec![1])));
    assert!(Cycle::parse("decade").unwrap_err().to_string().starts_with("`decade` is not a cycle"));
}

#[test]
fn cells_are_windowed_with_a_short_last_group() {
    let groups = cell_windows(7, 3).unwrap();
    assert_eq!((groups.index, groups.sorted_starts), (vec![0, 0, 0, 1, 1, 1, 2], Some(vec![0, 3, 6, 7])));
    assert_eq!((groups.count, groups.labels), (3, Labels::Index(3)));
    assert_eq!(cell_windows(2, u64::MAX).unwrap().sorted_starts, Some(vec![0, 2]));
    assert_eq!(cell_windows(0, 3).unwrap().count, 0);
    assert!(cell_windows(3, 0).is_err());
    assert!(matches!(cell_windows(u64::MAX, u64::MAX), Err(GroupError::TooLong { .. })));
    assert!(matches!(cell_windows(20_000_000, 1), Err(GroupError::TooMany { .. })));
}

// xarray 2026.9: coarsen(x=4, boundary="pad").mean().x
#[test]
fn coarse_labels_are_means_of_the_labels_there_are() {
    assert_eq!(coarsen_labels(&[1.0, 2.0, 4.0, 8.0, 16.0, 32.0], 4), [3.75, 24.0]);
    assert!(coarsen_labels(&[f64::NAN], 2)[0].is_nan());
}
