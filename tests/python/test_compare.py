"""`chunkwise compare`: equal whatever the layout, and where two cubes differ."""

import re
import shutil
import signal
import subprocess
import time

import numpy as np
import pytest
import xarray
import zarr

import cube
import runner

MIB = 2**20
TIMES = np.array(["2024-01-15", "2024-02-15", "2024-03-15", "2024-04-15", "2024-05-15"], "M8[ns]")
BANDS = ["red", "nir", "blue"]


def dataset(dtype="uint16", missing=None):
    rng = np.random.default_rng(1)
    values = rng.integers(1, 1000, (5, 3, 20, 30)).astype(dtype)
    if missing is not None:
        values[rng.random(values.shape) < 0.2] = missing
    coords = {"time": TIMES, "band": BANDS, "y": 5000.0 - 10 * np.arange(20), "x": 500.0 + 10 * np.arange(30)}
    data = xarray.DataArray(values, coords, ("time", "band", "y", "x"), "data", {"units": "K"})
    other = xarray.DataArray(rng.normal(size=(20, 30)), {"y": coords["y"], "x": coords["x"]}, ("y", "x"))
    return xarray.Dataset({"data": data, "other": other})


def write(made, path, zarr_format=3, chunks=(2, 3, 8, 7), **encoding):
    encoding = {"data": {"chunks": chunks, **encoding}} if "data" in made else {}
    made.to_zarr(path, zarr_format=zarr_format, encoding=encoding, consolidated=zarr_format == 2, mode="w")
    return path


def by_name(run):
    return {row["variable"]: row for row in run.json}


def check_equal(run):
    assert run.code == 0, str(run)
    for row in run.json:
        assert row["equal"] and row["different"] == 0 and row["why"] is None and row["first"] is None, row
    return by_name(run)


def check_differs(run, *names):
    assert run.code == 1, f"a difference should exit with 1\n{run}"
    rows = by_name(run)
    assert [n for n, row in rows.items() if not row["equal"]] == list(names), run.json
    assert all(rows[n]["why"] for n in names)
    return rows


@pytest.fixture
def a(tmp_path):
    return write(dataset(), tmp_path / "a.zarr")


LAYOUTS = {
    "the same": {},
    "v2": {"zarr_format": 2},
    "other chunks": {"chunks": (5, 1, 20, 11)},
    "v2 in one chunk": {"zarr_format": 2, "chunks": (5, 3, 20, 30)},
    "shards": {"chunks": (1, 3, 5, 10), "shards": (5, 3, 10, 30)},
    "no codec": {"compressors": None},
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_do_not_matter(cw, a, tmp_path, layout):
    b = write(dataset(), tmp_path / "b.zarr", **LAYOUTS[layout])
    rows = check_equal(cw("compare", a, b))
    assert set(rows) == {"data", "other", "time", "band", "y", "x"}
    assert rows["data"]["cells"] == 5 * 3 * 20 * 30 and rows["time"]["cells"] == 5
    check_equal(cw("compare", b, a, "--threads", 1))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_one_changed_cell_is_found_with_its_place(cw, a, tmp_path, layout):
    changed = dataset()
    changed["data"][3, 1, 12, 29] += 40
    changed["data"][4, 0, 0, 0] -= np.uint16(1)
    b = write(changed, tmp_path / "b.zarr", **LAYOUTS[layout])
    row = check_differs(cw("compare", a, b), "data")["data"]
    assert (row["cells"], row["different"], row["missing_in_one"], row["max_abs_diff"]) == (9000, 2, 0, 40)
    assert row["first"] == {"time": "2024-04-15", "band": "nir", "y": 4880.0, "x": 790.0}


def test_a_missing_cell_is_not_a_value_and_equals_a_missing_cell(cw, tmp_path):
    made = dataset("float32", missing=np.nan)
    a = write(made, tmp_path / "a.zarr")
    # the same as integers with a mark, and packed with another
    marked = write(made, tmp_path / "b.zarr", dtype="int16", _FillValue=-1)
    packed = write(made, tmp_path / "c.zarr", dtype="int32", _FillValue=-9, scale_factor=0.5, add_offset=100.0)
    check_equal(cw("compare", a, marked))
    check_equal(cw("compare", a, packed))
    check_equal(cw("compare", marked, packed))
    where = tuple(np.argwhere(np.isnan(made["data"].values))[7])
    made["data"][where] = 5
    row = check_differs(cw("compare", marked, write(made, tmp_path / "d.zarr")), "data")["data"]
    assert (row["different"], row["missing_in_one"], row["max_abs_diff"]) == (1, 1, None)
    assert row["first"]["band"] == BANDS[where[1]] and row["first"]["x"] == 500 + 10 * where[3]


def test_marks_are_what_the_options_say(cw, tmp_path):
    made = dataset()
    one, other = made.copy(deep=True), made.copy(deep=True)
    one["data"][0, 0, 0, 0], other["data"][0, 0, 0, 0] = 0, 7
    a = write(one, tmp_path / "a.zarr", _FillValue=0)
    b = write(other, tmp_path / "b.zarr", _FillValue=7)
    rows = by_name(cw("compare", a, b, "--var", "data"))
    assert rows["data"]["different"] == int((made["data"] == 7).sum() + (made["data"] == 0).sum())
    raw = check_differs(cw("compare", a, b, "--raw"), "data")["data"]
    assert (raw["different"], raw["max_abs_diff"], raw["missing_in_one"]) == (1, 7, 0)
    none = check_differs(cw("compare", a, b, "--nodata", "none"), "data")["data"]
    assert none["different"] == 1 and none["missing_in_one"] == 0


def test_special_floats(cw, tmp_path):
    def one(values, name):
        made = xarray.Dataset({"v": ("x", np.array(values))})
        made.to_zarr(tmp_path / name, consolidated=False)
        return tmp_path / name

    a = one([np.nan, np.inf, -np.inf, 0.0, 1.0], "a.zarr")
    check_equal(cw("compare", a, one([np.nan, np.inf, -np.inf, -0.0, 1.0], "b.zarr")))
    row = check_differs(cw("compare", a, one([np.nan, np.inf, np.inf, 0.0, 1.0], "c.zarr")), "v")["v"]
    assert (row["different"], row["max_abs_diff"], row["first"]) == (1, "inf", {"x": 2})


def test_integers_beyond_floats_are_exact(cw, tmp_path):
    made = xarray.Dataset({"v": ("x", np.array([2**53, 2**62], "i8"))})
    made.to_zarr(tmp_path / "a.zarr", consolidated=False)
    made["v"][1] += 1
    made.to_zarr(tmp_path / "b.zarr", consolidated=False)
    row = check_differs(cw("compare", tmp_path / "a.zarr", tmp_path / "b.zarr"), "v")["v"]
    assert (row["different"], row["max_abs_diff"]) == (1, 1)


def changed(made, what):
    match what:
        case "shape":
            return made.isel(x=slice(29)), ["data", "other", "x"], "x=30.*x=29"
        case "order":
            return made.transpose("band", "time", ...), ["data"], "time=5, band=3.*band=3, time=5"
        case "labels":
            return made.assign_coords(x=made["x"] + np.where(np.arange(30) == 4, 0.5, 0)), ["x"], None
        case "bands":
            return made.assign_coords(band=["red", "nir", "green"]), ["band"], None
        case "times":
            return made.assign_coords(time=TIMES + np.timedelta64(6, "h")), ["time"], None
        case "units":
            return made.assign(data=made["data"].assign_attrs(units="degC")), ["data"], "units `K` against `degC`"
        case "flags":
            return made.assign(data=made["data"].assign_attrs(flag_meanings="a b")), ["data"], "flag_meanings none"
        case "fewer":
            return made.drop_vars("other"), ["other"], "only in"
        case "no labels":
            return made.drop_vars("band"), ["band"], "only in"


@pytest.mark.parametrize(
    "what", ["shape", "order", "labels", "bands", "times", "units", "flags", "fewer", "no labels"]
)
def test_what_is_not_cells_is_compared_too(cw, a, tmp_path, what):
    made, names, why = changed(dataset(), what)
    b = write(made, tmp_path / "b.zarr", chunks=tuple(min(n, 8) for n in made["data"].shape))
    for pair in ((a, b), (b, a)):
        run = cw("compare", *pair)
        assert run.code == 1, str(run)
        rows = by_name(run)
        assert {n for n, row in rows.items() if not row["equal"]} == set(names), run.json
    if why:
        row = by_name(cw("compare", a, b))[names[0]]
        assert re.search(why, row["why"]), row
    rows = by_name(cw("compare", a, b))
    match what:
        case "labels":
            assert rows["x"]["different"] == 1 and rows["x"]["max_abs_diff"] == 0.5 and rows["x"]["first"] == {"x": 540.0}
        case "bands":
            assert rows["band"]["different"] == 1 and rows["band"]["first"] == {"band": "blue"}
        case "times":
            assert rows["time"]["different"] == 5 and rows["time"]["max_abs_diff"] == 6 * 3600
        case "shape":
            assert rows["data"]["cells"] is None and rows["data"]["different"] is None


def test_times_are_compared_as_instants(cw, a, tmp_path):
    made = dataset()
    made["time"].encoding = {"units": "hours since 1990-01-01", "dtype": "int64", "calendar": "standard"}
    check_equal(cw("compare", a, write(made, tmp_path / "b.zarr")))
    made["time"].encoding = {"units": "days since 2024-01-01", "calendar": "noleap"}
    row = check_differs(cw("compare", a, write(made, tmp_path / "c.zarr")), "time")["time"]
    assert "noleap" in row["why"] and row["cells"] is None


def test_bounds_are_times_where_what_they_bound_is(cw, tmp_path):
    bounds = np.stack([TIMES, TIMES + np.timedelta64(1, "D")], 1)
    made = xarray.Dataset({"v": ("time", np.arange(5.0)), "time_bnds": (("time", "nv"), bounds)}, {"time": TIMES})
    made["time"].attrs["bounds"] = "time_bnds"
    paths = []
    for units in ("days since 2000-01-01", "hours since 2020-01-01"):
        made["time"].encoding = {"units": units, "dtype": "int64"}
        paths.append(tmp_path / f"{units.split()[0]}.zarr")
        made.to_zarr(paths[-1], consolidated=False)
    assert "time_bnds" in check_equal(cw("compare", *paths))


def test_crs_is_compared_however_it_is_written(cw, tmp_path):
    words = ["--dim", "y=4", "--dim", "x=5", "--coord", "y=5000000:-10", "--coord", "x=500000:10", "--dtype", "int16"]
    for name, more in {"a": ["EPSG:32631"], "b": ["EPSG:32631", "--zarr", "2"], "c": ["EPSG:32632"], "d": None}.items():
        crs = [] if more is None else ["--crs", *more]
        cw("create", "-o", tmp_path / f"{name}.zarr", *words, *crs).ok()
    check_equal(cw("compare", tmp_path / "a.zarr", tmp_path / "a.zarr"))
    assert by_name(cw("compare", tmp_path / "a.zarr", tmp_path / "b.zarr"))["x"]["equal"]
    row = check_differs(cw("compare", tmp_path / "a.zarr", tmp_path / "c.zarr"), "data")["data"]
    assert "32631" in row["why"] and "32632" in row["why"] and row["different"] == 0
    assert "none" in by_name(cw("compare", tmp_path / "a.zarr", tmp_path / "d.zarr"))["data"]["why"]


def test_var_picks_variables_and_their_coordinates(cw, a, tmp_path):
    made = dataset()
    made["data"][0, 0, 0, 0] += np.uint16(1)
    b = write(made, tmp_path / "b.zarr")
    assert set(check_equal(cw("compare", a, b, "--var", "other"))) == {"other", "y", "x"}
    check_differs(cw("compare", a, b, "--var", "other", "--var", "data"), "data")


def test_it_prints_for_people(cw, a, tmp_path):
    made = dataset()
    made["data"][3, 1, 12, 29] += 40
    run = cw("compare", a, write(made, tmp_path / "b.zarr"), json=False)
    assert run.code == 1
    line = next(line for line in run.out.decode().splitlines() if line.startswith("data"))
    assert line.split()[:6] == ["data", "no", "9000", "1", "0", "40"] and "band=nir" in line, run
    assert "differ" in run.err
    same = cw("compare", a, a, json=False).ok()
    assert "are equal" in same.err
    quiet = cw("compare", a, a, "--quiet", json=False).ok()
    assert quiet.err == ""


def test_bad_input_is_an_error_and_no_difference(cw, a, tmp_path):
    cw("compare", a, tmp_path / "none.zarr").refused("none.zarr")
    cw("compare", tmp_path / "none.zarr", a).refused("none.zarr")
    cw("compare", a, a, "--var", "nothing").refused("nothing", "data")
    cw("compare", a, a, "--nodata", "much").refused("much")
    cw("compare", a, a, "--memory", "1MiB").refused("needs", "--memory")
    broken = tmp_path / "broken.zarr"
    shutil.copytree(a, broken)
    chunk = broken / "data/c/1/0/0/0"
    chunk.write_bytes(chunk.read_bytes()[:-5])
    cw("compare", a, broken).refused(r"\[1, 0, 0, 0\]", "B/data", "broken.zarr")
    cw("compare", broken, a).refused("A/data")


def test_absent_chunks_hold_the_fill_value(cw, tmp_path):
    made = dataset()
    made["data"][2:4] = 0
    a = write(made, tmp_path / "a.zarr")
    b = tmp_path / "b.zarr"
    shutil.copytree(a, b)
    shutil.rmtree(b / "data/c/1", ignore_errors=True)
    check_equal(cw("compare", a, b))
    shutil.rmtree(b / "data/c/0")
    check_differs(cw("compare", a, b), "data")


def test_explain_tells_and_runs_nothing(cw, a):
    plan = cw("compare", a, a, "--explain").ok().json
    assert plan["chunks"] == 2 * (3 * 1 * 3 * 5) + 2 and plan["amplification"] == 1


@pytest.fixture(scope="session")
def rechunked(large, made_once):
    """The large cube in chunks that lie across its own."""

    def copy(path):
        source = zarr.open_group(large, mode="r")
        target = zarr.open_group(path, mode="w", zarr_format=3)
        for name, array in source.arrays():
            made = target.create_array(
                name,
                shape=array.shape,
                chunks=(4, 1, 400, 400) if array.ndim == 4 else array.chunks,
                dtype=array.dtype,
                dimension_names=array.metadata.dimension_names,
                fill_value=array.fill_value,
                attributes=dict(array.attrs),
            )
            for at in range(0, array.shape[0], 4):
                made[at : at + 4] = array[at : at + 4]

    return made_once("rechunked.zarr", copy)


@pytest.mark.slow
@pytest.mark.parametrize("memory", [256, 64])
def test_peak_memory_is_within_the_budget(cw, large, rechunked, memory):
    for pair in ((large, large), (large, rechunked), (rechunked, large)):
        run = cw("compare", *pair, "--memory", f"{memory}MiB", "--threads", 2, measure=True)
        allowed = memory * MIB
        if run.code == 2:
            run.refused("memory|budget|needs")
            assert memory < 256, f"256 MiB should do\n{run}"
            budget = run.smallest_budget()
            allowed = runner.as_bytes(budget.rstrip("MiB"), "MiB")
            run = cw("compare", *pair, "--memory", budget, "--threads", 2, measure=True)
        check_equal(run)
        assert run.peak <= allowed, f"peak {run.peak / MIB:.1f} MiB of {allowed / MIB:.1f} MiB\n{run}"


@pytest.mark.slow
def test_it_can_be_interrupted(large, rechunked):
    command = [runner.binary(), "compare", large, rechunked, "--threads", "1"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (130, b""), err
    assert b"error: interrupted" in err


def test_a_scalar_has_no_labels(cw, tmp_path):
    for name, value in (("a", 1.5), ("b", 2.5)):
        made = xarray.Dataset({"v": ((), value), "none": (("n", "x"), np.zeros((0, 3)))})
        made.to_zarr(tmp_path / f"{name}.zarr", consolidated=False)
    rows = check_differs(cw("compare", tmp_path / "a.zarr", tmp_path / "b.zarr"), "v")
    assert rows["v"]["first"] == {} and rows["v"]["max_abs_diff"] == 1 and rows["none"]["cells"] == 0


def test_the_same_cube_is_equal_to_itself_in_every_type(cw, tmp_path):
    for dtype in cube.DTYPES:
        spec = cube.Spec(dtype=dtype, missing=0.1 if dtype.startswith("float") else 0.0, seed=3)
        one = spec.build(tmp_path / f"{dtype}.zarr").path
        check_equal(cw("compare", one, one))


def test_valid_leaves_cells_outside_the_range_out_on_both_sides(cw, tmp_path):
    made = dataset("int16")
    made["data"].attrs["valid_range"] = np.int16([100, 900])
    a = write(made, tmp_path / "a.zarr")
    other = made.copy(deep=True)
    beyond = (made["data"].values < 100) | (made["data"].values > 900)
    other["data"].values[beyond] = 5
    b = write(other, tmp_path / "b.zarr")
    check_differs(cw("compare", a, b), "data")
    check_equal(cw("compare", a, b, "--valid"))
    # A cell within the range of one only is missing in the other.
    other["data"].values[beyond] = 500
    rows = check_differs(cw("compare", a, write(other, tmp_path / "d.zarr"), "--valid"), "data")
    assert rows["data"]["missing_in_one"] == rows["data"]["different"] == beyond.sum()
