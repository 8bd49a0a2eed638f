use super::*;
use proptest::prelude::*;

mod oracle;

fn units(text: &str, calendar: &str) -> TimeUnits {
    TimeUnits::parse(text, Some(calendar)).unwrap()
}

fn first(text: &str, calendar: Calendar) -> i128 {
    parse_partial(text, calendar).unwrap().first
}

#[test]
fn counts_are_the_dates_of_cftime_in_every_calendar() {
    for &(name, text, count, date, day_of_year, weekday) in oracle::CFTIME {
        let units = units(text, name);
        let axis = units.decode_i64(&[Some(count)]).unwrap();
        let (calendar, time) = (axis.calendar, axis.nanos[0]);
        let case = format!("{count} {text} ({name})");
        assert_eq!(format_time(time, calendar, false), date, "{case}");
        assert_eq!(calendar.day_of_year(time), Some(day_of_year), "{case}");
        assert_eq!(calendar.weekday(time), Some(weekday), "{case}");
        assert_eq!(units.encode(&axis), Some(vec![count]), "{case}");
        assert_eq!(units.encode_f64(&axis), Some(vec![count as f64]), "{case}");
        assert_eq!(units.decode_f64(&[count as f64]).unwrap(), axis, "{case}");
        assert_eq!(first(date, calendar), time, "{case}");
    }
}

// cftime 1.6.6 and xarray 2026.9 agree on these.
#[test]
fn fractions_of_days_and_hours_are_the_times_that_were_meant() {
    for (text, count, date) in [
        ("days since 2000-01-01", 1.0 / 24.0, "2000-01-01T01:00:00"),
        ("hours since 2000-01-01", 1.0 / 3.0, "2000-01-01T00:20:00"),
        ("days since 1850-01-01", 0.1, "1850-01-01T02:24:00"),
        ("seconds since 2000-01-01", 0.1, "2000-01-01T00:00:00.1"),
        ("hours since 1900-01-01", 1_051_896.25, "2020-01-01T00:15:00"),
    ] {
        let axis = units(text, "standard").decode_f64(&[count]).unwrap();
        assert_eq!(axis.format(0).unwrap(), date, "{count} {text}");
    }
}

#[test]
fn a_float_beyond_what_its_last_digit_tells_is_within_that_digit_of_xarray() {
    // xarray 2026.9: 2014-04-11T02:57:46.666569728; cftime 1.6.6: …666569. The count has a grain of 628 ns.
    let axis = units("days since 1850-01-01", "standard").decode_f64(&[60000.123456789]).unwrap();
    let xarray = first("2014-04-11T02:57:46.666569728", Calendar::Standard);
    assert!((axis.nanos[0] - xarray).abs() < 4 * 629);
}

#[test]
fn missing_counts_are_not_a_time_and_come_back() {
    let units = units("days since 2000-01-01", "noleap");
    let axis = units.decode_i64(&[Some(1), None, Some(i64::MIN)]).unwrap();
    assert_eq!(axis.format_all(), [Some("2000-01-02".to_owned()), None, None]);
    assert_eq!(units.encode(&axis), Some(vec![1, i64::MIN, i64::MIN]));
    let floats = units.decode_f64(&[f64::NAN, 2.0]).unwrap();
    assert_eq!(floats.format_all(), [None, Some("2000-01-03".to_owned())]);
    assert!(units.encode_f64(&floats).unwrap()[0].is_nan());
    assert_eq!(format_time(NOT_A_TIME, Calendar::Standard, true), "NaT");
}

#[test]
fn hostile_counts_are_errors() {
    let units = units("days since 2000-01-01", "standard");
    for count in [i64::MAX, i64::MIN + 1] {
        assert!(matches!(units.decode_i64(&[Some(count)]), Err(TimeError::OutOfRange { .. })));
    }
    for count in [f64::INFINITY, f64::NEG_INFINITY, 9.97e36, -1e300, f64::MAX] {
        assert!(matches!(units.decode_f64(&[count]), Err(TimeError::OutOfRange { .. })), "{count}");
    }
    assert_eq!(units.decode_f64(&[f64::MIN_POSITIVE]).unwrap().nanos, [units.origin]);
}

#[test]
fn units_are_read_in_the_spellings_of_cftime_and_xarray() {
    for (text, date) in [
        ("hrs since 2000-1-1", "2000-01-01T01:00:00"),
        ("Days Since 2000-1-1", "2000-01-02T00:00:00"),
        ("  day  since  2000-01-01  ", "2000-01-02T00:00:00"),
        ("days since 2000-01-01 00:00:00 +0530", "2000-01-01T18:30:00"),
        ("days since 2000-01-01 00:00:00+05:30", "2000-01-01T18:30:00"),
        ("s since 1970-01-01T00:00:00Z", "1970-01-01T00:00:01"),
        ("msecs since 1970-01-01 00:00:00.000 UTC", "1970-01-01T00:00:00.001"),
        ("us since 1970-01-01", "1970-01-01T00:00:00.000001"),
        ("nanoseconds since 1970-01-01", "1970-01-01T00:00:00.000000001"),
        ("weeks since 1970-01-01", "1970-01-08T00:00:00"),
        ("days since 2000", "2000-01-02T00:00:00"),
    ] {
        let axis = TimeUnits::parse(text, None).unwrap().decode_i64(&[Some(1)]).unwrap();
        assert_eq!(format_time(axis.nanos[0], axis.calendar, false), date, "{text}");
    }
    for (text, calendar, date) in [
        ("months since 2000-01-01", "360_day", "2000-02-01"),
        ("common_years since 2000-01-01", "noleap", "2001-01-01"),
    ] {
        assert_eq!(units(text, calendar).decode_i64(&[Some(1)]).unwrap().format(0).unwrap(), date, "{text}");
    }
}

#[test]
fn units_without_a_fixed_length_or_a_real_date_are_refused() {
    let fault = |text, calendar| TimeUnits::parse(text, Some(calendar)).unwrap_err().to_string();
    assert_eq!(
        fault("months since 2000-01-01", "standard"),
        "`months` have no fixed length in calendar `standard`; only `months` in `360_day` and `common_years` in `noleap` can be counted (else `days`)"
    );
    assert!(fault("years since 2000-01-01", "noleap").starts_with("`years` have no fixed length"));
    assert!(fault("fortnights since 2000-01-01", "standard").starts_with("`fortnights` in"));
    assert!(fault("kelvin", "standard").contains("not a unit of time"));
    assert!(fault("days since yesterday", "standard").contains("`yesterday` is not a date"));
    assert!(fault("days since 0000-01-01", "standard").contains("the year before 1 is -1"));
    assert!(fault("days since 1582-10-10", "standard").contains("1582-10-04 is followed by 1582-10-15"));
    assert!(fault("days since 2000-02-29", "noleap").contains("February 2000 has 28 days"));
    assert!(fault("days since 2000-01-01", "lunar").starts_with("calendar `lunar` is not known"));
    assert!(fault("days since 2000-01-01", "none").contains("has no dates"));
}

#[test]
fn axes_are_encoded_whole_or_not_at_all() {
    let axis = TimeAxis { calendar: Calendar::Standard, nanos: vec![0, 6 * HOUR] };
    assert_eq!(units("days since 1970-01-01", "standard").encode(&axis), None);
    assert_eq!(units("days since 1970-01-01", "standard").encode_f64(&axis), Some(vec![0.0, 0.25]));
    assert_eq!(units("days since 1970-01-01", "proleptic_gregorian").encode_f64(&axis), Some(vec![0.0, 0.25]));
    assert_eq!(units("days since 1970-01-01", "noleap").encode_f64(&axis), None);
    assert_eq!(TimeUnits::for_axis(&axis).to_string(), "hours since 1970-01-01");
    assert_eq!(TimeUnits::for_axis(&axis).encode(&axis), Some(vec![0, 6]));
}

// numpy 2.4: np.datetime64(count, step + unit).astype("M8[ns]")
#[test]
fn datetime64_counts_are_numpys_times() {
    for (unit, step, count, date) in [
        ("Y", 1, 54, "2024-01-01"),
        ("M", 1, -1, "1969-12-01"),
        ("W", 1, 1, "1970-01-08"),
        ("D", 10, 3, "1970-01-31"),
        ("h", 1, -1, "1969-12-31T23:00:00"),
        ("ms", 25, 41, "1970-01-01T00:00:01.025"),
        ("us", 1, -1, "1969-12-31T23:59:59.999999"),
        ("ns", 1, 1, "1970-01-01T00:00:00.000000001"),
        ("ps", 1, -1, "1969-12-31T23:59:59.999999999"),
    ] {
        let axis = TimeAxis::from_datetime64(unit, step, &[count]).unwrap();
        assert_eq!(axis.calendar, Calendar::ProlepticGregorian);
        assert_eq!(axis.format(0).unwrap(), date, "{count} {step}{unit}");
        if unit != "ps" {
            assert_eq!(axis.to_datetime64(unit, step), Some(vec![count]), "{count} {step}{unit}");
        }
    }
    assert_eq!(TimeAxis::from_datetime64("ns", 1, &[i64::MIN]).unwrap().nanos, [NOT_A_TIME]);
    for unit in ["Y", "M", "W", "D", "h", "m", "s"] {
        assert!(TimeAxis::from_datetime64(unit, u32::MAX, &[i64::MAX, i64::MIN + 1]).is_err(), "{unit}");
    }
    assert!(TimeAxis::from_datetime64("generic", 1, &[0]).is_err());
}

// pandas 3.1: DatetimeIndex._parsed_string_to_bounds, at nanoseconds in place of microseconds.
#[test]
fn a_partial_date_stands_for_all_that_begins_with_it() {
    for (text, from, to, exact) in [
        ("2024", "2024-01-01", "2024-12-31T23:59:59.999999999", false),
        ("2024-03", "2024-03-01", "2024-03-31T23:59:59.999999999", false),
        ("2024-03-05", "2024-03-05", "2024-03-05T23:59:59.999999999", false),
        ("2024-03-05T10", "2024-03-05T10:00:00", "2024-03-05T10:59:59.999999999", false),
        ("2024-03-05 10:30", "2024-03-05T10:30:00", "2024-03-05T10:30:59.999999999", false),
        ("2024-03-05T10:30:05", "2024-03-05T10:30:05", "2024-03-05T10:30:05.999999999", true),
        ("2024-03-05T10:30:05.5", "2024-03-05T10:30:05.5", "2024-03-05T10:30:05.500999999", true),
        ("2024-03-05T10:30Z", "2024-03-05T10:30:00", "2024-03-05T10:30:59.999999999", false),
    ] {
        let calendar = Calendar::Standard;
        let range = parse_partial(text, calendar).unwrap();
        let ends = [range.first, range.last].map(|time| format_time(time, calendar, true));
        assert_eq!((ends[0].as_str(), ends[1].as_str(), range.exact), (from, to, exact), "{text}");
    }
    let last = parse_partial("2024-02", Calendar::Day360).unwrap().last;
    assert_eq!(format_time(last, Calendar::Day360, true), "2024-02-30T23:59:59.999999999");
    let last = parse_partial("1582-10", Calendar::Standard).unwrap();
    assert_eq!(last.last - last.first + 1, 21 * DAY);
}

#[test]
fn text_that_is_no_date_of_the_calendar_is_refused() {
    for text in [
        "",
        "24",
        "2024-13",
        "2023-02-29",
        "2024-03-05T25",
        "2024-03-05T10:60",
        "202403",
        "monday",
        "2024-03-05-06",
        "é",
        "2024-é",
        "99999999999999999999",
    ] {
        assert!(parse_partial(text, Calendar::Standard).is_err(), "{text}");
    }
    assert!(parse_partial("2024-01-31", Calendar::Day360).is_err());
}

#[test]
fn axes_of_midnights_are_written_as_dates() {
    let mut axis = TimeAxis { calendar: Calendar::Standard, nanos: vec![0, DAY, NOT_A_TIME] };
    assert!(axis.date_only());
    assert_eq!(axis.format(1).unwrap(), "1970-01-02");
    axis.nanos.push(DAY + 1);
    assert_eq!(axis.format(1).unwrap(), "1970-01-02T00:00:00");
    assert_eq!(axis.format(3).unwrap(), "1970-01-02T00:00:00.000000001");
    assert_eq!(axis.format(9), None);
}

#[test]
fn months_have_the_days_of_their_calendar() {
    for (calendar, year, days) in [
        (Calendar::Standard, 1900, 28),
        (Calendar::Standard, 1500, 29),
        (Calendar::ProlepticGregorian, 1500, 28),
        (Calendar::Julian, 1900, 29),
        (Calendar::NoLeap, 2000, 28),
        (Calendar::AllLeap, 2001, 29),
        (Calendar::Day360, 2001, 30),
    ] {
        assert_eq!(calendar.days_in_month(year, 2), Some(days), "{calendar:?} {year}");
    }
    assert_eq!(Calendar::Standard.days_in_month(2000, 13), None);
    assert!(Calendar::Standard.days_in_month(i64::MIN, 2).is_some());
}

// Leap days are too rare for random days to meet them: 600 years around the switch and around year 0, day by day.
#[test]
fn every_day_of_six_centuries_round_trips_and_follows_the_day_before() {
    for calendar in Calendar::ALL {
        for from in [-255_000, -830_000] {
            let mut before = calendar.civil((from - 1) * DAY).unwrap();
            for day in from..from + 220_000 {
                let civil = calendar.civil(day * DAY).unwrap();
                assert_eq!(calendar.nanos(&civil), Ok(day * DAY), "{calendar:?} {civil:?}");
                assert!(before < civil, "{calendar:?} {before:?} {civil:?}");
                assert!(
                    civil.day <= calendar.days_in_month(civil.year, civil.month).unwrap(),
                    "{calendar:?} {civil:?}"
                );
                before = civil;
            }
        }
    }
}

fn calendars() -> impl Strategy<Value = Calendar> {
    prop::sample::select(Calendar::ALL.to_vec())
}

proptest! {
    #[test]
    fn civil_fields_and_text_round_trip(calendar in calendars(), time in -MAX_NANOS..=MAX_NANOS) {
        let civil = calendar.civil(time).unwrap();
        prop_assert_eq!(calendar.nanos(&civil), Ok(time));
        prop_assert!(civil.day <= calendar.days_in_month(civil.year, civil.month).unwrap());
        let near = time % (400_000 * DAY);
        let text = format_time(near, calendar, false);
        prop_assert_eq!(first(&text, calendar), near, "{}", text);
    }

    #[test]
    fn dates_ascend_day_by_day(calendar in calendars(), day in -1_000_000_i128..1_000_000) {
        let (today, tomorrow) = (calendar.civil(day * DAY).unwrap(), calendar.civil((day + 1) * DAY).unwrap());
        prop_assert!(today < tomorrow);
        let weekdays = [day, day + 1].map(|day| calendar.weekday(day * DAY).unwrap());
        prop_assert_eq!((weekdays[0] + 1) % 7, weekdays[1]);
    }

    #[test]
    fn counts_round_trip(calendar in calendars(), count in -1_000_000_i64..1_000_000, unit in "(days|hours|minutes|seconds|milliseconds)") {
        let units = units(&format!("{unit} since 1950-01-01"), calendar.name());
        let axis = units.decode_i64(&[Some(count)]).unwrap();
        prop_assert_eq!(units.encode(&axis), Some(vec![count]));
        prop_assert_eq!(TimeUnits::parse(&units.to_string(), Some(calendar.name())), Ok(units));
    }

    #[test]
    fn no_text_and_no_number_panics(text in ".{0,40}", date in "[-+0-9TZ:. ]{0,30}", year in any::<i64>(), month in any::<u8>(), count in any::<f64>(), stored in any::<i64>(), calendar in calendars()) {
        let _ = TimeUnits::parse(&text, Some(&text));
        let _ = parse_partial(&text, calendar);
        let _ = parse_partial(&date, calendar);
        if let Ok(units) = TimeUnits::parse(&format!("days since {date}"), Some(calendar.name())) {
            let _ = units.decode_f64(&[count]);
            let _ = units.decode_i64(&[Some(stored)]);
        }
        let _ = calendar.nanos(&CivilTime::midnight(year, month, 1));
        let _ = calendar.days_in_month(year, month);
        let _ = calendar.civil(i128::from(stored) * i128::from(stored));
    }
}
