"""Cells of cubes that exist."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from . import _chunkwise
from ._options import storage_words, threads_of
from ._results import mark_of
from .errors import KeyNotFoundError, ValueRefusedError


def by_dim(array: Any, key: Any) -> dict[str, Any]:
    """A key as NumPy takes it, by dimension."""
    dims = array.dims
    if isinstance(key, Mapping):
        for dim in key:
            if dim not in dims:
                raise KeyNotFoundError(f"`{array.name}` has no dimension `{dim}`; it has {', '.join(dims)}")
        return dict(key)
    keys = list(key) if isinstance(key, tuple) else [key]
    if Ellipsis in [k if k is Ellipsis else None for k in keys]:
        at = next(i for i, k in enumerate(keys) if k is Ellipsis)
        keys[at : at + 1] = [slice(None)] * (len(dims) - len(keys) + 1)
    if len(keys) > len(dims):
        raise IndexError(f"{len(keys)} indices for `{array.name}`, which has {len(dims)} dimensions")
    return {d: k for d, k in zip(dims, keys, strict=False) if not (isinstance(k, slice) and k == slice(None))}


def encode(about: dict[str, Any], values: Any, raw: bool) -> np.ndarray:
    """Values as the variable stores them: packed, with its missing mark; as its element type holds them exactly."""
    dtype = np.dtype(about["view"]) if about["view"] else None
    if dtype is None:
        raise ValueRefusedError(f"`{about['name']}` holds {about['dtype']}, which is not written by region")
    gaps = np.ma.getmaskarray(values) if isinstance(values, np.ma.MaskedArray) else None
    given = np.ma.getdata(values) if gaps is not None else np.asarray(values)
    if given.dtype.kind == "M" or given.dtype.kind == "m":
        raise ValueRefusedError(f"times cannot be written into `{about['name']}`; give its counts, with `raw=True`")
    if given.dtype.kind not in "biuf":
        raise ValueRefusedError(f"{given.dtype} values for `{about['name']}`, which holds {about['dtype']}")
    if raw:
        if gaps is not None and gaps.any():
            raise ValueRefusedError("masked values with `raw=True`: stored values have no gaps")
        return _cast(about["name"], given, dtype)
    name = about["name"]
    if given.dtype.kind == "f":
        gaps = np.isnan(given) if gaps is None else gaps | np.isnan(given)
    if gaps is not None and not gaps.any():
        gaps = None
    scale, offset = about["packing"]
    if (scale, offset) != (1.0, 0.0):
        packed = (_cast(name, given, np.dtype(np.float64)) - offset) / scale
        given = np.where(np.isfinite(packed), np.rint(packed), packed) if dtype.kind in "iu" else packed
    marks = about["missing"]
    if gaps is not None and dtype.kind != "f" and not marks:
        raise ValueRefusedError(
            f"`{name}` has no mark for missing cells, and {int(gaps.sum())} of the values are missing",
            "create it with `missing=…`, or fill the gaps",
        )
    cast = _cast(name, given if gaps is None else np.where(gaps, given.dtype.type(0), given), dtype)
    for mark in marks:
        taken = cast == np.asarray(mark_of(mark, dtype)).astype(dtype)
        if np.any(taken if gaps is None else taken & ~gaps):
            raise ValueRefusedError(
                f"the stored value {mark} marks missing cells of `{name}`, and one of the values would be stored as it",
                "write NaN or a masked cell for what is missing; `raw=True` writes stored values",
            )
    if gaps is None:
        return cast
    return np.where(gaps, np.asarray(np.nan if dtype.kind == "f" else mark_of(marks[0], dtype)).astype(dtype), cast)


def _cast(name: str, given: np.ndarray, dtype: np.dtype[Any]) -> np.ndarray:
    """Values of another type: refused where whole numbers would change, or numbers become infinite."""
    if given.dtype == dtype:
        return given
    with np.errstate(all="ignore"):
        cast = given.astype(dtype)
        if dtype.kind == "b":
            wrong = (given != 0) & (given != 1)
        elif given.dtype.kind == "b":
            wrong = np.zeros(given.shape, bool)
        elif dtype.kind == "f" and given.dtype.kind == "f":
            wrong = np.isinf(cast) & np.isfinite(given)
        elif dtype.kind == "f":
            wrong = ~_held(cast, given.dtype) | (np.where(_held(cast, given.dtype), cast, 0).astype(given.dtype) != given)
        elif given.dtype.kind == "f":
            wrong = ~_held(given, dtype) | (given != np.trunc(given))
        else:
            wrong = (given < np.iinfo(dtype).min) | (given > np.iinfo(dtype).max)
    if np.any(wrong):
        value = given[wrong].flat[0] if given.ndim else given
        raise ValueRefusedError(f"{value} cannot be stored in `{name}` exactly: it would be {dtype}")
    return cast


def _held(numbers: np.ndarray, dtype: np.dtype[Any]) -> np.ndarray:
    """Which floats lie within the range of whole numbers of a type."""
    low, high = float(np.iinfo(dtype).min), float(np.iinfo(dtype).max + 1)
    wide = numbers.astype(np.float64)
    return np.asarray((wide >= low) & (wide < high))


def write(array: Any, region: Any, values: Any, *, raw: bool = False, threads: int | None = None, alone: bool = False) -> dict[str, int]:
    """Writes values into a box of a variable.

    ``region`` selects as NumPy does (slices without steps, indices, ``...``) or by name (``{"time": 0}``). Values are decoded
    ones (packed here; NaN and masked cells become the missing mark) or, with ``raw=True``, stored ones; they are broadcast.
    Of an `xarray.DataArray` dimensions go by name. ``alone=True`` says that no other process writes to this array: parts of
    chunks are then written on stores without locks too.
    """
    if array._source.nodata is not None:
        raise ValueRefusedError(
            f"the cube was opened with `nodata={array._source.nodata}`, which other readers do not know", "open it without, to write"
        )
    variable = array._variable
    if variable is None or array._query.is_reduced:
        raise ValueRefusedError("only variables of the cube are written; formulas and statistics are `to_zarr`'s")
    if array._query.mask is not None:
        raise ValueRefusedError(
            f"`{array.name}` is asked for where `{array._query.mask}`, and a region is a box",
            "compute it, change what is to be changed, and write all cells of the box",
        )
    if array._query.cells:
        base = type(array)(array._source, type(array._query)(variables=(array.name,)))
        picked = dict(array._query.cells)
        inner = by_dim(array, region)
        chosen = array.isel(inner)._query.cells
        return write(base, {**picked, **chosen}, values, raw=raw, threads=threads, alone=alone)
    keys = by_dim(array, region)
    start, extent, kept = [], [], []
    for dim, length in zip(variable["dims"], variable["shape"], strict=True):
        key = keys.get(dim, slice(None))
        if isinstance(key, range):
            key = slice(key.start, key.stop, key.step)
        if isinstance(key, slice):
            first, last, step = key.indices(length)
            if step != 1:
                raise ValueRefusedError(f"a region is a box: `{dim}` has a step of {step}")
            last = max(last, first)
            kept.append((dim, last - first))
        else:
            index = np.asarray(key)
            if index.ndim or not np.issubdtype(index.dtype, np.integer):
                raise ValueRefusedError(f"a region is a box: `{dim}` is a slice or an index")
            first = int(index) + (length if index < 0 else 0)
            if not 0 <= first < length:
                raise IndexError(f"index {int(index)} is outside of `{dim}`, which has {length} cells")
            last = first + 1
        start.append(first)
        extent.append(last - first)
    if hasattr(values, "dims") and hasattr(values, "transpose"):
        own = [d for d, _ in kept]
        if set(values.dims) - set(own):
            raise ValueRefusedError(f"the values have dimensions {values.dims}, the region has {tuple(own)}")
        values = values.transpose(*[d for d in own if d in values.dims])
        extents = [n if d in values.dims else 1 for d, n in kept]
        as_array = np.ma.asarray if isinstance(values.data, np.ma.MaskedArray) else np.asarray
        values = as_array(values).reshape(extents)
    encoded = encode(variable, values, raw or array._source.raw)
    shape = tuple(n for _, n in kept)
    try:
        cells = np.ascontiguousarray(np.broadcast_to(encoded, shape))
    except ValueError as error:
        raise ValueRefusedError(f"values of shape {np.shape(values)} do not fit a region of shape {shape}") from error
    location = array._source.location
    whole, partial, removed = _chunkwise.write_region(
        location, list(storage_words(array._source.storage)), array.name, start, extent,
        np.dtype(cells.dtype).name, cells.reshape(-1).view(np.uint8), threads_of(threads), alone,
    )  # fmt: skip
    return {"objects_written_whole": whole, "objects_changed": partial, "objects_removed": removed}


def write_result(lazy: Any, location: str, options: Any, region: Mapping[str, Any], **how: Any) -> None:
    """Writes a result into cells of a cube that exists."""
    from ._cube import cube_of
    from ._source import Source

    into = cube_of(Source(location, options))
    found = lazy.compute(**how)
    arrays = [found] if hasattr(found, "name") and not hasattr(found, "data_vars") else [found[n] for n in found.data_vars]
    for array in arrays:
        target = into[array.name]
        for dim in array.dims:
            if dim not in target.dims:
                raise ValueRefusedError(f"`{array.name}` in `{location}` has no dimension `{dim}`; it has {', '.join(target.dims)}")
        target.write(dict(region), array)
