"""Each operation of the Python package against xarray, on random cubes."""

from __future__ import annotations

import itertools
import warnings

import hypothesis.strategies as st
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import HealthCheck, assume, given, settings

import chunkwise as cw

COMMON = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
NUMBER = itertools.count()


@st.composite
def datasets(draw) -> tuple[xr.Dataset, dict]:
    """A cube of times, bands, rows and columns: its type, packing, gaps, chunks and the direction of its axes vary."""
    nt, nb, ny, nx = draw(st.tuples(st.integers(1, 30), st.integers(1, 3), st.integers(1, 9), st.integers(1, 9)))
    dtype = draw(st.sampled_from(["uint8", "int16", "uint16", "int32", "float32", "float64"]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    values = rng.integers(0, 100, (nt, nb, ny, nx)).astype(dtype)
    attrs, encoding = {"units": "1"}, {}
    if np.issubdtype(np.dtype(dtype), np.floating):
        values = values + rng.random(values.shape).astype(dtype)
        values[rng.random(values.shape) < draw(st.sampled_from([0.0, 0.2, 0.9]))] = np.nan
    else:
        if draw(st.booleans()):
            encoding["_FillValue"] = np.dtype(dtype).type(7)
        if draw(st.booleans()):
            encoding["scale_factor"], encoding["add_offset"] = 0.5, -3.0
    step = draw(st.sampled_from(["1D", "5D", "MS", "7h"]))
    times = pd.date_range("2019-11-03", periods=nt, freq=step)
    y = np.arange(ny) * 10.0 + 100
    coords = {
        "time": times,
        "band": ["red", "nir", "B 8A"][:nb],
        "y": y[::-1].copy() if draw(st.booleans()) else y,
        "x": np.arange(nx) * 10.0,
    }
    stored = xr.Dataset({"v": (("time", "band", "y", "x"), values, attrs)}, coords=coords)
    stored["dem"] = (("y", "x"), rng.random((ny, nx)) * 1000)
    chunks = draw(st.tuples(*(st.integers(1, n) for n in (nt, nb, ny, nx))))
    return stored, {"attrs": encoding, "chunks": chunks, "zarr_format": draw(st.sampled_from([2, 3]))}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("cubes")


def both(folder, made) -> tuple[cw.Cube, xr.Dataset]:
    """The cube on disk, as chunkwise and as xarray have it."""
    stored, how = made
    path = str(folder / f"{next(NUMBER)}.zarr")
    packed = stored.copy()
    packed["v"].attrs.update(how["attrs"])
    encoding = {"v": {"chunks": how["chunks"]}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        packed.to_zarr(path, encoding=encoding, zarr_format=how["zarr_format"], consolidated=True)
    return cw.open(path), xr.open_zarr(path, chunks=None).load()


def same(ours: xr.DataArray, theirs: xr.DataArray, rtol: float = 1e-6, atol: float = 1e-9) -> None:
    """The same values, labels and dimensions; ours may be in float32."""
    theirs = theirs.transpose(*ours.dims)
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(ours.values.astype("f8"), theirs.values.astype("f8"), rtol=rtol, atol=atol)
    for dim in ours.dims:
        if dim in theirs.coords:
            np.testing.assert_array_equal(ours[dim].values, theirs[dim].values)


def f8(array: xr.DataArray) -> xr.DataArray:
    return array.astype("f8")


DIMS = ("time", "band", "y", "x")
some_dims = st.lists(st.sampled_from(DIMS), min_size=1, max_size=4, unique=True)


@COMMON
@given(datasets(), some_dims, st.sampled_from(["mean", "sum", "min", "max", "std", "var", "median", "count"]))
def test_statistics_over_dimensions(folder, made, dims, name):
    cube, ds = both(folder, made)
    ours = getattr(cube["v"], name)(dims).compute(dtype="float64")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = getattr(f8(ds["v"]), name)(dims, **({"min_count": 1} if name == "sum" else {}))
    # Sums of squares of xarray are of one pass; ours of two.
    same(ours, theirs, rtol=1e-9, atol=1e-6 if name in ("std", "var") else 1e-9)


@COMMON
@given(datasets(), st.sampled_from(DIMS), st.sampled_from(["argmin", "argmax"]))
def test_positions_of_extremes(folder, made, dim, name):
    cube, ds = both(folder, made)
    valid = ds["v"].notnull().any(dim)
    ours = getattr(cube["v"], name)(dim).compute()
    filled = f8(ds["v"]).fillna(np.inf if name == "argmin" else -np.inf)
    same(ours.where(valid), getattr(filled, name)(dim).where(valid))
    assert bool(ours.isnull().where(~valid, True).all())


slices = st.tuples(
    st.one_of(st.none(), st.integers(-10, 10)), st.one_of(st.none(), st.integers(-10, 10)), st.sampled_from([None, 1, 2, -1, -3])
)


@COMMON
@given(datasets(), st.data())
def test_indices_select_as_in_xarray_and_one_after_another(folder, made, data):
    cube, ds = both(folder, made)
    ours, theirs = cube["v"], ds["v"]
    for _ in range(data.draw(st.integers(1, 3))):
        if not theirs.dims:
            break
        dim = data.draw(st.sampled_from(theirs.dims))
        n = theirs.sizes[dim]
        indexer = data.draw(
            st.one_of(
                slices.map(lambda s: slice(*s)),
                st.integers(-n, n - 1),
                st.lists(st.integers(-n, n - 1), min_size=1, max_size=4),
            )
        )
        theirs = theirs.isel({dim: indexer})
        if theirs.size == 0:
            with pytest.raises(ValueError):
                ours.isel({dim: indexer})
            return
        ours = ours.isel({dim: indexer})
    assert ours.dims == theirs.dims and ours.shape == theirs.shape
    same(ours.compute(), theirs)


@COMMON
@given(datasets(), st.data())
def test_labels_select_as_in_xarray(folder, made, data):
    cube, ds = both(folder, made)
    dim = data.draw(st.sampled_from(DIMS))
    labels = list(ds[dim].values)
    pick = st.sampled_from(range(len(labels)))
    kind = data.draw(st.sampled_from(["one", "list", "slice"]))
    if kind == "one":
        asked = labels[data.draw(pick)]
    elif kind == "list":
        asked = [labels[i] for i in data.draw(st.lists(pick, min_size=1, max_size=3, unique=True))]
    else:
        a, b = sorted([data.draw(pick), data.draw(pick)])
        asked = slice(labels[a], labels[b])
    same(cube["v"].sel({dim: asked}).compute(), ds["v"].sel({dim: asked}))


@COMMON
@given(datasets(), st.sampled_from(["month", "season", "dayofyear", "day", "weekday", "hour"]), st.sampled_from(["mean", "max", "count"]))
def test_groups_of_a_cycle(folder, made, part, name):
    cube, ds = both(folder, made)
    theirs = getattr(f8(ds["v"]).groupby(f"time.{part}"), name)()
    ours = getattr(cube["v"].groupby(f"time.{part}"), name)().compute(dtype="float64")
    dim = {"day": "monthday"}.get(part, part)
    theirs = theirs.rename({part: dim}) if part != dim else theirs
    # Seasons stand in the order of the year here, by name in xarray; all of a cycle that occur.
    labels = [label for label in ours[dim].values if label in set(theirs[dim].values)]
    assert set(labels) == set(theirs[dim].values)
    same(ours.sel({dim: labels}), theirs.sel({dim: labels}), rtol=1e-9)
    rest = ours.drop_sel({dim: labels})
    assert rest.size == 0 or bool((rest.isnull() | (rest == 0)).all())


@COMMON
@given(datasets(), st.sampled_from(["mean", "median"]))
def test_anomalies(folder, made, name):
    cube, ds = both(folder, made)
    groups = f8(ds["v"]).groupby("time.month")
    theirs = groups - getattr(groups, name)()
    g = cube["v"].groupby("time.month")
    ours = (g - getattr(g, name)()).compute(dtype="float64")
    same(ours, theirs.drop_vars("month", errors="ignore"), rtol=1e-6, atol=1e-6)


@COMMON
@given(datasets(), st.sampled_from(["1D", "2D", "MS", "QS-DEC", "YS"]), st.sampled_from(["mean", "max", "count", "first"]))
def test_windows_of_time(folder, made, freq, name):
    cube, ds = both(folder, made)
    ours = getattr(cube["v"].resample(time=freq), name)().compute(dtype="float64")
    theirs = getattr(f8(ds["v"]).resample(time=freq), name)()
    assume(theirs.sizes["time"] == ours.sizes["time"])
    same(ours, theirs.fillna(0) if name == "count" else theirs, rtol=1e-9)


@COMMON
@given(datasets(), st.data(), st.sampled_from(["mean", "max", "std"]), st.sampled_from(["pad", "trim"]))
def test_windows_of_cells(folder, made, data, name, boundary):
    cube, ds = both(folder, made)
    sizes = {d: data.draw(st.integers(1, ds.sizes[d])) for d in data.draw(st.sampled_from([("y",), ("x", "y")]))}
    ours = getattr(cube["v"].coarsen(sizes, boundary=boundary), name)().compute(dtype="float64")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = getattr(f8(ds["v"]).coarsen(sizes, boundary=boundary), name)()
    same(ours, theirs, rtol=1e-9, atol=1e-6)


FORMULAS = [
    (lambda v: v + 1, "arithmetic"),
    (lambda v: 2 * v - v / 3, "several terms"),
    (lambda v: (v - 5) ** 2, "powers"),
    (lambda v: -v % 7, "remainders"),
    (lambda v: v // 3, "whole quotients"),
    (lambda v: abs(v - 50), "absolute values"),
    (lambda v: np.sqrt(v + 10), "functions"),
    (lambda v: v.clip(10, 60), "bounds"),
    (lambda v: v.fillna(-1), "gaps that are filled"),
    (lambda v: v.where(v > 20), "masks"),
    (lambda v: v.where(v > 20, 0), "choices"),
    (lambda v: v.isnull() * 1.0, "gaps"),
    (lambda v: v.round(), "rounding"),
    (lambda v: v.isin([3, 5, 8]) * 1.0, "sets"),
]


@pytest.mark.parametrize("formula", [f for f, _ in FORMULAS], ids=[name.replace(" ", "-") for _, name in FORMULAS])
@settings(COMMON, max_examples=8)
@given(datasets())
def test_operators_cell_by_cell(folder, formula, made):
    cube, ds = both(folder, made)
    same(formula(cube["v"]).compute(dtype="float64"), formula(f8(ds["v"])), rtol=1e-12, atol=1e-12)


@COMMON
@given(datasets())
def test_arrays_of_other_dimensions_are_broadcast_and_bands_combined(folder, made):
    cube, ds = both(folder, made)
    same((cube["v"] + cube["dem"]).compute(dtype="float64"), f8(ds["v"]) + ds["dem"], rtol=1e-12)
    same(cube["v"].where(cube["dem"] > 500).mean("time").compute(dtype="float64"), f8(ds["v"]).where(ds["dem"] > 500).mean("time"), rtol=1e-9)
    assume(ds.sizes["band"] > 1)
    nir, red = (cube["v"].sel(band=b) for b in ("nir", "red"))
    n, r = (f8(ds["v"]).sel(band=b, drop=True) for b in ("nir", "red"))
    theirs = (n - r) / (n + r)
    ours = ((nir - red) / (nir + red)).compute(dtype="float64")
    same(ours, theirs, rtol=1e-12)
    named = cube.calc('(nir - red) / (nir + red)', name="ndvi").compute(dtype="float64")
    np.testing.assert_array_equal(ours.values, named.values)


@COMMON
@given(datasets(), st.data())
def test_cells_are_written_as_xarray_writes_them(folder, made, data):
    cube, ds = both(folder, made)
    region = {}
    for dim in DIMS:
        a, b = sorted(data.draw(st.tuples(st.integers(0, ds.sizes[dim] - 1), st.integers(0, ds.sizes[dim] - 1))))
        region[dim] = slice(a, b + 1)
    new = ds["v"].isel(region).copy()
    rng = np.random.default_rng(data.draw(st.integers(0, 999)))
    # A whole number of packing steps, so that it is held exactly.
    new.values[...] = rng.integers(10, 60, new.shape)
    if np.issubdtype(ds["v"].dtype, np.floating) and made[1]["attrs"].get("_FillValue", 7) is not None and (
        "_FillValue" in made[1]["attrs"] or np.issubdtype(made[0]["v"].dtype, np.floating)
    ):
        new.values[rng.random(new.shape) < 0.3] = np.nan
    cube["v"][region] = new
    theirs = ds["v"].copy()
    theirs[region] = new.values
    np.testing.assert_array_equal(cube["v"].compute().values, theirs.values)
    again = xr.open_zarr(cube.location, chunks=None)["v"]
    np.testing.assert_array_equal(again.values, theirs.values)


@COMMON
@given(datasets(), some_dims)
def test_written_results_are_what_is_computed(folder, made, dims):
    cube, _ = both(folder, made)
    lazy = cube["v"].reduce(["mean", "count"], dims)
    path = str(folder / f"{next(NUMBER)}.zarr")
    written = lazy.to_zarr(path)
    computed = lazy.compute()
    read = xr.open_zarr(path, chunks=None, decode_coords="all")
    for name in computed.data_vars:
        np.testing.assert_array_equal(read[name].values, computed[name].values)
        np.testing.assert_array_equal(written[name].compute().values, computed[name].values)
