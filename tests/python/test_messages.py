"""Slips on the command line: what is said about them, and what would work."""

import json
import warnings

import numpy as np
import pytest
import xarray
import zarr

import small

TIMES = np.array(["2000-01-15", "2000-02-15", "2000-03-15"], "M8[ns]")


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The working folder: a cube `c.zarr` of time, lat, lon, and `one.zarr` of one time of it."""
    monkeypatch.chdir(tmp_path)
    lat = 0.1 * np.arange(4) - 0.15
    coords = {"time": TIMES, "lat": ("lat", lat, {"units": "degrees_north"}), "lon": ("lon", 5.0 + 10 * np.arange(6), {"units": "degrees_east"})}
    made = xarray.Dataset({"t2m": (("time", "lat", "lon"), np.arange(72, dtype="f4").reshape(3, 4, 6))}, coords)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made.to_zarr("c.zarr", zarr_format=3)
        made.isel(time=1).to_zarr("one.zarr", zarr_format=3)
    return tmp_path


def test_a_time_in_a_formula_is_told_to_be_a_selection(cw, here):
    for formula in ('where(time > "2000-03-01", t2m, 0)', 't2m * (time == "2000-03")'):
        cw("calc", "c.zarr", f"b = {formula}", "-o", "none").refused("--sel time=2000-03")


def test_create_tells_first_that_there_is_a_cube(cw, here):
    cw("create", "-o", "c.zarr", "--dim", "x=3").refused("exists", "--overwrite")


POINTS = {
    "x,y\n5,0.05\n": ("column `x`", "time, lat, lon", "point,time,lat,lon"),
    "lat;lon\n0.05;5\n": ("column `lat;lon`", "separated by commas"),
    "lat,lon,station\n0.05,5,Uccle\n": ("column `station`", "`name` is the name of each point", "left out"),
    "lat,lon\n0.05,5\n0.05\n": ("line 3 of `points.csv` has 1 cell, its line of heads 2",),
    "lat,lon\n0.05,5,7\n": ("line 2 of `points.csv` has 3 cells, its line of heads 2",),
}


@pytest.mark.parametrize("text", POINTS)
def test_points_that_do_not_fit_the_cube_are_told_with_what_would(cw, here, text):
    (here / "points.csv").write_text(text)
    said = cw("series", "c.zarr", "--points", "points.csv").refused(*POINTS[text])
    assert "CSV error" not in said and "record" not in said


@pytest.mark.parametrize("source", ["c.zarr/t2m", "c.zarr:t2m", "./c.zarr"])
@pytest.mark.parametrize("out", ["c.zarr/out.zarr", "c.zarr/t2m/out.zarr", "c.zarr/out.csv"])
def test_an_output_within_the_cube_of_an_input_is_refused(cw, here, source, out):
    cw("reduce", source, "--over", "time,lat", "--with", "mean", "-o", out).refused("lies within the input")
    assert not (here / out).exists()
    cw("reduce", source, "--over", "time,lat", "--with", "mean", "-o", "beside.zarr").ok()


def test_info_shows_edges_without_the_noise_of_sums_and_coordinates_of_one_value(cw, here):
    assert cw("info", "c.zarr").ok().json["bounds"] == [0, -0.2, 60, 0.2]
    shown = cw("info", "one.zarr", json=False).ok().out.decode()
    assert "time  2000-02-15" in shown
    about = cw("info", "one.zarr").ok().json["coords"]["time"]
    assert about["value"] == "2000-02-15" and about["dims"] == []


def test_no_threads_are_refused_in_words(cw, here):
    for n, words in (("0", "at least one thread"), ("many", "number of threads")):
        said = cw("stats", "c.zarr", "--threads", n).refused(words)
        assert "non-zero type" not in said


def test_a_group_of_time_without_such_a_dimension_is_told(cw, here):
    cw("reduce", "one.zarr", "--group", "month", "--with", "mean").refused("cannot group by `month`", "no time dimension", "`time` is a single value")
    small.line(here / "l.zarr", [1, 2])
    cw("reduce", "l.zarr", "--every", "1month", "--with", "mean").refused("no time dimension")


def test_a_dimension_that_is_selected_twice_is_told_once(cw, here):
    words = ("reduce", "c.zarr", "--over", "all", "--with", "mean", "--sel", "time=2000-03")
    cw(*words, "--sel", "time=2000-02").refused("`time` is selected twice by `--sel`")
    cw(*words, "--isel", "time=0").refused("`time` is selected by both `--sel` and `--isel`")


def dates(path, dtype):
    made = zarr.create_group(path, zarr_format=2)
    times = made.create_array("when", shape=(3,), chunks=(3,), dtype=dtype, attributes={"_ARRAY_DIMENSIONS": ["n"]})
    times[:] = np.array(["2000-01-01", "NaT", "2000-01-03"], dtype)
    return path


def test_a_cube_like_one_of_times_keeps_their_unit(cw, here):
    cw("create", "--like", dates("d.zarr", "M8[h]"), "-o", "like.zarr").ok()
    attrs = json.loads((here / "like.zarr/when/zarr.json").read_text())["attributes"]
    assert attrs["units"] == "hours since 1970-01-01"
    assert cw("stats", "like.zarr").ok().json[0]["missing"] == 3
    cw("create", "--like", dates("m.zarr", "M8[M]"), "-o", "months.zarr").refused(r"datetime64\[M\]", "when")


def test_stored_times_that_are_none_are_missing_with_raw_too(cw, here):
    dates("d.zarr", "M8[h]")
    for extra in ((), ("--raw",)):
        assert [cw("series", "d.zarr", "--iat", f"n={n}", *extra).ok().json[0]["when"] for n in range(3)] == ["2000-01-01", None, "2000-01-03"]
