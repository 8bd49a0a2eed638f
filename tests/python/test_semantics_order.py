"""Rules of docs/semantics.md on the order of packed values, and on integers and times of 64 bits; right is xarray, or Python's integers."""

import numpy as np
import pytest
import xarray

from small import build, line
from test_semantics import one


@pytest.mark.parametrize("scale", [-0.5, -2.0, 0.5])
def test_least_and_greatest_are_those_of_the_decoded_values(cw, tmp_path, scale):
    stored = np.array([7, -100, 41, 41, -3, 12, -3, -100], "int16")
    path = line(tmp_path / "c.zarr", stored, {"scale_factor": scale, "add_offset": 10.0, "_FillValue": -100})
    with xarray.open_zarr(path, consolidated=False) as opened:
        v = opened["v"].load()
    found = one(cw, path, "--with", "min,max")
    assert (found["min"], found["max"]) == (v.min(), v.max())
    found = one(cw, path, "--with", "argmin,argmax")
    assert (found["argmin"], found["argmax"]) == (v.argmin(), v.argmax())
    cw("reduce", path, "--over", "t", "--with", "max", "-o", tmp_path / "o.zarr").ok()
    with xarray.open_zarr(tmp_path / "o.zarr", consolidated=False) as opened:
        assert opened["v"].item() == v.max()


@pytest.mark.parametrize("dtype", ["int64", "uint64"])
def test_sums_of_64_bit_integers_are_exact_whatever_else_is_asked(cw, tmp_path, dtype):
    values = [2**53 + 1, 2**54 + 3, 5, 2**40 + 7]
    path = line(tmp_path / "c.zarr", values, dtype=dtype)
    found = one(cw, path, "--with", "sum,mean,std,var,count")
    assert found["sum"] == sum(values)
    assert found["mean"] == one(cw, path, "--with", "mean")["mean"]
    assert found["std"] == pytest.approx(np.std(np.array(values, "float64")), rel=1e-12)
    large = line(tmp_path / "l.zarr", [np.iinfo(dtype).max] * 3, dtype=dtype)
    cw("reduce", large, "--over", "t", "--with", "mean,sum,std").refused("does not fit 64 bits")


def test_a_missing_time_as_xarray_writes_it_is_missing(cw, tmp_path):
    times = np.array(["2020-01-01", "NaT", "2020-01-03"], "datetime64[ns]")
    xarray.Dataset({"v": ("t", times)}).to_zarr(tmp_path / "c.zarr", zarr_format=3, consolidated=False)
    (found,) = cw("stats", tmp_path / "c.zarr", "--var", "v").ok().json
    assert (found["count"], found["missing"]) == (2, 1)


def test_formulas_of_other_dimensions_are_each_reduced_over_what_they_have(cw, tmp_path):
    a, b = np.arange(6.0).reshape(2, 3), np.arange(3.0)
    path = build(tmp_path / "c.zarr", {"a": (("t", "x"), a), "b": (("x",), b)})
    found = cw("stats", path, "--calc", "g = a * 2", "--calc", "h = b + 1").ok().json
    assert [(r["variable"], r["count"], r["mean"]) for r in found] == [("g", 6, 5.0), ("h", 3, 2.0)]


def test_an_integer_output_of_nothing_is_float(cw, tmp_path):
    path = build(tmp_path / "c.zarr", {"v": (("t", "x"), np.zeros((0, 3), "int16"), {}, {"chunks": (1, 3)})})
    cw("reduce", path, "--over", "t", "--with", "min", "-o", tmp_path / "o.zarr").ok()
    with xarray.open_zarr(tmp_path / "o.zarr", consolidated=False) as opened:
        assert opened["v"].dtype.kind == "f" and np.isnan(opened["v"]).all()
