"""Compares what chunkwise printed or wrote with the oracle."""

import re

import numpy as np

import cube
import oracle


def number(value):
    """A number of a JSON record, None where missing. JSON has no infinities: text is taken for them."""
    if isinstance(value, str):
        assert value.strip("+-").lower() in ("inf", "infinity"), f"{value!r} is no number"
        return float(value)
    assert value is None or isinstance(value, (int, float)) and not isinstance(value, bool), f"{value!r} is no number"
    assert value is None or not np.isnan(float(value)), "a missing number is null, not NaN"
    return value


def check_column(got, name, values, valid, want, missing):
    """One statistic of a table, a row each cell in C order, against the oracle."""
    got = [number(v) for v in got]
    want, missing = want.reshape(-1), missing.reshape(-1)
    assert len(got) == want.size, f"{len(got)} rows, should be {want.size}"
    for i, (g, w, m) in enumerate(zip(got, want, missing)):
        assert (g is None) == bool(m), f"`{name}` of row {i}: got {g}, should be {'missing' if m else w}"
    shown = np.array([np.nan if g is None else float(g) for g in got])
    target = np.array([np.nan if m else float(w) for w, m in zip(want, missing)])
    allowed = 0.0 if name in oracle.EXACT or exact_sum(name, values) else oracle.slack(name, values, valid, target)
    try:
        oracle.same_floats(shown, target, allowed, ~missing)
    except AssertionError as error:
        raise AssertionError(f"`{name}`: {error}") from None


def exact_sum(name, values):
    return name == "sum" and values.dtype.kind in "iu"


def check_table(records, names, values, valid, axes, variable="data"):
    """A table of statistics over `axes`."""
    assert isinstance(records, list), f"a table is a list of records: {str(records)[:200]}"
    assert all(r.get("variable") == variable for r in records), str(records[:2])
    for name in names:
        want, missing = oracle.statistic(name, values, valid, axes)
        check_column([r[name] for r in records], name, values, valid, want, missing)


def float_result(dtype):
    """Type of a floating result in an array, by the stored type."""
    dtype = np.dtype(dtype)
    narrow = dtype.itemsize <= 2 or dtype == np.float32
    return np.dtype("float32" if narrow else "float64")


def check_array(path, variable, name, spec, values, valid, want, missing):
    """One statistic of an output cube against the oracle, with its type."""
    stored, got, ok = cube.read(path, variable)
    assert stored.shape == want.shape, f"`{variable}` has shape {stored.shape}, should be {want.shape}"
    assert np.array_equal(ok, ~missing), (
        f"`{variable}`: {int((ok & missing).sum())} cells should be missing, {int((~ok & ~missing).sum())} should not"
    )
    target = np.where(missing, 0.0, want).astype(np.float64)
    if name in ("count", "missing"):
        assert stored.dtype == np.uint64, f"`{variable}` is {stored.dtype}, a count is uint64"
    if name in ("argmin", "argmax"):
        assert stored.dtype == np.int64, f"`{variable}` is {stored.dtype}, an index is int64"
    if name in ("min", "max", "first", "last") and (spec.mark is not None or stored.dtype.kind == "f" and np.dtype(spec.dtype).kind == "f"):
        assert stored.dtype.newbyteorder("=") == np.dtype(spec.dtype), f"`{variable}` is {stored.dtype}, of {spec.dtype}"
    if name in oracle.EXACT or exact_sum(name, values):
        if got.dtype.kind in "iu" and want.dtype.kind in "iuO":
            bad = np.argwhere((got != want) & ~missing)
            assert not len(bad), f"`{variable}` at {bad[0]}: got {got[tuple(bad[0])]}, should be {want[tuple(bad[0])]}"
        oracle.same_floats(np.where(ok, got, 0), target, 0.0, ~missing)
    else:
        allowed = oracle.slack(name, values, valid, target)
        check_floats(stored, target, allowed, ~missing, float_result(spec.dtype))


def check_floats(stored, target, allowed, where, dtype):
    """A floating array of the type that its source asks for."""
    assert stored.dtype == dtype, f"written as {stored.dtype}, should be {dtype}"
    if dtype == np.float32:
        with np.errstate(invalid="ignore"):
            tiny = allowed - 1e-9 * np.abs(target)
        oracle.same_float32(stored, target, np.maximum(tiny, 0), where)
    else:
        oracle.same_floats(stored, target, allowed, where)


def date(text):
    """(year, month, day) of an ISO 8601 time."""
    found = re.match(r"^(-?\d+)-(\d\d)-(\d\d)", str(text))
    assert found, f"{text!r} is no ISO 8601 time"
    return tuple(int(p) for p in found.groups())


# --- groups ------------------------------------------------------------------------------------------------------------

SEASONS = {12: "DJF", 1: "DJF", 2: "DJF", 3: "MAM", 4: "MAM", 5: "MAM", 6: "JJA", 7: "JJA", 8: "JJA", 9: "SON", 10: "SON", 11: "SON"}


def cycle(name, dates):
    """Label of each date in a cycle."""
    return {
        "month": lambda d: d.month,
        "season": lambda d: SEASONS[d.month],
        "monthday": lambda d: d.day,
        "dayofyear": lambda d: d.dayofyr,
    }[name], dates


def cycle_labels(name, dates):
    of, dates = cycle(name, dates)
    return [of(d) for d in dates]


def window_labels(window, dates):
    """Start (year, month, day) of the window of each date; December belongs to the season that begins with it."""
    if window in ("1month", "month"):
        return [(d.year, d.month, 1) for d in dates]
    if window in ("1year", "year"):
        return [(d.year, 1, 1) for d in dates]
    assert window == "season", window
    starts = {"DJF": 12, "MAM": 3, "JJA": 6, "SON": 9}
    return [(d.year - (d.month < 3), starts[SEASONS[d.month]], 1) for d in dates]


def check_grouped_table(records, key, names, cube_, axes, axis, labels, read_label=lambda v: v):
    """A table with a row for each group and cell of what is left. Groups that hold nothing may be there, empty."""
    by_label = {}
    for record in records:
        by_label.setdefault(read_label(record[key]), []).append(record)
    for name in names:
        for label, (want, missing) in oracle.grouped(name, cube_.values, cube_.valid, axes, axis, labels).items():
            assert label in by_label, f"no rows of {key} {label!r}; there are {list(by_label)}"
            check_column([r[name] for r in by_label[label]], name, cube_.values, cube_.valid, want, missing)
    check_empty_groups(records, names, key, set(labels), read_label)
    order = list(by_label)
    assert order == sorted(order, key=lambda v: ("DJF", "MAM", "JJA", "SON").index(v) if isinstance(v, str) else v)


def check_empty_groups(records, names, key, present, read_label):
    for record in records:
        if read_label(record[key]) not in present:
            for name in names:
                assert record[name] == (0 if name in ("count", "missing") else None), f"{record} holds nothing"
