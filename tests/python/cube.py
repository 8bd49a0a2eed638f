"""Cubes for the tests, written with zarr-python; each keeps what it holds as plain numpy arrays."""

import base64
import dataclasses
import struct
import warnings
from pathlib import Path

import cftime
import numcodecs
import numpy as np
import zarr
from zarr.codecs import BloscCodec, BytesCodec, Crc32cCodec, GzipCodec, ZstdCodec

import oracle

NAMES = ("time", "band", "y", "x")
BANDS = ("red", "green", "nir", "B 8A")
UNITS = "days since 2019-11-15"
DTYPES = ("bool", *(f"{s}int{b}" for b in (8, 16, 32, 64) for s in ("", "u")), "float16", "float32", "float64")
QUIET = {"array.write_empty_chunks": False}


@dataclasses.dataclass(frozen=True)
class Spec:
    """How a random cube is made; its `repr` is all that is needed to make it again."""

    dims: tuple = ("time", "band", "y", "x")
    shape: tuple = (5, 3, 11, 7)
    chunks: tuple = (2, 2, 4, 3)
    dtype: str = "uint16"
    zarr_format: int = 3
    big_endian: bool = False
    codec: str = "zstd"
    shards: int = 0  # inner chunks along each axis of a shard; 0: not sharded
    mark: float | int | None = None  # `_FillValue`
    fill: float | int | None = 0
    packing: tuple | None = None  # scale_factor, add_offset
    gaps: float = 0.0  # share of chunks that hold nothing but the fill value, and are not there
    missing: float = 0.0  # share of cells with the mark (NaN without one)
    kind: str = "plain"  # plain, inf, one (valid cell), none, extremes, far (a large mean)
    labels: bool = True
    named: bool = True
    second: bool = True  # a second variable `other`
    calendar: str = "standard"
    step: int = 17  # days
    seed: int = 0

    def build(self, path):
        return build(self, Path(path))


@dataclasses.dataclass
class Cube:
    """A cube on disk and what it holds."""

    spec: Spec
    path: Path
    dims: tuple
    stored: np.ndarray
    values: np.ndarray  # integers, or float64 when packed or floating
    valid: np.ndarray
    dates: list  # of the time axis, cftime
    second: tuple | None = None  # (dims, values) of the variable `other`

    def axis(self, dim):
        return self.dims.index(dim)

    def size(self, dim):
        return self.values.shape[self.axis(dim)]

    @property
    def floats(self):
        """Values as float64, NaN where missing."""
        return np.where(self.valid, self.values.astype(np.float64), np.nan)


def stored_values(spec, rng):
    """Values as they are stored, before gaps."""
    dtype, size = np.dtype(spec.dtype), spec.shape
    if dtype.kind == "b":
        return rng.random(size) < 0.4
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        if spec.kind == "extremes":
            return rng.choice(np.array([info.min, info.min + 1, info.max - 1, info.max, 7], dtype), size)
        if dtype.itemsize == 8:
            return rng.integers(max(info.min, -(2**40)), 2**40, size).astype(dtype)
        wide = rng.random() < 0.5
        low, high = (info.min, info.max) if wide else (max(info.min, -9), min(info.max, 90))
        return rng.integers(low, high, size, endpoint=True).astype(dtype)
    values = rng.normal(size=size) * 100
    if spec.kind == "far":
        values += {2: 500, 4: 1e6, 8: 1e9}[dtype.itemsize]
    if spec.kind == "extremes":
        values = rng.choice([0.0, -0.0, 1e-3, -1e-3, 6e4, -6e4], size)
    values = np.round(values, 1).astype(dtype)  # ties, and zeros
    if spec.kind == "inf":
        values[rng.random(size) < 0.1] = np.inf
        values[rng.random(size) < 0.1] = -np.inf
    return values


def build(spec, path):
    rng = np.random.default_rng(spec.seed)
    dtype = np.dtype(spec.dtype)
    stored = stored_values(spec, rng)
    hole = spec.mark if spec.mark is not None else (np.nan if dtype.kind == "f" else None)
    if spec.kind == "none":
        lost = np.ones(spec.shape, bool)
    elif spec.kind == "one":
        lost = np.ones(spec.shape, bool)
        lost.flat[int(rng.integers(lost.size))] = False
    else:
        lost = rng.random(spec.shape) < spec.missing
    if hole is not None:
        stored[lost] = hole
    for corner in np.ndindex(*[-(-n // c) for n, c in zip(spec.shape, spec.chunks)]):
        if spec.fill is not None and rng.random() < spec.gaps:
            stored[tuple(slice(i * c, (i + 1) * c) for i, c in zip(corner, spec.chunks))] = spec.fill
    dims = spec.dims if spec.named else tuple(f"dim_{i}" for i in range(len(spec.dims)))
    attrs = {"units": "1"}
    if spec.mark is not None:
        attrs["_FillValue"] = encoded_mark(spec.mark, dtype, spec.zarr_format)
    if spec.packing:
        attrs |= {"scale_factor": spec.packing[0], "add_offset": spec.packing[1]}
    with warnings.catch_warnings(), zarr.config.set(QUIET):
        warnings.simplefilter("ignore")
        root = zarr.create_group(path, zarr_format=spec.zarr_format)
        array(root, "data", stored, spec.chunks, dims if spec.named else None, attrs, spec)
        second = None
        if spec.second and spec.named and "y" in dims:
            second = other_variable(root, spec, rng)
        dates = coordinates(root, spec) if spec.labels and spec.named else []
    marks = [m for m in (spec.mark, spec.fill if spec.zarr_format == 2 else None) if m is not None]
    values = oracle.decode(stored, *(spec.packing or (None, None)))
    return Cube(spec, path, dims, stored, values, oracle.valid_mask(stored, marks), dates, second)


def encoded_mark(mark, dtype, zarr_format):
    """`_FillValue` as xarray writes it: numbers, but floats of Zarr v3 as the base64 text of a float64."""
    if dtype.kind == "f":
        if zarr_format == 3:
            return base64.standard_b64encode(struct.pack("<d", float(mark))).decode()
        return "NaN" if np.isnan(mark) else float(mark)
    return bool(mark) if dtype.kind == "b" else int(mark)


def codecs(spec, itemsize):
    if spec.codec == "none":
        return None
    if spec.zarr_format == 2:
        return {"zstd": numcodecs.Zstd(1), "gzip": numcodecs.GZip(1), "blosc": numcodecs.Blosc(cname="lz4", shuffle=1)}[spec.codec]
    return {
        "zstd": ZstdCodec(level=1),
        "gzip": GzipCodec(level=1),
        "blosc": BloscCodec(typesize=itemsize, cname="lz4", shuffle="shuffle"),
        "crc32c": (ZstdCodec(level=1), Crc32cCodec()),
    }[spec.codec]


def array(root, name, values, chunks, dims, attrs=None, spec=None, fill=0):
    """Creates one array and writes it; `spec` gives the byte order, codec, shards and fill value of the data variable."""
    options, attrs = {}, dict(attrs or {})
    three = root.metadata.zarr_format == 3
    dtype = values.dtype
    if spec is not None:
        fill = spec.fill
        options["compressors"] = codecs(spec, dtype.itemsize)
        if three:
            if spec.big_endian and dtype.itemsize > 1:
                options["serializer"] = BytesCodec(endian="big")
            if spec.shards:
                options["shards"] = tuple(c * spec.shards for c in chunks)
        elif spec.big_endian:
            dtype = dtype.newbyteorder(">")
    if dims is not None:
        if three:
            options["dimension_names"] = dims
        else:
            attrs["_ARRAY_DIMENSIONS"] = list(dims)
    made = root.create_array(name, shape=values.shape, chunks=chunks, dtype=dtype, fill_value=fill, attributes=attrs, **options)
    made[...] = values
    return made


def other_variable(root, spec, rng):
    """`other`: small integers over y (and x), on a chunk grid of its own."""
    dims = tuple(d for d in ("y", "x") if d in spec.dims)
    shape = tuple(spec.shape[spec.dims.index(d)] for d in dims)
    values = rng.integers(0, 4, shape).astype(np.uint8)
    array(root, "other", values, tuple(max(1, n // 2) for n in shape), dims, fill=255)
    return dims, values


def coordinates(root, spec):
    """Labels of all dimensions; gives the dates of the time axis."""
    dates = []
    for dim, n in zip(spec.dims, spec.shape):
        if dim == "time":
            days = np.arange(n) * spec.step
            dates = list(cftime.num2date(days, UNITS, spec.calendar, only_use_cftime_datetimes=True))
            if spec.calendar == "standard" and spec.seed % 3 == 0 and spec.zarr_format == 3:
                array(root, dim, np.datetime64("2019-11-15", "ns") + days.astype("m8[D]"), (n,), (dim,), fill=np.datetime64("NaT", "ns"))
            else:
                kind = ("int64", "int32", "float64")[spec.seed % 3]
                array(root, dim, days.astype(kind), (n,), (dim,), {"units": UNITS, "calendar": spec.calendar}, fill=-1)
        elif dim == "band":
            array(root, dim, np.array(BANDS[:n], "<U5"), (n,), (dim,), fill="")
        else:
            start, step = (900.0, -10.0) if dim == "y" else (100.0, 10.0)
            array(root, dim, start + step * np.arange(n), (n,), (dim,), {"units": "m"}, fill=0.0)
    return dates


def attrs_of(path, name):
    """Attributes of an array as they stand in its metadata."""
    return dict(zarr.open_group(path, mode="r")[name].attrs)


def read(path, name):
    """`(stored, values, valid)` of an array on disk, by the rules of CF as chunkwise states them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        source = zarr.open_group(path, mode="r")[name]
        stored = np.asarray(source[...])
    attrs = dict(source.attrs)
    marks = []
    for key in ("_FillValue", "missing_value"):
        mark = attrs.get(key)
        if isinstance(mark, str) and mark not in ("NaN", "Infinity", "-Infinity"):
            mark = struct.unpack("<d", base64.standard_b64decode(mark))[0]
        if mark is not None:
            marks.append(float(mark) if isinstance(mark, str) else mark)
    if source.metadata.zarr_format == 2 and source.metadata.fill_value is not None:
        fill = np.asarray(source.metadata.fill_value)
        marks.append(float(fill) if fill.dtype.kind == "f" else int(fill))
    values = oracle.decode(stored, attrs.get("scale_factor"), attrs.get("add_offset"))
    return stored, values, oracle.valid_mask(stored, marks)


def time_labels(path, name="time"):
    """Labels of a time axis on disk as (year, month, day)."""
    source = zarr.open_group(path, mode="r")[name]
    values = np.asarray(source[...])
    if values.dtype.kind == "M":
        texts = np.datetime_as_string(values, "D")
        return [tuple(int(p) for p in t.split("-")) for t in texts]
    units, calendar = source.attrs["units"], source.attrs.get("calendar", "standard")
    dates = cftime.num2date(values, units, calendar, only_use_cftime_datetimes=True)
    return [(d.year, d.month, d.day) for d in np.atleast_1d(dates)]


def make_large(path, steps, every=1, seed=1):
    """`reflectance`, steps x 4 x 2000 x 2000 uint16, chunks 1 x 4 x 250 x 250, zstd; one step in `every` is there."""
    field = np.add.outer(np.sin(np.arange(2000) / 40), np.cos(np.arange(2000) / 30)) * 3000 + 9000
    rng = np.random.default_rng(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        root = zarr.create_group(path)
        made = root.create_array(
            "reflectance",
            shape=(steps, 4, 2000, 2000),
            chunks=(1, 4, 250, 250),
            dtype="uint16",
            fill_value=0,
            compressors=ZstdCodec(level=1),
            dimension_names=NAMES,
            attributes={"_FillValue": 0},
        )
        array(root, "time", np.arange(steps) * 30, (steps,), ("time",), {"units": "days since 2015-01-16"}, fill=-1)
        array(root, "band", np.array(("red", "green", "blue", "nir"), "<U5"), (4,), ("band",), fill="")
        array(root, "y", 4e6 - 30.0 * np.arange(2000), (2000,), ("y",), fill=0.0)
        array(root, "x", 5e5 + 30.0 * np.arange(2000), (2000,), ("x",), fill=0.0)
        for step in range(0, steps, every):
            noise = rng.integers(0, 512, (4, 2000, 2000))
            made[step] = (field + noise + 500 * np.arange(1, 5)[:, None, None]).astype(np.uint16)
