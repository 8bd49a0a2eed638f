"""Rules of docs/semantics.md on missing cells, types and expressions; what is right comes from xarray, numpy or CF.

    $ .venv/bin/python -m pytest tests/python/test_semantics.py
"""

import numpy as np
import pytest
import xarray
import zarr

from small import build, line

NAN = np.nan


def cells(cw, path, *words, var="v"):
    """The cells of a variable as they print, None where missing."""
    return [r["first"] for r in cw("reduce", path, "--var", var, "--every", "t=1", "--with", "first", *words).ok().json]


def one(cw, path, *words, var="v"):
    """The one record of statistics over all."""
    (record,) = cw("reduce", path, "--var", var, "--over", "all", *words).ok().json
    return record


def calc(cw, path, formula, out, *words):
    """A formula as xarray reads what was written."""
    cw("calc", path, f"f = {formula}", "-o", out, *words).ok()
    with xarray.open_zarr(out, consolidated=False) as opened:
        return opened["f"].load()


def mapped(values):
    return [None if np.isnan(v) else v for v in np.asarray(values, float)]


# --- missing ----------------------------------------------------------------------------------------------------------

MARKS = {
    "v3 _FillValue": (3, {"_FillValue": 7}, 0),
    "v3 missing_value": (3, {"missing_value": 8}, 0),
    "v3 both": (3, {"_FillValue": 7, "missing_value": 8}, 0),
    "v3 fill value alone": (3, {}, 7),
    "v2 fill value": (2, {}, 7),
    "v2 fill value and missing_value": (2, {"missing_value": 8}, 7),
}


@pytest.mark.parametrize("case", MARKS)
def test_missing_cells_are_those_of_xarray(cw, tmp_path, case):
    zarr_format, attrs, fill = MARKS[case]
    path = line(tmp_path / "c.zarr", [7, 1, 8, 3, 7, 7], attrs, zarr_format, "int16", fill)
    with xarray.open_zarr(path, consolidated=False) as opened:
        assert cells(cw, path) == mapped(opened["v"].values)


@pytest.mark.parametrize("mark, expected", [({}, [0, 0, 5, 6]), ({"_FillValue": 0}, [None, None, 5, 6])])
def test_an_absent_chunk_holds_the_fill_value_which_is_missing_only_where_it_is_a_mark(cw, tmp_path, mark, expected):
    path = line(tmp_path / "c.zarr", [0, 0, 5, 6], mark, dtype="int16")
    assert not (path / "v/c/0").exists()
    assert cells(cw, path) == expected


def test_nan_is_missing_and_infinity_is_not(cw, tmp_path):
    path = line(tmp_path / "c.zarr", [1, NAN, np.inf, -np.inf], dtype="float32", fill=NAN)
    assert cells(cw, path) == [1, None, "inf", "-inf"]
    assert one(cw, path, "--with", "count,missing")["count"] == 3


def test_raw_takes_stored_values_and_nan_stays_missing(cw, tmp_path):
    path = line(tmp_path / "c.zarr", [7, 1, 2], {"_FillValue": 7, "scale_factor": 0.5}, dtype="int16")
    assert cells(cw, path) == [None, 0.5, 1.0]
    assert cells(cw, path, "--raw") == [7, 1, 2]
    floats = line(tmp_path / "f.zarr", [NAN, -9.0], {"_FillValue": -9.0}, dtype="float64")
    assert cells(cw, floats, "--raw") == [None, -9.0]


def test_nodata_takes_the_place_of_the_marks_of_the_cube(cw, tmp_path):
    path = line(tmp_path / "c.zarr", [7, 1, 2, 7], {"_FillValue": 7}, dtype="int16")
    assert cells(cw, path, "--nodata", "1") == [7, None, 2, 7]
    assert cells(cw, path, "--nodata", "none") == [7, 1, 2, 7]


RANGES = {
    # type, attributes, stored, which are inside; CF: the range is in the type of the stored values, else of the decoded
    "valid_min": ("int16", {"valid_min": 2}, [1, 2, 3], [0, 1, 1]),
    "valid_max": ("int16", {"valid_max": 2}, [1, 2, 3], [1, 1, 0]),
    "valid_range": ("uint8", {"valid_range": [2, 3]}, [1, 2, 3, 4], [0, 1, 1, 0]),
    "packed, integer range": ("int16", {"valid_range": [2, 3], "scale_factor": 0.1}, [1, 2, 3, 4], [0, 1, 1, 0]),
    "packed, float range": ("int16", {"valid_range": [0.2, 0.3], "scale_factor": 0.1}, [1, 2, 3, 4], [0, 1, 1, 0]),
    "packed, falling": ("int16", {"valid_min": -0.3, "scale_factor": -0.1}, [1, 2, 3, 4], [1, 1, 1, 0]),
    "unsigned": ("int8", {"valid_max": -2, "_Unsigned": "true"}, [1, -3, -2, -1], [1, 1, 1, 0]),
    "float32": ("float32", {"valid_max": 0.1}, [0.05, 0.1, 0.2], [1, 1, 0]),
    "with a mark": ("int16", {"valid_min": 2, "_FillValue": -1}, [-1, 1, 2], [None, 0, 1]),
}


@pytest.mark.parametrize("case", RANGES)
def test_valid_leaves_out_what_lies_outside_and_else_it_is_counted(cw, tmp_path, case):
    dtype, attrs, stored, inside = RANGES[case]
    path = line(tmp_path / "c.zarr", stored, attrs, dtype=dtype, fill=99)
    outside = inside.count(0)
    run = cw("reduce", path, "--over", "all", "--with", "count", json=False).ok()
    lie = "cell of `v` lies" if outside == 1 else "cells of `v` lie"
    assert f"{outside} {lie} outside its valid range; `--valid` leaves them out" in run.err
    assert one(cw, path, "--with", "count")["count"] == len(stored) - inside.count(None)
    run = cw("reduce", path, "--over", "all", "--with", "count", "--valid", json=False).ok()
    assert "outside" not in run.err
    assert one(cw, path, "--with", "count", "--valid")["count"] == inside.count(1)
    shown = cells(cw, path, "--valid")
    assert [v is not None for v in shown] == [i == 1 for i in inside]
    # formulas leave out the same cells
    found = calc(cw, path, "v * 1", tmp_path / "f.zarr", "--valid")
    assert (~np.isnan(found.values)).tolist() == [i == 1 for i in inside]


def test_cells_outside_are_counted_once_whatever_reads_them(cw, tmp_path):
    values = np.arange(24, dtype="int16").reshape(3, 2, 4)
    arrays = {
        "v": (("time", "band", "y"), values, {"valid_max": 15}, {"chunks": (2, 1, 3)}),
        "low": (("y",), np.arange(4, dtype="int16"), {"valid_min": 1}, {"chunks": (3,)}),
        "band": (("band",), np.array(["red", "nir"])),
    }
    path = build(tmp_path / "c.zarr", arrays)
    note = lambda *words: cw("reduce", path, *words, "--over", "all", "--with", "mean", json=False).ok().err
    assert "8 cells of `v` lie" in note("--var", "v", "--where", "nir > 3")
    assert "1 cell of `low` lies" in note("--calc", "f = v * low")
    err = cw("reduce", path, "--var", "v", "--every", "time=2", "--with", "mean", "--anomaly", "-o", tmp_path / "a.zarr", json=False).ok().err
    assert "8 cells of `v` lie" in err


def test_integers_without_a_mark_become_float_where_valid_leaves_out(cw, tmp_path):
    path = line(tmp_path / "c.zarr", [1, 5, 9], {"valid_max": 5}, dtype="int16")
    cw("reduce", path, "--every", "t=1", "--with", "max", "--valid", "-o", tmp_path / "o.zarr").ok()
    with xarray.open_zarr(tmp_path / "o.zarr", consolidated=False) as opened:
        np.testing.assert_array_equal(opened["v"].values, np.float32([1, 5, NAN]))


def test_valid_and_raw_contradict_each_other(cw, tmp_path):
    path = line(tmp_path / "c.zarr", [1, 5], {"valid_max": 5}, dtype="int16")
    cw("stats", path, "--valid", "--raw").refused("--valid", "--raw")


def test_dimensions_without_a_name_are_numbered(cw, tmp_path):
    path = build(tmp_path / "c.zarr", {"v": (None, np.arange(6).reshape(2, 3))})
    assert cw("info", path).ok().json["dims"] == {"dim_0": 2, "dim_1": 3}
    rows = cw("reduce", path, "--over", "dim_1", "--with", "sum").ok().json
    assert [(r["dim_0"], r["sum"]) for r in rows] == [(0, 3), (1, 12)]


def test_bool_counts_as_0_and_1(cw, tmp_path):
    path = line(tmp_path / "c.zarr", [True, False, True, True], dtype="bool", fill=False)
    record = one(cw, path, "--with", "sum,mean,min,max,count")
    assert [record[k] for k in ("sum", "mean", "min", "max", "count")] == [3, 0.75, 0, 1, 4]


UNDEFINED = {
    # formula over v = −1, 0, 4, missing
    "v / 0": [-np.inf, NAN, np.inf, NAN],
    "1 / v": [-1, np.inf, 0.25, NAN],
    "log(v)": [NAN, -np.inf, np.log(4), NAN],
    "sqrt(v)": [NAN, 0, 2, NAN],
    "0 / v": [-0.0, NAN, 0, NAN],
    "missing + v": [NAN] * 4,
    "where(ismissing(v), 9, v)": [-1, 0, 4, 9],
    "where(v > 0, 1, missing)": [NAN, NAN, 1, NAN],
    "where(v / v > 0, 1, 2)": [1, NAN, 1, NAN],
}


@pytest.mark.parametrize("formula", UNDEFINED)
def test_what_is_undefined_is_missing_and_what_is_infinite_is_not(cw, tmp_path, formula):
    path = line(tmp_path / "c.zarr", [-1, 0, 4, 99], {"_FillValue": 99}, dtype="int16")
    got = calc(cw, path, formula, tmp_path / "o.zarr").values
    np.testing.assert_allclose(got, np.array(UNDEFINED[formula], "float32"), rtol=1e-7)
    counted = [v for v in UNDEFINED[formula] if not np.isnan(v)]
    (record,) = cw("reduce", path, "--calc", f"f = {formula}", "--over", "all", "--with", "count").ok().json
    assert record["count"] == len(counted)


def test_logic_is_three_valued(cw, tmp_path):
    truth = {"a": [1, 1, 1, 0, 0, 0, 9, 9, 9], "b": [1, 0, 9] * 3}
    path = build(tmp_path / "c.zarr", {k: (("t",), np.int8(v), {"_FillValue": 9}) for k, v in truth.items()})
    formulas = ["both = a and b", "any_ = a or b", "none = not a"]
    cw("calc", path, *formulas, "-o", tmp_path / "o.zarr").ok()
    with xarray.open_zarr(tmp_path / "o.zarr", consolidated=False) as o:
        # Kleene's tables
        np.testing.assert_array_equal(o["both"].values, [1, 0, NAN, 0, 0, 0, NAN, 0, NAN])
        np.testing.assert_array_equal(o["any_"].values, [1, 1, 1, 1, 0, NAN, 1, NAN, NAN])
        np.testing.assert_array_equal(o["none"].values, [0, 0, 0, 1, 1, 1, NAN, NAN, NAN])


def test_a_group_of_nothing_is_missing_and_its_count_is_0(cw, tmp_path):
    path = line(tmp_path / "c.zarr", [9, 9, 1, 9], {"_FillValue": 9}, dtype="int16")
    names = "count,missing,sum,mean,min,max,std,var,median,first,last,argmin,argmax"
    empty, other = cw("reduce", path, "--every", "t=2", "--with", names).ok().json
    assert {k: v for k, v in empty.items() if k in names.split(",")} == {"count": 0, "missing": 2} | dict.fromkeys(names.split(",")[2:])
    assert (other["count"], other["missing"], other["sum"], other["argmin"]) == (1, 1, 1, 2)


@pytest.mark.parametrize("least, sums", [(0, [0, 1, 5]), (1, [None, 1, 5]), (2, [None, None, 5])])
def test_min_count_says_when_a_sum_is_missing(cw, tmp_path, least, sums):
    path = line(tmp_path / "c.zarr", [9, 9, 1, 9, 2, 3], {"_FillValue": 9}, dtype="int16")
    rows = cw("reduce", path, "--every", "t=2", "--with", "sum", "--min-count", least).ok().json
    assert [r["sum"] for r in rows] == sums
    with xarray.open_zarr(path, consolidated=False) as opened:
        want = opened["v"].groupby(xarray.DataArray([0, 0, 1, 1, 2, 2], dims="t")).sum(min_count=least).values
    assert mapped(want) == sums


def test_a_sum_of_too_few_cells_is_missing_in_a_cube_too(cw, tmp_path):
    path = line(tmp_path / "c.zarr", [1, 2, 3], dtype="int16")
    cw("reduce", path, "--every", "t=2", "--with", "sum", "--min-count", 2, "-o", tmp_path / "o.zarr").ok()
    with xarray.open_zarr(tmp_path / "o.zarr", consolidated=False) as opened:
        np.testing.assert_array_equal(opened["v"].values, [3, NAN])


def test_integers_hold_missing_cells_as_the_mark_of_their_source(cw, tmp_path):
    path = line(tmp_path / "c.zarr", [9, 9, 1, 9], {"_FillValue": 9}, dtype="int16")
    cw("reduce", path, "--every", "t=2", "--with", "max", "-o", tmp_path / "o.zarr").ok()
    made = zarr.open_group(tmp_path / "o.zarr", mode="r")["v"]
    assert (made.dtype, made.attrs["_FillValue"], made[...].tolist()) == (np.int16, 9, [9, 1])


def test_integers_without_a_mark_become_float_where_cells_may_be_missing(cw, tmp_path):
    days = {"units": "days since 2020-01-01"}
    arrays = {"v": (("time",), np.int16([1, 2, 3])), "time": (("time",), [0, 1, 6], days)}
    path = build(tmp_path / "c.zarr", arrays)
    cw("reduce", path, "--every", "2d", "--with", "max", "-o", tmp_path / "window.zarr").ok()
    cw("reduce", path, "--every", "time=1", "--with", "max", "--where", "v > 1", "-o", tmp_path / "mask.zarr").ok()
    cw("reduce", path, "--every", "time=1", "--with", "max", "-o", tmp_path / "none.zarr").ok()
    for name, want in (("window", [2, NAN, NAN, 3]), ("mask", [NAN, 2, 3])):
        made = zarr.open_group(tmp_path / f"{name}.zarr", mode="r")["v"]
        assert made.dtype == np.float32
        np.testing.assert_array_equal(made[...], np.float32(want))
    assert zarr.open_group(tmp_path / "none.zarr", mode="r")["v"].dtype == np.int16


# --- types ------------------------------------------------------------------------------------------------------------


def test_arithmetic_is_of_decoded_values_in_float64_and_never_wraps(cw, tmp_path):
    path = line(tmp_path / "c.zarr", [200, 250], {"scale_factor": 2.0, "add_offset": -1.0}, dtype="uint8")
    assert calc(cw, path, "v + v", tmp_path / "a.zarr").values.tolist() == [798, 998]
    plain = line(tmp_path / "p.zarr", [200, 250], dtype="uint8")
    assert calc(cw, plain, "v * v - 2 * v", tmp_path / "b.zarr").values.tolist() == [39600, 62000]
    wide = line(tmp_path / "w.zarr", [2**40, 3], dtype="int64")
    assert calc(cw, wide, "v * v", tmp_path / "d.zarr").values.tolist() == [2.0**80, 9]


def test_bit_tests_take_integers_and_integral_floats_only(cw, tmp_path):
    for kind in ("uint8", "int64", "float64"):
        path = line(tmp_path / f"{kind}.zarr", [0, 8, 9, 7], dtype=kind)
        assert calc(cw, path, "bit(v, 3)", tmp_path / f"{kind}-o.zarr").values.tolist() == [0, 1, 1, 0]
    path = line(tmp_path / "half.zarr", [0.5, 8], dtype="float64")
    cw("calc", path, "f = bit(v, 3)", "-o", tmp_path / "no.zarr").refused("bit", "0.5")


def test_tables_are_float64_and_never_narrowed(cw, tmp_path):
    values = np.float32([0.1, 0.2, 0.4])
    path = line(tmp_path / "c.zarr", values, dtype="float32")
    record = one(cw, path, "--with", "mean,sum,max")
    assert record["mean"] == values.astype("float64").mean() != np.float64(np.float32(record["mean"]))
    assert record["max"] == float(np.float32(0.4))
    big = line(tmp_path / "b.zarr", [2**53 + 1, 5], dtype="int64")
    assert one(cw, big, "--with", "max")["max"] == 2**53 + 1


WIDTHS = [(d, "float32") for d in ("int8", "uint8", "int16", "uint16", "float32")] + [(d, "float64") for d in ("int32", "uint32", "int64", "uint64", "float64")]


@pytest.mark.parametrize("dtype, want", WIDTHS)
def test_types_of_results(cw, tmp_path, dtype, want):
    path = line(tmp_path / "c.zarr", [1, 2, 4], dtype=dtype)
    names = "mean,std,var,median,sum,count,missing,argmin,argmax,min,max,first,last"
    cw("reduce", path, "--over", "t", "--with", names, "-o", tmp_path / "o.zarr").ok()
    made = zarr.open_group(tmp_path / "o.zarr", mode="r")
    types = {n: str(made[f"v_{n}"].dtype) for n in names.split(",")}
    total = {"i": "int64", "u": "uint64", "f": want}[np.dtype(dtype).kind]
    same = dict.fromkeys(("min", "max", "first", "last"), dtype)
    assert types == dict.fromkeys(("mean", "std", "var", "median"), want) | {"sum": total} | dict.fromkeys(("count", "missing"), "uint64") | dict.fromkeys(("argmin", "argmax"), "int64") | same
    assert str(calc(cw, path, "v / 2", tmp_path / "f.zarr").dtype) == want


def test_first_and_last_are_of_the_valid_cells(cw, tmp_path):
    path = line(tmp_path / "c.zarr", [9, 3, 5, 9], {"_FillValue": 9}, dtype="int16")
    record = one(cw, path, "--with", "first,last")
    assert (record["first"], record["last"]) == (3, 5)


def test_argmin_is_the_index_in_the_selection_of_the_first_of_ties_and_minus_1_is_missing(cw, tmp_path):
    values = np.int16([[5, 9], [1, 9], [1, 9], [7, 9]])
    path = build(tmp_path / "c.zarr", {"v": (("t", "x"), values, {"_FillValue": 9})})
    words = ["reduce", path, "--over", "t", "--isel", "t=1:4"]
    cw(*words, "--with", "argmin,argmax", "-o", tmp_path / "o.zarr").ok()
    made = zarr.open_group(tmp_path / "o.zarr", mode="r")
    assert made["v_argmin"][...].tolist() == [0, -1] and made["v_argmax"][...].tolist() == [2, -1]
    assert made["v_argmin"].attrs["_FillValue"] == -1
    assert [r["argmin"] for r in cw(*words, "--with", "argmin").ok().json] == [0, None]
    cw("reduce", path, "--over", "t,x", "--with", "argmin").refused("argmin", "one reduced dimension")


@pytest.mark.parametrize("asked", ["float64", "float32", "int32"])
def test_dtype_overrides_the_type_of_arrays(cw, tmp_path, asked):
    path = line(tmp_path / "c.zarr", [1, 2, 3], dtype="int16")
    cw("reduce", path, "--over", "t", "--with", "mean", "--dtype", asked, "-o", tmp_path / "o.zarr").ok()
    made = zarr.open_group(tmp_path / "o.zarr", mode="r")["v"]
    assert (str(made.dtype), made[...]) == (asked, 2)


# --- expressions ------------------------------------------------------------------------------------------------------


def bands(path, more=None):
    values = np.arange(1, 13, dtype="int16").reshape(3, 4)
    arrays = {"refl": (("band", "x"), values), "band": (("band",), np.array(["red", "NIR", "B 8A"])), **(more or {})}
    return build(path, arrays), values


def test_names_are_variables_band_labels_quoted_text_and_picks(cw, tmp_path):
    path, values = bands(tmp_path / "c.zarr")
    for i, (formula, row) in enumerate([("red", 0), ("nir", 1), ('"B 8A"', 2), ("refl[band=NIR]", 1), ("Red", 0)]):
        assert calc(cw, path, f"{formula} + 0", tmp_path / f"{i}.zarr").values.tolist() == values[row].tolist(), formula


def test_a_band_of_two_variables_is_ambiguous(cw, tmp_path):
    path, values = bands(tmp_path / "c.zarr", {"other": (("band", "x"), np.zeros((3, 4), "int16"))})
    cw("calc", path, "f = red + 1", "-o", tmp_path / "o.zarr").refused("red", "refl", "other")
    assert calc(cw, path, "refl[band=red] + 1", tmp_path / "p.zarr").values.tolist() == (values[0] + 1).tolist()


def test_operands_broadcast_by_name_of_dimension(cw, tmp_path):
    a, b = np.arange(6, dtype="float64").reshape(2, 3), np.array([10.0, 20.0])
    path = build(tmp_path / "c.zarr", {"a": (("y", "x"), a, {}, {"chunks": (1, 2)}), "b": (("y",), b, {}, {"chunks": (2,)})})
    np.testing.assert_array_equal(calc(cw, path, "a + b", tmp_path / "o.zarr").values, a + b[:, None])


def test_selection_comes_first_but_for_the_dimension_that_a_formula_picks_from(cw, tmp_path):
    path, values = bands(tmp_path / "c.zarr")
    got = calc(cw, path, "nir - red", tmp_path / "o.zarr", "--isel", "x=1:3", "--sel", "band=red")
    assert got.values.tolist() == (values[1] - values[0])[1:3].tolist()


def test_a_mask_comes_before_statistics(cw, tmp_path):
    path = line(tmp_path / "c.zarr", [1, 2, 3, 4], dtype="int16")
    record = one(cw, path, "--with", "mean,count,missing", "--where", "v > 2")
    assert (record["mean"], record["count"], record["missing"]) == (3.5, 2, 2)


def test_with_formulas_a_job_works_on_them_and_on_what_is_named(cw, tmp_path):
    path, _ = bands(tmp_path / "c.zarr")
    names = lambda *words: [r["variable"] for r in cw("stats", path, *words).ok().json]
    assert names("--calc", "f = red + 1") == ["f"]
    assert sorted(names("--calc", "f = red + 1", "--var", "refl")) == ["f", "refl"]


def test_cells_outside_are_reported_of_all_points(cw, tmp_path):
    path = line(tmp_path / "c.zarr", [1, 9, 8, 2], {"valid_max": 5}, dtype="int16")
    run = cw("series", path, "--iat", "t=1", "--iat", "t=2", "--iat", "t=3", json=False).ok()
    assert "2 cells of `v` lie outside" in run.err


def test_a_sum_that_may_be_missing_is_float64(cw, tmp_path):
    path = line(tmp_path / "c.zarr", [9, 9, 4, 5], {"_FillValue": 9}, dtype="int32")
    cw("reduce", path, "--every", "t=2", "--with", "sum", "-o", tmp_path / "o.zarr").ok()
    made = zarr.open_group(tmp_path / "o.zarr", mode="r")["v"]
    assert made.dtype == np.float64
    np.testing.assert_array_equal(made[...], [NAN, 9])


@pytest.mark.parametrize("statistic", ["mean", "sum", "std", "median", "min", "last", "argmax", "count"])
def test_every_statistic_leaves_out_what_valid_does(cw, tmp_path, statistic):
    values = np.random.default_rng(5).integers(0, 100, (9, 7)).astype("int16")
    path = build(tmp_path / "c.zarr", {"v": (("t", "x"), values, {"valid_range": [20, 60]}, {"chunks": (2, 3)})})
    plain = build(tmp_path / "p.zarr", {"v": (("t", "x"), np.where((values >= 20) & (values <= 60), values, -1), {"_FillValue": -1}, {"chunks": (2, 3)})})
    got, want = ([r[statistic] for r in cw("reduce", p, "--over", "t", "--with", statistic, *w).ok().json] for p, w in ((path, ["--valid"]), (plain, [])))
    assert got == want
