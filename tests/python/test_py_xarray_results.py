"""Results as xarray and NumPy have them: what is computed is what is written; places, types and memory."""

from __future__ import annotations

import re

import numpy as np
import odc.geo.xr  # noqa: F401 - `.odc`
import pytest
import rioxarray  # `.rio`
import xarray as xr

import chunkwise as cw
from datasets import ZARR, assert_same, hard, small
from test_documents import ROOT, furnish

pytestmark = pytest.mark.filterwarnings(
    "ignore::UserWarning", "ignore::FutureWarning", "ignore::RuntimeWarning", "ignore::PendingDeprecationWarning"
)


@pytest.fixture(autouse=True, scope="module")
def plain_numpy():
    """xarray without what compiles for a minute on its first use."""
    with xr.set_options(use_flox=False, use_numbagg=False):
        yield


# --- coordinate reference systems -------------------------------------------------------------------------------------


def placed(how):
    values = np.arange(20.0).reshape(4, 5)
    y, x = 5_000_000 - 30.0 * np.arange(4) - 15, 500_000 + 30.0 * np.arange(5) + 15
    da = xr.DataArray(values, dims=("y", "x"), coords={"y": y, "x": x}, name="v")
    return da.rio.write_crs("EPSG:32633") if how == "rioxarray" else da.odc.assign_crs("EPSG:32633")


@pytest.mark.parametrize("how", ["rioxarray", "odc-geo"])
def test_the_crs_that_others_gave_is_that_of_the_cube_and_of_its_results(tmp_path, how):
    da = placed(how)
    array = cw.from_xarray(da)
    assert cw.from_xarray(da.to_dataset()).crs == "EPSG:32633"
    ours = array.isel(x=slice(1, 4)).compute()
    assert ours.rio.crs == "EPSG:32633" and ours.odc.crs == "EPSG:32633"
    assert ours.odc.geobox == da.isel(x=slice(1, 4)).odc.geobox
    assert ours.rio.transform() == da.isel(x=slice(1, 4)).rio.transform()
    array.to_geotiff(tmp_path / "a.tif")
    with rioxarray.open_rasterio(tmp_path / "a.tif") as tif:
        assert tif.rio.crs == "EPSG:32633"
        np.testing.assert_array_equal(tif[0], da)


@pytest.mark.parametrize("cube", ["s2-l1c-slovenia/series.zarr", "s2-l2a-belgium/cube_v2.zarr"])
def test_results_know_their_place_as_the_cube_does(data, cube):
    theirs = xr.open_zarr(data / cube, decode_coords="all", chunks=None)
    name = next(n for n, v in theirs.data_vars.items() if "time" in v.dims)
    ours = cw.open(data / cube)[name].mean("time").compute()
    assert ours.rio.crs == theirs.rio.crs and ours.odc.crs == theirs.odc.crs
    assert ours.odc.geobox == theirs[name].odc.geobox
    some = {"time": 0, "y": slice(10, 50), "x": slice(20, 40)}
    part = cw.open(data / cube)[name].isel(some).compute()
    assert part.rio.transform().almost_equals(theirs[name].isel(some).rio.transform(), 1e-6)


# --- results ----------------------------------------------------------------------------------------------------------


def requests(cube):
    name = next(n for n in cube if len(cube[n].dims) > 2)
    x = cube[name]
    first, last = x.dims[0], x.dims[-1]
    yield x.isel({first: 0})
    yield x.isel({first: [0], last: slice(2, 9, 3)})
    yield cube.isel({last: slice(0, 20)}).mean(first)
    yield x.max(first)
    yield x.isel({last: slice(0, 10)}).reduce(["mean", "count", "argmax"], first)
    yield x.mean()
    yield x.coarsen({last: 5}, boundary="trim").mean()
    if first == "time":
        yield x.groupby("time.month").mean()
        yield x.resample(time="YS").min()


def assert_as_written(lazy, path):
    ours = lazy.compute()
    lazy.to_zarr(path, overwrite=True)
    theirs = xr.open_zarr(path, decode_coords="all", chunks=None)
    if isinstance(ours, xr.DataArray):
        theirs = theirs[ours.name]
    theirs.attrs.pop("history", None), ours.attrs.pop("history", None)
    assert_same(ours, theirs.load())


@pytest.mark.parametrize("cube", [*(c for c in ZARR if "cube_v2" not in c), "netcdf-samples/reduced.nc"])
def test_results_in_memory_are_those_that_are_written(data, tmp_path, cube):
    for lazy in requests(cw.open(data / cube)):
        assert_as_written(lazy, str(tmp_path / "a.zarr"))


@pytest.mark.parametrize("calendar", ["standard", "noleap", "360_day"])
def test_results_of_arrays_are_those_that_are_written(tmp_path, calendar):
    cube = cw.from_xarray(small(calendar))
    for lazy in (cube, cube.max(["y", "x"]), *requests(cube)):
        assert_as_written(lazy, str(tmp_path / "a.zarr"))


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_results_of_what_is_rare_are_those_that_are_written(tmp_path, zarr_format):
    cube = cw.open(hard(str(tmp_path / "a.zarr"), zarr_format))
    p = cube["p"]
    for lazy in (p, p.max("x"), p.mean("t"), cube["b"], cube["td"], cube["dt"].max(), cube["v"].isel(t=1)):
        assert_as_written(lazy, str(tmp_path / "b.zarr"))


def test_a_result_leaves_no_line_in_the_history(data):
    cube = cw.open(data / "s2-l1c-slovenia/bands.zarr")
    assert cube.mean("time").compute().attrs["history"] == cube.attrs["history"]
    assert "history" not in cw.from_xarray(small()).compute().attrs


# --- NumPy ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def given(monkeypatch):
    """What the engine gave, in order."""
    buffers = []
    whole = cw._lazy.Lazy._arrays

    def kept(self, *args, **how):
        attrs, arrays = whole(self, *args, **how)
        buffers.append(arrays[0][1])
        return attrs, arrays

    monkeypatch.setattr(cw._lazy.Lazy, "_arrays", kept)
    return buffers


def test_results_are_the_memory_that_the_engine_filled(data, given):
    series = cw.open(data / "s2-l1c-slovenia/series.zarr")
    for lazy in (series["ndvi"].mean("time"), series["ndvi"], series["cloud_mask"], cw.from_xarray(small())["d"]):
        ours = lazy.compute()
        assert np.shares_memory(ours.values, given[-1]) and ours.values.flags.writeable
        assert np.shares_memory(lazy.compute().to_numpy(), given[-1])
        assert np.shares_memory(np.asarray(lazy), given[-1])
        assert np.shares_memory(np.from_dlpack(lazy), given[-1])


def test_numpy_asks_for_types_and_never_for_what_is_not_there():
    lazy = cw.from_xarray(small())["f"]
    assert np.asarray(lazy, dtype="float64").dtype == "float64"
    assert lazy.__dlpack_device__() == (1, 0)
    with pytest.raises(ValueError, match="without a copy"):
        np.asarray(lazy, copy=False)


# --- the page ---------------------------------------------------------------------------------------------------------


def test_the_two_sides_of_the_table_are_the_same(of_the_page):
    names = of_the_page
    rows = re.findall(r"^\| (`.*`) \| (`.*`) \|$", (ROOT / "docs/xarray.md").read_text(), re.MULTILINE)
    assert len(rows) > 20
    for theirs, ours in rows:
        left = [eval(text, {**names, "r": names["ds"]["reflectance"]}) for text in re.findall(r"`(.*?)`", theirs)]
        for text in re.findall(r"`(.*?)`", ours):
            found = eval(text, {**names, "r": names["cube"]["reflectance"]})
            found = found.compute(dtype="float64") if hasattr(found, "explain") else found
            for expected in left:
                expected = expected.transpose(*found.dims)
                np.testing.assert_allclose(found, expected, rtol=2e-6, atol=1e-7, err_msg=f"{text} and {theirs}")
                for dim in found.dims:
                    np.testing.assert_array_equal(found[dim], expected[dim], err_msg=f"{text}: {dim}")


@pytest.fixture
def of_the_page(tmp_path):
    """The cubes of the page, as xarray and chunkwise open them."""
    furnish(tmp_path, "docs/xarray.md", None)
    return {"ds": xr.open_zarr(tmp_path / "s2.zarr", chunks=None), "cube": cw.open(tmp_path / "s2.zarr"), "xr": xr}
