"""Random ragged cubes: chunkwise must say what plain numpy says.

CHUNKWISE_CASES=5000 pytest tests/python/test_oracle.py     a long run, with new cubes each time
CHUNKWISE_SHRINK=1                                          look for the smallest cube that fails
"""

import contextlib
import os
import tempfile
from pathlib import Path

import hypothesis
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import compare
import cube
import oracle
import strategies
from conftest import CASES

TESTS = 9
PHASES = [hypothesis.Phase.explicit, hypothesis.Phase.generate]
if os.environ.get("CHUNKWISE_SHRINK"):
    PHASES.append(hypothesis.Phase.shrink)


def cases(requests):
    """So many random cubes that this test makes its share of all requests, with `requests` of each cube."""
    return hypothesis.settings(max_examples=max(4, CASES // TESTS // requests + 1), phases=PHASES)


@contextlib.contextmanager
def folder():
    with tempfile.TemporaryDirectory(prefix="chunkwise-") as path:
        yield Path(path)


def over_words(over, dims):
    return "all" if len(over) == len(dims) else ",".join(over)


@cases(2)
@given(st.data())
def test_a_reduction_to_a_table_equals_numpy(cw, data):
    spec = data.draw(strategies.specs())
    with folder() as tmp:
        made = spec.build(tmp / "cube.zarr")
        for _ in range(2):
            over = data.draw(strategies.reductions(made.dims))
            names = strategies.statistics(spec, over)
            run = cw("reduce", made.path, "--var", "data", "--over", over_words(over, made.dims), "--with", ",".join(names)).ok()
            compare.check_table(run.json, names, made.values, made.valid, [made.axis(d) for d in over])


@cases(2)
@given(st.data())
def test_a_reduction_to_a_cube_equals_numpy(cw, data):
    spec = data.draw(strategies.specs())
    with folder() as tmp:
        made = spec.build(tmp / "cube.zarr")
        over = data.draw(strategies.reductions(made.dims))
        names = strategies.statistics(spec, over)
        one = data.draw(st.sampled_from(names))
        axes = [made.axis(d) for d in over]
        common = ["reduce", made.path, "--var", "data", "--over", ",".join(over)]
        cw(*common, "--with", one, "-o", tmp / "one.zarr").ok()
        want = oracle.statistic(one, made.values, made.valid, axes)
        compare.check_array(tmp / "one.zarr", "data", one, spec, made.values, made.valid, *want)
        cw(*common, "--with", ",".join(names), "-o", tmp / "all.zarr").ok()
        for name in names:
            want = oracle.statistic(name, made.values, made.valid, axes)
            compare.check_array(tmp / "all.zarr", f"data_{name}", name, spec, made.values, made.valid, *want)


@cases(2)
@given(st.data())
def test_cycles_and_windows_in_time_equal_numpy(cw, data):
    spec = data.draw(strategies.specs(need=("time",), labels=True))
    with folder() as tmp:
        made = spec.build(tmp / "cube.zarr")
        over = data.draw(strategies.reductions(made.dims, must=("time",)))
        axes, axis = [made.axis(d) for d in over], made.axis("time")
        names = strategies.statistics(spec, over)
        common = ["reduce", made.path, "--var", "data", "--over", ",".join(over), "--with", ",".join(names)]
        cycle = data.draw(st.sampled_from(("month", "season", "monthday", "dayofyear")))
        run = cw(*common, "--group", cycle).ok()
        labels = compare.cycle_labels(cycle, made.dates)
        compare.check_grouped_table(run.json, cycle, names, made, axes, axis, labels)
        window = data.draw(st.sampled_from(("1month", "season", "1year")))
        run = cw(*common, "--every", window).ok()
        labels = compare.window_labels(window, made.dates)
        compare.check_grouped_table(run.json, "time", names, made, axes, axis, labels, compare.date)


@cases(2)
@given(st.data())
def test_windows_in_space_and_anomalies_equal_numpy(cw, data):
    spec = data.draw(strategies.specs(need=("time", "y"), labels=True))
    with folder() as tmp:
        made = spec.build(tmp / "cube.zarr")
        size = data.draw(st.integers(1, made.size("y")))
        axis = made.axis("y")
        cw("reduce", made.path, "--var", "data", "--every", f"y={size}", "--with", "mean", "-o", tmp / "coarse.zarr").ok()
        labels = oracle.windows(made.size("y"), size)
        parts = oracle.grouped("mean", made.values, made.valid, [axis], axis, labels)
        want, missing = (np.stack([parts[k][i] for k in sorted(parts)], axis) for i in (0, 1))
        compare.check_array(tmp / "coarse.zarr", "data", "mean", spec, made.values, made.valid, want, missing)

        cycle = data.draw(st.sampled_from(("month", "season")))
        cw("reduce", made.path, "--var", "data", "--group", cycle, "--with", "mean", "--anomaly", "-o", tmp / "less.zarr").ok()
        labels = compare.cycle_labels(cycle, made.dates)
        want, missing = oracle.anomaly("mean", made.values, made.valid, made.axis("time"), labels)
        compare.check_array(tmp / "less.zarr", "data", "anomaly", spec, made.values, made.valid, want, missing)


@np.errstate(all="ignore")
def branch(condition, known, yes, no):
    """`where(condition, yes, no)`, missing where the condition is."""
    return np.where(known, np.where(condition, yes, no), np.nan)


# formula of `data` -> what it is, of float64 values with NaN for missing
FORMULAS = {
    "data * 2 + 1": lambda d: d * 2 + 1,
    "-data ** 2": lambda d: -(d**2),
    "2 - data ^ 2 / 3": lambda d: 2 - d**2 / 3,
    "data / (data - data)": lambda d: d / (d - d),
    "1 / data": lambda d: 1 / d,
    "sqrt(abs(data))": lambda d: np.sqrt(np.abs(d)),
    "log(data)": np.log,
    "floor(data / 7)": lambda d: np.floor(d / 7),
    "exp(data / 1000)": lambda d: np.exp(d / 1000),
    "where(data > 3, data, missing)": lambda d: branch(d > 3, ~np.isnan(d), d, np.nan),
    "where(ismissing(data), -1, data)": lambda d: np.where(np.isnan(d), -1, d),
    "where(data >= 1 and data < 40, 1, 0)": lambda d: branch((d >= 1) & (d < 40), ~np.isnan(d), 1, 0),
    "where(data == 7 or not (data <= 20), data, -data)": lambda d: branch((d == 7) | (d > 20), ~np.isnan(d), d, -d),
}


@cases(2)
@given(st.data())
def test_formulas_equal_numpy(cw, data):
    spec = data.draw(strategies.specs())
    texts = data.draw(st.lists(st.sampled_from(sorted(FORMULAS)), min_size=2, max_size=5, unique=True))
    with folder() as tmp:
        made = spec.build(tmp / "cube.zarr")
        words = [f"f{i} = {text}" for i, text in enumerate(texts)]
        run = cw("calc", made.path, *words, "-o", tmp / "out.zarr").ok()
        for i, text in enumerate(texts):
            with np.errstate(all="ignore"):
                want = FORMULAS[text](made.floats)
            check_formula(tmp / "out.zarr", f"f{i}", text, want, spec, run)
        over = data.draw(strategies.reductions(made.dims))
        # exp and log may differ from numpy's in the last bit, and a greatest value is compared bit for bit
        names = ["mean", "count"] + ["max"] * (not any(f in texts[0] for f in ("exp", "log")))
        calc = ["reduce", made.path, "--calc", words[0], "--over", ",".join(over), "--with", ",".join(names)]
        with np.errstate(all="ignore"):
            value = FORMULAS[texts[0]](made.floats)
        run = cw(*calc).ok()
        compare.check_table(run.json, names, value, ~np.isnan(value), [made.axis(d) for d in over], "f0")


def check_formula(path, name, text, want, spec, run):
    stored, _, ok = cube.read(path, name)
    missing = np.isnan(want)
    assert np.array_equal(ok, ~missing), f"`{text}`: missing in {int((~ok).sum())} cells, should be in {int(missing.sum())}\n{run}"
    try:
        compare.check_floats(stored, np.where(missing, 0, want), 1e-9 * np.abs(want), ~missing, compare.float_result(spec.dtype))
    except AssertionError as error:
        raise AssertionError(f"`{text}`: {error}\n{run}") from None


@cases(2)
@given(st.data())
def test_band_names_and_a_second_variable_in_formulas(cw, data):
    spec = data.draw(strategies.specs(need=("band", "y"), labels=True))
    with folder() as tmp:
        made = spec.build(tmp / "cube.zarr")
        red, green, nir = (made.floats.take(i, made.axis("band")) for i in range(3))
        words = ["index = (nir - red) / (nir + red)", 'more = where(GREEN > red, "nir", missing)', "both = data * other"]
        run = cw("calc", made.path, *words, "-o", tmp / "out.zarr").ok()
        dims, other = made.second
        spread = other.reshape([made.size(d) if d in dims else 1 for d in made.dims])
        with np.errstate(all="ignore"):
            check_formula(tmp / "out.zarr", "index", words[0], (nir - red) / (nir + red), spec, run)
            check_formula(tmp / "out.zarr", "more", words[1], branch(green > red, ~(np.isnan(green) | np.isnan(red)), nir, np.nan), spec, run)
            check_formula(tmp / "out.zarr", "both", words[2], made.floats * spread, spec, run)
        if spec.kind != "extremes":  # whose sum may not fit
            where = cw("reduce", made.path, "--var", "data", "--where", "other >= 2", "--over", "all", "--with", "mean,count,sum").ok()
            valid = made.valid & (np.broadcast_to(spread, made.values.shape) >= 2)
            compare.check_table(where.json, ["mean", "count", "sum"], made.values, valid, range(made.values.ndim))


@cases(2)
@given(st.data())
def test_stats_of_all_and_by_a_dimension_equal_numpy(cw, data):
    spec = data.draw(strategies.specs())
    names = ["count", "missing", "min", "max", "mean", "std"]
    with folder() as tmp:
        made = spec.build(tmp / "cube.zarr")
        everything = list(range(made.values.ndim))
        records = cw("stats", made.path, "--var", "data").ok().json
        compare.check_table(records, names, made.values, made.valid, everything)
        assert list(records[0]) == ["variable", *names]
        dim = data.draw(st.sampled_from(made.dims))
        records = cw("stats", made.path, "--var", "data", "--by", dim).ok().json
        compare.check_table(records, names, made.values, made.valid, [i for i in everything if i != made.axis(dim)])
        assert list(records[0]) == ["variable", dim, *names]
        if spec.labels and spec.named and dim == "band":
            assert [r["band"] for r in records] == list(cube.BANDS[: made.size("band")])


@cases(1)
@given(st.data())
def test_a_series_equals_numpy(cw, data):
    spec = data.draw(strategies.specs())
    with folder() as tmp:
        made = spec.build(tmp / "cube.zarr")
        asked = data.draw(strategies.reductions(made.dims))
        picked = {d: data.draw(st.integers(0, made.size(d) - 1)) for d in asked}
        run = cw("series", made.path, "--var", "data", "--iat", ",".join(f"{d}={i}" for d, i in picked.items())).ok()
        place = tuple(picked.get(d, slice(None)) for d in made.dims)
        values, valid = np.asarray(made.values[place]).reshape(-1), np.asarray(made.valid[place]).reshape(-1)
        records = run.json
        assert len(records) == values.size, f"{len(records)} records, should be {values.size}\n{run}"
        for record, value, ok in zip(records, values, valid):
            shown = compare.number(record["data"])
            assert (shown is not None) == ok, f"{record} should be {value if ok else 'missing'}\n{run}"
            assert not ok or float(shown) == float(value), f"{record} should be {value}\n{run}"


@cases(3)
@given(st.data())
def test_selections_and_masks_equal_numpy(cw, data):
    spec = data.draw(strategies.specs())
    with folder() as tmp:
        made = spec.build(tmp / "cube.zarr")
        words, places = data.draw(strategies.selections(made.dims, made.values.shape, spec))
        kept = [d for d, p in zip(made.dims, places) if isinstance(p, slice)]
        values, valid = made.values[places], made.valid[places]
        over = data.draw(strategies.reductions(kept))
        names = [n for n in strategies.statistics(spec, over) if n not in ("var", "median")]
        axes = [kept.index(d) for d in over]
        common = ["reduce", made.path, "--var", "data", *words, "--over", ",".join(over), "--with", ",".join(names)]
        compare.check_table(cw(*common).ok().json, names, values, valid, axes)
        text, keeps = data.draw(st.sampled_from(MASKS))
        with np.errstate(invalid="ignore"):
            masked = valid & keeps(values.astype(np.float64))
        compare.check_table(cw(*common, "--where", text).ok().json, names, values, masked, axes)
        cw(*common, "--where", text, "-o", tmp / "out.zarr").ok()
        for name in names:
            want = oracle.statistic(name, values, masked, axes)
            compare.check_array(tmp / "out.zarr", f"data_{name}", name, spec, values, masked, *want)


MASKS = (
    ("data > 3", lambda d: d > 3),
    ("data != 0", lambda d: d != 0),
    ("not (data < 5)", lambda d: ~(d < 5)),
    ("data > 1e30", lambda d: d > 1e30),
)


BIG = [
    cube.Spec(shape=(9, 2, 1001, 997), chunks=(7, 1, 301, 199), dtype="uint16", mark=65535, fill=65535, gaps=0.1, missing=0.05, seed=1),
    cube.Spec(
        dims=("time", "y", "x"),
        shape=(15, 1001, 997),
        chunks=(7, 301, 199),
        dtype="float32",
        mark=float("nan"),
        fill=float("nan"),
        missing=0.1,
        kind="far",
        seed=2,
    ),
    cube.Spec(
        dims=("time", "y", "x"),
        shape=(15, 997, 1001),
        chunks=(4, 50, 64),
        shards=3,
        dtype="int16",
        mark=-32768,
        packing=(0.0001, 0.0),
        missing=0.1,
        seed=3,
    ),
]


@pytest.mark.slow
@pytest.mark.parametrize("spec", BIG, ids=lambda s: f"{s.dtype}-{'x'.join(map(str, s.shape))}")
def test_large_ragged_cubes_equal_numpy(cw, tmp_path, spec):
    made = spec.build(tmp_path / "cube.zarr")
    everything = range(made.values.ndim)
    names = strategies.statistics(spec, [])
    compare.check_table(
        cw("reduce", made.path, "--var", "data", "--over", "all", "--with", ",".join(names)).ok().json,
        names,
        made.values,
        made.valid,
        everything,
    )
    names = strategies.statistics(spec, ["time"])
    cw("reduce", made.path, "--var", "data", "--over", "time", "--with", ",".join(names), "-o", tmp_path / "out.zarr").ok()
    for name in names:
        want = oracle.statistic(name, made.values, made.valid, [0])
        compare.check_array(tmp_path / "out.zarr", f"data_{name}", name, spec, made.values, made.valid, *want)
    over = [made.axis("y"), made.axis("x")]
    run = cw("reduce", made.path, "--var", "data", "--over", "y,x", "--with", "mean,std,median").ok()
    compare.check_table(run.json, ["mean", "std", "median"], made.values, made.valid, over)


@pytest.mark.parametrize("dtype", ["int64", "uint64"])
def test_an_integer_sum_that_overflows_is_an_error(cw, tmp_path, dtype):
    spec = cube.Spec(dims=("x",), shape=(40,), chunks=(9,), dtype=dtype, kind="extremes", labels=False, seed=4)
    made = spec.build(tmp_path / "cube.zarr")
    top = np.iinfo(dtype).max
    large = np.full(40, top, dtype)
    cube.array(__import__("zarr").open_group(made.path), "large", large, (9,), ("x",))
    cw("reduce", made.path, "--var", "large", "--over", "x", "--with", "sum", "-o", tmp_path / "o.zarr").refused(
        "overflow|large|range|exceed"
    )
    run = cw("reduce", made.path, "--var", "large", "--over", "x", "--with", "mean,max,std").ok()
    compare.check_table(run.json, ["mean", "max", "std"], large, np.ones(40, bool), [0], "large")


@pytest.mark.parametrize("name", sorted(set(oracle.ONE) - {"argmin", "argmax", "first", "last"}))
@pytest.mark.parametrize("seed", range(4))
def test_the_oracle_itself_agrees_with_xarray(name, seed):
    import xarray

    rng = np.random.default_rng(seed)
    values = rng.normal(size=(5, 6, 7)) * 10.0 ** rng.integers(-3, 6)
    valid = rng.random(values.shape) > 0.4
    valid[:, 2, 3] = False
    array = xarray.DataArray(np.where(valid, values, np.nan), dims=("a", "b", "c"))
    for axes in ([0], [1, 2], [0, 1, 2]):
        options = {"min_count": 1} if name == "sum" else {}
        want = np.asarray(getattr(array, name)([array.dims[a] for a in axes], skipna=True, **options))
        got, missing = oracle.statistic(name, values, valid, axes)
        assert np.array_equal(missing, np.isnan(want))
        np.testing.assert_allclose(got[~missing], want[~missing], rtol=1e-12)
