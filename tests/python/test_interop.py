"""What chunkwise writes, other readers read: zarr-python, xarray, tensorstore, rioxarray, a later zarr-python."""

import hashlib
import json
import os
import subprocess
import warnings
from pathlib import Path

import numpy as np
import pytest
import rioxarray  # noqa: F401  (gives DataArray.rio)
import tensorstore
import xarray
import zarr

import cube
import oracle

ROOT = Path(__file__).resolve().parents[2]
FORMATS = pytest.mark.parametrize("zarr_format", [3, 2])


@pytest.fixture(autouse=True)
def quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def by_tensorstore(path, name, zarr_format):
    driver = "zarr3" if zarr_format == 3 else "zarr"
    store = {"driver": "file", "path": str(path / name)}
    return np.asarray(tensorstore.open({"driver": driver, "kvstore": store}, open=True).result().read().result())


def check_readers_agree(path, name, zarr_format):
    """The stored values of one variable, the same by all readers."""
    root = zarr.open_group(path, mode="r")
    assert root.metadata.zarr_format == zarr_format
    stored = np.asarray(root[name][...])
    assert np.array_equal(by_tensorstore(path, name, zarr_format), stored, equal_nan=stored.dtype.kind == "f")
    with xarray.open_zarr(path, mask_and_scale=False, decode_times=False) as opened:
        assert np.array_equal(opened[name].values, stored, equal_nan=stored.dtype.kind == "f")
    return stored


def newer_zarr():
    python = ROOT / ".venv-313/bin/python"
    if not python.exists():
        pytest.skip("no Python 3.12 or later with a later zarr-python here (see ./test)")
    return python


CREATE = [
    *("--dim", "time=4", "--dim", "band=red,green,blue,nir", "--dim", "y=10", "--dim", "x=14"),
    *("--chunk", "time=1,band=4,y=4,x=5", "--crs", "EPSG:32631", "--coord", "x=500005:10", "--coord", "y=5600000:-10"),
    *("--dtype", "uint16"),
]
# In v2 the fill value is the missing mark.
MARKS = {3: ["--fill", "9", "--missing", "65535"], 2: ["--missing", "65535"]}
FILL = {3: 9, 2: 65535}


@FORMATS
def test_a_created_cube_opens_everywhere(cw, tmp_path, zarr_format):
    path = tmp_path / "new.zarr"
    cw("create", "-o", path, "--var", "reflectance", *CREATE, *MARKS[zarr_format], "--zarr", zarr_format).ok()
    stored = check_readers_agree(path, "reflectance", zarr_format)
    assert stored.shape == (4, 4, 10, 14) and stored.dtype == np.uint16 and (stored == FILL[zarr_format]).all()
    with xarray.open_zarr(path) as opened:
        data = opened["reflectance"]
        assert data.dims == ("time", "band", "y", "x")
        assert list(data["band"].values) == ["red", "green", "blue", "nir"]
        assert np.array_equal(data["x"].values, 500005 + 10.0 * np.arange(14))
        assert np.array_equal(data["y"].values, 5600000 - 10.0 * np.arange(10))
        assert data.encoding["chunks"] == (1, 4, 4, 5)
        assert data.rio.crs.to_epsg() == 32631
    assert cw("info", path).ok().json["zarr_format"] == zarr_format


@FORMATS
def test_a_created_cube_can_be_filled_by_zarr_python_and_read_back(cw, tmp_path, zarr_format):
    path = tmp_path / "new.zarr"
    cw("create", "-o", path, "--var", "reflectance", *CREATE, *MARKS[zarr_format], "--zarr", zarr_format).ok()
    values = np.random.default_rng(3).integers(0, 60000, (4, 4, 10, 14)).astype(np.uint16)
    zarr.open_group(path, mode="r+")["reflectance"][...] = values
    records = cw("stats", path, "--by", "band").ok().json
    assert [r["max"] for r in records] == [int(v) for v in values.max((0, 2, 3))]


SOURCE = cube.Spec(
    shape=(6, 3, 21, 17), chunks=(2, 2, 8, 5), dtype="int16", mark=-1, fill=-1, packing=(0.5, 3.0), gaps=0.2, missing=0.1, step=30, seed=21
)


@pytest.mark.parametrize("zarr_format, shard", [(3, []), (3, ["--shard", "band=3,y=21,x=17"]), (2, [])])
def test_reduced_cubes_open_everywhere_with_their_labels(cw, tmp_path, zarr_format, shard):
    made = SOURCE.build(tmp_path / "cube.zarr")
    out = tmp_path / "out.zarr"
    layout = ["--chunk", "band=1,y=7,x=17", *shard]
    cw("reduce", made.path, "--var", "data", "--over", "time", "--with", "mean,min,count", "-o", out, "--zarr", zarr_format, *layout).ok()
    for name in ("data_mean", "data_min", "data_count"):
        check_readers_agree(out, name, zarr_format)
    with xarray.open_zarr(out) as opened:
        assert opened["data_mean"].dims == ("band", "y", "x")
        assert list(opened["band"].values) == list(cube.BANDS[:3])
        assert np.array_equal(opened["y"].values, 900 - 10.0 * np.arange(21))
        mean, missing = oracle.statistic("mean", made.values, made.valid, [0])
        least, _ = oracle.statistic("min", made.values, made.valid, [0])
        assert np.array_equal(np.isnan(opened["data_mean"].values), missing)
        np.testing.assert_allclose(opened["data_mean"].values[~missing], mean[~missing], rtol=2e-7)
        np.testing.assert_allclose(opened["data_min"].values[~missing], least[~missing], rtol=1e-7)
        assert opened["data_min"].encoding["scale_factor"] == 0.5
        assert "scale_factor" not in opened["data_mean"].encoding


@FORMATS
def test_calculated_cubes_keep_times_bands_and_crs(cw, data, tmp_path, zarr_format):
    source = data / "s2-l2a-belgium" / "cube.zarr"
    out = tmp_path / "out.zarr"
    cw("calc", source, "ndvi = (B08 - B04) / (B08 + B04)", "-o", out, "--zarr", zarr_format).ok()
    check_readers_agree(out, "ndvi", zarr_format)
    with xarray.open_zarr(out) as ours, xarray.open_zarr(source) as theirs:
        assert ours["ndvi"].dims == ("time", "y", "x")
        assert np.array_equal(ours["time"].values, theirs["time"].values)
        assert np.array_equal(ours["x"].values, theirs["x"].values)
        assert ours["ndvi"].rio.crs.to_epsg() == 32631
        assert ours["ndvi"].rio.transform() == theirs["reflectance"].rio.transform()


@FORMATS
def test_months_and_windows_carry_times_that_xarray_decodes(cw, tmp_path, zarr_format):
    made = SOURCE.build(tmp_path / "cube.zarr")
    months = tmp_path / "months.zarr"
    cw("reduce", made.path, "--var", "data", "--every", "1month", "--with", "mean", "-o", months, "--zarr", zarr_format).ok()
    with xarray.open_zarr(months) as opened:
        starts = [str(t)[:10] for t in opened["time"].values]
        assert starts[:2] == ["2019-11-01", "2019-12-01"]
        assert "time_bnds" in opened.variables
        assert str(opened["time_bnds"].values[0, 1])[:10] == "2019-12-01"
    cycle = tmp_path / "cycle.zarr"
    cw("reduce", made.path, "--var", "data", "--group", "season", "--with", "mean", "-o", cycle, "--zarr", zarr_format).ok()
    with xarray.open_zarr(cycle) as opened:
        assert opened["data"].dims == ("season", "band", "y", "x")
        assert set(opened["season"].values) <= {"DJF", "MAM", "JJA", "SON"}


def test_a_selection_moves_the_transform_with_it(cw, data, tmp_path):
    out = tmp_path / "out.zarr"
    words = ["--isel", "y=10:60", "--isel", "x=20:90", "--over", "time", "--with", "mean"]
    cw("reduce", data / "s2-l2a-belgium/cube.zarr", "--var", "reflectance", *words, "-o", out).ok()
    with xarray.open_zarr(out) as opened:
        assert tuple(opened["reflectance"].rio.transform())[:6] == (10.0, 0.0, 664200.0, 0.0, -10.0, 5612020.0)


def test_a_later_zarr_python_reads_the_same(cw, tmp_path):
    made = SOURCE.build(tmp_path / "cube.zarr")
    out = tmp_path / "out.zarr"
    cw("reduce", made.path, "--var", "data", "--over", "time", "--with", "mean,count", "-o", out).ok()
    script = (
        "import sys, json, zarr, hashlib\n"
        "g = zarr.open_group(sys.argv[1], mode='r')\n"
        "print(json.dumps({k: hashlib.sha256(v[...].tobytes()).hexdigest() for k, v in g.arrays() if k.startswith('data')}))\n"
    )
    env = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    done = subprocess.run([newer_zarr(), "-W", "ignore", "-c", script, out], capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr
    theirs = json.loads(done.stdout)
    assert set(theirs) == {"data_mean", "data_count"}
    for name, digest in theirs.items():
        assert hashlib.sha256(cube.read(out, name)[0].tobytes()).hexdigest() == digest
