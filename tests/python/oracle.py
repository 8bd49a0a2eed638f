"""What chunkwise should say, in numpy alone and in the plainest way: no chunks, no tiles, no states.

Values come as a numpy array (integers as they are, packed or floating ones as float64) beside a mask of the valid cells.
Results come as an array beside a mask of the missing ones. Sums and spreads are taken in 80-bit floats or in exact
integers, so that the oracle's own rounding is far below what is compared.
"""

import numpy as np

EPS = np.finfo(np.float64).eps

# Statistics that give one of the values, or a whole number: compared exactly.
EXACT = {"count", "missing", "min", "max", "first", "last", "argmin", "argmax"}
FLOATING = {"mean", "std", "var", "median"}


def valid_mask(stored, marks):
    """Which cells are not missing: NaN never, nor what equals a mark, given as stored."""
    valid = ~np.isnan(stored) if stored.dtype.kind == "f" else np.ones(stored.shape, bool)
    for mark in marks:
        if not (isinstance(mark, float) and np.isnan(mark)):
            valid &= stored != np.asarray(mark).astype(stored.dtype)
    return valid


def decode(stored, scale=None, offset=None):
    """Values to compute with: stored integers stay integers, all else is float64."""
    if scale is not None or offset is not None:
        return stored.astype(np.float64) * (1.0 if scale is None else scale) + (0.0 if offset is None else offset)
    if stored.dtype.kind == "b":
        return stored.astype(np.uint8)
    return stored.astype(stored.dtype.newbyteorder("=")) if stored.dtype.kind in "iu" else stored.astype(np.float64)


def lanes(array, axes):
    """`array` with the reduced axes, in their order, as one last axis."""
    kept = [a for a in range(array.ndim) if a not in axes]
    turned = array.transpose(kept + list(axes))
    return turned.reshape([array.shape[a] for a in kept] + [-1])


def statistic(name, values, valid, axes):
    """`(result, missing)` of one statistic over `axes`; an empty cell has count 0 and is missing in all else.

    std and var divide by n; a median of an even number is the mean of the two middle values; first, last, argmin and
    argmax go by the C order of the reduced axes; ties are settled by the first.
    """
    axes = sorted(axes)
    x, ok = lanes(values, axes), lanes(valid, axes)
    n = ok.sum(-1)
    empty = n == 0
    if name == "count":
        return n, np.zeros(n.shape, bool)
    if name == "missing":
        return x.shape[-1] - n, np.zeros(n.shape, bool)
    with np.errstate(all="ignore"):
        result = np.asarray(ONE[name](x, ok, n))  # a sum of Python integers over everything is one
    if result.dtype.kind in "fg":
        return result.astype(np.float64), empty | np.isnan(result)
    return result, empty


def total(x, ok, n):
    if x.dtype.kind == "f":
        return np.where(ok, x, 0).astype(np.longdouble).sum(-1)
    if x.dtype.itemsize == 8:  # exact whatever the size: Python's integers
        return np.where(ok, x, 0).astype(object).sum(-1) if x.shape[-1] else np.zeros(n.shape, object)
    return np.where(ok, x, 0).astype(np.int64).sum(-1)


def as_long(x):
    return np.asarray(x).astype(np.longdouble)


def mean(x, ok, n):
    return as_long(total(x, ok, n)) / n


def var(x, ok, n):
    apart = np.where(ok, as_long(x) - mean(x, ok, n)[..., None], 0)
    return (apart * apart).sum(-1) / n


def std(x, ok, n):
    return np.sqrt(var(x, ok, n))


def median(x, ok, n):
    """By sorting with the missing cells last."""
    key = np.where(ok, as_long(x), np.inf)
    order = np.sort(key, -1)  # valid infinities sort among the padding, which equals them
    low, high = np.maximum((n - 1) // 2, 0), np.maximum(n // 2, 0)
    high = np.minimum(high, x.shape[-1] - 1)
    a = np.take_along_axis(order, low[..., None], -1)[..., 0]
    b = np.take_along_axis(order, high[..., None], -1)[..., 0]
    return np.where(a == b, a, (a + b) / 2)


def limits(dtype):
    if dtype.kind == "f":
        return -np.inf, np.inf
    info = np.iinfo(dtype)
    return info.min, info.max


def least(x, ok, n):
    return np.where(ok, x, limits(x.dtype)[1]).min(-1)


def greatest(x, ok, n):
    return np.where(ok, x, limits(x.dtype)[0]).max(-1)


def at(x, index):
    return np.take_along_axis(x, index[..., None], -1)[..., 0]


def first(x, ok, n):
    return at(x, ok.argmax(-1))


def last(x, ok, n):
    return at(x, x.shape[-1] - 1 - ok[..., ::-1].argmax(-1))


def argmin(x, ok, n):
    return (ok & (x == least(x, ok, n)[..., None])).argmax(-1)


def argmax(x, ok, n):
    return (ok & (x == greatest(x, ok, n)[..., None])).argmax(-1)


ONE = {
    "sum": total,
    "mean": mean,
    "var": var,
    "std": std,
    "median": median,
    "min": least,
    "max": greatest,
    "first": first,
    "last": last,
    "argmin": argmin,
    "argmax": argmax,
}


def grouped(name, values, valid, axes, axis, labels):
    """`{label: (result, missing)}` with `axis`, one of `axes`, dealt out by `labels` of its cells."""
    found = {}
    for label in dict.fromkeys(labels):
        cells = [i for i, other in enumerate(labels) if other == label]
        part, ok = values.take(cells, axis), valid.take(cells, axis)
        result, missing = statistic(name, part, ok, axes)
        if name in ("argmin", "argmax"):  # an index in the selection, not in the group
            result = np.asarray(cells)[result]
        found[label] = result, missing
    return found


def anomaly(name, values, valid, axis, labels):
    """Each cell less the statistic of its group."""
    result = np.full(values.shape, np.nan)
    for label in dict.fromkeys(labels):
        cells = [i for i, other in enumerate(labels) if other == label]
        of, missing = statistic(name, values.take(cells, axis), valid.take(cells, axis), [axis])
        of = np.where(missing, np.nan, of.astype(np.float64))
        place = [slice(None)] * values.ndim
        place[axis] = cells
        with np.errstate(all="ignore"):
            result[tuple(place)] = values.take(cells, axis).astype(np.float64) - np.expand_dims(of, axis)
    missing = ~valid | np.isnan(result)
    return result, missing


def windows(length, size):
    """Window of each index: `size` cells from the start of the selection, the last one as long as it is."""
    return [i // size for i in range(length)]


def slack(name, values, valid, want):
    """How far a float64 result may lie from the oracle's: 1e-9 of it, and what rounding of values that cancel explains."""
    with np.errstate(all="ignore"):
        size = np.abs(values[valid & np.isfinite(values)].astype(np.float64)).max(initial=0.0)
        cells = max(int(valid.sum()), 1)
        around = {
            "sum": 4 * EPS * size * cells,
            "mean": 16 * EPS * size,
            "median": 4 * EPS * size,
            "std": 16 * EPS * size,
            "var": (16 * EPS * size) ** 2 + 32 * EPS * size * np.sqrt(np.abs(want)),
            "anomaly": 16 * EPS * size,
        }.get(name, 0.0)
        return 1e-9 * np.abs(want) + around


def same_floats(got, want, allowed, where):
    """Says where two arrays differ by more than is allowed; infinities must agree."""
    got, want = np.broadcast_arrays(np.asarray(got, np.float64), np.asarray(want, np.float64))
    with np.errstate(all="ignore"):
        near = (got == want) | (np.isfinite(got) & np.isfinite(want) & (np.abs(got - want) <= allowed))
    bad = np.argwhere(~near & where)
    if len(bad):
        i = tuple(bad[0])
        raise AssertionError(f"{len(bad)} of {got.size} cells differ, first at {i}: got {got[i]!r}, should be {want[i]!r}")


def same_float32(got, want, extra, where):
    """float32 results within one unit in the last place of the right value, and `extra` where values cancel."""
    assert got.dtype == np.float32, f"written as {got.dtype}, should be float32"
    with np.errstate(all="ignore"):
        narrow = np.asarray(want, np.float64).astype(np.float32)
        ulp = np.spacing(np.abs(narrow)).astype(np.float64)
        ulp = np.where(np.isfinite(ulp), ulp, 0)
    same_floats(got.astype(np.float64), np.where(np.isinf(narrow), narrow, want), ulp + extra, where)
