"""`chunkwise import` onto another grid: nearest, bilinear and average as GDAL gives them, mosaics, memory, resuming."""

import json
import os
import shutil
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import rasterio
from rasterio.enums import Resampling
from rasterio.transform import Affine, from_origin
from rasterio.vrt import WarpedVRT

import runner
import tiffs

MIB = 2**20
GRIDS = [("EPSG:32633", 17), ("EPSG:32633", 60), ("EPSG:3857", 43), ("EPSG:4326", 0.0004), ("EPSG:3035", 75), ("EPSG:32634", 31)]


def imported(cw, tmp_path, files, *words):
    cw("import", *files, "-o", tmp_path / "out.zarr", "--overwrite", *words, json=False).ok()
    return tiffs.stored(tmp_path / "out.zarr")


def warped(file, cube, how, mark):
    """What GDAL gives for the grid of the cube; without its approximation of coordinates."""
    rows, columns = cube.data.shape[-2:]
    transform, crs = tiffs.transform_of(cube), rasterio.crs.CRS.from_wkt(cube.spatial_ref.attrs["crs_wkt"])
    options = {"width": columns, "height": rows, "resampling": Resampling[how], "tolerance": 1e-6, "nodata": mark}
    with rasterio.open(file) as source, WarpedVRT(source, crs=crs, transform=transform, **options) as out:
        return out.read()


def holed(dtype="float32", bands=1):
    values = tiffs.field(150, 170, dtype, bands)
    random = np.random.default_rng(5)
    values[:, 40:60, 30:90] = 0
    values[:, random.random((150, 170)) < 0.1] = 0
    return values


@pytest.mark.parametrize("crs, resolution", GRIDS)
def test_nearest_is_gdals_in_every_cell(cw, tmp_path, crs, resolution):
    file = tiffs.write(tmp_path / "a.tif", holed("int16", 2), nodata=0)
    cube = imported(cw, tmp_path, [file], "--crs", crs, "--res", resolution, "--chunk", "band=1,y=64,x=50", "--verify")
    expected = warped(file, cube, "nearest", 0)
    assert (expected == 0).any() and (expected != 0).sum() > 2000
    np.testing.assert_array_equal(cube.data, expected)


@pytest.mark.parametrize("how", ["bilinear", "average"])
@pytest.mark.parametrize("crs, resolution", GRIDS)
def test_weighted_means_are_gdals(cw, tmp_path, crs, resolution, how):
    file = tiffs.write(tmp_path / "a.tif", holed(), nodata=0)
    cube = imported(cw, tmp_path, [file], "--crs", crs, "--res", resolution, "--chunk", "y=64,x=50", "--resampling", how)
    ours, theirs = cube.data.values, warped(file, cube, how, 0)
    np.testing.assert_array_equal(ours == 0, theirs == 0)
    # At the edges of a file GDAL weighs cells that are cut by them as more than whole.
    inside = warped(tiffs.write(tmp_path / "b.tif", np.pad(np.ones((1, 146, 166), "u1"), ((0, 0), (2, 2), (2, 2)))), cube, "nearest", 255) == 1
    away = np.abs(ours.astype("f8") - theirs)[inside]
    if how == "average":
        assert away.max() < 0.02
    elif resolution in (17, 60, 43, 31):
        assert away.max() < 0.01
    else:
        # The width of the kernel of larger cells is that of one part of the grid in GDAL, of the whole file here.
        assert away.max() < 60 and np.median(away) < 5


def test_average_is_the_mean_by_area(cw, tmp_path):
    values = holed("float64")
    grid = from_origin(500010, 5000010, 30, 30)
    file = tiffs.write(tmp_path / "a.tif", values, grid, nodata=0)
    cube = imported(cw, tmp_path, [file], "--res", "45", "--resampling", "average")
    fine = np.kron(np.where(values[0] == 0, np.nan, values[0]), np.ones((2, 2)))
    transform = tiffs.transform_of(cube)
    top, left = round((transform.f - grid.f) / 15), round((grid.c - transform.c) / 15)
    rows, columns = cube.data.shape[-2:]
    whole = np.full((rows * 3, columns * 3), np.nan)
    whole[top : top + 300, left : left + 340] = fine
    with np.errstate(invalid="ignore"):
        blocks = whole.reshape(rows, 3, columns, 3)
        expected = np.nansum(blocks, axis=(1, 3)) / np.isfinite(blocks).sum(axis=(1, 3))
    np.testing.assert_allclose(np.where(cube.data[0] == 0, np.nan, cube.data[0]), expected, rtol=1e-12)


def test_integers_are_rounded_and_no_mean_becomes_the_mark_by_chance(cw, tmp_path):
    values = np.tile(np.array([[9, 11], [9, 11]], "uint8"), (10, 10))[None]
    file = tiffs.write(tmp_path / "a.tif", values, from_origin(0, 600, 30, 30), nodata=10)
    cube = imported(cw, tmp_path, [file], "--res", "60", "--resampling", "average")
    assert set(np.unique(cube.data)) == {11}
    file = tiffs.write(tmp_path / "b.tif", np.tile(np.array([[9, 10], [9, 10]], "uint8"), (10, 10))[None], from_origin(0, 600, 30, 30), nodata=1)
    assert set(np.unique(imported(cw, tmp_path, [file], "--res", "60", "--resampling", "average").data)) == {10}


def test_a_lattice_that_is_shared_is_copied(cw, tmp_path):
    values = tiffs.field(40, 50, "uint16")
    left = tiffs.write(tmp_path / "l.tif", values, from_origin(3000, 9000, 30, 30), nodata=0)
    right = tiffs.write(tmp_path / "r.tif", values + 9, from_origin(3000 + 50 * 30, 9000 - 5 * 30, 30, 30), nodata=0)
    cube = imported(cw, tmp_path, [left, right], "--res", "30", "--resampling", "bilinear")
    assert cube.data.shape == (1, 45, 100)
    np.testing.assert_array_equal(cube.data[0, :40, :50], values[0])
    np.testing.assert_array_equal(cube.data[0, 5:, 50:], values[0] + 9)
    assert (cube.data[0, 40:, :50] == 0).all() and (cube.data[0, :5, 50:] == 0).all()


def test_turned_and_south_up_files_are_aligned(cw, tmp_path):
    values = holed("int16")
    for name, transform in {
        "turned": Affine.translation(500000, 5e6) @ Affine.rotation(20) @ Affine.scale(30, -30),
        "south up": Affine(30, 0, 500000, 0, 30, 4990000),
    }.items():
        file = tiffs.write(tmp_path / f"{name}.tif", values, transform, nodata=0)
        cube = imported(cw, tmp_path, [file], "--res", "40")
        np.testing.assert_array_equal(cube.data, warped(file, cube, "nearest", 0))


def test_the_grid_of_another_cube_is_taken_and_cells_outside_are_missing(cw, tmp_path):
    cube = tmp_path / "like.zarr"
    cw("create", "-o", cube, "--dim", "y=30", "--dim", "x=40", "--dtype", "uint8", "--crs", "EPSG:32633", "--coord", "x=499015:30", "--coord", "y=5000485:-30", json=False).ok()
    file = tiffs.write(tmp_path / "a.tif", tiffs.field(150, 170, "uint16"))
    ours = imported(cw, tmp_path, [file], "--like", cube)
    np.testing.assert_array_equal(ours.x, tiffs.stored(cube).x)
    np.testing.assert_array_equal(ours.y, tiffs.stored(cube).y)
    # Nothing marks what is missing: floats do.
    assert ours.data.dtype == "float32"
    expected = warped(file, ours, "nearest", 65535).astype("f4")
    expected[expected == 65535] = np.nan
    assert 0 < np.isnan(expected).sum() < expected.size
    np.testing.assert_array_equal(ours.data, expected)
    run = cw("import", file, "-o", tmp_path / "b.zarr", "--like", cube, json=False).ok()
    assert "NaN" in run.err and "--nodata" in run.err


# --- mosaics ----------------------------------------------------------------------------------------------------------


def overlapping(tmp_path):
    """Three files of one day: 5 columns of each lie on the next."""
    parts = []
    for i in range(3):
        values = tiffs.field(20, 30, "int16", bands=2, seed=i)
        values[:, i::7, i::5] = -1
        parts.append(tiffs.write(tmp_path / f"p{i}_20240301.tif", values, from_origin(3000 + 750 * i, 9000, 30, 30), nodata=-1))
    stack = np.full((3, 2, 20, 80), np.nan)
    for i, part in enumerate(parts):
        values = tiffs.read(part).astype("f8")
        stack[i, :, :, 25 * i : 25 * i + 30] = np.where(values == -1, np.nan, values)
    return parts, stack


@pytest.mark.parametrize("rule", ["first", "last", "min", "max", "mean", "median"])
def test_a_mosaic_takes_the_value_of_its_rule(cw, tmp_path, rule):
    parts, stack = overlapping(tmp_path)
    cube = imported(cw, tmp_path, reversed(parts), "--time-from", "%Y%m%d", "--res", "30", "--mosaic", rule, "--chunk", "y=8,x=33", "--verify")
    valid = np.isfinite(stack)
    with np.errstate(all="ignore"), pytest.warns(RuntimeWarning):
        expected = {
            "first": lambda: np.take_along_axis(stack, valid.argmax(0)[None], 0)[0],
            "last": lambda: np.take_along_axis(stack, 2 - valid[::-1].argmax(0)[None], 0)[0],
            "min": lambda: np.nanmin(stack, 0),
            "max": lambda: np.nanmax(stack, 0),
            "mean": lambda: np.floor(np.nanmean(stack, 0) + 0.5),
            "median": lambda: np.floor(np.nanmedian(stack, 0) + 0.5),
        }[rule]()
        np.nanmean(np.full(1, np.nan))
    np.testing.assert_array_equal(cube.data[0], np.where(np.isnan(expected), -1, expected))


def test_values_that_lie_on_each_other_are_not_mixed_unasked(cw, tmp_path):
    parts, _ = overlapping(tmp_path)
    out = tmp_path / "no.zarr"
    cw("import", *parts, "-o", out, "--time-from", "%Y%m%d", "--res", "30").refused("p0_20240301.tif", "p1_20240301.tif", "row 0, column", "--mosaic")
    assert not out.exists()
    # Files that only touch are one mosaic.
    cube = imported(cw, tmp_path, [parts[0], parts[2]], "--time-from", "%Y%m%d", "--res", "30")
    assert cube.data.shape == (1, 2, 20, 80)


def test_real_scenes_are_the_daily_mosaics_made_of_them(cw, tmp_path, data):
    folder = data / "landsat8-nyc-2018"
    files = sorted(f for f in folder.glob("scenes/*/*.TIF") if not f.name.endswith("_B8.TIF"))
    grid = ["--crs", "EPSG:32618", "--res", "3000", "--bounds", "390000,4347000,765000,4743000"]
    names = ["--time-from", "%Y%m%d", "--band-from", r"_(B\w+)\.TIF$", "--nodata", "0"]
    cube = imported(cw, tmp_path, files, *grid, *names, "--mosaic", "first", "--mosaic-by", "B4", "--verify")
    expected = tiffs.stored(folder / "cube.zarr").dn
    for name in ["time", "band", "y", "x"]:
        np.testing.assert_array_equal(cube[name], expected[name])
    assert (expected[:, 3] == 0).any()
    # In that cube BQA marks missing cells by 1; here all bands have one mark.
    expected = expected.where(expected.isel(band=3) != 0, 0)
    np.testing.assert_array_equal(cube.data, expected)
    told = json.loads((folder / "expected.json").read_text())["cube.zarr"]["per_date_B4_B5"]
    for t, day in enumerate(told):
        b4 = cube.data.values[t, 3].astype("u8")
        assert ((b4 != 0).sum(), b4.sum()) == (day["valid"], day["B4_sum"])


# --- running ----------------------------------------------------------------------------------------------------------


def large(tmp_path, files=6, side=1024):
    """Files of 2 MiB each that deflate cannot make smaller."""
    random = np.random.default_rng(1)
    options = {"tiled": True, "blockxsize": 256, "blockysize": 256, "compress": "deflate", "nodata": 0}
    days = [(tmp_path / f"L_202401{day:02}.tif", random.integers(1, 60000, (1, side, side)).astype("uint16")) for day in range(1, files + 1)]
    return [tiffs.write(path, values, **options) for path, values in days]


LAYOUTS = {"chunks": ["--chunk", "y=128,x=128"], "shards": ["--chunk", "time=1,y=64,x=64", "--shard", "time=2,y=512,x=512"]}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_memory_keeps_to_its_budget_and_a_refusal_names_one_that_works(cw, tmp_path, layout):
    files = large(tmp_path)
    words = ["import", *files, "-o", tmp_path / "out.zarr", "--time-from", "%Y%m%d", "--overwrite", *LAYOUTS[layout]]
    refused = cw(*words, "--memory", "30MiB")
    refused.refused("budget")
    least = refused.smallest_budget()
    for budget in [least, "64MiB", "256MiB"]:
        run = cw(*words, "--memory", budget, "--verify", measure=True, json=False).ok()
        assert run.peak <= runner.as_bytes(*(budget[:-3], "MiB")), f"{budget}: {run.peak / MIB:.1f} MiB\n{run}"
        cube = tiffs.stored(tmp_path / "out.zarr")
        for t, file in enumerate(files):
            np.testing.assert_array_equal(cube.data[t], tiffs.read(file))


def test_one_cell_of_much_source_keeps_to_its_budget(cw, tmp_path):
    files = large(tmp_path, 1, 4096)
    words = ["--res", "6144", "--resampling", "average", "--memory", "64MiB"]
    run = cw("import", *files, "-o", tmp_path / "out.zarr", *words, json=False, measure=True).ok()
    assert run.peak <= 64 * MIB, str(run)
    assert tiffs.stored(tmp_path / "out.zarr").data.size < 1000


@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_import_that_was_killed_goes_on(cw, tmp_path, layout):
    files = large(tmp_path)
    out = tmp_path / "out.zarr"
    words = ["import", *map(str, files), "-o", out, "--time-from", "%Y%m%d", *LAYOUTS[layout], "--codec", "gzip:9", "--threads", "1"]
    process = runner.start(*words)
    deadline = time.monotonic() + 60
    journal = out / ".chunkwise-job.json"
    while time.monotonic() < deadline and process.poll() is None:
        if journal.exists() and json.loads(journal.read_text() or "{}").get("done"):
            break
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL, "it ended before it could be killed"
    cw("stats", out).refused("not complete|unfinished|not finished")
    cw(*words).refused("--resume|--overwrite")
    # Other options, or other files, are another import.
    cw(*words, "--resume", "--nodata", "7").refused("request")
    changed = files[0].stat().st_mtime_ns
    os.utime(files[0], ns=(1, 1))
    cw(*words, "--resume").refused("L_20240101")
    os.utime(files[0], ns=(changed, changed))
    # The budget is not what is imported.
    cw(*words, "--resume", "--verify", "--memory", "200MiB", json=False).ok()
    cube = tiffs.stored(out)
    for t, file in enumerate(files):
        np.testing.assert_array_equal(cube.data[t], tiffs.read(file))


def test_an_import_that_was_stopped_goes_on_where_it_was(cw, tmp_path):
    files = large(tmp_path)
    out = tmp_path / "out.zarr"
    words = ["import", *map(str, files), "-o", out, "--time-from", "%Y%m%d", "--chunk", "y=128,x=128", "--codec", "gzip:9", "--threads", "1"]
    process = runner.start(*words)

    def noted():
        """Whether the journal, which is stored now and then, has all of the first time."""
        try:
            runs = json.loads((out / ".chunkwise-job.json").read_bytes())["done"]
        except (OSError, ValueError):
            return False
        return sum(last - first + 1 for first, last in runs) >= len(list(out.glob("data/c/0/*/*/*")))

    while process.poll() is None and not (list(out.glob("data/c/2/**/*")) and noted()):
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate()
    assert process.returncode == 130, err
    assert b"--resume" in err
    done = {p: p.stat().st_mtime_ns for p in (out / "data").rglob("*") if p.is_file() and "/c/0/" in str(p)}
    assert done
    cw(*words, "--resume", "--verify", json=False).ok()
    assert all(p.stat().st_mtime_ns == time_before for p, time_before in done.items()), "chunks that were done were written again"
    cube = tiffs.stored(out)
    for t, file in enumerate(files):
        np.testing.assert_array_equal(cube.data[t], tiffs.read(file))
    assert not (out / ".chunkwise-job.json").exists()


def test_any_threads_and_budgets_give_the_same_bytes(cw, tmp_path):
    parts, _ = overlapping(tmp_path)

    def make(options):
        out = tmp_path / f"{'-'.join(options)}.zarr"
        words = ["--time-from", "%Y%m%d", "--crs", "EPSG:3035", "--res", "35", "--resampling", "bilinear", "--mosaic", "mean"]
        cw("import", *parts, "-o", out, *words, "--chunk", "band=1,y=7,x=11", *options, json=False).ok()
        return {str(p.relative_to(out)): p.read_bytes() for p in (out / "data").rglob("*") if p.is_file()}

    with ThreadPoolExecutor(2) as pool:
        first, *others = pool.map(make, [("--threads", "1"), ("--threads", "8"), ("--threads", "2", "--memory", "40MiB")])
    assert len(first) > 20 and all(other == first for other in others)


# --- bad input --------------------------------------------------------------------------------------------------------


def test_damaged_files_are_errors_and_leave_nothing(cw, tmp_path):
    good = large(tmp_path, 1, 512)[0].read_bytes()
    cases = {
        "missing": None,
        "empty": b"",
        "text": b"not a picture at all",
        "head": good[:8],
        "half": good[: len(good) // 2],
        "zeros": good[:200] + bytes(len(good) - 200),
        "noise": good[:5000] + bytes(b ^ 0xA5 for b in good[5000:-5000]) + good[-5000:],
    }
    for name, content in cases.items():
        file = tmp_path / f"{name}.tif"
        if content is not None:
            file.write_bytes(content)
        run = cw("import", file, "-o", tmp_path / "out.zarr", "--memory", "256MiB", measure=True)
        run.refused(f"{name}.tif")
        assert run.peak < 256 * MIB
        assert not (tmp_path / "out.zarr").exists(), name


def test_each_byte_of_the_head_may_be_wrong(cw, tmp_path):
    file = tiffs.write(tmp_path / "a.tif", tiffs.field(20, 30, "uint16"), nodata=0, compress="deflate")
    good = file.read_bytes()
    head = int.from_bytes(good[4:8], "little")

    def damaged(at):
        bad = bytearray(good)
        bad[at] ^= 0xFF
        copy = tmp_path / f"d{at}.tif"
        copy.write_bytes(bad)
        run = cw("import", copy, "-o", tmp_path / f"d{at}.zarr", "--memory", "128MiB", json=False, measure=True)
        assert run.code in (0, 2) and "panicked" not in run.err, f"byte {at}\n{run}"
        assert run.peak < 128 * MIB, f"byte {at}\n{run}"
        copy.unlink()
        shutil.rmtree(tmp_path / f"d{at}.zarr", ignore_errors=True)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(damaged, range(head, min(head + 260, len(good)))))


@pytest.mark.parametrize("words, told", [
    (["--time-from", "%Q"], "%Q"),
    (["--time-from", "%d"], "%Y"),
    (["--band-from", "("], "--band-from"),
    (["--res", "0"], "--res"),
    (["--res", "a"], "--res"),
    (["--res", "1e-9"], "too many"),
    (["--res", "30", "--bounds", "1,2,3"], "--bounds"),
    (["--res", "30", "--bounds", "9,9,1,1"], "no box"),
    (["--resampling", "average"], "--like"),
    (["--nodata", "x"], "--nodata"),
    (["--nodata", "-1"], "uint16"),
    (["--dtype", "int32"], "--dtype"),
    (["--chunk", "lat=3"], "lat"),
    (["--crs", "EPSG:4326"], "--res"),
    (["--time-from", "%Y"], "no date"),
])
def test_requests_that_cannot_be_met_are_refused(cw, tmp_path, words, told):
    file = tiffs.write(tmp_path / "a.tif", tiffs.field(20, 30, "uint16"))
    cw("import", file, "-o", tmp_path / "out.zarr", *words).refused(told)
    assert not (tmp_path / "out.zarr").exists()
