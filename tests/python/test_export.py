"""`-o x.tif` and `-o x.nc`: what GDAL (rasterio, gdalinfo), xarray and netCDF4 read in them equals the cube that the same command writes.

    $ .venv/bin/python -m pytest tests/python/test_export.py
"""

import json
import shutil
import subprocess
import time

import netCDF4
import numpy as np
import pyproj
import pytest
import rasterio
import rioxarray  # noqa: F401
import signal
import xarray as xr

import runner
from small import build


def cubes(cw, tmp_path, *words):
    """The result of a command as a cube, a GeoTIFF and a NetCDF file."""
    for name in ("o.zarr", "o.tif", "o.nc"):
        cw(*words, "-o", tmp_path / name).ok()
    left = sorted(p.name for p in tmp_path.iterdir() if p.name.startswith("."))
    assert not left, left
    return xr.open_zarr(tmp_path / "o.zarr", consolidated=False), tmp_path / "o.tif", tmp_path / "o.nc"


COMMANDS = {
    "mean": ("s2-l2a-belgium/cube.zarr", ["reduce", "--over", "time", "--with", "mean"]),
    "mode keeps integers": ("s2-l2a-belgium/cube.zarr", ["reduce", "--over", "time", "--with", "max", "--sel", "band=B04,B08"]),
    "formula": ("s2-l1c-slovenia/bands.zarr", ["calc", "ndvi = (B08 - B04) / (B08 + B04)"]),
    "counts": ("landsat8-nyc-2018/cube.zarr", ["reduce", "--over", "band", "--with", "count"]),
    "degrees": ("climate-a1b-north-america/packed.zarr", ["reduce", "--every", "year", "--with", "mean", "--isel", "time=0:4"]),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_values_grid_and_crs_are_those_of_the_cube(cw, data, tmp_path, name):
    source, (command, *words) = COMMANDS[name]
    cube, tif, nc = cubes(cw, tmp_path, command, data / source, *words)
    (variable,) = [v for v in cube.data_vars if cube[v].ndim >= 2 and not v.endswith("_bnds")]
    want = cube[variable]
    rows, columns = want.dims[-2:]
    with xr.open_dataset(nc) as found:
        xr.testing.assert_identical(found[variable].drop_vars("spatial_ref", errors="ignore").drop_attrs(), want.drop_vars("spatial_ref", errors="ignore").drop_attrs())
        for key in ("units", "long_name", "cell_methods", "grid_mapping"):
            assert found[variable].encoding.get(key, found[variable].attrs.get(key)) == want.encoding.get(key, want.attrs.get(key))
    with rasterio.open(tif) as found:
        assert found.profile["tiled"] and found.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        north_up = want.sortby(rows, ascending=False)
        bands = north_up.values.reshape(-1, *want.shape[-2:])
        # Packed values are written decoded, as 32 bits hold them.
        kept = bands.astype(found.dtypes[0]) if want.dtype.kind == "f" else bands
        np.testing.assert_array_equal(found.read(masked=True).astype("float64").filled(np.nan), kept.astype("float64"))
        xs, ys = north_up[columns].values, north_up[rows].values
        np.testing.assert_allclose(found.transform[2] + found.transform[0] * (np.arange(len(xs)) + 0.5), xs, rtol=1e-6)
        np.testing.assert_allclose(found.transform[5] + found.transform[4] * (np.arange(len(ys)) + 0.5), ys, rtol=1e-6)
        if "spatial_ref" in cube.variables:
            assert found.crs.to_epsg() == pyproj.CRS(cube["spatial_ref"].attrs["crs_wkt"]).to_epsg()
        if found.count > 1:
            leading = [str(v)[:10] for v in want[want.dims[0]].values]
            assert all(d.startswith(l) for d, l in zip(found.descriptions, leading)), found.descriptions


def test_a_large_map_has_tiles_and_overviews(cw, tmp_path):
    rng = np.random.default_rng(1)
    values = rng.integers(0, 1000, (2, 1500, 1300)).astype("int16")
    values[:, 700:, :300] = -1
    arrays = {
        "v": (("t", "y", "x"), values, {"_FillValue": -1}, {"chunks": (2, 400, 333)}),
        "y": (("y",), 30.0 * np.arange(1500)),
        "x": (("x",), 30.0 * np.arange(1300)),
    }
    path = build(tmp_path / "c.zarr", arrays)
    cw("calc", path, "w = where(v > 500, v, missing)", "-o", tmp_path / "f.tif", "--memory", "96MiB", "--threads", "2").ok()
    run = cw("reduce", path, "--over", "t", "--with", "max", "-o", tmp_path / "o.tif", "--memory", "64MiB", measure=True).ok()
    assert run.peak <= 64 * 2**20
    with rasterio.open(tmp_path / "o.tif") as found:
        want = values.max(0)[::-1]
        np.testing.assert_array_equal(found.read(1), want)
        assert found.overviews(1) == [2, 4, 8] and found.nodata == -1 and found.block_shapes[0] == (512, 512)
        # Nearest cells: nothing is invented.
        np.testing.assert_array_equal(found.read(1, out_shape=(750, 650)), want[::2, ::2])
    with rasterio.open(tmp_path / "f.tif") as found:
        np.testing.assert_array_equal(found.read(), np.where(values > 500, values, np.nan).astype("float32")[:, ::-1])
    if shutil.which("gdalinfo"):
        about = json.loads(subprocess.run(["gdalinfo", "-json", tmp_path / "o.tif"], capture_output=True, check=True).stdout)
        assert about["metadata"]["IMAGE_STRUCTURE"]["LAYOUT"] == "COG"


def test_netcdf_is_chunked_compressed_and_has_fill_values(cw, data, tmp_path):
    cw("reduce", data / "s2-l2a-belgium/cube.zarr", "--over", "time", "--with", "max", "-o", tmp_path / "o.nc", "--chunk", "band=3,y=50,x=40").ok()
    with netCDF4.Dataset(tmp_path / "o.nc") as found:
        variable = found["reflectance"]
        assert variable.chunking() == [3, 50, 40] and variable.filters()["zlib"] and variable.filters()["shuffle"]
        assert variable.dtype == "uint16" and variable._FillValue == 65535 and variable.scale_factor == 1e-4
        assert found["reflectance"].grid_mapping == "spatial_ref" and "crs_wkt" in found["spatial_ref"].ncattrs()
    cw("reduce", data / "s2-l2a-belgium/cube.zarr", "--over", "time", "--with", "max", "-o", tmp_path / "n.nc", "--codec", "none").ok()
    with netCDF4.Dataset(tmp_path / "n.nc") as found:
        assert not found["reflectance"].filters()["zlib"]


def test_several_variables_are_bands_of_one_file_where_they_can(cw, data, tmp_path):
    slovenia = data / "s2-l1c-slovenia/series.zarr"
    cw("reduce", slovenia, "--var", "ndvi", "--over", "time", "--with", "min,max", "-o", tmp_path / "o.tif").ok()
    with rasterio.open(tmp_path / "o.tif") as found:
        assert found.descriptions == ("ndvi_min", "ndvi_max")
    cw("reduce", slovenia, "--var", "ndvi", "--over", "time", "--with", "min,count", "-o", tmp_path / "m.tif").refused("ndvi_min", "float32", "ndvi_count", "uint64", "--var|one type")
    cw("reduce", slovenia, "--var", "ndvi", "--over", "time,y", "--with", "min", "-o", tmp_path / "m.tif").refused("rows and columns")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["o.tif", "o.tif.aux.xml"]


def test_what_cannot_be_is_refused_and_nothing_is_left(cw, data, tmp_path):
    source = data / "s2-l2a-belgium/cube.zarr"
    asked = ["reduce", source, "--over", "time", "--with", "mean"]
    (tmp_path / "o.tif").write_text("mine")
    cw(*asked, "-o", tmp_path / "o.tif").refused("exists", "--overwrite")
    cw(*asked, "-o", tmp_path / "x.tif", "--codec", "zstd").refused("zstd", "gzip")
    cw(*asked, "-o", tmp_path / "x.nc", "--shard", "y=100").refused("shards")
    uneven = build(tmp_path / "u.zarr", {"v": (("y", "x"), np.zeros((4, 4), "float32")), "y": (("y",), [0.0, 1, 3, 4]), "x": (("x",), np.arange(4.0))})
    cw("calc", uneven, "w = v", "-o", tmp_path / "x.tif").refused("`y`", "even")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["o.tif", "u.zarr"] and (tmp_path / "o.tif").read_text() == "mine"
    cw(*asked, "-o", tmp_path / "o.tif", "--overwrite").ok()
    assert rasterio.open(tmp_path / "o.tif").count == 9


def test_an_interrupt_leaves_nothing(tmp_path):
    values = np.arange(40 * 1000 * 1000, dtype="float32").reshape(40, 1000, 1000)
    path = build(tmp_path / "c.zarr", {"v": (("t", "y", "x"), values, {}, {"chunks": (1, 500, 500)})})
    for wait in (0.2, 0.6, 1.2):
        process = runner.start("calc", path, "w = v * 2", "-o", tmp_path / "o.tif")
        time.sleep(wait)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
        assert process.returncode in (0, 130)
        names = sorted(p.name for p in tmp_path.iterdir())
        assert names in (["c.zarr"], ["c.zarr", "o.tif", "o.tif.aux.xml"]), names
        if process.returncode == 0:
            break


@pytest.mark.parametrize("ending", ["tif", "nc"])
def test_memory_does_not_grow_with_the_cube(cw, tmp_path, ending):
    peaks = []
    for n in (4, 24):
        values = np.ones((n, 1024, 1024), "float32")
        path = build(tmp_path / f"c{n}.zarr", {"v": (("t", "y", "x"), values, {}, {"chunks": (1, 256, 256)})})
        run = cw("calc", path, "w = v + 1", "-o", tmp_path / f"o{n}.{ending}", "--memory", "128MiB", "--threads", "2", measure=True).ok()
        peaks.append(run.peak)
    assert max(peaks) <= 128 * 2**20, peaks
