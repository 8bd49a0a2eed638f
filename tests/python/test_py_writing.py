"""Cubes that are made, filled, changed and appended to from Python, as zarr and xarray read them."""

from __future__ import annotations

import multiprocessing

import numpy as np
import pandas as pd
import pytest
import rasterio
import xarray as xr
import zarr

import chunkwise as cw


def made(path, **how):
    how = {"dtype": "uint16", "var": "dn", "chunks": {"time": 1, "y": 10, "x": 10}, **how}
    dims = {"time": 3, "band": ["red", "nir"], "y": 25, "x": 30}
    coords = {"time": ("2024-01-15", "1month"), "x": (500_000, 30), "y": (4_000_000, -30)}
    return cw.create(path, dims, coords=coords, **how)


def test_a_cube_is_made_as_it_is_said(tmp_path):
    cube = made(
        tmp_path / "a.zarr", crs="EPSG:32610", missing=0, codec="zstd:5", attrs={"title": "Fields"}, var_attrs={"units": "1"}
    )
    assert cube.sizes == {"time": 3, "band": 2, "y": 25, "x": 30} and cube.crs == "EPSG:32610"
    ds = xr.open_zarr(str(tmp_path / "a.zarr"), decode_coords="all")
    assert ds["dn"].encoding["dtype"] == "uint16" and ds["dn"].isnull().all() and ds.attrs["title"] == "Fields"
    assert ds["dn"].attrs["units"] == "1"
    assert ds["band"].values.tolist() == ["red", "nir"]
    np.testing.assert_array_equal(ds["time"].values, pd.to_datetime(["2024-01-15", "2024-02-15", "2024-03-15"]))
    np.testing.assert_array_equal(ds["y"].values, 4_000_000 - 30.0 * np.arange(25))
    assert zarr.open_array(str(tmp_path / "a.zarr/dn"), mode="r").chunks == (1, 2, 10, 10)


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_cells_are_written_by_position_and_by_name(tmp_path, zarr_format):
    cube = made(tmp_path / "a.zarr", zarr_format=zarr_format)
    rng = np.random.default_rng(1)
    expected = np.zeros((3, 2, 25, 30), "uint16")
    block = rng.integers(0, 60_000, (2, 25, 30)).astype("uint16")
    cube["dn"][1] = block
    expected[1] = block
    cube["dn"][0, 1, 3:17, -5:] = 7
    expected[0, 1, 3:17, -5:] = 7
    cube["dn"][..., 24, 0] = np.arange(6).reshape(3, 2)
    expected[..., 24, 0] = np.arange(6).reshape(3, 2)
    cube["dn"][{"time": 2, "x": slice(0, 10)}] = xr.DataArray(rng.integers(0, 9, (10, 25)), dims=("x", "y"))
    rng = np.random.default_rng(1)
    rng.integers(0, 60_000, (2, 25, 30))
    expected[2, :, :, 0:10] = rng.integers(0, 9, (10, 25)).T
    stored = zarr.open_array(str(tmp_path / "a.zarr/dn"), mode="r")[:]
    np.testing.assert_array_equal(stored, expected)
    cube["dn"].sel(time="2024-01-15", band="red")[0:2, 0:2] = 5
    expected[0, 0, 0:2, 0:2] = 5
    np.testing.assert_array_equal(cube["dn"].compute().values, expected)


def test_values_are_packed_and_gaps_marked(tmp_path):
    cube = made(tmp_path / "a.zarr", dtype="int16", missing=-999, var_attrs={"scale_factor": 0.1, "add_offset": 20.0})
    values = np.array([[20.0, 20.1], [np.nan, -30.4]])
    cube["dn"][0, 0, :2, :2] = values
    cube["dn"][0, 0, 4:6, :2] = np.ma.masked_equal([[1.0, 2.0], [3.0, 2.0]], 2.0)
    np.testing.assert_allclose(cube["dn"][0, 0, :2, :2].compute().values, values)
    stored = zarr.open_array(str(tmp_path / "a.zarr/dn"), mode="r")
    assert stored[0, 0, :2, :2].tolist() == [[0, 1], [-999, -504]] and stored[0, 0, 4:6, 1].tolist() == [-999, -999]
    cw.open(tmp_path / "a.zarr")["dn"].write({"time": 1, "band": 0, "y": 0, "x": 0}, 12, raw=True)
    assert stored[1, 0, 0, 0] == 12


@pytest.mark.parametrize(
    "values", [70_000, -1, 0.5, np.nan, np.datetime64("2024-01-01"), "text"], ids=["large", "negative", "half", "nan", "time", "text"]
)
def test_values_that_the_type_cannot_hold_are_refused(tmp_path, values):
    cube = made(tmp_path / "a.zarr")
    with pytest.raises(ValueError, match="dn"):
        cube["dn"][0] = values
    assert not (tmp_path / "a.zarr" / "dn" / "c").exists()


def test_regions_that_do_not_fit_are_refused(tmp_path):
    array = made(tmp_path / "a.zarr")["dn"]
    for region, values, error in [
        ((0, 0, slice(0, 4, 2)), 1, ValueError),
        ((3,), 1, IndexError),
        ({"lat": 0}, 1, LookupError),
        ((0, 0), np.zeros((3, 3)), ValueError),
        ((0, 0, 0, 0, 0), 1, IndexError),
    ]:
        with pytest.raises(error):
            array[region] = values
    with pytest.raises(ValueError, match="formulas"):
        (array + 1)[0] = 1


def fill(path, row):
    cw.open(path)["dn"][:, :, row, :] = row + 1


def test_writers_of_parts_of_the_same_chunks_do_not_lose_each_other(tmp_path):
    made(tmp_path / "a.zarr")
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        pool.starmap(fill, [(str(tmp_path / "a.zarr"), row) for row in range(25)])
    found = cw.open(tmp_path / "a.zarr")["dn"].compute().values
    np.testing.assert_array_equal(found, np.broadcast_to(np.arange(1, 26)[:, None], (3, 2, 25, 30)))


def test_results_are_written_into_regions_of_a_cube(tmp_path):
    cube = made(tmp_path / "a.zarr", dtype="float32")
    cube["dn"][:] = np.random.default_rng(2).random((3, 2, 25, 30))
    into = cw.create(tmp_path / "b.zarr", {"month": 12, "y": 25, "x": 30}, dtype="float32", var="dn")
    mean = cube["dn"].mean(["time", "band"])
    mean.to_zarr(tmp_path / "b.zarr", region={"month": 4})
    np.testing.assert_array_equal(into["dn"][4].compute().values, mean.compute().values)
    assert np.isnan(into["dn"][5].compute().values).all()
    with pytest.raises(FileNotFoundError):
        cube["dn"].mean("time").to_zarr(tmp_path / "nope.zarr", region={"month": 4})


def test_cubes_are_appended_along_time(tmp_path):
    ds = xr.Dataset(
        {"v": (("time", "x"), np.arange(12.0).reshape(4, 3))}, coords={"time": pd.date_range("2024-01-01", periods=4), "x": [0.0, 1, 2]}
    )
    ds.isel(time=slice(0, 2)).to_zarr(tmp_path / "a.zarr", encoding={"v": {"chunks": (1, 3)}})
    ds.isel(time=slice(2, 4)).to_zarr(tmp_path / "b.zarr")
    cube = cw.open(tmp_path / "a.zarr").append(cw.open(tmp_path / "b.zarr"))
    assert cube.sizes["time"] == 4
    np.testing.assert_array_equal(cube["v"].compute().values, ds["v"].values)
    xr.testing.assert_equal(xr.open_zarr(str(tmp_path / "a.zarr")).load(), ds)
    with pytest.raises(ValueError):
        cube.append(tmp_path / "b.zarr")


def test_attributes_are_changed_in_place(tmp_path):
    cube = made(tmp_path / "a.zarr", attrs={"title": "Fields", "old": 1})
    cube = cube.update_attrs({"version": 2, "tags": ["a", "b"]}, delete=["old"])
    cube = cube["dn"].update_attrs(long_name="digital number")
    assert cube.attrs["tags"] == ["a", "b"] and "old" not in cube.attrs and cube["dn"].attrs["long_name"] == "digital number"
    assert xr.open_zarr(str(tmp_path / "a.zarr")).attrs["version"] == 2


def test_layouts_of_results_are_chosen(tmp_path):
    cube = made(tmp_path / "a.zarr", dtype="float32")
    cube["dn"][:] = np.random.default_rng(2).random((3, 2, 25, 30))
    for how in [
        {"chunks": {"y": 5, "x": -1}, "codec": "blosc:lz4:5:shuffle"},
        {"chunks": {"y": 5, "x": 10}, "shards": {"y": 10, "x": 30}},
        {"zarr_format": 2, "dtype": "float64"},
    ]:
        out = cube["dn"].mean("time").to_zarr(tmp_path / "out.zarr", overwrite=True, **how)
        stored = zarr.open_array(str(tmp_path / "out.zarr/dn"), mode="r")
        np.testing.assert_allclose(stored[:], cube["dn"].mean("time").compute().values, rtol=1e-6)
        if "chunks" in how:
            assert stored.chunks[1] == 5 and stored.shards == ((2, 10, 30) if "shards" in how else None)
        assert out["dn"].dtype == how.get("dtype", "float32")
    with pytest.raises(FileExistsError, match="overwrite=True"):
        cube["dn"].mean("time").to_zarr(tmp_path / "out.zarr")
    with pytest.raises(ValueError, match="within|input"):
        cube["dn"].mean("time").to_zarr(tmp_path / "a.zarr", overwrite=True)


def test_results_are_written_as_geotiff_and_netcdf(tmp_path):
    cube = made(tmp_path / "a.zarr", dtype="float32", crs="EPSG:32610")
    cube["dn"][:] = np.random.default_rng(2).random((3, 2, 25, 30))
    mean = cube["dn"].mean("time")
    mean.to_geotiff(tmp_path / "mean.tif")
    with rasterio.open(tmp_path / "mean.tif") as tif:
        np.testing.assert_array_equal(tif.read(), mean.compute().values)
        assert tif.crs.to_epsg() == 32610
    mean.to_netcdf(tmp_path / "mean.nc")
    np.testing.assert_array_equal(xr.open_dataset(tmp_path / "mean.nc")["dn"].values, mean.compute().values)


def test_files_are_imported(tmp_path):
    for month in (1, 2):
        with rasterio.open(
            tmp_path / f"s2_2024{month:02}.tif", "w", driver="GTiff", width=20, height=10, count=1, dtype="uint16", crs="EPSG:32610",
            transform=rasterio.transform.from_origin(500_000, 4_000_000, 10, 10),
        ) as tif:  # fmt: skip
            tif.write(np.full((10, 20), month, "uint16"), 1)
    cube = cw.import_files(sorted(tmp_path.glob("*.tif")), tmp_path / "s2.zarr", time_from="%Y%m")
    name = next(iter(cube))
    assert cube[name].compute().values.reshape(2, -1)[:, 0].tolist() == [1, 2]
    assert cube.crs == "EPSG:32610"


def test_cubes_in_memory(tmp_path):
    cube = cw.create("memory:here", {"y": 4, "x": 5}, dtype="float32", var="v")
    cube["v"][:] = np.arange(20.0).reshape(4, 5)
    assert cube["v"].sum().item() == 190
    mean = cube["v"].mean("x").to_zarr("memory:mean")
    np.testing.assert_array_equal(mean["v"].compute().values, [2, 7, 12, 17])
