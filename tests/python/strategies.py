"""Random cubes and requests."""

import numpy as np
from hypothesis import strategies as st

import cube

LONGEST = {"time": 14, "band": 4, "y": 23, "x": 19}


def dimensions(need=()):
    """1 to 4 of the names, in their order, among them those needed."""
    free = [d for d in cube.NAMES if d not in need]
    least = 0 if need else 1
    return st.lists(st.sampled_from(free), unique=True, min_size=least, max_size=len(free)).map(
        lambda picked: tuple(d for d in cube.NAMES if d in picked or d in need)
    )


@st.composite
def specs(draw, need=(), labels=None, dtypes=cube.DTYPES, kinds=None):
    """A random ragged cube; `need` names dimensions that it must have."""
    dims = draw(dimensions(need))
    shape = tuple(draw(st.integers(3 if d in need else 1, LONGEST[d])) for d in dims)
    chunks = tuple(draw(st.integers(1, n + 2 if n > 2 else n)) for n in shape)
    dtype = np.dtype(draw(st.sampled_from(dtypes)))
    three = draw(st.booleans())
    mark = draw(st.none() | marks(dtype))
    fill = draw(fills(dtype, mark, three))
    packing = None
    if dtype.kind in "iu" and dtype.itemsize <= 4:
        packing = draw(st.none() | st.sampled_from([(0.0001, 0.0), (0.5, -3.0), (2.0, 1000.25), (-0.5, 10.0)]))
    kinds = kinds or (
        ("plain", "plain", "inf", "one", "none", "far", "extremes") if dtype.kind == "f" else ("plain", "plain", "one", "extremes")
    )
    named = labels is True or bool(need) or draw(st.booleans())
    return cube.Spec(
        dims=dims,
        shape=shape,
        chunks=chunks,
        dtype=dtype.name,
        zarr_format=3 if three else 2,
        big_endian=draw(st.booleans()),
        codec=draw(st.sampled_from(("zstd", "gzip", "blosc", "none") + (("crc32c",) if three else ()))),
        shards=draw(st.sampled_from((0, 0, 1, 2, 3))) if three else 0,
        mark=mark,
        fill=fill,
        packing=packing,
        gaps=draw(st.sampled_from((0.0, 0.2, 0.7, 1.0))) if fill is not None else 0.0,
        missing=draw(st.sampled_from((0.0, 0.1, 0.6))),
        kind=draw(st.sampled_from(kinds)),
        labels=draw(st.booleans()) if labels is None else labels,
        named=named,
        calendar=draw(st.sampled_from(("standard", "noleap", "360_day", "proleptic_gregorian"))),
        step=draw(st.sampled_from((1, 17, 30, 95))),
        seed=draw(st.integers(0, 10**6)),
    )


def marks(dtype):
    """What may be the `_FillValue` of this type."""
    if dtype.kind == "b":
        return st.none()
    if dtype.kind == "f":
        return st.sampled_from([float("nan"), -9984.0])
    info = np.iinfo(dtype)
    return st.sampled_from([int(info.min), int(info.max), 0, 7])


def fills(dtype, mark, three):
    """What the array's own fill value may be; it need not be the `_FillValue`."""
    if dtype.kind == "b":
        return st.booleans() if three else st.sampled_from([None, False])
    zero = 0.0 if dtype.kind == "f" else 0
    options = [zero] if mark is None else [zero, mark, mark]
    if dtype.kind == "f":
        options.append(float("nan"))
    return st.sampled_from(options if three else [None, *options])


@st.composite
def reductions(draw, dims, must=()):
    """Some of the dimensions, at least one, in any order."""
    picked = draw(st.lists(st.sampled_from(dims), unique=True, min_size=0 if must else 1, max_size=len(dims)))
    return [*must, *(d for d in picked if d not in must)]


def statistics(spec, over):
    """All statistics that can be asked together of this cube."""
    names = ["mean", "sum", "min", "max", "count", "missing", "std", "var", "median", "first", "last"]
    if spec.kind == "extremes" and np.dtype(spec.dtype).itemsize == 8:
        names.remove("sum")  # may overflow, which has a test of its own
    return names + (["argmin", "argmax"] if len(over) == 1 else [])


@st.composite
def selections(draw, dims, shape, spec):
    """`(words, places)`: `--isel`/`--sel` words and the numpy index of each dimension; one dimension is kept at least."""
    words, places = [], []
    kept = draw(st.integers(0, len(dims) - 1))
    for i, (dim, n) in enumerate(zip(dims, shape)):
        how = draw(st.sampled_from(("all", "slice", "step", "one", "labels")))
        if how == "one" and i != kept:
            index = draw(st.integers(-n, n - 1))
            words += [f"--isel={dim}={index}"]
            places.append(index)
        elif how == "slice":
            low = draw(st.integers(0, n - 1))
            high = draw(st.integers(low + 1, n))
            words += [f"--isel={dim}={low}:{high}"]
            places.append(slice(low, high))
        elif how == "step":
            low, by = draw(st.integers(0, n - 1)), draw(st.integers(1, 4))
            words += [f"--isel={dim}={low}:{n}:{by}"]
            places.append(slice(low, n, by))
        elif how == "labels" and spec.labels and spec.named:
            low = draw(st.integers(0, n - 1))
            high = draw(st.integers(low, n - 1))
            word, place = labelled(dim, low, high, spec)
            words += [f"--sel={dim}={word}"]
            places.append(place)
        else:
            places.append(slice(None))
    return words, tuple(places)


def labelled(dim, low, high, spec):
    """Labels that pick the cells from `low` to `high`, both ends included."""
    if dim == "band":
        names = cube.BANDS[low : high + 1]
        return ",".join(names), low if len(names) == 1 else slice(low, high + 1)
    if dim == "time":
        import cftime

        days = [cftime.num2date(i * spec.step, cube.UNITS, spec.calendar).strftime("%Y-%m-%d") for i in (low, high)]
        return f"{days[0]}..{days[1]}", slice(low, high + 1)
    start, step = (900.0, -10.0) if dim == "y" else (100.0, 10.0)
    ends = [f"{start + step * i:g}" for i in (low, high)]
    return "..".join(ends), slice(low, high + 1)
