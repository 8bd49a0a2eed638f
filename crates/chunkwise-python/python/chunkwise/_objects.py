"""Arrays of this process shown as a Zarr v3 store: metadata as documents, chunks cut from the arrays on demand."""

from __future__ import annotations

import itertools
import json
import math
import os
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import ValueRefusedError

if TYPE_CHECKING:
    import xarray as xr

#: The longest block of an array that has no chunks of its own.
BLOCK = 16 << 20

_UNITS = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}
#: Attributes that would have values decoded once more: what xarray shows, it has decoded.
_DECODING = ("_FillValue", "missing_value", "scale_factor", "add_offset", "_Unsigned")
_VALID = ("valid_min", "valid_max", "valid_range")
_NUMBERS = itertools.count(1)


class Objects:
    """The objects of a store: ``get(key)``, ``list_dir(prefix)``."""

    #: A pickle holds plans, never data.
    can_be_pickled = False

    def __init__(self, attrs: Mapping[str, Any], arrays: Mapping[str, Blocks]) -> None:
        self.name = f"xarray-{os.getpid()}-{next(_NUMBERS)}"
        self._arrays = dict(arrays)
        documents = {name: blocks.document() for name, blocks in self._arrays.items()}
        root: dict[str, Any] = {"zarr_format": 3, "node_type": "group", "attributes": dict(attrs)}
        root["consolidated_metadata"] = {"kind": "inline", "must_understand": False, "metadata": documents}
        self._documents = {f"{name}/zarr.json": _json(document) for name, document in documents.items()}
        self._documents["zarr.json"] = _json(root)

    def get(self, key: str) -> bytes | None:
        """What lies under a key; `None` where nothing does."""
        found = self._documents.get(key)
        if found is not None:
            return found
        name, _, rest = key.partition("/")
        blocks = self._arrays.get(name)
        kind, *index = rest.split("/")
        if blocks is None or kind != "c" or not all(i.isdecimal() for i in index):
            return None
        return blocks.chunk(tuple(map(int, index)))

    def list_dir(self, prefix: str) -> list[str]:
        """The folders at the top: the arrays."""
        return list(self._arrays) if not prefix.strip("/") else []


class Blocks:
    """One array: its chunks as bytes, little-endian, not compressed."""

    def __init__(
        self,
        variable: xr.Variable,
        dtype: np.dtype[Any],
        attrs: Mapping[str, Any],
        stored: Callable[[np.ndarray], np.ndarray] | None = None,
    ) -> None:
        self.dims, self.shape = tuple(map(str, variable.dims)), variable.shape
        self.dtype = dtype.newbyteorder("<")
        self.attrs = dict(attrs)
        self._stored = stored
        self._dask: Any = None
        self._graph: dict[Any, Any] | None = None
        self._key = ""
        self._lock = threading.Lock()
        self._variable = variable
        if variable.chunks is not None and hasattr(variable.data, "blocks"):
            # Where chunks differ in size, each block is cut from those that it meets.
            self.chunks = tuple(max(c) or 1 for c in variable.chunks)
            regular = all(len(set(c[:-1])) <= 1 and c[-1] <= c[0] for c in variable.chunks)
            self._dask = variable.data if regular else variable.data.rechunk(self.chunks)
        else:
            self.chunks = _chunks(variable, self.dtype)
        self._fill = np.nan if self.dtype.kind == "f" else self.dtype.type()

    def document(self) -> dict[str, Any]:
        """The metadata."""
        text = self.dtype.kind == "U"
        kind: Any = self.dtype.name
        if text:
            kind = {"name": "fixed_length_utf32", "configuration": {"length_bytes": self.dtype.itemsize}}
        fill: Any = "NaN" if self.dtype.kind == "f" else "" if text else False if self.dtype.kind == "b" else 0
        return {
            "zarr_format": 3,
            "node_type": "array",
            "shape": list(self.shape),
            "data_type": kind,
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(self.chunks)}},
            "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
            "fill_value": fill,
            "codecs": [{"name": "bytes", "configuration": {"endian": "little"}}],
            "attributes": self.attrs,
            "dimension_names": list(self.dims),
            "storage_transformers": [],
        }

    def chunk(self, index: tuple[int, ...]) -> bytes | None:
        """One chunk; `None` outside of the array."""
        if len(index) != len(self.shape):
            return None
        if any(i * c >= n for i, c, n in zip(index, self.chunks, self.shape, strict=True)):
            return None
        values = self._block(index)
        if self._stored is not None:
            values = self._stored(values)
        values = np.asarray(values, dtype=self.dtype)
        if values.shape != self.chunks:
            whole = np.full(self.chunks, self._fill, self.dtype)
            whole[tuple(slice(n) for n in values.shape)] = values
            values = whole
        return values.tobytes()

    def _block(self, index: tuple[int, ...]) -> np.ndarray:
        if self._dask is not None:
            return self._computed(index)
        cut = tuple(slice(i * c, (i + 1) * c) for i, c in zip(index, self.chunks, strict=True))
        # Of lazy arrays this reads the block and keeps nothing.
        return np.asarray(self._variable[cut].values)


    def _computed(self, index: tuple[int, ...]) -> np.ndarray:
        """One block of a Dask array, and of its graph no more than this block needs, in this thread."""
        from dask.base import optimize
        from dask.local import get_sync
        from dask.optimization import cull

        with self._lock:
            if self._graph is None:
                (array,) = optimize(self._dask)
                self._graph, self._key = dict(array.__dask_graph__()), array.name
        needed, _ = cull(self._graph, [(self._key, *index)])
        return np.asarray(get_sync(needed, (self._key, *index)))


def _chunks(variable: xr.Variable, dtype: np.dtype[Any]) -> tuple[int, ...]:
    """Blocks of at most 16 MiB along the first axes; of what lies in a file, whole chunks of it."""
    shape = [max(n, 1) for n in variable.shape]
    stored = variable.encoding.get("preferred_chunks") or {}
    if not variable._in_memory and all(isinstance(stored.get(d), int) for d in variable.dims):
        return tuple(min(stored[d], n) for d, n in zip(variable.dims, shape, strict=True))
    for axis, n in enumerate(shape):
        size = math.prod(shape) * dtype.itemsize
        if size <= BLOCK:
            break
        shape[axis] = max(1, min(n, BLOCK * n // size))
    return tuple(shape)


def objects_of(ds: xr.Dataset) -> Objects:
    """A Dataset as objects of a store."""
    import pandas as pd
    from xarray import conventions

    for name, index in ds.xindexes.items():
        if isinstance(index.to_pandas_index() if hasattr(index, "index") else None, pd.MultiIndex):
            raise ValueRefusedError(f"`{name}` is a MultiIndex, which no store holds", f"`.reset_index({str(name)!r})`")
    for name in (*ds.variables, *ds.dims):
        if not isinstance(name, str) or not name or "/" in name or name in (".", "..", "zarr.json"):
            raise ValueRefusedError(f"{name!r} is no name of an array in a store", "give it another: `.rename(…)`")
    named = {name: _named(ds, str(name)) for name in ds.variables}
    variables, attrs = conventions.encode_dataset_coordinates(ds)
    arrays = {
        str(name): _blocks(str(name), v, ds[name].variable, {**v.attrs, **named[name]}, name in ds.coords)
        for name, v in variables.items()
    }
    return Objects(_plain(attrs), arrays)


def _named(ds: xr.Dataset, name: str) -> dict[str, str]:
    """Attributes that name other variables, which xarray keeps in the encoding once it has decoded them."""
    variable = ds[name].variable
    found = {}
    for key in ("grid_mapping", "bounds", "cell_measures", "ancillary_variables", "formula_terms"):
        said = variable.encoding.get(key)
        if isinstance(said, str) and key not in variable.attrs:
            # As in `area: cell_area`: words with a colon are no names.
            if all(word in ds.variables for word in said.split() if not word.endswith(":")):
                found[key] = said
    # As rioxarray and odc-geo: a `spatial_ref` that nothing names is the CRS of what lies in the plane.
    crs = ds.variables.get("spatial_ref")
    is_crs = crs is not None and crs.ndim == 0 and {"crs_wkt", "spatial_ref", "grid_mapping_name"} & set(crs.attrs)
    if name in ds.data_vars and variable.ndim >= 2 and is_crs and name != "spatial_ref":
        if "grid_mapping" not in found and "grid_mapping" not in variable.attrs:
            found["grid_mapping"] = "spatial_ref"
    return found


def _blocks(name: str, variable: xr.Variable, given: xr.Variable, attrs: dict[str, Any], is_coord: bool) -> Blocks:
    import xarray as xr
    from xarray import Variable, conventions

    packed = any(k in given.encoding for k in ("scale_factor", "add_offset", "_Unsigned"))
    attrs = {k: v for k, v in attrs.items() if k not in _DECODING and not (packed and k in _VALID)}
    if not isinstance(variable.dtype, np.dtype):
        # Labels of pandas: text, mostly.
        variable = Variable(variable.dims, np.asarray(variable.values, dtype=object), variable.attrs, variable.encoding)
    dtype = variable.dtype
    if dtype.kind == "O" or dtype.kind == "T":
        values = np.asarray(variable.values, dtype=object)
        first = next((v for v in values.ravel() if v is not None), None)
        if hasattr(first, "calendar"):
            dtype = np.dtype("datetime64[s]")
            is_coord = True
        elif all(isinstance(v, str) for v in values.ravel()):
            variable = Variable(variable.dims, values.astype(np.str_) if values.size else values.astype("<U1"))
            dtype = variable.dtype
        else:
            held = f"`{name}` holds Python objects ({type(first).__name__}), which no store holds"
            raise ValueRefusedError(held, "`.astype(…)`, or leave it out")
    if dtype.kind == "M" and is_coord:
        said = {k: v for k, v in variable.encoding.items() if k in ("units", "calendar", "dtype", "_FillValue")}
        plain = Variable(variable.dims, variable.values, attrs, said)
        encoded = conventions.encode_cf_variable(plain, name=name)
        return Blocks(Variable(encoded.dims, encoded.values), encoded.dtype, _plain(encoded.attrs))
    if dtype.kind in "mM":
        unit = _UNITS[np.datetime_data(dtype)[0]]
        if dtype.kind == "m":
            # xarray tells durations from numbers with a unit by this attribute, once it knows it.
            knows = hasattr(getattr(xr, "coders", None), "CFTimedeltaCoder")
            attrs |= {"units": unit, "_FillValue": np.iinfo(np.int64).min} | ({"dtype": str(dtype)} if knows else {})
        else:
            attrs |= {"units": f"{unit} since 1970-01-01", "calendar": "proleptic_gregorian"}
        counts = lambda values: values.astype(dtype, copy=False).view(np.int64)  # noqa: E731
        return Blocks(variable, np.dtype("int64"), _plain(attrs), counts)
    if dtype.kind == "S":
        variable = Variable(variable.dims, np.char.decode(variable.values, "utf-8"))
        dtype = variable.dtype
    if dtype.kind not in "biufU" or (dtype.kind == "f" and dtype.itemsize > 8):
        raise ValueRefusedError(f"`{name}` is {dtype}, which the engine does not know", "`.astype(…)`, or leave it out")
    if dtype.kind == "U" and dtype.itemsize == 0:
        dtype = np.dtype("<U1")
    return Blocks(variable, dtype, _plain(attrs))


def _plain(value: Any) -> Any:
    """Attributes as JSON has them."""
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)


def _json(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, allow_nan=False).encode()
