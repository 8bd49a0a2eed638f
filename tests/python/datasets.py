"""Datasets with what is usual and what is rare, for the tests of what xarray and the engine make of each other's cubes."""

from __future__ import annotations

import numpy as np
import xarray as xr

ZARR = [
    "s2-l1c-slovenia/bands.zarr",
    "s2-l1c-slovenia/series.zarr",
    "s2-l2a-belgium/cube.zarr",
    "s2-l2a-belgium/cube_v2.zarr",
    "climate-a1b-north-america/packed.zarr",
    "olci-chlorophyll-xcube/cube-1-250-250.zarr",
    "landsat8-nyc-2018/cube.zarr",
]
PACKING = (
    "_FillValue", "missing_value", "scale_factor", "add_offset", "units", "calendar", "coordinates", "grid_mapping", "bounds",
)  # fmt: skip


def small(calendar="standard", north_up=True):
    """Every type that the engine has statistics of, missing cells, coordinates of all kinds."""
    rng = np.random.default_rng(7)
    shape, dims = (14, 5, 6), ("time", "y", "x")
    f = rng.normal(size=shape).astype("float32")
    f[rng.random(shape) < 0.2] = np.nan
    f[:, 0, 0] = np.nan
    flags = {"flag_values": np.array([0, 1, 2, 3], "uint8"), "flag_meanings": "a b c d"}
    standard = calendar == "standard"
    time = xr.date_range("2001-02-01", periods=14, freq="MS", calendar=calendar, use_cftime=not standard)
    y = np.linspace(50, 40, 5) if north_up else np.linspace(40, 50, 5)
    return xr.Dataset(
        {
            "f": (dims, f, {"units": "K", "long_name": "temperature"}),
            "d": (dims, f.astype("float64") * 3),
            "h": (dims, f.astype("float16")),
            "i": (dims, rng.integers(-500, 500, shape).astype("int16")),
            "u": (dims, rng.integers(0, 4, shape).astype("uint8"), flags),
            "l": (dims, rng.integers(-(2**50), 2**50, shape)),
            "b": (dims, rng.random(shape) < 0.4),
            "flat": (("y", "x"), f[1]),
            "none": (("n",), np.arange(4.0)),
        },
        coords={
            "time": time,
            "y": ("y", y, {"units": "m", "standard_name": "projection_y_coordinate"}),
            "x": ("x", np.arange(6) * 10.0),
            "label": ("x", list("abcdef")),
            "aux": (("y", "x"), f[2]),
            "quality": ("time", np.arange(14)),
            "height": 2.0,
            "name": "hello",
        },
        attrs={"title": "small", "number": np.float32(2.5), "list": [1, 2]},
    )


def hard(path, zarr_format):
    """A store with what is rare: packed coordinates, text of both kinds, times and durations with gaps, marks of integers."""
    ds = xr.Dataset(
        {
            "v": (("t", "x"), np.arange(12, dtype="float32").reshape(3, 4)),
            "p": (("t", "x"), np.arange(12.0).reshape(3, 4)),
            "b": (("t", "x"), np.arange(12).reshape(3, 4) % 3 == 0),
            "s": ("x", np.array(["a", "b", "", "dé"])),
            "o": ("x", np.array(["a", "bb", "", "dé"], dtype=object)),
            "td": ("t", np.array([1, 2, 3], "timedelta64[h]").astype("timedelta64[s]")),
            "dt": ("t", np.array(["2020-01-01", "NaT", "2021-01-01T06"], "datetime64[ns]")),
        },
        coords={
            "t": ("t", [1.5, 2.5, 3.5], {"units": "m"}),
            "x": [10, 20, 30, 40],
            "label": ("x", list("pqrs")),
            "aux": ("t", [1.5, np.nan, 3.5]),
            "name": "hello",
        },
    )
    packed = {"scale_factor": 0.5, "add_offset": 1.0, "dtype": "int16", "_FillValue": -99}
    ds["t"].encoding, ds["aux"].encoding = dict(packed), dict(packed)
    ds["p"].encoding = {**packed, "chunks": (2, 3)}
    ds["p"][0, 1] = np.nan
    ds.to_zarr(path, zarr_format=zarr_format)
    return path


def assert_same(ours, theirs, keys=PACKING):
    """Values, names, attributes, types, and what says how values are stored."""
    xr.testing.assert_identical(ours, theirs)
    ours, theirs = (x.to_dataset(name="_") if isinstance(x, xr.DataArray) else x for x in (ours, theirs))
    assert {n: v.dtype for n, v in ours.variables.items()} == {n: v.dtype for n, v in theirs.variables.items()}
    for name in theirs.variables:
        for key in keys:
            a, b = ours[name].encoding.get(key), theirs[name].encoding.get(key)
            assert a == b or (a != a and b != b), (name, key, a, b)
