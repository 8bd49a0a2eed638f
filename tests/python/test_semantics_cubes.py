"""Rules of docs/semantics.md on time, output cubes, CRS and selection; what is right comes from xarray, pandas or pyproj.

    $ .venv/bin/python -m pytest tests/python/test_semantics_cubes.py
"""

import warnings

import numpy as np
import pandas as pd
import pyproj
import pytest
import rioxarray  # noqa: F401  gives xarray its `rio`
import xarray
import zarr

from small import build, line

NAN = np.nan
DAYS = {"units": "days since 2000-01-01", "calendar": "standard"}


def opened(path):
    with xarray.open_zarr(path, consolidated=False) as found:
        return found.load()


def daily(path, days=800, step=5):
    """`v` along `time`: one value in five days from 2000-01-01."""
    when = np.arange(0, days, step)
    values = np.sin(when / 50) * 10
    return build(path, {"v": (("time",), values, {"units": "K"}, {"chunks": (30,)}), "time": (("time",), when, DAYS)})


# --- time and groups --------------------------------------------------------------------------------------------------

CYCLES = {"month": "month", "season": "season", "dayofyear": "dayofyear", "monthday": "day", "weekday": "weekday", "hour": "hour"}


@pytest.mark.parametrize("cycle", CYCLES)
def test_cycles_rename_the_dimension_and_are_those_of_xarray(cw, tmp_path, cycle):
    path = daily(tmp_path / "c.zarr")
    cw("reduce", path, "--group", cycle, "--with", "mean", "-o", tmp_path / "o.zarr").ok()
    got = opened(tmp_path / "o.zarr")["v"]
    want = opened(path)["v"].groupby(f"time.{CYCLES[cycle]}").mean()
    assert got.dims == (cycle,)
    if cycle == "season":
        assert got["season"].values.tolist() == ["DJF", "MAM", "JJA", "SON"]
        want = want.sel(season=got["season"].values)
    elif cycle != "weekday":
        assert got[cycle].values.tolist() == want[CYCLES[cycle]].values.tolist()
    np.testing.assert_allclose(got.values, want.values, rtol=1e-12)


WINDOWS = {"1month": "MS", "10d": None, "season": "QS-DEC", "year": "YS"}


@pytest.mark.parametrize("window", WINDOWS)
def test_windows_keep_the_dimension_and_carry_start_and_bounds(cw, tmp_path, window):
    path = daily(tmp_path / "c.zarr")
    cw("reduce", path, "--every", window, "--with", "mean", "-o", tmp_path / "o.zarr").ok()
    got, source = opened(tmp_path / "o.zarr"), opened(path)["v"]
    want = source.resample(time=WINDOWS[window] or pd.Timedelta("10D")).mean()
    assert got["v"].dims == ("time",)
    np.testing.assert_array_equal(got["time"].values.astype("M8[D]"), want["time"].values.astype("M8[D]"))
    np.testing.assert_allclose(got["v"].values, want.values, rtol=1e-12)
    assert got["time"].attrs["bounds"] == "time_bnds"
    bounds = got["time_bnds"].values.astype("M8[D]")
    np.testing.assert_array_equal(bounds[:, 0], got["time"].values.astype("M8[D]"))
    np.testing.assert_array_equal(bounds[:-1, 1], bounds[1:, 0])


def test_december_belongs_to_the_season_of_the_january_that_follows(cw, tmp_path):
    # 2000-12, 2001-01, 2001-02, 2001-12
    arrays = {"v": (("time",), np.int16([1, 2, 4, 8])), "time": (("time",), [345, 380, 405, 710], DAYS)}
    path = build(tmp_path / "c.zarr", arrays)
    rows = cw("reduce", path, "--every", "season", "--with", "sum").ok().json
    assert {r["time"]: r["sum"] for r in rows if r["sum"]} == {"2000-12-01": 7, "2001-12-01": 8}


CALENDARS = ["standard", "proleptic_gregorian", "noleap", "all_leap", "360_day", "julian"]


@pytest.mark.parametrize("calendar", CALENDARS)
def test_months_are_those_of_the_calendar(cw, tmp_path, calendar):
    days = np.arange(0, 400)
    arrays = {
        "v": (("time",), days.astype("int32"), {}, {"chunks": (90,)}),
        "time": (("time",), days, {"units": "days since 2000-01-01", "calendar": calendar}),
    }
    path = build(tmp_path / "c.zarr", arrays)
    source = xarray.open_zarr(path, consolidated=False, decode_times=xarray.coders.CFDatetimeCoder(use_cftime=True))["v"]
    want = source.resample(time="MS").sum()
    rows = cw("reduce", path, "--every", "1month", "--with", "sum").ok().json
    assert [r["sum"] for r in rows] == want.values.tolist()
    assert [r["time"][:10] for r in rows] == [t.strftime("%Y-%m-%d") for t in want["time"].values]


def test_windows_of_cells_have_a_short_last_one_and_mean_labels(cw, tmp_path):
    values, y, x = np.arange(35.0).reshape(5, 7), np.arange(50.0, 0, -10), np.arange(7.0)
    path = build(tmp_path / "c.zarr", {"v": (("y", "x"), values, {}, {"chunks": (2, 3)}), "y": (("y",), y), "x": (("x",), x)})
    cw("reduce", path, "--every", "y=2,x=3", "--with", "mean", "-o", tmp_path / "o.zarr").ok()
    got = opened(tmp_path / "o.zarr")["v"]
    whole = opened(path)["v"].coarsen(y=2, x=3, boundary="pad").mean()
    np.testing.assert_allclose(got.values, whole.values)
    assert (got["y"].values.tolist(), got["x"].values.tolist()) == ([45, 25, 10], [1, 4, 6])


def test_an_anomaly_is_each_cell_less_the_mean_of_its_group(cw, tmp_path):
    path = daily(tmp_path / "c.zarr")
    cw("reduce", path, "--group", "month", "--with", "mean", "--anomaly", "-o", tmp_path / "o.zarr").ok()
    by_month = opened(path)["v"].groupby("time.month")
    np.testing.assert_allclose(opened(tmp_path / "o.zarr")["v"].values, (by_month - by_month.mean()).values, atol=1e-12)


# --- CF on output -----------------------------------------------------------------------------------------------------

PACKED = {
    "scale_factor": 0.1,
    "add_offset": 5.0,
    "_FillValue": -1,
    "missing_value": -1,
    "valid_range": [0, 100],
    "actual_range": [5.0, 9.0],
    "flag_values": [1, 2],
    "flag_meanings": "a b",
    "units": "m s-1",
    "long_name": "speed",
}


def written(cw, tmp_path, statistic):
    values = np.int16([[10, 20, 30], [20, -1, 10]])
    path = build(tmp_path / f"of-{statistic}.zarr", {"v": (("t", "x"), values, PACKED)})
    cw("reduce", path, "--over", "t", "--with", statistic, "-o", tmp_path / f"{statistic}.zarr").ok()
    return zarr.open_group(tmp_path / f"{statistic}.zarr", mode="r")["v"]


def test_statistics_that_keep_values_keep_packing_bit_for_bit(cw, tmp_path):
    for statistic, stored in (("min", [10, 20, 10]), ("max", [20, 20, 30]), ("first", [10, 20, 30]), ("last", [20, 20, 10])):
        made = written(cw, tmp_path, statistic)
        assert (made.dtype, made[...].tolist()) == (np.int16, stored)
        attrs = dict(made.attrs)
        assert (attrs["scale_factor"], attrs["add_offset"], attrs["_FillValue"]) == (0.1, 5.0, -1)
        assert attrs["valid_range"] == [0, 100] and "actual_range" not in attrs


def test_other_statistics_drop_what_tells_of_stored_values(cw, tmp_path):
    made = written(cw, tmp_path, "mean")
    np.testing.assert_allclose(made[...], np.float32([6.5, 7, 7]))
    left = set(made.attrs) & (set(PACKED) - {"units", "long_name", "_FillValue"})
    assert left == set() and made.attrs["units"] == "m s-1"


UNITS = {"mean": "m s-1", "std": "m s-1", "var": "(m s-1)2", "count": "1", "missing": "1", "max": "m s-1", "sum": "m s-1"}


@pytest.mark.parametrize("statistic", UNITS)
def test_units_follow_the_statistic(cw, tmp_path, statistic):
    assert written(cw, tmp_path, statistic).attrs["units"] == UNITS[statistic]


METHODS = {"mean": "mean", "min": "minimum", "max": "maximum", "std": "standard_deviation", "var": "variance", "sum": "sum", "median": "median"}


@pytest.mark.parametrize("statistic", METHODS)
def test_cell_methods_are_appended(cw, tmp_path, statistic):
    path = line(tmp_path / "c.zarr", [1, 2], {"cell_methods": "area: mean"}, dtype="float32")
    cw("reduce", path, "--over", "t", "--with", statistic, "-o", tmp_path / "o.zarr").ok()
    assert zarr.open_group(tmp_path / "o.zarr", mode="r")["v"].attrs["cell_methods"] == f"area: mean t: {METHODS[statistic]}"


def test_history_grows_by_the_command(cw, tmp_path):
    path = build(tmp_path / "c.zarr", {"v": (("t",), np.int16([1, 2]))}, attrs={"history": "made", "title": "small"})
    cw("reduce", path, "--over", "t", "--with", "mean", "-o", tmp_path / "o.zarr").ok()
    attrs = dict(zarr.open_group(tmp_path / "o.zarr", mode="r").attrs)
    before, line_ = attrs["history"].split("\n")
    assert before == "made" and "reduce" in line_ and "--with mean" in line_ and attrs["title"] == "small"


def test_a_formula_is_the_long_name_of_its_result(cw, tmp_path):
    path = line(tmp_path / "c.zarr", [1, 2], {"units": "K", "long_name": "heat"}, dtype="float32")
    cw("calc", path, "f = v * 2", "-o", tmp_path / "o.zarr").ok()
    assert opened(tmp_path / "o.zarr")["f"].attrs == {"long_name": "v * 2"}


def curvilinear(path):
    """`v(time, y, x)` with everything that CF lets describe it."""
    values = np.arange(24, dtype="float64").reshape(2, 3, 4)
    lat = np.add.outer(np.arange(3.0), np.arange(4) / 10)
    y, corners = np.arange(3.0) * 10, np.stack([np.arange(3) * 10 - 5.0, np.arange(3) * 10 + 5.0], 1)
    when = {"units": "hours since 2000-01-01", "bounds": "time_bounds"}
    arrays = {
        "v": (("time", "y", "x"), values, {"coordinates": "lat name height orbit", "cell_measures": "area: gone"}, {"chunks": (1, 2, 3)}),
        "lat": (("y", "x"), lat, {"units": "degrees_north", "bounds": "lat_vertices"}, {"chunks": (2, 2)}),
        "lat_vertices": (("y", "x", "vertex"), lat[..., None] + np.arange(4)),
        "name": (("y",), np.array(["north", "mid", "south"])),
        "height": ((), np.float64(2.5), {"units": "m"}),
        "orbit": (("time",), np.int32([7, 8])),
        "y": (("y",), y, {"bounds": "y_bounds"}),
        "y_bounds": (("y", "nv"), corners),
        "time": (("time",), np.array([24.0, 48.0]), when),
        "time_bounds": (("time", "nv"), np.array([[18.0, 30.0], [42.0, 54.0]])),
    }
    return build(path, arrays)


def check_coordinates(got, want, names):
    for name in names:
        assert got[name].dims == want[name].dims, name
        np.testing.assert_array_equal(got[name].values, want[name].values, err_msg=name)


def test_what_describes_kept_dimensions_is_cut_with_them(cw, tmp_path):
    path = curvilinear(tmp_path / "c.zarr")
    cw("calc", path, "f = v * 2", "--isel", "y=1:3,x=0:4:2", "-o", tmp_path / "o.zarr").ok()
    got, want = opened(tmp_path / "o.zarr"), opened(path).isel(y=slice(1, 3), x=slice(0, 4, 2))
    names = ["lat", "lat_vertices", "name", "height", "orbit", "y", "y_bounds", "time", "time_bounds"]
    check_coordinates(got, want, names)
    assert {"lat", "name", "height", "orbit"} <= set(got["f"].coords)
    assert got["lat"].attrs["bounds"] == "lat_vertices" and got["lat"].attrs["units"] == "degrees_north"


def test_what_describes_a_reduced_dimension_goes(cw, tmp_path):
    path = curvilinear(tmp_path / "c.zarr")
    cw("reduce", path, "--var", "v", "--over", "time", "--with", "mean", "-o", tmp_path / "t.zarr").ok()
    got = opened(tmp_path / "t.zarr")
    assert set(got.variables) == {"v", "lat", "lat_vertices", "name", "height", "y", "y_bounds"}
    check_coordinates(got, opened(path), ["lat", "lat_vertices", "name", "height", "y_bounds"])
    raw = zarr.open_group(tmp_path / "t.zarr", mode="r")
    assert raw["v"].attrs["coordinates"] == "lat name height" and "cell_measures" not in raw["v"].attrs
    cw("reduce", path, "--var", "v", "--every", "y=2", "--with", "mean", "-o", tmp_path / "y.zarr").ok()
    got = opened(tmp_path / "y.zarr")
    assert set(got.variables) == {"v", "height", "orbit", "y", "time", "time_bounds"}
    assert "bounds" not in zarr.open_group(tmp_path / "y.zarr", mode="r")["y"].attrs


def test_a_dropped_dimension_leaves_its_cell_of_each_coordinate(cw, tmp_path):
    path = curvilinear(tmp_path / "c.zarr")
    cw("calc", path, "f = v * 2", "--isel", "y=1,time=-1", "-o", tmp_path / "o.zarr").ok()
    got, want = opened(tmp_path / "o.zarr"), opened(path).isel(y=1, time=-1)
    check_coordinates(got, want, ["lat", "name", "height", "orbit"])


@pytest.mark.parametrize("zarr_format", ["2", "3"])
@pytest.mark.parametrize("words", [["calc", "f = v * 2"], ["reduce", "--over", "x", "--with", "mean"]])
def test_a_single_label_or_index_stays_as_a_coordinate_without_dimension(cw, tmp_path, words, zarr_format):
    arrays = {
        "v": (("time", "band", "x"), np.arange(24.0).reshape(3, 2, 4), {"coordinates": "height"}),
        "time": (("time",), [0, 31, 59], DAYS | {"bounds": "time_bnds"}),
        "time_bnds": (("time", "nv"), [[0, 31], [31, 59], [59, 90]]),
        "band": (("band",), np.array(["red", "nir"]), {"long_name": "spectral band"}),
        "x": (("x",), [0.5, 1.5, 2.5, 3.5]),
        "height": ((), 2.0),
    }
    path = build(tmp_path / "c.zarr", arrays)
    command, *rest = words
    cw(command, path, *rest, "--isel", "time=1", "--sel", "band=nir", "--zarr", zarr_format, "-o", tmp_path / "o.zarr").ok()
    got, source = opened(tmp_path / "o.zarr"), opened(path).isel(time=1, band=1)
    name = "f" if command == "calc" else "v"
    want = source["v"] * 2 if command == "calc" else source["v"].mean("x")
    assert set(got[name].coords) == set(want.coords)
    for coord in ("time", "band", "height"):
        assert got[coord].dims == () and got[coord].values == source[coord].values, coord
    assert got["band"].attrs["long_name"] == "spectral band"
    assert got["time_bnds"].values.tolist() == source["time_bnds"].values.tolist()
    np.testing.assert_allclose(got[name].values, want.values)
    about = cw("info", tmp_path / "o.zarr").ok().json
    assert about["coords"]["time"]["dims"] == [] and about["coords"]["band"]["dims"] == []
    assert [v["name"] for v in about["variables"]] == [name]
    # And once more from there.
    cw("calc", tmp_path / "o.zarr", f"g = {name}", "-o", tmp_path / "again.zarr").ok()
    assert set(opened(tmp_path / "again.zarr")["g"].coords) == set(want.coords)


def test_a_reduced_dimension_leaves_no_coordinate(cw, tmp_path):
    path = daily(tmp_path / "c.zarr")
    cw("reduce", path, "--over", "time", "--with", "mean", "-o", tmp_path / "o.zarr").ok()
    assert set(opened(tmp_path / "o.zarr").variables) == {"v"}


def test_a_cell_that_a_formula_picks_itself_is_no_coordinate(cw, tmp_path):
    arrays = {"v": (("band", "x"), np.arange(8.0).reshape(2, 4)), "band": (("band",), np.array(["red", "nir"]))}
    path = build(tmp_path / "c.zarr", arrays)
    cw("calc", path, "f = nir - red", "-o", tmp_path / "o.zarr").ok()
    assert set(opened(tmp_path / "o.zarr").variables) == {"f"}


# --- CRS --------------------------------------------------------------------------------------------------------------


def projected(path, crs="EPSG:32631", more=None, zarr_format=3):
    """`v(y, x)`, 40 × 50 cells of 100 m; every cell holds its own number."""
    wkt = pyproj.CRS(crs).to_wkt("WKT1_GDAL") if crs else None
    x, y = 600050 + 100.0 * np.arange(50), 5599950 - 100.0 * np.arange(40)
    mapping = {"spatial_ref": wkt, "crs_wkt": wkt} if wkt else {}
    arrays = {
        "v": (("y", "x"), np.arange(2000, dtype="int32").reshape(40, 50), {"grid_mapping": "spatial_ref"}, {"chunks": (16, 16)}),
        "x": (("x",), x, {"standard_name": "projection_x_coordinate", "units": "m"}),
        "y": (("y",), y, {"standard_name": "projection_y_coordinate", "units": "m"}),
        "spatial_ref": ((), np.int64(0), mapping | {"GeoTransform": "600000.0 100.0 0.0 5600000.0 0.0 -100.0"} | (more or {})),
    }
    return build(path, arrays, zarr_format)


@pytest.mark.parametrize("crs, given", [("EPSG:32631", "EPSG:4326"), ("EPSG:3035", "EPSG:4326"), ("EPSG:3857", "EPSG:32631")])
def test_a_box_in_another_crs_takes_the_cells_whose_centre_lies_in_the_rectangle_around_it(cw, tmp_path, crs, given):
    path = projected(tmp_path / "c.zarr", crs)
    to_given = pyproj.Transformer.from_crs(crs, given, always_xy=True)
    box = to_given.transform_bounds(601000, 5597000, 603000, 5599000, densify_pts=21)
    words = [] if given == "EPSG:4326" else ["--bbox-crs", given]
    cw("calc", path, "f = v + 0", "--bbox", ",".join(map(repr, box)), *words, "-o", tmp_path / "o.zarr").ok()
    west, south, east, north = pyproj.Transformer.from_crs(given, crs, always_xy=True).transform_bounds(*box, densify_pts=21)
    want = opened(path)["v"]
    want = want.sel(x=(want.x >= west) & (want.x <= east), y=(want.y >= south) & (want.y <= north))
    assert 400 <= want.size < 2000
    got = opened(tmp_path / "o.zarr")["f"]
    np.testing.assert_array_equal(got.values, want.values)
    np.testing.assert_array_equal(got.x, want.x)


def test_a_box_in_the_axes_of_the_cube(cw, tmp_path):
    path = projected(tmp_path / "c.zarr")
    for words in (["--bbox-crs", "cube"], ["--bbox-crs", "EPSG:32631"]):
        record = cw("reduce", path, "--over", "all", "--with", "count,min", "--bbox", "600050,5599800,600251,5599950", *words).ok().json
        assert [(r["count"], r["min"]) for r in record] == [(6, 0)]


def test_longitudes_and_latitudes_take_a_box_in_metres(cw, tmp_path):
    lon, lat = np.arange(0, 10, 0.25), np.arange(55, 45, -0.25)
    arrays = {
        "v": (("lat", "lon"), np.arange(1600).reshape(40, 40)),
        "lon": (("lon",), lon, {"units": "degrees_east"}),
        "lat": (("lat",), lat, {"units": "degrees_north"}),
    }
    path = build(tmp_path / "c.zarr", arrays)
    box = [400000, 5400000, 700000, 5600000]
    west, south, east, north = pyproj.Transformer.from_crs(32631, 4326, always_xy=True).transform_bounds(*box, densify_pts=21)
    want = ((lon >= west) & (lon <= east)).sum() * ((lat >= south) & (lat <= north)).sum()
    (record,) = cw("reduce", path, "--over", "all", "--with", "count", "--bbox", ",".join(map(str, box)), "--bbox-crs", "EPSG:32631").ok().json
    assert record["count"] == want > 100


def test_a_crs_that_cannot_be_transformed_is_carried_and_refused_by_name(cw, tmp_path):
    path = projected(tmp_path / "c.zarr", "ESRI:54030")
    cw("stats", path, "--bbox", "0,0,1,1").refused("--bbox", "Robinson")
    cw("reduce", path, "--every", "y=1", "--with", "max", "-o", tmp_path / "o.zarr").ok()
    assert "Robinson" in zarr.open_group(tmp_path / "o.zarr", mode="r")["spatial_ref"].attrs["crs_wkt"]


WRONG_BOXES = {
    "three numbers": (["--bbox", "1,2,3"], ["four numbers"]),
    "no number": (["--bbox", "1,2,3,x"], ["four numbers"]),
    "five numbers": (["--bbox", "1,2,3,4,5"], ["four numbers"]),
    "no CRS": (["--bbox", "1,2,3,4", "--bbox-crs", "here"], ["here", "EPSG"]),
    "unknown code": (["--bbox", "1,2,3,4", "--bbox-crs", "EPSG:999999"], ["999999"]),
    "turned over": (["--bbox", "2,50,3,49"], ["box"]),
    "far away": (["--bbox", "20,10,21,11"], ["x|y"]),
}


@pytest.mark.parametrize("case", WRONG_BOXES)
def test_a_wrong_box_is_refused(cw, tmp_path, case):
    words, names = WRONG_BOXES[case]
    cw("stats", projected(tmp_path / "c.zarr"), *words).refused(*names)


def test_a_box_without_crs_or_labels_is_refused(cw, tmp_path):
    cw("stats", projected(tmp_path / "c.zarr", None), "--bbox", "2,49,3,50").refused("CRS")
    bare = build(tmp_path / "b.zarr", {"v": (("lat", "lon"), np.zeros((3, 4)))})
    cw("stats", bare, "--bbox", "0,0,1,1").refused("lon|lat", "coordinate")


def globe(path):
    lon, lat = np.arange(0, 360, 10.0), np.arange(-90, 91, 10.0)
    values = np.add.outer(lat, lon)
    axes = {"lon": (("lon",), lon, {"units": "degrees_east"}), "lat": (("lat",), lat, {"units": "degrees_north"})}
    return build(path, {"v": (("lat", "lon"), values, {}, {"chunks": (5, 7)}), **axes}), values, lon, lat


@pytest.mark.parametrize("west, east, inside", [(-75, -45, (285, 315)), (285, 315, (285, 315)), (170, -170, (170, 190))])
def test_longitudes_wrap_in_boxes_and_labels(cw, tmp_path, west, east, inside):
    path, values, lon, lat = globe(tmp_path / "c.zarr")
    want = values[(lat >= 0) & (lat <= 30)][:, (lon >= inside[0]) & (lon <= inside[1])]
    (record,) = cw("reduce", path, "--over", "all", "--with", "count,sum", "--bbox", f"{west},0,{east},30").ok().json
    assert (record["count"], record["sum"]) == (want.size, want.sum())


def test_a_single_longitude_wraps(cw, tmp_path):
    path, values, *_ = globe(tmp_path / "c.zarr")
    (record,) = cw("reduce", path, "--over", "all", "--with", "sum", "--sel", "lon=-70", "--sel", "lat=10").ok().json
    assert record["sum"] == 300
    (row,) = cw("series", path, "--at", "lon=-71,lat=12").ok().json
    assert (row["lon"], row["lat"], row["asked_lon"], row["v"]) == (290, 10, -71, 300)


def test_a_box_across_the_seam_of_the_axis_is_refused_by_name(cw, tmp_path):
    path, *_ = globe(tmp_path / "c.zarr")
    cw("stats", path, "--bbox", "-20,0,20,30").refused("lon", "seam")


# --- the transform of the grid ----------------------------------------------------------------------------------------

GRIDS = {
    "offset": (["--isel", "y=10:30,x=7:40"], (600700, 100, 5599000, -100)),
    "strided": (["--isel", "y=0:40:2,x=1:50:3"], (600000, 300, 5600050, -200)),
    "coarse": (["--every", "y=4,x=5"], (600000, 500, 5600000, -400)),
    "offset and coarse": (["--isel", "y=10:30,x=5:45", "--every", "y=5,x=2"], (600500, 200, 5599000, -500)),
    "box": (["--bbox", "600700,5597000,604000,5599000", "--bbox-crs", "EPSG:32631"], (600700, 100, 5599000, -100)),
}


@pytest.mark.parametrize("zarr_format", [3, 2])
@pytest.mark.parametrize("case", GRIDS)
def test_the_transform_follows_selection_and_coarsening(cw, tmp_path, case, zarr_format):
    words, (x0, dx, y0, dy) = GRIDS[case]
    path = projected(tmp_path / "c.zarr", zarr_format=zarr_format)
    more = [] if "--every" in words else ["--every", "y=1"]
    cw("reduce", path, *words, *more, "--with", "mean", "-o", tmp_path / "o.zarr").ok()
    text = zarr.open_group(tmp_path / "o.zarr", mode="r")["spatial_ref"].attrs["GeoTransform"]
    assert [float(v) for v in text.split()] == [x0, dx, 0, y0, 0, dy]
    # and is the one that the labels give
    found = xarray.open_zarr(tmp_path / "o.zarr", consolidated=False, decode_coords="all")["v"]
    affine = found.rio.transform(recalc=True)
    assert (affine.c, affine.a, affine.f, affine.e) == (x0, dx, y0, dy)
    assert found.rio.crs.to_epsg() == 32631


def test_a_transform_goes_where_no_regular_grid_is_left(cw, tmp_path):
    path = projected(tmp_path / "c.zarr")
    for i, words in enumerate((["--isel", "x=0,3,4", "--every", "y=1"], ["--over", "x"], ["--isel", "y=3", "--every", "x=1"])):
        cw("reduce", path, *words, "--with", "mean", "-o", tmp_path / f"{i}.zarr").ok()
        attrs = zarr.open_group(tmp_path / f"{i}.zarr", mode="r")["spatial_ref"].attrs
        assert "GeoTransform" not in attrs and "crs_wkt" in attrs


def test_a_transform_that_contradicts_the_labels_is_not_carried_on(cw, tmp_path):
    path = projected(tmp_path / "c.zarr", more={"GeoTransform": "0 100 0 0 0 -100"})
    cw("calc", path, "f = v + 0", "--isel", "y=10:30", "-o", tmp_path / "o.zarr").ok()
    assert "GeoTransform" not in zarr.open_group(tmp_path / "o.zarr", mode="r")["spatial_ref"].attrs


def test_geozarr_attributes_follow_too(cw, tmp_path):
    place = {"proj:code": "EPSG:32631", "spatial:dimensions": ["y", "x"], "spatial:transform": [100, 0, 600000, 0, -100, 5600000]}
    place |= {"spatial:bbox": [600000, 5599000, 601000, 5600000], "spatial:shape": [10, 10]}
    path = build(tmp_path / "c.zarr", {"v": (("y", "x"), np.zeros((10, 10)))}, attrs=place)
    cw("calc", path, "f = v + 0", "--isel", "y=2:6,x=4:10", "-o", tmp_path / "o.zarr").ok()
    attrs = dict(zarr.open_group(tmp_path / "o.zarr", mode="r").attrs)
    assert attrs["spatial:transform"] == [100, 0, 600400, 0, -100, 5599800]
    assert (attrs["spatial:bbox"], attrs["spatial:shape"]) == ([600400, 5599400, 601000, 5599800], [4, 6])


# --- selection and outputs --------------------------------------------------------------------------------------------


def test_outputs_keep_the_chunks_of_the_source_unless_told_otherwise(cw, tmp_path):
    path = build(tmp_path / "c.zarr", {"v": (("t", "y", "x"), np.ones((3, 300, 500), "int16"), {}, {"chunks": (1, 200, 128)})})

    def chunks(*words):
        out = tmp_path / f"{abs(hash(words))}.zarr"
        cw("reduce", path, "--with", "mean", *words, "-o", out).ok()
        made = zarr.open_group(out, mode="r")["v"]
        return made.chunks, made.shards, made.metadata.zarr_format

    assert chunks("--over", "t") == ((200, 128), None, 3)
    assert chunks("--over", "t", "--isel", "y=0:100") == ((100, 128), None, 3)
    # coarsened: chunk / factor, at least 64 cells
    assert chunks("--every", "y=2,x=4") == ((1, 100, 64), None, 3)
    assert chunks("--over", "t", "--chunk", "y=50,x=60") == ((50, 60), None, 3)
    assert chunks("--over", "t", "--chunk", "y=50,x=50", "--shard", "y=100,x=100") == ((50, 50), (100, 100), 3)
    assert chunks("--over", "t", "--zarr", 2) == ((200, 128), None, 2)


def test_a_selection_of_nothing_names_the_range_of_the_axis(cw, tmp_path):
    path = projected(tmp_path / "c.zarr")
    cw("stats", path, "--sel", "x=0..100").refused("x", "600050", "604950")
    cw("stats", path, "--isel", "y=40:50").refused("y", "39|40")
    cw("stats", path, "--bbox", "0,0,1,1", "--bbox-crs", "cube").refused("x|y", "600050|5599950")


def test_a_point_is_the_nearest_cell_and_says_what_was_asked(cw, tmp_path):
    path = projected(tmp_path / "c.zarr")
    (row,) = cw("series", path, "--at", "y=5599880,x=600130").ok().json
    assert row == {"point": 0, "y": 5599850, "asked_y": 5599880, "x": 600150, "asked_x": 600130, "v": 51}
    (row,) = cw("series", path, "--at", "y=5599999,x=600001").ok().json
    assert row["v"] == 0
    cw("series", path, "--at", "y=5599880,x=599990").refused("x", "599990", "600050")


def test_tables_are_in_c_order_with_iso_times_and_null(cw, tmp_path):
    values = np.int16([[[1, 2], [3, 4]], [[9, 9], [7, 8]]])
    arrays = {
        "v": (("time", "band", "x"), values, {"_FillValue": 9}),
        "time": (("time",), [0, 31], DAYS),
        "band": (("band",), np.array(["red", "nir"])),
    }
    path = build(tmp_path / "c.zarr", arrays)
    rows = cw("reduce", path, "--over", "x", "--with", "sum").ok().json
    table = [(r["variable"], r["time"][:10], r["band"], r["sum"]) for r in rows]
    dates = ["2000-01-01", "2000-02-01"]
    assert table == [("v", dates[0], "red", 3), ("v", dates[0], "nir", 7), ("v", dates[1], "red", None), ("v", dates[1], "nir", 15)]
    cw("reduce", path, "--over", "x", "--with", "sum", "-o", tmp_path / "o.csv").ok()
    read = pd.read_csv(tmp_path / "o.csv")
    assert list(read.columns) == ["variable", "time", "band", "sum"]
    assert read["sum"].isna().tolist() == [False, False, True, False]
    assert "v,2000-02-01,red,\n" in (tmp_path / "o.csv").read_text().replace("T00:00:00", "").replace("\r", "")


def test_one_statistic_keeps_the_name_and_several_add_theirs(cw, tmp_path):
    path = build(tmp_path / "c.zarr", {"v": (("t", "y", "x"), np.ones((2, 3, 4)))})
    cw("reduce", path, "--over", "y", "--with", "mean", "-o", tmp_path / "one.zarr").ok()
    cw("reduce", path, "--over", "y", "--with", "mean,std", "-o", tmp_path / "two.zarr").ok()
    assert opened(tmp_path / "one.zarr")["v"].dims == ("t", "x")
    assert set(opened(tmp_path / "two.zarr").data_vars) == {"v_mean", "v_std"}


def test_a_table_of_too_many_rows_is_refused(cw, tmp_path):
    path = build(tmp_path / "c.zarr", {"v": (("t", "x"), np.zeros((2, 100_001), "int8"))})
    cw("reduce", path, "--over", "t", "--with", "max").refused("100001", "-o")


def test_means_are_not_weighted(cw, tmp_path):
    path, values, *_ = globe(tmp_path / "c.zarr")
    (record,) = cw("stats", path).ok().json
    assert abs(record["mean"] - float(opened(path)["v"].mean())) < 1e-9


def test_none_as_output_writes_nothing(cw, tmp_path):
    path = line(tmp_path / "c.zarr", [1, 2])
    run = cw("reduce", path, "--over", "t", "--with", "mean", "-o", "none", cwd=tmp_path).ok()
    assert run.out == b"" and [p.name for p in tmp_path.iterdir()] == ["c.zarr"]


def test_an_auxiliary_coordinate_that_is_too_large_is_left_and_not_referred_to(cw, tmp_path):
    wide = {"v": (("x",), np.zeros(4), {"coordinates": "lat"}), "lat": (("x",), np.zeros(4), {}, {"chunks": (9_000_000,)})}
    path = build(tmp_path / "c.zarr", wide)
    cw("calc", path, "f = v + 1", "-o", tmp_path / "o.zarr").ok()
    made = zarr.open_group(tmp_path / "o.zarr", mode="r")
    assert set(made.array_keys()) == {"f"} and "coordinates" not in made["f"].attrs


def test_times_and_durations_of_numpy_keep_their_unit_in_cubes(cw, tmp_path):
    group = zarr.open_group(tmp_path / "in.zarr", mode="w", zarr_format=3)
    seen = np.array(["2000-01-01T06", "NaT", "2000-03-01T00", "1999-12-31T23"], "datetime64[h]").reshape(4, 1)
    took = np.array([3, 1, "NaT", 5], "timedelta64[m]").reshape(4, 1)
    for name, values in {"seen": seen, "took": took}.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            array = group.create_array(name, shape=values.shape, chunks=(2, 1), dtype=values.dtype, dimension_names=["t", "x"], fill_value="NaT")
        array[:] = values
    cw("reduce", tmp_path / "in.zarr", "--over", "t", "--with", "min,mean,std", "-o", tmp_path / "out.zarr").ok()
    out = xarray.open_zarr(tmp_path / "out.zarr", decode_timedelta=True)
    assert out.seen_min.values[0] == np.datetime64("1999-12-31T23")
    mean = pd.Series(seen.ravel().astype("datetime64[s]")).mean()
    assert abs(pd.Timestamp(out.seen_mean.values[0]) - mean) < pd.Timedelta("1ms")
    assert out.seen_std.dtype == "float64" or out.seen_std.dtype.kind == "m", "a span, and no time"
    assert out.took_min.values[0] == np.timedelta64(1, "m") and out.took_mean.values[0] == np.timedelta64(3, "m")
