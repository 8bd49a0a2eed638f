//! Cells of time selections and slices: xarray 2026.9.0 with pandas 3.1.1, `list(range(10))[slice(…)]` for slices.

use super::*;
use crate::cf::time::{Calendar, DAY, HOUR, TimeAxis};
use std::convert::Infallible;

/// 2024-01-01, in days since 1970.
const YEAR_2024: i128 = 19_723;

fn days(calendar: Calendar, first: i128, count: i128) -> Labels {
    Labels::Time(TimeAxis { calendar, nanos: (first..first + count).map(|d| d * DAY).collect() })
}

fn daily() -> Labels {
    days(Calendar::Standard, YEAR_2024, 366)
}

fn mid_months() -> Labels {
    let nanos = [0, 31, 60, 91, 121, 152, 182, 213, 244, 274, 305, 335].map(|d| (YEAR_2024 + 14 + d) * DAY).to_vec();
    Labels::Time(TimeAxis { calendar: Calendar::Standard, nanos })
}

fn hourly() -> Labels {
    let nanos = (0..48).map(|h| YEAR_2024 * DAY + h * HOUR).collect();
    Labels::Time(TimeAxis { calendar: Calendar::Standard, nanos })
}

fn numbers(first: f64, step: f64, count: usize) -> Labels {
    Labels::Number((0..count).map(|i| first + step * i as f64).collect())
}

fn bands() -> Labels {
    Labels::Text(["red", "green", "blue", "nir"].map(str::to_owned).to_vec())
}

fn select(sel: &str, isel: &str, bbox: Option<BoxQuery>, dims: &[(&str, Labels)]) -> Result<Selection, SelectError> {
    let sel = if sel.is_empty() { Vec::new() } else { parse_sel(sel)? };
    let isel = if isel.is_empty() { Vec::new() } else { parse_isel(isel)? };
    let lens = dims.iter().map(|(d, l)| ((*d).to_owned(), l.len())).collect();
    let labels = |dim: &str| -> Result<Labels, Infallible> {
        Ok(dims.iter().find(|d| d.0 == dim).map(|d| d.1.clone()).unwrap())
    };
    resolve(&sel, &isel, bbox.as_ref(), &lens, &labels, &|dim| dim == "lon")
}

/// `3..7`, `3..7:2`, `[1, 3]`, `4` (dropped), or the error.
fn show(found: Result<Selection, SelectError>) -> String {
    let one = |(dim, axis): (&String, &AxisSelection)| match axis {
        AxisSelection::Range { start, stop, step: 1 } => format!("{dim} {start}..{stop}"),
        AxisSelection::Range { start, stop, step } => format!("{dim} {start}..{stop}:{step}"),
        AxisSelection::List(list) => format!("{dim} {list:?}"),
        AxisSelection::Index(index) => format!("{dim} {index}"),
    };
    found.map_or_else(|e| e.to_string(), |s| s.axes.iter().map(one).collect::<Vec<_>>().join("; "))
}

#[track_caller]
fn check_sel(dim: &str, labels: Labels, text: &str, expected: &str) {
    assert_eq!(show(select(&format!("{dim}={text}"), "", None, &[(dim, labels)])), expected, "{dim}={text}");
}

#[track_caller]
fn check_isel(text: &str, expected: &str) {
    assert_eq!(show(select("", &format!("x={text}"), None, &[("x", Labels::Index(10))])), expected, "x={text}");
}

#[test]
fn a_label_range_includes_both_ends_and_may_be_open() {
    check_sel("y", numbers(0.0, 10.0, 10), "20..40", "y 2..5");
    check_sel("y", numbers(0.0, 10.0, 10), "15..40.5", "y 2..5");
    check_sel("y", numbers(0.0, 10.0, 10), "65..", "y 7..10");
    check_sel("y", numbers(0.0, 10.0, 10), "..10", "y 0..2");
    check_sel("y", numbers(0.0, 10.0, 10), "..", "y 0..10");
    check_sel("y", Labels::Index(1000), "10..19", "y 10..20");
    check_sel(
        "y",
        Labels::Index(u64::MAX),
        "1e30..",
        "`y=1e30..` selects nothing; `y` goes from `0` to `18446744073709551614` (18446744073709551615 cells)",
    );
}

#[test]
fn a_descending_axis_keeps_its_order_whichever_end_is_written_first() {
    // As `sel(lat=slice(40, 10))` on 60, 50 … 0.
    for text in ["40..10", "10..40"] {
        check_sel("lat", numbers(60.0, -10.0, 7), text, "lat 2..6");
    }
    check_sel("lat", numbers(60.0, -10.0, 7), "40..", "lat 0..3");
}

#[test]
fn an_exact_label_drops_its_dimension_and_a_list_keeps_it() {
    check_sel("band", bands(), "nir", "band 3");
    check_sel("band", bands(), "nir,red", "band [3, 0]");
    check_sel("band", bands(), "green..nir", "band 1..4");
    check_sel("id", Labels::Integer(vec![4, 7, 9]), "7", "id 1");
    check_sel("id", Labels::Integer(vec![4, 7, 9]), "7.0", "id 1");
    check_sel("id", Labels::Integer(vec![4, 7, 4]), "4", "id [0, 2]");
    let (cube, walk) = (select("band=nir", "", None, &[("band", bands())]).unwrap(), Indices::all(4));
    assert!(cube.drops("band") && !cube.drops("y"));
    assert_eq!((cube.indices("band", 4).at(0), cube.indices("y", 4)), (3, walk));
}

#[test]
fn integers_match_exactly_beyond_the_precision_of_floats() {
    let big = 9_007_199_254_740_992;
    let labels = || Labels::Integer(vec![big, big + 1, big + 2]);
    check_sel("id", labels(), "9007199254740993", "id 1");
    check_sel("id", labels(), "9007199254740993..", "id 1..3");
    check_sel("id", labels(), "9007199254740994..9007199254740993", "id 1..3");
    check_sel("id", Labels::Integer(vec![1, 2, 3, 4]), "1.5..3.5", "id 1..3");
    check_sel("id", Labels::Integer(vec![1, 2, 3, 4]), "3.5..1.5", "id 1..3");
}

#[test]
fn float_labels_match_within_rounding_but_never_a_neighbour() {
    check_sel("y", numbers(0.0, 0.1, 10), "0.3", "y 3"); // 3 × 0.1 is 0.30000000000000004
    check_sel("y", numbers(0.0, 0.1, 10), "0.1..0.3", "y 1..4");
    check_sel("y", Labels::Number(vec![40.0, f64::from(40.1_f32), f64::from(40.2_f32)]), "40.1", "y 1");
    check_sel("y", Labels::Number(vec![40.0, f64::from(40.1_f32), f64::from(40.2_f32)]), "40.1..40.2", "y 1..3");
    check_sel("t", numbers(1e10, 1.0, 3), "10000000001", "t 1");
    check_sel("y", Labels::Number(vec![f64::NAN, 1.0]), "..", "y 1..2");
}

#[test]
fn a_partial_date_is_all_of_its_month_day_or_hour() {
    check_sel("time", daily(), "2024-01..2024-06", "time 0..182");
    check_sel("time", daily(), "2024-02-10..2024-02-12", "time 40..43");
    check_sel("time", daily(), "2024-11..", "time 305..366");
    check_sel("time", daily(), "..2024-01", "time 0..31");
    check_sel("time", daily(), "2024-06..2024-01", "time 0..182");
    check_sel("time", daily(), "2024-03", "time 60..91");
    check_sel("time", hourly(), "2024-01-01", "time 0..24");
    check_sel("time", days(Calendar::NoLeap, 19_710, 365), "2024-02", "time 31..59");
}

#[test]
fn a_full_date_that_holds_one_label_drops_the_dimension_and_a_month_never_does() {
    check_sel("time", daily(), "2024-03-05", "time 64");
    check_sel("time", hourly(), "2024-01-01T05", "time 5");
    check_sel("time", hourly(), "2024-01-02T00:00:00", "time 24");
    check_sel("time", mid_months(), "2024-03-15", "time 2");
    check_sel("time", mid_months(), "2024-03", "time 2..3");
    check_sel("time", mid_months(), "2024-03-15,2024-01", "time [2, 0]");
    check_sel(
        "time",
        mid_months(),
        "2024-03-17",
        "`time` has no label `2024-03-17`; the nearest are `2024-03-15`, `2024-04-15`, `2024-02-15`",
    );
}

#[test]
fn longitudes_outside_the_axis_are_tried_a_turn_away() {
    check_sel("lon", numbers(0.0, 1.0, 360), "-10", "lon 350");
    check_sel("lon", numbers(0.0, 1.0, 360), "-10..-5", "lon 350..356");
    check_sel("lon", numbers(-180.0, 1.0, 360), "190..200", "lon 10..21");
    check_sel("lon", numbers(0.0, 1.0, 360), "-180..180", "lon 0..360");
    check_sel("lon", numbers(0.0, 1.0, 360), "0..360", "lon 0..360");
    check_sel("lon", numbers(-10.0, 1.0, 51), "-20..10", "lon 0..21");
    check_sel("lon", Labels::Integer((0..360).collect()), "-10", "lon 350");
    check_sel(
        "x",
        numbers(0.0, 1.0, 360),
        "-10..-5",
        "`x=-10..-5` selects nothing; `x` goes from `0` to `359` (360 cells)",
    );
}

#[test]
fn a_longitude_range_in_two_pieces_is_refused_by_name() {
    check_sel(
        "lon",
        numbers(0.0, 1.0, 360),
        "-10..10",
        "`lon=-10..10` crosses the seam of `lon`, which goes from `0` to `359` (360 cells): its cells are not neighbours; select either side on its own",
    );
}

#[test]
fn index_slices_are_pythons() {
    check_isel("-3:", "x 7..10");
    check_isel("-100:4", "x 0..4");
    check_isel("2:100:3", "x 2..10:3");
    check_isel(":-8", "x 0..2");
    check_isel("1:-1:4", "x 1..9:4");
    check_isel("3", "x 3");
    check_isel("-1", "x 9");
    check_isel("0,-5,3", "x [0, 5, 3]");
    check_isel("5:2", "`x=5:2` selects nothing; `x` goes from `0` to `9` (10 cells)");
    check_isel("10", "index `10` is outside `x`, which has 10 cells, 0 to 9 (or -10 to -1)");
    check_isel("-11", "index `-11` is outside `x`, which has 10 cells, 0 to 9 (or -10 to -1)");
    let step = AxisSelection::Range { start: 2, stop: 10, step: 3 }.indices();
    assert_eq!(step, Indices::Range { start: 2, step: 3, count: 3 });
}

#[test]
fn one_text_may_hold_several_dimensions() {
    let dims = [("band", bands()), ("y", Labels::Index(1000)), ("x", Labels::Index(1000))];
    assert_eq!(show(select("y=10..909,band=nir,red", "x=7:911", None, &dims)), "band [3, 0]; y 10..910; x 7..911");
    assert_eq!(parse_at(" y = 500, x=-1.5").unwrap(), [("y".into(), "500".into()), ("x".into(), "-1.5".into())]);
}

#[test]
fn errors_name_what_exists() {
    check_sel("band", bands(), "NIR", "`band` has no label `NIR`; the nearest are `nir`");
    check_sel("band", bands(), "swir", "`band` has no label `swir`; the nearest are `red`, `green`, `blue`, `nir`");
    check_sel("y", numbers(0.0, 10.0, 10), "42", "`y` has no label `42`; the nearest are `40`, `50`, `30`");
    check_sel(
        "y",
        numbers(0.0, 10.0, 10),
        "north",
        "`north` is not a number; the axis goes from `0` to `90` (10 cells)",
    );
    check_sel("y", Labels::Number(vec![]), "1..2", "`y=1..2` selects nothing; `y` has no cells");
    check_sel(
        "time",
        mid_months(),
        "2030..",
        "`time=2030..` selects nothing; `time` goes from `2024-01-15` to `2024-12-15` (12 cells)",
    );
    check_sel(
        "time",
        mid_months(),
        "soon",
        "cannot read `soon` as a time; the axis goes from `2024-01-15` to `2024-12-15` (12 cells)",
    );
    let dims = [("y", Labels::Index(4)), ("x", Labels::Index(4))];
    assert_eq!(show(select("z=1", "", None, &dims)), "there is no dimension `z`; there are `y`, `x`");
    assert_eq!(show(select("y=1", "y=1", None, &dims)), "`y` is selected by both `--sel` and `--isel`; say it once");
    assert_eq!(show(select("y=1,y=2", "", None, &dims)), "`y` is selected twice by `--sel`; say it once");
}

#[test]
fn text_that_cannot_be_read_is_refused() {
    for text in ["", "y", "y=", "=3", "y=1,,2", "y=1..2,3", "y=1..2..3", "y=1,x="] {
        assert!(matches!(parse_sel(text), Err(SelectError::Malformed { .. })), "{text}");
    }
    for text in
        ["", "3", "y=a", "y=1.5", "y=0:4:0", "y=::-1", "y=1:2:3:4", "y=0:2,5", "y=1..4", "y=99999999999999999999"]
    {
        assert!(matches!(parse_isel(text), Err(SelectError::Malformed { .. })), "{text}");
    }
    for text in ["", "500,500", "y=1,2", "y=1,y=2"] {
        assert!(matches!(parse_at(text), Err(SelectError::Malformed { .. })), "{text}");
    }
}

#[test]
fn a_box_takes_the_cells_whose_centre_lies_inside() {
    let area = |x: &str, west, east| {
        Some(BoxQuery { x: x.to_owned(), y: "y".to_owned(), west, south: 15.0, east, north: 40.0 })
    };
    let dims = || [("y", numbers(60.0, -10.0, 7)), ("x", numbers(0.5, 1.0, 10))];
    assert_eq!(show(select("", "", area("x", 2.5, 5.0), &dims())), "y 2..5; x 2..5");
    assert_eq!(
        show(select("", "", area("x", 20.0, 30.0), &dims())),
        "`x=20..30` selects nothing; `x` goes from `0.5` to `9.5` (10 cells)"
    );
    assert!(matches!(select("", "", area("x", 5.0, 2.0), &dims()), Err(SelectError::Box { .. })));
    assert!(matches!(select("", "", area("x", f64::NAN, 2.0), &dims()), Err(SelectError::Box { .. })));
    assert_eq!(
        show(select("x=3.5", "", area("x", 0.0, 2.0), &dims())),
        "`x` is selected by both `--sel` and `--bbox`; say it once"
    );
    let globe = [("y", numbers(60.0, -10.0, 7)), ("lon", numbers(0.0, 1.0, 360))];
    assert_eq!(show(select("", "", area("lon", 170.0, -170.0), &globe)), "y 2..5; lon 170..191");
}

#[test]
fn labels_that_do_not_fit_their_dimension_are_refused() {
    let dims = [("y".to_owned(), 5)].into_iter().collect();
    let labels = |_: &str| -> Result<Labels, Infallible> { Ok(Labels::Index(4)) };
    let found = resolve(&parse_sel("y=1").unwrap(), &[], None, &dims, &labels, &|_| false);
    assert_eq!(show(found), "the coordinate of `y` has 4 labels for 5 cells");
}

#[test]
fn the_nearest_cell_is_at_most_half_a_cell_away_from_the_axis() {
    let at = |text: &str| nearest(&numbers(10.0, 10.0, 3), text, false).map_err(|e| e.to_string());
    // Ties as in pandas: the greater label, `get_indexer([15, 25, 14], method="nearest")` is 1, 2, 0.
    assert_eq!([at("15"), at("25"), at("14"), at("5"), at("35")], [Ok(1), Ok(2), Ok(0), Ok(0), Ok(2)]);
    assert_eq!(nearest(&numbers(30.0, -10.0, 3), "15", false).unwrap(), 1);
    assert_eq!(
        at("35.1").unwrap_err(),
        "`35.1` is more than half a cell outside the axis, which goes from `10` to `30` (3 cells)"
    );
    assert_eq!(nearest(&Labels::Index(10), "9.4", false).unwrap(), 9);
    assert!(nearest(&Labels::Index(10), "9.6", false).is_err());
    assert!(nearest(&Labels::Number(vec![]), "1", false).is_err());
    assert!(nearest(&Labels::Number(vec![5.0]), "6", false).is_err());
    assert!(nearest(&Labels::Number(vec![f64::NAN]), "6", false).is_err());
}

#[test]
fn the_nearest_longitude_is_sought_the_short_way_round() {
    let globe = numbers(0.0, 1.0, 360);
    assert_eq!(nearest(&globe, "-10.2", true).unwrap(), 350);
    assert_eq!(nearest(&globe, "359.8", true).unwrap(), 0);
    assert_eq!(nearest(&globe, "-0.2", true).unwrap(), 0);
    assert!(nearest(&globe, "-10.2", false).is_err());
}

#[test]
fn the_nearest_time_prefers_labels_within_the_written_date() {
    assert_eq!(nearest(&mid_months(), "2024-03", false).unwrap(), 2);
    assert_eq!(nearest(&mid_months(), "2024-03-29", false).unwrap(), 2);
    assert_eq!(nearest(&mid_months(), "2024-01-01", false).unwrap(), 0);
    assert!(nearest(&mid_months(), "2023-12-25", false).is_err());
    assert_eq!(nearest(&bands(), "nir", false).unwrap(), 3);
    assert!(nearest(&bands(), "ni", false).is_err());
}
