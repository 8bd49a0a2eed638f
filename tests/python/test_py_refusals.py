"""What would be silently wrong, or never end, is refused by name."""

from __future__ import annotations

import os
import shutil

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
import xarray as xr

import chunkwise as cw


@pytest.fixture
def ds():
    rng = np.random.default_rng(6)
    values = rng.integers(0, 9, (40, 4, 5)).astype("int16")
    coords = {"time": pd.date_range("2024-01-01", periods=40), "y": [30.0, 20, 10, 0], "x": np.arange(5.0)}
    return xr.Dataset({"v": (("time", "y", "x"), values)}, coords=coords)


@pytest.fixture
def cube(ds, tmp_path):
    ds.to_zarr(tmp_path / "v.zarr", zarr_format=3, consolidated=False)
    return cw.open(tmp_path / "v.zarr")


def test_bits_of_whole_numbers_are_not_taken_for_truth(cube, ds):
    v = cube["v"]
    for wrong in (lambda: v & 2, lambda: v | 4, lambda: ~v, lambda: 2 & v, lambda: np.bitwise_and(v, 1), lambda: (v > 1) & v):
        with pytest.raises(ValueError, match="bit"):
            wrong()
    for ours, theirs in [
        ((v > 2) & (v < 6), (ds.v > 2) & (ds.v < 6)),
        ((v < 2) | ~(v < 6), (ds.v < 2) | ~(ds.v < 6)),
        (v.bit(1) == 1, (ds.v & 2) != 0),
        (v.isin([3, 5]) & (v != 5), ds.v.isin([3, 5]) & (ds.v != 5)),
        (v.isin([]), ds.v.isin([])),
        (v.isin([np.nan, 3]), ds.v.isin([np.nan, 3])),
        (~v.isnull() & True, ~ds.v.isnull() & True),
    ]:
        np.testing.assert_array_equal(ours.compute().values.astype(bool), theirs.values)


def test_a_cube_stays_the_one_that_was_opened(ds, tmp_path, monkeypatch):
    for folder, add in (("one", 0), ("two", 100)):
        (ds + add).to_zarr(tmp_path / folder / "c.zarr", zarr_format=3)
    monkeypatch.chdir(tmp_path / "one")
    cube = cw.open("c.zarr")
    monkeypatch.chdir(tmp_path / "two")
    assert cube["v"].max().item() == ds.v.max().item()
    assert cube.stats().to_pylist()[0]["max"] == ds.v.max().item()
    with pytest.raises(ValueError, match="two cubes"):
        cube["v"] - cw.open("c.zarr")["v"]


def test_a_cube_that_is_gone_or_was_written_again_is_not_read(ds, cube, tmp_path):
    changed = cube.update_attrs(title="other")
    with pytest.raises(ValueError, match="written again"):
        cube["v"].mean().compute()
    assert changed["v"].max().item() == ds.v.max().item()
    shutil.rmtree(tmp_path / "v.zarr")
    with pytest.raises(FileNotFoundError):
        changed["v"].sum(min_count=0).compute()


def test_cells_that_are_written_do_not_make_it_another_cube(cube):
    cube["v"][0] = 7
    assert (cube["v"][0].compute().values == 7).all()


def test_weeks_that_end_on_mondays_are_refused(cube, ds):
    with pytest.raises(ValueError, match="week"):
        cube["v"].resample(time="W-MON")
    ours = cube["v"].resample(time="week").count().compute()
    theirs = ds.v.resample(time="W-MON", closed="left", label="left").count()
    np.testing.assert_array_equal(ours.values, theirs.values)


def test_a_statistic_of_groups_reduces_their_dimension_too(cube, ds):
    with pytest.raises(ValueError, match="time"):
        cube["v"].groupby("time.month").mean("y")
    ours = cube["v"].groupby("time.month").mean(["time", "y"]).compute(dtype="float64")
    np.testing.assert_allclose(ours.values, ds.v.astype("f8").groupby("time.month").mean(["time", "y"]).transpose(*ours.dims).values)


def test_labels_that_the_selection_lacks_are_told(cube):
    with pytest.raises(KeyError, match="10"):
        cube["v"].isel(y=slice(0, 2)).sel(y=[30, 10])


@pytest.mark.parametrize(
    ("dims", "sizes"),
    [({"lev": [850], "x": 2}, {"lev": 1, "x": 2}), ({"band": ["red"]}, {"band": 1}), ({"time": ["2024-01-01"], "x": 2}, {"time": 1, "x": 2})],
    ids=["number", "text", "time"],
)
def test_one_label_is_no_length(tmp_path, dims, sizes):
    made = cw.create(tmp_path / "a.zarr", dims, dtype="float32")
    assert made.sizes == sizes
    first = next(iter(dims))
    assert str(made.coords[first][0]).startswith(str(dims[first][0]))


@pytest.mark.parametrize("dims", [{"x": -1}, {"a=b": 3}, {"x": 3.5}, {"x": "red"}], ids=["negative", "name", "half", "word"])
def test_dimensions_that_are_none_are_refused(tmp_path, dims):
    with pytest.raises(ValueError):
        cw.create(tmp_path / "a.zarr", dims, dtype="float32")
    assert not os.path.exists(tmp_path / "a.zarr")


def test_attributes_whose_names_cannot_be_said_are_refused(cube):
    for key in ("x=y", "-q"):
        with pytest.raises(ValueError, match="name of an attribute"):
            cube.update_attrs({key: 2})
    assert "title" not in cube.update_attrs(title="a").update_attrs(delete="title").attrs


def test_a_mark_that_others_do_not_know_is_not_written(cube, tmp_path):
    with pytest.raises(ValueError, match="nodata"):
        cw.open(tmp_path / "v.zarr", nodata=9)["v"][0] = np.nan


@pytest.mark.parametrize("how", [{"threads": 10**9}, {"threads": 1.5}, {"threads": 0}, {"memory": -1}, {"memory": float("nan")}], ids=str)
def test_budgets_that_are_none_are_refused(cube, how):
    with pytest.raises(ValueError, match=next(iter(how))):
        cube["v"].mean("time").compute(**how)


def test_chunks_that_are_none_are_refused(cube, tmp_path):
    for size in (0, -2):
        with pytest.raises(ValueError, match="chunk"):
            cube["v"].to_zarr(tmp_path / "out.zarr", chunks={"time": size})


def test_features_with_numbers_that_json_has_not_are_read(cube):
    box = shapely.box(-0.5, -5, 2.5, 35)
    frame = gpd.GeoDataFrame({"a": [np.inf], "b": [np.nan]}, geometry=[box], crs=4326)
    table = cube["v"].isel(time=0).zonal(frame, ["count"], crs="cube")
    assert table.to_pylist()[0]["count"] == 12
    with pytest.raises(ValueError, match="no feature"):
        cube["v"].zonal(frame.iloc[:0], ["count"], crs="cube")
